//! `pgveil test` and `pgveil catalog dump`: the cases that ship hold, and a policy that does something else fails them.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgveil::catalog::{Catalog, file};

use super::support::catalog::read;
use super::support::pgveil::command;
use super::support::{Config, Folder, Options, Postgres};

const SHIPPED: &str = "policies/tests/crm.yaml";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn run(arguments: &[&str]) -> Output {
    let mut command: Command = command();
    command.current_dir(root()).args(arguments);
    command.output().expect("pgveil runs")
}

#[track_caller]
pub fn out(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.code().is_some_and(|code| code < 2),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// The demo's schema, in a database of its own.
pub fn crm() -> Postgres {
    let server = Postgres::start(Options::default());
    server.create_database("crm");
    let schema = fs::read_to_string(root().join("deploy/crm/schema.sql")).expect("the schema");
    server.sql("crm", &schema);
    server
}

/// Names and types of all that is in the schemas of the demo.
fn shape(catalog: &Catalog) -> Vec<String> {
    let own = |schema: &str| schema == "crm" || schema == "hr";
    let relations = catalog
        .relations
        .values()
        .filter(|relation| own(&relation.schema));
    let mut shape: Vec<String> = relations
        .flat_map(|relation| {
            let columns = relation.columns.iter();
            columns.map(|column| {
                format!(
                    "{}.{} {}",
                    relation.full_name(),
                    column.name,
                    column.type_sql
                )
            })
        })
        .collect();
    shape.sort();
    shape
}

#[test]
fn the_cases_that_ship_hold_without_a_server_and_with_rows() {
    let server = crm();
    let live = read(&server, "crm");
    let shipped = root().join("policies/tests/crm.catalog.zst");
    let folder = Folder::new("cases");
    if std::env::var_os("PGVEIL_BLESS").is_some() {
        file::write(&live, &shipped).expect("written");
    }
    let known = file::read(&shipped).expect("a snapshot");
    assert_eq!(
        shape(&known),
        shape(&live),
        "write it anew with PGVEIL_BLESS=1"
    );
    assert!(fs::metadata(&shipped).expect("a file").len() < 300_000);

    let without = out(&run(&["test", SHIPPED]));
    assert!(
        without.ends_with("11 passed, 9 skipped, 0 failed\n"),
        "{without}"
    );
    let url = format!("postgres://postgres@127.0.0.1:{}/scratch", server.port());
    server.create_database("scratch");
    let with = out(&run(&["test", SHIPPED, "--database-url", &url]));
    assert!(with.ends_with("20 passed, 0 skipped, 0 failed\n"), "{with}");
    // All of it was rolled back.
    let left = server.sql(
        "scratch",
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'crm'",
    );
    assert_eq!(left[0][0].as_deref(), Some("0"));

    // The same against the live catalog, and against a dump of it by the command.
    let mut config = Config::new(&server);
    config.policy(&fs::read_to_string(root().join("policies/crm.yaml")).expect("the policy"));
    let config = config.write(&folder).display().to_string();
    let live = out(&run(&[
        "test",
        SHIPPED,
        "--config",
        &config,
        "--database",
        "crm",
    ]));
    assert!(live.ends_with("11 passed, 9 skipped, 0 failed\n"), "{live}");
    let dumps: Vec<PathBuf> = ["one.zst", "two.zst"]
        .map(|name| folder.path().join(name))
        .into();
    for dump in &dumps {
        let path = dump.display().to_string();
        out(&run(&[
            "catalog",
            "dump",
            "--config",
            &config,
            "--database",
            "crm",
            "--output",
            &path,
        ]));
    }
    let bytes: Vec<Vec<u8>> = dumps
        .iter()
        .map(|dump| fs::read(dump).expect("a dump"))
        .collect();
    assert_eq!(bytes[0], bytes[1]);
    let again = file::read(&dumps[0]).expect("a snapshot");
    assert_eq!(again.version, read(&server, "crm").version);
}

/// A policy that shows more than the cases say, and less.
#[test]
fn cases_fail_under_another_policy_in_every_format() {
    let folder = Folder::new("cases");
    let text = fs::read_to_string(root().join("policies/crm.yaml")).expect("the policy");
    let other = text
        .replacen("      - crm.contacts.mobile\n", "", 1)
        .replacen("salary:     { round: 1000 }", "", 1);
    let other = folder.write("policy/crm.yaml", other).display().to_string();
    let tried = run(&["test", SHIPPED, "--policy", &other]);
    let text = out(&tried);
    assert_eq!(tried.status.code(), Some(1));
    assert!(text.contains("FAILED   policies/tests/crm.yaml:"), "{text}");
    assert!(
        text.contains("expected `masked: [hr.employees.salary]`, found []"),
        "{text}"
    );
    assert!(text.contains("found [crm.contacts.birth_date, crm.contacts.email, crm.contacts.id_card, crm.contacts.phone]"), "{text}");
    assert!(text.ends_with("10 passed, 8 skipped, 2 failed\n"), "{text}");

    let tap = out(&run(&[
        "test", SHIPPED, "--policy", &other, "--format", "tap",
    ]));
    assert!(
        tap.starts_with("TAP version 13\n1..20\nok 1 - the agents' login is an agent\n"),
        "{tap}"
    );
    assert_eq!(tap.matches("\nnot ok ").count(), 2, "{tap}");
    let junit = out(&run(&[
        "test", SHIPPED, "--policy", &other, "--format", "junit",
    ]));
    assert!(
        junit.contains("tests=\"20\" failures=\"2\" skipped=\"8\""),
        "{junit}"
    );
}

/// Rows are compared, not only counted.
#[test]
fn rows_that_differ_fail() {
    let server = Postgres::start(Options::default());
    let folder = Folder::new("cases");
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port());
    let policy = folder.write("p.yaml", "version: 1\ndata: { x: { columns: [public.t.x], missing: warn } }\nroles: { a: { who: [{ db_user: a }], mask: { x: redact } } }\n");
    let case = |statement: &str, rows: &str| {
        format!(
            "  - {{ role: a, statement: \"{statement}\", expect: {{ verdict: pass, rows: {rows} }} }}\n"
        )
    };
    let cases = [
        case("SELECT 1, true, null", "[[1, true, null]]"),
        case("VALUES (1), (2)", "[[2], [1]]"),
        case("VALUES (1)", "[[2]]"),
        case("SELECT 1/0", "[[2]]"),
        case("SELECT 4", "[[4]]"),
    ];
    let cases = format!(
        "version: 1\npolicy: {}\ncases:\n{}",
        policy.display(),
        cases.concat()
    );
    let cases = folder.write("cases.yaml", cases).display().to_string();
    let mut config = Config::new(&server);
    config.policy("version: 1\nroles: { a: { who: [{ db_user: a }], mask: {} } }\n");
    let config = config.write(&folder).display().to_string();
    let tried = run(&[
        "test",
        &cases,
        "--config",
        &config,
        "--database",
        "postgres",
        "--database-url",
        &url,
    ]);
    let text = out(&tried);
    for said in [
        "expected the same rows in another order",
        "expected the rows [`2`], found [`1`]",
        "the statement failed: division by zero",
        "2 passed, 0 skipped, 3 failed",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_file_of_cases_is_checked_as_everything_is() {
    let folder = Folder::new("cases");
    let file = folder.write(
        "cases.yaml",
        "version: 1\ncases:\n  - { statement: SELECT 1, expect: { verdict: rewrote } }\n  - { role: a, statment: x }\n",
    );
    let tried = run(&["test", &file.display().to_string()]);
    assert_eq!(tried.status.code(), Some(2));
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(
        said.contains("cases.yaml:4:16: error: unknown key `statment`"),
        "{said}"
    );
    assert!(said.contains("did you mean `statement`?"), "{said}");
    let file = folder.write(
        "cases.yaml",
        "version: 1\ncases: [{ statement: SELECT 1, expect: { verdict: rewrote, rows: [[1]] } }]\n",
    );
    let tried = run(&["test", &file.display().to_string()]);
    let said = String::from_utf8_lossy(&tried.stderr);
    assert!(
        said.contains("missing key `role`") && said.contains("did you mean `rewrite`?"),
        "{said}"
    );
}

#[test]
fn a_case_may_say_what_its_statement_is_for() {
    let folder = Folder::new("cases-purpose");
    folder.write(
        "p.yaml",
        "version: 1\ndata: { phone: { columns: [crm.contacts.phone], purposes: support } }\nroles:\n  agent:\n    who: [{ db_user: a }]\n    mask: { phone: { show: { last: 4 }, lookup: exact } }\n",
    );
    let catalog = root().join("policies/tests/crm.catalog.zst");
    let case = |purpose: &str, lookups: &str| {
        format!(
            "  - {{ db_user: a, {purpose}statement: \"SELECT id FROM crm.contacts WHERE phone = '1'\", expect: {{ verdict: rewrite, lookups: [{lookups}] }} }}\n"
        )
    };
    let file = folder.write(
        "cases.yaml",
        format!(
            "version: 1\npolicy: p.yaml\ncatalog: {}\ncases:\n{}{}{}",
            catalog.display(),
            case("", ""),
            case("purpose: marketing, ", ""),
            case("purpose: support, ", "crm.contacts.phone"),
        ),
    );
    let text = out(&run(&["test", &file.display().to_string()]));
    assert!(text.contains("3 passed"), "{text}");
}
