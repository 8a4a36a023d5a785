//! `pgveil scan`: which columns of a database hold sensitive data, and a policy for them.
mod target;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};

use self::target::Target;
use super::work::Work;
use super::{CliError, EXIT_FAILED, print};
use crate::catalog::{self, Catalog};
use crate::policy::pattern::ColumnPattern;
use crate::policy::{self, PolicySet};
use crate::scan::read::{self, Limits};
use crate::scan::report::{Found, Unread};
use crate::scan::survey::{self, Sampling, Table};
use crate::scan::{Class, Finding, Kind, Preset, Report, Sample, document, look, propose};

/// Find the columns that hold sensitive data, and propose a policy for them
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil scan --database postgres://scanner@db.example.com/crm\n  \
    pgveil scan --database crm --config pgveil.yaml --out policies/crm.yaml\n  \
    pgveil scan --database crm --preset gdpr --preset pci --format policy\n  \
    pgveil scan --database crm --check --ignore 'crm.companies.*'       for CI: is all of it in a class?\n\n\
    What is read: names, types and comments; of each table at most --rows rows, in a READ ONLY transaction\n\
    that ends after --timeout. The user needs SELECT on what is to be sampled; of the rest names are looked at.\n\
    No value is printed or written. A password comes from the address, or from PGPASSWORD.\n\n\
    Exit codes: 0 done, 1 the database cannot be read or, with --check, a column that looks sensitive is in no class,\n\
    2 wrong usage or configuration.")]
