//! What only the server can say of a policy: which users and databases there are.
use std::sync::Arc;

use tokio_postgres::{Client, Error};

use crate::catalog::Catalog;
use crate::cli::serve::catalogs;
use crate::cli::{CliError, told};
use crate::config::{Diagnostics, Settings};
use crate::policy::PolicySet;

/// Everybody may read these.
const USERS: &str = "SELECT rolname::pg_catalog.text FROM pg_catalog.pg_roles";
const DATABASES: &str = "SELECT datname::pg_catalog.text FROM pg_catalog.pg_database";

/// # Errors
/// The server cannot be reached, or does not answer.
pub async fn findings(
    policy: &PolicySet,
    settings: &Settings,
    catalogs: &[Arc<Catalog>],
) -> Result<Diagnostics, CliError> {
    let Some(catalog) = catalogs.first() else {
        return Ok(Diagnostics::default());
    };
    let client = catalogs::connection(settings)?.connect(&catalog.database);
    let client = client.await.map_err(CliError::environment)?;
    let users = names(&client, USERS).await.map_err(failed)?;
    let databases = names(&client, DATABASES).await.map_err(failed)?;
    Ok(policy.strangers(&users, &databases))
}

async fn names(client: &Client, query: &str) -> Result<Vec<String>, Error> {
    let rows = client.query(query, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

fn failed(error: Error) -> CliError {
    CliError::Environment(format!(
        "the server could not be asked about the policy: {}",
        told(&error)
    ))
}
