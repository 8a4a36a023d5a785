//! The command line: one file per command.
//!
//! Exit codes: 0 done, 1 the answer is no or the environment failed, 2 wrong configuration or usage.
pub mod accounts;
pub mod approvals;
mod approvers;
pub mod audit;
mod bench;
pub mod cases;
pub mod catalog;
pub mod check;
pub mod completions;
mod console_client;
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod health;
pub mod logging;
pub mod man;
mod policies;
pub mod policy;
pub mod replay;
pub mod scan;
pub mod schema;
pub mod serve;
mod work;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Diagnostics;

/// The answer is no (a finding, a refused statement, a broken chain), or the environment failed.
pub const EXIT_FAILED: u8 = 1;
/// The configuration, the policy or the command line is wrong.
pub const EXIT_USAGE: u8 = 2;

/// A transparent PostgreSQL proxy that masks by role, gates exports and records every statement
#[derive(Debug, Parser)]
#[command(
    name = "pgveil",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        pgveil demo                                     see it at work on a CRM of its own\n  \
        pgveil scan --database crm --out policy.yaml    which columns hold sensitive data?\n  \
        pgveil check --config pgveil.yaml               is the policy right for this database?\n  \
        pgveil serve --config pgveil.yaml               run\n  \
        pgveil explain --config pgveil.yaml --database crm --role agent 'SELECT phone FROM crm.contacts'\n  \
        pgveil audit verify --config pgveil.yaml        has anybody touched the record?\n\n\
        Exit codes: 0 done, 1 the answer is no or the environment failed, 2 wrong configuration or usage."
)]
pub struct Cli {
    #[command(flatten)]
    pub log: logging::LogArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::ServeArgs),
    Check(CheckArgs),
    Doctor(doctor::DoctorArgs),
    Explain(Box<explain::ExplainArgs>),
    Scan(Box<scan::ScanArgs>),
    Test(Box<cases::TestArgs>),
    Replay(Box<replay::ReplayArgs>),
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    Schema(schema::SchemaArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
    Health(health::HealthArgs),
}

/// Check configuration and policies, against the live catalog unless told otherwise
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil check --config pgveil.yaml\n  \
    pgveil check --config pgveil.yaml --offline          without a server\n  \
    pgveil check --config pgveil.yaml --format json      one object per finding, for editors and CI")]
pub struct CheckArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    pub config: PathBuf,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
    /// Do not connect to the server: names of tables and columns are not checked
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputFormat {
    #[default]
    Text,
    Json,
}

/// Why a command ended without doing what it was asked for. The text goes to standard error, after `error: `
/// where it is a sentence of its own.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Exit code 2. Printed as it is: findings carry their own `error:`.
    #[error("{0}")]
    Findings(Diagnostics),
    /// Exit code 2.
    #[error("{0}")]
    Configuration(String),
    /// Exit code 1.
    #[error("{0}")]
    Environment(String),
}

impl CliError {
    pub fn configuration(error: impl std::fmt::Display) -> Self {
        CliError::Configuration(error.to_string())
    }

    pub fn environment(error: impl std::fmt::Display) -> Self {
        CliError::Environment(error.to_string())
    }

    fn report(&self) -> ExitCode {
        match self {
            CliError::Findings(findings) => {
                eprint!("{findings}");
                ExitCode::from(EXIT_USAGE)
            }
            CliError::Configuration(message) => {
                eprintln!("error: {message}");
                ExitCode::from(EXIT_USAGE)
            }
            CliError::Environment(message) => {
                eprintln!("error: {message}");
                ExitCode::from(EXIT_FAILED)
            }
        }
    }
}

impl From<Diagnostics> for CliError {
    fn from(findings: Diagnostics) -> Self {
        CliError::Findings(findings)
    }
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = cli.log.start() {
        return error.report();
    }
    let ran = match cli.command {
        // None of these needs a runtime, and a pipe that closes early should end them like any other filter.
        Command::Completions(args) => completions::run(&args),
        Command::Policy(command) => policy::run(&command),
        Command::Schema(args) => schema::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Health(args) => health::run(&args),
        Command::Audit(command) => audit::run(&command),
        Command::Approvals(command) => in_runtime(approvals::run(command)),
        Command::Accounts(command) => in_runtime(accounts::run(command)),
        Command::Serve(args) => in_runtime(serve::run(args)),
        Command::Check(args) => in_runtime(check::run(args)),
        Command::Doctor(args) => in_runtime(doctor::run(args)),
        Command::Explain(args) => in_runtime(explain::run(*args)),
        Command::Scan(args) => in_runtime(scan::run(*args)),
        Command::Test(args) => in_runtime(cases::run(*args)),
        Command::Replay(args) => in_runtime(replay::run(*args)),
        Command::Catalog(command) => in_runtime(catalog::run(command)),
        Command::Demo(args) => {
            in_runtime(async { demo::run(args).await.map_err(CliError::environment) })
        }
    };
    ran.unwrap_or_else(|error| error.report())
}

/// The server's own words; those of the client say only that the server had some.
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => error.message().to_owned(),
        // `invalid configuration` says nothing without what is behind it.
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

/// Writes a result to standard output. A reader that has gone (`| head`) is no failure: `println!` would panic.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Environment(
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

fn in_runtime(
    command: impl Future<Output = Result<ExitCode, CliError>>,
) -> Result<ExitCode, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Environment(format!("threads cannot be started: {error}")))?
        .block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        fn check(command: &clap::Command) {
            if command.get_name() == "help" {
                return;
            }
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    #[test]
    fn explain_takes_a_statement_or_a_file_but_not_both() {
        let parse = |words: &[&str]| {
            let base = ["pgveil", "explain", "--database", "crm", "--role", "agent"];
            Cli::try_parse_from(base.iter().chain(words))
        };
        assert!(parse(&["SELECT 1"]).is_ok());
        assert!(parse(&["--file", "s.jsonl"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--file", "s.jsonl", "SELECT 1"]).is_err());
    }
}
