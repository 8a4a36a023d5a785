//! `pgveil audit incidents`: what may be a breach, and its evidence for somebody else to check.
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::super::{CliError, OutputFormat, print};
use super::Place;
use crate::audit::entry::seconds;
use crate::audit::incident::bundle::{self, Files};
use crate::audit::incident::tar::Archive;
use crate::audit::incident::{self, Closed, Incident, summary};
use crate::audit::key::PublicKey;
use crate::audit::record::rfc3339;
use crate::audit::spool::PUBLIC_KEY_FILE;

/// What may be a breach: list, look, hand on
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Examples:\n  \
    pgveil audit incidents list --config pgveil.yaml\n  \
    pgveil audit incidents export 20261122-4711 --config pgveil.yaml --out incident.tar\n\n\
    A touched honeytoken (a class with `alarm: true`) or a violation opens one. Article 33 of the GDPR gives 72 hours from\n\
    when a breach is known; Article 57 of the PIPL says at once.")]
pub enum IncidentsCommand {
    List(ListArgs),
    Show(ShowArgs),
    Export(ExportArgs),
    Close(CloseArgs),
}

/// All incidents, with the time that is left
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil audit incidents list --config pgveil.yaml")]
pub struct ListArgs {
    #[command(flatten)]
    pub place: Place,
    /// How they are printed; json gives one object per line
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// What is known of an incident
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  pgveil audit incidents show 20261122-4711 --config pgveil.yaml"
)]
pub struct ShowArgs {
    /// The incident
    pub id: String,
    #[command(flatten)]
    pub place: Place,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// Close an incident that was dealt with: its evidence may go when `audit.retain` says so
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  \
    pgveil audit incidents close 20261122-4711 --config pgveil.yaml --reason 'told to the authority, case 0815'\n\n\
    While an incident is open no segment from its first evidence on is removed. Export it first. A further alarm about the\n\
    same person opens another one. Who closed it and why goes on record (event `incident_closed`) by the running proxy, with\n\
    the number of the system's user beside the name.")]
pub struct CloseArgs {
    /// The incident
    pub id: String,
    #[command(flatten)]
    pub place: Place,
    /// Who closes it [default: the user of the session]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// How it ended
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Put an incident's evidence together: the records, what proves them, a summary, and how to check it all
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil audit incidents export 20261122-4711 --config pgveil.yaml --out incident.tar\n  \
    pgveil audit incidents export 20261122-4711 --dir var/audit --out evidence/\n\n\
    Every record is checked on the way. The runs of the chain that prove it hold the records of other people, too, from\n\
    the moments between the evidence and the next checkpoint: no values, but who did what. Hand it on accordingly.\n\
    Exit code 1 if the record does not hold the evidence as it was.")]
pub struct ExportArgs {
    /// The incident
    pub id: String,
    #[command(flatten)]
    pub place: Place,
    /// An archive (.tar), or a folder that does not exist yet
    #[arg(long, value_name = "FILE|DIR")]
    pub out: PathBuf,
    /// The public key of the signatures [default: signing.pub beside the segments]
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
}

/// # Errors
/// The configuration is wrong, there is no such incident, or the record does not hold its evidence any more.
pub fn run(command: &IncidentsCommand) -> Result<ExitCode, CliError> {
    match command {
        IncidentsCommand::List(args) => {
            let dir = args.place.dir()?;
            let incidents = incident::list(&dir).map_err(CliError::environment)?;
            let incidents: Vec<Known> = incidents
                .into_iter()
                .map(|incident| Known::of(&dir, incident))
                .collect::<Result<_, _>>()?;
            print(&match args.format {
                OutputFormat::Text => listed(&incidents, now()),
                OutputFormat::Json => incidents.iter().map(json).collect::<Result<_, _>>()?,
            })?;
        }
        IncidentsCommand::Show(args) => {
            let incident = find(&args.place, &args.id)?;
            print(&match args.format {
                OutputFormat::Text => shown(&incident, now()),
                OutputFormat::Json => json(&incident)?,
            })?;
        }
        IncidentsCommand::Export(args) => export(args)?,
        IncidentsCommand::Close(args) => close(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An incident, and how it ended.
#[derive(Serialize)]
struct Known {
    #[serde(flatten)]
    incident: Incident,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed: Option<Closed>,
}

impl Known {
    fn of(dir: &Path, incident: Incident) -> Result<Known, CliError> {
        let closed = incident::closed(dir, &incident.id).map_err(CliError::environment)?;
        Ok(Known { incident, closed })
    }
}

fn find(place: &Place, id: &str) -> Result<Known, CliError> {
    let dir = place.dir()?;
    let incident = incident::find(&dir, id).map_err(CliError::environment)?;
    Known::of(&dir, incident)
}

fn close(args: &CloseArgs) -> Result<(), CliError> {
    let dir = args.place.dir()?;
    let incident = incident::find(&dir, &args.id).map_err(CliError::environment)?;
    let user = || std::env::var("USER").ok().filter(|user| !user.is_empty());
    let closed = Closed {
        at: rfc3339(SystemTime::now()),
        by: args
            .by
            .clone()
            .or_else(user)
            .unwrap_or_else(|| "-".to_owned()),
        reason: args.reason.clone(),
    };
    incident::close(&dir, &incident, &closed).map_err(CliError::environment)?;
    print(&format!(
        "incident {} is closed; `pgveil serve` puts it on record within seconds, or when it starts\n",
        incident.id
    ))
}

fn json(incident: &Known) -> Result<String, CliError> {
    let line = serde_json::to_string(incident).map_err(CliError::environment)?;
    Ok(line + "\n")
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// How much of the time to tell the authority is left.
fn left(incident: &Incident, now: u64) -> String {
    let by = seconds(&incident.notify_by).unwrap_or(0);
    match by.checked_sub(now) {
        Some(left) => format!("{} h {} min left", left / 3600, left / 60 % 60),
        None => "the time is over".to_owned(),
    }
}

fn listed(incidents: &[Known], now: u64) -> String {
    if incidents.is_empty() {
        return "no incidents\n".to_owned();
    }
    let mut text = String::new();
    for Known { incident, closed } in incidents {
        let ends = match closed {
            Some(closed) => format!("closed {} by {}", minute(&closed.at), plain(&closed.by)),
            None => format!(
                "tell by {} ({})",
                minute(&incident.notify_by),
                left(incident, now)
            ),
        };
        text += &format!(
            "{:<16} {} {:<10} {:<16} {:>4} records  {ends}\n",
            incident.id,
            minute(&incident.opened),
            incident.kind,
            plain(&incident.person),
            incident.evidence.len() as u64 + incident.evidence_beyond,
        );
    }
    text
}

fn shown(Known { incident, closed }: &Known, now: u64) -> String {
    let mut text = format!(
        "Incident {} ({}), opened {}\nThe authority is to be told by {} ({}); PIPL, Article 57, says at once.\n\n{}\n\n",
        incident.id,
        incident.kind,
        minute(&incident.opened),
        minute(&incident.notify_by),
        left(incident, now),
        summary::what(incident)
    );
    for (name, value) in summary::facts(incident) {
        text += &format!("{name:<36} {}\n", plain(&value));
    }
    if let Some(closed) = closed {
        text += &format!(
            "{:<36} {} by {}",
            "Closed",
            minute(&closed.at),
            plain(&closed.by)
        );
        text += &closed
            .reason
            .as_deref()
            .map_or_else(String::new, |reason| format!(": {}", plain(reason)));
        text += "\n";
    }
    for message in &incident.messages {
        text += &format!("\n* {}", plain(message));
    }
    text + &format!(
        "\n\npgveil audit incidents export {} --out incident.tar     puts the evidence together\n",
        incident.id
    )
}

fn minute(time: &str) -> String {
    let minute = time.get(..16).unwrap_or(time).replace('T', " ");
    minute + " UTC"
}

/// Names are of clients' choosing: nothing of them acts on a terminal.
fn plain(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

fn export(args: &ExportArgs) -> Result<(), CliError> {
    let dir = args.place.dir()?;
    let incident = incident::find(&dir, &args.id).map_err(CliError::environment)?;
    let beside = dir.join(PUBLIC_KEY_FILE);
    let path = args.public_key.as_deref().unwrap_or(&beside);
    let key = PublicKey::read(path).map_err(CliError::environment)?;
    let failed =
        |error: io::Error| CliError::Environment(format!("{}: {error}", args.out.display()));
    let runs = match args
        .out
        .extension()
        .is_some_and(|extension| extension == "tar")
    {
        true => {
            let file = open(&args.out).map_err(failed)?;
            let mut archive = Tar {
                archive: Archive::new(BufWriter::new(file), now()),
                folder: format!("incident-{}", incident.id),
            };
            let runs = bundle::write(&dir, &incident, &key, &mut archive);
            let runs = runs.map_err(CliError::environment)?;
            archive.archive.finish().map_err(failed)?;
            runs
        }
        false => {
            make(&args.out).map_err(failed)?;
            let mut folder = Folder(&args.out);
            bundle::write(&dir, &incident, &key, &mut folder).map_err(CliError::environment)?
        }
    };
    let evidence = incident.evidence.len();
    let text = match summary::is_covered(&runs) {
        true => format!(
            "{evidence} records, each proven up to a checkpoint signed by key {}\n",
            key.id()
        ),
        false => format!(
            "{evidence} records; not all of them are covered by a signature of key {} yet: export again in a few seconds\n",
            key.id()
        ),
    };
    print(&format!("{}: {text}", args.out.display()))
}

/// For the owner alone, and never over something that is there.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

struct Folder<'p>(&'p Path);

impl Files for Folder<'_> {
    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        open(&path)?.write_all(bytes)
    }
}

struct Tar<W> {
    archive: Archive<W>,
    folder: String,
}

impl<W: Write> Files for Tar<W> {
    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.archive.file(&format!("{}/{name}", self.folder), bytes)
    }
}
