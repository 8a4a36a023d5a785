//! A spool with sinks, and how tests wait for them.
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgveil::audit::sink::{Pace, Sinks, Source, Status};
use pgveil::audit::{Event, Reader, Record, Spool, SpoolSettings, VerdictRecord};
use pgveil::config::sinks::BatchSettings;
use pgveil::config::{SinkFormat, SinkKind, SinkSettings, SinkStart};

use crate::support::{Folder, PATIENCE};

pub struct House {
    pub spool: Arc<Spool>,
    folder: Folder,
}

impl House {
    pub fn new() -> House {
        House::with(SpoolSettings::default())
    }

    /// Small segments, so that sinks cross many.
    pub fn of_segments(bytes: u64) -> House {
        House::with(SpoolSettings {
            segment_bytes: bytes,
            checkpoint_records: 50,
            ..SpoolSettings::default()
        })
    }

    fn with(settings: SpoolSettings) -> House {
        let folder = Folder::new("sinks");
        let spool = Spool::open(&folder.path().join("audit"), settings).expect("a spool");
        House {
            spool: Arc::new(spool),
            folder,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes statements and brings them to the disk.
    pub fn write(&self, count: usize) {
        for number in 0..count {
            let record = Record {
                session: Some(number as u64 % 7),
                sequence: Some(number as u64),
                client_addr: Some("192.0.2.7:4711".parse().expect("an address")),
                db_user: Some("ann".into()),
                role: Some("agent".into()),
                database: Some("crm".into()),
                kind: Some("SELECT".into()),
                text: Some(
                    format!("SELECT * FROM crm.customers WHERE id = $1 /* {number} */").into(),
                ),
                verdict: Some(VerdictRecord::Rewrite),
                rows: Some(number as u64),
                ..Record::new(Event::Statement, SystemTime::now())
            };
            self.spool.append(&record).expect("appended");
        }
        self.spool.sync().expect("synced");
    }

    pub fn start(&self, settings: &[SinkSettings]) -> Sinks {
        Sinks::start(Source::of(&self.spool), settings, pace()).expect("the sinks start")
    }

    /// Identifiers of all records on the disk, and what they say.
    pub fn records(&self) -> BTreeMap<String, String> {
        let mut reader = Reader::from_start(self.spool.dir()).expect("a reader");
        let mut records = BTreeMap::new();
        while let Some(line) = reader.next().expect("a sound spool") {
            let id = format!("{}-{}", self.spool.chain(), line.link.seq);
            let text = String::from_utf8(line.bytes.to_vec()).expect("utf-8");
            records.insert(id, text);
        }
        records
    }

    pub fn ids(&self) -> BTreeSet<String> {
        self.records().into_keys().collect()
    }

    pub fn cursor(&self, sink: &str) -> PathBuf {
        self.spool.dir().join(format!("cursors/{sink}.json"))
    }
}

pub fn pace() -> Pace {
    Pace {
        first: Duration::from_millis(5),
        last: Duration::from_millis(50),
        look: Duration::from_millis(5),
        store: Duration::from_millis(20),
    }
}

/// A sink with small batches.
pub fn sink(name: &str, kind: SinkKind) -> SinkSettings {
    SinkSettings {
        name: name.to_owned(),
        kind,
        format: SinkFormat::Json,
        events: None,
        start: SinkStart::Oldest,
        batch: BatchSettings {
            records: 20,
            bytes: 1 << 20,
            age: Duration::from_millis(20),
        },
        timeout: Duration::from_millis(700),
    }
}

pub fn file_sink(name: &str, path: &Path) -> SinkSettings {
    sink(name, SinkKind::File(path.to_owned()))
}

pub fn status(sinks: &Sinks, name: &str) -> Status {
    let statuses = sinks.statuses();
    let found = statuses.into_iter().find(|status| status.name == name);
    found.expect("a sink of that name")
}

/// Waits until a sink is done with every record.
pub async fn caught_up(sinks: &Sinks, name: &str) {
    until("the sink has everything", || async {
        status(sinks, name).lag == 0
    })
    .await;
}

/// Looks until something is so; a hang where it does not come to be.
pub async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    // Receivers that were killed take their time to come back.
    let waited = tokio::time::timeout(PATIENCE * 3, async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !so().await {
            look.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "it never came to be that {what}");
}

/// The lines of a file of native records, by sequence number.
pub fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub fn seq(line: &str) -> u64 {
    let value: serde_json::Value = serde_json::from_str(line).expect("a record is JSON");
    value["seq"].as_u64().expect("a sequence number")
}
