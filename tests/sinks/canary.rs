//! No sink carries a literal, a parameter, a result value or a password: statements with canaries through a real proxy.
use std::path::Path;

use pgveil::config::SinkFormat;

use crate::house::until;
use crate::nats::{self, Nats};
use crate::otlp;
use crate::support::{Config, Options, Pgveil, Postgres, free_port, skip};
use crate::syslog;
use crate::web_server::WebServer;

/// Nothing of it is anywhere in what sinks send.
const LITERAL: &str = "canary-literal-4711";
const PARAMETER: &str = "canary-parameter-4712";
const STORED: &str = "canary-stored-4713";
const PASSWORD: &str = "canary-password-4714";
const SECRET: &str = "canary-secret-of-the-hook-4715";

const POLICY: &str = "
version: 1
data: { email: { columns: [crm.customers.email] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { email: { redact: true } } }
  admin: { who: [{ db_user: postgres }], unmasked: true }
unmatched: deny
";

fn formats() -> [&'static str; 4] {
    SinkFormat::ALL.map(|(name, _)| name)
}

async fn work(port: u16) {
    for user in ["agent", "postgres"] {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(port)
            .user(user)
            .password(PASSWORD)
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await
            .expect("a session");
        tokio::spawn(connection);
        let text = format!("SELECT id, email FROM crm.customers WHERE note = '{LITERAL}' OR true");
        client.simple_query(&text).await.expect("served");
        client
            .query(
                "SELECT email FROM crm.customers WHERE note <> $1",
                &[&PARAMETER],
            )
            .await
            .expect("served");
        // Errors, whose texts would quote what they are about.
        let broken = format!("SELECT '{LITERAL}'::int FROM crm.customers");
        client.simple_query(&broken).await.expect_err("no number");
        let refused = format!("SELECT pg_read_file('{LITERAL}')");
        let _ = client.simple_query(&refused).await;
        let syntax = format!("SELECT '{LITERAL}' FROM FROM");
        client.simple_query(&syntax).await.expect_err("no grammar");
        let write = format!("INSERT INTO crm.customers (id, note) VALUES (100, '{LITERAL}')");
        let _ = client.simple_query(&write).await;
        let named = format!("SELECT count(*) FROM crm.\"{POISON}\"");
        client.simple_query(&named).await.expect("served");
        let role = format!("ALTER ROLE agent PASSWORD '{PASSWORD}'");
        let _ = client.simple_query(&role).await;
    }
}

/// Names are on record. What is looked for above would be found as this is, in whatever a sink sends.
const POISON: &str = "poison-name-4716";

fn started(server: &Postgres, sinks: &str) -> Pgveil {
    let mut config = Config::new(server);
    config.set("audit", &format!("\n  dir: var/audit\n  sinks:\n{sinks}"));
    config.policy(POLICY);
    Pgveil::start(&config)
}

fn upstream() -> Postgres {
    let server = Postgres::start(Options::default());
    let setup = format!(
        "CREATE ROLE agent LOGIN; CREATE SCHEMA crm; \
         CREATE TABLE crm.customers (id int, email text, note text); \
         CREATE TABLE crm.\"{POISON}\" (id int); \
         INSERT INTO crm.customers SELECT n, '{STORED}@example.com', 'x' FROM generate_series(1, 5) n; \
         GRANT USAGE ON SCHEMA crm TO agent; GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent"
    );
    server.sql("postgres", &setup);
    server
}

/// Works through a pgveil with those sinks until each has everything, and ends it.
async fn worked(sinks: &str) -> (Pgveil, String) {
    let server = upstream();
    let mut pgveil = started(&server, sinks);
    work(pgveil.port()).await;
    let count = sinks.lines().count();
    until("every sink has everything", || async {
        let text = pgveil.http("/metrics");
        let lags: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("pgveil_audit_sink_lag_records{"))
            .collect();
        lags.len() == count
            && lags.iter().all(|line| line.ends_with("} 0"))
            && text.contains("pgveil_statements_total")
    })
    .await;
    let shown = pgveil.http("/metrics");
    assert!(pgveil.stop().success());
    (pgveil, shown)
}

/// Looks for canaries in what left pgveil, and for what must be there in each text that sinks sent.
fn checked(sent: &[(String, String)], also: &[(String, String)]) {
    for canary in [LITERAL, PARAMETER, STORED, PASSWORD, SECRET] {
        for (place, text) in sent.iter().chain(also) {
            assert!(!text.contains(canary), "{canary} in {place}");
        }
    }
    for (place, text) in sent {
        let both = text.contains("crm.customers") && text.contains(POISON);
        assert!(both, "the statements are not in {place}, or not in clear");
    }
}

