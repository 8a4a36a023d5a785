//! No secret in the record, the log or the metrics: canaries go through every way that a value can take.
use crate::support::message::{Client, bind, describe, execute, parse, sync};
use crate::support::{Config, Options, Pgveil, Postgres};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 }, lookup: exact } } }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
unmatched: deny
";

/// Each stands in the place that its name tells.
const CANARIES: [&str; 9] = [
    "canaryliteral",
    "canaryparameter",
    "canarycomment",
    "canaryerror",
    "canarycopy",
    "canarysetting",
    "canaryrefused",
    "canarysyntax",
    "canarypassword",
];
/// Stored values: nine digits of a number, and an address.
const STORED: [&str; 2] = ["13871234567", "canarystored"];

fn statements(client: &mut Client) {
    for text in [
        "SELECT 'canaryliteral', E'canaryliteral', $$canaryliteral$$, U&'canaryliteral'",
        "SELECT id /* canarycomment */ FROM people -- canarycomment",
        "SELECT 'canaryerror'::int",
        "SELECT phone, note FROM people",
        "SELECT id FROM people WHERE phone = '13871234567'",
        "SET application_name = 'canarysetting'",
        "DO 'BEGIN RAISE EXCEPTION ''canaryrefused''; END'",
        "SELEC 'canarysyntax'",
        "SELECT * FROM nowhere WHERE a = 'canaryliteral'",
        "ALTER ROLE agent PASSWORD 'canarypassword'",
        "PREPARE p AS SELECT 'canaryliteral' || $1::text",
        "EXECUTE p('canaryparameter')",
        "DECLARE c CURSOR WITH HOLD FOR SELECT phone, note, 'canaryliteral' FROM people",
        "FETCH ALL FROM c",
        "COPY people TO STDOUT",
        "COPY (SELECT note, 'canarycopy' FROM people) TO STDOUT",
    ] {
        client.query(text);
    }
    client.send_all(&[
        parse(
            "",
            "SELECT id FROM people WHERE note = $1 OR phone = $2",
            &[],
        ),
        bind("", "", &[Some("canaryparameter"), Some("13871234567")], 0),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ]);
    client.read_until_ready();
}

fn assert_silent(place: &str, text: &str, except: &[&str]) {
    for canary in CANARIES.iter().chain(&STORED) {
        if except.contains(canary) {
            continue;
        }
        for line in text.lines() {
            assert!(!line.contains(canary), "{canary} in the {place}: {line}");
        }
    }
}

#[test]
fn no_value_is_on_record_in_the_log_or_in_a_metric() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE dpo LOGIN; CREATE TABLE people(id int PRIMARY KEY, phone text, note text); \
         INSERT INTO people VALUES (1, '13871234567', 'canarystored'); GRANT ALL ON people TO agent, dpo",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.env("PGVEIL_LOG", "trace");
    let mut pgveil = Pgveil::start(&config);
    for user in ["agent", "dpo"] {
        let mut client = Client::login(pgveil.port(), user, "canarypassword", "postgres");
        statements(&mut client);
        client.finish();
    }
    let metrics = pgveil.http("/metrics");
    assert!(pgveil.stop().success());
    let record = pgveil.audit_lines().join("\n");
    // The statements are there, without their values.
    for known in [
        "SELECT phone, note FROM people",
        "\"kind\":\"EXECUTE\"",
        "\"event\":\"refusal\"",
    ] {
        assert!(record.contains(known), "{known} is not in\n{record}");
    }
    // An application's name is what it says itself, and is on record as such.
    assert_silent("record", &record, &["canarysetting"]);
    assert_silent("metrics", &metrics, &[]);
    assert_silent("log", &pgveil.log(), &[]);
    assert!(
        pgveil.log().len() > 200,
        "a log that says nothing proves nothing"
    );
}
