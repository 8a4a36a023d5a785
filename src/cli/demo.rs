//! `pgveil demo`.
use std::process::ExitCode;

use super::CliError;

/// Shows pgveil at work on a CRM of its own
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  pgveil demo")]
pub struct DemoArgs {}

pub async fn run(_args: DemoArgs) -> Result<ExitCode, CliError> {
    Err(CliError::Environment("`demo` is not built yet".to_owned()))
}
