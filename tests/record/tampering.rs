//! Somebody with a text editor and all the time in the world, but without the key.
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use pgveil::audit::chain::{self, Hash};
use pgveil::audit::key::PublicKey;
use pgveil::audit::retention::{Retention, keep};
use pgveil::audit::spool::PUBLIC_KEY_FILE;
use pgveil::audit::verify::{Expectation, Fault, VerifyError, verify};
use pgveil::audit::{Event, Record, Spool, SpoolSettings};

use crate::support::Folder;

/// A record as statements have it.
fn statement(number: usize) -> Record {
    Record {
        session: Some(number as u64 % 64),
        sequence: Some(number as u64),
        db_user: Some("agent".into()),
        role: Some("agent".into()),
        kind: Some("SELECT".into()),
        text: Some("SELECT c.phone, o.total FROM crm.contacts c JOIN crm.orders o ON o.contact_id = c.id WHERE o.id = $1".into()),
        fingerprint: Some("0123456789abcdef".into()),
        reads: vec!["crm.contacts".to_owned(), "crm.orders".to_owned()].into(),
        masked: vec!["crm.contacts.phone".to_owned()].into(),
        rows: Some(1),
        ..Record::new(Event::Statement, SystemTime::now())
    }
}

struct Chain {
    folder: Folder,
    key: PublicKey,
    head: Hash,
    records: u64,
}

impl Chain {
    fn of(records: usize, segment_bytes: u64) -> Chain {
        let folder = Folder::new("tampering");
        let settings = SpoolSettings {
            segment_bytes,
            ..SpoolSettings::default()
        };
        let spool = Spool::open(folder.path(), settings).expect("opened");
        let began = Instant::now();
        for number in 0..records {
            spool.append(&statement(number)).expect("appended");
        }
        let took = began.elapsed();
        println!(
            "{records} records written in {took:.2?}: {:.0} a second",
            records as f64 / took.as_secs_f64()
        );
        spool.checkpoint().expect("signed");
        keep(&spool, &Retention::default(), u64::MAX, SystemTime::now()).expect("compressed");
        drop(spool);
        let key = PublicKey::read(&folder.path().join(PUBLIC_KEY_FILE)).expect("a key");
        let mut chain = Chain {
            folder,
            key,
            head: Hash::genesis(""),
            records: 0,
        };
        let began = Instant::now();
        let report = chain.verify().expect("sound");
        let took = began.elapsed();
        println!(
            "{} records verified in {took:.2?}: {:.0} a second",
            report.records,
            report.records as f64 / took.as_secs_f64()
        );
        (chain.head, chain.records) = (report.head, report.records);
        chain
    }

    fn verify(&self) -> Result<pgveil::audit::verify::Report, VerifyError> {
        let expectation = Expectation {
            keys: vec![self.key.clone()],
            through: (self.records > 0).then_some(self.head),
            ..Expectation::default()
        };
        verify(self.folder.path(), &expectation)
    }

    fn segment(&self, number: u64) -> PathBuf {
        let name = format!("audit-{number:06}.jsonl");
        let plain = self.folder.path().join(&name);
        match plain.exists() {
            true => plain,
            false => self.folder.path().join(name + ".zst"),
        }
    }

