//! Logins by token: an issuer over real TLS, a server that asks for SCRAM, and psql in between.
#[path = "../support/mod.rs"]
mod support;

mod door;
mod expiry;
mod forged;
mod issuer;
mod keys;

use std::process::{Command, Output};

use issuer::{Issuer, Key};
use serde_json::Value;
use support::message::{Client, Frame};
use support::{Authentication, Certificates, Config, Options, Pgveil, Postgres};

/// Of the account that people share.
const PASSWORD: &str = "the account's own, \u{2168}";

const SCHEMA: &str = "
    CREATE ROLE crm_staff LOGIN PASSWORD 'the account''s own, \u{2168}'; CREATE ROLE ann LOGIN PASSWORD 'pencil';
    CREATE SCHEMA crm; GRANT USAGE ON SCHEMA crm TO PUBLIC;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, owner text, office text, phone text);
    INSERT INTO crm.contacts VALUES (1, 'alice', 'north', '13812345678'), (2, 'bob', 'north', '13912345678'),
        (3, 'alice', 'south', '13712340000');
    GRANT SELECT ON ALL TABLES IN SCHEMA crm TO PUBLIC;
";

/// Audit sees everything, support what is of its office, masked, and carol by her name.
const POLICY: &str = r#"
version: 1
data: { phone: { columns: [crm.contacts.phone] } }
groups: { audit: [carol] }
applications: { crm_staff: { token: staff } }
roles:
  dpo: { who: [{ db_user: crm_staff, app_user_in: audit }], unmasked: true }
  support:
    who: [{ db_user: crm_staff, app_user_in: support }]
    mask: { phone: { show: { last: 4 } } }
    rows: { crm.contacts: "office = {attr.office}" }
  own:
    who: [{ db_user: crm_staff, app_user: dave }]
    mask: { phone: redact }
    rows: { crm.contacts: "owner = {app_user} OR {app_user} = 'dave'" }
  plain: { who: [{ db_user: ann }], mask: { phone: redact } }
unmatched: deny
"#;

const PHONES: &str = "SELECT phone FROM crm.contacts ORDER BY id";
const MASKED: &str = "*******5678\n*******5678";
const CLEAR: &str = "13812345678\n13912345678\n13712340000";

/// All that a login by token needs.
struct Bench {
    server: Postgres,
    issuer: Issuer,
    key: Key,
    certificates: Certificates,
}

impl Bench {
    fn new() -> Bench {
        let certificates = Certificates::new();
        let server = Postgres::start(Options {
            authentication: Authentication::Scram,
            ..Options::default()
        });
        server.sql("postgres", SCHEMA);
        let issuer = Issuer::start(&certificates);
        let key = Key::ed("1");
        issuer.publish(&[&key]);
        Bench {
            server,
            issuer,
            key,
            certificates,
        }
    }

    /// `more`: further keys of the issuer.
    fn config(&self, more: &str) -> Config {
        let mut config = Config::new(&self.server);
        let path = |path: std::path::PathBuf| path.display().to_string();
        config.set(
            "tls",
            &format!(
                "{{ cert: {}, key: {} }}",
                path(self.certificates.cert_file()),
                path(self.certificates.key_file())
            ),
        );
        config.set(
            "auth",
            &format!(
                "
  method: scram
  tokens:
    staff:
      issuer: {}
      audience: [other, pgveil]
      ca: {}
      person_claim: preferred_username
      attributes: {{ office: office }}
      accounts: {{ crm_staff: {{ password: {{ env: CRM_STAFF }} }} }}
{more}",
                self.issuer.name(),
                path(self.certificates.ca_file())
            ),
        );
        config.env("CRM_STAFF", PASSWORD);
        config.policy(POLICY);
        config
    }

    fn start(&self, more: &str) -> Pgveil {
        Pgveil::start(&self.config(more))
    }

    fn token(&self, person: &str, groups: &[&str]) -> String {
        self.key.token(&self.issuer.claims(person, groups))
    }
}

/// Over TLS, as libpq does it.
fn psql(pgveil: &Pgveil, user: &str, password: &str, sql: &str) -> Output {
    psql_by(pgveil, user, password, "sslmode=require", sql)
}

fn psql_by(pgveil: &Pgveil, user: &str, password: &str, way: &str, sql: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-A", "-t", "-w", "-c", sql])
        .arg(format!(
            "host=127.0.0.1 port={} user={user} dbname=postgres {way}",
            pgveil.port()
        ))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("PGPASSWORD", password)
        .output()
        .expect("psql")
}

/// What a statement gives, or what is said instead.
fn told(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

fn asked(pgveil: &Pgveil, token: &str, sql: &str) -> Result<String, String> {
    told(&psql(pgveil, "crm_staff", token, sql))
}

/// A session that stays, where the settings let tokens come without TLS.
fn session(pgveil: &Pgveil, token: &str) -> Client {
    Client::login(pgveil.port(), "crm_staff", token, "postgres")
}

fn cells(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.flat_map(Frame::columns)
        .flatten()
        .map(|value| String::from_utf8_lossy(&value).into_owned())
        .collect()
}

fn records(pgveil: &Pgveil) -> Vec<Value> {
    let lines = pgveil.audit_lines();
    let records = lines.iter().map(|line| serde_json::from_str(line));
    records.map(|record| record.expect("a record")).collect()
}

/// Nothing of a token, nor of the account's password, is in the log or on record.
fn silent(pgveil: &Pgveil, tokens: &[&str]) {
    let said = format!("{}\n{}", pgveil.log(), pgveil.audit_lines().join("\n"));
    let metrics = pgveil.http("/metrics");
    for token in tokens.iter().filter(|token| token.len() > 40) {
        for part in token.split('.').filter(|part| part.len() > 20) {
            assert!(!said.contains(part), "a part of a token: {part} in {said}");
            assert!(!metrics.contains(part), "a part of a token: {part}");
        }
    }
    for secret in ["canary-of-a-token", "the account's own"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}
