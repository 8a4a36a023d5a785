//! A record in the words of others: pure functions from a record to the bytes of one message.
//!
//! * [`ocsf`]: Open Cybersecurity Schema Framework.
//! * [`ecs`]: Elastic Common Schema.
//! * [`cef`]: ArcSight Common Event Format.
pub mod cef;
pub mod ecs;
pub mod ocsf;

use serde_json::{Map, Value};

use super::entry::Entry;

/// How a record is written for a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The line of the spool.
    Json,
    Ocsf,
    Ecs,
    Cef,
}

/// A record to be written.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// `<chain id>-<seq>`
    pub id: &'a str,
    pub entry: &'a Entry,
    /// The line of the spool, without its end.
    pub line: &'a [u8],
}

/// The bytes of one message, without an end of line and without a line break in them.
///
/// ```
/// use pgveil::audit::Entry;
/// use pgveil::audit::format::{Format, Recorded, render};
///
/// let entry = Entry { event: "start".into(), seq: 2, time: "2026-11-22T07:21:36.000001Z".into(), ..Entry::default() };
/// let recorded = Recorded { id: "c0ffee-2", entry: &entry, line: br#"{"seq":2}"# };
/// assert_eq!(render(Format::Json, &recorded), br#"{"seq":2}"#);
/// assert!(render(Format::Cef, &recorded).starts_with(b"CEF:0|pgveil|pgveil|"));
/// ```
pub fn render(format: Format, recorded: &Recorded<'_>) -> Vec<u8> {
    match format {
        Format::Json => recorded.line.to_vec(),
        Format::Ocsf => ocsf::render(recorded).to_string().into_bytes(),
        Format::Ecs => ecs::render(recorded).to_string().into_bytes(),
        Format::Cef => cef::render(recorded).into_bytes(),
    }
}

/// How bad a record is, apart from what each format calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// What a record amounts to.
pub fn severity(entry: &Entry) -> Severity {
    match entry.event.as_str() {
        "violation" => Severity::Critical,
        "lost" | "alarm" => Severity::High,
        "refusal" | "export_stop" | "login_failed" | "drift" | "recovered" => Severity::Medium,
        "policy" | "settings" | "export" | "console" | "retention" | "incident_closed" => {
            Severity::Low
        }
        _ if entry.verdict.as_deref() == Some("refuse") => Severity::Medium,
        _ => Severity::Informational,
    }
}

/// Whether what was tried came about; `None` where nothing was tried.
pub fn succeeded(entry: &Entry) -> Option<bool> {
    match entry.event.as_str() {
        "login" | "logout" => Some(true),
        "login_failed" | "refusal" | "export_stop" | "violation" => Some(false),
        "statement" => {
            let refused = entry.verdict.as_deref() == Some("refuse");
            let failed = entry
                .sqlstate
                .as_deref()
                .is_some_and(|state| !is_success(state));
            Some(!refused && !failed)
        }
        _ => None,
    }
}

/// SQLSTATE classes 00 (success), 01 (warning) and 02 (no data); PostgreSQL documentation, appendix A.
fn is_success(sqlstate: &str) -> bool {
    ["00", "01", "02"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}

/// One sentence about a record, for people.
pub fn summary(entry: &Entry) -> String {
    let who = entry.actor().unwrap_or("somebody");
    let what = entry.kind.as_deref().unwrap_or("statement");
    let why = match entry.reason.as_deref() {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    match entry.event.as_str() {
        "statement" => match entry.rows {
            Some(rows) => format!("{what} by {who}: {rows} rows"),
            None => format!("{what} by {who}"),
        },
        "refusal" => format!("{what} by {who} was refused{why}"),
        "export_stop" => format!("{what} by {who} was stopped at its export limit{why}"),
        "violation" => format!("{what} by {who} was stopped: a masked column came back as it is"),
        "login" => format!("{who} logged in"),
        "login_failed" => format!("a login of {who} failed{why}"),
        "logout" => format!("{who} logged out"),
        event => match &entry.message {
            Some(message) => message.clone(),
            None => format!("audit record `{event}`"),
        },
    }
}

/// Puts a value in, where there is one.
fn put(object: &mut Map<String, Value>, key: &str, value: impl Into<Option<Value>>) {
    if let Some(value) = value.into() {
        object.insert(key.to_owned(), value);
    }
}

fn text(value: Option<&str>) -> Option<Value> {
    value.map(Value::from)
}

/// The members of the record's own line, as far as it is JSON.
fn members(recorded: &Recorded<'_>) -> Map<String, Value> {
    match serde_json::from_slice(recorded.line) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
