//! A record as detectors look at it: from the process that writes it, or read back.
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::audit::entry::{ColumnsEntry, Entry};
use crate::audit::record::{ColumnsRecord, Event, Record};

/// Somebody without a name.
const NOBODY: &str = "-";

/// What detectors look at of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Place in the chain; 0 before it has one.
    pub seq: u64,
    pub event: Observable,
    /// Who acted, as far as the record knows.
    pub person: Arc<str>,
    /// Seconds since 1970.
    pub at: u64,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    /// `schema.name`
    pub reads: Arc<[String]>,
    pub writes: Arc<[String]>,
    pub masked: Arc<[String]>,
    pub lookups: Arc<[String]>,
    pub columns: Option<ColumnsRecord>,
    pub classes: Arc<[Arc<str>]>,
    /// Honeytoken rows, as the policy names them.
    pub traps: Vec<Arc<str>>,
}

/// Events that detectors look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observable {
    /// A statement that gave something, perhaps up to a limit.
    Statement,
    Refusal,
    Violation,
}

impl Observable {
    fn of(event: Event) -> Option<Self> {
        match event {
            Event::Statement | Event::ExportStop => Some(Observable::Statement),
            Event::Refusal => Some(Observable::Refusal),
            Event::Violation => Some(Observable::Violation),
            _ => None,
        }
    }
}

impl Observed {
    /// Of a record that is about to be written; `None` where no detector looks at it.
    pub fn of_record(record: &Record) -> Option<Self> {
        let event = Observable::of(record.event)?;
        let person = [&record.person, &record.app_user, &record.db_user]
            .into_iter()
            .find_map(|name| name.as_ref());
        let at = record.time.duration_since(UNIX_EPOCH);
        Some(Observed {
            seq: 0,
            event,
            person: person.map_or_else(|| NOBODY.into(), Arc::clone),
            at: at.map_or(0, |at| at.as_secs()),
            rows: record.rows,
            bytes: record.bytes,
            reads: Arc::clone(&record.reads),
            writes: Arc::clone(&record.writes),
            masked: Arc::clone(&record.masked),
            lookups: Arc::clone(&record.lookups),
            columns: record.columns.clone(),
            classes: Arc::clone(&record.classes),
            traps: record.traps.clone(),
        })
    }

    /// Of a record that was read back.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        let mut events = Event::ALL.into_iter();
        let event = events.find(|event| event.label() == entry.event)?;
        let event = Observable::of(event)?;
        Some(Observed {
            seq: entry.seq,
            event,
            person: entry.actor().unwrap_or(NOBODY).into(),
            at: entry.seconds().unwrap_or(0),
            rows: entry.rows,
            bytes: entry.bytes,
            reads: entry.reads.as_slice().into(),
            writes: entry.writes.as_slice().into(),
            masked: entry.masked.as_slice().into(),
            lookups: entry.lookups.as_slice().into(),
            columns: columns(&entry.columns),
            classes: shared(&entry.classes),
            traps: shared(&entry.traps),
        })
    }

    /// `schema.table.column` of all columns that the record names, some of them more than once.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        let used = self.columns.iter().flat_map(|columns| {
            [&columns.projected, &columns.filtered, &columns.written]
                .into_iter()
                .flat_map(|names| names.iter().map(|name| &**name))
        });
        let reached = [&self.masked, &self.lookups]
            .into_iter()
            .flat_map(|names| names.iter().map(String::as_str));
        used.chain(reached)
    }
}

fn columns(read: &ColumnsEntry) -> Option<ColumnsRecord> {
    (*read != ColumnsEntry::default()).then(|| ColumnsRecord {
        projected: shared(&read.projected),
        filtered: shared(&read.filtered),
        written: shared(&read.written),
        truncated: read.truncated,
    })
}

fn shared<T: FromIterator<Arc<str>>>(names: &[String]) -> T {
    names.iter().map(|name| Arc::from(name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Whatever has a member that detectors look at.
    fn records() -> Vec<Record> {
        let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let of = |event| {
            Record::new(
                event,
                UNIX_EPOCH + Duration::from_micros(1_700_000_000_999_999),
            )
        };
        let mut records: Vec<Record> = Event::ALL.into_iter().map(of).collect();
        records.extend([
            Record {
                db_user: Some("crm".into()),
                app_user: Some("ann".into()),
                rows: Some(3),
                bytes: Some(200),
                reads: texts(&["crm.contacts", "a.b"]),
                writes: texts(&["crm.log"]),
                masked: texts(&["crm.contacts.phone"]),
                lookups: texts(&["crm.contacts.phone", "crm.contacts.email"]),
                ..of(Event::Statement)
            },
            Record {
                db_user: Some("crm".into()),
                app_user: Some("ann".into()),
                person: Some("ann@example.org".into()),
                columns: Some(ColumnsRecord {
                    projected: names(&["a.b.c"]),
                    filtered: names(&["a.b.d", "a.b.e"]),
                    written: names(&["a.b.f"]),
                    truncated: true,
                }),
                classes: names(&["phone"]),
                traps: ["the vip".into()].into(),
                ..of(Event::Refusal)
            },
            Record {
                db_user: Some("crm".into()),
                ..Record::new(Event::ExportStop, SystemTime::UNIX_EPOCH)
            },
        ]);
        records
    }

    #[test]
    fn what_is_written_and_what_is_read_back_look_the_same() {
        for record in records() {
            let json = serde_json::to_vec(&record).expect("a record is JSON");
            let entry: Entry = serde_json::from_slice(&json).expect("an entry");
            let (written, read) = (Observed::of_record(&record), Observed::of_entry(&entry));
            assert_eq!(written, read, "{record:?}");
            let names = read.iter().flat_map(Observed::column_names);
            assert!(entry.column_names().eq(names), "{record:?}");
        }
    }
}
