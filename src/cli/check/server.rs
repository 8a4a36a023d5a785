//! What only the server can say of a policy: which users and databases there are, and whether row rules suit the types of
//! what they compare.
use std::sync::Arc;

use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Error};

use crate::catalog::Catalog;
use crate::cli::serve::catalogs;
use crate::cli::{CliError, told};
use crate::config::{Diagnostic, Diagnostics, Settings};
use crate::policy::PolicySet;

/// Everybody may read these.
const USERS: &str = "SELECT rolname::pg_catalog.text FROM pg_catalog.pg_roles";
const DATABASES: &str = "SELECT datname::pg_catalog.text FROM pg_catalog.pg_database";

/// Classes of SQLSTATE that speak of the rule: a constant that its type does not take, a name or type that is wrong, what cannot
/// stand in a condition, what is too deep.
const OF_THE_RULE: [&str; 4] = ["22", "42", "0A", "54"];

/// # Errors
/// The server cannot be reached, or does not answer.
pub async fn findings(
    policy: &PolicySet,
    settings: &Settings,
    catalogs: &[Arc<Catalog>],
) -> Result<Diagnostics, CliError> {
    let connection = catalogs::connection(settings)?;
    let mut findings = Diagnostics::default();
    let mut named = false;
    for catalog in catalogs {
        let analyses = policy.analyses(catalog);
        if named && analyses.is_empty() {
            continue;
        }
        let client = connection.connect(&catalog.database).await;
        let client = client.map_err(CliError::environment)?;
        if !named {
            let users = names(&client, USERS).await.map_err(failed)?;
            let databases = names(&client, DATABASES).await.map_err(failed)?;
            findings.extend(policy.strangers(&users, &databases));
            named = true;
        }
        for analysis in analyses {
            let Err(error) = client.prepare(&analysis.sql).await else {
                continue;
            };
            let Some(answer) = error.as_db_error() else {
                return Err(failed(error));
            };
            if speaks_of_the_rule(answer, analysis.stand_ins) {
                let rule = analysis.rule;
                let message = format!(
                    "the server turns down the row rule of `{}`: {}",
                    rule.relation,
                    answer.message()
                );
                let hint = answer
                    .hint()
                    .unwrap_or("no statement on the relation would run");
                findings.push(Diagnostic::error(&rule.origin, message).suggest(hint));
            }
        }
    }
    findings.sort();
    Ok(findings)
}

/// The catalog user may use no schema but the system's: that a type or function is out of its reach says nothing of the rule.
fn speaks_of_the_rule(answer: &DbError, stand_ins: bool) -> bool {
    let code = answer.code();
    let reach = *code == SqlState::INSUFFICIENT_PRIVILEGE;
    let keys = stand_ins && *code == SqlState::GROUPING_ERROR;
    let class = |class: &&str| code.code().starts_with(class);
    OF_THE_RULE.iter().any(class) && !reach && !keys
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
