//! `pgveil serve`: starts everything in order, runs, and ends in good order.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::CliError;

/// Run the proxy
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil serve --config pgveil.yaml\n  \
    pgveil serve --config pgveil.yaml --log-format json --log-level debug\n\n\
    SIGTERM and SIGINT: no new sessions, running transactions may finish within limits.drain_timeout;\n\
    a second signal ends at once. SIGHUP: reads the TLS certificate and key again.")]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    pub config: PathBuf,
}

pub async fn run(_args: ServeArgs) -> Result<ExitCode, CliError> {
    Err(CliError::Environment("`serve` is not built yet".to_owned()))
}
