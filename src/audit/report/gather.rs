//! What a report counts, record by record, in memory that does not grow with their number.
use std::collections::{BTreeMap, BTreeSet};

use super::exports::Exports;
use super::hours::WorkingHours;
use super::tally::{Measure, Tally};
use crate::audit::classes::{Classes, Known};
use crate::audit::entry::Entry;

/// Occurrences (policies, alarms) that are told of one by one; of more, the last.
pub const MAX_OCCURRENCES: usize = 200;

/// Characters of a name; what is longer is cut off.
pub const MAX_NAME: usize = 200;

/// Somebody or something without a name.
pub const NOBODY: &str = "-";

/// Who used which class how much.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Use {
    pub person: String,
    pub role: String,
    pub class: String,
}

/// Data on its way from a relation to an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub application: String,
    pub role: String,
    pub class: String,
    pub relation: String,
}

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    pub seq: u64,
    /// Seconds since 1970.
    pub at: u64,
    pub event: String,
    pub who: String,
    pub what: String,
}

/// The last of many.
#[derive(Debug, Default)]
pub struct Occurrences {
    pub last: std::collections::VecDeque<Occurrence>,
    pub count: u64,
}

impl Occurrences {
    fn push(&mut self, occurrence: Occurrence) {
        self.count += 1;
        if self.last.len() >= MAX_OCCURRENCES {
            self.last.pop_front();
        }
        self.last.push_back(occurrence);
    }
}

/// Everything that a report says, as numbers.
#[derive(Debug, Default)]
pub struct Gathered {
    pub records: u64,
    /// Sequence numbers of the first and last record.
    pub first: Option<u64>,
    pub last: u64,
    /// Times of the earliest and latest: seconds since 1970.
    pub earliest: Option<u64>,
    pub latest: u64,
    pub events: BTreeMap<String, u64>,
    pub rows: u64,
    /// By `pass`, `rewrite`, `refuse`.
    pub verdicts: BTreeMap<String, u64>,
    /// Statements by person.
    pub people: Tally<String>,
    pub uses: Tally<Use>,
    pub flows: Tally<Flow>,
    /// By person, role and reason.
    pub refusals: Tally<(String, String, String)>,
    /// By person and column.
    pub lookups: Tally<(String, String)>,
    /// By person and role.
    pub outside: Tally<(String, String)>,
    /// By user, address and reason.
    pub failed_logins: Tally<(String, String, String)>,
    pub exports: Exports,
    pub policies: Occurrences,
    /// Alarms, violations, drift, lost records, recoveries.
    pub alarms: Occurrences,
    pub lost: u64,
    /// Statements whose classes are those of their relations, for want of columns on record.
    pub by_relation: u64,
}

impl Gathered {
    /// Takes the next record.
    pub fn take(&mut self, entry: &Entry, classes: &Classes, hours: &WorkingHours) {
        let at = entry.seconds().unwrap_or(0);
        self.records += 1;
        self.first.get_or_insert(entry.seq);
        self.last = entry.seq;
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
        self.latest = self.latest.max(at);
        match self.events.get_mut(&entry.event) {
            Some(count) => *count += 1,
            None => {
                self.events.insert(entry.event.clone(), 1);
            }
        }
        if let Some(export) = &entry.export {
            self.exports.take(export, entry, at);
        }
        match entry.event.as_str() {
            "statement" | "refusal" | "export_stop" => self.statement(entry, at, classes, hours),
            "login" => self.login(entry, at, hours),
            "login_failed" => {
                let address = entry.client_addr.map(|address| address.ip().to_string());
                let key = (
                    text(&entry.db_user),
                    address.unwrap_or_else(|| NOBODY.to_owned()),
                    text(&entry.reason),
                );
                let once = Measure {
                    statements: 1,
                    last: at,
                    ..Measure::default()
                };
                self.failed_logins.add(key, once);
            }
            "policy" => self.policies.push(occurrence(entry, at)),
            "alarm" | "violation" | "drift" | "recovered" => {
                self.alarms.push(occurrence(entry, at));
            }
            "lost" => {
                self.lost += entry.lost.unwrap_or(0);
                self.alarms.push(occurrence(entry, at));
            }
            _ => {}
        }
    }

    pub fn count(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }

