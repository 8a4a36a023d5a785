//! `kill -9` of pgveil at random points while exports are asked for, signed, used and counted.
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use serde_json::Value;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::approvers::Approvers;
use crate::support::pgveil::command;
use crate::support::{Config, Folder, PATIENCE, Pgveil};
use crate::{ROWS, policy, server};

const APPROVALS: usize = 200;
/// Acknowledged approvals between two kills at most.
const BETWEEN: u64 = 30;
const WORKERS: usize = 6;
/// People that each of them asks for in turn.
const PEOPLE: usize = 12;
/// Of a person on a day.
const LIMIT: usize = 6000;
const LEASE: usize = LIMIT / 32;
/// Rows of the statements that need a grant.
const GRANTED: usize = 150;
/// Rows of a counted page.
const PAGE: usize = 7;

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// Request and person.
    signed: Vec<(String, String)>,
    /// Results beyond the limit, by request.
    used: BTreeMap<String, u32>,
    /// Rows of the person whose rows are counted.
    rows: usize,
}

#[derive(Default)]
struct Book {
    told: Mutex<Told>,
    changed: Condvar,
}

impl Book {
    fn write(&self, write: impl FnOnce(&mut Told)) {
        write(&mut self.told.lock().expect("the book"));
        self.changed.notify_all();
    }

    fn signatures(&self) -> usize {
        self.told.lock().expect("the book").signed.len()
    }

    fn wait_for_signatures(&self, wanted: usize) {
        let told = self.told.lock().expect("the book");
        let (told, waited) = self
            .changed
            .wait_timeout_while(told, PATIENCE, |told| told.signed.len() < wanted)
            .expect("the book");
        assert!(!waited.timed_out(), "{} of {wanted}", told.signed.len());
    }
}

/// How an answer ended.
#[derive(Debug)]
enum End {
    Whole,
    /// The hint.
    Refused(String),
    /// There was no pgveil, or none any more.
    Broken,
}

/// Runs a statement in a session of its own; the rows that came.
fn run(port: u16, user: &str, text: &str) -> (usize, End) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(port)
            .user(user)
            .dbname("postgres");
        let Ok((client, connection)) = config.connect(NoTls).await else {
            return (0, End::Broken);
        };
        tokio::spawn(connection);
        let Ok(answer) = client.simple_query_raw(text).await else {
            return (0, End::Broken);
        };
        let mut answer = std::pin::pin!(answer);
        let mut rows = 0;
        while let Some(message) = answer.next().await {
            match message {
                Ok(SimpleQueryMessage::Row(_)) => rows += 1,
                Ok(_) => {}
                Err(error) => {
                    let refused = error
                        .as_db_error()
                        .filter(|error| error.code().code() == "42501");
                    let hint = refused.map(|error| error.hint().unwrap_or_default().to_owned());
                    return (rows, hint.map_or(End::Broken, End::Refused));
                }
            }
        }
        (rows, End::Whole)
    })
}

/// Until pgveil is there again.
fn pause() {
    thread::sleep(Duration::from_millis(20));
}

/// The first answer that is one.
fn answered(port: u16, user: &str, text: &str) -> (usize, End) {
    loop {
        match run(port, user, text) {
            (0, End::Broken) => pause(),
            other => return other,
        }
    }
}

fn signed_by(request: &Value, person: &str) -> bool {
    let signatures = request["signatures"].as_array();
    signatures.is_some_and(|all| all.iter().any(|signature| signature["person"] == person))
}

/// Has a person sign, and writes down what was acknowledged.
fn sign(approvers: &Approvers, book: &Book, person: &str, id: &str, by_command: bool) {
    loop {
        let shown = approvers.try_call(person, "GET", &format!("/requests/{id}"), None);
        let Some(shown) = shown.ok().filter(|shown| shown.status == 200) else {
            pause();
            continue;
        };
        let request = shown.json();
        if signed_by(&request, person) {
            // The process that kept it did not come to say so.
            return;
        }
        let seen = request["history"].as_array().map_or(0, Vec::len);
        let acknowledged = match by_command {
            true => approvers
                .approve_by_command(person, id, seen)
                .status
                .success(),
            false => approvers
                .try_approve(person, id, seen)
                .is_ok_and(|answer| answer.status == 200),
        };
        if acknowledged {
            book.write(|told| told.signed.push((id.to_owned(), person.to_owned())));
            return;
        }
    }
}

/// Asks, has signed, and uses, with statement after statement.
fn work(port: u16, approvers: &Approvers, book: &Book, worker: usize) {
    for round in 0.. {
        if book.signatures() >= APPROVALS {
            return;
        }
        let user = format!("u{}", 3 + worker * PEOPLE + round % PEOPLE);
        let from = worker * 800 + round;
        let text =
            format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT {GRANTED}");
        let id = loop {
            match answered(port, &user, &text) {
                (rows, End::Refused(hint)) => {
                    assert!(rows <= ROWS, "{rows} rows without a grant");
                    let id = hint
                        .strip_prefix("export request ")
                        .and_then(|rest| rest.get(..8));
                    break id
                        .unwrap_or_else(|| panic!("no request: {hint}"))
                        .to_owned();
                }
                (rows, end) => assert!(rows <= ROWS, "{rows} rows without a grant: {end:?}"),
            }
        };
        sign(approvers, book, "lea", &id, round % 8 == 3);
        sign(approvers, book, "dan", &id, false);
        // Until it is told that the grant is used, by a result or a refusal; and once more.
        let mut ends = 0;
        while ends < 2 {
            let (rows, end) = answered(port, &user, &text);
            if rows > ROWS {
                book.write(|told| *told.used.entry(id.clone()).or_default() += 1);
            }
            ends += usize::from(!matches!(end, End::Broken));
        }
    }
}

