//! Another process takes over: nobody is refused, no transaction fails, and one sound record tells it all.
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pgveil::audit::verify::{Expectation, verify};

use crate::line::{Line, SERVES, Stop, has_ended, run, until};
use crate::support::guard::signal;
use crate::support::message::{Client, query};
use crate::support::{Config, Folder, Options, PATIENCE, Pgveil, Postgres, free_port};
use crate::{POLICY, SCHEMA, attempt, error, values};

const CLIENTS: usize = 64;
const UPGRADES: usize = 3;

pub fn bench(limits: &str) -> (Postgres, Config) {
    let server = Postgres::start(Options {
        settings: &[("max_connections", "400")],
        ..Options::default()
    });
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set("limits", limits);
    (server, config)
}

#[test]
fn nobody_is_refused_and_no_transaction_fails_across_upgrades() {
    let (server, mut config) = bench("{ drain_timeout: 60s, max_sessions: 300 }");
    let console = free_port();
    config.set("console", &format!("{{ listen: \"127.0.0.1:{console}\" }}"));
    config.set(
        "audit",
        "{ dir: var/audit, sinks: { copy: { type: file, path: var/copy.jsonl } } }",
    );
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let script = pgveil.folder().join("reconnect.sql");
    let text = "INSERT INTO kept (who) VALUES ('pgbench');\n\\sleep 50 ms\nSELECT phone FROM people WHERE id = 7;\n";
    fs::write(&script, text).expect("written");
    let mut bench = server.program("pgbench");
    let clients = (CLIENTS / 2).to_string();
    bench
        .args([
            "-n", "-C", "-T", "600", "-j", "2", "-c", &clients, "-U", "blind", "-f",
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
    let bench = bench.spawn().expect("pgbench runs");
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let done: Vec<usize> = thread::scope(|scope| {
        // A panic here must not leave the others running.
        let ending = Stop(&stop);
        // Long transactions, each over at least one upgrade, in a session of its own.
        let workers: Vec<_> = (0..CLIENTS / 2)
            .map(|number| {
                let (stop, port) = (&stop, pgveil.port());
                scope.spawn(move || {
                    let mut done = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let mut client = attempt(port, "clear")
                            .unwrap_or_else(|words| panic!("refused: {words:?}"));
                        run(&mut client, "BEGIN").expect("begins");
                        run(&mut client, "INSERT INTO kept (who) VALUES ('long')")
                            .expect("goes on");
                        thread::sleep(Duration::from_millis(500 + 100 * number as u64));
                        run(
                            &mut client,
                            "SELECT count(*) FROM kept WHERE who = 'long'; COMMIT",
                        )
                        .expect("ends");
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        // The other listeners answer all the time, too.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let ready = pgveil.http("/readyz");
                assert!(ready.contains(" 200 "), "{ready}");
                std::net::TcpStream::connect(("127.0.0.1", console)).expect("a console");
                asked.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let began = Instant::now();
        for turn in 0..UPGRADES {
            let (before, asked_before) =
                (pgveil.audit_lines().len(), asked.load(Ordering::Relaxed));
            line.upgrade();
            // Each of them has something to do.
            until("nothing is served", || {
                pgveil.audit_lines().len() > before + CLIENTS
                    && asked.load(Ordering::Relaxed) > asked_before
            });
            let left = line.pids.iter().filter(|pid| !has_ended(**pid)).count();
            println!("upgrade {turn}: {left} processes, {:?}", began.elapsed());
        }
        drop(ending);
        let done = workers
            .into_iter()
            .map(|worker| worker.join().expect("a client"));
        done.collect()
    });
    // Not INT: where the tests run in the background it is ignored.
    signal(bench.id(), "TERM");
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
        let rows = server.sql("postgres", &text);
        rows[0][0]
            .as_deref()
            .unwrap_or("0")
            .parse()
            .expect("a number")
    };
    assert_eq!(count("long"), long, "what was committed is there");
    let served = count("pgbench");
    println!("{long} long transactions, {served} of pgbench");
    assert!(served > CLIENTS);

    // One chain, in which every transaction is, each session under a number of its own.
    let report = verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
    assert_eq!(report.lost, 0);
    let (mut sessions, mut places) = (BTreeSet::new(), BTreeSet::new());
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
        places.insert(record["seq"].as_u64().expect("a place"));
    }
    assert_eq!(starts, UPGRADES + 1);
    assert!(inserts >= long + served, "{inserts} of {}", long + served);
    // The sink has each of them, whichever process has delivered it.
    let copy = fs::read_to_string(pgveil.folder().join("var/copy.jsonl")).expect("a sink");
    for line in copy.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        places.remove(&record["seq"].as_u64().expect("a place"));
    }
    assert!(
        places.is_empty(),
        "{} are missing: {places:?}",
        places.len()
    );
}

#[test]
fn a_session_of_the_old_process_goes_on_masked_recorded_and_cancelled_as_before() {
    let (server, config) = bench("{ drain_timeout: 10min }");
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let mut old = attempt(pgveil.port(), "blind").expect("in");
    line.upgrade();
    // Nobody ends it, though it does nothing.
    let pause = Some(Duration::from_millis(1500));
    old.stream.set_read_timeout(pause).expect("set");
    assert!(old.stream.peek(&mut [0]).is_err(), "it is told something");
    old.stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let shown = values(&old.query("SELECT phone FROM people WHERE id = 7"));
    assert_eq!(shown, ["***"]);
    // What was answered is on record, by the time it is.
    let recorded = pgveil
        .audit_lines()
        .iter()
        .any(|line| line.contains("people") && line.contains("\"event\":\"statement\""));
    assert!(recorded, "{:#?}", pgveil.audit_lines());
    // The listener is another process's; the session is not.
    old.send_raw(&query("SELECT pg_sleep(600)"));
    let runs = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%sleep(600)%' AND pid <> pg_backend_pid()";
    until("it does not run", || {
        !server.sql("postgres", runs).is_empty()
    });
    old.cancel(pgveil.port());
    let told = error(&old.read_until_ready()).expect("cancelled");
    assert!(told.starts_with("57014"), "{told}");
    assert!(!has_ended(line.pids[0]));
    drop(old);
    until("the old process does not end", || has_ended(line.pids[0]));
    line.stop();
    verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
}

/// Rows that each process has leased are counted once, and what one has not spent is there for the other.
#[test]
fn a_person_has_one_budget_in_both_processes() {
    const LIMIT: usize = 320;
    const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: clear }, { db_user: postgres }], unmasked: true }
  blind: { who: [{ db_user: blind }], mask: { phone: redact }, export: { per_hour: 320 } }
unmatched: deny
";
    let (_server, mut config) = bench("{ drain_timeout: 10min }");
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let login = || attempt(pgveil.port(), "blind").expect("in");
    // One row at a time, until there are no more to be had or that many were.
    let take = |client: &mut Client, most: usize| {
        let mut taken = 0;
        while taken < most {
            let frames = client.query("SELECT phone FROM people LIMIT 1");
            match error(&frames) {
                None => taken += values(&frames).len(),
                Some(words) => {
                    assert!(words.starts_with("42501"), "{words}");
                    break;
                }
            }
        }
        taken
    };
    let mut old = login();
    let mut taken = take(&mut old, 5);
    line.upgrade();
    let mut new = login();
    taken += take(&mut new, 5);
    taken += take(&mut old, 5);
    assert_eq!(taken, 15);
    drop(old);
    until("the old process does not end", || has_ended(line.pids[0]));
    taken += take(&mut new, 2 * LIMIT);
    assert_eq!(taken, LIMIT, "neither lost nor counted twice");
    line.stop();
}

