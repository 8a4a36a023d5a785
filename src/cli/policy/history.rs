//! Which policy was in force from when until when, from the record.
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::kept::Kept;
use crate::audit::entry::Entry;
use crate::audit::range::{Beyond, Span};
use crate::cli::CliError;
use crate::cli::work::Work;

/// Records between two words about how far it is.
const PROGRESS: u64 = 20_000;

/// A time during which one policy was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reign {
    pub version: String,
    pub from: String,
    /// `None`: it still is, as far as the record goes.
    pub until: Option<String>,
    /// Why it ended.
    pub ended: Option<&'static str>,
    /// Statements that were decided under it.
    pub statements: u64,
    /// Changed policies that could not be used in that time.
    pub refused: u64,
}

/// # Errors
/// The record cannot be read.
pub fn read(dir: &Path, span: &Span) -> Result<Vec<Reign>, CliError> {
    let mut reader = span.reader(dir).map_err(CliError::environment)?;
    let mut reigns = Reigns::default();
    let mut beyond = Beyond::default();
    let work = Work::new("records read");
    let mut count = 0u64;
    loop {
        let line = reader.next().map_err(|error| {
            CliError::Environment(format!(
                "{error}; `pgveil audit verify` says what is wrong with the record"
            ))
        })?;
        let Some(line) = line else { break };
        count += 1;
        if count.is_multiple_of(PROGRESS) {
            work.at(count, format!("record {}", line.link.seq));
        }
        let Ok(entry) = line.entry() else { continue };
        if beyond.has_come(span, &entry) {
            break;
        }
        if span.contains(&entry) {
            reigns.take(&entry);
        }
    }
    work.done();
    Ok(reigns.0)
}

#[derive(Debug, Default)]
struct Reigns(Vec<Reign>);

impl Reigns {
    fn take(&mut self, entry: &Entry) {
        let version = entry.policy_version.as_deref();
        match (entry.event.as_str(), version) {
            // A kill leaves no record of its end.
            ("start" | "stop", _) => {
                let why = if entry.event == "stop" {
                    "stopped"
                } else {
                    "not stopped in order"
                };
                self.end(&entry.time, why);
            }
            ("policy", Some(_)) if entry.reason.is_some() => {
                if let Some(reign) = self.0.last_mut() {
                    reign.refused += 1;
                }
            }
            ("policy", Some(version)) => {
                self.end(&entry.time, "replaced");
                self.begin(version, &entry.time);
            }
            ("statement" | "refusal" | "export_stop", Some(version)) => {
                let mut known = self.0.iter_mut().rev();
                match known.find(|reign| reign.version == version) {
                    Some(reign) => reign.statements += 1,
                    // The span begins after it came into force.
                    None => {
                        self.begin(version, &entry.time);
                        if let Some(reign) = self.0.last_mut() {
                            reign.statements = 1;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, version: &str, time: &str) {
        self.0.push(Reign {
            version: version.to_owned(),
            from: time.to_owned(),
            until: None,
            ended: None,
            statements: 0,
            refused: 0,
        });
    }

    fn end(&mut self, time: &str, why: &'static str) {
        if let Some(reign) = self.0.last_mut().filter(|reign| reign.until.is_none()) {
            reign.until = Some(time.to_owned());
            reign.ended = Some(why);
        }
    }
}

pub fn text(dir: &Path, reigns: &[Reign]) -> String {
    let mut out = format!(
        "{:<16}  {:<27}  {:<27}  {:>10}  text\n",
        "version", "from", "until", "statements"
    );
    for reign in reigns {
        let kept = match Kept::is_kept(dir, &reign.version) {
            true => "kept",
            false => "not kept",
        };
        let _ = write!(
            out,
            "{:<16}  {:<27}  {:<27}  {:>10}  {kept}",
            reign.version,
            reign.from,
            reign.until.as_deref().unwrap_or("(in force)"),
            reign.statements
        );
        if reign.ended == Some("not stopped in order") {
            out.push_str(", ended before the next start");
        }
        if reign.refused > 0 {
            let _ = write!(out, ", a change refused {} times", reign.refused);
        }
        out.push('\n');
    }
    out
}

pub fn json(dir: &Path, reigns: &[Reign]) -> String {
    let line = |reign: &Reign| {
        let value = json!({
            "version": reign.version,
            "from": reign.from,
            "until": reign.until,
            "ended": reign.ended,
            "statements": reign.statements,
            "refused": reign.refused,
            "kept": Kept::is_kept(dir, &reign.version),
        });
        format!("{value}\n")
    };
    reigns.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: &str, time: &str, version: Option<&str>) -> Entry {
        Entry {
            event: event.to_owned(),
            time: time.to_owned(),
            policy_version: version.map(str::to_owned),
            ..Entry::default()
        }
    }

    #[test]
    fn a_policy_reigns_until_another_or_the_end() {
        let mut reigns = Reigns::default();
        for (event, time, version) in [
            ("start", "1", Some("a")),
            ("policy", "1", Some("a")),
            ("statement", "2", Some("a")),
            ("policy", "3", Some("b")),
            ("statement", "4", Some("a")),
            ("stop", "5", Some("b")),
            ("start", "6", Some("b")),
            ("policy", "6", Some("b")),
            ("start", "8", Some("b")),
            ("policy", "8", Some("b")),
        ] {
            reigns.take(&entry(event, time, version));
        }
        reigns.take(&Entry {
            reason: Some("policy_refused".to_owned()),
            ..entry("policy", "9", Some("b"))
        });
        let told: Vec<String> = reigns
            .0
            .iter()
            .map(|reign| {
                let until = reign.until.as_deref().unwrap_or("-");
                format!(
                    "{} {} {until} {} {}",
                    reign.version, reign.from, reign.statements, reign.refused
                )
            })
            .collect();
        assert_eq!(told, ["a 1 3 2 0", "b 3 5 0 0", "b 6 8 0 0", "b 8 - 0 1"]);
    }
}
