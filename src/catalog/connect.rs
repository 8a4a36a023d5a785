//! pgveil's own connections to the server, as the catalog user.
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use super::error::{CatalogError, reason};
use super::tls::RustlsConnector;

/// libpq's words for when to use TLS. What is verified is a matter of [`ConnectSettings::tls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// Plain first; TLS where the server turns that away.
    Allow,
    /// TLS where the server has it; plain where it has not, or turns TLS away.
    Prefer,
    /// `require`, `verify-ca`, `verify-full`.
    Require,
}

/// How to reach the server, and how fresh snapshots are to be.
#[derive(Clone)]
pub struct ConnectSettings {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
    pub ssl_mode: SslMode,
    /// What the server's certificate is checked against; needed unless [`SslMode::Disable`].
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The databases pgveil serves; `None`: all that accept connections.
    pub databases: Option<Vec<String>>,
    pub pace: Pace,
}

/// When snapshots are looked after.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at the fingerprint of a database in use.
    pub interval: Duration,
    /// A snapshot that could not be confirmed for so long is not used any more: pgveil fails closed.
    pub staleness: Duration,
    /// A database nobody asked for in this time is let go, connection and all, so that it can be dropped.
    pub idle: Duration,
    /// The longest that connecting, and that reading a snapshot, may take.
    pub connect_timeout: Duration,
    pub read_timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            interval: Duration::from_secs(2),
            staleness: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(60),
        }
    }
}

/// Nothing that runs here needs names outside `pg_catalog`, or writes.
const PREPARE: &str = "SET search_path = ''; SET default_transaction_read_only = on; \
     SET client_min_messages = error; SET statement_timeout = '60s'";

impl ConnectSettings {
    /// Opens a connection and makes it safe. It ends when the client is dropped.
    pub async fn connect(&self, database: &str) -> Result<Client, CatalogError> {
        let limit = self.pace.connect_timeout;
        let prepared = async {
            let client = self.by_mode(database, "pgveil catalog").await?;
            let prepared = client.batch_execute(PREPARE).await;
            prepared.map_err(|error| CatalogError::Connect {
                database: database.to_owned(),
                reason: reason(&error),
            })?;
            Ok(client)
        };
        within(limit, database, prepared).await
    }

    /// Opens a connection as it is, for other purposes than the catalog's.
    pub async fn open(&self, database: &str, application: &str) -> Result<Client, CatalogError> {
        let limit = self.pace.connect_timeout;
        within(limit, database, self.by_mode(database, application)).await
    }

    async fn by_mode(&self, database: &str, application: &str) -> Result<Client, CatalogError> {
        let failed = |error: &tokio_postgres::Error| CatalogError::Connect {
            database: database.to_owned(),
            reason: reason(error),
        };
        let first = match self.ssl_mode {
            SslMode::Disable | SslMode::Allow => self.plain(database, application).await,
            SslMode::Prefer | SslMode::Require => self.encrypted(database, application).await?,
        };
        let client = match (first, self.ssl_mode) {
            (Ok(client), _) => client,
            (Err(error), SslMode::Disable | SslMode::Require) => return Err(failed(&error)),
            // The other way, as libpq does; its failure says more only if the first was about TLS.
            (Err(error), SslMode::Allow) => self
                .encrypted(database, application)
                .await?
                .map_err(|_| failed(&error))?,
            (Err(error), SslMode::Prefer) => self
                .plain(database, application)
                .await
                .map_err(|_| failed(&error))?,
        };
        Ok(client)
    }

    async fn plain(
        &self,
        database: &str,
        application: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.config(database, application);
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn encrypted(
        &self,
        database: &str,
        application: &str,
    ) -> Result<Result<Client, tokio_postgres::Error>, CatalogError> {
        let tls = self.tls.clone().ok_or_else(|| {
            CatalogError::Tls("this mode needs TLS, and TLS is not set up".to_owned())
        })?;
        let mut config = self.config(database, application);
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        Ok(config
            .connect(RustlsConnector::new(tls))
            .await
            .map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }))
    }

    fn config(&self, database: &str, application: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .user(&self.user)
            .dbname(database)
            .application_name(application)
            .connect_timeout(self.pace.connect_timeout)
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        if let Some(password) = &self.password {
            config.password(password);
        }
        config
    }
}

async fn within(
    limit: Duration,
    database: &str,
    connected: impl Future<Output = Result<Client, CatalogError>>,
) -> Result<Client, CatalogError> {
    tokio::time::timeout(limit, connected)
        .await
        .unwrap_or_else(|_| {
            Err(CatalogError::Connect {
                database: database.to_owned(),
                reason: format!("no answer within {} s", limit.as_secs()).into(),
            })
        })
}
