//! What a login needs to know of the rest of pgveil.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::token::Tokens;
use crate::auth::AuthMethod;
use crate::policy::Caller;
use crate::wire::cancel::CancelRegistry;
use crate::wire::connect::Upstream;
use crate::wire::startup::MAX_STARTUP_PACKET;
use crate::wire::tls::ServerTls;

/// Default of [`LoginGate::login_timeout`]; PostgreSQL's `authentication_timeout` has the same.
pub const DEFAULT_LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What the policy says about a user and a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleMatch {
    Role {
        /// `None`: a shared user has one only with a user of its application.
        name: Option<Arc<str>>,
        restricted: bool,
    },
    /// No session; the client gets `message` and `hint` with SQLSTATE 42501.
    Denied { message: String, hint: String },
}

/// Whether clients may come without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// From everywhere: `allow_plaintext: true`.
    Allowed,
    /// From this machine only.
    LoopbackOnly,
}

/// Whether clients must prove who they are by a certificate, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Those that have one may show it, if they are asked.
    Optional,
    /// Who shows none does not come in: PostgreSQL's `clientcert=verify-ca`.
    Required,
}

/// Gives each session of this process its number.
#[derive(Debug, Default)]
pub struct SessionIds(AtomicU64);

impl SessionIds {
    /// Begins after a number: those of another process whose records stand in the same chain.
    pub fn after(last: u64) -> Self {
        SessionIds(AtomicU64::new(last))
    }

    /// The last one that was given.
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// From 1 on.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Finds the role of who wants to come in.
pub type MatchRole = Box<dyn Fn(&Caller) -> RoleMatch + Send + Sync>;

/// Everything a login needs; shared by all of them.
pub struct LoginGate {
    /// The certificate for clients; without one an SSLRequest is answered `N`.
    pub tls: Option<Arc<ServerTls>>,
    pub plaintext: Plaintext,
    pub client_certificate: ClientCertificate,
    pub upstream: Arc<Upstream>,
    pub auth: AuthMethod,
    /// Accounts that this method is not for.
    pub tokens: Tokens,
    pub role: MatchRole,
    pub cancels: Arc<CancelRegistry>,
    /// From the accepted socket to the server's ReadyForQuery.
    pub login_timeout: Duration,
    /// Longest startup packet, in bytes after its length word; [`MAX_STARTUP_PACKET`] is the most.
    pub max_startup_bytes: usize,
    pub sessions: Arc<SessionIds>,
}

impl LoginGate {
    /// A gate without TLS to clients, with PostgreSQL's limits; set the public fields for more.
    pub fn new(upstream: Arc<Upstream>, auth: AuthMethod, role: MatchRole) -> Self {
        LoginGate {
            tls: None,
            plaintext: Plaintext::LoopbackOnly,
            client_certificate: ClientCertificate::Optional,
            upstream,
            auth,
            tokens: Tokens::default(),
            role,
            cancels: Arc::new(CancelRegistry::default()),
            login_timeout: DEFAULT_LOGIN_TIMEOUT,
            max_startup_bytes: MAX_STARTUP_PACKET,
            sessions: Arc::default(),
        }
    }
}

impl fmt::Debug for LoginGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginGate")
            .field("tls", &self.tls.is_some())
            .field("plaintext", &self.plaintext)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
