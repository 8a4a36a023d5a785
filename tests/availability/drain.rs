//! What is under way when pgveil ends is finished, or ended with a word, and on record either way.
use std::thread;
use std::time::{Duration, Instant};

use pgveil::audit::verify::{Expectation, verify};

use crate::support::guard::signal;
use crate::support::message::query;
use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{POLICY, SCHEMA, attempt, error};

const ENDLESS: &str = "SELECT generate_series(1, 1000000000), phone FROM people";

fn bench(limits: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set("limits", limits);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

/// Whoever has seen rows is on record for it, also where pgveil's own end comes before that of the statement.
#[test]
fn rows_that_were_seen_are_on_record_though_the_drain_ends_before_the_statement() {
    // The limit is over; a second signal; a client that takes nothing any more.
    for (limits, twice, reads) in [
        ("{ drain_timeout: 1s }", false, true),
        ("{ drain_timeout: 60s }", true, true),
        ("{ drain_timeout: 1s }", false, false),
    ] {
        let (_server, mut pgveil) = bench(limits);
        let mut clients: Vec<_> = ["clear", "blind"]
            .map(|user| {
                let mut client = attempt(pgveil.port(), user).ok().expect("in");
                client.send_raw(&query(ENDLESS));
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
                        use std::io::Read;
                        let mut buffer = vec![0; 1 << 16];
                        while client.stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
                    });
                }
            }
            assert!(pgveil.wait().success());
        });
        for user in ["clear", "blind"] {
            let lines = pgveil.audit_lines();
            let of = |event: &str| {
                lines.iter().any(|line| {
                    line.contains(&format!("\"event\":\"{event}\""))
                        && line.contains(&format!("\"db_user\":\"{user}\""))
                        && (event == "logout" || line.contains("generate_series"))
                })
            };
            assert!(
                of("statement"),
                "{limits} {twice} {reads}: {user}: {lines:#?}"
            );
            assert!(of("logout"), "{limits} {twice} {reads}: {user}: {lines:#?}");
        }
        verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
    }
}

#[test]
fn who_has_just_come_gets_to_begin_though_pgveil_is_to_end() {
    let (_server, mut pgveil) = bench("{ drain_timeout: 30s }");
    let mut idle = attempt(pgveil.port(), "clear").ok().expect("in");
    let mut busy = attempt(pgveil.port(), "blind").ok().expect("in");
    let began = Instant::now();
    pgveil.terminate();
    assert!(pgveil.wait_for_log("ending"));
    for _ in 0..10 {
        assert_eq!(error(&busy.query("SELECT 1")), None);
        thread::sleep(Duration::from_millis(100));
    }
    for client in [&mut idle, &mut busy] {
        let told = client.read().expect("told why");
        assert_eq!(told.field(b'C').as_deref(), Some("57P01"));
    }
    assert!(pgveil.wait().success());
    assert!(began.elapsed() < PATIENCE / 2, "nobody waits for the limit");
}
