//! How many statements that real applications sent plan without refusal: a folder of `name.jsonl` files, one JSON string
//! (a statement) a line, DDL before use.
//!
//! `PGVEIL_CORPORA=folder cargo nextest run --test corpora --run-ignored only --no-capture` prints a table and one
//! example of each kind of refusal. `PGVEIL_CORPORA_LIST=1` prints all that are refused.
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;
use support::message::{self, Client};
use support::{Config, Folder, Postgres, pgveil};

/// Columns called like personal data, whatever the application.
const POLICY: &str = r#"
version: 1
data:
  names: { missing: warn, columns: ["public.*.*name", "public.*.headline"] }
  contact: { missing: warn, columns: ["public.*.*email*", "public.*.*phone*", "public.*.value_compact"] }
roles:
  agent: { who: [{ db_user: agent }], mask: { names: redact, contact: redact } }
unmatched: deny
"#;

/// Statements that a restricted role may not run, whatever they are about (DESIGN section 3).
const DDL: &[&str] = &[
    "CREATE", "ALTER", "DROP", "COMMENT", "TRUNCATE", "GRANT", "REVOKE", "EXPLAIN", "VACUUM",
    "ANALYZE", "REINDEX",
];
/// At least so many of 1,000 statements that a restricted role may run plan without refusal.
const WANTED: usize = 999;

fn first_word(statement: &str) -> String {
    let word = statement.split_whitespace().next();
    word.unwrap_or_default().to_ascii_uppercase()
}

fn statements(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a corpus");
    let parsed = text.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().expect("JSON strings")
}

/// Runs what defines the schema, as far as it goes: of statements alike in shape a corpus holds one.
fn define(server: &Postgres, database: &str, statements: &[String]) -> usize {
    let mut client = Client::login(server.port(), "postgres", "", database);
    let defining = |statement: &&String| {
        let text = statement.to_ascii_uppercase();
        let destroys = text.contains(" RENAME ")
            || text.contains("DROP ")
            || text.contains("VALIDATE CONSTRAINT");
        matches!(first_word(&text).as_str(), "CREATE" | "ALTER")
            && !destroys
            && !text.contains("DATABASE")
    };
    let ran = statements.iter().filter(defining).filter(|statement| {
        let frames = client.query(statement);
        frames.iter().all(|frame| frame.tag != b'E')
    });
    ran.count()
}

/// Whether PostgreSQL itself has an error for the statement and it is of the same class: with several names unknown,
/// which is missed first is nobody's promise. Runs in a transaction that is rolled back.
fn server_says(client: &mut Client, statement: &str, sqlstate: &str) -> bool {
    client.send_all(&[message::parse("", statement, &[]), message::sync()]);
    let mut frames = client.read_until_ready();
    if statement.contains(';') {
        frames = client.query(&format!("BEGIN; {statement}"));
        client.query("ROLLBACK");
    }
    let own = frames
        .iter()
        .find(|frame| frame.tag == b'E')
        .and_then(|frame| frame.field(b'C'));
    own.is_some_and(|own| own.get(..2) == sqlstate.get(..2))
}

#[derive(Default)]
struct Counts {
    planned: usize,
    /// Refused as PostgreSQL refuses it too, with its SQLSTATE.
    as_postgres: usize,
    /// DDL and its like.
    not_for_restricted: usize,
    /// By reason and message.
    refused: BTreeMap<String, (usize, String)>,
}

#[test]
#[ignore = "measures the corpora in PGVEIL_CORPORA"]
fn statements_of_applications_plan_without_refusal() {
    let folder = PathBuf::from(
        env::var_os("PGVEIL_CORPORA").unwrap_or_else(|| "/work/shared/corpora".into()),
    );
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}: set PGVEIL_CORPORA", folder.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    let server = Postgres::start(support::Options::default());
    let (mut all, mut served) = (0, 0);
    for file in &files {
        let name = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name");
        let statements = statements(file);
        server.create_database(name);
        let defined = define(&server, name, &statements);
        let counts = measure(&server, name, &statements, file);
        let refused: usize = counts.refused.values().map(|kind| kind.0).sum();
        let allowed = counts.planned + refused;
        println!(
            "{name}: {} statements ({defined} ran to define the schema): {} planned, {refused} refused ({:.2} % of those a \
             restricted role may run plan), {} refused as PostgreSQL does, {} DDL or EXPLAIN",
            statements.len(),
            counts.planned,
            counts.planned as f64 * 100.0 / allowed as f64,
            counts.as_postgres,
            counts.not_for_restricted
        );
        for (kind, (count, example)) in &counts.refused {
            println!(
                "  {count:5} {kind}\n        {}",
                example.chars().take(260).collect::<String>()
            );
        }
        all += allowed;
        served += counts.planned;
    }
    println!("together {served} of {all}");
    assert!(all > 1_000, "too few statements: {all}");
    assert!(
        served * 1_000 >= all * WANTED,
        "{} of {all} refused",
        all - served
    );
}

fn measure(server: &Postgres, database: &str, statements: &[String], file: &Path) -> Counts {
    let folder = Folder::new("corpora");
    let mut config = Config::new(server);
    config.policy(POLICY);
    config.reads_catalogs(server, &[database]);
    let config = config.write(&folder);
    let output = pgveil::command()
        .args([
            "explain",
            "--role",
            "agent",
            "--format",
            "json",
            "--database",
            database,
            "--config",
        ])
        .arg(config)
        .arg("--file")
        .arg(file)
        .output()
        .expect("pgveil explain");
    let text = String::from_utf8_lossy(&output.stdout);
    let plans: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(
        plans.len(),
        statements.len(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut client = Client::login(server.port(), "postgres", "", database);
    let mut counts = Counts::default();
    for (statement, plan) in statements.iter().zip(&plans) {
        let field = |name: &str| plan[name].as_str().unwrap_or_default();
        if field("verdict") != "refuse" {
            counts.planned += 1;
        } else if DDL.contains(&first_word(statement).as_str()) || field("reason") == "statement" {
            counts.not_for_restricted += 1;
        } else if matches!(field("reason"), "undefined" | "syntax")
            && server_says(&mut client, statement, field("sqlstate"))
        {
            counts.as_postgres += 1;
        } else {
            let kind = format!(
                "{}: {} ({})",
                field("reason"),
                field("message"),
                field("detail")
            );
            if env::var_os("PGVEIL_CORPORA_LIST").is_some() {
                println!("REFUSED {kind}: {statement}");
            }
            let entry = counts.refused.entry(kind).or_insert((0, statement.clone()));
            entry.0 += 1;
            if statement.len() < entry.1.len() {
                entry.1 = statement.clone();
            }
        }
    }
    counts
}
