//! The checked settings of a running proxy. Paths are absolute or relative to the working directory, never to the file.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::application_keys::ApplicationKey;
use super::console::ConsoleSettings;
use super::limits::Limits;
use super::notify::NotifySettings;
use super::secret::Secret;
use super::sinks::SinkSettings;
use super::tokens::TokenIssuer;
use crate::audit::detect::Thresholds;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The file these settings came from.
    pub path: PathBuf,
    /// At least one; port 0 lets the system choose.
    pub listen: Vec<SocketAddr>,
    /// Listeners beyond loopback may go without TLS.
    pub allow_plaintext: bool,
    pub tls: Option<TlsSettings>,
    /// Clients are not asked for certificates if absent.
    pub client_certificates: Option<ClientCertificates>,
    pub upstream: Upstream,
    pub auth: Auth,
    /// Keys by which applications sign who is asking, by name.
    pub application_keys: BTreeMap<String, ApplicationKey>,
    /// A folder or a file; it exists.
    pub policies: PathBuf,
    /// Public keys, of which one must have signed the policy; none: it need not be signed.
    pub policy_keys: Vec<PathBuf>,
    pub state: StateSettings,
    pub audit: AuditSettings,
    /// Where `/metrics`, `/healthz` and `/readyz` are served; nowhere if absent.
    pub admin: Option<SocketAddr>,
    /// Nobody is told of requests if absent.
    pub notify: Option<NotifySettings>,
    /// The approvals console and its API; not served if absent.
    pub console: Option<ConsoleSettings>,
    pub limits: Limits,
}

/// Where the state is kept that outlives the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateSettings {
    /// A file of this proxy alone.
    File(PathBuf),
    /// A database that several proxies share.
    Postgres(StateServer),
}

/// The database of a shared state, and pgveil's login there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateServer {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<Secret>,
    pub database: String,
    pub tls: SslMode,
    /// PEM file of certificate authorities; the system's own if absent.
    pub ca: Option<PathBuf>,
}

/// The proxy's own certificate, shown to clients. Both files exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Certificates that clients show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities that sign them; it exists.
    pub ca: PathBuf,
    pub mode: ClientCertificateMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificateMode {
    /// A client may show one; a wrong one keeps it out.
    Request,
    /// A client without one does not come in.
    Require,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// At least one, tried in this order.
    pub hosts: Vec<UpstreamHost>,
    pub target: TargetSession,
    pub balance: LoadBalance,
    pub tls: SslMode,
    /// PEM file of certificate authorities; the system's own if absent.
    pub ca: Option<PathBuf>,
    pub catalog_user: CatalogUser,
    /// Databases that sessions may open and whose catalog the policy is checked against; all if absent.
    pub databases: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamHost {
    pub name: String,
    pub port: u16,
}

/// libpq's `target_session_attrs` (PostgreSQL documentation, 34.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TargetSession {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

impl TargetSession {
    pub const ALL: [(&'static str, TargetSession); 6] = [
        ("any", TargetSession::Any),
        ("read-write", TargetSession::ReadWrite),
        ("read-only", TargetSession::ReadOnly),
        ("primary", TargetSession::Primary),
        ("standby", TargetSession::Standby),
        ("prefer-standby", TargetSession::PreferStandby),
    ];
}

/// libpq's `load_balance_hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadBalance {
    /// Hosts are tried in the order of the list.
    Disable,
    /// In another order each time.
    Random,
}

impl LoadBalance {
    pub const ALL: [(&'static str, LoadBalance); 2] = [
        ("disable", LoadBalance::Disable),
        ("random", LoadBalance::Random),
    ];
}

/// The user of pgveil's own connections, which read the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogUser {
    pub name: String,
    pub password: Option<Secret>,
}

/// libpq's `sslmode` (PostgreSQL documentation, 34.19.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    pub const ALL: [(&'static str, SslMode); 6] = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    pub method: AuthMethod,
    /// Verifiers of users, in place of the server's `pg_authid`; only with [`AuthMethod::Scram`].
    pub users: Option<PathBuf>,
    /// Issuers of tokens that people log in with to accounts of theirs, whatever the method; by name.
    pub tokens: BTreeMap<String, TokenIssuer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    /// The server's own exchange is relayed.
    Passthrough,
    /// pgveil checks the client's SCRAM-SHA-256 and logs in upstream as the same user.
    Scram,
}

impl AuthMethod {
    pub const ALL: [(&'static str, AuthMethod); 2] = [
        ("passthrough", AuthMethod::Passthrough),
        ("scram", AuthMethod::Scram),
    ];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The spool's folder.
    pub dir: PathBuf,
    pub on_full: OnFull,
    pub ack: Ack,
    /// PEM file of an Ed25519 private key; one in `dir` that pgveil makes itself if absent.
    pub signing_key: Option<PathBuf>,
    /// Bytes after which a segment is closed.
    pub segment_bytes: u64,
    /// Time after which a segment is closed.
    pub segment_age: Duration,
    /// Records after which they are signed.
    pub checkpoint_records: u64,
    /// Time after which records are signed.
    pub checkpoint_interval: Duration,
    /// Age and size beyond which the oldest segments go; they stay for ever where absent.
    pub retain_age: Option<Duration>,
    pub retain_bytes: Option<u64>,
    /// File of the public key that full texts are sealed to, for roles whose policy asks for `text: full`.
    pub recipient: Option<PathBuf>,
    /// In the order of the file.
    pub sinks: Vec<SinkSettings>,
    /// From when on something is out of the ordinary.
    pub alarms: Thresholds,
}

/// What happens to a statement whose record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// Statements of restricted roles are refused.
    Refuse,
    /// The record is dropped, with an alarm.
    Drop,
}

impl OnFull {
    pub const ALL: [(&'static str, OnFull); 2] =
        [("refuse", OnFull::Refuse), ("drop", OnFull::Drop)];
}

/// When a record counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ack {
    /// Handed to the operating system: survives a crash of pgveil.
    Written,
    /// On the disk (`fdatasync`): survives a crash of the machine.
    Synced,
}

impl Ack {
    pub const ALL: [(&'static str, Ack); 2] = [("written", Ack::Written), ("synced", Ack::Synced)];
}