pub struct ScanArgs {
    /// The database: its address (postgres://USER@HOST/NAME), or its name on the server of --config
    #[arg(long, short, value_name = "NAME|URL")]
    pub database: String,
    /// The configuration file: where the server is, and its policy for --check
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Exit with 1 if a column that looks sensitive is in no class of the policy
    #[arg(long)]
    pub check: bool,
    /// The policy for --check, a file or a folder [default: that of --config]
    #[arg(long, value_name = "PATH", requires = "check")]
    pub policy: Option<PathBuf>,
    /// Columns to leave out, as a policy names them; may be repeated
    #[arg(long, value_name = "SCHEMA.TABLE.COLUMN")]
    pub ignore: Vec<String>,
    /// Levels and masks of a law or standard, and what it is about; may be repeated
    #[arg(long, value_name = "NAME", value_parser = ["gdpr", "pipl", "pci"])]
    pub preset: Vec<String>,
    /// Leave out what is less sure than this, from 0 to 1
    #[arg(long, value_name = "NUMBER", default_value_t = 0.6, value_parser = share)]
    pub min_confidence: f64,
    /// Most rows of a table that are looked at
    #[arg(long, value_name = "COUNT", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rows: u32,
    /// The longest that reading from one table may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub timeout: Duration,
    /// Read no values: look at names, types and comments only
    #[arg(long)]
    pub no_sample: bool,
    /// What is printed: the report (text or json), or the policy
    #[arg(long, value_enum, default_value_t = ScanFormat::Text)]
    pub format: ScanFormat,
    /// Write the proposed policy to a file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ScanFormat {
    #[default]
    Text,
    Json,
    Policy,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(limit) if (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&limit) => {
            Ok(limit)
        }
        Ok(_) => Err("expected 10ms to 1h".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// # Errors
/// The command line or the policy is wrong, or the database cannot be reached. A table that cannot be read is no error.
pub async fn run(args: ScanArgs) -> Result<ExitCode, CliError> {
    let ignored = patterns(&args.ignore)?;
    let presets = presets(&args.preset)?;
    let target = Target::of(&args)?;
    let policy = match (args.check, target.policies(&args)) {
        (true, Some(path)) => Some(policy::load(&path)?),
        (true, None) => {
            return Err(CliError::Configuration(
                "--check needs a policy: name one with --policy, or a configuration with --config"
                    .to_owned(),
            ));
        }
        (false, _) => None,
    };
    refuse_to_overwrite(&args)?;

    let client = target.connect().await?;
    let catalog = catalog::load(&client)
        .await
        .map_err(CliError::environment)?;
    let details = read::details(&client)
        .await
        .map_err(CliError::environment)?;
    let mut tables = survey::tables(&catalog, &details, this_year());
    for table in &mut tables {
        let relation = &table.relation;
        table.columns.retain(|target| {
            !ignored.iter().any(|pattern| {
                pattern.matches_relation(relation) && pattern.column.matches(&target.column.name)
            })
        });
    }
    tables.retain(|table| !table.columns.is_empty());

    let mut report = Report {
        database: catalog.database.clone(),
        tables: tables.len(),
        columns: tables.iter().map(|table| table.columns.len()).sum(),
        names_only: args.no_sample,
        min_confidence: args.min_confidence,
        checked: args.check,
        ..Report::default()
    };
    let work = Work::of(tables.len() as u64, "relations looked at");
    let mut lost = false;
    for (done, table) in (0..).zip(tables) {
        work.at(done, table.relation.full_name());
        let samples = match args.no_sample || lost {
            true => vec![Sample::default(); table.columns.len()],
            false => samples(&client, &table, &args, &mut report, &mut lost).await,
        };
        if lost {
            report
                .unread
                .push(unread(&table, None, &read::Unread::Lost.to_string()));
        }
        // Patterns by the thousand are no work for a thread that looks after sockets.
        let least = args.min_confidence;
        let found = tokio::task::spawn_blocking(move || look_at(table, &samples, least))
            .await
            .map_err(CliError::environment)?;
        report.found.extend(found);
    }
    work.done();
    report
        .found
        .retain(|found| propose::in_scope(found, &presets));
    if let Some(policy) = &policy {
        compare(&mut report, policy, &catalog);
    }
    if report.unread.iter().any(|unread| unread.columns.is_none()) && args.check {
        eprintln!("warning: some tables could not be read; of them names alone were looked at");
    }
    finish(&args, &report, &presets)
}

fn finish(
    args: &ScanArgs,
    report: &Report,
    presets: &[&'static Preset],
) -> Result<ExitCode, CliError> {
    if let Some(path) = &args.out {
        let failed =
            |error: std::io::Error| CliError::Environment(format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut file = std::fs::File::create_new(path).map_err(failed)?;
        let text = propose::policy(report, presets);
        file.write_all(text.as_bytes()).map_err(failed)?;
    }
    match args.format {
        ScanFormat::Text => print(&report.text())?,
        ScanFormat::Json => print(&format!("{}\n", report.json()))?,
        ScanFormat::Policy => print(&propose::policy(report, presets))?,
    }
    if let (Some(path), ScanFormat::Text) = (&args.out, args.format) {
        print(&format!("the proposed policy is in {}\n", path.display()))?;
    }
    Ok(match args.check && report.unclassified().next().is_some() {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    })
}

fn patterns(ignore: &[String]) -> Result<Vec<ColumnPattern>, CliError> {
    let read = |text: &String| {
        ColumnPattern::parse(text).ok_or_else(|| {
            CliError::Configuration(format!(
                "--ignore `{text}`: expected `schema.table.column`, each of which may hold `*`"
            ))
        })
    };
    ignore.iter().map(read).collect()
}

fn presets(names: &[String]) -> Result<Vec<&'static Preset>, CliError> {
    let names = match names.is_empty() {
        true => vec!["default"],
        false => names.iter().map(String::as_str).collect(),
    };
    let named = |name: &str| {
        Preset::named(name).ok_or_else(|| CliError::Configuration(format!("no preset `{name}`")))
    };
    names.into_iter().map(named).collect()
}

fn refuse_to_overwrite(args: &ScanArgs) -> Result<(), CliError> {
    match &args.out {
        Some(path) if path.exists() => Err(CliError::Configuration(format!(
            "{} exists; --out writes to a new file",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// By the clock of this machine; ages need no more.
fn this_year() -> i32 {
    const SECONDS_OF_A_YEAR: u64 = 31_556_952;
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    1970 + i32::try_from(since.as_secs() / SECONDS_OF_A_YEAR).unwrap_or(0)
}

fn unread(table: &Table, columns: Option<usize>, why: &str) -> Unread {
    Unread {
        table: table.relation.full_name(),
        columns,
        why: why.to_owned(),
    }
}

/// A sample for each column of the table, empty for those that are not read; what was not, and why, goes to the report.
async fn samples(
    client: &tokio_postgres::Client,
    table: &Table,
    args: &ScanArgs,
    report: &mut Report,
    lost: &mut bool,
) -> Vec<Sample> {
    let mut samples = vec![Sample::default(); table.columns.len()];
    match table.sampling {
        Sampling::Sampled => {}
        Sampling::Foreign => {
            report
                .unread
                .push(unread(table, None, "its rows are on another server"));
            return samples;
        }
        Sampling::View => {
            let why = "a view that cannot be traced to tables; reading it may run anything";
            report
                .unread
                .push(unread(table, Some(table.columns.len()), why));
            return samples;
        }
    }
    let (readable, denied): (Vec<usize>, Vec<usize>) = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, target)| target.printable)
        .map(|(place, _)| place)
        .partition(|place| {
            table
                .columns
                .get(*place)
                .is_some_and(|target| target.readable)
        });
    if !denied.is_empty() {
        let columns = (!readable.is_empty()).then_some(denied.len());
        report
            .unread
            .push(unread(table, columns, &read::Unread::Denied.to_string()));
    }
    if readable.is_empty() {
        return samples;
    }
    let limits = Limits {
        rows: args.rows,
        timeout: args.timeout,
    };
    let columns: Vec<&survey::Target> = readable
        .iter()
        .filter_map(|place| table.columns.get(*place))
        .collect();
    match read::sample(client, table, &columns, limits).await {
        Ok(read) => {
            for (place, sample) in readable.into_iter().zip(read) {
                report.sampled += usize::from(!sample.values.is_empty());
                report.oversized += sample.oversized;
                if let Some(own) = samples.get_mut(place) {
                    *own = sample;
                }
            }
        }
        Err(why) => {
            *lost = why == read::Unread::Lost;
            if !*lost {
                report.unread.push(unread(table, None, &why.to_string()));
            }
        }
    }
    samples
}

fn look_at(table: Table, samples: &[Sample], least: f64) -> Vec<Found> {
    let mut found = Vec::new();
    for (target, sample) in table.columns.into_iter().zip(samples) {
        let subject = &target.subject;
        let mut within = Vec::new();
        let finding = match (subject.kind, target.array) {
            (Kind::Document, false) => {
                within = document::look_within(subject, sample);
                within.retain(|within| within.finding.confidence >= least);
                documents(&within)
            }
            // Arrays of documents: their elements are documents.
            (Kind::Document, true) => None,
            (_, true) => look(subject, &document::elements(sample)),
            (_, false) => look(subject, sample),
        };
        let Some(finding) = finding.filter(|finding| finding.confidence >= least) else {
            continue;
        };
        found.push(Found {
            schema: table.relation.schema.clone(),
            table: table.relation.name.clone(),
            column: target.column.name,
            data_type: target.data_type,
            finding,
            within,
            also: target.also,
            classes: Vec::new(),
        });
    }
    found
}

/// A document is as sensitive as the surest of what is in it.
fn documents(within: &[document::Within]) -> Option<Finding> {
    let confidence = within
        .iter()
        .map(|within| within.finding.confidence)
        .max_by(f64::total_cmp)?;
    Some(Finding {
        class: Class::named("document")?,
        confidence,
        evidence: Vec::new(),
    })
}

fn compare(report: &mut Report, policy: &PolicySet, catalog: &Catalog) {
    let classified = policy.classified(catalog);
    for found in &mut report.found {
        let cell = catalog
            .relation(&found.schema, &found.table)
            .and_then(|relation| Some((relation.oid, relation.column(&found.column)?.num)));
        let classes = cell.and_then(|cell| classified.get(&cell));
        found.classes = classes
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
    }
}
