//! `pgveil explain`: what would run for a statement, and why.
mod account;
mod told;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::bench::{Bench, CatalogArgs, refusal};
use super::{CliError, EXIT_FAILED, OutputFormat, print};
use account::Account;

/// Show what would run for a statement of a role, what is masked in it, and why
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil explain --config pgveil.yaml --database crm --role agent 'SELECT phone FROM crm.contacts'\n  \
    pgveil explain --config pgveil.yaml --database crm --role agent --file statements.jsonl --format json\n  \
    pgveil explain --catalog crm.catalog.zst --policy next.yaml --role agent 'SELECT 1'     without a server\n\n\
    For each output column: the columns it comes from, their classes, the rule that masks them and what runs in their\n\
    place. For a refusal: the rule, and what to do. The file holds one JSON string per line. Exit code 1 if any statement\n\
    is refused.")]
pub struct ExplainArgs {
    #[command(flatten)]
    pub place: CatalogArgs,
    /// The role of the policy
    #[arg(long, short)]
    pub role: String,
    /// Statements to explain, one JSON string per line; `-` reads standard input
    #[arg(long, short, value_name = "FILE", conflicts_with = "sql")]
    pub file: Option<PathBuf>,
    /// The database user, for `{db_user}` in row rules [default: the role's name]
    #[arg(long, value_name = "NAME")]
    pub db_user: Option<String>,
    /// The person behind it, for `{app_user}` and `{attr.…}` in row rules [default: the database user]
    #[arg(long, value_name = "NAME")]
    pub app_user: Option<String>,
    /// What the statement is for, as it would say itself; a role's own purpose stands before it
    #[arg(long, value_name = "NAME")]
    pub purpose: Option<String>,
    /// The session's search_path, as SET would take it [default: "$user", public]
    #[arg(long, value_name = "PATH")]
    pub search_path: Option<String>,
    /// How the plan is printed; json gives one object per line
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
    /// The statement
    #[arg(required_unless_present = "file")]
    pub sql: Option<String>,
}

/// # Errors
/// The configuration or policy is wrong, the role is not in it, or the catalog cannot be read. A refused statement is no
/// error but exit code 1.
pub async fn run(args: ExplainArgs) -> Result<ExitCode, CliError> {
    let bench = Bench::new(args.place.policy()?, args.place.catalog().await?)?;
    let purpose = args.purpose.as_deref();
    let role = Arc::clone(bench.role(&args.role, purpose, None)?);
    let db_user = args.db_user.as_deref().unwrap_or(&args.role);
    let app_user = args.app_user.as_deref();
    let app_user = app_user.unwrap_or(db_user);
    let facts = Arc::new(bench.facts(db_user, app_user, None, args.search_path.as_deref()));
    let mut refused = false;
    for text in statements(&args)? {
        let text = text?;
        let plan = bench.plan(&role, &facts, &text).await;
        refused |= refusal(&plan).is_some();
        let account = Account::new(&bench, &role, purpose, &facts, &text, &plan)?;
        print(&match args.format {
            OutputFormat::Json => format!("{}\n", told::json(&account)),
            OutputFormat::Text => told::text(&account),
        })?;
    }
    Ok(if refused {
        ExitCode::from(EXIT_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

type Statements = Box<dyn Iterator<Item = Result<String, CliError>> + Send>;

fn statements(args: &ExplainArgs) -> Result<Statements, CliError> {
    let Some(file) = &args.file else {
        return Ok(Box::new(args.sql.clone().into_iter().map(Ok)));
    };
    let name = file.display().to_string();
    let reader: Box<dyn BufRead + Send> = if file == Path::new("-") {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let opened = std::fs::File::open(file)
            .map_err(|error| CliError::Configuration(format!("{name}: {error}")))?;
        Box::new(BufReader::new(opened))
    };
    Ok(Box::new(
        reader
            .lines()
            .enumerate()
            .filter(|(_, line)| !matches!(line, Ok(line) if line.trim().is_empty()))
            .map(move |(index, line)| {
                let line =
                    line.map_err(|error| CliError::Configuration(format!("{name}: {error}")))?;
                serde_json::from_str(&line).map_err(|error| {
                    CliError::Configuration(format!(
                        "{name}:{}: not a JSON string: {error}",
                        index + 1
                    ))
                })
            }),
    ))
}