    /// Changes the lines of a segment, has that found, and puts them back.
    fn tampered(&self, number: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> (u64, Fault) {
        let path = self.segment(number);
        let before = fs::read(&path).expect("read");
        let mut lines = lines(&path);
        change(&mut lines);
        let bytes = lines.concat();
        let changed = match is_compressed(&path) {
            true => zstd::encode_all(&bytes[..], 1).expect("compressed"),
            false => bytes,
        };
        fs::write(&path, changed).expect("written");
        let found = self.verify().expect_err("nothing is found");
        fs::write(&path, before).expect("put back");
        match found {
            VerifyError::Broken { line, fault, .. } => (line, fault),
            other => panic!("{other}"),
        }
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

/// With their newlines.
fn lines(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::File::open(path).expect("opened");
    let mut reader: Box<dyn BufRead> = match is_compressed(path) {
        true => Box::new(BufReader::new(zstd::Decoder::new(file).expect("zstd"))),
        false => Box::new(BufReader::new(file)),
    };
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).expect("read") == 0 {
            return lines;
        }
        lines.push(line);
    }
}

/// Every line from `from` on sealed anew, after `change` was made.
fn forge(lines: &mut [Vec<u8>], from: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let mut prev = chain::unseal(&lines[from - 1][..lines[from - 1].len() - 1])
        .expect("sound")
        .hash;
    change(&mut lines[from]);
    for line in &mut lines[from..] {
        let text = String::from_utf8_lossy(line).into_owned();
        let (_, rest) = text.split_once("\"seq\":").expect("a sealed line");
        let (seq, body) = rest.trim_end().split_once(',').expect("a record");
        let mut forged = Vec::new();
        let body = format!("{{{body}");
        prev = chain::seal(
            &mut forged,
            prev,
            seq.parse().expect("a number"),
            body.as_bytes(),
        );
        *line = forged;
    }
}

fn replace(line: &mut Vec<u8>, from: &str, to: &str) {
    let text = String::from_utf8_lossy(line).replacen(from, to, 1);
    *line = text.into_bytes();
}

fn everything_is_found(chain: &Chain) {
    for number in [1, 2] {
        let (line, fault) = chain.tampered(number, |lines| lines[700][300] ^= 1);
        assert_eq!(line, 701, "flipped: {fault}");
        let (line, fault) = chain.tampered(number, |lines| {
            lines.remove(700);
        });
        assert!(
            matches!((line, &fault), (701, Fault::Missing { .. })),
            "dropped: {line} {fault}"
        );
        let (line, fault) = chain.tampered(number, |lines| lines.swap(700, 701));
        assert!(
            matches!((line, &fault), (701, Fault::Reordered { .. })),
            "swapped: {line} {fault}"
        );
        let (line, fault) = chain.tampered(number, |lines| lines.insert(701, lines[700].clone()));
        assert!(
            matches!((line, &fault), (702, Fault::Doubled { .. })),
            "replayed: {line} {fault}"
        );
        let (line, fault) = chain.tampered(number, |lines| lines[700].truncate(100));
        assert_eq!(line, 701, "cut: {fault}");
        // Computed anew to the end of the segment: without the key the next checkpoint does not fit.
        let (line, fault) = chain.tampered(number, |lines| {
            forge(lines, 700, |line| replace(line, "agent", "nobod"));
        });
        assert!(
            matches!(fault, Fault::Checkpoint { .. } | Fault::Unlinked { .. }),
            "forged: {line} {fault}"
        );
        assert!(line > 701);
    }
    // The tail, cut off at a line: a head noted elsewhere shows it.
    let last = (1..)
        .take_while(|number| chain.segment(number + 1).exists())
        .count() as u64
        + 1;
    let (_, fault) = chain.tampered(last, |lines| {
        lines.pop();
    });
    assert!(matches!(fault, Fault::NotReached { .. }), "{fault}");
    // The same records in another chain, signed with another key.
    let other = Chain::of(10, 1 << 20);
    let ours = chain.segment(1);
    let before = fs::read(&ours).expect("read");
    let mut file = fs::File::create(&ours).expect("opened");
    file.write_all(
        &zstd::encode_all(&lines(&other.segment(1)).concat()[..], 1).expect("compressed"),
    )
    .expect("written");
    let found = chain.verify().expect_err("another chain");
    fs::write(&ours, before).expect("put back");
    assert!(found.to_string().contains("is signed by key"), "{found}");
    chain.verify().expect("everything was put back");
}

#[test]
fn whatever_was_changed_is_found() {
    everything_is_found(&Chain::of(5_000, 1 << 20));
}

#[test]
#[ignore = "takes minutes"]
fn whatever_was_changed_in_a_million_records_is_found() {
    everything_is_found(&Chain::of(1_000_000, pgveil::audit::spool::SEGMENT_BYTES));
}
