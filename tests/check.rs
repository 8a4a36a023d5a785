//! `pgveil check` as people and CI meet it: what it prints, and its exit codes.
mod support;

use std::process::{Command, Output};
use std::sync::Arc;

use pgveil::admin::accounts::Accounts;
use pgveil::export::store::Sqlite;
use support::{Config, Folder, Options, Pgveil, Postgres};

const POLICY: &str = "\
version: 1
data:
  phone: { columns: [crm.contacts.phone] }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { last: 4 } } } }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
";

/// A configuration beside a policy; gives the output of `pgveil check` with the further arguments.
fn check(port: u16, policy: &str, arguments: &[&str]) -> Output {
    check_in(&Folder::new("check"), port, policy, "", arguments)
}

/// [`check`] in a folder that may hold more, with further settings.
fn check_in(
    folder: &Folder,
    port: u16,
    policy: &str,
    settings: &str,
    arguments: &[&str],
) -> Output {
    check_as("postgres", folder, port, policy, settings, arguments)
}

/// [`check_in`] with another catalog user.
fn check_as(
    catalog_user: &str,
    folder: &Folder,
    port: u16,
    policy: &str,
    settings: &str,
    arguments: &[&str],
) -> Output {
    folder.write("policies/crm.yaml", policy);
    let config = folder.write(
        "pgveil.yaml",
        format!(
            "upstream: {{ host: 127.0.0.1, port: {port}, catalog_user: {{ name: {catalog_user} }}, databases: [crm, other] }}\n\
             policies: policies/\nstate: state.db\n{settings}"
        ),
    );
    Command::new(env!("CARGO_BIN_EXE_pgveil"))
        .arg("check")
        .arg("--config")
        .arg(config)
        .args(arguments)
        .output()
        .expect("cannot run pgveil")
}

