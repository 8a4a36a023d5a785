//! `pgveil explain`: what would run for a statement, and why.
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::serve::catalogs;
use super::{CliError, EXIT_FAILED, ExplainArgs, OutputFormat, print};
use crate::catalog::Catalog;
use crate::config;
use crate::policy;
use crate::policy::compiled::RolePolicy;
use crate::policy::mask::quote_identifier;
use crate::sql::Planner;
use crate::sql::plan::{Plan, Refusal, SessionFacts, StatementPlan, Verdict};

/// PostgreSQL's default; a session's own path may differ.
const SEARCH_PATH: &str = "\"$user\", public";
/// The plan cache of one run, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// # Errors
/// The configuration or policy is wrong, the role is not in it, or the catalog cannot be read. A refused statement is no
/// error but exit code 1.
pub async fn run(args: ExplainArgs) -> Result<ExitCode, CliError> {
    let settings = config::load(&args.config)?;
    let policy = policy::load(&settings.policies)?;
    let store = catalogs::store(&settings)?;
    let catalog = store
        .get(&args.database)
        .await
        .map_err(CliError::environment)?;
    let (compiled, findings) = policy.compile(&catalog);
    if findings.has_errors() {
        return Err(CliError::Findings(findings));
    }
    let Some(role) = compiled.roles.get(args.role.as_str()) else {
        let mut known: Vec<&str> = compiled.roles.keys().map(|name| &**name).collect();
        known.sort_unstable();
        return Err(CliError::Configuration(format!(
            "no role `{}` in the policy; it has {}",
            args.role,
            known.join(", ")
        )));
    };
    let bench = Bench {
        planner: Planner::new(CACHE_BYTES, 1).map_err(CliError::environment)?,
        catalog,
        role: Arc::clone(role),
        facts: Arc::new(SessionFacts {
            values: Arc::default(),
            search_path: args
                .search_path
                .clone()
                .unwrap_or_else(|| SEARCH_PATH.to_owned()),
            user: args.role.clone(),
            ..SessionFacts::default()
        }),
    };
    let mut refused = false;
    for text in statements(&args)? {
        let text = text?;
        let plan = bench.plan(&text).await;
        refused |= refusal(&plan).is_some();
        print(&match args.format {
            OutputFormat::Json => format!("{}\n", bench.json(&text, &plan)),
            OutputFormat::Text => bench.text(&text, &plan),
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

struct Bench {
    planner: Planner,
    catalog: Arc<Catalog>,
    role: Arc<RolePolicy>,
    facts: Arc<SessionFacts>,
}

impl Bench {
    async fn plan(&self, text: &str) -> Arc<Plan> {
        self.planner
            .plan(
                text.into(),
                Arc::clone(&self.catalog),
                Arc::clone(&self.role),
                Arc::clone(&self.facts),
            )
            .await
    }

    /// One object for the text. Of several statements the first refused one gives verdict and reason.
    fn json(&self, text: &str, plan: &Plan) -> Value {
        let reason = refusal(plan);
        json!({
            "verdict": verdict(plan),
            "reason": reason.map(|refusal| refusal.reason.label()),
            "message": reason.map(|refusal| refusal.message.as_str()),
            "detail": reason.map(|refusal| refusal.detail.as_str()),
            "hint": reason.map(|refusal| refusal.hint.as_str()),
            "sqlstate": reason.map(|refusal| refusal.sqlstate),
            "position": reason.and_then(|refusal| refusal.position),
            "sql": reason.is_none().then(|| plan.text.as_deref().unwrap_or(text)),
            "columns": self.columns(plan),
            "reads": gathered(plan, |statement| &statement.reads),
            "writes": gathered(plan, |statement| &statement.writes),
        })
    }

    fn text(&self, text: &str, plan: &Plan) -> String {
        let mut out = format!("statement: {text}\nverdict:   {}\n", verdict(plan));
        match refusal(plan) {
            Some(refusal) => {
                out.push_str(&format!(
                    "reason:    {} ({})\nrule:      {}\n",
                    refusal.message,
                    refusal.reason.label(),
                    refusal.detail
                ));
                if !refusal.hint.is_empty() {
                    out.push_str(&format!("hint:      {}\n", refusal.hint));
                }
            }
            None => out.push_str(&format!(
                "runs:      {}\n",
                plan.text.as_deref().unwrap_or(text)
            )),
        }
        for column in self.columns(plan) {
            let field = |name: &str| column.get(name).and_then(Value::as_str).unwrap_or("");
            out.push_str(&format!(
                "masked:    {} ({})\n",
                field("column"),
                field("class")
            ));
        }
        out.push('\n');
        out
    }

    /// The masked columns that the text reaches, each with its class and the expression that is read in its place.
    fn columns(&self, plan: &Plan) -> Vec<Value> {
        gathered(plan, |statement| &statement.masked)
            .into_iter()
            .map(|column| {
                let mask = self.mask(column);
                json!({
                    "column": column,
                    "class": mask.as_ref().map(|(_, class)| &**class),
                    "mask": mask.map(|(sql, _)| sql),
                })
            })
            .collect()
    }

    /// SQL and class of a masked column's mask.
    fn mask(&self, column: &str) -> Option<(String, Arc<str>)> {
        self.role.masks.iter().find_map(|(oid, masks)| {
            let relation = self.catalog.relations.get(oid)?;
            let name = column
                .strip_prefix(&relation.full_name())?
                .strip_prefix('.')?;
            let mask = masks.get(&relation.column(name)?.num)?;
            Some((
                mask.sql.over(&quote_identifier(name)),
                Arc::clone(&mask.class),
            ))
        })
    }
}

fn refusal(plan: &Plan) -> Option<&Refusal> {
    plan.statements
        .iter()
        .find_map(|statement| match &statement.verdict {
            Verdict::Refuse(refusal) => Some(refusal),
            Verdict::Pass | Verdict::Rewrite => None,
        })
}

fn verdict(plan: &Plan) -> &'static str {
    match (refusal(plan), &plan.text) {
        (Some(_), _) => "refuse",
        (None, Some(_)) => "rewrite",
        (None, None) => "pass",
    }
}

fn gathered<'a>(plan: &'a Plan, list: impl Fn(&'a StatementPlan) -> &'a [String]) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for name in plan.statements.iter().flat_map(list) {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    all
}
