//! `pgveil catalog`: a database's schema as pgveil knows it, in a file.
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::bench::CatalogArgs;
use super::{CliError, print};
use crate::catalog;

/// Write a database's schema into a file, for planning without a server
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Examples:\n  \
    pgveil catalog dump --config pgveil.yaml --database crm --output policies/tests/crm.catalog.zst")]
pub enum CatalogCommand {
    Dump(DumpArgs),
}

/// Write names, types and definitions of one database into a file; no row of any table is read
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil catalog dump --config pgveil.yaml --database crm --output policies/tests/crm.catalog.zst\n\n\
    The file is JSON, compressed by zstd. Two dumps of an unchanged database are equal.\n\
    `pgveil test`, `pgveil replay` and `pgveil explain` take it with --catalog.")]
pub struct DumpArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    pub config: PathBuf,
    /// The database [default: the one that is served, if it is one]
    #[arg(long, short)]
    pub database: Option<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// # Errors
/// The configuration is wrong, the server cannot be reached, or the file cannot be written.
pub async fn run(command: CatalogCommand) -> Result<ExitCode, CliError> {
    let CatalogCommand::Dump(args) = command;
    let place = CatalogArgs {
        config: Some(args.config),
        database: args.database,
        ..CatalogArgs::default()
    };
    let catalog = place.catalog().await?;
    catalog::file::write(&catalog, &args.output).map_err(CliError::environment)?;
    print(&format!(
        "{}: {} relations of {}, PostgreSQL {}\n",
        args.output.display(),
        catalog.relations.len(),
        catalog.database,
        catalog.server_version / 10_000
    ))?;
    Ok(ExitCode::SUCCESS)
}
