//! `pgveil audit`: whether the record is as it was written, with which key it is signed, and what it says.
pub(super) mod classes;
mod found;
pub mod incidents;
pub mod report;
pub mod search;
mod unseal;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::work::Work;
use super::{CliError, EXIT_FAILED, OutputFormat, print};
use crate::audit::Reader;
use crate::audit::chain::Hash;
use crate::audit::classes::Classes;
use crate::audit::key::PublicKey;
use crate::audit::range::Bound;
use crate::audit::spool::PUBLIC_KEY_FILE;
use crate::audit::verify::{Expectation, Report, VerifyError, verify_with};
use crate::{config, policy};

/// Work with the audit record
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Examples:\n  \
    pgveil audit verify --config pgveil.yaml\n  \
    pgveil audit search --config pgveil.yaml --person ann\n  \
    pgveil audit report --config pgveil.yaml --from 2026-11-01 --to 2026-12-01 --out november.html")]
pub enum AuditCommand {
    Verify(VerifyArgs),
    Search(Box<search::SearchArgs>),
    Report(Box<report::ReportArgs>),
    #[command(subcommand)]
    Incidents(incidents::IncidentsCommand),
    Key(KeyArgs),
    Unseal(unseal::UnsealArgs),
}

/// Check the audit record's hash chain and signatures, and name the first place that was changed
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil audit verify --config pgveil.yaml\n  \
    pgveil audit verify --dir var/audit --public-key auditor/signing.pub --format json\n  \
    pgveil audit verify --dir var/audit --through <hash>      the chain must contain this hash\n  \
    pgveil audit verify --dir var/audit --from 2026-11-01 --to 2026-12-01\n\n\
    Keep the public key (`pgveil audit key`) and now and then the last hash on another machine: the one shows that\n\
    nobody without the private key wrote records, the other that none were cut off the end.\n\
    Exit code 0 if the chain is sound, 1 if it is not.")]
