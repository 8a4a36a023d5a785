//! `pgveil serve` as a process: how it starts, what it refuses to start with, how it ends.
mod support;

use std::process::{Command, Stdio};

use pgveil::audit::verify::{Expectation, verify};
use support::message::Client;
use support::pgveil::command;
use support::{Certificates, Config, Folder, Options, Pgveil, Postgres};

const POLICY: &str = "version: 1\nroles:\n  dpo: { who: [{ db_user: postgres }], unmasked: true }\nunmatched: deny\n";

fn server() -> Postgres {
    Postgres::start(Options::default())
}

fn config(server: &Postgres) -> Config {
    let mut config = Config::new(server);
    config.policy(POLICY);
    config
}

/// Runs `serve` to its end; gives exit code and everything it said.
fn serve(config: &Config) -> (i32, String) {
    let folder = Folder::new("serve");
    let file = config.write(&folder);
    let output = command()
        .args(["serve", "--config"])
        .arg(file)
        .stdin(Stdio::null())
        .output()
        .expect("pgveil runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("an exit code"),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn a_session_is_relayed_and_on_record() {
    let server = server();
    let mut pgveil = Pgveil::start(&config(&server));
    let rows = pgveil
        .sql("postgres", "postgres", "SELECT 'tulip'")
        .expect("rows");
    assert_eq!(rows, [vec![Some("tulip".into())]]);
    assert!(pgveil.http("/readyz").starts_with("HTTP/1.1 200"));
    assert!(
        pgveil
            .http("/metrics")
            .contains("pgveil_logins_total{result=\"ok\"} 1")
    );
    assert!(pgveil.stop().success());

    let lines = pgveil.audit_lines();
    let events: Vec<String> = lines
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("json")["event"].to_string()
        })
        .map(|event| event.trim_matches('"').to_owned())
        .collect();
    assert_eq!(
        events,
        [
            "chain",
            "start",
            "policy",
            "login",
            "statement",
            "logout",
            "stop"
        ]
    );
    assert!(!lines.concat().contains("tulip"), "a literal is on record");
    let report = verify(&pgveil.audit_dir(), &Expectation::default()).expect("a sound chain");
    // And the signature at the end.
    assert_eq!(report.records, 8);
}

#[test]
fn a_user_without_a_role_is_denied_and_on_record() {
    let server = server();
    server.sql("postgres", "CREATE USER nobody_special");
    let mut pgveil = Pgveil::start(&config(&server));
    let error = pgveil
        .sql("nobody_special", "postgres", "SELECT 1")
        .expect_err("denied");
    assert_eq!(error.code().map(|code| code.code()), Some("42501"));
    assert!(pgveil.stop().success());
    let lines = pgveil.audit_lines();
    let failed = lines.iter().rev().nth(1).expect("a record before the stop");
    assert!(failed.contains("\"event\":\"login_failed\""), "{failed}");
    assert!(
        failed.contains("\"db_user\":\"nobody_special\""),
        "{failed}"
    );
    assert!(failed.contains("\"sqlstate\":\"42501\""), "{failed}");
}

#[test]
fn a_session_over_the_limit_is_told_in_the_words_of_postgresql() {
    let server = server();
    let mut config = config(&server);
    config.set("limits", "{ max_sessions: 1 }");
    let pgveil = Pgveil::start(&config);
    let first = Client::login(pgveil.port(), "postgres", "", "postgres");
    let parameters = [("user", "postgres"), ("database", "postgres")];
    let refused = Client::try_login(pgveil.port(), "postgres", "", &parameters)
        .err()
        .expect("too many");
    assert_eq!(refused.field(b'S').as_deref(), Some("FATAL"));
    assert_eq!(refused.field(b'C').as_deref(), Some("53300"));
    assert_eq!(
        refused.field(b'M').as_deref(),
        Some("sorry, too many clients already")
    );
    drop(first);
}

#[test]
fn a_transaction_may_finish_after_sigterm() {
    let server = server();
    server.sql("postgres", "CREATE TABLE kept (id int)");
    let mut pgveil = Pgveil::start(&config(&server));
    let mut client = Client::login(pgveil.port(), "postgres", "", "postgres");
    client.query("BEGIN; INSERT INTO kept VALUES (1)");
    pgveil.terminate();
    assert!(pgveil.wait_for_log("ending"));
    client.query("COMMIT");
    let told = client.read().expect("told why");
    assert_eq!(told.field(b'C').as_deref(), Some("57P01"));
    assert!(pgveil.wait().success());
    assert_eq!(server.sql("postgres", "TABLE kept").len(), 1);
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = server();
    let mut pgveil = Pgveil::start(&config(&server));
    let mut client = Client::login(pgveil.port(), "postgres", "", "postgres");
    client.query("BEGIN");
    pgveil.terminate();
    assert!(pgveil.wait_for_log("ending"));
    pgveil.terminate();
    assert!(pgveil.wait().success());
    let lines = pgveil.audit_lines();
    assert!(
        lines
            .last()
            .expect("a record")
            .contains("\"event\":\"stop\"")
    );
}

