//! A connection that comes back: whoever needs it and finds it broken makes it anew, at most so often.
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::super::StoreError;
use super::{schema, text};
use crate::catalog::error::{CatalogError, reason};
use crate::catalog::{ConnectSettings, Pace, connect};
use crate::config::{SslMode, StateServer};
use crate::wire::hosts::Hosts;
use crate::wire::tls::{self, client_config};

/// The longest that connecting may take, and making the tables.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that an answer is waited for. The server gives up a little earlier.
const ANSWER: Duration = Duration::from_secs(6);
/// Between two attempts to connect: doubled each time, up to the second.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Whatever the database or the user are set to. A change is on the disk when it is answered, and a statement sees what
/// was committed before it began.
const PREPARE: &str = "SET search_path = ''; SET synchronous_commit = on; SET client_min_messages = error; \
     SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
     SET statement_timeout = '5s'; SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '10s'; \
     SET client_encoding = 'UTF8'";

/// One connection with its prepared statements.
pub struct Session {
    pub client: Client,
    pub get: Statement,
    pub list: Statement,
    pub claimed: Statement,
    pub insert: Statement,
    pub update: Statement,
    pub holder: Statement,
    pub forget: Statement,
    pub delete: Statement,
    pub give_back: Statement,
    pub taken: Statement,
    pub see: Statement,
    pub seen: Statement,
    pub sweep: Statement,
}

enum State {
    Up(Arc<Session>),
    /// No attempt before a moment; the next wait, and what went wrong.
    Down {
        until: Instant,
        wait: Duration,
        error: StoreError,
    },
    Fresh,
}

/// A connection to the state's server that comes back.
pub struct Link {
    target: Arc<Target>,
    state: Mutex<State>,
}

/// Whether a request may be asked again that was perhaps answered: what is counted must not be counted twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    Harmless,
    Never,
}

impl Link {
    pub fn new(target: Arc<Target>) -> Self {
        Link {
            target,
            state: Mutex::new(State::Fresh),
        }
    }

    /// Runs a request; one on a connection that turns out to be broken runs again on a new one if that is harmless.
    pub async fn run<T, F>(
        &self,
        repeat: Repeat,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let mut attempts = match repeat {
            Repeat::Harmless => 2,
            Repeat::Never => 1,
        };
        loop {
            let session = self.session().await?;
            attempts -= 1;
            match timeout(ANSWER, request(Arc::clone(&session))).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => {
                    let broken = session.client.is_closed() || ends(&error);
                    if broken {
                        self.lost(&session).await;
                    }
                    if !broken || attempts == 0 {
                        return Err(StoreError(told(&error)));
                    }
                }
                Err(_) => {
                    self.lost(&session).await;
                    let seconds = ANSWER.as_secs();
                    return Err(StoreError(format!("no answer within {seconds} s")));
                }
            }
        }
    }

    async fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut state = self.state.lock().await;
        let wait = match &*state {
            State::Up(session) if !session.client.is_closed() => return Ok(Arc::clone(session)),
            State::Up(_) | State::Fresh => FIRST_WAIT,
            State::Down { until, error, .. } if Instant::now() < *until => {
                return Err(error.clone());
            }
            State::Down { wait, .. } => *wait,
        };
        let session = timeout(2 * CONNECT, self.target.connect()).await;
        match session.unwrap_or_else(|_| Err(StoreError("its tables could not be read".to_owned())))
        {
            Ok(session) => {
                let session = Arc::new(session);
                *state = State::Up(Arc::clone(&session));
                Ok(session)
            }
            Err(error) => {
                *state = State::Down {
                    until: Instant::now() + wait,
                    wait: (2 * wait).min(LAST_WAIT),
                    error: error.clone(),
                };
                Err(error)
            }
        }
    }

    async fn lost(&self, broken: &Arc<Session>) {
        let mut state = self.state.lock().await;
        if let State::Up(session) = &*state
            && Arc::ptr_eq(session, broken)
        {
            *state = State::Fresh;
        }
    }
}

