//! Another process takes over: nobody is refused, no transaction fails, and one sound record tells it all.
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgveil::audit::verify::{Expectation, verify};

use crate::support::guard::signal;
use crate::support::message::{Client, query, untagged};
use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{POLICY, SCHEMA, attempt, error, values};

const CLIENTS: usize = 64;

fn bench(limits: &str) -> (Postgres, Config, Pgveil) {
    let server = Postgres::start(Options {
        settings: &[("max_connections", "400")],
        ..Options::default()
    });
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set("limits", limits);
    let pgveil = Pgveil::start(&config);
    (server, config, pgveil)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < 4 * PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Successors of a process under test, which the harness knows nothing of; killed in the end.
struct Line<'a> {
    pgveil: &'a Pgveil,
    pids: Vec<u32>,
}

impl<'a> Line<'a> {
    fn of(pgveil: &'a Pgveil) -> Self {
        Line {
            pgveil,
            pids: vec![pgveil.pid()],
        }
    }

    fn current(&self) -> u32 {
        *self.pids.last().expect("the first at least")
    }

    /// Pids that the log names behind some words.
    fn named(&self, words: &str) -> Vec<u32> {
        let log = self.pgveil.log();
        let lines = log.lines().filter(|line| line.contains(words));
        let pid = |line: &str| {
            line.split("pid=")
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        lines.filter_map(pid).collect()
    }

    fn upgrade(&mut self) {
        let before = self.named("the successor serves").len();
        signal(self.current(), "USR2");
        until("the successor does not serve", || {
            self.named("the successor serves").len() > before
        });
        let serves = self.named("the successor serves");
        self.pids.push(*serves.last().expect("a pid"));
    }

    fn ended(pid: u32) -> bool {
        let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    }

    fn stop(&self) {
        signal(self.current(), "TERM");
        for pid in &self.pids {
            until("a process does not end", || Self::ended(*pid));
        }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        for pid in &self.pids {
            signal(*pid, "KILL");
        }
    }
}

#[test]
fn nobody_is_refused_and_no_transaction_fails_across_ten_upgrades() {
    let (server, _config, pgveil) = bench("{ drain_timeout: 60s, max_sessions: 300 }");
    let mut line = Line::of(&pgveil);
    let script = pgveil.folder().join("reconnect.sql");
    fs::write(
        &script,
        "INSERT INTO kept (who) VALUES ('pgbench');\nSELECT phone FROM people WHERE id = 7;\n",
    )
    .expect("written");
    let mut bench = server.program("pgbench");
    bench
        .args([
            "-n",
            "-C",
            "-T",
            "600",
            "-j",
            "2",
            "-c",
            &(CLIENTS / 2).to_string(),
            "-U",
            "blind",
            "-f",
        ])
        .arg(&script)
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &pgveil.port().to_string(),
            "postgres",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut bench = bench.spawn().expect("pgbench runs");
    let stop = AtomicBool::new(false);
    let done: Vec<usize> = thread::scope(|scope| {
        // Long transactions, each over at least one upgrade, in a session of its own.
        let workers: Vec<_> = (0..CLIENTS / 2)
            .map(|number| {
                let (stop, port) = (&stop, pgveil.port());
                scope.spawn(move || {
                    let mut done = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let mut client = attempt(port, "clear")
                            .unwrap_or_else(|words| panic!("refused: {words:?}"));
                        for text in ["BEGIN", "INSERT INTO kept (who) VALUES ('long')"] {
                            assert_eq!(error(&client.query(text)), None);
                        }
                        let pause = Duration::from_millis(500 + 100 * number as u64);
                        thread::sleep(pause);
                        let frames =
                            client.query("SELECT count(*) FROM kept WHERE who = 'long'; COMMIT");
                        assert_eq!(error(&frames), None);
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        for turn in 0..10 {
            line.upgrade();
            println!(
                "upgrade {turn}: {} processes",
                line.pids.iter().filter(|pid| !Line::ended(**pid)).count()
            );
        }
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a client"))
            .collect()
    });
    signal(bench.id(), "INT");
    let output = bench.wait_with_output().expect("pgbench ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(
        !said.contains("aborted") && !said.contains("failed:") && !said.contains("error:"),
        "{said}"
    );
    line.stop();
    let long: usize = done.iter().sum();
    assert!(long >= CLIENTS / 2, "{long}");
    let count = |who: &str| -> usize {
        let text = format!("SELECT count(*) FROM kept WHERE who = '{who}'");
        server.sql("postgres", &text)[0][0]
            .as_deref()
            .unwrap_or("0")
            .parse()
            .expect("a number")
    };
    assert_eq!(count("long"), long, "what was committed is there");
    let served = count("pgbench");
    println!("{long} long transactions, {served} of pgbench");

    // One chain, in which every transaction is, each session under a number of its own.
    let report = verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
    assert_eq!(report.lost, 0);
    let mut sessions = std::collections::BTreeSet::new();
    let (mut starts, mut inserts) = (0, 0);
    for line in pgveil.audit_lines() {
        let record: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        match record["event"].as_str() {
            Some("start") => starts += 1,
            Some("login") => assert!(
                sessions.insert(record["session"].as_u64()),
                "a session twice"
            ),
            Some("statement") if record["kind"] == "INSERT" => inserts += 1,
            _ => {}
        }
    }
    assert_eq!(starts, 11);
    assert!(inserts >= long + served, "{inserts} of {}", long + served);
}

#[test]
fn a_session_of_the_old_process_is_masked_recorded_and_cancelled_as_before() {
    let (_server, _config, pgveil) = bench("{ drain_timeout: 60s }");
    let mut line = Line::of(&pgveil);
    let mut old = attempt(pgveil.port(), "blind").ok().expect("in");
    assert_eq!(error(&old.query("BEGIN")), None);
    line.upgrade();
    let shown = values(&old.query("SELECT phone FROM people WHERE id = 7"));
    assert_ne!(shown, ["1387"]);
    // What was answered is on record, by the time it is.
    let recorded = || {
        pgveil
            .audit_lines()
            .iter()
            .any(|line| line.contains("people") && line.contains("\"event\":\"statement\""))
    };
    assert!(recorded(), "{:#?}", pgveil.audit_lines());
    // The listener is another process's; the session is not.
    old.send_raw(&query("SELECT pg_sleep(600)"));
    let mut request = 80_877_102_u32.to_be_bytes().to_vec();
    request.extend(old.session.backend_pid.to_be_bytes());
    request.extend(&old.session.secret);
    thread::sleep(Duration::from_millis(300));
    Client::connect(pgveil.port()).send_raw(&untagged(&request));
    assert!(
        error(&old.read_until_ready())
            .expect("cancelled")
            .starts_with("57014")
    );
    old.query("ROLLBACK");
    // It has been idle for a while: the old process is done with it.
    let told = old.read().expect("told why");
    assert_eq!(told.field(b'C').as_deref(), Some("57P01"));
    until("the old process does not end", || Line::ended(line.pids[0]));

    // The new one is killed while the old one still has a session: that goes on alone.
    let mut old = attempt(pgveil.port(), "blind").ok().expect("in");
    assert_eq!(error(&old.query("BEGIN")), None);
    line.upgrade();
    signal(line.current(), "KILL");
    until("it does not die", || Line::ended(line.current()));
    assert_eq!(values(&old.query("SELECT 'alone'")), ["alone"]);
    assert_eq!(error(&old.query("COMMIT")), None);
    drop(old);
    for pid in &line.pids {
        until("a process does not end", || Line::ended(*pid));
    }
    verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
    assert!(
        pgveil
            .audit_lines()
            .iter()
            .any(|line| line.contains("COMMIT"))
    );
}

#[test]
fn a_successor_that_cannot_begin_leaves_everything_as_it_was() {
    let (_server, config, pgveil) = bench("{ drain_timeout: 60s }");
    let mut line = Line::of(&pgveil);
    let mut stays = attempt(pgveil.port(), "blind").ok().expect("in");
    let file = pgveil.folder().join("pgveil.yaml");
    fs::write(&file, config.text() + "nonsense: 1\n").expect("written");
    signal(pgveil.pid(), "USR2");
    assert!(pgveil.wait_for_log("the successor does not take over"));
    assert_eq!(values(&stays.query("SELECT 'as before'")), ["as before"]);
    assert!(attempt(pgveil.port(), "blind").is_ok());
    fs::write(&file, config.text()).expect("written");
    line.upgrade();
    assert!(attempt(pgveil.port(), "blind").is_ok());
    drop(stays);
    line.stop();
    // Twice the folder is nobody's for a moment, and never two's.
    verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
}
