//! No sink carries a literal, a parameter, a result value or a password: statements with canaries through a real proxy.
use std::path::Path;

use pgveil::config::SinkFormat;

use crate::house::until;
use crate::support::{Config, Options, Pgveil, Postgres};
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
        let role = format!("ALTER ROLE agent PASSWORD '{PASSWORD}'");
        let _ = client.simple_query(&role).await;
    }
}

fn started(server: &Postgres, hook: u16) -> Pgveil {
    let mut sinks = String::new();
    for format in formats() {
        sinks.push_str(&format!(
            "    file-{format}: {{ type: file, path: out-{format}, format: {format} }}\n    \
             stdout-{format}: {{ type: stdout, format: {format} }}\n    \
             hook-{format}: {{ type: webhook, url: \"http://127.0.0.1:{hook}/{format}\", secret: {SECRET}, format: {format} }}\n"
        ));
    }
    let mut config = Config::new(server);
    config.set("audit", &format!("\n  dir: var/audit\n  sinks:\n{sinks}"));
    config.policy(POLICY);
    Pgveil::start(&config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sink_carries_what_was_typed_or_stored() {
    let server = Postgres::start(Options::default());
    let setup = format!(
        "CREATE ROLE agent LOGIN; CREATE SCHEMA crm; \
         CREATE TABLE crm.customers (id int, email text, note text); \
         INSERT INTO crm.customers SELECT n, '{STORED}@example.com', 'x' FROM generate_series(1, 5) n; \
         GRANT USAGE ON SCHEMA crm TO agent; GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent"
    );
    server.sql("postgres", &setup);
    let hook = WebServer::start(&[]).await;
    let mut pgveil = started(&server, hook.port);
    work(pgveil.port()).await;
    let metrics = |pgveil: &Pgveil| pgveil.http("/metrics");
    until("every sink has everything", || async {
        let text = metrics(&pgveil);
        let lags: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("pgveil_audit_sink_lag_records{"))
            .collect();
        lags.len() == 12
            && lags.iter().all(|line| line.ends_with("} 0"))
            && text.contains("pgveil_statements_total")
    })
    .await;
    let shown = metrics(&pgveil);
    assert!(pgveil.stop().success());
    let file = |format: &str| read(&pgveil.folder().join(format!("out-{format}")));
    let spool = read(&pgveil.audit_dir().join("audit-000001.jsonl"))
        .lines()
        .count();
    let log = pgveil.log();
    let mut all = vec![("metrics", shown), ("log and standard output", log)];
    for format in formats() {
        let text = file(format);
        assert_eq!(text.lines().count(), spool, "file-{format}");
        assert!(text.contains("crm.customers"), "the statements are there");
        all.push((format, text));
    }
    for received in hook.received() {
        assert!(
            !received
                .headers
                .values()
                .any(|value| value.contains(SECRET))
        );
        all.push(("webhook", received.body));
    }
    for canary in [LITERAL, PARAMETER, STORED, PASSWORD, SECRET] {
        for (place, text) in &all {
            assert!(!text.contains(canary), "{canary} in {place}");
        }
    }
    // The poison: what is looked for would be found.
    assert!(format!("{all:?}").contains("crm.customers"));
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
