//! Logins of a real client (psql) through the library's login to a real server.
mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use pgveil::auth::scram::MockSecret;
use pgveil::auth::{AuthMethod, UsersFile, passthrough_conflict};
use pgveil::session::login::{LoginFacts, LoginGate, Outcome, RoleMatch, login};
use pgveil::wire::connect::Upstream;
use pgveil::wire::tls::{ServerTls, SslMode};
use support::{Authentication, Certificates, Folder, Options, Postgres};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// pgveil's door without the house: logs clients in, then copies bytes.
struct Door {
    addr: SocketAddr,
    facts: Arc<Mutex<Vec<LoginFacts>>>,
    failures: Arc<Mutex<Vec<String>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Door {
    fn open(upstream: Upstream, auth: AuthMethod, tls: Option<&Certificates>) -> Door {
        let role = |_: &pgveil::policy::Caller| RoleMatch::Role {
            name: Some("agent".into()),
            restricted: true,
        };
        let mut gate = LoginGate::new(Arc::new(upstream), auth, Box::new(role));
        gate.tls = tls.map(|tls| {
            Arc::new(ServerTls::load(&tls.cert_file(), &tls.key_file(), None).expect("certificate"))
        });
        let gate = Arc::new(gate);
        let facts = Arc::new(Mutex::new(Vec::new()));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let (told, addr) = std::sync::mpsc::channel();
        let serving = serve(gate, Arc::clone(&facts), Arc::clone(&failures), told);
        let thread = thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("runtime").block_on(async {
                tokio::select! { () = serving => {}, _ = stopped => {} }
            });
        });
        Door {
            addr: addr.recv().expect("the door's address"),
            facts,
            failures,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Runs `SELECT` through the door; `connection` is more of a libpq connection string.
    fn psql(&self, password: &str, connection: &str, sql: &str) -> Output {
        psql(self.addr.port(), password, connection, sql)
    }

    fn last_facts(&self) -> LoginFacts {
        let facts = self.facts.lock().expect("facts");
        facts.last().expect("a login").clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    gate: Arc<LoginGate>,
    facts: Arc<Mutex<Vec<LoginFacts>>>,
    failures: Arc<Mutex<Vec<String>>>,
    told: std::sync::mpsc::Sender<SocketAddr>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    told.send(listener.local_addr().expect("an address"))
        .expect("the test waits");
    loop {
        let (tcp, peer) = listener.accept().await.expect("accept");
        let (gate, facts, failures) =
            (Arc::clone(&gate), Arc::clone(&facts), Arc::clone(&failures));
        tokio::spawn(async move {
            match login(tcp, peer, &gate).await {
                Ok(Outcome::Session(mut session)) => {
                    facts.lock().expect("facts").push(session.facts.clone());
                    let pending = session.pending.split();
                    if session.client.write_all(&pending).await.is_ok() {
                        let (client, server) = (&mut session.client, &mut session.server);
                        let _ = tokio::io::copy_bidirectional(client, server).await;
                    }
                }
                Ok(_) => {}
                Err(error) => failures.lock().expect("failures").push(error.to_string()),
            }
        });
    }
}

fn psql(port: u16, password: &str, connection: &str, sql: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-c", sql])
        .arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=ann dbname=postgres {connection}"
        ))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("PGPASSWORD", password)
        .output()
        .expect("psql")
}

