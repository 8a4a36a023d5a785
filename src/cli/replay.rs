//! `pgveil replay`: what the traffic on record would meet under another policy.
mod budgets;
mod groups;
mod meets;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::bench::{Bench, CatalogArgs};
use super::work::Work;
use super::{CliError, EXIT_FAILED, OutputFormat, print};
use crate::audit::entry::Entry;
use crate::audit::range::{Beyond, Bound, Span};
use budgets::Budgets;
use groups::{Groups, Taken};
use meets::{Change, Judge};
use report::Replayed;

/// Records between two words about how far it is.
const PROGRESS: u64 = 10_000;

/// Show what recorded traffic would meet under another policy
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil replay --config pgveil.yaml --database crm --policy policies.next/\n  \
    pgveil replay --audit var/audit --catalog crm.catalog.zst --policy next.yaml --from 2026-11-01\n  \
    pgveil replay --config pgveil.yaml --database crm --policy next.yaml --role agent --format json\n  \
    pgveil replay --config pgveil.yaml --database crm --enforced     as if no role were on trial\n\n\
    Statements are on record without their literals, and are planned so. What cannot be told that way is listed as such.\n\
    Exit code 0; with --check 1 if anything is newly refused, masked, clear, stopped or turned away.")]
pub struct ReplayArgs {
    #[command(flatten)]
    pub place: CatalogArgs,
    /// The directory with the record [default: audit.dir of the configuration]
    #[arg(long, value_name = "DIR")]
    pub audit: Option<PathBuf>,
    /// Statements of this role alone, as the record has it; may be repeated
    #[arg(long, value_name = "NAME")]
    pub role: Vec<String>,
    /// From this date, time (UTC) or record on
    #[arg(long, value_name = "TIME|NUMBER")]
    pub from: Option<Bound>,
    /// Up to, but without, this date, time (UTC) or record
    #[arg(long, value_name = "TIME|NUMBER")]
    pub to: Option<Bound>,
    /// The search_path of sessions, which is not on record [default: "$user", public]
    #[arg(long, value_name = "PATH")]
    pub search_path: Option<String>,
    /// Roles of the other policy that are on trial (`enforce: false`) as if they were in force
    #[arg(long)]
    pub enforced: bool,
    /// How many statements of each kind of change the text shows
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub limit: usize,
    /// Exit with 1 if anything would change
    #[arg(long)]
    pub check: bool,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// # Errors
/// The policy, the catalog or the configuration is wrong, or the record cannot be read.
pub async fn run(args: ReplayArgs) -> Result<ExitCode, CliError> {
    let dir = match &args.audit {
        Some(dir) => dir.clone(),
        None => args.place.settings()?.audit.dir,
    };
    let bench = Bench::new(args.place.policy()?, args.place.catalog().await?)?;
    let span = Span {
        from: args.from.clone(),
        to: args.to.clone(),
    };
    let mut reader = span.reader(&dir).map_err(CliError::environment)?;
    let mut replay = Replay {
        judge: Judge::new(&bench, args.search_path.as_deref(), args.enforced),
        groups: Groups::default(),
        budgets: Budgets::default(),
        seen: Replayed {
            enforced: args.enforced,
            ..Replayed::default()
        },
    };
    let mut beyond = Beyond::default();
    let work = Work::new("records read");
    let mut read = 0u64;
    let ran = loop {
        let line = match reader.next() {
            Ok(Some(line)) => line,
            Ok(None) => break Ok(()),
            Err(error) => {
                break Err(CliError::Environment(format!(
                    "{error}; `pgveil audit verify` says what is wrong with the record"
                )));
            }
        };
        read += 1;
        if read.is_multiple_of(PROGRESS) {
            work.at(
                read,
                format!("{} different statements", replay.groups.len()),
            );
        }
        let Ok(entry) = line.entry() else { continue };
        if beyond.has_come(&span, &entry) {
            break Ok(());
        }
        let wanted = args.role.is_empty()
            || entry
                .role
                .as_ref()
                .is_some_and(|role| args.role.contains(role));
        if span.contains(&entry) && wanted {
            replay.take(&entry).await;
        }
    };
    work.done();
    ran?;
    let Replay { groups, seen, .. } = replay;
    let changed = groups.changed().any(|group| group.change() != Change::None);
    let texts = groups.into_sorted();
    print(&match args.format {
        OutputFormat::Text => report::text(&bench, &seen, &texts, args.limit),
        OutputFormat::Json => report::json(&bench, &seen, &texts),
    })?;
    Ok(match args.check && changed {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    })
}

struct Replay<'a> {
    judge: Judge<'a>,
    groups: Groups,
    budgets: Budgets,
    seen: Replayed,
}

impl Replay<'_> {
    async fn take(&mut self, entry: &Entry) {
        if !["statement", "refusal", "export_stop"].contains(&entry.event.as_str()) {
            return;
        }
        if entry.database.as_deref() != Some(self.judge.database()) {
            self.seen.elsewhere += 1;
            return;
        }
        self.seen.statements += 1;
        if self.seen.first.is_none() {
            self.seen.first = Some(entry.time.clone());
        }
        self.seen.last = Some(entry.time.clone());
        let standing = self.judge.standing(entry);
        let meets = match self.groups.find(entry, &standing) {
            Taken::Known(meets) => meets,
            Taken::New => {
                let meets = self.judge.meets(entry, &standing).await;
                self.groups.know(entry, &standing, meets)
            }
            Taken::TooMany => {
                self.seen.beyond += 1;
                return;
            }
        };
        let stopped = match self.judge.limits(&meets) {
            Some(limits) => self.budgets.stops(entry, &limits),
            None => None,
        };
        self.groups.count(entry, &standing, stopped);
    }
}

/// How often something was found, by what it is.
pub type Counts = BTreeMap<String, u64>;
