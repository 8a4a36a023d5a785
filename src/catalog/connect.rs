//! pgveil's own connections to the servers, as the catalog user.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

use super::error::{CatalogError, reason};
use super::tls::RustlsConnector;
use crate::wire::hosts::{Hosts, Standing, Target};

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

/// How to reach the servers, and how fresh snapshots are to be.
#[derive(Clone)]
pub struct ConnectSettings {
    /// The same list as that of sessions: what is read of the schema holds where they are.
    pub hosts: Hosts,
    pub user: String,
    pub password: Option<String>,
    pub ssl_mode: SslMode,
    /// What the server's certificate is checked against; needed unless [`SslMode::Disable`].
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The databases pgveil serves; `None`: all that accept connections.
    pub databases: Option<Vec<String>>,
    pub pace: Pace,
}

/// A connection, and where it leads.
pub(super) struct Reached {
    pub client: Client,
    pub addr: SocketAddr,
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
    /// The longest that connecting to one address, and that reading a snapshot, may take.
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

/// Nothing that runs here needs names outside `pg_catalog`, or writes; to compile it to machine code takes several times as
/// long as to run it.
const PREPARE: &str = "SET search_path = ''; SET default_transaction_read_only = on; SET jit = off; \
     SET client_min_messages = error; SET statement_timeout = '60s'";

/// As libpq asks servers before version 14 (`target_session_attrs`).
const STANDING: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
     pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on'";

impl ConnectSettings {
    /// Opens a connection and makes it safe. It ends when the client is dropped.
    pub async fn connect(&self, database: &str) -> Result<Client, CatalogError> {
        Ok(self.reach(database).await?.client)
    }

    /// The same, for who keeps the connection.
    pub(super) async fn reach(&self, database: &str) -> Result<Reached, CatalogError> {
        self.search(database, "pgveil catalog", Some(PREPARE)).await
    }

    /// Whether a server of the list is at that address still, by the addresses that names have now. A name that cannot be
    /// resolved takes nothing away.
    pub(super) async fn still_leads(&self, addr: SocketAddr) -> bool {
        for host in self.hosts.turns() {
            match self.addresses(host, "").await {
                Ok(addresses) if !addresses.contains(&addr) => {}
                Ok(_) | Err(_) => return true,
            }
        }
        false
    }

    /// Opens a connection as it is, for other purposes than the catalog's.
    pub async fn open(&self, database: &str, application: &str) -> Result<Client, CatalogError> {
        Ok(self.search(database, application, None).await?.client)
    }

    /// The first server of the list that is what it has to be.
    async fn search(
        &self,
        database: &str,
        application: &str,
        prepare: Option<&str>,
    ) -> Result<Reached, CatalogError> {
        let mut failures = Vec::new();
        for target in self.hosts.passes() {
            for host in self.hosts.turns() {
                let addresses = match self.addresses(host, database).await {
                    Ok(addresses) => addresses,
                    Err(error) => {
                        failures.push(error);
                        continue;
                    }
                };
                for addr in addresses {
                    let place = Place {
                        host,
                        addr,
                        database,
                        application,
                    };
                    let opened = async {
                        let client = self.by_mode(place).await?;
                        self.check(&client, place, *target).await?;
                        if let Some(prepare) = prepare {
                            let prepared = client.batch_execute(prepare).await;
                            prepared.map_err(|error| place.failed(&error))?;
                        }
                        Ok(Reached { client, addr })
                    };
                    match within(self.pace.connect_timeout, place, opened).await {
                        Ok(reached) => return Ok(reached),
                        Err(error) => failures.push(error),
                    }
                }
            }
        }
        Err(together(failures, database))
    }

    async fn addresses(
        &self,
        host: usize,
        database: &str,
    ) -> Result<Vec<SocketAddr>, CatalogError> {
        let limit = self.pace.connect_timeout;
        let failed = |reason: &dyn std::fmt::Display| {
            let name = self.hosts.get(host).map(ToString::to_string);
            CatalogError::Connect {
                database: database.to_owned(),
                reason: format!("cannot resolve {}: {reason}", name.unwrap_or_default()).into(),
            }
        };
        match tokio::time::timeout(limit, self.hosts.addresses(host)).await {
            Ok(found) => found.map_err(|error| failed(&error)),
            Err(_) => Err(failed(&"no answer in time")),
        }
    }

    /// Opens a connection to one address, whatever the server is.
    pub(super) async fn open_at(
        &self,
        host: usize,
        addr: SocketAddr,
        database: &str,
        application: &str,
    ) -> Result<Client, CatalogError> {
        let place = Place {
            host,
            addr,
            database,
            application,
        };
        within(self.pace.connect_timeout, place, self.by_mode(place)).await
    }

