//! `pgveil man`: the manual, made of the command line itself.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::{Cli, CliError};

/// Print the manual page, or write a page for each command
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil man | man -l -                                read it\n  \
    pgveil man --out /usr/local/share/man/man1           pgveil(1), pgveil-serve(1), ...")]
pub struct ManArgs {
    /// Write pgveil.1 and a page for each command into this folder
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// # Errors
/// The folder cannot be written.
pub fn run(args: &ManArgs) -> Result<ExitCode, CliError> {
    match &args.out {
        Some(folder) => clap_mangen::generate_to(Cli::command(), folder)
            .map_err(|error| CliError::Environment(format!("{}: {error}", folder.display())))?,
        None => {
            let mut page = Vec::new();
            // As `generate_to` has it.
            let command = Cli::command().disable_help_subcommand(true);
            let rendered = Man::new(command).render(&mut page);
            rendered.map_err(CliError::environment)?;
            super::print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
