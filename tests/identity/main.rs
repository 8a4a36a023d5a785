//! Who is asking: people behind a database user that they share, by comments and settings, signed and not; and what
//! sessions prove at login.
#[path = "../support/mod.rs"]
mod support;

mod directory;
mod forged;
mod login;
mod outside;
mod purpose;
mod regions;
mod runs;
mod settings;
mod told;
mod twins;

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;
use support::message::{Client, Frame};
use support::{Config, Options, Pgveil, Postgres};

const KEY: &str = "0123456789abcdef0123456789abcdef";

const SCHEMA: &str = "
    CREATE ROLE crm_app LOGIN; CREATE ROLE erp LOGIN; CREATE ROLE old LOGIN; CREATE ROLE signer LOGIN;
    CREATE ROLE sealer LOGIN; CREATE ROLE ann LOGIN;
    CREATE SCHEMA crm; GRANT USAGE ON SCHEMA crm TO PUBLIC;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, owner text, phone text);
    CREATE TABLE crm.plain (id int PRIMARY KEY, word text);
    INSERT INTO crm.contacts VALUES (1, 'alice', '13812345678'), (2, 'bob', '13912345678'), (3, 'alice', '13712340000');
    INSERT INTO crm.plain VALUES (1, 'word');
    GRANT SELECT ON ALL TABLES IN SCHEMA crm TO PUBLIC;
";

/// Carol sees everything; alice and bob what is theirs, masked; without a user crm_app sees no number.
const POLICY: &str = r#"
version: 1
data: { phone: { columns: [crm.contacts.phone] } }
groups: { support: [alice, bob], audit: [carol] }
applications:
  crm_app: { comment: app_user }
  erp: { setting: pgveil.app_user }
  old: { setting: app.username }
  signer: { comment: app_user, signed: crm }
  sealer: { setting: pgveil.app_user, signed: crm }
roles:
  audit: { who: [{ db_user: [crm_app, erp, old, signer, sealer], app_user_in: audit }] }
  support:
    who: [{ db_user: [crm_app, erp, old, signer, sealer], app_user_in: support }]
    mask: { phone: { show: { last: 4 } } }
    rows: { crm.contacts: "owner = {app_user}" }
  rest: { who: [{ db_user: crm_app }], mask: { phone: redact } }
unmatched: deny
"#;

const PHONES: &str = "SELECT phone FROM crm.contacts ORDER BY id";
const ALL: [&str; 3] = ["13812345678", "13912345678", "13712340000"];
const ALICES: [&str; 2] = ["*******5678", "*******0000"];

fn start(policy: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut config = Config::new(&server);
    config.policy(policy);
    config.set(
        "application_keys",
        "{ crm: { secret: { env: CRM_KEY }, max_age: 60s } }",
    );
    config.env("CRM_KEY", KEY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn login(pgveil: &Pgveil, user: &str) -> Client {
    Client::login(pgveil.port(), user, "", "postgres")
}

fn cells(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.flat_map(Frame::columns)
        .flatten()
        .map(|value| String::from_utf8_lossy(&value).into_owned())
        .collect()
}

/// SQLSTATE, message and hint.
fn error(frames: &[Frame]) -> Option<String> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    let hint = frame.field(b'H').unwrap_or_default();
    Some(format!(
        "{} {} | {hint}",
        frame.field(b'C')?,
        frame.field(b'M')?
    ))
}

/// A refusal that says what to do; nothing came back.
fn refused(frames: &[Frame], message: &str, context: &str) {
    let said = error(frames).unwrap_or_else(|| panic!("{context}: {:?}", cells(frames)));
    assert!(said.starts_with("42501"), "{context}: {said}");
    assert!(said.contains(message), "{context}: {said}");
    assert!(!said.ends_with("| "), "{context}: no hint: {said}");
    assert!(cells(frames).is_empty(), "{context}: {:?}", cells(frames));
}

fn for_user(text: &str, user: &str) -> String {
    format!("{text} /*app_user='{user}'*/")
}

fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock").as_secs()
}

/// The signature as docs/identity.md says it is made.
fn signature(key: &str, db_user: &str, user: &str, time: u64, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    let signed = format!("pgveil app_user 1\n{db_user}\npostgres\n{user}\n\n{time}\n{text}");
    mac.update(signed.as_bytes());
    let digits = mac.finalize().into_bytes();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed_at(text: &str, user: &str, time: u64) -> String {
    let signature = signature(KEY, "signer", user, time, text);
    format!("{text} /*app_user='{user}',app_user_time='{time}',app_user_sig='{signature}'*/")
}

fn signed(text: &str, user: &str) -> String {
    signed_at(text, user, seconds())
}

fn records(pgveil: &Pgveil) -> Vec<Value> {
    let lines = pgveil.audit_lines();
    let records = lines.iter().map(|line| serde_json::from_str(line));
    records.map(|record| record.expect("a record")).collect()
}
