//! `pgveil audit verify`: whether the audit record is as it was written.
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, EXIT_FAILED, OutputFormat, print};
use crate::audit::chain::Hash;
use crate::audit::verify::{Expectation, Report, VerifyError, verify};
use crate::config;

/// Work with the audit record
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Example:\n  pgveil audit verify --config pgveil.yaml")]
pub enum AuditCommand {
    Verify(VerifyArgs),
}

/// Check the hash chain of the audit record and name the first place that was changed
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil audit verify --config pgveil.yaml\n  \
    pgveil audit verify --dir var/audit --format json\n  \
    pgveil audit verify --dir var/audit --through <hash>      the chain must contain this hash\n\n\
    The chain alone cannot show that its last records were cut off: note the hash that this command prints\n\
    (or any line's) on another machine, and give it with --through the next time.\n\
    Exit code 0 if the chain is sound, 1 if it is not.")]
pub struct VerifyArgs {
    /// The configuration file, for its `audit.dir` [default: pgveil.yaml]
    #[arg(long, short, value_name = "FILE", conflicts_with = "dir")]
    pub config: Option<PathBuf>,
    /// The directory with the segments, in place of a configuration
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// A hash noted earlier that the chain must contain
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    pub through: Option<Hash>,
    /// Older segments were archived: the chain may begin in the middle
    #[arg(long)]
    pub partial: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

fn parse_hash(text: &str) -> Result<Hash, String> {
    Hash::parse(text.as_bytes()).ok_or_else(|| "a hash has 64 digits out of 0-9 and a-f".to_owned())
}

/// # Errors
/// The configuration is wrong, or the segments cannot be read. A broken chain is no error but exit code 1.
pub fn run(command: &AuditCommand) -> Result<ExitCode, CliError> {
    let AuditCommand::Verify(args) = command;
    let dir = match (&args.dir, &args.config) {
        (Some(dir), _) => dir.clone(),
        (None, config) => {
            let path = config.as_deref().unwrap_or(Path::new("pgveil.yaml"));
            config::load(path)?.audit.dir
        }
    };
    let expectation = Expectation {
        through: args.through,
        partial: args.partial,
    };
    match verify(&dir, &expectation) {
        Ok(report) => {
            print(&(sound(&report, args.format) + "\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(broken @ VerifyError::Broken { .. }) => {
            print(&(unsound(&broken, args.format) + "\n"))?;
            Ok(ExitCode::from(EXIT_FAILED))
        }
        Err(error) => Err(CliError::environment(error)),
    }
}

fn sound(report: &Report, format: OutputFormat) -> String {
    let Report {
        segments,
        records,
        first,
        last,
        head,
    } = report;
    match format {
        OutputFormat::Text => {
            let s = if *segments == 1 { "" } else { "s" };
            format!(
                "the audit chain is sound: {records} records ({first} to {last}) in {segments} segment{s}\nlast hash: {head}"
            )
        }
        OutputFormat::Json => json!({
            "sound": true, "records": records, "first": first, "last": last, "segments": segments,
            "hash": head.to_string(),
        })
        .to_string(),
    }
}

fn unsound(error: &VerifyError, format: OutputFormat) -> String {
    match (format, error) {
        (
            OutputFormat::Json,
            VerifyError::Broken {
                file,
                line,
                fault,
                sound,
            },
        ) => json!({
            "sound": false, "file": file, "line": line, "fault": fault.to_string(), "records": sound,
        })
        .to_string(),
        (_, VerifyError::Broken { sound, .. }) => {
            format!("{error}\nthe audit chain is broken there; {sound} records before it are sound")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_on_the_command_line_is_checked() {
        assert!(parse_hash(&"0a".repeat(32)).is_ok());
        assert!(parse_hash("0a").is_err());
        assert!(parse_hash(&"0A".repeat(32)).is_err());
    }

    #[test]
    fn a_broken_chain_is_told_in_both_formats() {
        let error = VerifyError::Broken {
            file: "var/audit/audit-000001.jsonl".into(),
            line: 7,
            fault: crate::audit::verify::Fault::Doubled { seq: 6 },
            sound: 6,
        };
        assert_eq!(
            unsound(&error, OutputFormat::Text),
            "var/audit/audit-000001.jsonl:7: record 6 stands here a second time\nthe audit chain is broken there; 6 records before it are sound"
        );
        let json: serde_json::Value =
            serde_json::from_str(&unsound(&error, OutputFormat::Json)).expect("json");
        assert_eq!((&json["line"], &json["sound"]), (&json!(7), &json!(false)));
    }
}
