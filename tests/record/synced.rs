//! `ack: synced`: what a client gets is on the disk before, and who waits for the disk keeps no thread.
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::people::{self, LOOK, MASKED, POLICY};
use crate::support::message::{Client, query};
use crate::support::{Config, Folder, PATIENCE, Pgveil, Postgres, compare};

const CLIENTS: usize = 64;
/// As long as nothing comes, nothing will.
const NOTHING: Duration = Duration::from_millis(300);

/// A proxy whose disk does as the test says (disk.c).
struct Bench {
    pgveil: Pgveil,
    disk: Folder,
    _server: Postgres,
}

impl Bench {
    fn new() -> Bench {
        let disk = Folder::new("disk");
        let library = disk.path().join("disk.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/record/disk.c"))
            .arg("-ldl")
            .status();
        assert!(built.is_ok_and(|status| status.success()), "cc");
        let server = people::server();
        let mut config = Config::new(&server);
        config.set("audit", "{ dir: var/audit, ack: synced }");
        config.policy(POLICY);
        config.env("LD_PRELOAD", library.to_str().expect("a path"));
        config.env("PGVEIL_TEST_DISK", disk.path().to_str().expect("a path"));
        Bench {
            pgveil: Pgveil::start(&config),
            disk,
            _server: server,
        }
    }

    fn login(&self, user: &str) -> Client {
        let client = Client::login(self.pgveil.port(), user, "", "postgres");
        let limit = Some(PATIENCE);
        client.stream.set_read_timeout(limit).expect("a limit");
        client
    }

    fn disk(&self, does: &str) {
        fs::write(self.disk.path().join(does), "").expect("written");
    }

    fn disk_no_longer(&self, does: &str) {
        fs::remove_file(self.disk.path().join(does)).expect("removed");
    }

    fn syncs(&self) -> usize {
        fs::read(self.disk.path().join("calls")).map_or(0, |calls| calls.len())
    }

    fn threads(&self) -> usize {
        let tasks = format!("/proc/{}/task", self.pgveil.pid());
        fs::read_dir(tasks).expect("tasks").count()
    }

    /// Waits until so many statements are in the file.
    fn until_written(&self, statements: usize) {
        let began = Instant::now();
        let is_statement = |line: &&String| line.contains("\"event\":\"statement\"");
        while self
            .pgveil
            .audit_lines()
            .iter()
            .filter(is_statement)
            .count()
            < statements
        {
            assert!(began.elapsed() < PATIENCE, "{}", self.pgveil.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn clients_that_wait_for_the_disk_wait_together_and_keep_no_thread() {
    let bench = Bench::new();
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| bench.login("agent")).collect();
    assert_eq!(compare::values(&clients[0].query(LOOK)), [MASKED]);
    let (threads, syncs) = (bench.threads(), bench.syncs());
    bench.disk("stalls");
    for client in &mut clients {
        client.send_raw(&query(LOOK));
    }
    bench.until_written(1 + CLIENTS);
    let waiting = bench.threads();
    assert!(
        waiting <= threads + 4,
        "{waiting} threads, {threads} before"
    );
    let stream = &clients[0].stream;
    stream.set_read_timeout(Some(NOTHING)).expect("a limit");
    let came = std::io::Read::read(&mut &*stream, &mut [0; 1]);
    assert!(came.is_err(), "it came before it was on the disk");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    bench.disk_no_longer("stalls");
    for client in &mut clients {
        assert_eq!(compare::values(&client.read_until_ready()), [MASKED]);
    }
    // One that had begun, one for all who came meanwhile, and those of the look each second.
    let shared = bench.syncs() - syncs;
    assert!(shared < CLIENTS / 4, "{shared} syncs for {CLIENTS} clients");
}

#[test]
fn after_a_failed_sync_restricted_sessions_end_without_an_answer_and_others_go_on() {
    let bench = Bench::new();
    let (mut one, mut dpo) = (bench.login("agent"), bench.login("dpo"));
    assert_eq!(compare::values(&one.query(LOOK)), [MASKED]);
    bench.disk("fails");
    one.send_raw(&query(LOOK));
    let error = one.read().expect("words");
    assert_eq!(error.tag, b'E', "{error:?}");
    assert_eq!(error.field(b'C').as_deref(), Some("53100"));
    assert!(one.read().is_none(), "the session is open still");
    assert_eq!(compare::values(&dpo.query(LOOK)), ["13800000007"]);
    // Another sync would claim success: the kernel reports a lost page once.
    bench.disk_no_longer("fails");
    assert_eq!(compare::values(&dpo.query(LOOK)), ["13800000007"]);
    assert!(bench.pgveil.http("/readyz").contains("503"));
    let told = bench
        .pgveil
        .wait_for_log("audit records are not known to be on the disk");
    assert!(told, "{}", bench.pgveil.log());
}
