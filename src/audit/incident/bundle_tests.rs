use std::collections::BTreeMap;

use super::*;
use crate::audit::fixture::{Dir, record};
use crate::audit::read::Position;
use crate::audit::spool::PUBLIC_KEY_FILE;
use crate::audit::verify::{Expectation, verify};
use crate::audit::{Spool, SpoolSettings};

#[derive(Default)]
struct Kept(BTreeMap<String, Vec<u8>>);

impl Files for Kept {
    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.insert(name.to_owned(), bytes.to_owned());
        Ok(())
    }
}

/// A chain of 60 statements in several segments, with a checkpoint after every five records.
fn chain(dir: &Dir) -> PublicKey {
    let settings = SpoolSettings {
        checkpoint_records: 5,
        segment_bytes: 8_000,
        ..SpoolSettings::default()
    };
    let spool = Spool::open(dir.path(), settings).expect("opened");
    for number in 0..60 {
        spool
            .append(&record(&number.to_string()))
            .expect("appended");
    }
    spool.checkpoint().expect("signed");
    PublicKey::read(&dir.path().join(PUBLIC_KEY_FILE)).expect("a key")
}

/// The statements with these texts, as evidence.
fn incident(dir: &Dir, texts: &[&str]) -> Incident {
    let mut reader = Reader::from_start(dir.path()).expect("opened");
    let mut incident = Incident {
        id: "20261122-1".to_owned(),
        ..Incident::default()
    };
    while let Some(line) = reader.next().expect("read") {
        let entry = line.entry().expect("an entry");
        if entry
            .text
            .as_deref()
            .is_some_and(|text| texts.contains(&text))
        {
            let evidence = Evidence {
                seq: entry.seq,
                hash: line.link.hash.to_string(),
                time: entry.time.clone(),
                position: Position {
                    offset: line.next.offset - line.bytes.len() as u64 - 1,
                    ..line.next
                },
            };
            incident.add_record(&entry, evidence);
        }
    }
    assert_eq!(incident.evidence.len(), texts.len());
    incident
}

#[test]
fn each_run_is_a_chain_that_verifies_up_to_its_checkpoint() {
    let dir = Dir::new();
    let key = chain(&dir);
    // Two beside each other, one far away.
    let incident = incident(&dir, &["4", "5", "50"]);
    let mut files = Kept::default();
    let runs = write(dir.path(), &incident, &key, &mut files).expect("written");
    assert!(summary::is_covered(&runs), "{runs:?}");
    assert_eq!(runs.len(), 2, "{runs:?}");
    let evidence = String::from_utf8_lossy(&files.0["evidence.jsonl"]).into_owned();
    assert_eq!(evidence.lines().count(), 3);
    for run in &runs {
        let alone = Dir::new();
        let lines = &files.0[&format!("{}/audit-000001.jsonl", run.name)];
        std::fs::write(alone.path().join("audit-000001.jsonl"), lines).expect("written");
        let expectation = Expectation {
            partial: true,
            keys: vec![key.clone()],
            ..Expectation::default()
        };
        let report = verify(alone.path(), &expectation).expect("a sound chain");
        assert_eq!(report.signed, Some(report.last));
        assert_eq!((report.first, report.last), (run.first, run.last));
    }
    let proofs: Vec<u8> = files
        .0
        .iter()
        .filter(|(name, _)| name.starts_with("proof/"))
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    let proofs = String::from_utf8_lossy(&proofs);
    assert!(evidence.lines().all(|line| proofs.contains(line)));
    assert_eq!(files.0["signing.pub"], key.pem().as_bytes());
}

#[test]
fn evidence_that_is_not_what_it_was_is_not_handed_on() {
    let dir = Dir::new();
    let key = chain(&dir);
    let mut other = incident(&dir, &["7"]);
    other.evidence[0].hash = "0".repeat(64);
    let written = write(dir.path(), &other, &key, &mut Kept::default());
    assert!(
        matches!(written, Err(BundleError::Other { .. })),
        "{written:?}"
    );

    let mut elsewhere = incident(&dir, &["7"]);
    elsewhere.evidence[0].position.offset = 0;
    let written = write(dir.path(), &elsewhere, &key, &mut Kept::default());
    assert!(
        matches!(written, Err(BundleError::Gone { .. })),
        "{written:?}"
    );

    let gone = incident(&dir, &["7"]);
    std::fs::remove_file(dir.path().join("audit-000001.jsonl")).expect("removed");
    let written = write(dir.path(), &gone, &key, &mut Kept::default());
    assert!(
        matches!(written, Err(BundleError::Gone { .. })),
        "{written:?}"
    );
}

#[test]
fn a_signature_of_another_key_covers_nothing() {
    let (dir, other) = (Dir::new(), Dir::new());
    chain(&dir);
    let key = chain(&other);
    let incident = incident(&dir, &["7"]);
    let runs = write(dir.path(), &incident, &key, &mut Kept::default()).expect("written");
    assert!(!summary::is_covered(&runs));
}

#[test]
fn names_of_clients_choosing_stay_text_in_the_summary() {
    let incident = Incident {
        person: "<img src=x onerror=alert(1)>".to_owned(),
        ..Incident::default()
    };
    let page = summary::html(&incident, &[]).expect("a page");
    assert!(!page.contains("<img"), "{page}");
}