/// Takes counted rows until the others are done.
fn count(port: u16, book: &Book, user: &str) {
    for page in 0.. {
        if book.signatures() >= APPROVALS {
            return;
        }
        let from = page * PAGE % 4000;
        let text = format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT {PAGE}");
        let (rows, end) = answered(port, user, &text);
        book.write(|told| told.rows += rows);
        if matches!(end, End::Refused(_)) {
            return;
        }
    }
}

#[test]
fn kill_9_of_pgveil_loses_no_approval_gives_no_budget_back_and_no_grant_twice() {
    let seed = std::env::var("PGVEIL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        now.as_secs() ^ (u64::from(now.subsec_nanos()) << 20)
    });
    eprintln!("PGVEIL_SEED={seed}");
    let mut dice = Dice(seed);
    let server = server(&[]);
    let mut config = Config::new(&server);
    let limits = format!("rows: {ROWS}, per_day: {LIMIT}, approvers: [legal, dpo]");
    config.policy(&policy(&limits));
    let folder = Folder::new("killed");
    let accounts = [("lea", "lea", "legal"), ("dan", "dan", "dpo")];
    let approvers = Approvers::new(&mut config, &folder.path().join("state.db"), &accounts);
    let (approvers, book) = (Arc::new(approvers), Arc::new(Book::default()));
    let mut pgveil = Pgveil::start(&config);
    let port = pgveil.port();
    let mut tasks: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let (approvers, book) = (Arc::clone(&approvers), Arc::clone(&book));
            thread::spawn(move || work(port, &approvers, &book, worker))
        })
        .collect();
    // One person.
    tasks.extend(["u1", "u2"].map(|user| {
        let book = Arc::clone(&book);
        thread::spawn(move || count(port, &book, user))
    }));

    let mut kills = 0;
    while book.signatures() < APPROVALS {
        let wanted = book.signatures() + 1 + usize::try_from(dice.below(BETWEEN)).expect("few");
        book.wait_for_signatures(wanted.min(APPROVALS));
        // Somewhere in what comes next.
        thread::sleep(Duration::from_micros(dice.below(30_000)));
        pgveil.kill();
        kills += 1;
        pgveil = pgveil.restart();
    }
    for task in tasks {
        task.join().expect("a client");
    }
    // The rest of the day, from what the last process finds.
    let rest = format!("SELECT code FROM contacts LIMIT {ROWS}");
    loop {
        let (rows, end) = run(port, "u1", &rest);
        book.write(|told| told.rows += rows);
        match end {
            End::Whole => assert!(rows > 0),
            End::Refused(_) => break,
            End::Broken => panic!("pgveil has gone"),
        }
    }

    let told = book.told.lock().expect("the book");
    let mut requests = BTreeMap::new();
    for (id, person) in &told.signed {
        let request = requests
            .entry(id)
            .or_insert_with(|| approvers.show("lea", id));
        assert!(signed_by(request, person), "{person} signed {request}");
    }
    let mut uses = 0;
    for (id, seen) in &told.used {
        assert_eq!(*seen, 1, "a grant was used {seen} times: {id}");
        let request = approvers.show("lea", id);
        assert_eq!(request["state"], "used", "{request}");
        let steps = request["history"].as_array().expect("steps");
        let used = steps.iter().filter(|step| step["action"] == "use").count();
        assert_eq!(used, 1, "{request}");
        uses += 1;
    }
    // A killed process takes along what it had leased and what was on its way to two clients, and no more.
    let lost = kills * (2 * LEASE + 2 * PAGE) + LEASE;
    assert!(told.rows <= LIMIT, "{} rows of {LIMIT}", told.rows);
    assert!(
        told.rows + lost >= LIMIT,
        "{} rows of {LIMIT} after {kills} kills",
        told.rows
    );
    assert!(uses * 3 >= told.signed.len(), "{uses} grants used");
    // What was signed is on record, under a chain that is whole.
    assert!(pgveil.stop().success());
    let mut recorded = BTreeMap::new();
    for line in pgveil.audit_lines() {
        let record: Value = serde_json::from_str(&line).expect("a record");
        let export = &record["export"];
        if record["event"] == "export" && export["action"] == "approve" {
            let step = [&export["request"], &export["by"]]
                .map(|of| of.as_str().unwrap_or_default().to_owned());
            *recorded.entry(step).or_insert(0) += 1;
        }
    }
    for (id, person) in &told.signed {
        assert!(
            recorded.contains_key(&[id.clone(), person.clone()]),
            "{person} signed {id}"
        );
    }
    let verified = command()
        .args(["audit", "verify", "--dir"])
        .arg(pgveil.audit_dir())
        .output();
    let verified = verified.expect("verify runs");
    assert!(
        verified.status.success(),
        "{}",
        String::from_utf8_lossy(&verified.stdout)
    );
    eprintln!(
        "{kills} kills: {} approvals, {uses} grants used, {} rows of {LIMIT}",
        told.signed.len(),
        told.rows
    );
}
