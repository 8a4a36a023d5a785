//! `pgveil approvals`: requests for exports, from the command line, over the console's API.
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::console_client::{ConsoleArgs, ConsoleClient, segment, table};
use super::{CliError, OutputFormat, print};

/// See, approve and reject requests for exports
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Examples:\n  \
    export PGVEIL_CONSOLE_URL=https://approvals.example.com PGVEIL_TOKEN=pgveil_...\n  \
    pgveil approvals list\n  \
    pgveil approvals show 7f3a81c0\n  \
    pgveil approvals approve 7f3a81c0 --seen 1 --rows 5000 --comment 'audit of November'")]
pub enum ApprovalsCommand {
    List(ListArgs),
    Show(ShowArgs),
    Approve(ApproveArgs),
    Reject(RejectArgs),
}

#[derive(Debug, Clone, Args)]
pub struct Common {
    #[command(flatten)]
    console: ConsoleArgs,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
}

/// List requests
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil approvals list\n  \
    pgveil approvals list --state all --format json")]
pub struct ListArgs {
    /// pending, all, or one of requested, approved, granted, used, expired, rejected, withdrawn, void
    #[arg(long, default_value = "pending")]
    state: String,
    #[command(flatten)]
    common: Common,
}

/// Show one request: who asks for what, why, and who has signed
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil approvals show 7f3a81c0")]
pub struct ShowArgs {
    /// The request
    id: String,
    #[command(flatten)]
    common: Common,
}

/// Sign a request, as you have read it
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil approvals approve 7f3a81c0 --seen 1\n  \
    pgveil approvals approve 7f3a81c0 --seen 2 --rows 5000 --clear phone --comment 'as agreed'")]
