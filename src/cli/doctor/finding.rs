//! What the doctor has found.
use std::fmt::Write as _;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Data can get out, or sessions cannot work.
    Error,
    /// It can come to that.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// One finding, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// Names the kind of finding, for whoever counts or silences them: `server.version`.
    pub check: &'static str,
    pub finding: String,
    pub action: String,
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn add(
        &mut self,
        level: Level,
        check: &'static str,
        finding: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.0.push(Finding {
            level,
            check,
            finding: finding.into(),
            action: action.into(),
        });
    }

    pub fn error(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(Level::Error, check, finding, action);
    }

    pub fn warning(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(Level::Warning, check, finding, action);
    }

    pub fn note(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        action: impl Into<String>,
    ) {
        self.add(Level::Note, check, finding, action);
    }

    pub fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|found| found.level == level).count()
    }

    /// The worst first; among equals as they were found.
    fn sorted(&self) -> Vec<&Finding> {
        let mut sorted: Vec<&Finding> = self.0.iter().collect();
        sorted.sort_by_key(|found| found.level);
        sorted
    }

    /// One JSON object a line.
    pub fn json(&self) -> String {
        let lines = self.sorted().into_iter().map(serde_json::to_string);
        lines
            .filter_map(Result::ok)
            .map(|line| line + "\n")
            .collect()
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for found in self.sorted() {
            let _ = writeln!(
                text,
                "{} {}: {}\n    {}",
                found.level.word(),
                found.check,
                found.finding,
                found.action
            );
        }
        let _ = writeln!(
            text,
            "{} errors, {} warnings, {} notes",
            self.count(Level::Error),
            self.count(Level::Warning),
            self.count(Level::Note)
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first_and_the_last_line_counts() {
        let mut findings = Findings::default();
        findings.note("a.note", "good to know", "nothing");
        findings.error("an.error", "bad", "mend it");
        assert_eq!(
            findings.text(),
            "error an.error: bad\n    mend it\nnote a.note: good to know\n    nothing\n1 errors, 0 warnings, 1 notes\n"
        );
        assert!(findings.json().starts_with(
            "{\"level\":\"error\",\"check\":\"an.error\",\"finding\":\"bad\",\"action\":\"mend it\"}\n"
        ));
    }
}
