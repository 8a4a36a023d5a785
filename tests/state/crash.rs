//! `kill -9` at random points: no acknowledged approval is lost, no budget is given back, no grant is used twice.
//!
//! The test starts itself again as a process that asks, signs, exports and spends, and writes a line for each change
//! that was acknowledged to it. Killed and started over and over, what it said is compared with what the store holds.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use pgveil::export::clock::now;
use pgveil::export::request::{Action, Asked, State, Terms};
use pgveil::export::store::{Sqlite, Store};
use pgveil::export::{Allowed, Budgets, Desk, Met, Refill};

use crate::support::Folder;
use crate::support::export_request::{approver, asked};

/// Names the file of the store to the process that is to be killed, and says how many rounds it may make.
const STORE: &str = "PGVEIL_TEST_STATE";
const ROUND: &str = "PGVEIL_TEST_ROUND";
/// What its lines begin with: the test harness writes to standard output too.
const MARK: &str = "acknowledged ";

/// Signatures that have to be acknowledged before the test is content.
const APPROVALS: usize = 200;
const PER_DAY: u64 = 1_000_000_000;
/// Rows that are leased at a time under that limit.
const LEASE: u64 = PER_DAY / 1024;
const ALLOWED: Allowed = Allowed {
    per_hour: None,
    per_day: Some(PER_DAY),
    subjects_per_day: None,
};

/// One line, at once: what stands in it was acknowledged before.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n{MARK}{line}\n").as_bytes());
    let _ = out.flush();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that is killed: started by the test below"]
async fn works_until_it_is_killed() {
    let Some(path) = std::env::var_os(STORE) else {
        panic!("{STORE} names no store: this is not a test of its own")
    };
    let round = std::env::var(ROUND).expect("a round");
    // The lock of a process that was killed goes with it.
    let store: Arc<dyn Store> = Arc::new(Sqlite::open(Path::new(&path)).expect("the store"));
    let desk = Desk::new(Arc::clone(&store), Arc::new(|_| Ok(())), "v1").await;
    let desk = Arc::new(desk.expect("a desk"));
    desk.catch_up().await.expect("caught up");
    say("ready");
    let spender = {
        let budgets = Budgets::new(store);
        tokio::spawn(async move {
            let purse = budgets.purse("ann");
            for rows in (1..=997).rev().cycle() {
                while !purse.spend(rows, ALLOWED, now()) {
                    let refill = budgets.refill(&purse, rows, ALLOWED).await;
                    if refill.expect("the budget") != Refill::Ready {
                        return;
                    }
                }
                say(&format!("spent {rows}"));
            }
        })
    };
    for number in 0..usize::MAX {
        // What a killed process leaves open counts against the person.
        let asked = Asked {
            uses: 2,
            ..asked(&format!("ann{round}"), &number.to_string())
        };
        let met = desk.exceeded(&asked, Some("audit")).await.expect("asked");
        let Met::Waiting(request, _) = met else {
            panic!("a grant that nobody gave")
        };
        let id = request.id;
        for (seen, person, group) in [(1, "leo", "legal"), (2, "dora", "dpo")] {
            let terms = Terms::default();
            let signed = desk
                .approve(&id, &approver(person, group), None, &terms, None, seen)
                .await;
            signed.expect("signed");
            say(&format!("approved {id} {person}"));
        }
        for _ in 0..2 {
            let met = desk.exceeded(&asked, None).await.expect("used");
            assert!(matches!(met, Met::Grant(_)));
            say(&format!("used {id}"));
        }
    }
    spender.await.expect("the spender");
}

/// Runs the process above until it has said so many lines, kills it, and returns them.
fn run(store: &Path, round: usize, lines: usize) -> Vec<String> {
    let mut process = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "crash::works_until_it_is_killed", "--ignored"])
        .args(["--nocapture", "--test-threads=1"])
        .env(STORE, store)
        .env(ROUND, round.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("cannot start this test again");
    let mut said = Vec::new();
    let mut out = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    for line in out.by_ref().map_while(Result::ok) {
        if let Some(line) = line.strip_prefix(MARK) {
            said.push(line.to_owned());
        }
        if said.len() > lines {
            break;
        }
    }
    assert!(said.len() > lines, "it ended by itself: {said:?}");
    process.kill().expect("kill");
    process.wait().expect("wait");
    // What it said before it was killed and nobody had read yet.
    let rest = out.map_while(Result::ok);
    said.extend(rest.filter_map(|line| line.strip_prefix(MARK).map(str::to_owned)));
    said
}

#[test]
fn kill_9_loses_no_approval_gives_no_budget_back_and_no_grant_twice() {
    let folder = Folder::new("crash");
    let path = folder.path().join("state.db");
    let mut approved: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut used: BTreeMap<String, u32> = BTreeMap::new();
    let (mut approvals, mut spent, mut rounds) = (0, 0_u64, 0);
    let mut random = 0x5eed_u64;
    while approvals < APPROVALS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let lines = usize::try_from(random >> 33).expect("31 bits") % 120;
        for line in run(&path, rounds, lines) {
            let words: Vec<&str> = line.split(' ').collect();
            match *words.as_slice() {
                ["ready"] => {}
                ["approved", id, person] => {
                    approvals += 1;
                    let signed = approved.entry(id.to_owned()).or_default();
                    assert!(
                        signed.insert(person.to_owned()),
                        "{person} signed {id} twice"
                    );
                }
                ["used", id] => *used.entry(id.to_owned()).or_default() += 1,
                ["spent", rows] => spent += rows.parse::<u64>().expect("a number"),
                _ => panic!("{line}"),
            }
        }
        rounds += 1;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = Sqlite::open(&path).expect("the store is whole");
        let store: Arc<dyn Store> = Arc::new(store);
        let desk = Desk::new(Arc::clone(&store), Arc::new(|_| Ok(())), "v1").await;
        let desk = desk.expect("a desk");
        for (id, people) in &approved {
            let request = desk.get(id).await.expect("no request is lost");
            let signed: BTreeSet<&str> = request.signatures().map(|(_, by)| by).collect();
            for person in people {
                assert!(signed.contains(person.as_str()), "{person} signed {id}");
            }
        }
        for request in desk.list(&[]).await.expect("the list") {
            let uses = request
                .history
                .iter()
                .filter(|step| step.action == Action::Use);
            let uses = u32::try_from(uses.count()).expect("few");
            let told = used.get(&request.id).copied().unwrap_or(0);
            assert!(told <= uses && uses <= request.asked.uses, "{request:?}");
            assert_eq!(request.state == State::Used, uses == request.asked.uses);
        }
        let taken = store.taken("rows:ann", 24 * 3600, now()).await;
        let taken = taken.expect("the counter");
        assert!(spent <= taken, "{spent} rows spent, {taken} taken");
        // A killed process takes its leases along, and no more.
        let lost = LEASE * u64::try_from(rounds).expect("few");
        assert!(taken - spent <= 2 * lost, "{spent} rows spent, {taken} taken");
        let grants: u32 = used.values().sum();
        println!("{rounds} kills: {approvals} approvals, {grants} uses, {spent} rows spent of {taken} taken");
    });
}
