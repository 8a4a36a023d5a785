//! `pgveil check`.
use std::process::ExitCode;

use super::{CheckArgs, CliError};

pub async fn run(_args: CheckArgs) -> Result<ExitCode, CliError> {
    Err(CliError::Environment("`check` is not built yet".to_owned()))
}
