//! `pgveil explain`.
use std::process::ExitCode;

use super::{CliError, ExplainArgs};

pub async fn run(_args: ExplainArgs) -> Result<ExitCode, CliError> {
    Err(CliError::Environment(
        "`explain` is not built yet".to_owned(),
    ))
}
