//! Files and standard output, and what holds for every sink: cursors, segments, filters.
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use pgveil::audit::retention::{Retention, keep};
use pgveil::audit::sink::{Sinks, Source};
use pgveil::audit::{Event, Record};
use pgveil::config::{SinkFormat, SinkStart};

use crate::house::{House, caught_up, file_sink, lines, pace, seq, status, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_holds_every_line_of_the_spool_as_it_is() {
    let house = House::of_segments(20_000);
    house.write(300);
    let path = house.path("out.jsonl");
    let sinks = house.start(&[file_sink("archive", &path)]);
    caught_up(&sinks, "archive").await;
    house.write(50);
    caught_up(&sinks, "archive").await;
    let expected: Vec<String> = house.records().into_values().collect();
    let mut found = lines(&path);
    assert!(expected.iter().any(|line| line.contains("\"checkpoint\"")));
    assert_eq!(found.len(), expected.len(), "each once");
    found.sort_by_key(|line| seq(line));
    let mut expected = expected;
    expected.sort_by_key(|line| seq(line));
    assert_eq!(found, expected);
    let done = status(&sinks, "archive");
    assert_eq!(done.delivered, expected.len() as u64);
    assert_eq!(
        (done.failures, done.missing, done.oldest),
        (0, 0, Duration::ZERO)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_file_is_left_for_the_new_one() {
    let house = House::new();
    let (path, old) = (house.path("out.jsonl"), house.path("out.jsonl.1"));
    let sinks = house.start(&[file_sink("archive", &path)]);
    house.write(30);
    caught_up(&sinks, "archive").await;
    fs::rename(&path, &old).expect("rotated");
    house.write(30);
    caught_up(&sinks, "archive").await;
    let before = lines(&old).len();
    let after = lines(&path).len();
    assert!(before > 0 && after >= 30, "{before} and {after}");
    assert_eq!(before + after, house.ids().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_was_cut_off_spoils_no_other() {
    let house = House::new();
    let path = house.path("out.jsonl");
    fs::write(&path, "{\"hash\":\"cut o").expect("written");
    let sinks = house.start(&[file_sink("archive", &path)]);
    house.write(3);
    caught_up(&sinks, "archive").await;
    let lines = lines(&path);
    assert_eq!(lines.first().map(String::as_str), Some("{\"hash\":\"cut o"));
    assert_eq!(lines.len(), house.ids().len() + 1);
}

/// The next process goes on where this one was, also where it was killed before the cursor was stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_at_the_cursor() {
    let house = House::of_segments(10_000);
    let path = house.path("out.jsonl");
    let sink = file_sink("archive", &path);
    house.write(100);
    let sinks = house.start(std::slice::from_ref(&sink));
    caught_up(&sinks, "archive").await;
    sinks.stop(Duration::from_secs(5)).await;
    let first = lines(&path).len();
    house.write(40);
    let early = fs::read(house.cursor("archive")).expect("a cursor");
    let sinks = house.start(std::slice::from_ref(&sink));
    caught_up(&sinks, "archive").await;
    sinks.stop(Duration::from_secs(5)).await;
    assert_eq!(lines(&path).len(), house.ids().len(), "each once");
    // As if the last cursor had not made it to the disk.
    fs::write(house.cursor("archive"), early).expect("written");
    let sinks = house.start(&[sink]);
    caught_up(&sinks, "archive").await;
    let lines = lines(&path);
    let seqs: BTreeSet<u64> = lines.iter().map(|line| seq(line)).collect();
    assert_eq!(seqs.len(), house.ids().len());
    assert_eq!(lines.len(), 2 * house.ids().len() - first, "the rest twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_delivers_what_is_left() {
    let house = House::new();
    let path = house.path("out.jsonl");
    let mut sink = file_sink("archive", &path);
    // It would wait for an hour.
    sink.batch.age = Duration::from_secs(3600);
    sink.batch.records = 10_000;
    let sinks = house.start(&[sink]);
    house.write(30);
    sinks.stop(Duration::from_secs(10)).await;
    assert_eq!(lines(&path).len(), house.ids().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_not_wanted_are_passed_over() {
    let house = House::of_segments(10_000);
    house.write(100);
    house
        .spool
        .append(&Record::new(Event::Refusal, SystemTime::now()))
        .expect("appended");
    house.write(100);
    let path = house.path("out.cef");
    let mut sink = file_sink("alarms", &path);
    sink.events = Some(BTreeSet::from(["refusal".to_owned()]));
    sink.format = SinkFormat::Cef;
    let sinks = house.start(&[sink]);
    caught_up(&sinks, "alarms").await;
    let lines = lines(&path);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("CEF:0|pgveil|pgveil|"));
    until("the cursor moves on over what is passed over", || async {
        sinks.oldest_needed() == house.spool.segment()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_starts_now_gets_what_comes_after() {
    let house = House::of_segments(10_000);
    house.write(100);
    let path = house.path("out.jsonl");
    let mut sink = file_sink("late", &path);
    sink.start = SinkStart::Now;
    let head = house.spool.head().seq;
    let sinks = house.start(&[sink.clone()]);
    sinks.stop(Duration::from_secs(5)).await;
    assert_eq!(lines(&path).len(), 0);
    // Its start is kept, whether it delivered anything or not.
    house.write(10);
    let sinks = house.start(&[sink]);
    caught_up(&sinks, "late").await;
    let lines = lines(&path);
    assert_eq!(lines.first().map(|line| seq(line)), Some(head + 1));
    assert_eq!(lines.len() as u64, house.spool.head().seq - head);
    assert_eq!(status(&sinks, "late").missing, 0);
}

/// Settings that change while pgveil runs bring a sink long after the others began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_comes_later_and_starts_now_gets_what_comes_after_that() {
    let house = House::of_segments(10_000);
    house.write(10);
    let sinks = house.start(&[]);
    house.write(100);
    let head = house.spool.head().seq;
    let durable = house.spool.durable();
    until("what was written is on the disk", || async {
        durable.load(Ordering::Acquire) == head
    })
    .await;
    let path = house.path("out.jsonl");
    let mut sink = file_sink("late", &path);
    sink.start = SinkStart::Now;
    let prepared = sinks.prepare(&[sink]).expect("prepared");
    sinks
        .take(prepared, Duration::from_secs(5))
        .await
        .expect("taken");
    house.write(10);
    caught_up(&sinks, "late").await;
    let lines = lines(&path);
    assert_eq!(lines.first().map(|line| seq(line)), Some(head + 1));
    assert_eq!(lines.len() as u64, house.spool.head().seq - head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_needs_is_kept_and_what_is_gone_is_told() {
    let house = House::of_segments(5_000);
    house.write(100);
    let path = house.path("out.jsonl");
    let sink = file_sink("archive", &path);
    let sinks = house.start(std::slice::from_ref(&sink));
    caught_up(&sinks, "archive").await;
    sinks.stop(Duration::from_secs(5)).await;
    let needed = sinks.oldest_needed();
    drop(sinks);
    house.write(200);
    let all = house.ids().len();
    // Nobody delivers while the record grows beyond its bounds, and nothing of what is owed goes.
    let most = Retention {
        bytes: Some(1),
        ..Retention::default()
    };
    let kept = keep(&house.spool, &most, needed, SystemTime::now()).expect("kept");
    assert!(kept.awaited > 1 && kept.removed > 1, "{kept:?}");
    let sinks = house.start(std::slice::from_ref(&sink));
    caught_up(&sinks, "archive").await;
    assert_eq!(status(&sinks, "archive").missing, 0);
    let unique: BTreeSet<u64> = lines(&path).iter().map(|line| seq(line)).collect();
    assert!(unique.len() >= all, "{} of {all}", unique.len());
    sinks.stop(Duration::from_secs(5)).await;
    drop(sinks);
    // By hand: what was not delivered is counted, and the rest is.
    house.write(300);
    keep(&house.spool, &most, u64::MAX, SystemTime::now()).expect("kept");
    let sinks = house.start(&[sink]);
    caught_up(&sinks, "archive").await;
    let missing = status(&sinks, "archive").missing;
    let head = house.spool.head().seq;
    let unique: BTreeSet<u64> = lines(&path).iter().map(|line| seq(line)).collect();
    assert!(missing > 0);
    assert_eq!(unique.len() as u64 + missing, head, "delivered or told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_is_told_and_holds_no_other_up() {
    let house = House::new();
    house.write(30);
    let segment = house.spool.dir().join("audit-000001.jsonl");
    let text = fs::read_to_string(&segment).expect("read");
    let line = text.lines().nth(10).expect("a record").to_owned();
    let broken = line.replace("crm.customers", "crm.custumers");
    assert_ne!(line, broken);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(&segment)
        .expect("opened");
    file.write_all(text.replace(&line, &broken).as_bytes())
        .expect("written");
    let path = house.path("out.jsonl");
    let sinks = house.start(&[file_sink("archive", &path)]);
    caught_up(&sinks, "archive").await;
    assert_eq!(lines(&path).len(), house.spool.head().seq as usize - 1);
    assert_eq!(status(&sinks, "archive").missing, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_leads_nowhere_begins_again() {
    let house = House::new();
    house.write(30);
    for (number, cursor) in [
        "not a cursor".to_owned(),
        format!(
            r#"{{"chain":"{}","seq":7,"hash":"00","record":{{"segment":1,"offset":0}},"position":{{"segment":1,"offset":900}}}}"#,
            house.spool.chain()
        ),
        r#"{"chain":"another","seq":7,"hash":"00","record":{"segment":1,"offset":0},"position":{"segment":1,"offset":900}}"#.to_owned(),
        format!(
            r#"{{"chain":"{}","seq":7000,"hash":"00","record":{{"segment":1,"offset":9000000}},"position":{{"segment":1,"offset":9000900}}}}"#,
            house.spool.chain()
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("sink{number}");
        let path = house.path(&name);
        fs::create_dir_all(house.spool.dir().join("cursors")).expect("a folder");
        fs::write(house.cursor(&name), cursor).expect("written");
        let sinks = house.start(&[file_sink(&name, &path)]);
        caught_up(&sinks, &name).await;
        assert_eq!(lines(&path).len(), house.ids().len(), "{name}");
    }
}

/// One sink that cannot write keeps nothing from another, and gets everything once it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_fails_delays_no_other() {
    let house = House::new();
    let (good, bad) = (house.path("good.jsonl"), house.path("bad"));
    fs::create_dir(&bad).expect("a folder in its way");
    let sinks = house.start(&[file_sink("bad", &bad), file_sink("good", &good)]);
    house.write(100);
    caught_up(&sinks, "good").await;
    until("it is tried again and again", || async {
        status(&sinks, "bad").failures > 3
    })
    .await;
    let waiting = status(&sinks, "bad");
    assert_eq!(waiting.delivered, 0);
    assert_eq!(waiting.lag, house.spool.head().seq);
    assert_eq!(sinks.oldest_needed(), 1);
    fs::remove_dir(&bad).expect("out of the way");
    caught_up(&sinks, "bad").await;
    assert_eq!(lines(&bad).len(), house.ids().len());
}

/// What could still be lost with the machine is not given to anybody: its number may come to stand for another record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_before_it_is_on_the_disk() {
    let house = House::new();
    house.write(5);
    let path = house.path("out.jsonl");
    let sinks = Sinks::start(
        Source::of(&house.spool),
        &[file_sink("archive", &path)],
        pace(),
    )
    .expect("started");
    caught_up(&sinks, "archive").await;
    let before = lines(&path).len();
    house
        .spool
        .append(&Record::new(Event::Refusal, SystemTime::now()))
        .expect("appended");
    // Long enough for many looks.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(lines(&path).len(), before);
    house.spool.sync().expect("synced");
    caught_up(&sinks, "archive").await;
    assert_eq!(lines(&path).len(), before + 1);
}
