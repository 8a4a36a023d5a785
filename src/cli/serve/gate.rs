//! What logins need, made from the settings.
use std::sync::Arc;

use tokio::time::timeout;

use super::{catalogs, issuers};
use crate::auth::scram::MockSecret;
use crate::auth::{AuthMethod, UsersFile, VerifierSource, passthrough_conflict};
use crate::catalog::Lookout;
use crate::cli::CliError;
use crate::config::{self, Settings};
use crate::policy::Caller;
use crate::session::login::{ClientCertificate, LoginGate, Plaintext, RoleMatch};
use crate::wire::connect::{Attempt, Upstream};
use crate::wire::hosts::{Host, Hosts, Order, Target};
use crate::wire::tls::{ServerTls, SslMode};

/// Where the catalog user can always connect to: for looks at servers.
const MAINTENANCE_DATABASE: &str = "postgres";

/// The servers as the settings name them. Nothing is connected yet.
pub fn upstream(settings: &Settings) -> Result<Upstream, CliError> {
    let configured = &settings.upstream;
    let servers = Upstream::of(
        hosts(configured),
        ssl_mode(configured.tls),
        configured.ca.as_deref(),
    )
    .map_err(|error| CliError::Configuration(format!("upstream: {error}")))?
    .with_keepalive(settings.limits.tcp_keepalive)
    .with_limit(settings.limits.connect_timeout);
    if servers.hosts().target() == Target::Any {
        return Ok(servers);
    }
    let databases = configured.databases.as_ref();
    let database = databases.and_then(|names| names.first());
    let database = database.map_or(MAINTENANCE_DATABASE, String::as_str);
    let lookout = Lookout::new(catalogs::connection(settings)?, database);
    Ok(servers.with_standings(Arc::new(lookout)))
}

/// The list of servers.
pub fn hosts(upstream: &config::Upstream) -> Hosts {
    let hosts = upstream.hosts.iter().map(|host| Host {
        name: host.name.clone(),
        port: host.port,
    });
    Hosts::new(hosts.collect())
        .with_target(match upstream.target {
            config::TargetSession::Any => Target::Any,
            config::TargetSession::ReadWrite => Target::ReadWrite,
            config::TargetSession::ReadOnly => Target::ReadOnly,
            config::TargetSession::Primary => Target::Primary,
            config::TargetSession::Standby => Target::Standby,
            config::TargetSession::PreferStandby => Target::PreferStandby,
        })
        .with_order(match upstream.balance {
            config::LoadBalance::Disable => Order::AsWritten,
            config::LoadBalance::Random => Order::Random,
        })
}

/// `role` finds the role of who wants to come in; `stored` gives the verifiers of the server.
///
/// # Errors
/// Certificates or the users file cannot be used, or the settings contradict each other.
pub async fn gate(
    settings: &Settings,
    upstream: Arc<Upstream>,
    role: impl Fn(&Caller) -> RoleMatch + Send + Sync + 'static,
    stored: Arc<dyn VerifierSource>,
) -> Result<LoginGate, CliError> {
    let clients = settings.client_certificates.as_ref();
    let client_ca = clients.map(|clients| clients.ca.as_path());
    let tls = match &settings.tls {
        Some(tls) => Some(Arc::new(
            ServerTls::load(&tls.cert, &tls.key, client_ca)
                .map_err(|error| CliError::Configuration(format!("tls: {error}")))?,
        )),
        None => None,
    };
    let auth = match (settings.auth.method, &settings.auth.users) {
        (config::AuthMethod::Passthrough, _) => {
            refuse_conflict(settings, &upstream).await?;
            AuthMethod::Passthrough
        }
        (config::AuthMethod::Scram, None) => scram(stored)?,
        (config::AuthMethod::Scram, Some(path)) => {
            let users = UsersFile::load(path)
                .map_err(|error| CliError::Configuration(format!("auth.users: {error}")))?;
            scram(Arc::new(users))?
        }
    };
    let mut gate = LoginGate::new(upstream, auth, Box::new(role));
    gate.tls = tls;
    gate.plaintext = match settings.allow_plaintext {
        true => Plaintext::Allowed,
        false => Plaintext::LoopbackOnly,
    };
    if clients.is_some_and(|clients| clients.mode == config::ClientCertificateMode::Require) {
        gate.client_certificate = ClientCertificate::Required;
    }
    gate.tokens = issuers::tokens(settings)?;
    gate.login_timeout = settings.limits.login_timeout;
    gate.max_startup_bytes = usize::try_from(settings.limits.max_startup_bytes)
        .unwrap_or(usize::MAX)
        .min(gate.max_startup_bytes);
    Ok(gate)
}

fn scram(verifiers: Arc<dyn VerifierSource>) -> Result<AuthMethod, CliError> {
    let mock = MockSecret::random()
        .map_err(|_| CliError::Environment("the system gives no random bytes".to_owned()))?;
    Ok(AuthMethod::Scram { verifiers, mock })
}

/// Passthrough with TLS on both legs cannot work; said at the start rather than at every login.
async fn refuse_conflict(settings: &Settings, upstream: &Upstream) -> Result<(), CliError> {
    if settings.tls.is_none() {
        return Ok(());
    }
    let upstream_tls = match settings.upstream.tls {
        config::SslMode::Disable | config::SslMode::Allow => false,
        config::SslMode::Prefer => offers_tls(settings, upstream).await?,
        config::SslMode::Require | config::SslMode::VerifyCa | config::SslMode::VerifyFull => true,
    };
    match passthrough_conflict(true, upstream_tls) {
        Some(conflict) => Err(CliError::Configuration(format!(
            "{}: {conflict}",
            settings.path.display()
        ))),
        None => Ok(()),
    }
}

async fn offers_tls(settings: &Settings, upstream: &Upstream) -> Result<bool, CliError> {
    let limit = settings.limits.connect_timeout;
    match timeout(limit, upstream.connect(Attempt::TlsIfOffered)).await {
        Ok(Ok(connected)) => Ok(connected.stream.is_tls()),
        Ok(Err(error)) => Err(CliError::environment(error)),
        Err(_) => Err(CliError::Environment(format!(
            "{} does not answer within {} s",
            upstream.hosts(),
            limit.as_secs_f32()
        ))),
    }
}

/// The word in the configuration, as the wire understands it.
pub fn ssl_mode(mode: config::SslMode) -> SslMode {
    match mode {
        config::SslMode::Disable => SslMode::Disable,
        config::SslMode::Allow => SslMode::Allow,
        config::SslMode::Prefer => SslMode::Prefer,
        config::SslMode::Require => SslMode::Require,
        config::SslMode::VerifyCa => SslMode::VerifyCa,
        config::SslMode::VerifyFull => SslMode::VerifyFull,
    }
}
