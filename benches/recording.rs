//! What a record costs: its JSON, its place in the chain, its way to the page cache or the disk. Run with
//! `cargo bench --bench recording`.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use divan::{Bencher, black_box};
use pgveil::audit::chain::{Hash, seal};
use pgveil::audit::{Ack, ColumnsRecord, Event, Record, Spool, SpoolSettings, VerdictRecord};

fn main() {
    divan::main();
}

/// Of a statement as applications send them.
fn record() -> Record {
    let names = |list: &[&str]| list.iter().copied().map(Arc::from).collect();
    Record {
        session: Some(7),
        sequence: Some(99),
        client_addr: Some(([127, 0, 0, 1], 40_000).into()),
        db_user: Some("crm_agent".into()),
        person: Some("alice".into()),
        role: Some("agent".into()),
        application_name: Some("crm".into()),
        database: Some("crm".into()),
        kind: Some("SELECT".into()),
        text: Some("SELECT id, full_name, phone, email FROM crm.contacts WHERE id = $1".into()),
        fingerprint: Some("0123456789abcdef".into()),
        reads: Arc::from(["crm.contacts".to_owned()]),
        masked: Arc::from(["crm.contacts.phone", "crm.contacts.email"].map(str::to_owned)),
        columns: Some(ColumnsRecord {
            projected: names(&[
                "crm.contacts.id",
                "crm.contacts.full_name",
                "crm.contacts.phone",
                "crm.contacts.email",
            ]),
            filtered: names(&["crm.contacts.id"]),
            ..ColumnsRecord::default()
        }),
        classes: names(&["email", "phone"]),
        verdict: Some(VerdictRecord::Rewrite),
        policy_version: Some("3f2a9c0d".into()),
        rows: Some(1),
        bytes: Some(83),
        duration: Some(Duration::from_micros(187)),
        ..Record::new(Event::Statement, SystemTime::now())
    }
}

/// A spool that goes away with its folder.
struct Folder {
    path: PathBuf,
    spool: Spool,
}

impl Folder {
    fn new(ack: Ack) -> Self {
        let name = format!("pgveil-recording-{}-{ack:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let settings = SpoolSettings {
            ack,
            ..SpoolSettings::default()
        };
        let spool = Spool::open(&path, settings).expect("a spool");
        Folder { path, spool }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the temporary directory is the operating system's to remove.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[divan::bench]
fn copy_of_a_template(bencher: Bencher) {
    let record = record();
    bencher.bench(|| black_box(&record).clone());
}

#[divan::bench]
fn json(bencher: Bencher) {
    let record = record();
    bencher.bench(|| serde_json::to_vec(black_box(&record)));
}

#[divan::bench]
fn link_of_the_chain(bencher: Bencher) {
    let body = serde_json::to_vec(&record()).expect("JSON");
    let prev = Hash::genesis("c");
    bencher.bench(|| {
        let mut line = Vec::with_capacity(body.len() + 256);
        seal(&mut line, prev, 7, black_box(&body));
        line
    });
}

#[divan::bench]
fn append_written(bencher: Bencher) {
    let (folder, record) = (Folder::new(Ack::Written), record());
    bencher.bench(|| folder.spool.append(black_box(&record)).is_ok());
}

#[divan::bench(sample_count = 20)]
fn append_synced(bencher: Bencher) {
    let (folder, record) = (Folder::new(Ack::Synced), record());
    bencher.bench(|| folder.spool.append(black_box(&record)).is_ok());
}
