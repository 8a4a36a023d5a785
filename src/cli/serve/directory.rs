//! Reads the directory of the policy in force, again and again, over a connection of pgveil's own.
//!
//! No byte of a client is in it: what runs is the query as it stands in the policy, in a transaction that cannot write and
//! cannot last.
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use tokio_postgres::SimpleQueryMessage;

use crate::policy::directory::{DirectoryRule, Reading, Snapshot};
use crate::session::proxy::Proxy;

/// The longest that one reading may take, connecting included.
const LONGEST: Duration = Duration::from_secs(30);
/// In front of the query: it reads, and ends by itself. The search path is that of the catalog user.
const GUARD: &str =
    "BEGIN READ ONLY; SET LOCAL statement_timeout = '20s'; SET LOCAL client_min_messages = error";
/// Without a directory the policy is looked at again when another one comes into force.
const NEVER: Duration = Duration::from_secs(3600);

/// Why a directory could not be read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("{0}")]
    Connect(#[from] crate::catalog::CatalogError),
    /// The server's SQLSTATE alone: its words may hold what is stored.
    #[error("the query failed with SQLSTATE {0}")]
    Query(String),
    #[error("the connection was lost")]
    Lost,
    #[error("{0}")]
    Unusable(#[from] crate::policy::directory::Unusable),
    #[error("it took longer than {} s", LONGEST.as_secs())]
    Late,
}

impl From<tokio_postgres::Error> for Unread {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) => Unread::Query(code.code().to_owned()),
            None => Unread::Lost,
        }
    }
}

/// Runs until it is dropped.
pub async fn keep(proxy: Arc<Proxy>) {
    let mut changes = proxy.policy_changes();
    let mut good = true;
    loop {
        let policy = proxy.policy.load_full();
        let wait = match &policy.directory {
            Some(rule) => {
                good = look(&proxy, rule, good).await;
                rule.refresh
            }
            None => NEVER,
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return;
            },
            () = sleep(wait) => {}
        }
    }
}

/// Reads it once. `good`: it could be read before.
pub async fn look(proxy: &Proxy, rule: &DirectoryRule, good: bool) -> bool {
    let at = Instant::now();
    let read = match timeout(LONGEST, read(proxy, rule)).await {
        Ok(read) => read,
        Err(_) => Err(Unread::Late),
    };
    match read {
        Ok(snapshot) => {
            if !good {
                tracing::info!("the directory can be read again");
            }
            let before = proxy.directory.load_full();
            let same = before.filter(|before| *before.snapshot == snapshot);
            let snapshot =
                same.map_or_else(|| Arc::new(snapshot), |before| Arc::clone(&before.snapshot));
            proxy.directory.store(Some(Arc::new(Reading {
                of: rule.clone(),
                at,
                snapshot,
            })));
            true
        }
        Err(error) => {
            let max_age = rule.max_age.as_secs();
            tracing::error!(%error, max_age, "the directory cannot be read; what was read last serves until it is too old");
            false
        }
    }
}

async fn read(proxy: &Proxy, rule: &DirectoryRule) -> Result<Snapshot, Unread> {
    let settings = proxy.catalogs.connect_settings();
    let client = settings.open(&rule.database, "pgveil directory").await?;
    client.batch_execute(GUARD).await?;
    // As a subquery: one statement, which reads. A comment at its end ends with the line.
    let query = format!("SELECT * FROM (\n{}\n) AS directory", rule.query);
    let mut rows = pin!(client.simple_query_raw(&query).await?);
    let mut snapshot = Snapshot::default();
    while let Some(message) = rows.next().await {
        if let SimpleQueryMessage::Row(row) = message? {
            let columns = row.columns().iter().enumerate();
            snapshot.take(columns.map(|(index, column)| (column.name(), row.get(index))))?;
        }
    }
    // The transaction ends with the connection, and with it whatever the query did.
    drop(client);
    Ok(snapshot)
}
