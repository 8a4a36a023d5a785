//! Honeytoken rows: whatever way one of them comes out or is looked for is on record by the trap's name, and an alarm.
use std::time::Instant;

use tokio_postgres::{Client, NoTls};

use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres, message};

/// The trap's key, and what stands in its row: nothing of it is on record.
const KEY: i32 = 900_001;
const CANARY: &str = "canary-13899990002";

const POLICY: &str = "version: 1
data:
  phone: { level: 3, columns: [crm.contacts.phone] }
traps:
  decoy: { columns: [crm.contacts.id], values: [900001, 900002] }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: redact } }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE SCHEMA crm; CREATE TABLE crm.contacts (id int PRIMARY KEY, phone text);
             INSERT INTO crm.contacts SELECT n, '1380000' || n FROM generate_series(1, 50) n;
             INSERT INTO crm.contacts VALUES ({KEY}, '{CANARY}');
             CREATE VIEW crm.people AS SELECT id AS number, phone FROM crm.contacts;
             CREATE ROLE agent LOGIN; CREATE ROLE dpo LOGIN;
             GRANT USAGE ON SCHEMA crm TO agent, dpo; GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent, dpo"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

async fn session(pgveil: &Pgveil, user: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(pgveil.port())
        .user(user)
        .dbname("postgres");
    let (client, connection) = config.connect(NoTls).await.expect("a session");
    tokio::spawn(connection);
    client
}

/// The traps on the last record of a statement.
fn last_traps(pgveil: &Pgveil) -> Vec<String> {
    let lines = pgveil.audit_lines();
    let uses = ["\"event\":\"statement\"", "\"event\":\"refusal\""];
    let last = lines
        .iter()
        .rfind(|line| uses.iter().any(|event| line.contains(event)))
        .expect("a record");
    let record: serde_json::Value = serde_json::from_str(last).expect("JSON");
    let traps = record["traps"].as_array().cloned().unwrap_or_default();
    traps
        .iter()
        .map(|trap| trap.as_str().expect("a name").to_owned())
        .collect()
}

async fn runs(pgveil: &Pgveil, user: &str) {
    let client = session(pgveil, user).await;
    for (text, springs) in [
        ("SELECT * FROM crm.contacts", true),
        ("SELECT phone, id::text FROM crm.contacts ORDER BY 1", true),
        ("SELECT max(id) FROM crm.contacts", true),
        ("SELECT p.number FROM crm.people p", true),
        (
            "WITH c AS (SELECT id FROM crm.contacts) SELECT * FROM c",
            true,
        ),
        ("SELECT phone FROM crm.contacts WHERE id = 900001", true),
        (
            "SELECT phone FROM crm.contacts WHERE id IN (1, 900002)",
            true,
        ),
        ("SELECT phone FROM crm.people WHERE number = '900001'", true),
        ("DELETE FROM crm.contacts WHERE id = 900002", true),
        ("SELECT * FROM crm.contacts WHERE id < 10", false),
        ("SELECT count(*) FROM crm.contacts", false),
        ("SELECT 900001", false),
        ("SELECT id FROM crm.contacts WHERE id = 7", false),
        // Texts that differ in literals alone.
        ("SELECT id FROM crm.contacts WHERE id = 8", false),
        ("SELECT id FROM crm.contacts WHERE id = 9", false),
        ("SELECT phone FROM crm.contacts WHERE id = 7", false),
        ("SELECT phone FROM crm.contacts WHERE id = 8", false),
        ("SELECT phone FROM crm.contacts WHERE id = 9", false),
        ("SELECT phone FROM crm.contacts WHERE id = 900002", true),
    ] {
        client.simple_query(text).await.expect("served");
        let expected: &[&str] = if springs { &["decoy"] } else { &[] };
        assert_eq!(last_traps(pgveil), expected, "{user}: {text}");
    }
    // In binary, by parameter and by cursor.
    let all = client.query("SELECT id FROM crm.contacts", &[]).await;
    assert_eq!(all.expect("served").len(), 51);
    assert_eq!(last_traps(pgveil), ["decoy"], "{user}: binary");
    let by_key = "SELECT phone FROM crm.contacts WHERE id = $1";
    client.query(by_key, &[&KEY]).await.expect("served");
    assert_eq!(last_traps(pgveil), ["decoy"], "{user}: a parameter");
    client.query(by_key, &[&8_i32]).await.expect("served");
    assert_eq!(last_traps(pgveil), [""; 0], "{user}: another parameter");
    client
        .simple_query("BEGIN; DECLARE c CURSOR FOR SELECT id FROM crm.contacts ORDER BY id DESC")
        .await
        .expect("served");
    client.simple_query("FETCH 1 FROM c").await.expect("served");
    assert_eq!(last_traps(pgveil), ["decoy"], "{user}: a cursor");
    client.simple_query("FETCH 1 FROM c").await.expect("served");
    assert_eq!(last_traps(pgveil), [""; 0], "{user}: its next row");
    client.simple_query("ROLLBACK").await.expect("served");
    copies(pgveil, user);
}

