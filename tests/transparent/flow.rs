//! How bytes flow: in single bytes both ways, to clients that do not read, from clients that close their half.
use std::fs;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crate::broken::OWN_WORDS;
use crate::restricted::kept;
use crate::script::{Script, Until, copy_data, difference, played};
use crate::support::message::{Client, Frame, bind, execute, parse, query, tags};
use crate::support::{Fault, PATIENCE, Relay};
use crate::{Bench, as_sent, compare, small};

/// What is answered at greater length takes long byte by byte.
const SHORT: usize = 5_000;

#[test]
fn single_bytes_from_the_server_and_to_it_change_nothing() {
    let (bench, inner) = Bench::through(|port| {
        let relay = Relay::to(port);
        (relay.port(), relay)
    });
    let outer = Relay::to(bench.pgveil.port());
    inner.set(Fault::Pieces(1));
    outer.set(Fault::Pieces(1));
    let mut scripts = small();
    scripts.retain(|script| {
        let mut client = Client::login(bench.server.port(), "clear", "", "postgres");
        let answer = played(&mut client, script, 0);
        answer.iter().map(|frame| frame.body.len()).sum::<usize>() < SHORT
    });
    assert!(scripts.len() > 60, "{} scripts", scripts.len());
    let failures = compare(
        &bench,
        outer.port(),
        "clear",
        0,
        &scripts,
        OWN_WORDS,
        as_sent,
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Resident memory in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("a size")
}

/// Bytes up to and with the first ReadyForQuery of an idle session.
fn drained(client: &mut Client) -> u64 {
    let (mut total, mut tail) = (0, Vec::new());
    let mut buffer = vec![0; 1 << 16];
    while !tail.ends_with(b"Z\0\0\0\x05I") {
        let count = client.stream.read(&mut buffer).expect("bytes");
        assert!(count > 0, "the connection ended");
        total += count as u64;
        tail.extend_from_slice(&buffer[..count]);
        let kept = tail.len().saturating_sub(6);
        tail.drain(..kept);
    }
    total
}

#[test]
fn a_client_that_does_not_read_holds_up_the_server_and_not_the_memory() {
    const ROWS: &str =
        "SELECT g, repeat('r', 1000) AS slow_reader FROM generate_series(1, 60000) g";
    let bench = Bench::start();
    let mut direct = Client::login(bench.server.port(), "clear", "", "postgres");
    direct.send_raw(&query(ROWS));
    let expected = drained(&mut direct);
    drop(direct);
    for user in ["clear", "blind"] {
        let mut client = Client::login(bench.pgveil.port(), user, "", "postgres");
        client.query("SELECT 1");
        let before = resident(bench.pgveil.pid());
        client.send_raw(&query(ROWS));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slow_reader%' AND wait_event = 'ClientWrite'";
        let began = Instant::now();
        while bench.server.sql("postgres", waiting)[0][0].as_deref() != Some("1") {
            assert!(began.elapsed() < PATIENCE, "the server never waits");
        }
        // What the process does besides takes memory, too, and gives it back; what was read ahead would stay.
        let grown = || resident(bench.pgveil.pid()).saturating_sub(before);
        while grown() >= 8 * 1024 {
            assert!(began.elapsed() < PATIENCE, "{user}: {} KiB more", grown());
            thread::sleep(Duration::from_millis(50));
        }
        // Nobody else is held up.
        let mut other = Client::login(bench.pgveil.port(), user, "", "postgres");
        assert_eq!(tags(&other.query("SELECT 1")), "TDCZ");
        assert_eq!(drained(&mut client), expected, "{user}");
    }
}

#[test]
fn a_client_that_closes_its_half_gets_what_it_asked_for() {
    let bench = Bench::start();
    let scripts = [
        ("after a query", vec![query("SELECT 1; SELECT 2")]),
        (
            "after a large result",
            vec![query(
                "SELECT repeat('h', 1000) FROM generate_series(1, 20000)",
            )],
        ),
        (
            "in a batch without a sync",
            vec![
                parse("", "SELECT 1", &[]),
                bind("", "", &[], 0),
                execute("", 0),
            ],
        ),
        ("in a transaction", vec![query("BEGIN"), query("SELECT 1")]),
        (
            "in a copy",
            vec![query("COPY plain FROM STDIN"), copy_data(b"3\tx\n")],
        ),
        (
            "within a message",
            vec![query("SELECT 1"), b"Q\0\0\0\x20SEL".to_vec()],
        ),
        (
            "within a header",
            vec![query("SELECT 1"), b"Q\0\0".to_vec()],
        ),
        ("at once", vec![]),
    ];
    let mut failures = Vec::new();
    for user in ["clear", "blind"] {
        for (name, messages) in &scripts {
            let [direct, through] = bench.ports().map(|port| {
                let mut client = Client::login(port, user, "", "postgres");
                let bytes = messages.concat();
                client.send_raw(&bytes);
                client.finish();
                let frames: Vec<Frame> = std::iter::from_fn(|| client.read()).collect();
                match user {
                    "clear" => frames,
                    _ => kept(frames),
                }
            });
            failures.extend(difference(&format!("{user}, {name}"), &direct, &through));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Nothing of it is left on the server.
    let left = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('clear', 'blind')";
    let began = Instant::now();
    while bench.server.sql("postgres", left)[0][0].as_deref() != Some("0") {
        assert!(began.elapsed() < PATIENCE, "sessions are left");
    }
}

#[test]
fn notifications_of_others_come_between_transactions() {
    let bench = Bench::start();
    let heard = |port| -> Vec<Frame> {
        let mut client = Client::login(port, "clear", "", "postgres");
        let other = |text: &str| {
            bench.server.sql("postgres", text);
        };
        let mut frames = client.query("LISTEN ch");
        // Idle: it comes by itself.
        other("NOTIFY ch, 'to the idle'");
        frames.extend(client.read());
        // In a transaction: with its end.
        frames.extend(client.query("BEGIN"));
        other("NOTIFY ch, 'to the busy'; NOTIFY ch, 'again'");
        frames.extend(client.query("SELECT 1"));
        frames.extend(client.query("COMMIT"));
        let script = Script {
            name: "",
            pieces: vec![(vec![query("UNLISTEN ch")], Until::Ready(1))],
        };
        frames.extend(played(&mut client, &script, 0));
        for frame in &mut frames {
            if frame.tag == b'A' {
                frame.body.drain(..4);
            }
        }
        frames
    };
    let [direct, through] = bench.ports().map(heard);
    assert_eq!(difference("notifications", &direct, &through), None);
    assert_eq!(tags(&direct).matches('A').count(), 3, "{}", tags(&direct));
}
