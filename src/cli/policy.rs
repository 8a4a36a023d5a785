//! `pgveil policy`: which policy was in force when, what it said, and who signed it.
mod diff;
mod history;
pub mod kept;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::audit::Place;
use super::{CliError, OutputFormat, policies, print};
use crate::audit::key::SigningKey;
use crate::audit::range::{Bound, Span};
use crate::{config, policy};
use kept::Kept;

/// Look at the policies that were in force, or sign one
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Examples:\n  \
    pgveil policy history --config pgveil.yaml\n  \
    pgveil policy show 51c8f6b2a0a4e9d3 --config pgveil.yaml\n  \
    pgveil policy diff 51c8f6b2 9a0b --config pgveil.yaml\n  \
    pgveil policy sign --key policy.key --policy policies/")]
pub enum PolicyCommand {
    History(HistoryArgs),
    Show(ShowArgs),
    Diff(DiffArgs),
    Sign(SignArgs),
}

/// List which policy was in force from when until when, from the record
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil policy history --config pgveil.yaml\n  \
    pgveil policy history --dir var/audit --from 2026-11-01 --format json")]
pub struct HistoryArgs {
    #[command(flatten)]
    pub place: Place,
    /// From this date, time (UTC) or record on
    #[arg(long, value_name = "TIME|NUMBER")]
    pub from: Option<Bound>,
    /// Up to, but without, this date, time (UTC) or record
    #[arg(long, value_name = "TIME|NUMBER")]
    pub to: Option<Bound>,
    /// How it is printed; json gives one object per line
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// Print a policy as it was in force, checked against its hash
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil policy show 51c8f6b2a0a4e9d3 --config pgveil.yaml\n  \
    pgveil policy show 51c8 --dir var/audit --format json")]
pub struct ShowArgs {
    /// The version, or its first digits
    pub version: String,
    #[command(flatten)]
    pub place: Place,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// Print what differs between two policies, as a unified diff
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil policy diff 51c8f6b2 9a0b44e1 --config pgveil.yaml\n  \
    pgveil policy diff 51c8f6b2 policies/ --config pgveil.yaml     against files\n\n\
    Exit code 0 if they are equal, 1 if they differ.")]
pub struct DiffArgs {
    /// A version, its first digits, or a folder or file
    pub before: String,
    /// Another
    pub after: String,
    #[command(flatten)]
    pub place: Place,
}

/// Sign a policy, so that it loads where `policy_keys` names the key
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    openssl genpkey -algorithm ed25519 -out policy.key\n  \
    openssl pkey -in policy.key -pubout -out policy.pub          for policy_keys in pgveil.yaml\n  \
    pgveil policy sign --key policy.key --policy policies/\n\n\
    Writes policies/policy.sig; beside a single file, <file>.sig. Sign again after every change.")]
pub struct SignArgs {
    /// The private key, Ed25519 in PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The policy's folder or file [default: what the configuration names]
    #[arg(long, value_name = "PATH")]
    pub policy: Option<PathBuf>,
    /// The configuration file [default: pgveil.yaml]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// # Errors
/// The configuration is wrong, the record cannot be read, or a version is not kept.
pub fn run(command: &PolicyCommand) -> Result<ExitCode, CliError> {
    match command {
        PolicyCommand::History(args) => {
            let dir = args.place.dir()?;
            let span = Span {
                from: args.from.clone(),
                to: args.to.clone(),
            };
            let reigns = history::read(&dir, &span)?;
            print(&match args.format {
                OutputFormat::Text => history::text(&dir, &reigns),
                OutputFormat::Json => history::json(&dir, &reigns),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        PolicyCommand::Show(args) => {
            let kept = Kept::find(&args.place.dir()?, &args.version)?;
            print(&match args.format {
                OutputFormat::Text => kept.text(),
                OutputFormat::Json => format!("{}\n", json!(kept)),
            })?;
            Ok(ExitCode::SUCCESS)
        }
        PolicyCommand::Diff(args) => run_diff(args),
        PolicyCommand::Sign(args) => run_sign(args),
    }
}

fn run_diff(args: &DiffArgs) -> Result<ExitCode, CliError> {
    let find = |what: &str| -> Result<Kept, CliError> {
        let path = Path::new(what);
        match path.exists() {
            true => Ok(Kept::of(&policy::load(path)?)),
            false => Kept::find(&args.place.dir()?, what),
        }
    };
    let (before, after) = (find(&args.before)?, find(&args.after)?);
    let text = diff::of(&before, &after);
    print(&text)?;
    Ok(match text.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(super::EXIT_FAILED),
    })
}

fn run_sign(args: &SignArgs) -> Result<ExitCode, CliError> {
    let path = match &args.policy {
        Some(path) => path.clone(),
        None => {
            let config = args.config.as_deref().unwrap_or(Path::new("pgveil.yaml"));
            config::load(config)?.policies
        }
    };
    let policy = policy::load(&path)?;
    let key = SigningKey::read(&args.key).map_err(CliError::configuration)?;
    let file = policies::signature_file(&path);
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    let text = policies::signed(&policy, &key, &before);
    // Whole or not at all, for a pgveil that reads it; others than the signer may.
    let beside = file.with_extension("sig.new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &file));
    written.map_err(|error| CliError::Environment(format!("{}: {error}", file.display())))?;
    print(&format!(
        "policy {} is signed by key {} in {}\n",
        policy.version(),
        key.public().id(),
        file.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}
