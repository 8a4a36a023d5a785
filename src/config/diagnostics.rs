//! What is wrong with a configuration or policy file, told to the person who wrote it.
//!
//! Messages are lowercase, without a full stop, with the offending text in backticks.
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::source::Origin;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Warning,
    Error,
}

/// One finding. As JSON: `severity`, `file`, `line`, `column`, `message`, `text`, `suggestion`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: PathBuf,
    /// 1-based; absent where the finding is about the file as a whole.
    pub line: Option<u32>,
    /// 1-based, in characters.
    pub column: Option<u32>,
    pub message: String,
    /// What stands at the place, left out where it may hold a secret.
    pub text: Option<String>,
    /// What to do, as a sentence (``did you mean `roles`?``).
    pub suggestion: Option<String>,
    /// Length of the offending text in characters, for the caret.
    #[serde(skip)]
    length: u32,
    /// The line of the file, left out where it may hold a secret.
    #[serde(skip)]
    snippet: Option<String>,
}

impl Diagnostic {
    pub fn error(origin: &Origin, message: impl Into<String>) -> Self {
        Self::at(Severity::Error, origin, message.into())
    }

    pub fn warning(origin: &Origin, message: impl Into<String>) -> Self {
        Self::at(Severity::Warning, origin, message.into())
    }

    /// An error about a whole file, for instance one that cannot be read.
    pub fn file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            text: None,
            suggestion: None,
            length: 0,
            snippet: None,
        }
    }

    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Suggests the candidate closest to `wrong`, if any is close.
    #[must_use]
    pub fn did_you_mean<'a>(
        self,
        wrong: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match closest(wrong, candidates) {
            Some(candidate) => {
                let suggestion = format!("did you mean `{candidate}`?");
                self.suggest(suggestion)
            }
            None => self,
        }
    }

    /// Leaves out the line of the file: what is found there may hold a secret.
    #[must_use]
    pub fn hide(mut self) -> Self {
        self.snippet = None;
        self.text = None;
        self
    }

    fn at(severity: Severity, origin: &Origin, message: String) -> Self {
        let snippet = origin
            .source
            .line(origin.position.line)
            .filter(|line| !may_hold_secret(line))
            .map(str::to_owned);
        let text = origin.source.slice(origin.position);
        Self {
            severity,
            file: origin.source.path.clone(),
            line: Some(origin.position.line),
            column: Some(origin.position.column),
            message,
            text: text.filter(|text| snippet.is_some() && !text.is_empty()),
            suggestion: None,
            length: origin.position.length,
            snippet,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, " {severity}: {}", self.message)?;
        let margin = self.line.map_or(1, |line| line.to_string().len());
        if let (Some(line), Some(column), Some(snippet)) = (self.line, self.column, &self.snippet) {
            let (indent, caret) = caret(snippet, column, self.length);
            write!(
                f,
                "\n{:margin$} |\n{line} | {snippet}\n{:margin$} | {indent}{caret}",
                "", ""
            )?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "\n{:margin$} = help: {suggestion}", "")?;
        }
        Ok(())
    }
}

/// All findings of one load or check, in the order they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    pub fn extend(&mut self, other: Diagnostics) {
        self.list.extend(other.list);
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// By file and place; what is found at one place keeps its order, and is there once.
    pub fn sort(&mut self) {
        self.list
            .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.list.dedup();
    }

    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// One JSON object per line.
    pub fn to_json_lines(&self) -> String {
        self.list
            .iter()
            .filter_map(|diagnostic| serde_json::to_string(diagnostic).ok())
            .fold(String::new(), |text, line| text + &line + "\n")
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            list: vec![diagnostic],
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The candidate that `wrong` was most likely meant to be: one or a few slips of the keyboard away, or much alike.
pub fn closest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Shorter words are all one slip away from each other.
    const SHORTEST: usize = 3;
    /// Jaro-Winkler similarity from which two words look alike.
    const SIMILAR: f64 = 0.85;
    let wrong = wrong.to_lowercase();
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let length = lower.chars().count().max(wrong.chars().count());
            let slips = strsim::osa_distance(&wrong, &lower);
            let likeness = strsim::jaro_winkler(&wrong, &lower);
            let close = slips <= length.div_ceil(3) && length >= SHORTEST;
            (close || likeness >= SIMILAR).then_some((slips, likeness, candidate))
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, candidate)| candidate)
}