fn sunk(name: &str, text: impl Into<String>) -> (String, String) {
    (name.to_owned(), text.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sink_carries_what_was_typed_or_stored() {
    let hook = WebServer::start(&[]).await;
    let collector = syslog::Collector::start(&[], None).await;
    let (hook_port, syslog_port) = (hook.port, collector.port);
    let mut sinks = String::new();
    for format in formats() {
        sinks.push_str(&format!(
            "    file-{format}: {{ type: file, path: out-{format}, format: {format} }}\n    \
             stdout-{format}: {{ type: stdout, format: {format} }}\n    \
             hook-{format}: {{ type: webhook, url: \"http://127.0.0.1:{hook_port}/{format}\", secret: {SECRET}, format: {format} }}\n    \
             syslog-{format}: {{ type: syslog, address: \"localhost:{syslog_port}\", tls: false, hostname: {format}, format: {format} }}\n"
        ));
    }
    let (pgveil, metrics) = worked(&sinks).await;
    let spool = read(&pgveil.audit_dir().join("audit-000001.jsonl"));
    let mut sent = Vec::new();
    for format in formats() {
        let file = read(&pgveil.folder().join(format!("out-{format}")));
        assert_eq!(file.lines().count(), spool.lines().count(), "file-{format}");
        sent.push(sunk(&format!("file-{format}"), file));
        let path = format!("/{format}");
        let bodies = hook.received().into_iter().filter(|post| post.path == path);
        let bodies: String = bodies.map(|post| post.body).collect();
        sent.push(sunk(&format!("hook-{format}"), bodies));
        let host = format!(" {format} pgveil ");
        let messages = collector.messages().into_iter();
        let messages: Vec<String> = messages.filter(|text| text.contains(&host)).collect();
        assert_eq!(messages.len(), spool.lines().count(), "syslog-{format}");
        sent.push(sunk(&format!("syslog-{format}"), messages.join("\n")));
    }
    let headers = hook.received().into_iter().map(|post| post.headers);
    let headers = format!("{:?}", headers.collect::<Vec<_>>());
    sent.push(sunk("log and standard output", pgveil.log()));
    checked(&sent, &[sunk("metrics", metrics), sunk("headers", headers)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_of_nats_carries_what_was_typed_or_stored() {
    let Some(program) = nats::program() else {
        skip(
            "no_stream_of_nats_carries_what_was_typed_or_stored",
            "nats-server is not installed",
        );
        return;
    };
    let mut stream = Nats::new(program, None);
    stream.start();
    stream.stream(None).await;
    let (port, token) = (stream.port, nats::TOKEN);
    let sinks = format!(
        "    stream: {{ type: nats, url: \"nats://localhost:{port}\", subject: pgveil.audit, token: {token} }}\n"
    );
    let _ended = worked(&sinks).await;
    let messages = stream.messages(None).await;
    checked(&[sunk("nats", format!("{messages:?}"))], &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_of_otlp_carries_what_was_typed_or_stored() {
    let Some(python) = otlp::python() else {
        skip(
            "no_log_of_otlp_carries_what_was_typed_or_stored",
            "tests/run.sh has not installed the collector (target/sinks)",
        );
        return;
    };
    let collector = otlp::Collector::start(&python, "http", free_port(), &[]).await;
    let port = collector.port;
    let sinks: String = formats()
        .into_iter()
        .map(|format| {
            format!("    otel-{format}: {{ type: otlp, url: \"http://127.0.0.1:{port}\", format: {format} }}\n")
        })
        .collect();
    let (pgveil, _) = worked(&sinks).await;
    let spool = read(&pgveil.audit_dir().join("audit-000001.jsonl"));
    let all = spool.lines().count() * formats().len();
    until("its output is read", || async {
        collector.records().len() == all
    })
    .await;
    let records = serde_json::Value::from(collector.records());
    checked(&[sunk("otlp", records.to_string())], &[]);
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_topic_of_kafka_carries_what_was_typed_or_stored() {
    use crate::kafka;
    let cluster = rdkafka::mocking::MockCluster::new(1).expect("a cluster");
    cluster
        .create_topic(kafka::TOPIC, kafka::PARTITIONS, 1)
        .expect("a topic");
    let servers = cluster.bootstrap_servers();
    let sinks = format!(
        "    topic: {{ type: kafka, brokers: \"{servers}\", topic: {}, tls: false }}\n",
        kafka::TOPIC
    );
    let (pgveil, _) = worked(&sinks).await;
    let spool = read(&pgveil.audit_dir().join("audit-000001.jsonl"));
    let taken = kafka::read(&servers, kafka::TOPIC, spool.lines().count());
    let texts: Vec<String> = taken.into_iter().map(|taken| taken.text).collect();
    checked(&[sunk("kafka", texts.join("\n"))], &[]);
}

/// The check itself: it fails where a record carries a literal, or a sink nothing at all.
#[test]
fn a_record_with_a_literal_in_it_does_not_pass() {
    let fine = format!("SELECT id FROM crm.customers, crm.{POISON}");
    checked(&[sunk("file", fine.clone())], &[]);
    for wrong in [
        format!("{fine} WHERE note = '{LITERAL}'"),
        format!("{fine} {{\"parameters\":[\"{PARAMETER}\"]}}"),
        String::new(),
    ] {
        let sent = [sunk("file", wrong)];
        let check = std::panic::catch_unwind(|| checked(&sent, &[]));
        assert!(check.is_err(), "{sent:?}");
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
