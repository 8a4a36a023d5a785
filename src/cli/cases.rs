//! `pgveil test`: whether a policy does with statements what was written down beside it.
mod file;
mod judge;
mod report;
mod rows;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};

use super::bench::{self, Bench, CatalogArgs};
use super::{CliError, EXIT_FAILED, print};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy;
use file::{Case, Cases};
use report::{Outcome, Tried};
use rows::Fixture;

/// Try a policy on statements whose outcome is written down
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil test policies/tests/crm.yaml\n  \
    pgveil test policies/tests --format junit > report.xml\n  \
    pgveil test policies/tests/crm.yaml --database-url postgres://tester@localhost/scratch   rows, too\n  \
    pgveil test policies/tests/crm.yaml --config pgveil.yaml --database crm                  against the live catalog\n\n\
    Exit code 1 if a case fails. docs/policy-tools.md says how cases are written.")]
pub struct TestArgs {
    /// Files of cases, or folders of which every *.yaml file is one
    #[arg(required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub place: CatalogArgs,
    /// A private database where the rows that cases expect are looked at; everything done there is rolled back
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ReportFormat {
    #[default]
    Text,
    /// Test Anything Protocol, version 13
    Tap,
    /// XML as JUnit's, for CI
    Junit,
}

/// # Errors
/// A file of cases, the policy or the catalog is wrong, or the database cannot be reached.
pub async fn run(args: TestArgs) -> Result<ExitCode, CliError> {
    let mut tried = Vec::new();
    for path in files(&args.files)? {
        let cases = file::load(&path)?;
        try_file(&args, &cases, &mut tried).await?;
    }
    print(&report::text(&tried, args.format))?;
    let failed = tried
        .iter()
        .any(|tried| matches!(tried.outcome, Outcome::Failed(_)));
    Ok(match failed {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    })
}

fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let fail = |message: String| Diagnostics::from(Diagnostic::file(path, message));
        let entries = std::fs::read_dir(path)
            .map_err(|error| fail(format!("the folder cannot be read: {error}")))?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|file| {
                file.extension()
                    .is_some_and(|ext| ext == "yaml" || ext == "yml")
            })
            .collect();
        if found.is_empty() {
            return Err(fail("the folder holds no `*.yaml` file".to_owned()).into());
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

async fn try_file(args: &TestArgs, cases: &Cases, tried: &mut Vec<Tried>) -> Result<(), CliError> {
    let policy = match (&args.place.policy, &cases.policy) {
        (Some(path), _) | (None, Some(path)) => policy::load(path)?,
        (None, None) => args.place.policy()?,
    };
    let live = args.place.catalog.is_some() || args.place.database.is_some();
    let catalog = match &cases.catalog {
        Some(file) if !live => bench::read(file)?,
        _ => args.place.catalog().await?,
    };
    let bench = Bench::new(policy, catalog)?;
    let wants_rows = cases.list.iter().any(|case| case.expect.rows.is_some());
    let fixture = match &args.database_url {
        Some(url) if wants_rows => Some(Fixture::open(url, &cases.fixture).await?),
        _ => None,
    };
    for case in &cases.list {
        let began = Instant::now();
        let outcome = try_case(&bench, fixture.as_ref(), case).await?;
        tried.push(Tried {
            file: cases.file.clone(),
            line: case.line,
            name: case.name.clone(),
            outcome,
            took: began.elapsed(),
        });
    }
    if let Some(fixture) = fixture {
        fixture.close().await;
    }
    Ok(())
}

async fn try_case(
    bench: &Bench,
    fixture: Option<&Fixture>,
    case: &Case,
) -> Result<Outcome, CliError> {
    let (plan, mut wrong) = judge::judged(bench, case).await?;
    let Some(expected) = &case.expect.rows else {
        return Ok(Outcome::of(wrong));
    };
    // Of a refused statement there are none, which has been said.
    let (Some(plan), Some(fixture)) = (plan, fixture) else {
        return Ok(match wrong.is_empty() {
            true => Outcome::Skipped("its rows need a private database: --database-url".to_owned()),
            false => Outcome::Failed(wrong),
        });
    };
    let runs = plan.text.as_deref().unwrap_or(&case.statement);
    wrong.extend(fixture.compare(runs, expected).await);
    Ok(Outcome::of(wrong))
}

/// A path as a file of cases names it: from its own folder on.
fn beside(file: &Path, named: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(named)
}