fn server() -> Postgres {
    let postgres = Postgres::start(Options::default());
    postgres.create_database("crm");
    postgres.create_database("other");
    postgres.sql(
        "crm",
        "CREATE SCHEMA crm; CREATE TABLE crm.contacts (id int, phone text);
         CREATE VIEW crm.calls AS SELECT phone FROM crm.contacts;
         CREATE ROLE agent LOGIN; CREATE ROLE clerk LOGIN; CREATE ROLE dpo LOGIN",
    );
    postgres
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_right_policy_is_summed_up_by_database_and_role() {
    let postgres = server();
    let output = check(postgres.port(), POLICY, &[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(shown.contains("1 class, 2 roles\n"), "{shown}");
    assert!(
        shown.contains("crm: agent sees 2 columns masked in 2 relations\n"),
        "{shown}"
    );
    assert!(shown.contains("crm: dpo sees everything\n"), "{shown}");
    // The other database lacks the column, which is no fault as long as one has it.
    assert!(!shown.contains("other:"), "{shown}");
}

#[test]
fn row_rules_are_summed_up_and_what_they_close_is_told() {
    let postgres = server();
    let ruled = POLICY.replace(
        "{ phone: { show: { last: 4 } } } }",
        "{ phone: { show: { last: 4 } } }, rows: { crm.contacts: \"id < 10\" } }",
    );
    let output = check(postgres.port(), &ruled, &[]);
    let (shown, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        shown.contains("crm: agent has 1 relation under a row rule\n"),
        "{shown}"
    );
    assert!(
        shown.contains("crm: agent has 1 relation closed by row rules\n"),
        "{shown}"
    );
    assert!(
        told.contains("warning: `crm.calls` is closed to `agent`: it reads `crm.contacts`"),
        "{told}"
    );
    assert!(
        told.contains("give it a row rule of its own: `crm.calls: \"...\"`"),
        "{told}"
    );
}

#[test]
fn a_role_is_summed_up_where_it_has_something_and_in_words_where_that_is_nothing() {
    let postgres = server();
    let policy = format!(
        "{POLICY}  elsewhere: {{ who: [{{ db_user: agent, database: other }}], mask: {{ phone: redact }} }}\n  \
         clerk: {{ who: [{{ db_user: clerk }}] }}\n"
    );
    let output = check(postgres.port(), &policy, &[]);
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(
        shown.contains("crm: clerk sees no column masked\n"),
        "{shown}"
    );
    assert!(!shown.contains("elsewhere"), "{shown}");
    assert!(!shown.contains(" 0 "), "{shown}");
}

#[test]
fn a_user_or_database_that_the_server_lacks_is_told_with_what_was_probably_meant() {
    let postgres = server();
    let policy = POLICY.replace(
        "[{ db_user: agent }]",
        "[{ db_user: agemt }, { db_user: [agent, CHANGE_ME], database: [crm, others] }]",
    );
    let output = check(postgres.port(), &policy, &[]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("crm.yaml:5:29: warning: the server has no user `agemt`\n"),
        "{told}"
    );
    assert!(told.contains("= help: did you mean `agent`?\n"), "{told}");
    assert!(
        told.contains("warning: the server has no user `CHANGE_ME`\n"),
        "{told}"
    );
    assert!(
        told.contains("warning: the server has no database `others`\n"),
        "{told}"
    );
    assert!(told.contains("= help: did you mean `other`?\n"), "{told}");
    assert_eq!(told.matches("the server has no").count(), 3, "{told}");

    let offline = check(postgres.port(), &policy, &["--offline"]);
    assert_eq!(text(&offline.stderr), "", "files alone do not tell");
    let right = check(postgres.port(), POLICY, &[]);
    assert!(!text(&right.stderr).contains("the server has no"));
}

#[test]
fn row_rules_are_held_against_types_by_the_server_without_a_right_on_the_tables() {
    let postgres = server();
    postgres.sql(
        "crm",
        "CREATE TYPE crm.grade AS ENUM ('a', 'b');
         CREATE TABLE crm.wards (id int PRIMARY KEY, beds int, name varchar(20), opened date, open bool, level crm.grade);
         CREATE TABLE crm.duty (ward int PRIMARY KEY, person text);
         CREATE ROLE looker LOGIN; REVOKE ALL ON SCHEMA crm FROM PUBLIC",
    );
    let folder = Folder::new("check");
    let run = |rule: &str| {
        let policy = POLICY.replace(
            "mask: { phone: { show: { last: 4 } } }",
            &format!("mask: {{ phone: redact }}, rows: {{ crm.wards: \"{rule}\" }}"),
        );
        check_as("looker", &folder, postgres.port(), &policy, "", &[])
    };
    let duty = "(SELECT d.ward FROM crm.duty d WHERE";
    for (rule, complaint) in [
        (
            "beds = 'x'".to_owned(),
            "invalid input syntax for type integer: \"x\"",
        ),
        (
            "beds = {db_user}".to_owned(),
            "invalid input syntax for type integer: \"agent\"",
        ),
        ("name = 7".to_owned(), "operator does not exist"),
        (
            "opened > '2024-13-01'".to_owned(),
            "date/time field value out of range",
        ),
        (
            "lower(beds) = 'x'".to_owned(),
            "function pg_catalog.lower(integer) does not exist",
        ),
        ("beds + 1".to_owned(), "must be type boolean"),
        (
            format!("id IN {duty} d.person = 7)"),
            "operator does not exist",
        ),
        (
            format!("name IN {duty} d.person = {{app_user}})"),
            "operator does not exist",
        ),
    ] {
        let output = run(&rule);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{rule}: {told}");
        let message = "error: the server turns down the row rule of `crm.wards`: ";
        assert!(
            told.contains("crm.yaml:5:") && told.contains(message) && told.contains(complaint),
            "{rule}: {told}"
        );
    }
    for rule in [
        "beds = '7' AND name = 'x' AND open".to_owned(),
        "beds = {attr.beds} AND name = {app_user}".to_owned(),
        "opened < (now() AT TIME ZONE interval '08:00')::date OR opened IS NULL".to_owned(),
        format!("id IN {duty} d.person = {{app_user}})"),
        "(SELECT count(*) FROM crm.duty d WHERE d.ward = wards.id) < 3".to_owned(),
        // True by the key of the table, which its stand-in has not.
        "EXISTS (SELECT d.person FROM crm.duty d GROUP BY d.ward)".to_owned(),
        // A type that the catalog user may not name.
        "level = 'a'".to_owned(),
    ] {
        let output = run(&rule);
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{rule}: {told}");
        assert!(!told.contains("turns down the row rule"), "{rule}: {told}");
    }
}

#[test]
fn a_column_that_does_not_exist_is_an_error_with_place_and_suggestion() {
    let postgres = server();
    let output = check(
        postgres.port(),
        &POLICY.replace("contacts.phone", "contacts.fone"),
        &[],
    );
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert!(
        shown.contains("crm.yaml:3:22: error: the column `crm.contacts.fone` does not exist\n"),
        "{shown}"
    );
    assert!(shown.contains("3 |   phone: { columns: [crm.contacts.fone] }\n  |                      ^^^^^^^^^^^^^^^^^\n"), "{shown}");
    assert!(
        shown.contains("= help: did you mean `crm.contacts.phone`?\n"),
        "{shown}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn findings_can_be_had_as_one_json_object_per_line() {
    let postgres = server();
    let wrong = POLICY.replace("contacts.phone", "contacts.fone, crm.contacts.id");
    let output = check(postgres.port(), &wrong, &["--format", "json"]);
    let shown = text(&output.stdout);
    let findings: Vec<serde_json::Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect();
    assert_eq!(output.status.code(), Some(2), "{shown}");
    assert_eq!(findings.len(), 2, "{shown}");
    assert_eq!(findings[0]["severity"], "error");
    assert_eq!(
        (&findings[0]["line"], &findings[0]["column"]),
        (&3.into(), &22.into())
    );
    assert!(
        findings[1]["message"]
            .as_str()
            .expect("a text")
            .contains("does not take `crm.contacts.id` of type `integer`")
    );
}

#[test]
fn without_a_server_the_files_alone_can_be_checked() {
    let unused = support::free_port();
    assert_eq!(check(unused, POLICY, &["--offline"]).status.code(), Some(0));
    assert_eq!(
        check(unused, &POLICY.replace("mask:", "maks:"), &["--offline"])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        check(unused, POLICY, &[]).status.code(),
        Some(1),
        "a server that is not there is no fault of the files"
    );
}

const EXPORTS: &str = "\
version: 1
data:
  phone: { columns: [crm.contacts.phone] }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: redact }, export: { rows: 10, approvers: [legal, dpo] } }
  clerk: { who: [{ db_user: clerk }], mask: { phone: redact }, export: { rows: 10, approvers: [dpo, works_council] } }
";

const MAIL: &str = "notify: { smtp: { host: localhost, tls: none, from: a@example.com, to: { legal: b@example.com, dpo: c@example.com } } }\n";
const CONSOLE: &str = "console: { listen: '127.0.0.1:9443' }\n";

#[test]
fn a_group_of_approvers_that_nobody_hears_or_nobody_is_in_is_told() {
    let postgres = server();
    let folder = Folder::new("check");
    let run = |settings: &str, arguments: &[&str]| {
        let output = check_in(&folder, postgres.port(), EXPORTS, settings, arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (text(&output.stdout), text(&output.stderr))
    };
    let (_, told) = run("", &[]);
    assert!(told.contains("there is no `console`"), "{told}");
    assert_eq!(told.matches("warning").count(), 1, "{told}");

    let (_, told) = run(&format!("{MAIL}{CONSOLE}"), &[]);
    assert_eq!(told.matches("is told of requests").count(), 1, "{told}");
    assert!(told.contains("`works_council` is told"), "{told}");
    for group in ["legal", "dpo", "works_council"] {
        let wanted = format!("nobody is in approver group `{group}`");
        assert_eq!(told.matches(&wanted).count(), 1, "{told}");
    }
    assert!(
        !folder.path().join("state.db").exists(),
        "looking makes none"
    );
    let (_, offline) = run(CONSOLE, &["--offline"]);
    assert_eq!(offline, "", "accounts are no matter of files");

    let hook = "notify: { webhook: { url: 'http://127.0.0.1:9/', secret: 0123456789abcdef } }\n";
    let (_, told) = run(&format!("{hook}{CONSOLE}"), &[]);
    assert!(!told.contains("is told of requests"), "{told}");

    let path = folder.path().join("state.db");
    let store = Arc::new(Sqlite::open(&path).expect("a store"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let accounts = Accounts::new(Arc::clone(&store) as _);
        let groups = ["legal".to_owned(), "dpo".to_owned()];
        let added = accounts.add("lea", "lea", &groups, "a long enough pass phrase");
        added.await.expect("an account");
    });
    let (shown, told) = run(CONSOLE, &[]);
    assert!(shown.contains("who may sign was not looked at"), "{shown}");
    assert!(!told.contains("warning"), "in use: {told}");
    drop(store);
    let oidc = "console: { listen: '127.0.0.1:9443', oidc: { issuer: 'https://login.example.com', client_id: pgveil, \
        person_claim: email, groups: { Council: works_council } } }\n";
    let (_, told) = run(CONSOLE, &[]);
    assert_eq!(
        told.matches("nobody is in approver group").count(),
        1,
        "{told}"
    );
    assert!(told.contains("`works_council`"), "{told}");
    assert!(!run(oidc, &[]).1.contains("warning"));
}

#[test]
fn a_start_tells_of_approvers_too() {
    let postgres = server();
    let mut config = Config::new(&postgres);
    config.policy(EXPORTS);
    config.set("console", "{ listen: '127.0.0.1:0' }");
    config.set(
        "notify",
        MAIL.trim().strip_prefix("notify: ").expect("a section"),
    );
    let pgveil = Pgveil::start(&config);
    assert!(pgveil.wait_for_log("`works_council` is told"));
    assert!(pgveil.wait_for_log("nobody is in approver group `legal`"));
}
