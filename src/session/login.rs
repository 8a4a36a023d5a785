//! From an accepted socket to a session that is logged in on both sides.
mod enter;
mod gate;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

pub use gate::{ClientCertificate, LoginGate, Plaintext, RoleMatch, SessionIds};
pub use token::{Account, Tokens};

use crate::auth::{Blame, Failure, Peer};
use crate::policy::Caller;
use crate::wire::cancel::{CancelHandle, CancelRegistry};
use crate::wire::error::{ErrorFields, sqlstate};
use crate::wire::negotiate::{First, negotiate};
use crate::wire::startup::{CancelRequest, StartupMessage};
use crate::wire::stream::{Stream, set_socket_options};
use crate::wire::tls::TlsFacts;

/// What became of a connection that was no failure.
#[derive(Debug)]
pub enum Outcome {
    Session(Box<LoggedIn>),
    /// It was a cancel request, and it is dealt with.
    CancelDone,
    /// The client left before it said anything.
    Closed,
}

/// Both sides of a session, ready for the first statement.
#[derive(Debug)]
pub struct LoggedIn {
    pub client: Stream,
    pub server: Stream,
    /// Bytes already read from the client after its login (inside TLS), not yet interpreted.
    pub client_bytes: BytesMut,
    /// Frames the server has sent and the client has not yet got, from AuthenticationOk to the first ReadyForQuery.
    /// BackendKeyData in it is already replaced by the client-facing key. Nothing was read beyond.
    pub pending: BytesMut,
    pub facts: LoginFacts,
    /// Unregisters the client-facing cancel key when dropped; sends cancel requests for this session's backend.
    pub cancel: CancelHandle,
}

/// What is known of a session from its login.
#[derive(Debug, Clone)]
pub struct LoginFacts {
    /// Unique in this process.
    pub session: u64,
    pub client_addr: SocketAddr,
    pub server_addr: SocketAddr,
    pub db_user: String,
    pub database: String,
    pub application_name: String,
    /// What the policy was asked about.
    pub caller: Arc<Caller>,
    /// Name of the role in the policy; `None`: a shared user has one only with a user of its application.
    pub role: Option<Arc<str>>,
    /// Of the client's connection.
    pub tls: Option<TlsFacts>,
    /// As the record names it: `scram-sha-256`, `scram-sha-256-plus`, `md5`, `password`, `trust`, `token`, ...
    pub auth_method: String,
    /// The client speaks protocol 3.`protocol_minor`.
    pub protocol_minor: u16,
    /// 0 where the server did not say.
    pub backend_pid: i32,
    /// As the server reported it; empty where it did not.
    pub client_encoding: String,
    /// What the server reported in ParameterStatus, in order.
    pub parameters: Vec<(String, String)>,
    /// The settings of the startup packet, `options` taken apart, in the order in which the server applied them.
    pub startup_settings: Vec<(String, String)>,
}

impl LoginFacts {
    /// The last value the server reported for a parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .rev()
            .find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A login that failed. The client was told already.
#[derive(Debug, Clone)]
pub struct LoginError {
    pub client_addr: SocketAddr,
    /// What the startup packet said, where there was one; proved by nothing.
    pub db_user: Option<String>,
    pub database: Option<String>,
    pub application_name: Option<String>,
    pub tls: Option<TlsFacts>,
    pub blame: Blame,
    pub sqlstate: String,
    /// What the client was told.
    pub message: String,
    /// What only the log is told.
    pub cause: Option<String>,
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "login from {} failed", self.client_addr)?;
        if let (Some(user), Some(database)) = (&self.db_user, &self.database) {
            write!(f, " (user {user:?}, database {database:?})")?;
        }
        write!(f, ": {} [{}]", self.message, self.sqlstate)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LoginError {}

impl LoginError {
    fn new(client_addr: SocketAddr, failure: &Failure) -> Self {
        LoginError {
            client_addr,
            db_user: None,
            database: None,
            application_name: None,
            tls: None,
            blame: failure.blame,
            sqlstate: failure.fields.sqlstate.clone(),
            message: failure.fields.message.clone(),
            cause: failure.cause.clone(),
        }
    }

    fn of(mut self, startup: &StartupMessage, tls: Option<TlsFacts>) -> Self {
        self.db_user = Some(startup.user().to_owned());
        self.database = Some(startup.database().to_owned());
        self.application_name = startup.parameter("application_name");
        self.tls = tls;
        self
    }
}

/// Takes a client from its first byte to a logged-in session, or ends it: a client that cannot come in has got a
/// FATAL error that says why (except where it broke TLS), and its connection is closed.
///
/// Never takes much longer than [`LoginGate::login_timeout`]. Not cancel safe: dropping the future closes both
/// connections.
pub async fn login(
    tcp: TcpStream,
    peer: SocketAddr,
    gate: &LoginGate,
) -> Result<Outcome, LoginError> {
    let deadline = Instant::now() + gate.login_timeout;
    if let Err(error) = set_socket_options(&tcp, gate.upstream.keepalive()) {
        return Err(LoginError::new(
            peer,
            &Failure::client_left().because(error),
        ));
    }
    let negotiation = negotiate(tcp, gate.tls.as_deref(), gate.max_startup_bytes);
    let (stream, startup, tls) = match timeout_at(deadline, negotiation).await {
        // As in PostgreSQL: whoever sends no startup packet in time is not told.
        Err(_) => return Err(LoginError::new(peer, &timed_out(gate))),
        Ok(Err(rejected)) => {
            let failure = Failure::new(Blame::Client, *rejected.fields);
            if let Some(stream) = rejected.stream {
                stream.farewell(&failure.client_frames()).await;
            }
            return Err(LoginError::new(peer, &failure));
        }
        Ok(Ok(First::Closed)) => return Ok(Outcome::Closed),
        Ok(Ok(First::Cancel { stream, request })) => {
            cancel(stream, peer, &request, &gate.cancels).await;
            return Ok(Outcome::CancelDone);
        }
        Ok(Ok(First::Session {
            stream,
            startup,
            tls,
        })) => (stream, startup, tls),
    };
    let facts = tls.as_ref().map(|tls| tls.facts.clone());
    let mut client = Peer::client(stream);
    let entering = enter::enter(&mut client, peer, &startup, tls, gate);
    let failure = match timeout_at(deadline, entering).await {
        Ok(Ok(entered)) => return Ok(Outcome::Session(Box::new(entered.with(client)))),
        Ok(Err(failure)) => failure,
        Err(_) => timed_out(gate),
    };
    client.farewell(&failure.client_frames()).await;
    Err(LoginError::new(peer, &failure).of(&startup, facts))
}

fn timed_out(gate: &LoginGate) -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::QUERY_CANCELED,
        "pgveil: canceling authentication due to timeout",
    );
    let seconds = gate.login_timeout.as_secs_f32();
    let fields = fields.with_detail(format!("The login took longer than {seconds} s."));
    Failure::new(Blame::Client, fields)
}

/// Passes a cancel request on. The client's socket stays open until the server has closed its own: libpq takes the end
/// of this connection for the sign that the request was delivered. No answer is ever sent, as in PostgreSQL.
async fn cancel(
    stream: Stream,
    peer: SocketAddr,
    request: &CancelRequest,
    cancels: &CancelRegistry,
) {
    if let Err(error) = cancels.forward(request).await {
        tracing::info!(client = %peer, pid = request.pid, %error, "cancel request came to nothing");
    }
    stream.farewell(&[]).await;
}

#[cfg(test)]
mod tests;
