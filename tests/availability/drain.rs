//! What is under way when pgveil ends is finished, or ended with a word, and on record either way.
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use pgveil::audit::verify::{Expectation, verify};
use pgveil::session::drain::QUIET;

use crate::line::run;
use crate::support::guard::signal;
use crate::support::message::query;
use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{POLICY, SCHEMA, attempt};

const ENDLESS: &str = "SELECT generate_series(1, 1000000000), phone FROM people";
const BEHIND: &str = "INSERT INTO kept (who) VALUES ('behind')";

fn start(server: &Postgres, limits: &str) -> Pgveil {
    let mut config = Config::new(server);
    config.policy(POLICY);
    config.set("limits", limits);
    Pgveil::start(&config)
}

fn server() -> Postgres {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    server
}

/// Whoever has seen rows is on record for it, also where pgveil's own end comes before that of the statement; and so is what the
/// server had got behind it, of which nobody can say whether it was run.
#[test]
fn statements_that_the_drain_cuts_off_are_on_record() {
    let server = server();
    // The limit is over; a second signal; a client that takes nothing any more.
    for (limits, twice, reads) in [
        ("{ drain_timeout: 1s }", false, true),
        ("{ drain_timeout: 60s }", true, true),
        ("{ drain_timeout: 1s }", false, false),
    ] {
        let mut pgveil = start(&server, limits);
        let mut clients: Vec<_> = ["clear", "blind"]
            .map(|user| {
                let mut client = attempt(pgveil.port(), user).expect("in");
                client.send_all(&[query(ENDLESS), query(BEHIND)]);
                for _ in 0..100 {
                    assert!(client.read().is_some());
                }
                client
            })
            .into();
        pgveil.terminate();
        assert!(pgveil.wait_for_log("ending"));
        if twice {
            signal(pgveil.pid(), "TERM");
        }
        thread::scope(|scope| {
            if reads {
                for client in &mut clients {
                    scope.spawn(|| {
                        let mut buffer = vec![0; 1 << 16];
                        while client.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    });
                }
            }
            assert!(pgveil.wait().success());
        });
        let case = format!("{limits} {twice} {reads}");
        let records: Vec<serde_json::Value> = pgveil
            .audit_lines()
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        for (user, verdict) in [("clear", "pass"), ("blind", "rewrite")] {
            let of = |event: &str| -> Vec<&serde_json::Value> {
                let wanted = |record: &&serde_json::Value| {
                    record["event"] == event && record["db_user"] == user
                };
                records.iter().filter(wanted).collect()
            };
            let [endless, behind] = of("statement")[..] else {
                panic!("{case}: {user}: {records:#?}");
            };
            assert_eq!(endless["verdict"], verdict, "{case}: {endless}");
            assert!(endless["rows"].as_u64() >= Some(50), "{case}: {endless}");
            assert_eq!(behind["kind"], "INSERT", "{case}: {behind}");
            for cut in [endless, behind] {
                assert_eq!(cut["sqlstate"], "57P01", "{case}: {cut}");
            }
            assert_eq!(of("logout").len(), 1, "{case}: {user}");
        }
        verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
    }
}

#[test]
fn who_has_just_come_gets_to_begin_though_pgveil_is_to_end() {
    let server = server();
    let mut pgveil = start(&server, "{ drain_timeout: 30s }");
    let mut idle = attempt(pgveil.port(), "clear").expect("in");
    let mut busy = attempt(pgveil.port(), "blind").expect("in");
    let mut answered = Instant::now();
    pgveil.terminate();
    assert!(pgveil.wait_for_log("ending"));
    for _ in 0..10 {
        let begins = Instant::now();
        if let Err(words) = run(&mut busy, "SELECT 1") {
            // Unless this client itself was kept from running for too long.
            let late = begins.duration_since(answered) >= QUIET / 2;
            assert!(late && words.starts_with("57P01"), "{words}");
            break;
        }
        answered = Instant::now();
        thread::sleep(Duration::from_millis(100));
    }
    let ended = |client: &mut crate::support::message::Client| {
        let told = client.read()?;
        assert_eq!(told.field(b'C').as_deref(), Some("57P01"));
        client.read()
    };
    assert!(ended(&mut idle).is_none());
    assert!(ended(&mut busy).is_none());
    assert!(pgveil.wait().success());
    assert!(
        answered.elapsed() < PATIENCE / 2,
        "nobody waits for the limit"
    );
}
