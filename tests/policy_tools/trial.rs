//! Roles with `enforce: false`: nothing changes for the client, and the record says what would have.
use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use super::support::compare::{same, told, values};
use super::support::message::{self, Client};
use super::support::{Config, Options, PATIENCE, Pgveil, Postgres};

const SCHEMA: &str = "
    CREATE ROLE agent LOGIN; CREATE ROLE second LOGIN; CREATE ROLE dba LOGIN;
    CREATE SCHEMA crm;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, owner text, phone text);
    INSERT INTO crm.contacts SELECT g, 'north', '1381234567' || g FROM generate_series(1, 8) g;
    ALTER ROLE agent SET search_path = crm;
    GRANT USAGE, CREATE ON SCHEMA crm TO agent, second, dba; GRANT ALL ON crm.contacts TO agent, second, dba;
";

fn policy(enforce: &str) -> String {
    format!(
        "version: 1
data: {{ phone: {{ columns: [crm.contacts.phone] }} }}
roles:
  agent:
    who: [{{ db_user: agent }}]
    {enforce}
    mask: {{ phone: {{ show: {{ last: 4 }} }} }}
    export: {{ rows: 5, per_hour: 20, approvers: [legal] }}
  second:
    who: [{{ db_user: second }}]
    mask: {{ phone: redact }}
    export: {{ per_hour: 20, approvers: [legal] }}
  dba: {{ who: [{{ db_user: dba }}], unmasked: true }}
people: {{ ann: {{ db_user: \"agent, second\" }} }}
"
    )
}

fn start(policy: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(policy);
    config.reads_catalogs(&server, &["postgres"]);
    config.set("limits", "{ max_statement_bytes: 4096 }");
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn login(port: u16, user: &str) -> Client {
    Client::login(port, user, "", "postgres")
}

/// What the record says of statements: text or kind, verdict, and what would have been.
fn on_record(pgveil: &Pgveil) -> Vec<(String, Value)> {
    pgveil
        .audit_lines()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|record| record["event"] == "statement" || record["event"] == "refusal")
        .map(|record| {
            let text = record["text"].as_str().unwrap_or_default().to_owned();
            (text, record)
        })
        .collect()
}

/// Everything a client can send that rules have something to say about.
const TEXTS: &[&str] = &[
    "SELECT phone FROM contacts ORDER BY id LIMIT 2",
    "SELECT pg_read_file('x')",
    "SET search_path = public",
    "SELECT phone FROM contacts",
    "SELECT count(*) FROM crm.contacts WHERE phone = '13812345671'",
    "BEGIN; SET LOCAL search_path = crm; SELECT phone FROM contacts WHERE id = 3; COMMIT",
    "CREATE TEMP TABLE mine AS SELECT phone FROM crm.contacts",
    "SELECT phone FROM mine ORDER BY 1 LIMIT 1",
    "DO $$BEGIN RAISE NOTICE 'hello'; END$$",
    "SELECT * FROM crm.contacts ORDER BY id",
    "SELEC 1",
    "BEGIN; UPDATE crm.contacts SET phone = 'x' WHERE id = 8 RETURNING phone; ROLLBACK",
    "SELECT 1/0",
];

#[test]
fn nothing_changes_for_the_client_and_everything_is_on_record() {
    let (server, pgveil) = start(&policy("enforce: false"));
    let mut direct = login(server.port(), "agent");
    let mut through = login(pgveil.port(), "agent");
    same(&mut direct, &mut through, TEXTS);
    // Each by itself once more by the extended protocol, with a row limit, in a pipeline.
    let batch = [
        message::parse(
            "s",
            "SELECT phone FROM crm.contacts WHERE id < $1 ORDER BY id",
            &[23],
        ),
        message::bind("p", "s", &[Some("5")], 0),
        message::describe(b'P', "p"),
        message::execute("p", 2),
        message::execute("p", 0),
        message::parse("", &format!("SELECT '{}'", "x".repeat(5000)), &[]),
        message::sync(),
    ];
    let call = message::frame(
        b'F',
        // abs(-4) by its OID, as text
        &[
            &1397u32.to_be_bytes()[..],
            &[0, 0, 0, 1, 0, 0, 0, 2],
            b"-4",
            &[0, 0],
        ]
        .concat(),
    );
    for client in [&mut direct, &mut through] {
        client.send_all(&batch);
    }
    assert_eq!(
        told(&direct.read_until_ready()),
        told(&through.read_until_ready())
    );
    for client in [&mut direct, &mut through] {
        client.send_raw(&call);
    }
    assert_eq!(
        told(&direct.read_until_ready()),
        told(&through.read_until_ready())
    );
    drop(through);

    let records = on_record(&pgveil);
    assert!(
        records
            .iter()
            .all(|(_, record)| record["enforced"] == json!(false))
    );
    assert!(
        records
            .iter()
            .all(|(_, record)| record["verdict"] == "pass" && record["masked"].is_null())
    );
    let would = |text: &str| -> Value {
        let found = records.iter().rev().find(|(known, _)| known == text);
        found.unwrap_or_else(|| panic!("{text} of {records:#?}")).1["would"].clone()
    };
    let phone = json!(["crm.contacts.phone"]);
    // Names are followed: along the path of the role, one that was set, and one of a transaction.
    let limited = would("SELECT phone FROM contacts ORDER BY id LIMIT $1");
    assert_eq!(
        (&limited["verdict"], &limited["masked"]),
        (&json!("rewrite"), &phone)
    );
    assert_eq!(
        would("SELECT phone FROM contacts WHERE id = $1")["masked"],
        phone
    );
    assert_eq!(would("SELECT phone FROM contacts")["reason"], "undefined");
    assert_eq!(would("SELECT pg_read_file($1)")["reason"], "function");
    assert_eq!(
        would("SELECT count(*) FROM crm.contacts WHERE phone = $1")["verdict"],
        "rewrite"
    );
    // What is the session's own is named so, and nothing more.
    let own = would("SELECT phone FROM mine ORDER BY $1 LIMIT $2");
    assert_eq!(
        (&own["verdict"], &own["masked"]),
        (&json!("rewrite"), &Value::Null)
    );
    assert_eq!(would("DO $1")["verdict"], "refuse");
    assert_eq!(would("SELEC $1")["reason"], "syntax");
    assert_eq!(would("SET search_path = $1")["verdict"], "pass");
    assert_eq!(
        would("UPDATE crm.contacts SET phone = $1 WHERE id = $2 RETURNING phone")["verdict"],
        "rewrite"
    );
    // Rows: all of them went out, and the result would have been stopped.
    let all = records
        .iter()
        .find(|(text, _)| text == "SELECT * FROM crm.contacts ORDER BY id");
    let all = &all.expect("on record").1;
    assert_eq!(
        (&all["rows"], &all["event"]),
        (&json!(8), &json!("statement"))
    );
    assert_eq!(
        (&all["would"]["verdict"], &all["would"]["reason"]),
        (&json!("rewrite"), &json!("export_rows"))
    );
    assert!(all["export"].is_null());
    let called = records
        .iter()
        .find(|(_, record)| record["kind"] == "FUNCTION CALL");
    assert_eq!(called.expect("on record").1["would"]["reason"], "protocol");

    // Alarms look at what was refused; nothing was.
    let metrics = pgveil.http("/metrics");
    for none in ["pgveil_refusals_total{", "pgveil_export_stops_total{"] {
        let mut counted = metrics.lines().filter(|line| line.starts_with(none));
        assert!(counted.all(|line| line.ends_with(" 0")), "{metrics}");
    }
    let counted =
        |labels: &str| metrics.contains(&format!("pgveil_not_enforced_total{{{labels}}} "));
    assert!(
        counted("reason=\"function\",role=\"agent\",verdict=\"refuse\""),
        "{metrics}"
    );
    assert!(
        counted("reason=\"export_rows\",role=\"agent\",verdict=\"rewrite\""),
        "{metrics}"
    );
    // Nobody is asked to sign for what was not stopped.
    assert!(
        !pgveil
            .audit_lines()
            .iter()
            .any(|line| line.contains("\"event\":\"export_request\""))
    );
}

/// The control: the comparison above sees masks and refusals where they are.
#[test]
fn the_same_role_in_force_is_told_something_else() {
    let (server, pgveil) = start(&policy("enforce: true"));
    let mut direct = login(server.port(), "agent");
    let mut through = login(pgveil.port(), "agent");
    for text in &TEXTS[..2] {
        assert_ne!(
            told(&direct.query(text)),
            told(&through.query(text)),
            "{text}"
        );
    }
    let records = on_record(&pgveil);
    assert!(
        records
            .iter()
            .all(|(_, record)| record["enforced"].is_null() && record["would"].is_null())
    );
}

/// What is taken on trial is missing nowhere: a person's other roles have their whole budget.
#[test]
fn budgets_of_a_role_on_trial_are_apart() {
    let (_server, pgveil) = start(&policy("enforce: false"));
    let mut trial = login(pgveil.port(), "agent");
    for _ in 0..4 {
        assert_eq!(
            values(&trial.query("SELECT id FROM crm.contacts LIMIT 5")).len(),
            5
        );
    }
    // The hour's 20 rows are used up.
    assert_eq!(
        values(&trial.query("SELECT id FROM crm.contacts LIMIT 1")).len(),
        1
    );
    let (_, last) = on_record(&pgveil).pop().expect("a record");
    assert_eq!(last["would"]["reason"], "export_per_hour", "{last:#}");
    let mut second = login(pgveil.port(), "second");
    for _ in 0..4 {
        assert_eq!(
            values(&second.query("SELECT id FROM crm.contacts LIMIT 5")).len(),
            5
        );
    }
    let stopped = second.query("SELECT id FROM crm.contacts LIMIT 5");
    assert!(stopped.iter().any(|frame| frame.tag == b'E'), "{stopped:?}");
}

/// A role that comes into force, or goes out of it, ends the sessions it has: their statements were prepared and their
/// cursors opened under no rule.
#[test]
fn sessions_end_when_their_role_comes_into_force() {
    let (_server, pgveil) = start(&policy("enforce: false"));
    let mut client = login(pgveil.port(), "agent");
    client.query("SELECT 1");
    fs::write(pgveil.folder().join("policies/test.yaml"), policy("")).expect("written");
    let told = client.read().expect("a last word");
    assert_eq!(
        (told.tag, told.field(b'S').as_deref()),
        (b'E', Some("FATAL")),
        "{told:?}"
    );
    let began = Instant::now();
    let mut again = login(pgveil.port(), "agent");
    let masked = values(&again.query("SELECT phone FROM contacts WHERE id = 1"));
    assert_eq!(masked, ["*******5671"]);
    assert!(began.elapsed() < PATIENCE);
}
