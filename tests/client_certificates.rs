//! Certificates of clients, over real TLS with libpq: who is asked, who comes in, and what is on record.
mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;
use support::{Certificates, Config, Options, PATIENCE, Pgveil, Postgres};

const POLICY: &str = "version: 1\ndata: {}\nroles: { all: { who: [{ db_user: ann }], unmasked: true } }\nunmatched: deny\n";

/// A server, and the authority whose certificates clients of it show.
struct Bench {
    server: Postgres,
    own: Certificates,
    clients: Certificates,
}

type Files = (PathBuf, PathBuf);

impl Bench {
    fn new() -> Bench {
        let server = Postgres::start(Options::default());
        server.sql("postgres", "CREATE ROLE ann LOGIN");
        Bench {
            server,
            own: Certificates::new(),
            clients: Certificates::new(),
        }
    }

    /// `client_cert` as the configuration gives it; not at all if empty.
    fn pgveil(&self, client_cert: &str) -> Pgveil {
        let mut config = Config::new(&self.server);
        let path = |path: PathBuf| path.display().to_string();
        let asked = match client_cert {
            "" => String::new(),
            asked => format!(
                ", client_ca: {}, client_cert: {asked}",
                path(self.clients.ca_file())
            ),
        };
        let (cert, key) = (path(self.own.cert_file()), path(self.own.key_file()));
        config.set("tls", &format!("{{ cert: {cert}, key: {key}{asked} }}"));
        config.policy(POLICY);
        Pgveil::start(&config)
    }
}

fn psql(pgveil: &Pgveil, mode: &str, files: Option<&Files>) -> Output {
    let certificate = match files {
        Some((cert, key)) => format!("sslcert={} sslkey={}", cert.display(), key.display()),
        None => "sslcert=/nonexistent".to_owned(),
    };
    Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-c", "SELECT 42"])
        .arg(format!(
            "host=127.0.0.1 port={} user=ann dbname=postgres sslmode={mode} {certificate}",
            pgveil.port()
        ))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .output()
        .expect("psql")
}

/// What psql says of a failure.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last record of an event, which may come a moment after the client has gone.
fn last(pgveil: &Pgveil, event: &str) -> Value {
    let began = Instant::now();
    loop {
        let lines = pgveil.audit_lines();
        let mut records = lines.iter().map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record is JSON");
            record
        });
        match records.rfind(|record| record["event"] == event) {
            Some(record) => return record,
            None => assert!(began.elapsed() < PATIENCE, "no record of {event}"),
        }
    }
}

#[test]
fn where_certificates_are_required_nobody_comes_in_without_one() {
    let bench = Bench::new();
    let pgveil = bench.pgveil("require");
    let good = bench.clients.client("ann, of sales", 2020..2040);
    let output = psql(&pgveil, "require", Some(&good));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for event in ["login", "statement", "logout"] {
        let record = last(&pgveil, event);
        assert_eq!(record["tls"]["subject"], "CN=ann\\, of sales,O=Example");
        assert_eq!(record["tls"]["version"], "TLSv1.3");
    }

    // Over TLS and without.
    for mode in ["require", "disable"] {
        let told = refusal(&psql(&pgveil, mode, None));
        let wanted = "FATAL:  connection requires a valid client certificate";
        assert!(told.contains(wanted), "{mode}: {told}");
        assert!(told.contains("HINT:  Set sslcert"), "{mode}: {told}");
        let record = last(&pgveil, "login_failed");
        assert_eq!(record["sqlstate"], "28000");
        assert_eq!(record["db_user"], "ann");
        assert_eq!(record["tls"].get("subject"), None);
    }
}

#[test]
fn a_certificate_of_another_authority_or_another_time_keeps_its_client_out() {
    let bench = Bench::new();
    let pgveil = bench.pgveil("request");
    let elsewhere = Certificates::new();
    let stranger = elsewhere.client("ann", 2020..2040);
    let (expired, early) = (
        bench.clients.client("ann", 2010..2020),
        bench.clients.client("ann", 2090..2095),
    );
    // The server's own: no client's, for its authority is another.
    let server = (bench.own.cert_file(), bench.own.key_file());
    restrict(&server.1);
    for files in [&stranger, &expired, &early, &server] {
        let told = refusal(&psql(&pgveil, "require", Some(files)));
        assert!(told.contains("alert"), "{told}");
        let record = last(&pgveil, "login_failed");
        assert_eq!(record["sqlstate"], "08006", "{record}");
        let message = record["message"].as_str().unwrap_or_default();
        assert!(message.contains("certificate"), "{message}");
    }
}

#[test]
fn where_certificates_are_requested_the_record_says_who_showed_one() {
    let bench = Bench::new();
    let good = bench.clients.client("ann", 2020..2040);
    let subject = |pgveil: &Pgveil| last(pgveil, "statement")["tls"].get("subject").cloned();
    let requesting = bench.pgveil("request");
    assert!(psql(&requesting, "require", Some(&good)).status.success());
    assert_eq!(subject(&requesting), Some("CN=ann,O=Example".into()));
    for mode in ["require", "disable"] {
        assert!(psql(&requesting, mode, None).status.success());
        assert_eq!(subject(&requesting), None);
    }

    for client_cert in ["", "none"] {
        let silent = bench.pgveil(client_cert);
        assert!(psql(&silent, "require", Some(&good)).status.success());
        assert_eq!(subject(&silent), None, "nobody asked for it");
    }
}

/// A required certificate is no obstacle to cancelling: PostgreSQL asks for none there, and a client of libpq that
/// cancels in the clear (before PostgreSQL 17) could show none.
#[test]
fn cancel_requests_need_no_certificate() {
    let bench = Bench::new();
    let pgveil = bench.pgveil("require");
    let (cert, key) = bench.clients.client("ann", 2020..2040);
    let mut psql = Command::new("psql")
        .args(["-X", "-w", "-c", "SELECT pg_sleep(600)"])
        .arg(format!(
            "host=127.0.0.1 port={} user=ann dbname=postgres sslmode=require sslcert={} sslkey={}",
            pgveil.port(),
            cert.display(),
            key.display()
        ))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("psql");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' AND usename = 'ann'";
    let began = std::time::Instant::now();
    while bench.server.sql("postgres", running)[0][0].as_deref() != Some("1") {
        assert!(began.elapsed() < support::PATIENCE);
        std::thread::yield_now();
    }
    // psql cancels on SIGINT.
    support::guard::signal(psql.id(), "INT");
    let mut told = String::new();
    let stderr = psql.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut std::io::BufReader::new(stderr), &mut told).expect("text");
    let _ = psql.wait();
    assert!(
        told.contains("canceling statement due to user request"),
        "{told}"
    );
}

fn restrict(key: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
}
