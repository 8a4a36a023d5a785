//! Runs what a case would run in a private database, and compares the rows. All of it is rolled back.
use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::catalog::tls::RustlsConnector;
use crate::cli::{CliError, told};

use crate::wire::tls::{self, client_config};

/// A row as the simple protocol gives it.
pub type Row = Vec<Option<String>>;

/// The longest that a fixture or a statement may take.
const LIMIT: &str = "BEGIN; SET LOCAL statement_timeout = '60s'";
/// Rows beyond are no longer told.
const SHOWN: usize = 5;

/// A private database, filled within a transaction that is never committed.
pub struct Fixture {
    client: Client,
}

impl Fixture {
    /// # Errors
    /// The address is wrong, the database cannot be reached, or the fixture's SQL fails.
    pub async fn open(url: &str, fixture: &[PathBuf]) -> Result<Self, CliError> {
        // What stands in the address may be a password.
        let wrong = || {
            CliError::Configuration(
                "--database-url is no address such as postgres://user@host/database".to_owned(),
            )
        };
        let mut config = Config::from_str(url).map_err(|_| wrong())?;
        if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
            config.password(password);
        }
        let client = connect(&config).await?;
        let failed = |what: &str, error: &tokio_postgres::Error| {
            CliError::Environment(format!("{what}: {}", told(error)))
        };
        client
            .batch_execute(LIMIT)
            .await
            .map_err(|error| failed("the private database", &error))?;
        for path in fixture {
            let name = path.display().to_string();
            let sql = std::fs::read_to_string(path)
                .map_err(|error| CliError::Configuration(format!("{name}: {error}")))?;
            client
                .batch_execute(&sql)
                .await
                .map_err(|error| failed(&name, &error))?;
        }
        Ok(Fixture { client })
    }

    /// What is wrong with the rows of a text.
    pub async fn compare(&self, text: &str, expected: &[Row]) -> Option<String> {
        if let Err(error) = self.client.batch_execute("SAVEPOINT pgveil_case").await {
            return Some(format!("the fixture cannot be used: {}", told(&error)));
        }
        let found = self.client.simple_query(text).await;
        let undone = self
            .client
            .batch_execute("ROLLBACK TO SAVEPOINT pgveil_case")
            .await;
        if let Err(error) = undone {
            return Some(format!("the statement cannot be undone: {}", told(&error)));
        }
        let found: Vec<Row> = match found {
            Ok(messages) => messages.iter().filter_map(row).collect(),
            Err(error) => return Some(format!("the statement failed: {}", told(&error))),
        };
        if found == expected {
            return None;
        }
        let (mut one, mut other) = (found.clone(), expected.to_vec());
        one.sort();
        other.sort();
        Some(match one == other {
            true => "expected the same rows in another order: end the statement with ORDER BY"
                .to_owned(),
            false => format!(
                "expected the rows {}, found {}",
                shown(expected),
                shown(&found)
            ),
        })
    }

    pub async fn close(self) {
        // Closing the connection would do as well.
        let _ = self.client.batch_execute("ROLLBACK").await;
    }
}

async fn connect(config: &Config) -> Result<Client, CliError> {
    let unreachable = |error: &tokio_postgres::Error| {
        CliError::Environment(format!("the private database: {}", told(error)))
    };
    let tls = match config.get_ssl_mode() {
        SslMode::Require => {
            client_config(tls::SslMode::Require, None).map_err(CliError::configuration)?
        }
        _ => None,
    };
    match tls {
        Some(tls) => {
            let connected = config.connect(RustlsConnector::new(tls)).await;
            let (client, connection) = connected.map_err(|error| unreachable(&error))?;
            tokio::spawn(connection);
            Ok(client)
        }
        None => {
            let mut config = config.clone();
            config.ssl_mode(SslMode::Disable);
            let connected = config.connect(NoTls).await;
            let (client, connection) = connected.map_err(|error| unreachable(&error))?;
            tokio::spawn(connection);
            Ok(client)
        }
    }
}

fn row(message: &SimpleQueryMessage) -> Option<Row> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let value = |index| row.get(index).map(str::to_owned);
    Some((0..row.len()).map(value).collect())
}

fn shown(rows: &[Row]) -> String {
    let value = |value: &Option<String>| match value {
        Some(text) => format!("`{text}`"),
        None => "null".to_owned(),
    };
    let mut texts: Vec<String> = rows
        .iter()
        .take(SHOWN)
        .map(|row| format!("[{}]", row.iter().map(value).collect::<Vec<_>>().join(", ")))
        .collect();
    if rows.len() > SHOWN {
        texts.push(format!("and {} more", rows.len() - SHOWN));
    }
    match texts.is_empty() {
        true => "none".to_owned(),
        false => texts.join(", "),
    }
}
