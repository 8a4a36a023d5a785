//! `pgveil audit unseal`: full texts in clear, for who has the recipient's key.
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::super::{CliError, EXIT_FAILED};
use crate::audit::sealed::{Opener, SealError, Sealed};

/// Read full texts (`audit: { text: full }`) with the recipient's private key
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
    pgveil audit search --role vendor --format json | pgveil audit unseal --key recipient.key\n\n\
    Reads records as lines from standard input and writes them with `full` (the text and its parameters) in place of\n\
    `sealed`. Records without a sealed text pass as they are. Exit code 1 if one was sealed to another key.")]
pub struct UnsealArgs {
    /// The private key (openssl genpkey -algorithm x25519)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// # Errors
/// The key cannot be read, or the input or output fails.
pub fn run(args: &UnsealArgs) -> Result<ExitCode, CliError> {
    let opener = Opener::read(&args.key).map_err(CliError::environment)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut foreign = 0u64;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(CliError::environment)?;
        let line = match opened(&line, &opener) {
            Some(Ok(opened)) => opened,
            Some(Err(_)) => {
                foreign += 1;
                line
            }
            None => line,
        };
        match writeln!(out, "{line}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            written => written.map_err(CliError::environment)?,
        }
    }
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(CliError::environment(error));
        }
        _ => {}
    }
    if foreign > 0 {
        eprintln!("{foreign} texts were sealed to another key, or changed");
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    Ok(ExitCode::SUCCESS)
}

/// The record with its text in clear; `None` where it has no sealed one.
fn opened(line: &str, opener: &Opener) -> Option<Result<String, SealError>> {
    let mut record: Value = serde_json::from_str(line).ok()?;
    let members = record.as_object_mut()?;
    let sealed: Sealed = serde_json::from_value(members.get("sealed")?.clone()).ok()?;
    let clear = match opener.open(&sealed) {
        Ok(clear) => clear,
        Err(error) => return Some(Err(error)),
    };
    members.remove("sealed");
    members.insert("full".to_owned(), serde_json::to_value(clear).ok()?);
    Some(Ok(record.to_string()))
}