    /// Whether the server is what it has to be.
    async fn check(
        &self,
        client: &Client,
        place: Place<'_>,
        target: Target,
    ) -> Result<(), CatalogError> {
        if target == Target::Any {
            return Ok(());
        }
        let standing = standing(client).await;
        match target.takes(standing.map_err(|error| place.failed(&error))?) {
            true => Ok(()),
            false => Err(CatalogError::Connect {
                database: place.database.to_owned(),
                reason: format!("{}: {}", place.addr, target.objection()).into(),
            }),
        }
    }

    async fn by_mode(&self, place: Place<'_>) -> Result<Client, CatalogError> {
        let failed = |error: &tokio_postgres::Error| place.failed(error);
        let first = match self.ssl_mode {
            SslMode::Disable | SslMode::Allow => self.plain(place).await,
            SslMode::Prefer | SslMode::Require => self.encrypted(place).await?,
        };
        let client = match (first, self.ssl_mode) {
            (Ok(client), _) => client,
            (Err(error), SslMode::Disable | SslMode::Require) => return Err(failed(&error)),
            // The other way, as libpq does.
            (Err(error), SslMode::Allow) => {
                self.encrypted(place).await?.map_err(|_| failed(&error))?
            }
            // Where the server did not come to answer over TLS, its answer without it says what is wrong.
            (Err(error), SslMode::Prefer) => {
                self.plain(place)
                    .await
                    .map_err(|plain| match error.as_db_error() {
                        Some(_) => failed(&error),
                        None => place.failed_twice(&error, &plain),
                    })?
            }
        };
        Ok(client)
    }

    async fn plain(&self, place: Place<'_>) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.config(place);
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn encrypted(
        &self,
        place: Place<'_>,
    ) -> Result<Result<Client, tokio_postgres::Error>, CatalogError> {
        let tls = self.tls.clone().ok_or_else(|| {
            CatalogError::Tls("this mode needs TLS, and TLS is not set up".to_owned())
        })?;
        let mut config = self.config(place);
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        Ok(config
            .connect(RustlsConnector::new(tls))
            .await
            .map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }))
    }

    fn config(&self, place: Place<'_>) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        // The name is for the certificate.
        if let Some(host) = self.hosts.get(place.host) {
            config.host(&host.name);
        }
        config
            .hostaddr(place.addr.ip())
            .port(place.addr.port())
            .user(&self.user)
            .dbname(place.database)
            .application_name(place.application)
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

/// One address, and what is wanted there.
#[derive(Clone, Copy)]
struct Place<'a> {
    host: usize,
    addr: SocketAddr,
    database: &'a str,
    application: &'a str,
}

impl Place<'_> {
    fn failed_twice(
        self,
        over_tls: &tokio_postgres::Error,
        plain: &tokio_postgres::Error,
    ) -> CatalogError {
        CatalogError::Connect {
            database: self.database.to_owned(),
            reason: format!("{}; without TLS: {}", reason(over_tls), reason(plain)).into(),
        }
    }

    fn failed(self, error: &tokio_postgres::Error) -> CatalogError {
        CatalogError::Connect {
            database: self.database.to_owned(),
            reason: reason(error),
        }
    }
}

/// What the server is, and what transactions of this user may do there.
pub(super) async fn standing(client: &Client) -> Result<Standing, tokio_postgres::Error> {
    let row = client.query_one(STANDING, &[]).await?;
    Ok(Standing {
        in_recovery: row.try_get(0)?,
        read_only: row.try_get(1)?,
    })
}

/// All failures as one.
fn together(mut failures: Vec<CatalogError>, database: &str) -> CatalogError {
    if failures.len() > 1 {
        let reasons: Vec<String> = failures
            .iter()
            .map(|failure| match failure {
                CatalogError::Connect { reason, .. } => reason.to_string(),
                other => other.to_string(),
            })
            .collect();
        return CatalogError::Connect {
            database: database.to_owned(),
            reason: reasons.join("; ").into(),
        };
    }
    failures.pop().unwrap_or_else(|| CatalogError::Connect {
        database: database.to_owned(),
        reason: "there is no server to try".into(),
    })
}

async fn within<T>(
    limit: Duration,
    place: Place<'_>,
    connected: impl Future<Output = Result<T, CatalogError>>,
) -> Result<T, CatalogError> {
    tokio::time::timeout(limit, connected)
        .await
        .unwrap_or_else(|_| {
            Err(CatalogError::Connect {
                database: place.database.to_owned(),
                reason: format!("{}: no answer within {} s", place.addr, limit.as_secs_f32())
                    .into(),
            })
        })
}
