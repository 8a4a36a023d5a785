use std::sync::Mutex;

use super::*;
use crate::audit::Reader;
use crate::audit::fixture::{Dir, record};
use crate::audit::key::PublicKey;
use crate::audit::spool::succession::{Successor, SuccessorError};
use crate::audit::spool::{PUBLIC_KEY_FILE, SpoolSettings};
use crate::audit::verify::{self, Expectation};

fn open(dir: &Dir, settings: SpoolSettings) -> Spool {
    Spool::open(dir.path(), settings).expect("the spool opens")
}

fn later(spool: &Spool, author: usize, text: &str) -> Ticket {
    let ticket = spool.append_later(&record(text), author, Instant::now());
    ticket.expect("appended")
}

fn verified(dir: &Dir) -> verify::Report {
    let key = PublicKey::read(&dir.path().join(PUBLIC_KEY_FILE)).expect("a key");
    let expectation = Expectation {
        keys: vec![key],
        ..Expectation::default()
    };
    verify::verify(dir.path(), &expectation).expect("the chain is sound")
}

/// Texts of the statements on record, in their order.
fn texts(dir: &Dir) -> Vec<String> {
    let mut reader = Reader::from_start(dir.path()).expect("opened");
    let mut texts = Vec::new();
    while let Some(line) = reader.next().expect("read") {
        texts.extend(line.entry().expect("an entry").text);
    }
    texts
}

fn writes(spool: &Spool) -> u32 {
    spool.end().segment.writes.get()
}

#[test]
fn what_waits_is_written_at_once_in_its_order_whoever_asks() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    let before = writes(&spool);
    let tickets: Vec<Ticket> = (0..5)
        .map(|author| later(&spool, author, &author.to_string()))
        .collect();
    assert!(tickets.iter().all(|ticket| !ticket.is_decided()));
    assert!(texts(&dir).is_empty(), "written before anybody asked");
    assert_eq!(spool.head().seq, 1);
    let place = spool.write_out(&tickets[3]).expect("written");
    assert_eq!(place.seq, 6);
    for ticket in &tickets {
        assert!(ticket.is_decided());
        assert_eq!(spool.write_out(ticket).expect("written"), place);
    }
    assert_eq!(writes(&spool), before + 1);
    assert_eq!(texts(&dir), ["0", "1", "2", "3", "4"]);
    assert_eq!(verified(&dir).head, place.hash);
}

#[test]
fn what_is_appended_with_the_write_in_the_call_comes_after_what_waits() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    let ticket = later(&spool, 1, "first");
    spool.append(&record("second")).expect("appended");
    assert!(ticket.is_decided());
    assert_eq!(texts(&dir), ["first", "second"]);
    for does in [Spool::checkpoint, Spool::sync] {
        let ticket = later(&spool, 1, "waits");
        does(&spool).expect("done");
        assert!(ticket.is_decided());
    }
    assert_eq!(spool.unsynced(), 0);
    assert_eq!(verified(&dir).checkpoints, 1);
}

#[test]
fn a_failed_write_is_everybodys_who_waits_and_nobodys_after() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    for room in [0, 1, 300, 700] {
        spool.end().segment.room = Some(room);
        let tickets: Vec<Ticket> = (0..5).map(|author| later(&spool, author, "lost")).collect();
        let error = spool.write_out(&tickets[2]).expect_err("no room");
        assert!(matches!(error, SpoolError::Write { .. }));
        for ticket in &tickets {
            let told = spool.write_out(ticket).expect_err("no room");
            assert_eq!(told.to_string(), error.to_string());
        }
        assert!(spool.is_failing());
        assert_eq!(verified(&dir).records, 1, "{room}");
    }
    assert_eq!(spool.lost(), 20);
    spool.end().segment.room = None;
    let ticket = later(&spool, 1, "kept");
    spool.write_out(&ticket).expect("room");
    assert!(!spool.is_failing());
    assert_eq!(texts(&dir), ["kept"]);
    assert_eq!(verified(&dir).lost, 20);
}

#[test]
fn no_more_waits_than_the_bound() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    let long = "x".repeat(MOST_WAITING / 4);
    let tickets: Vec<Ticket> = (0..4).map(|author| later(&spool, author, &long)).collect();
    assert!(tickets.iter().all(Ticket::is_decided));
    assert_eq!(texts(&dir).len(), 4);
    assert!(!later(&spool, 1, "short").is_decided());
}