/// Misspelt keys (`pasword: hunter2`) are just what diagnostics are about, so the test is generous.
fn may_hold_secret(line: &str) -> bool {
    let line = line.to_lowercase();
    ["pas", "pwd", "secret", "token", "api_key"]
        .iter()
        .any(|word| line.contains(word))
        || line.split("://").skip(1).any(|rest| rest.contains('@'))
        || line
            .split(|c: char| c.is_whitespace() || "'\"[]{},".contains(c))
            .filter_map(|word| word.split_once(':'))
            .any(|(_, rest)| rest.contains('@'))
}

fn caret(snippet: &str, column: u32, length: u32) -> (String, String) {
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    let indent = snippet.chars().take(before).map(blank).collect();
    let width: usize = snippet
        .chars()
        .skip(before)
        .take(usize::try_from(length).unwrap_or(1))
        .map(|c| blank(c).len())
        .sum();
    (indent, "^".repeat(width.max(1)))
}

/// As much white space as the character is wide on a terminal: East Asian characters take two columns.
fn blank(c: char) -> &'static str {
    match c {
        '\t' => "\t",
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' => "  ",
        '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{20000}'..='\u{3fffd}' => "  ",
        _ => " ",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::source::{Position, Source};

    fn origin(text: &str, line: u32, column: u32, length: u32) -> Origin {
        let source = Arc::new(Source {
            path: "pgveil.yaml".into(),
            text: text.into(),
        });
        Origin {
            source,
            position: Position {
                line,
                column,
                length,
            },
        }
    }

    #[test]
    fn a_finding_shows_place_snippet_and_suggestion() {
        let diagnostic =
            Diagnostic::error(&origin("a: 1\nrols: 2\n", 2, 1, 4), "unknown key `rols`")
                .did_you_mean("rols", ["data", "roles"]);
        assert_eq!(
            diagnostic.to_string(),
            "pgveil.yaml:2:1: error: unknown key `rols`\n  |\n2 | rols: 2\n  | ^^^^\n  = help: did you mean `roles`?"
        );
    }

    #[test]
    fn as_json_a_finding_is_one_line() {
        let findings: Diagnostics =
            Diagnostic::error(&origin("a: 1\nrols: 2\n", 2, 1, 4), "unknown key `rols`").into();
        let json = findings.to_json_lines();
        assert_eq!(
            json,
            "{\"severity\":\"error\",\"file\":\"pgveil.yaml\",\"line\":2,\"column\":1,\
             \"message\":\"unknown key `rols`\",\"text\":\"rols\",\"suggestion\":null}\n"
        );
    }

    #[test]
    fn the_caret_stands_under_wide_characters() {
        let text = Diagnostic::error(&origin("角色: 坏", 1, 5, 1), "no").to_string();
        assert!(text.ends_with("1 | 角色: 坏\n  |       ^^"), "{text}");
    }

    #[test]
    fn a_line_that_may_hold_a_password_is_not_shown() {
        let text = Diagnostic::error(
            &origin("pasword: hunter2", 1, 1, 7),
            "unknown key `pasword`",
        )
        .to_string();
        assert!(!text.contains("hunter2"));
        for line in [
            "url: https://pgveil:hunter2@logs.example.com",
            "address: \"pgveil:hunter2@logs.example.com\"",
            "state: postgres:pgveil:hunter2@db",
        ] {
            let text = Diagnostic::error(&origin(line, 1, 1, 3), "no").to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
        let line = "to: { legal: [ann@example.com] }";
        let text = Diagnostic::error(&origin(line, 1, 1, 2), "no").to_string();
        assert!(text.contains("ann@example.com"));
    }
}