pub struct ApproveArgs {
    /// The request
    id: String,
    /// Rows at most [default: as many as the policy lets be granted]
    #[arg(long, value_name = "ROWS")]
    rows: Option<u64>,
    /// Classes that may leave unmasked, where the policy lets them
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    clear: Vec<String>,
    /// Stands on the audit record
    #[arg(long, value_name = "WORDS")]
    comment: Option<String>,
    /// The steps of the request that you have read, as `pgveil approvals show` counts them
    #[arg(long, value_name = "STEPS")]
    seen: usize,
    /// The group to sign for [default: the first that waits for you]
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Refuse a request for good
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil approvals reject 7f3a81c0 --comment 'not needed'")]
pub struct RejectArgs {
    /// The request
    id: String,
    /// Stands on the audit record
    #[arg(long, value_name = "WORDS")]
    comment: Option<String>,
    /// The steps of the request that you have read [default: whatever happened since]
    #[arg(long, value_name = "STEPS")]
    seen: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// # Errors
/// The console cannot be reached, or its answer is no.
pub async fn run(command: ApprovalsCommand) -> Result<ExitCode, CliError> {
    match command {
        ApprovalsCommand::List(args) => {
            if !args.state.chars().all(|c| c.is_ascii_lowercase()) {
                return Err(CliError::Configuration(format!(
                    "`{}` is no state",
                    args.state
                )));
            }
            let path = format!("/requests?state={}", args.state);
            let answer = call(&args.common, Method::GET, &path, None).await?;
            match args.common.format {
                OutputFormat::Json => print(&format!("{answer}\n"))?,
                OutputFormat::Text => print(&listed(&answer))?,
            }
        }
        ApprovalsCommand::Show(args) => {
            let path = format!("/requests/{}", segment(&args.id)?);
            let answer = call(&args.common, Method::GET, &path, None).await?;
            show(&args.common, &answer)?;
        }
        ApprovalsCommand::Approve(args) => {
            let path = format!("/requests/{}/approve", segment(&args.id)?);
            let decision = json!({
                "seen": args.seen,
                "rows": args.rows,
                "clear": args.clear,
                "comment": args.comment,
                "group": args.group,
            });
            let answer = call(&args.common, Method::POST, &path, Some(&decision)).await?;
            show(&args.common, &answer)?;
        }
        ApprovalsCommand::Reject(args) => {
            let path = format!("/requests/{}/reject", segment(&args.id)?);
            let body = json!({ "comment": args.comment, "seen": args.seen });
            let answer = call(&args.common, Method::POST, &path, Some(&body)).await?;
            show(&args.common, &answer)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn call(
    common: &Common,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, CliError> {
    let Some(address) = common.console.address() else {
        return Err(CliError::Configuration(
            "which console? Set --url or PGVEIL_CONSOLE_URL to its address".to_owned(),
        ));
    };
    let client = ConsoleClient::new(&address, &common.console)?;
    client.call(method, path, body).await
}

fn show(common: &Common, request: &Value) -> Result<(), CliError> {
    match common.format {
        OutputFormat::Json => print(&format!("{request}\n")),
        OutputFormat::Text => print(&shown(request)),
    }
}

/// A value as people read it. What others have written has no control characters: a terminal obeys them.
fn plain(value: Option<&Value>) -> String {
    let text = match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            let values: Vec<String> = values.iter().map(|value| plain(Some(value))).collect();
            values.join(", ")
        }
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn listed(answer: &Value) -> String {
    let none = Vec::new();
    let requests = answer
        .get("requests")
        .and_then(Value::as_array)
        .unwrap_or(&none);
    if requests.is_empty() {
        return "no requests\n".to_owned();
    }
    let rows: Vec<Vec<String>> = requests
        .iter()
        .map(|request| {
            let at = |key: &str| plain(request.get(key));
            let statement: String = at("text").chars().take(60).collect();
            vec![
                at("id"),
                at("state"),
                at("opened"),
                at("person"),
                at("missing"),
                statement,
            ]
        })
        .collect();
    let header = ["request", "state", "asked", "person", "awaits", "statement"];
    table(&header, &rows)
}

fn shown(request: &Value) -> String {
    let at = |key: &str| plain(request.get(key));
    let of = |key: &str, inner: &str| plain(request.get(key).and_then(|value| value.get(inner)));
    let mut text = String::new();
    for (label, value) in [
        ("request", at("id")),
        ("state", at("state")),
        ("person", at("person")),
        ("role", at("role")),
        ("database", at("database")),
        ("purpose", at("purpose")),
        ("reason", at("reason")),
        ("statement", at("text")),
        (
            "limit",
            format!("{} {}", of("limit", "kind"), of("limit", "allowed")),
        ),
        ("at most", format!("{} rows", at("max_rows"))),
        ("may be clear", at("may_unmask")),
        ("awaits", at("missing")),
        ("asked", at("opened")),
        ("ends", at("expires")),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "{label:<13} {value}");
        }
    }
    for column in request
        .get("columns")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let at = |key: &str| plain(column.get(key));
        let leaves = match column.get("masked") {
            Some(Value::Bool(true)) => "masked",
            _ => "in the clear",
        };
        let _ = writeln!(
            text,
            "{:<13} {} ({}), {leaves}",
            "column",
            at("name"),
            at("class")
        );
    }
    let steps = request.get("history").and_then(Value::as_array);
    for (index, step) in steps.into_iter().flatten().enumerate() {
        let at = |key: &str| plain(step.get(key));
        let mut line = format!("{} {} {}", at("at"), at("by"), at("action"));
        for (before, value) in [(" for ", at("group")), (": ", at("comment"))] {
            if !value.is_empty() {
                let _ = write!(line, "{before}{value}");
            }
        }
        let label = format!("step {}", index + 1);
        let _ = writeln!(text, "{label:<13} {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_cannot_speak_to_the_terminal() {
        let request = json!({ "id": "7f3a", "reason": "a\u{1b}]0;b\u{7}\nid: x" });
        let text = shown(&request);
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert_eq!(
            text.lines()
                .filter(|line| line.starts_with("reason"))
                .count(),
            1
        );
        assert_eq!(text.lines().count(), 4, "{text}");
    }

    #[test]
    fn requests_are_listed_one_by_line() {
        let request = json!({ "id": "7f3a", "state": "requested", "missing": ["legal", "dpo"] });
        let text = listed(&json!({ "requests": [request] }));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("legal, dpo"), "{text}");
        assert_eq!(listed(&json!({ "requests": [] })), "no requests\n");
    }
}
