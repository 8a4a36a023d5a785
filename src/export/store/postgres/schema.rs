//! The tables in PostgreSQL, in a schema of their own, and how they come to the current version.
use tokio_postgres::Client;

use super::super::StoreError;
use super::link::told;

/// Statements that bring the schema from one version to the next, in order. Never changed, only added to. Keys are
/// compared byte by byte, as SQLite does.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE pgveil.documents (kind text COLLATE \"C\" NOT NULL, key text COLLATE \"C\" NOT NULL, \
     revision bigint NOT NULL, label text COLLATE \"C\" NOT NULL, claim text COLLATE \"C\", body text NOT NULL, \
     expires bigint, claim_digest bytea, PRIMARY KEY (kind, key)); \
     CREATE INDEX documents_by_label ON pgveil.documents (kind, label, key); \
     CREATE UNIQUE INDEX documents_by_claim ON pgveil.documents (kind, claim_digest) WHERE claim_digest IS NOT NULL; \
     CREATE TABLE pgveil.counters (counter text COLLATE \"C\" NOT NULL, bucket bigint NOT NULL, \
     amount bigint NOT NULL, PRIMARY KEY (counter, bucket)); \
     CREATE TABLE pgveil.members (name text COLLATE \"C\" NOT NULL, day bigint NOT NULL, member bigint NOT NULL, \
     PRIMARY KEY (name, day, member));",
    // A claim may be longer than an index entry.
    "CREATE INDEX documents_by_claimant ON pgveil.documents (kind, (left(claim, 200))) WHERE claim IS NOT NULL;",
];

/// Advisory lock held while the schema is brought up to date: `pgveil` in ASCII.
const LOCK: i64 = 0x7067_7665_696c;

/// Makes the tables, or brings them to the current version. Several proxies may do so at the same time.
pub async fn migrate(client: &Client) -> Result<(), StoreError> {
    let known = MIGRATIONS.len();
    if version(client).await? == known {
        return Ok(());
    }
    // The lock before the transaction: a session learns what others have made when a transaction begins, and not when it
    // has waited for such a lock. With a connection that is given up it goes as well.
    for text in [&*format!("SELECT pg_advisory_lock({LOCK})"), "BEGIN"] {
        client.batch_execute(text).await.map_err(failed)?;
    }
    let found = version(client).await?;
    if found > known {
        return Err(StoreError(format!(
            "written by a newer pgveil (version {found} of the schema, this one knows {known})"
        )));
    }
    let mut text = String::new();
    if !exists(client, "to_regnamespace('pgveil')").await? {
        text.push_str("CREATE SCHEMA pgveil; ");
    }
    if found == 0 {
        text.push_str("CREATE TABLE IF NOT EXISTS pgveil.migrations (version bigint PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now()); ");
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let version = index + 1;
        text.push_str(migration);
        text.push(' ');
        text.push_str(&format!(
            "INSERT INTO pgveil.migrations (version) VALUES ({version}); "
        ));
    }
    text.push_str(&format!("COMMIT; SELECT pg_advisory_unlock({LOCK})"));
    client.batch_execute(&text).await.map_err(failed)
}

async fn exists(client: &Client, what: &str) -> Result<bool, StoreError> {
    let text = format!("SELECT {what} IS NOT NULL");
    let row = client.query_one(text.as_str(), &[]).await.map_err(failed)?;
    row.try_get(0).map_err(failed)
}

/// 0: there is nothing yet.
async fn version(client: &Client) -> Result<usize, StoreError> {
    if !exists(client, "to_regclass('pgveil.migrations')").await? {
        return Ok(0);
    }
    let text = "SELECT coalesce(max(version), 0) FROM pgveil.migrations";
    let row = client.query_one(text, &[]).await.map_err(failed)?;
    let version: i64 = row.try_get(0).map_err(failed)?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    StoreError(format!("its schema: {}", told(&error)))
}