#[test]
fn a_checkpoint_comes_after_so_many_records_also_of_those_that_are_written_together() {
    let dir = Dir::new();
    let settings = SpoolSettings {
        checkpoint_records: 3,
        ..SpoolSettings::default()
    };
    let spool = open(&dir, settings);
    let tickets: Vec<Ticket> = (0..8).map(|author| later(&spool, author, "one")).collect();
    spool.write_out(&tickets[0]).expect("written");
    let report = verified(&dir);
    // The chain's first record and two, then three and three.
    assert_eq!((report.records, report.checkpoints), (12, 3));
}

#[test]
fn a_session_is_in_company_while_others_append_and_not_by_itself() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    let begin = Instant::now();
    let at = |author, micros| {
        let now = begin + Duration::from_micros(micros);
        let ticket = spool.append_later(&record("one"), author, now);
        ticket.expect("appended").in_company
    };
    assert!(!at(1, 0), "nobody was there before");
    assert!(!at(1, 10), "its own do not count");
    assert!(at(2, 500), "the other may come again");
    assert!(at(1, 1000));
    assert!(!at(2, 2001), "long ago");
    assert!(!at(2, 2002), "its own do not count");
}

#[test]
fn records_of_many_threads_form_one_chain_in_the_order_of_each() {
    let dir = Dir::new();
    let settings = SpoolSettings {
        segment_bytes: 4000,
        ..SpoolSettings::default()
    };
    let spool = &open(&dir, settings);
    std::thread::scope(|threads| {
        for thread in 0..8 {
            threads.spawn(move || {
                for count in 0..50 {
                    let text = |half| format!("{thread} {count} {half}");
                    let first = later(spool, thread, &text(0));
                    std::thread::yield_now();
                    let second = later(spool, thread, &text(1));
                    spool.write_out(&second).expect("written");
                    assert!(first.is_decided());
                    spool.write_out(&first).expect("written");
                }
            });
        }
    });
    let report = verified(&dir);
    assert_eq!(report.records, 801 + report.checkpoints);
    let texts = texts(&dir);
    for thread in 0..8 {
        let own = texts
            .iter()
            .filter_map(|text| text.strip_prefix(&format!("{thread} ")));
        let expected = (0..50).flat_map(|count| [format!("{count} 0"), format!("{count} 1")]);
        assert!(own.eq(expected), "thread {thread}");
    }
}

/// Another process, which keeps what it gets until it dies.
#[derive(Debug, Default)]
struct Mortal {
    got: Mutex<Vec<usize>>,
    dead: Mutex<bool>,
}

impl Successor for Mortal {
    fn append(&self, bodies: &[Vec<u8>]) -> Result<Appended, SuccessorError> {
        if *self.dead.lock().expect("sound") {
            return Err(SuccessorError::Gone);
        }
        self.got.lock().expect("sound").push(bodies.len());
        Ok(Appended {
            seq: 9,
            hash: crate::audit::chain::Hash::genesis("x"),
        })
    }
}

#[test]
fn what_waits_at_a_handover_is_written_before_and_later_records_go_together() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    let before = later(&spool, 1, "before");
    let heir = Arc::new(Mortal::default());
    spool.hand_over(heir.clone()).expect("handed over");
    assert!(before.is_decided());
    assert_eq!(texts(&dir), ["before"]);

    let tickets = [later(&spool, 1, "a"), later(&spool, 2, "b")];
    assert_eq!(spool.write_out(&tickets[1]).expect("passed on").seq, 9);
    assert!(tickets[0].is_decided());
    assert_eq!(*heir.got.lock().expect("sound"), [2]);

    // What the successor did not take is written here, before what comes later.
    let ticket = later(&spool, 1, "after its death");
    *heir.dead.lock().expect("sound") = true;
    spool.write_out(&ticket).expect("taken back");
    spool.append(&record("later")).expect("appended");
    assert_eq!(texts(&dir), ["before", "after its death", "later"]);
    verified(&dir);
}

#[test]
fn a_handover_that_cannot_write_what_waits_is_none() {
    let dir = Dir::new();
    let spool = open(&dir, SpoolSettings::default());
    let ticket = later(&spool, 1, "waits");
    spool.end().segment.room = Some(10);
    let heir = Arc::new(Mortal::default());
    spool.hand_over(heir).expect_err("no room");
    assert!(!spool.is_handed_over());
    spool.write_out(&ticket).expect_err("it was in that write");
    spool.end().segment.room = None;
    spool.append(&record("kept")).expect("room");
    assert_eq!(texts(&dir), ["kept"]);
}
