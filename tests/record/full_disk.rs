//! The disk of the record is full.
use std::time::{Duration, Instant};

use crate::people::{self, LOOK, MASKED, POLICY};
use crate::support::message::{Client, Frame};
use crate::support::pgveil::command;
use crate::support::{Config, Disk, Folder, PATIENCE, Pgveil, Postgres, compare, skip};

struct Bench {
    pgveil: Pgveil,
    disk: Disk,
    _server: Postgres,
    _folder: Folder,
}

impl Bench {
    fn new(name: &str, audit: &str) -> Option<Bench> {
        let folder = Folder::new(name);
        let Some(disk) = Disk::mount(&folder, 128) else {
            skip(name, "this user may not mount a file system");
            return None;
        };
        let server = people::server();
        let mut config = Config::new(&server);
        let dir = disk.path().join("audit");
        config.set("audit", &format!("{{ dir: {}{audit} }}", dir.display()));
        config.policy(POLICY);
        Some(Bench {
            pgveil: Pgveil::start(&config),
            disk,
            _server: server,
            _folder: folder,
        })
    }

    fn login(&self, user: &str) -> Client {
        Client::login(self.pgveil.port(), user, "", "postgres")
    }

    fn verified(&self) -> serde_json::Value {
        let output = command()
            .args(["audit", "verify", "--format", "json", "--dir"])
            .arg(self.disk.path().join("audit"))
            .output()
            .expect("verify runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        serde_json::from_str(&text).expect("json")
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = self.pgveil.http("/metrics");
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
    }
}

fn sqlstate(frames: &[Frame]) -> Option<String> {
    compare::error(frames).map(|(sqlstate, _)| sqlstate)
}

/// Reads until the answer is no longer the masked number; gives that answer.
fn until_refused(client: &mut Client) -> Vec<Frame> {
    let began = Instant::now();
    loop {
        client.send_raw(&crate::support::message::query(LOOK));
        let mut frames = Vec::new();
        while let Some(frame) = client.read() {
            let tag = frame.tag;
            frames.push(frame);
            if tag == b'Z' {
                break;
            }
        }
        if compare::values(&frames) != [MASKED] || compare::error(&frames).is_some() {
            return frames;
        }
        assert!(began.elapsed() < PATIENCE, "the disk does not get full");
    }
}

#[test]
fn on_a_full_disk_restricted_statements_are_refused_and_others_go_on() {
    let Some(bench) = Bench::new(
        "on_a_full_disk_restricted_statements_are_refused_and_others_go_on",
        "",
    ) else {
        return;
    };
    let (mut one, mut other, mut dpo) = (
        bench.login("agent"),
        bench.login("agent"),
        bench.login("dpo"),
    );
    // The statement that finds the disk full has run already: its session ends.
    let last = until_refused(&mut one);
    assert_eq!(sqlstate(&last).as_deref(), Some("53100"), "{last:?}");
    assert!(one.read().is_none(), "the session is open still");

    // From now on statements are refused before they run, and sessions stay.
    let refused = other.query(LOOK);
    assert_eq!(sqlstate(&refused).as_deref(), Some("53100"), "{refused:?}");
    assert!(compare::values(&refused).is_empty());
    assert_eq!(compare::values(&dpo.query(LOOK)), ["13800000007"]);
    assert!(bench.pgveil.http("/readyz").contains("503"));
    assert!(bench.metric("pgveil_audit_failures_total") > 0.0);
    let lost = bench.metric("pgveil_audit_records_lost_total");
    assert!(lost >= 2.0, "{lost}");

    bench.disk.resize(4096);
    let began = Instant::now();
    while compare::values(&other.query(LOOK)) != [MASKED] {
        assert!(began.elapsed() < PATIENCE, "it does not go on");
        std::thread::sleep(Duration::from_millis(50));
    }
    let verified = bench.verified();
    assert!(
        verified["lost"].as_f64().expect("a number") >= lost,
        "{verified}"
    );
}

/// Looks until that is refused; how often the end of an answer came.
fn looks(client: &mut Client) -> usize {
    let began = Instant::now();
    let mut ended = 0;
    loop {
        client.send_raw(&crate::support::message::query(LOOK));
        loop {
            match client.read() {
                Some(frame) if frame.tag == b'C' => ended += 1,
                Some(frame) if frame.tag == b'E' => {
                    assert_eq!(sqlstate(&[frame]).as_deref(), Some("53100"));
                    return ended;
                }
                Some(frame) if frame.tag == b'Z' => break,
                Some(_) => {}
                None => panic!("closed without a word"),
            }
        }
        assert!(began.elapsed() < PATIENCE, "the disk does not get full");
    }
}

/// Records of sessions that are busy at the same time share a write: where it fails, none of them goes on.
#[test]
fn what_many_clients_got_before_the_disk_was_full_is_on_record() {
    let Some(bench) = Bench::new(
        "what_many_clients_got_before_the_disk_was_full_is_on_record",
        "",
    ) else {
        return;
    };
    let port = bench.pgveil.port();
    let name = |index| format!("client {index}");
    let login = |index| {
        let name = name(index);
        let parameters = [
            ("user", "agent"),
            ("database", "postgres"),
            ("application_name", name.as_str()),
        ];
        Client::try_login(port, "agent", "", &parameters).expect("login")
    };
    let mut clients: Vec<Client> = (0..16).map(login).collect();
    let received: Vec<usize> = std::thread::scope(|threads| {
        let busy = clients.iter_mut();
        let busy: Vec<_> = busy.map(|client| threads.spawn(|| looks(client))).collect();
        let ended = busy.into_iter().map(std::thread::ScopedJoinHandle::join);
        ended.map(|ended| ended.expect("a client")).collect()
    });
    assert!(received.iter().sum::<usize>() > 16, "{received:?}");
    bench.disk.resize(4096);
    let folder = std::fs::read_dir(bench.disk.path().join("audit")).expect("a folder");
    let mut recorded = vec![0; received.len()];
    for path in folder.map(|entry| entry.expect("an entry").path()) {
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(&path).expect("read").lines() {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record is JSON");
            let index =
                (0..received.len()).find(|index| record["application_name"] == name(*index));
            if let (Some(index), true) = (index, record["event"] == "statement") {
                recorded[index] += 1;
            }
        }
    }
    for (index, (received, recorded)) in received.iter().zip(&recorded).enumerate() {
        assert!(
            recorded >= received,
            "client {index}: {recorded} of {received}"
        );
    }
    bench.verified();
}

#[test]
fn on_a_full_disk_records_are_dropped_where_the_operator_wants_it_and_counted() {
    let Some(bench) = Bench::new(
        "on_a_full_disk_records_are_dropped_where_the_operator_wants_it_and_counted",
        ", on_full: drop",
    ) else {
        return;
    };
    let mut agent = bench.login("agent");
    let began = Instant::now();
    while bench.metric("pgveil_audit_records_lost_total") < 5.0 {
        assert_eq!(compare::values(&agent.query(LOOK)), [MASKED]);
        assert!(began.elapsed() < PATIENCE, "the disk does not get full");
    }
    let lost = bench.metric("pgveil_audit_records_lost_total");
    bench.disk.resize(4096);
    agent.query(LOOK);
    let verified = bench.verified();
    assert!(
        verified["lost"].as_f64().expect("a number") >= lost,
        "{verified}"
    );
}
