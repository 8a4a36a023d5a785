//! `pgveil completions`: a script that teaches a shell the command line.
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError};

/// Print a completion script for a shell
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil completions bash > /etc/bash_completion.d/pgveil\n  \
    pgveil completions zsh > ~/.zfunc/_pgveil\n  \
    pgveil completions fish > ~/.config/fish/completions/pgveil.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    // Into memory first: the generator panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pgveil", &mut script);
    super::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
