//! One reading of the catalog: queries in one transaction that stands in nobody's way.
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Row};

use super::{CatalogError, Oid, queries};

/// Where relations are locked that definitions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locked {
    /// The reading fails with [`CatalogError::Busy`], soon enough that the server sees no deadlock.
    Fails,
    /// Definitions that are about them are left out.
    LeftOut,
}

/// `pg_get_viewdef` and `pg_get_expr` lock the relations that they write of until the transaction ends. Who alters several
/// relations locks them one after the other, and the server ends a deadlock at the cost of whom it likes: no lock taken here
/// outlives its query, and none is waited for as long as the server waits before it looks for a deadlock.
///
/// The connection must be pgveil's own.
pub(super) struct Reader<'a> {
    client: &'a Client,
    /// What definitions leave out.
    locked: Vec<Oid>,
}

impl<'a> Reader<'a> {
    pub async fn begin(client: &'a Client, locked: Locked) -> Result<Self, CatalogError> {
        let begun = client.batch_execute(queries::BEGIN).await;
        begun.map_err(|error| CatalogError::query("anything", &error))?;
        let mut reader = Reader {
            client,
            locked: Vec::new(),
        };
        if locked == Locked::LeftOut {
            for row in reader.rows("locks", queries::LOCKED).await? {
                reader.locked.push(field(&row, 0)?);
            }
        }
        Ok(reader)
    }

    /// Whether definitions of something were left out.
    pub fn left_out(&self) -> bool {
        !self.locked.is_empty()
    }

    pub async fn rows(&self, what: &'static str, query: &str) -> Result<Vec<Row>, CatalogError> {
        self.query(what, query, &[]).await
    }

    /// By a query whose `$1` are the relations that are not to be touched.
    pub async fn definitions(
        &self,
        what: &'static str,
        query: &str,
    ) -> Result<Vec<Row>, CatalogError> {
        self.query(what, query, &[&self.locked]).await
    }

    async fn query(
        &self,
        what: &'static str,
        query: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, CatalogError> {
        let failed = |error| CatalogError::query(what, &error);
        let rows = self.client.query(query, parameters).await;
        self.client
            .batch_execute(queries::RELEASE)
            .await
            .map_err(failed)?;
        rows.map_err(failed)
    }
}

pub(super) fn field<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, CatalogError> {
    row.try_get(index)
        .map_err(|error| CatalogError::Malformed(format!("column {index}: {error}")))
}
