//! The database that a scan looks at, and the login it does so with.
use std::path::PathBuf;

use tokio_postgres::Client;

use super::ScanArgs;
use crate::catalog::{ConnectSettings, Pace, connect};
use crate::cli::CliError;
use crate::cli::serve::catalogs;
use crate::config::{self, Settings, SslMode, StateServer, database_address};
use crate::wire::hosts::Hosts;
use crate::wire::tls::{self, client_config};

const DEFAULT_CONFIG: &str = "pgveil.yaml";

pub struct Target {
    settings: ConnectSettings,
    database: String,
    /// Of the configuration, if there is one.
    policies: Option<PathBuf>,
}

impl Target {
    pub fn of(args: &ScanArgs) -> Result<Self, CliError> {
        let address = ["postgres:", "postgresql:"]
            .iter()
            .any(|scheme| args.database.starts_with(scheme));
        if !address {
            let file = args.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
            if args.config.is_none() && !file.exists() {
                return Err(CliError::Configuration(format!(
                    "--database {0}: no {DEFAULT_CONFIG} here that says where the server is; name one with --config, or \
                     give an address such as postgres://USER@HOST/{0}",
                    args.database
                )));
            }
            let settings = config::load(&file)?;
            return Ok(Target {
                settings: catalogs::connection(&settings)?,
                database: args.database.clone(),
                policies: Some(settings.policies),
            });
        }
        let server = database_address(&args.database)
            .map_err(|message| CliError::Configuration(format!("--database: {message}")))?;
        let settings: Option<Settings> = match &args.config {
            Some(file) => Some(config::load(file)?),
            None => None,
        };
        Ok(Target {
            settings: by_address(&server)?,
            database: server.database,
            policies: settings.map(|settings| settings.policies),
        })
    }

    pub fn policies(&self, args: &ScanArgs) -> Option<PathBuf> {
        args.policy.clone().or_else(|| self.policies.clone())
    }

    pub async fn connect(&self) -> Result<Client, CliError> {
        let connected = self.settings.connect(&self.database).await;
        connected.map_err(|error| {
            // The words of the catalog's own connections speak of its user.
            let user = format!("as {}", self.settings.user);
            CliError::Environment(error.to_string().replace("as the catalog user", &user))
        })
    }
}

fn by_address(server: &StateServer) -> Result<ConnectSettings, CliError> {
    let (verify, mode) = match server.tls {
        SslMode::Disable => (tls::SslMode::Disable, connect::SslMode::Disable),
        SslMode::Allow => (tls::SslMode::Allow, connect::SslMode::Allow),
        SslMode::Prefer => (tls::SslMode::Prefer, connect::SslMode::Prefer),
        SslMode::Require => (tls::SslMode::Require, connect::SslMode::Require),
        SslMode::VerifyCa => (tls::SslMode::VerifyCa, connect::SslMode::Require),
        SslMode::VerifyFull => (tls::SslMode::VerifyFull, connect::SslMode::Require),
    };
    let tls = client_config(verify, server.ca.as_deref())
        .map_err(|error| CliError::Configuration(format!("--database: TLS: {error}")))?;
    let written = server
        .password
        .as_ref()
        .map(|password| password.expose().to_owned());
    Ok(ConnectSettings {
        hosts: Hosts::one(&server.host, server.port),
        user: server.user.clone(),
        password: written.or_else(|| std::env::var("PGPASSWORD").ok()),
        ssl_mode: mode,
        tls,
        databases: None,
        pace: Pace::default(),
    })
}
