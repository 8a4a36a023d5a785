//! Alarms to a webhook: a sink that wants `alarm` alone, before a pgveil that is killed and a receiver that is away, fails
//! and comes back.
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::house::until;
use crate::support::{Config, Options, Pgveil, Postgres, free_port};
use crate::web::{SECRET, verified};
use crate::web_server::{Manner, WebServer};

/// Stands in the trap; no alarm carries it.
const CANARY: &str = "canary-13899990001";

const POLICY: &str = "version: 1
data:
  phone: { level: 3, columns: [crm.contacts.phone] }
  trap: { level: 5, columns: [crm.vip.phone], alarm: true }
roles:
  agent: { who: [{ db_user: [ann, bob, eve] }], mask: { phone: redact, trap: redact } }
unmatched: deny
";

fn started(server: &Postgres, hook: u16) -> Pgveil {
    let mut config = Config::new(server);
    let pager = format!(
        "{{ type: webhook, url: \"http://127.0.0.1:{hook}/page\", secret: {SECRET:?}, events: alarm, batch_age: 10ms }}"
    );
    config.set(
        "audit",
        &format!("\n  dir: var/audit\n  sinks:\n    pager: {pager}\n"),
    );
    config.policy(POLICY);
    Pgveil::start(&config)
}

/// Touches the trap, and waits until that is an alarm on record.
async fn touch(pgveil: &Pgveil, user: &str) {
    let touched = pgveil.sql(user, "postgres", "SELECT phone FROM crm.vip");
    touched.expect("masked rows");
    let whose = format!("\"db_user\":\"{user}\"");
    until("an alarm is on record", || async {
        let lines = pgveil.audit_lines();
        lines
            .iter()
            .any(|line| line.contains("\"event\":\"alarm\"") && line.contains(&whose))
    })
    .await;
}

/// The people of the alarms that were taken, in order.
fn people(hook: &WebServer) -> Vec<String> {
    let bodies = hook.accepted();
    let records = bodies
        .iter()
        .flat_map(|received| verified(received)["records"].as_array().unwrap().clone());
    records
        .map(|record| {
            let alarm: &Value = &record["record"];
            assert_eq!(alarm["event"], "alarm", "nothing but alarms: {alarm}");
            assert_eq!(alarm["alarm"]["alarm"], "honeytoken");
            assert!(alarm["alarm"]["incident"].is_string(), "{alarm}");
            let text = record.to_string();
            assert!(!text.contains(CANARY), "{text}");
            alarm["db_user"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_reaches_a_receiver_that_was_away_when_it_was_raised() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE SCHEMA crm; CREATE TABLE crm.contacts (id int PRIMARY KEY, phone text);
             CREATE TABLE crm.vip (id int PRIMARY KEY, phone text); INSERT INTO crm.vip VALUES (1, '{CANARY}');
             CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN;
             GRANT USAGE ON SCHEMA crm TO ann, bob, eve; GRANT SELECT ON ALL TABLES IN SCHEMA crm TO ann, bob, eve"
        ),
    );
    let port = free_port();
    let mut pgveil = started(&server, port);
    touch(&pgveil, "ann").await;
    until("it is missed", || async {
        let metrics = pgveil.http("/metrics");
        let failures = "pgveil_audit_sink_failures_total{sink=\"pager\"} ";
        metrics
            .lines()
            .any(|line| line.strip_prefix(failures).is_some_and(|n| n != "0"))
    })
    .await;
    pgveil.kill();

    let trouble = [
        Manner::Answer(500),
        Manner::Close,
        Manner::Answer(500),
        Manner::Garbage,
    ];
    let reply: Arc<dyn Fn(&str) -> String + Send + Sync> = Arc::new(|_: &str| "{}".to_owned());
    let hook = WebServer::start_at(port, &trouble, reply, None).await;
    let mut pgveil = pgveil.restart();
    until("the alarm is taken", || async {
        !hook.accepted().is_empty()
    })
    .await;
    assert_eq!(people(&hook), ["ann"]);
    let deliveries: BTreeSet<String> = hook
        .received()
        .iter()
        .map(|received| received.headers["x-pgveil-delivery"].clone())
        .collect();
    assert_eq!(deliveries.len(), 1, "each attempt is the same delivery");

    touch(&pgveil, "bob").await;
    until("the next is taken", || async { people(&hook).len() > 1 }).await;
    assert!(pgveil.stop().success());
    let pgveil = pgveil.restart();
    touch(&pgveil, "eve").await;
    until("the last is taken", || async { people(&hook).len() > 2 }).await;
    assert_eq!(people(&hook), ["ann", "bob", "eve"], "each of them once");
}
