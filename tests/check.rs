//! `pgveil check` as people and CI meet it: what it prints, and its exit codes.
mod support;

use std::process::{Command, Output};

use support::{Folder, Options, Postgres};

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
    let folder = Folder::new("check");
    folder.write("policies/crm.yaml", policy);
    let config = folder.write(
        "pgveil.yaml",
        format!(
            "upstream: {{ host: 127.0.0.1, port: {port}, catalog_user: {{ name: postgres }}, databases: [crm, other] }}\n\
             policies: policies/\n"
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
         CREATE VIEW crm.calls AS SELECT phone FROM crm.contacts",
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
