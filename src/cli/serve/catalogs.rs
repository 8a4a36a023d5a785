//! The catalogs of the databases served: how they are reached, and whether the policy fits them.
use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use super::gate::ssl_mode;
use crate::admin::http::Readiness;
use crate::catalog::{Catalog, CatalogStore, ConnectSettings, Pace, connect};
use crate::cli::CliError;
use crate::config::{Settings, SslMode};
use crate::policy::PolicySet;
use crate::session::proxy::Proxy;
use crate::wire::tls::client_config;

/// Shared with `pgveil check` and `pgveil explain`: they look at the same catalogs in the same way.
pub fn store(settings: &Settings) -> Result<CatalogStore, CliError> {
    connection(settings).map(CatalogStore::new)
}

/// How the catalog user reaches the server.
pub fn connection(settings: &Settings) -> Result<ConnectSettings, CliError> {
    let upstream = &settings.upstream;
    let tls = client_config(ssl_mode(upstream.tls), upstream.ca.as_deref())
        .map_err(|error| CliError::Configuration(format!("upstream: {error}")))?;
    Ok(ConnectSettings {
        host: upstream.host.clone(),
        port: upstream.port,
        user: upstream.catalog_user.name.clone(),
        password: upstream
            .catalog_user
            .password
            .as_ref()
            .map(|password| password.expose().to_owned()),
        ssl_mode: match upstream.tls {
            SslMode::Disable => connect::SslMode::Disable,
            SslMode::Allow => connect::SslMode::Allow,
            SslMode::Prefer => connect::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => connect::SslMode::Require,
        },
        tls,
        databases: upstream.databases.clone(),
        pace: Pace {
            interval: settings.limits.catalog_refresh,
            connect_timeout: settings.limits.connect_timeout,
            ..Pace::default()
        },
    })
}

/// Reads the catalog of every database served and holds the policy against all of them.
///
/// Gives the catalogs.
///
/// # Errors
/// A database cannot be read, or the policy names what is not there.
pub async fn check(
    policy: &PolicySet,
    store: &CatalogStore,
) -> Result<Vec<Arc<Catalog>>, CliError> {
    let mut catalogs: Vec<Arc<Catalog>> = Vec::new();
    for database in store.databases().await.map_err(CliError::environment)? {
        catalogs.push(store.get(&database).await.map_err(CliError::environment)?);
    }
    let findings = policy.check_catalogs(catalogs.iter().map(Arc::as_ref));
    if findings.has_errors() {
        return Err(CliError::Findings(findings));
    }
    for finding in findings.iter() {
        eprintln!("{finding}");
    }
    Ok(catalogs)
}

/// Keeps `/readyz` true to what the catalogs are like. Runs until it is dropped.
///
/// Databases that the settings name are kept current by this; of others only the list is read, so that one nobody
/// uses can be dropped.
pub async fn watch(settings: Arc<Settings>, proxy: Arc<Proxy>, readiness: Arc<Readiness>) {
    let mut ticks = interval(settings.limits.catalog_refresh);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut good = true;
    loop {
        ticks.tick().await;
        let looked = look(&settings, &proxy).await;
        // First the state, then the word: who reads the log finds `/readyz` as it says.
        readiness.catalog(looked.is_ok());
        match &looked {
            Ok(()) if !good => tracing::info!("the catalogs can be read again"),
            Err(error) if good => tracing::error!(%error, "the catalog cannot be read"),
            _ => {}
        }
        good = looked.is_ok();
    }
}

async fn look(settings: &Settings, proxy: &Proxy) -> Result<(), crate::catalog::CatalogError> {
    let store = &proxy.catalogs;
    for database in settings.upstream.databases.iter().flatten() {
        // Also where nobody is: that the policy has lost what it names must not wait for a session.
        proxy.learn(&*store.get(database).await?);
    }
    match settings.upstream.databases {
        Some(_) => Ok(()),
        None => store.databases().await.map(drop),
    }
}