#[test]
fn a_service_manager_is_told_which_process_to_watch() {
    let (_server, mut config) = bench("{ drain_timeout: 10min }");
    let folder = Folder::new("manager");
    let name = folder.path().join("notify");
    let manager = UnixDatagram::bind(&name).expect("bound");
    manager.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let heard = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).into_owned()
    };
    config.env("NOTIFY_SOCKET", &name.display().to_string());
    config.env("WATCHDOG_USEC", "600000000");
    let pgveil = Pgveil::start(&config);
    let mut line = Line::of(&pgveil);
    let main = |pid: u32| format!("MAINPID={pid}\nWATCHDOG=1");
    assert!(heard().starts_with("READY=1\n"));
    assert_eq!(heard(), "WATCHDOG=1");
    let held = attempt(pgveil.port(), "blind").expect("in");
    line.upgrade();
    // Both speak, in whatever order.
    let mut said = BTreeSet::from([heard(), heard(), heard()]);
    assert!(said.remove(&main(line.current())), "{said:?}");
    assert!(said.remove("WATCHDOG=1"), "{said:?}");
    let ready = said.iter().all(|words| words.starts_with("READY=1\n"));
    assert!(ready, "{said:?}");
    // Nobody is watched that is not there: the old one is, until there is another one.
    signal(line.current(), "KILL");
    let replaced = line.next(SERVES, 1);
    let mut said = Vec::new();
    while !said.contains(&main(replaced)) {
        said.push(heard());
    }
    assert_eq!(said[..2], [main(pgveil.pid()), "WATCHDOG=1".to_owned()]);
    drop(held);
    until("the old process does not end", || has_ended(pgveil.pid()));
    line.stop();
    while heard() != "STOPPING=1\nSTATUS=draining" {}
}