#[test]
fn a_transaction_that_does_not_finish_in_time_is_ended() {
    let server = server();
    let mut config = config(&server);
    config.set("limits", "{ drain_timeout: 1s }");
    let mut pgveil = Pgveil::start(&config);
    let mut client = Client::login(pgveil.port(), "postgres", "", "postgres");
    client.query("BEGIN");
    pgveil.terminate();
    let told = client.read().expect("told why");
    assert_eq!(told.field(b'C').as_deref(), Some("57P01"));
    assert!(pgveil.wait().success());
}

#[test]
fn a_policy_that_does_not_fit_the_database_stops_the_start() {
    let server = server();
    let mut config = config(&server);
    config.policy(
        "version: 1\ndata:\n  phone: { columns: [crm.contacts.phone] }\nroles:\n  agent: { who: [{ db_user: agent }], mask: { phone: redact } }\nunmatched: deny\n",
    );
    let (code, said) = serve(&config);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("test.yaml:3:"), "{said}");
    assert!(said.contains("crm.contacts.phone"), "{said}");
}

#[test]
fn a_wrong_configuration_exits_with_2_and_names_the_place() {
    let server = server();
    let mut config = config(&server);
    config.set("lissen", "127.0.0.1:1");
    let (code, said) = serve(&config);
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("pgveil.yaml:") && said.contains("lissen"),
        "{said}"
    );
}

#[test]
fn passthrough_with_tls_on_both_legs_exits_with_2_and_says_why() {
    let certificates = Certificates::new();
    let server = Postgres::start(Options {
        tls: Some(&certificates),
        ..Options::default()
    });
    let mut config = config(&server);
    let (cert, key) = (certificates.cert_file(), certificates.key_file());
    config.set(
        "tls",
        &format!("{{ cert: {}, key: {} }}", cert.display(), key.display()),
    );
    for mode in ["require", "prefer"] {
        let port = server.port();
        config.set(
            "upstream",
            &format!("{{ host: 127.0.0.1, port: {port}, tls: {mode}, catalog_user: {{ name: postgres }} }}"),
        );
        let (code, said) = serve(&config);
        assert_eq!(code, 2, "{mode}: {said}");
        assert!(said.contains("channel binding"), "{mode}: {said}");
    }
}

#[test]
fn a_server_that_is_not_there_exits_with_1() {
    let mut config = Config::upstream_port(support::free_port());
    config.policy(POLICY);
    let (code, said) = serve(&config);
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("error: "), "{said}");
}

#[test]
fn an_address_in_use_exits_with_1_and_is_named() {
    let server = server();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let mut config = config(&server);
    config.set("listen", &address.to_string());
    let (code, said) = serve(&config);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(&format!("cannot listen on {address}")),
        "{said}"
    );
}

#[test]
fn two_processes_do_not_share_an_audit_directory() {
    let server = server();
    let pgveil = Pgveil::start(&config(&server));
    let mut second = config(&server);
    second.set(
        "audit",
        &format!("{{ dir: {} }}", pgveil.audit_dir().display()),
    );
    let (code, said) = serve(&second);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another pgveil writes there"), "{said}");
}

#[test]
fn it_is_not_ready_while_the_server_is_away() {
    let mut server = server();
    let mut config = config(&server);
    config.set("limits", "{ catalog_refresh: 1s }");
    let pgveil = Pgveil::start(&config);
    server.crash();
    assert!(pgveil.wait_for_log("the catalog cannot be read"));
    assert!(pgveil.http("/readyz").starts_with("HTTP/1.1 503"));
    server.restart();
    assert!(pgveil.wait_for_log("the catalogs can be read again"));
    assert!(pgveil.http("/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn help_shows_examples_everywhere() {
    for words in [
        &["serve"][..],
        &["check"],
        &["explain"],
        &["audit"],
        &["audit", "verify"],
        &["demo"],
        &["completions"],
    ] {
        let mut help: Command = command();
        let output = help.args(words).arg("--help").output().expect("help");
        assert!(output.status.success());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("Example"), "{words:?}: {text}");
    }
}