    fn login(&mut self, entry: &Entry, at: u64, hours: &WorkingHours) {
        if hours.contain(at) {
            return;
        }
        let session = Measure {
            sessions: 1,
            last: at,
            ..Measure::default()
        };
        self.outside.add((actor(entry), text(&entry.role)), session);
    }

    fn statement(&mut self, entry: &Entry, at: u64, classes: &Classes, hours: &WorkingHours) {
        let rows = entry.rows.unwrap_or(0);
        let refused = entry.event == "refusal";
        self.rows += rows;
        if let Some(verdict) = &entry.verdict {
            *self.verdicts.entry(verdict.clone()).or_default() += 1;
        }
        let measure = Measure {
            statements: 1,
            rows,
            empty: u64::from(rows == 0),
            last: at,
            ..Measure::default()
        };
        let (person, role) = (actor(entry), text(&entry.role));
        self.people.add(person.clone(), measure);
        if !hours.contain(at) {
            self.outside.add((person.clone(), role.clone()), measure);
        }
        for column in &entry.lookups {
            self.lookups.add((person.clone(), column.clone()), measure);
        }
        if refused || entry.event == "export_stop" {
            let reason = text(&entry.reason);
            self.refusals
                .add((person.clone(), role.clone(), reason), measure);
        }
        if refused {
            return;
        }
        let (named, known) = classes.of(entry);
        if named.is_empty() {
            return;
        }
        self.by_relation += u64::from(known == Known::Relations);
        for class in named {
            let clear = u64::from(!is_masked(entry, &class, classes));
            let measure = Measure { clear, ..measure };
            let reach = relations(entry, &class, classes);
            // Rows go through one relation after the other: each carries them.
            for relation in reach {
                let flow = Flow {
                    application: text(&entry.application_name),
                    role: role.clone(),
                    class: class.clone(),
                    relation,
                };
                self.flows.add(flow, measure);
            }
            let key = Use {
                person: person.clone(),
                role: role.clone(),
                class,
            };
            self.uses.add(key, measure);
        }
    }
}

/// Whether values of the class were masked for the statement.
fn is_masked(entry: &Entry, class: &str, classes: &Classes) -> bool {
    let granted = |export: &crate::audit::entry::ExportEntry| {
        export.clear.iter().any(|granted| granted == class)
    };
    if entry.masked.is_empty() || entry.export.as_ref().is_some_and(granted) {
        return false;
    }
    let mut named = entry
        .masked
        .iter()
        .flat_map(|column| classes.of_column(column))
        .peekable();
    // Masked columns of which the policy at hand says nothing may be of any class.
    named.peek().is_none() || named.any(|known| known == class)
}

/// The relations of a statement that hold columns of the class.
fn relations(entry: &Entry, class: &str, classes: &Classes) -> BTreeSet<String> {
    let of_column = |column: &str| classes.of_column(column).any(|known| known == class);
    let holding: BTreeSet<String> = entry
        .column_names()
        .filter(|column| of_column(column))
        .filter_map(|column| Some(column.rsplit_once('.')?.0.to_owned()))
        .collect();
    if !holding.is_empty() {
        return holding;
    }
    let named = || entry.reads.iter().chain(&entry.writes);
    let may_hold = |relation: &&String| classes.of_relation(relation).any(|known| known == class);
    let possible: BTreeSet<String> = named().filter(may_hold).cloned().collect();
    match possible.is_empty() {
        true => named().cloned().collect(),
        false => possible,
    }
}

fn actor(entry: &Entry) -> String {
    short(entry.actor().unwrap_or(NOBODY))
}

fn text(value: &Option<String>) -> String {
    match value.as_deref() {
        None | Some("") => NOBODY.to_owned(),
        Some(value) => short(value),
    }
}

/// The name that a client claims before its login may be as long as a startup packet.
fn short(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => format!("{}\u{2026}", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

fn occurrence(entry: &Entry, at: u64) -> Occurrence {
    let alarm = entry.alarm.as_ref().map(|alarm| alarm.alarm.clone());
    let incident = entry
        .alarm
        .as_ref()
        .and_then(|alarm| alarm.incident.clone());
    let version = entry.policy_version.clone();
    let lost = entry.lost.map(|lost| lost.to_string());
    let parts = [alarm, incident, version, lost, entry.message.clone()];
    Occurrence {
        seq: entry.seq,
        at,
        event: entry.event.clone(),
        who: actor(entry),
        what: parts.into_iter().flatten().collect::<Vec<_>>().join(" · "),
    }
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