pub struct VerifyArgs {
    #[command(flatten)]
    pub place: Place,
    /// A hash noted earlier that the chain must contain
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    pub through: Option<Hash>,
    /// A public key that checkpoints may be signed with; may be repeated [default: signing.pub beside the segments]
    #[arg(long, value_name = "FILE")]
    pub public_key: Vec<PathBuf>,
    /// Begin with the segment that holds this date, time or record
    #[arg(long, value_name = "TIME|NUMBER")]
    pub from: Option<Bound>,
    /// Leave out records from this date, time or number on
    #[arg(long, value_name = "TIME|NUMBER")]
    pub to: Option<Bound>,
    /// Older segments were archived: the chain may begin in the middle
    #[arg(long)]
    pub partial: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// Print the public key that checkpoints are signed with, for an auditor to keep
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil audit key --config pgveil.yaml > auditor/signing.pub")]
pub struct KeyArgs {
    #[command(flatten)]
    pub place: Place,
}

/// Where the record is.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// The configuration file, for its `audit.dir` [default: pgveil.yaml]
    #[arg(long, short, value_name = "FILE", conflicts_with = "dir")]
    pub config: Option<PathBuf>,
    /// The directory with the segments, in place of a configuration
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Place {
    /// # Errors
    /// The configuration is wrong.
    pub fn dir(&self) -> Result<PathBuf, CliError> {
        match (&self.dir, &self.config) {
            (Some(dir), _) => Ok(dir.clone()),
            (None, config) => {
                let path = config.as_deref().unwrap_or(Path::new("pgveil.yaml"));
                Ok(config::load(path)?.audit.dir)
            }
        }
    }
}

impl Place {
    /// Where the record is, and what the policy of the configuration says of its columns; nothing where there is only
    /// a directory.
    ///
    /// # Errors
    /// The configuration is wrong.
    pub fn dir_and_classes(&self) -> Result<(PathBuf, Classes), CliError> {
        if let Some(dir) = &self.dir {
            return Ok((dir.clone(), Classes::default()));
        }
        let path = self.config.as_deref().unwrap_or(Path::new("pgveil.yaml"));
        let settings = config::load(path)?;
        let policy = policy::load(&settings.policies)?;
        Ok((settings.audit.dir, classes::of_policy(&policy)))
    }
}

fn parse_hash(text: &str) -> Result<Hash, String> {
    Hash::parse(text.as_bytes()).ok_or_else(|| "a hash has 64 digits out of 0-9 and a-f".to_owned())
}

/// # Errors
/// The configuration is wrong, or the segments cannot be read. A broken chain is no error but exit code 1.
pub fn run(command: &AuditCommand) -> Result<ExitCode, CliError> {
    match command {
        AuditCommand::Verify(args) => run_verify(args),
        AuditCommand::Search(args) => search::run(args),
        AuditCommand::Unseal(args) => unseal::run(args),
        AuditCommand::Report(args) => report::run(args),
        AuditCommand::Incidents(command) => incidents::run(command),
        AuditCommand::Key(args) => {
            let path = args.place.dir()?.join(PUBLIC_KEY_FILE);
            let key = PublicKey::read(&path).map_err(CliError::environment)?;
            print(&key.pem())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_verify(args: &VerifyArgs) -> Result<ExitCode, CliError> {
    let dir = args.place.dir()?;
    let beside = dir.join(PUBLIC_KEY_FILE);
    let source = match (args.public_key.is_empty(), beside.exists()) {
        (false, _) => KeySource::Given,
        (true, true) => KeySource::Beside,
        (true, false) => KeySource::None,
    };
    let files = match source {
        KeySource::Beside => std::slice::from_ref(&beside),
        KeySource::Given | KeySource::None => &args.public_key,
    };
    let keys = files
        .iter()
        .map(|path| PublicKey::read(path))
        .collect::<Result<Vec<_>, _>>()
        .map_err(CliError::environment)?;
    let from_segment = match &args.from {
        Some(from) => {
            let reader = Reader::since(&dir, from).map_err(CliError::environment)?;
            Some(reader.position().segment)
        }
        None => None,
    };
    let expectation = Expectation {
        through: args.through,
        partial: args.partial,
        keys,
        from_segment,
        to: args.to.clone(),
    };
    let work = Work::new("records checked");
    let verified = verify_with(&dir, &expectation, &mut |progress| {
        work.at(
            progress.records,
            format!("segment {} of {}", progress.segment, progress.segments),
        );
    });
    work.done();
    match verified {
        Ok(report) => {
            print(&(sound(&report, source, args.format) + "\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(broken @ VerifyError::Broken { .. }) => {
            print(&(unsound(&broken, args.format) + "\n"))?;
            Ok(ExitCode::from(EXIT_FAILED))
        }
        Err(error) => Err(CliError::environment(error)),
    }
}

/// Where the public key came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeySource {
    Given,
    /// From the directory that is checked: who can change the one can change the other.
    Beside,
    None,
}

fn sound(report: &Report, source: KeySource, format: OutputFormat) -> String {
    let Report {
        segments,
        records,
        first,
        last,
        head,
        chain,
        checkpoints,
        signed,
        keys,
        removed,
        lost,
    } = report;
    match format {
        OutputFormat::Text => {
            let s = if *segments == 1 { "" } else { "s" };
            let mut text = format!(
                "the audit chain is sound: {records} records ({first} to {last}) in {segments} segment{s}\n"
            );
            match signed {
                Some(signed) => {
                    text += &format!(
                        "signed through record {signed} by key {} ({checkpoints} checkpoints)\n",
                        keys.join(", ")
                    );
                    if source == KeySource::Beside {
                        text += "the key was found beside the segments: give a copy kept elsewhere with --public-key\n";
                    }
                }
                None if source == KeySource::None => text += "no signature was checked: give --public-key\n",
                None => {
                    text += "no signature was checked yet: the chain has no checkpoint\n";
                }
            }
            if *removed > 0 {
                text += &format!("records 1 to {removed} were removed by retention, as a tombstone says\n");
            }
            if *lost > 0 {
                text += &format!("{lost} records could not be written at their time and are not there\n");
            }
            text + &format!("last hash: {head}")
        }
        OutputFormat::Json => json!({
            "sound": true, "records": records, "first": first, "last": last, "segments": segments,
            "hash": head.to_string(), "chain": chain, "checkpoints": checkpoints, "signed": signed, "keys": keys,
            "removed": removed, "lost": lost,
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