fn stdout(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    assert!(output.status.success(), "psql: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What psql says of a failure, less the port.
fn stderr(output: &Output) -> String {
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    text.split_once("failed: ")
        .map(|(_, reason)| reason.to_owned())
        .unwrap_or(text)
}

const PASSWORD: &str = "pencil, \u{2168} and ' too";

fn server(authentication: Authentication, tls: Option<&Certificates>, tls_only: bool) -> Postgres {
    let postgres = Postgres::start(Options {
        authentication,
        tls,
        tls_only,
        ..Options::default()
    });
    let quoted = PASSWORD.replace('\'', "''");
    let psql = postgres.psql(&["-c", &format!("CREATE ROLE ann LOGIN PASSWORD '{quoted}'")]);
    assert!(
        psql.status.success(),
        "{}",
        String::from_utf8_lossy(&psql.stderr)
    );
    postgres
}

fn upstream(postgres: &Postgres, mode: SslMode, tls: Option<&Certificates>) -> Upstream {
    let ca = tls.map(Certificates::ca_file);
    Upstream::new("localhost", postgres.port(), mode, ca.as_deref()).expect("upstream")
}

/// A users file with the verifier that the server has.
fn users(postgres: &Postgres, folder: &Folder) -> AuthMethod {
    let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'ann'";
    let stored = stdout(&postgres.psql(&["-A", "-t", "-c", sql]));
    let file = folder.path().join("users.txt");
    std::fs::write(&file, format!("\"ann\" \"{stored}\"\n")).expect("users file");
    AuthMethod::Scram {
        verifiers: Arc::new(UsersFile::load(&file).expect("users file")),
        mock: MockSecret::random().expect("random"),
    }
}

#[test]
fn scram_logs_in_as_the_same_user_with_channel_binding_on_both_legs() {
    let (outer, inner) = (Certificates::new(), Certificates::new());
    let postgres = server(Authentication::Scram, Some(&inner), true);
    let folder = Folder::new("login");
    let auth = users(&postgres, &folder);
    let up = upstream(&postgres, SslMode::VerifyFull, Some(&inner));
    let door = Door::open(up, auth, Some(&outer));
    let ca = outer.ca_file();
    let bound = format!(
        "sslmode=verify-full sslrootcert={} channel_binding=require",
        ca.display()
    );
    let sql = "SELECT current_user, ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(stdout(&door.psql(PASSWORD, &bound, sql)), "ann|t");
    let facts = door.last_facts();
    assert_eq!(facts.auth_method, "scram-sha-256-plus");
    assert_eq!(facts.tls.expect("TLS").version, "TLSv1.3");
    assert!(facts.backend_pid > 0);

    let unbound = "sslmode=require channel_binding=disable";
    assert_eq!(stdout(&door.psql(PASSWORD, unbound, "SELECT 1")), "1");
    assert_eq!(door.last_facts().auth_method, "scram-sha-256");
    assert_eq!(
        stdout(&door.psql(PASSWORD, "sslmode=disable", "SELECT 2")),
        "2"
    );
}

#[test]
fn scram_refuses_in_the_words_of_postgresql() {
    let postgres = server(Authentication::Scram, None, false);
    let folder = Folder::new("login");
    let auth = users(&postgres, &folder);
    let door = Door::open(upstream(&postgres, SslMode::Prefer, None), auth, None);
    assert_eq!(stdout(&door.psql(PASSWORD, "", "SELECT 1")), "1");
    for (password, connection) in [
        ("wrong", ""),
        ("any", "user=eve"),
        (PASSWORD, "dbname=missing"),
        (PASSWORD, "options='-c no.such=1 -c geqo=2'"),
    ] {
        let direct = psql(postgres.port(), password, connection, "SELECT 1");
        let through = door.psql(password, connection, "SELECT 1");
        assert_eq!(stderr(&through), stderr(&direct), "{connection}");
    }
    // The server's verifier changes, pgveil's does not: that is named as the trouble.
    postgres.sql("postgres", "ALTER ROLE ann PASSWORD 'other'");
    let refused = stderr(&door.psql(PASSWORD, "", "SELECT 1"));
    assert!(refused.contains("another verifier"), "{refused}");
}

#[test]
fn passthrough_relays_every_password_method() {
    for (authentication, method) in [
        (Authentication::Trust, "trust"),
        (Authentication::Scram, "scram-sha-256"),
        (Authentication::Md5, "md5"),
        (Authentication::Cleartext, "password"),
    ] {
        let postgres = server(authentication, None, false);
        let up = upstream(&postgres, SslMode::Prefer, None);
        let door = Door::open(up, AuthMethod::Passthrough, None);
        assert_eq!(
            stdout(&door.psql(PASSWORD, "", "SELECT current_user")),
            "ann"
        );
        assert_eq!(door.last_facts().auth_method, method);
        if authentication != Authentication::Trust {
            let direct = psql(postgres.port(), "wrong", "", "SELECT 1");
            assert_eq!(stderr(&door.psql("wrong", "", "SELECT 1")), stderr(&direct));
        }
    }
}

#[test]
fn passthrough_works_with_tls_on_one_leg_and_fails_with_tls_on_both() {
    let certificates = Certificates::new();
    let postgres = server(Authentication::Scram, Some(&certificates), false);
    let try_with = |outer: bool, inner: bool| {
        let mode = if inner {
            SslMode::VerifyCa
        } else {
            SslMode::Disable
        };
        let up = upstream(&postgres, mode, Some(&certificates));
        let door = Door::open(up, AuthMethod::Passthrough, outer.then_some(&certificates));
        let connection = if outer {
            "sslmode=require"
        } else {
            "sslmode=disable"
        };
        let works = door.psql(PASSWORD, connection, "SELECT 1").status.success();
        let conflict = passthrough_conflict(outer, inner);
        assert_eq!(
            works,
            conflict.is_none(),
            "TLS to clients {outer}, to the server {inner}"
        );
    };
    for (outer, inner) in [(false, false), (true, false), (false, true), (true, true)] {
        try_with(outer, inner);
    }
}

#[test]
fn sslmodes_mean_what_they_mean_to_libpq() {
    let (good, other) = (Certificates::new(), Certificates::new());
    let misnamed = Certificates::for_names(&["elsewhere.example"]);
    let plain = server(Authentication::Trust, None, false);
    let tls = server(Authentication::Trust, Some(&good), true);
    let named = server(Authentication::Trust, Some(&misnamed), true);
    use SslMode::*;
    let cases: [(&Postgres, SslMode, Option<&Certificates>, bool); 17] = [
        (&plain, Disable, None, true),
        (&plain, Allow, None, true),
        (&plain, Prefer, None, true),
        (&plain, Require, None, false),
        (&plain, VerifyFull, Some(&good), false),
        (&tls, Disable, None, false),
        (&tls, Allow, None, true),
        (&tls, Prefer, None, true),
        (&tls, Require, None, true),
        (&tls, Require, Some(&good), true),
        (&tls, Require, Some(&other), false),
        (&tls, VerifyCa, Some(&good), true),
        (&tls, VerifyCa, Some(&other), false),
        (&tls, VerifyFull, Some(&good), true),
        (&tls, VerifyFull, None, false),
        (&named, VerifyCa, Some(&misnamed), true),
        (&named, VerifyFull, Some(&misnamed), false),
    ];
    for (index, (postgres, mode, ca, works)) in cases.into_iter().enumerate() {
        let door = Door::open(upstream(postgres, mode, ca), AuthMethod::Passthrough, None);
        let output = door.psql("", "", "SELECT 1");
        let failures = door.failures.lock().expect("failures").join("\n");
        assert_eq!(
            output.status.success(),
            works,
            "case {index}, {mode}: {failures}"
        );
    }
}

#[test]
fn what_a_restricted_role_may_not_ask_for_is_refused_with_a_way_out() {
    let postgres = server(Authentication::Trust, None, false);
    let up = upstream(&postgres, SslMode::Disable, None);
    let door = Door::open(up, AuthMethod::Passthrough, None);
    for connection in [
        "replication=database",
        "options='-c role=postgres'",
        "options='-c standard_conforming_strings=off'",
    ] {
        let refused = stderr(&door.psql("", connection, "SELECT 1"));
        assert!(refused.contains("FATAL:  pgveil: "), "{refused}");
        assert!(refused.contains("HINT:"), "{refused}");
    }
    // Texts in such an encoding are decoded before they are read.
    postgres.sql("postgres", "ALTER ROLE ann SET client_encoding = 'SJIS'");
    assert_eq!(stdout(&door.psql("", "", "SHOW client_encoding")), "SJIS");
}

#[test]
fn a_cancel_request_ends_the_statement_of_its_session() {
    let certificates = Certificates::new();
    let postgres = server(Authentication::Trust, Some(&certificates), true);
    let up = upstream(&postgres, SslMode::VerifyFull, Some(&certificates));
    let door = Door::open(up, AuthMethod::Passthrough, None);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(async {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(door.addr.port()).user("ann").dbname("postgres");
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.expect("login");
        tokio::spawn(connection);
        let (token, waiting) = (client.cancel_token(), "SELECT pg_sleep(60)");
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND wait_event = 'PgSleep'";
        let canceller = async {
            while stdout(&postgres.psql(&["-A", "-t", "-c", running])) != "1" {}
            token.cancel_query(tokio_postgres::NoTls).await.expect("cancel");
        };
        let statement = async { client.simple_query(waiting).await.map(|_| ()) };
        let (result, ()) = tokio::join!(statement, canceller);
        let error = result.expect_err("the statement was cancelled");
        assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    });
}