fn copies(pgveil: &Pgveil, user: &str) {
    let mut client = message::Client::login(pgveil.port(), user, "", "postgres");
    for (text, springs) in [
        ("COPY (SELECT id FROM crm.contacts) TO STDOUT", true),
        (
            "COPY (SELECT * FROM crm.contacts) TO STDOUT WITH (FORMAT csv)",
            true,
        ),
        (
            "COPY (SELECT id FROM crm.contacts) TO STDOUT WITH (FORMAT binary)",
            true,
        ),
        (
            "COPY (SELECT id FROM crm.contacts ORDER BY id DESC) TO STDOUT WITH (FORMAT binary)",
            true,
        ),
        (
            "COPY (SELECT id FROM crm.contacts WHERE id < 9) TO STDOUT",
            false,
        ),
    ] {
        let answer = message::tags(&client.query(text));
        assert!(answer.contains('d') && answer.contains('C'), "{answer}");
        let expected: &[&str] = if springs { &["decoy"] } else { &[] };
        assert_eq!(last_traps(pgveil), expected, "{user}: {text}");
    }
}

const MORE: &str = "version: 1
data:
  trap: { columns: [\"crm.vip.*\"], alarm: true }
traps:
  padded: { columns: [crm.codes.code], values: [decoy-77] }
  scaled: { columns: [crm.codes.amount], values: [900077] }
  named: { columns: [crm.codes.name], values: [Zoé-Köder] }
roles:
  agent: { who: [{ db_user: agent }], mask: { trap: redact } }
  dpo: { who: [{ db_user: dpo }], unmasked: true }
unmatched: deny
";

const TABLES: &str = "
    CREATE SCHEMA crm; CREATE TABLE crm.vip (id int, secret text); INSERT INTO crm.vip VALUES (1, 'x');
    CREATE TABLE crm.codes (code char(12), amount numeric(12, 2), name text);
    INSERT INTO crm.codes VALUES ('decoy-77', 900077, 'Zoé-Köder'), ('plain', 1, 'Ann');
    CREATE ROLE agent LOGIN; CREATE ROLE dpo LOGIN;
    GRANT USAGE ON SCHEMA crm TO agent, dpo; GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent, dpo";

fn start_more() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", TABLES);
    let mut config = Config::new(&server);
    config.policy(MORE);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

#[test]
fn a_value_springs_its_trap_in_whatever_form_a_type_or_an_encoding_gives_it() {
    let (_server, pgveil) = start_more();
    for user in ["agent", "dpo"] {
        let mut client = message::Client::login(pgveil.port(), user, "", "postgres");
        let mut run = |text: &str, traps: &[&str]| {
            let answer = message::tags(&client.query(text));
            assert!(
                answer.contains('C') && !answer.contains('E'),
                "{text}: {answer}"
            );
            assert_eq!(last_traps(&pgveil), traps, "{user}: {text}");
        };
        run("SELECT code FROM crm.codes", &["padded"]);
        run(
            "SELECT name FROM crm.codes WHERE code = 'decoy-77  '",
            &["named", "padded"],
        );
        run("SELECT amount FROM crm.codes", &["scaled"]);
        run(
            "SELECT code FROM crm.codes WHERE amount = 900077.0 AND name = 'Ann'",
            &["scaled"],
        );
        run(
            "SELECT code FROM crm.codes WHERE amount = ' 900077' AND name = 'Ann'",
            &["scaled"],
        );
        run("SELECT code FROM crm.codes WHERE amount = 1.00", &[]);
        run("SET client_encoding = 'LATIN1'", &[]);
        run("SELECT name FROM crm.codes", &["named"]);
        run("COPY (SELECT name FROM crm.codes) TO STDOUT", &["named"]);
        let latin = b"Zo\xe9-K\xf6der";
        let bind = [b"\0\0\0\0\0\x01\0\0\0\x09".as_slice(), latin, b"\0\0"].concat();
        client.send_all(&[
            message::parse("", "SELECT 1 FROM crm.codes WHERE name = $1", &[]),
            message::frame(b'B', &bind),
            message::execute("", 0),
            message::sync(),
        ]);
        let answer = message::tags(&client.read_until_ready());
        assert!(answer.contains('D'), "{answer}");
        assert_eq!(last_traps(&pgveil), ["named"], "{user}: a parameter");
        // In binary: two formats, one for parameters, one for results.
        for column in ["amount", "amount::float8", "amount::float4"] {
            client.send_all(&[
                message::parse("", &format!("SELECT {column} FROM crm.codes"), &[]),
                message::frame(b'B', b"\0\0\0\0\0\0\0\x01\0\x01"),
                message::execute("", 0),
                message::sync(),
            ]);
            client.read_until_ready();
            assert_eq!(
                last_traps(&pgveil),
                ["scaled"],
                "{user}: {column} in binary"
            );
        }
    }
}

/// Whoever deletes or counts the rows of a table that is a trap as a whole names none of its columns.
#[test]
fn any_use_of_a_relation_that_is_a_trap_is_an_alarm() {
    let texts = [
        "SELECT count(*) FROM crm.vip",
        "SELECT EXISTS (TABLE crm.vip)",
        "DELETE FROM crm.vip",
        "LOCK TABLE crm.vip",
        "TRUNCATE crm.vip",
        "DROP TABLE crm.vip",
        "ALTER TABLE crm.vip ADD x int",
        "GRANT SELECT ON crm.vip TO PUBLIC",
        "CREATE TEMP TABLE mine (LIKE crm.vip)",
    ];
    let server = Postgres::start(Options::default());
    server.sql("postgres", TABLES);
    // Of who has touched it no other alarm is raised at once, so each statement is another person's.
    let users: Vec<String> = (0..texts.len())
        .map(|number| format!("u{number}"))
        .collect();
    for user in &users {
        server.sql(
            "postgres",
            &format!(
                "CREATE ROLE {user} LOGIN; GRANT USAGE ON SCHEMA crm TO {user};
                 GRANT ALL ON ALL TABLES IN SCHEMA crm TO {user}"
            ),
        );
    }
    let mut config = Config::new(&server);
    config.policy(&MORE.replace(
        "db_user: agent",
        &format!("db_user: [agent, {}]", users.join(", ")),
    ));
    let pgveil = Pgveil::start(&config);
    let raised = |user: &str| {
        let lines = pgveil.audit_lines();
        let by = format!("\"db_user\":\"{user}\"");
        lines
            .iter()
            .any(|line| line.contains("\"event\":\"alarm\"") && line.contains(&by))
    };
    for (text, user) in texts.iter().zip(&users) {
        let mut client = message::Client::login(pgveil.port(), user, "", "postgres");
        client.query("BEGIN");
        client.query(text);
        let began = Instant::now();
        while !raised(user) {
            assert!(began.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let mut client = message::Client::login(pgveil.port(), "agent", "", "postgres");
    client.query("SELECT count(*) FROM crm.codes");
    client.finish();
    assert!(!raised("agent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_honeytoken_row_is_on_record_by_name_in_whatever_way_it_is_touched() {
    let (_server, mut pgveil) = start();
    for user in ["agent", "dpo"] {
        runs(&pgveil, user).await;
    }
    let began = Instant::now();
    let alarms = loop {
        let alarms: Vec<String> = pgveil
            .audit_lines()
            .into_iter()
            .filter(|line| line.contains("\"event\":\"alarm\""))
            .collect();
        if alarms.len() >= 2 {
            break alarms;
        }
        assert!(began.elapsed() < PATIENCE, "{alarms:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    for (alarm, user) in alarms.iter().zip(["agent", "dpo"]) {
        assert!(
            alarm.contains("a statement touched a row of decoy"),
            "{alarm}"
        );
        assert!(alarm.contains("\"alarm\":\"honeytoken\"") && alarm.contains("\"incident\""));
        assert!(
            alarm.contains(&format!("\"db_user\":\"{user}\"")),
            "{alarm}"
        );
    }
    assert!(pgveil.stop().success());
    let lines = pgveil.audit_lines();
    assert!(lines.len() > 40);
    for line in lines {
        let names = line.contains(&KEY.to_string()) || line.contains("900002");
        assert!(!names && !line.contains(CANARY), "{line}");
    }
    assert!(!pgveil.log().contains("900001"), "{}", pgveil.log());
}
