//! `pgveil audit report`: what an auditor wants to see of a period, on one page.
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use super::super::work::Work;
use super::super::{CliError, print};
use super::Place;
use crate::audit::classes::Classes;
use crate::audit::key::PublicKey;
use crate::audit::range::{Beyond, Bound, Span};
use crate::audit::report::hours::{Days, Hours, Zone};
use crate::audit::report::{Gathered, Language, Proof, Report, WorkingHours};
use crate::audit::spool::PUBLIC_KEY_FILE;
use crate::audit::verify::{Expectation, VerifyError, verify_with};

/// Records between two words about how far a report is.
const PROGRESS: u64 = 20_000;

/// Write a report on a period: who read which classes of data, exports and their approvals, refusals, and more
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil audit report --config pgveil.yaml --from 2026-11-01 --to 2026-12-01 --out november.html\n  \
    pgveil audit report --dir var/audit --public-key auditor/signing.pub --csv november/ --lang zh\n  \
    pgveil audit report --hours 09:00-18:00 --days mon-sat --zone +08:00 --out report.html\n\n\
    One HTML file that needs no other, made to be printed; tables as CSV files with --csv. The whole chain is checked\n\
    first, and the page begins with what came of it. Without --out and --csv the page goes to standard output.")]
pub struct ReportArgs {
    #[command(flatten)]
    pub place: Place,
    /// From this date, time (UTC) or record on
    #[arg(long, value_name = "TIME|NUMBER")]
    pub from: Option<Bound>,
    /// Up to, but without, this date, time (UTC) or record
    #[arg(long, value_name = "TIME|NUMBER")]
    pub to: Option<Bound>,
    /// Where the page goes
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// A folder for the tables, as CSV files
    #[arg(long, value_name = "DIR")]
    pub csv: Option<PathBuf>,
    /// In which language
    #[arg(long, value_enum, default_value_t = Tag::En)]
    pub lang: Tag,
    /// Working hours; what happens at other times is listed
    #[arg(long, value_name = "HH:MM-HH:MM", default_value = "08:00-18:00")]
    pub hours: Hours,
    /// Working days
    #[arg(long, value_name = "DAYS", default_value = "mon-fri")]
    pub days: Days,
    /// The distance of the place's clocks from UTC; times are shown by these
    #[arg(
        long,
        value_name = "ZONE",
        default_value = "Z",
        allow_hyphen_values = true
    )]
    pub zone: Zone,
    /// A public key that checkpoints may be signed with; may be repeated [default: signing.pub beside the segments]
    #[arg(long, value_name = "FILE")]
    pub public_key: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tag {
    En,
    Zh,
}

/// # Errors
/// The configuration is wrong, the segments cannot be read, or the report cannot be written. A broken chain is said in
/// the report.
pub fn run(args: &ReportArgs) -> Result<ExitCode, CliError> {
    let (dir, classes) = args.place.dir_and_classes()?;
    let hours = WorkingHours {
        hours: args.hours,
        days: args.days,
        zone: args.zone,
    };
    let span = Span {
        from: args.from.clone(),
        to: args.to.clone(),
    };
    let proof = prove(&dir, &args.public_key)?;
    let (gathered, stopped) = gather(&dir, &span, &classes, &hours)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let report = Report {
        gathered: &gathered,
        proof,
        span,
        hours,
        language: match args.lang {
            Tag::En => Language::English,
            Tag::Zh => Language::Chinese,
        },
        made: since.map_or(0, |since| since.as_secs()),
        stopped,
        has_policy: !classes.is_empty(),
        place: dir.display().to_string(),
    };
    if let Some(folder) = &args.csv {
        write_tables(folder, &report)?;
    }
    match (&args.out, &args.csv) {
        (Some(path), _) => {
            let html = report.html().map_err(CliError::environment)?;
            fs::write(path, html).map_err(|error| unwritable(path, &error))?;
        }
        (None, None) => print(&report.html().map_err(CliError::environment)?)?,
        (None, Some(_)) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks the whole chain, whatever the period: a report on a part of a broken record proves nothing.
fn prove(dir: &Path, given: &[PathBuf]) -> Result<Proof, CliError> {
    let beside = dir.join(PUBLIC_KEY_FILE);
    let key_beside = given.is_empty() && beside.exists();
    let files = match key_beside {
        true => std::slice::from_ref(&beside),
        false => given,
    };
    let keys = files.iter().map(|path| PublicKey::read(path));
    let expectation = Expectation {
        keys: keys
            .collect::<Result<Vec<_>, _>>()
            .map_err(CliError::environment)?,
        ..Expectation::default()
    };
    let work = Work::new("records checked");
    let verified = verify_with(dir, &expectation, &mut |progress| {
        let place = format!("segment {} of {}", progress.segment, progress.segments);
        work.at(progress.records, place);
    });
    work.done();
    match verified {
        Ok(report) => Ok(Proof::Sound {
            report: Box::new(report),
            key_beside,
        }),
        Err(broken @ VerifyError::Broken { .. }) => Ok(Proof::Broken(broken.to_string())),
        Err(error) => Err(CliError::environment(error)),
    }
}

/// Counts the period's records; also why it stopped before their end, where it did.
fn gather(
    dir: &Path,
    span: &Span,
    classes: &Classes,
    hours: &WorkingHours,
) -> Result<(Gathered, Option<String>), CliError> {
    let mut reader = span.reader(dir).map_err(CliError::environment)?;
    let (mut gathered, mut beyond) = (Gathered::default(), Beyond::default());
    let work = Work::new("records read");
    let mut read = 0;
    let stopped = loop {
        let line = match reader.next() {
            Ok(Some(line)) => line,
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        };
        read += 1;
        if u64::is_multiple_of(read, PROGRESS) {
            work.at(read, format!("record {}", line.link.seq));
        }
        let Ok(entry) = line.entry() else { continue };
        if beyond.has_come(span, &entry) {
            break None;
        }
        if span.contains(&entry) {
            gathered.take(&entry, classes, hours);
        }
    };
    work.done();
    Ok((gathered, stopped))
}

fn write_tables(folder: &Path, report: &Report<'_>) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    for table in report.tables() {
        let path = folder.join(format!("{}.csv", table.name));
        let written = File::create(&path).and_then(|file| {
            let mut out = BufWriter::new(file);
            table.write_csv(&mut out)?;
            out.flush()
        });
        written.map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Environment(format!("{}: {error}", path.display()))
}
