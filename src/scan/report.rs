//! What a scan found, as people and programs read it. No value of the database is in it.
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::document::Within;
use super::look::Finding;
use crate::policy::mask::ColumnType;

/// A column with its likeliest class.
#[derive(Debug, Clone)]
pub struct Found {
    pub schema: String,
    pub table: String,
    pub column: String,
    pub data_type: ColumnType,
    pub finding: Finding,
    /// For a document: what was found at which path.
    pub within: Vec<Within>,
    /// `schema.view.column` that show it.
    pub also: Vec<String>,
    /// Classes of the policy that the column is in.
    pub classes: Vec<String>,
}

impl Found {
    /// `schema.table.column`, for people.
    pub fn name(&self) -> String {
        let name = format!("{}.{}.{}", self.schema, self.table, self.column);
        name.replace(char::is_control, " ")
    }
}

/// A table whose values were not read, and why.
#[derive(Debug, Clone)]
pub struct Unread {
    pub table: String,
    /// `None`: all of its columns.
    pub columns: Option<usize>,
    pub why: String,
}

/// A scan of one database.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub database: String,
    pub tables: usize,
    pub columns: usize,
    /// Columns of which values were read.
    pub sampled: usize,
    /// In the order of their names.
    pub found: Vec<Found>,
    pub unread: Vec<Unread>,
    /// Values that were left out because of their size.
    pub oversized: usize,
    /// The names alone were looked at.
    pub names_only: bool,
    /// Least confidence of what is in `found`.
    pub min_confidence: f64,
    /// Compared with a policy.
    pub checked: bool,
}

impl Report {
    /// What no class of the policy names.
    pub fn unclassified(&self) -> impl Iterator<Item = &Found> {
        self.found.iter().filter(|found| found.classes.is_empty())
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        let (missing, rest): (Vec<&Found>, Vec<&Found>) = self
            .found
            .iter()
            .partition(|found| self.checked && found.classes.is_empty());
        if !missing.is_empty() {
            let _ = writeln!(out, "In no class of the policy:\n");
            missing.iter().for_each(|found| entry(&mut out, found));
        }
        if !rest.is_empty() {
            if self.checked {
                let _ = writeln!(out, "In a class of the policy:\n");
            }
            rest.iter().for_each(|found| entry(&mut out, found));
        }
        if !self.unread.is_empty() {
            let _ = writeln!(out, "Known by name, type and comment only:\n");
            for unread in &self.unread {
                let _ = match unread.columns {
                    Some(count) => {
                        writeln!(out, "  {} ({count} columns): {}", unread.table, unread.why)
                    }
                    None => writeln!(out, "  {}: {}", unread.table, unread.why),
                };
            }
            out.push('\n');
        }
        if self.oversized > 0 {
            let _ = writeln!(out, "{} large values were not looked into.", self.oversized);
        }
        if self.names_only {
            let _ = writeln!(out, "No values were read (--no-sample).");
        } else if self.sampled == 0 && self.columns > 0 {
            let _ = writeln!(
                out,
                "No values were read at all: the user may need SELECT, or the tables are empty. What was found rests on names."
            );
        }
        let _ = writeln!(
            out,
            "database {}: {} of {} columns in {} tables look sensitive (confidence {:.2} and above)",
            self.database,
            self.found.len(),
            self.columns,
            self.tables,
            self.min_confidence
        );
        if self.checked {
            let _ = writeln!(out, "{} of them in no class of the policy", missing.len());
        }
        out
    }

    pub fn json(&self) -> Value {
        json!({
            "database": self.database,
            "tables": self.tables,
            "columns": self.columns,
            "sampled": self.sampled,
            "oversized": self.oversized,
            "min_confidence": self.min_confidence,
            "unclassified": self.checked.then(|| self.unclassified().count()),
            "found": self.found.iter().map(|found| self.found_json(found)).collect::<Vec<_>>(),
            "unread": self.unread.iter().map(|unread| json!({
                "table": unread.table, "columns": unread.columns, "why": unread.why,
            })).collect::<Vec<_>>(),
        })
    }

    fn found_json(&self, found: &Found) -> Value {
        json!({
            "schema": found.schema,
            "table": found.table,
            "column": found.column,
            "type": found.data_type.shown,
            "class": found.finding.class.name,
            "confidence": rounded(found.finding.confidence),
            "evidence": found.finding.evidence,
            "within": found.within.iter().map(|within| json!({
                "path": within.path,
                "class": within.finding.class.name,
                "confidence": rounded(within.finding.confidence),
                "evidence": within.finding.evidence,
            })).collect::<Vec<_>>(),
            "shown_by": found.also,
            "classes": self.checked.then_some(&found.classes),
        })
    }
}

fn rounded(confidence: f64) -> f64 {
    (confidence * 100.0).round() / 100.0
}

fn entry(out: &mut String, found: &Found) {
    let classes = match found.classes.is_empty() {
        true => String::new(),
        false => format!(", in {}", found.classes.join(", ")),
    };
    let _ = writeln!(
        out,
        "  {}  {} {:.2}{classes}",
        found.name(),
        found.finding.class.name,
        found.finding.confidence
    );
    let indent = "      ";
    if !found.finding.evidence.is_empty() {
        let _ = writeln!(out, "{indent}{}", found.finding.evidence.join("; "));
    }
    for within in &found.within {
        let _ = writeln!(
            out,
            "{indent}{}: {} {:.2}, {}",
            within.path,
            within.finding.class.name,
            within.finding.confidence,
            within.finding.evidence.join("; ")
        );
    }
    if !found.also.is_empty() {
        let _ = writeln!(out, "{indent}also shown by {}", found.also.join(", "));
    }
    out.push('\n');
}