/// Where the state's server is and how it is reached.
pub struct Target {
    settings: ConnectSettings,
    database: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Target { settings, database } = self;
        write!(f, "{}@{}/{database}", settings.user, settings.hosts)
    }
}

impl Target {
    pub fn new(server: &StateServer) -> Result<Self, StoreError> {
        let (verify, mode) = match server.tls {
            SslMode::Disable => (tls::SslMode::Disable, connect::SslMode::Disable),
            SslMode::Allow => (tls::SslMode::Allow, connect::SslMode::Allow),
            SslMode::Prefer => (tls::SslMode::Prefer, connect::SslMode::Prefer),
            SslMode::Require => (tls::SslMode::Require, connect::SslMode::Require),
            SslMode::VerifyCa => (tls::SslMode::VerifyCa, connect::SslMode::Require),
            SslMode::VerifyFull => (tls::SslMode::VerifyFull, connect::SslMode::Require),
        };
        let tls = client_config(verify, server.ca.as_deref())
            .map_err(|error| StoreError(format!("TLS: {error}")))?;
        let password = server.password.as_ref();
        Ok(Target {
            settings: ConnectSettings {
                hosts: Hosts::one(&server.host, server.port),
                user: server.user.clone(),
                password: password.map(|password| password.expose().to_owned()),
                ssl_mode: mode,
                tls,
                databases: None,
                pace: Pace {
                    connect_timeout: CONNECT,
                    ..Pace::default()
                },
            },
            database: server.database.clone(),
        })
    }

    async fn connect(&self) -> Result<Session, StoreError> {
        let client = self.settings.open(&self.database, "pgveil state").await;
        let client = client.map_err(|error| match error {
            CatalogError::Connect { reason, .. } => StoreError(format!("{self:?}: {reason}")),
            other => StoreError(format!("{self:?}: {other}")),
        })?;
        let failed =
            |error: tokio_postgres::Error| StoreError(format!("{self:?}: {}", told(&error)));
        client.batch_execute(PREPARE).await.map_err(failed)?;
        let encoding = client.query_one("SHOW server_encoding", &[]).await;
        let encoding: String = encoding.and_then(|row| row.try_get(0)).map_err(failed)?;
        if encoding != "UTF8" {
            return Err(StoreError(format!(
                "{self:?}: the database's encoding is {encoding}, and names and reasons need UTF8"
            )));
        }
        schema::migrate(&client).await?;
        client
            .batch_execute(text::PREPARE_TAKE)
            .await
            .map_err(failed)?;
        let prepared = async {
            Ok(Session {
                get: client.prepare(text::GET).await?,
                list: client.prepare(text::LIST).await?,
                claimed: client.prepare(text::CLAIMED).await?,
                insert: client.prepare(text::INSERT).await?,
                update: client.prepare(text::UPDATE).await?,
                holder: client.prepare(text::HOLDER).await?,
                forget: client.prepare(text::FORGET).await?,
                delete: client.prepare(text::DELETE).await?,
                give_back: client.prepare(text::GIVE_BACK).await?,
                taken: client.prepare(text::TAKEN).await?,
                see: client.prepare(text::SEE).await?,
                seen: client.prepare(text::SEEN).await?,
                sweep: client.prepare(text::SWEEP).await?,
                client,
            })
        };
        prepared.await.map_err(failed)
    }
}

/// Whether the connection ends with this error: what came from the server alone does not, unless it says goodbye.
fn ends(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => [
            &SqlState::ADMIN_SHUTDOWN,
            &SqlState::CRASH_SHUTDOWN,
            &SqlState::CANNOT_CONNECT_NOW,
            &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(&code),
        None => true,
    }
}

/// The server's message, or the chain of causes.
pub fn told(error: &tokio_postgres::Error) -> String {
    reason(error).to_string()
}
