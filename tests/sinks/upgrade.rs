//! Another process takes over while sinks have work: the two of them deliver every record.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use crate::house::until;
use crate::nats::{self, Nats};
use crate::support::guard::{Guard, signal};
use crate::support::message::{Client, Frame};
use crate::support::{Config, Options, Pgveil, Postgres, skip};

#[cfg(feature = "kafka")]
mod topic;

const WORKERS: usize = 8;
const UPGRADES: usize = 3;
/// Of each worker, between two upgrades.
const STATEMENTS: usize = 20;

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: postgres }], unmasked: true }
unmatched: deny
";

/// What the old process says of the one that has taken over.
const SERVES: &str = "the successor serves";

fn served(frames: &[Frame]) -> bool {
    frames.last().is_some_and(|frame| frame.tag == b'Z')
        && frames.iter().all(|frame| frame.tag != b'E')
}

/// Ends what the harness has not started, by a panic too; the guards do if the test is killed.
#[derive(Default)]
struct Successors(Vec<(u32, Guard)>);

impl Drop for Successors {
    fn drop(&mut self) {
        for (pid, _) in &self.0 {
            signal(*pid, "KILL");
        }
    }
}

/// Every place in the chain.
fn recorded(pgveil: &Pgveil) -> BTreeSet<u64> {
    let files = std::fs::read_dir(pgveil.audit_dir()).expect("a record");
    let files = files.flatten().map(|entry| entry.path());
    let segments = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    segments
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("a segment");
            text.lines().filter_map(place).collect::<Vec<_>>()
        })
        .collect()
}

fn place(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?["seq"].as_u64()
}

/// Works through a pgveil with that sink across upgrades, each with sessions that were there before; gives what is on record
/// afterwards, and the last one, which is still there to tell it.
async fn upgraded(sink: &str) -> (BTreeSet<u64>, (Pgveil, Successors)) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE TABLE people (id int, phone text); INSERT INTO people VALUES (7, '1387')",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set("limits", "{ drain_timeout: 60s }");
    config.set(
        "audit",
        &format!("\n  dir: var/audit\n  sinks:\n    sink: {sink}"),
    );
    let pgveil = Pgveil::start(&config);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut started = Successors::default();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // One session in the middle of a transaction whenever another process takes over.
                    let mut client = Client::login(pgveil.port(), "postgres", "", "postgres");
                    assert!(served(&client.query("BEGIN")));
                    let (from, mut turn) = (pgveil.pids_in_log(SERVES).len(), 0);
                    while turn < STATEMENTS
                        || (pgveil.pids_in_log(SERVES).len() == from
                            && !stop.load(Ordering::Relaxed))
                    {
                        let frames = client.query("SELECT phone FROM people WHERE id = 7");
                        assert!(served(&frames), "{frames:?}");
                        done.fetch_add(1, Ordering::Relaxed);
                        turn += 1;
                    }
                    assert!(served(&client.query("COMMIT")));
                }
            });
        }
        for turn in 1..=UPGRADES {
            let before = done.load(Ordering::Relaxed);
            wait("nothing is served", &stop, || {
                done.load(Ordering::Relaxed) > before + WORKERS * STATEMENTS
            });
            let current = pgveil.pids_in_log(SERVES).last().copied();
            signal(current.unwrap_or(pgveil.pid()), "USR2");
            wait("nobody takes over", &stop, || {
                pgveil.pids_in_log(SERVES).len() == turn
            });
            let pid = pgveil.pids_in_log(SERVES)[turn - 1];
            let guard = Guard::watch(pid, "KILL", pgveil.folder());
            started.0.push((pid, guard));
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Logouts are on record, too, by then.
    let has_ended = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    };
    let line = pgveil.pids_in_log(SERVES);
    until("the former processes end", || async {
        has_ended(&pgveil.pid()) && line[..UPGRADES - 1].iter().all(has_ended)
    })
    .await;
    until("sessions are on record to their ends", || async {
        let metrics = pgveil.http("/metrics");
        metrics.lines().any(|line| line == "pgveil_sessions 0")
    })
    .await;
    assert!(done.load(Ordering::Relaxed) > UPGRADES * WORKERS * STATEMENTS);
    (recorded(&pgveil), (pgveil, started))
}

/// A panic in a scope must not leave the others running.
fn wait(what: &str, stop: &AtomicBool, done: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !done() {
        if began.elapsed() > 4 * crate::support::PATIENCE {
            stop.store(true, Ordering::Relaxed);
            panic!("{what}");
        }
        thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_every_record_though_other_processes_took_over() {
    let name = "a_stream_has_every_record_though_other_processes_took_over";
    let Some(program) = nats::program() else {
        skip(name, "nats-server is not installed");
        return;
    };
    let mut server = Nats::new(program, None);
    server.start();
    server.stream(None).await;
    let (port, token) = (server.port, nats::TOKEN);
    let (recorded, _running) = upgraded(&format!(
        "{{ type: nats, url: \"nats://localhost:{port}\", subject: pgveil.audit, token: {token} }}"
    ))
    .await;
    let held = || async {
        let stream = server.context(None).await.get_stream("AUDIT").await;
        stream.expect("a stream").cached_info().state.messages
    };
    until("the stream has as many records", || async {
        held().await >= recorded.len() as u64
    })
    .await;
    let messages = server.messages(None).await;
    let there: BTreeSet<u64> = messages
        .iter()
        .filter_map(|(_, text)| place(text))
        .collect();
    let missing: Vec<_> = recorded.difference(&there).collect();
    println!("{} records, {} messages", recorded.len(), messages.len());
    assert!(
        missing.is_empty(),
        "{} are missing: {missing:?}",
        missing.len()
    );
    // The server knows what it was sent twice.
    assert_eq!(messages.len(), there.len());
}
