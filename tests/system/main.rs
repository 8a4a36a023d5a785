//! System relations, functions and types as a restricted role gets to use them.
#[path = "../support/mod.rs"]
mod support;

mod circumstances;
mod code;
mod gone;
mod in_flight;
mod reads;
mod rules;
mod secrets;
mod versions;

use support::message::{Client, Frame};
use support::{Config, Options, Pgveil, Postgres};

const FIXTURE: &str = include_str!("fixture.sql");

const POLICY: &str = "
version: 1
data: { phone: { columns: [crm.contacts.phone, crm.contacts.hotline] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } }, functions: { allow: [crm.twice] } }
  clear: { who: [{ db_user: clear }], unmasked: true }
unmatched: deny
";

/// A server with the fixture in the database `crm`, more SQL run in it, and a pgveil in front.
fn start(more: &str) -> (Postgres, Pgveil) {
    let server = Postgres::start(Options {
        settings: &[("autovacuum", "off"), ("max_prepared_transactions", "2")],
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE clear LOGIN SUPERUSER",
    );
    server.create_database("crm");
    server.sql("crm", FIXTURE);
    server.sql("crm", more);
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.reads_catalogs(&server, &["crm"]);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn agent(port: u16) -> Client {
    Client::login(port, "agent", "", "crm")
}

/// SQLSTATE and message of the first error.
fn error(frames: &[Frame]) -> Option<String> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    Some(format!("{} {}", frame.field(b'C')?, frame.field(b'M')?))
}

/// The rows as text; NULL as `-`, columns apart by `|`.
fn rows(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .filter(|frame| frame.tag == b'D')
        .map(|frame| {
            let columns: Vec<String> = frame
                .columns()
                .into_iter()
                .map(|value| {
                    value.map_or("-".into(), |value| {
                        String::from_utf8_lossy(&value).into_owned()
                    })
                })
                .collect();
            columns.join("|")
        })
        .collect()
}
