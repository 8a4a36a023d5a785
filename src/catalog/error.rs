//! What can go wrong between pgveil and the database's catalog.
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

/// What the reading of a catalog meets where others change it: a lock, a deadlock, and (as internal errors) objects that the
/// snapshot shows and the server's caches know no more.
const PASSING: [SqlState; 3] = [
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::INTERNAL_ERROR,
];

/// Why no usable snapshot of a database's schema, or no verifier, could be had. For the log: a client is told only
/// that the catalog is not available.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    #[error("cannot connect to database `{database}` as the catalog user: {reason}")]
    Connect { database: String, reason: Arc<str> },
    #[error("cannot read {what} from the catalog: {reason}")]
    Query {
        what: &'static str,
        reason: Arc<str>,
    },
    /// Others hold locks, or drop what is being read: it may be read soon.
    #[error("cannot read {what} from the catalog at the moment: {reason}")]
    Busy {
        what: &'static str,
        reason: Arc<str>,
    },
    #[error("the catalog holds a value that is not understood: {0}")]
    Malformed(String),
    #[error(
        "the schema of database `{database}` was last read {} s ago, more than {} s: {reason}",
        age.as_secs(),
        limit.as_secs()
    )]
    Stale {
        database: String,
        age: Duration,
        limit: Duration,
        reason: Arc<str>,
    },
    #[error("reading the schema of database `{database}` took longer than {} s", limit.as_secs())]
    Timeout { database: String, limit: Duration },
    #[error("upstream.tls: {0}")]
    Tls(String),
    #[error("view lineage cannot be worked out: {0}")]
    Lineage(String),
}

impl CatalogError {
    /// A failed query; the server's message and SQLSTATE, which for catalog queries hold no data of users.
    pub(crate) fn query(what: &'static str, error: &tokio_postgres::Error) -> CatalogError {
        let reason = reason(error);
        match error.code().is_some_and(|code| PASSING.contains(code)) {
            true => CatalogError::Busy { what, reason },
            false => CatalogError::Query { what, reason },
        }
    }
}

/// The server's own message where there is one, else the whole chain of causes: `error communicating with the
/// server` alone helps nobody.
pub(crate) fn reason(error: &tokio_postgres::Error) -> Arc<str> {
    use std::error::Error as _;
    if let Some(server) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", server.message(), server.code().code()).into();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.into()
}
