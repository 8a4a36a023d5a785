//! `kill -9` under load: every statement whose end a client received is on record, and the chain verifies.
use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::message::{Client, query};
use crate::support::pgveil::command;
use crate::support::{Config, Options, Pgveil, Postgres};

const ROUNDS: usize = 50;
const CLIENTS: usize = 64;
/// Statements that the clients of a round finish together before the process is killed.
const BEFORE_THE_KILL: usize = 640;

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } } }
unmatched: deny
";

/// How far the clients of a round are.
#[derive(Default)]
struct Round {
    inside: AtomicUsize,
    finished: AtomicUsize,
}

impl Round {
    /// Everybody is logged in and enough is done: a connection that breaks now breaks amid statements.
    fn under_load(&self) -> bool {
        self.inside.load(Ordering::Relaxed) == CLIENTS
            && self.finished.load(Ordering::Relaxed) >= BEFORE_THE_KILL
    }
}

/// Runs statements until the connection breaks; the number whose end arrived.
fn work(port: u16, name: &str, round: &Round) -> usize {
    let mut client = Client::try_login(
        port,
        "agent",
        "",
        &[
            ("user", "agent"),
            ("database", "postgres"),
            ("application_name", name),
        ],
    )
    .expect("login");
    round.inside.fetch_add(1, Ordering::Relaxed);
    let mut ended = 0;
    let mut pending: Vec<u8> = Vec::new();
    use std::io::Write;
    loop {
        if client
            .stream
            .write_all(&query("SELECT id, phone FROM people WHERE id = 7"))
            .is_err()
        {
            return ended;
        }
        loop {
            let mut chunk = [0; 4096];
            match client.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return ended,
                Ok(read) => pending.extend(&chunk[..read]),
            }
            let (ends, ready) = take(&mut pending);
            ended += ends;
            round.finished.fetch_add(ends, Ordering::Relaxed);
            if ready {
                break;
            }
        }
    }
}

/// Takes whole messages off the buffer: how many CommandComplete, and whether a ReadyForQuery was among them.
fn take(pending: &mut Vec<u8>) -> (usize, bool) {
    let (mut ends, mut ready) = (0, false);
    while pending.len() >= 5 {
        let length = u32::from_be_bytes(pending[1..5].try_into().expect("four bytes")) as usize + 1;
        if pending.len() < length {
            break;
        }
        ends += usize::from(pending[0] == b'C');
        ready |= pending[0] == b'Z';
        pending.drain(..length);
    }
    (ends, ready)
}

#[test]
fn what_a_client_received_is_on_record_after_kill_9() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE TABLE people(id int PRIMARY KEY, phone text); \
         INSERT INTO people SELECT g, '138'||lpad(g::text, 8, '0') FROM generate_series(1, 50) g; GRANT SELECT ON people TO agent",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let mut pgveil = Pgveil::start(&config);
    let received: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    for round in 0..ROUNDS {
        let progress = Arc::new(Round::default());
        let workers: Vec<_> = (0..CLIENTS)
            .map(|index| {
                let (port, progress, received) =
                    (pgveil.port(), Arc::clone(&progress), Arc::clone(&received));
                thread::spawn(move || {
                    let name = format!("round {round} client {index}");
                    let ended = work(port, &name, &progress);
                    received.lock().expect("received").insert(name, ended);
                })
            })
            .collect();
        while !progress.under_load() && workers.iter().any(|worker| !worker.is_finished()) {
            thread::yield_now();
        }
        pgveil.kill();
        for worker in workers {
            worker.join().expect("a worker");
        }
        pgveil = pgveil.restart();
    }
    assert!(pgveil.stop().success());

    let mut recorded: HashMap<String, usize> = HashMap::new();
    for line in pgveil.audit_lines() {
        let record: serde_json::Value = serde_json::from_str(&line).expect("a record is JSON");
        if record["event"] == "statement" {
            let name = record["application_name"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            *recorded.entry(name).or_default() += 1;
        }
    }
    let received = received.lock().expect("received");
    let total: usize = received.values().sum();
    assert!(
        total >= ROUNDS * BEFORE_THE_KILL,
        "too little load: {total} statements"
    );
    for (name, ended) in received.iter() {
        let found = recorded.get(name).copied().unwrap_or(0);
        assert!(
            found >= *ended,
            "{name}: {ended} ends received, {found} on record"
        );
    }
    let verified = command()
        .args(["audit", "verify", "--dir"])
        .arg(pgveil.audit_dir())
        .output()
        .expect("verify runs");
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stderr)
    );
    println!("{total} statements received over {ROUNDS} kills, all on record");
}
