//! The program's own log: as much as is asked for while it runs, and no secret at any level.
use serde_json::Value;

use crate::support::guard::signal;
use crate::support::message::{Client, bind, execute, parse, sync};
use crate::support::{Authentication, Config, Options, Pgveil, Postgres};

const POLICY: &str = r"version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 }, lookup: exact } } }
  all: { who: [{ db_user: clerk }], unmasked: true }
unmatched: deny
";
const CANARIES: [&str; 6] = [
    "canarypassword",
    "canaryliteral",
    "canaryparameter",
    "canarystored",
    "canarycatalog",
    "canarytracestate",
];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn server() -> Postgres {
    let server = Postgres::start(Options {
        authentication: Authentication::Cleartext,
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE TABLE people (id int PRIMARY KEY, phone text); INSERT INTO people VALUES (1, 'canarystored'); \
         CREATE USER agent PASSWORD 'canarypassword'; CREATE USER clerk PASSWORD 'canarypassword'; \
         CREATE USER catalog PASSWORD 'canarycatalog'; GRANT SELECT ON people TO agent, clerk",
    );
    server
}

fn config(server: &Postgres) -> Config {
    let mut config = Config::new(server);
    config.policy(POLICY);
    config.set(
        "upstream",
        &format!(
            "{{ host: 127.0.0.1, port: {}, tls: disable, catalog_user: {{ name: catalog, password: canarycatalog }} }}",
            server.port()
        ),
    );
    config
}

fn work(pgveil: &Pgveil, user: &str) {
    let mut client = Client::login(pgveil.port(), user, "canarypassword", "postgres");
    for text in [
        "SELECT 'canaryliteral', phone FROM people",
        "SELECT id FROM people WHERE phone = 'canaryliteral'",
        "SELECT 'canaryliteral'::int",
        "SELECT pg_read_file('canaryliteral')",
        "SELEC 'canaryliteral'",
        "SET application_name = 'canaryliteral'",
    ] {
        client.query(text);
    }
    let text = format!(
        "SELECT id FROM people WHERE phone = $1 /*traceparent='00-{TRACE}-00f067aa0ba902b7-01',tracestate='canarytracestate'*/"
    );
    client.send_all(&[
        parse("", &text, &[]),
        bind("", "", &[Some("canaryparameter")], 0),
        execute("", 0),
        sync(),
    ]);
    client.read_until_ready();
}

#[test]
fn no_level_shows_a_secret() {
    let server = server();
    let mut config = config(&server);
    config.env("RUST_LOG", "trace");
    let mut pgveil = Pgveil::start(&config);
    for user in ["agent", "clerk"] {
        work(&pgveil, user);
    }
    pgveil
        .sql("canaryuser", "postgres", "SELECT 1")
        .expect_err("denied");
    assert!(pgveil.stop().success());
    let log = pgveil.log();
    assert!(log.contains("TRACE"), "it logs all there is");
    // What may be told is found by the same search.
    assert!(log.contains("canaryuser"), "{log}");
    for canary in CANARIES {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary}");
    }
}

#[test]
fn the_level_changes_while_it_runs() {
    let server = server();
    let pgveil = Pgveil::start(&config(&server));
    let step = |filter: &str| {
        signal(pgveil.pid(), "USR1");
        let told = format!("SIGUSR1: another log level filter=\"{filter}\"");
        assert!(pgveil.wait_for_log(&told), "{}", pgveil.log());
    };
    let debugs = || {
        // A request that is none is told at debug.
        let mut odd =
            std::net::TcpStream::connect(("127.0.0.1", pgveil.admin_port())).expect("connected");
        std::io::Write::write_all(&mut odd, b"\x16\x03\x01 no HTTP\r\n\r\n").expect("sent");
        std::io::Read::read_to_end(&mut odd, &mut Vec::new()).expect("answered");
        pgveil.log().matches("DEBUG pgveil").count()
    };
    assert_eq!(debugs(), 0);
    step("info,pgveil=debug");
    debugs();
    assert!(pgveil.wait_for_log("DEBUG pgveil"), "{}", pgveil.log());
    step("info,pgveil=trace");
    step("info");
    let before = debugs();
    assert_eq!(debugs(), before, "as at the start");
}

/// Statements with literals and without, of restricted and of unrestricted roles.
#[test]
fn a_statement_is_on_record_with_its_trace() {
    let server = server();
    let mut pgveil = Pgveil::start(&config(&server));
    for user in ["agent", "clerk"] {
        work(&pgveil, user);
    }
    assert!(pgveil.stop().success());
    let lines = pgveil.audit_lines();
    let traced: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|record| record.get("trace").is_some())
        .collect();
    let users: Vec<_> = traced.iter().map(|record| &record["db_user"]).collect();
    assert_eq!(users, ["agent", "clerk"], "one statement each");
    for record in traced {
        assert_eq!(record["trace"]["trace_id"], TRACE);
        assert_eq!(record["trace"]["parent_id"], "00f067aa0ba902b7");
        assert_eq!(record["trace"]["sampled"], true);
    }
    assert!(!lines.concat().contains("canarytracestate"));
}
