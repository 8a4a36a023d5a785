//! What came of many statements.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::check::Allowed;
use crate::line::Line;
use crate::stand::{Finding, Judged, Kind, Outcome, Stand, words};

/// Differences that are known: kind, what the finding or the statement holds, and why it is left.
const KNOWN: &str = include_str!("known.txt");

/// One statement that shows something, shortened.
#[derive(Debug)]
pub struct Shown {
    pub finding: Finding,
    pub text: String,
    pub path: String,
}

#[derive(Debug, Default)]
pub struct Report {
    pub statements: usize,
    pub refused: BTreeMap<&'static str, usize>,
    pub invalid: usize,
    pub utilities: usize,
    /// By how the reading compared.
    pub checked: BTreeMap<&'static str, usize>,
    /// Guarded relations met in what would run.
    pub guarded: usize,
    pub allowed: BTreeMap<Allowed, usize>,
    pub known: BTreeMap<String, usize>,
    pub found: Vec<Shown>,
    /// Beyond those that are shown.
    pub more: BTreeMap<Kind, usize>,
    met: BTreeSet<String>,
}

/// Statements that are shown of each kind.
const MOST: usize = 12;

impl Report {
    pub fn run(&mut self, stand: &Stand, line: &mut Line, text: &str, path: &str) {
        for statement in stand.statements(text, path) {
            self.statement(stand, line, &statement, path);
        }
    }

    fn statement(&mut self, stand: &Stand, line: &mut Line, text: &str, path: &str) {
        self.statements += 1;
        let judged = stand.judge(line, text, path);
        match judged.outcome {
            Outcome::Refused(why) => *self.refused.entry(why).or_default() += 1,
            Outcome::Invalid => self.invalid += 1,
            Outcome::Utility => self.utilities += 1,
            Outcome::Checked(how) => *self.checked.entry(how).or_default() += 1,
        }
        self.guarded += judged.guarded;
        for allowed in judged.allowed {
            *self.allowed.entry(allowed).or_default() += 1;
        }
        let mut kinds = BTreeSet::new();
        for finding in judged.findings {
            if let Some(why) = known(&finding, text) {
                *self.known.entry(why.to_owned()).or_default() += 1;
            } else if kinds.insert(finding.kind) {
                self.show(stand, line, finding, text, path);
            }
        }
    }

    fn show(&mut self, stand: &Stand, line: &mut Line, finding: Finding, text: &str, path: &str) {
        let shown = self
            .found
            .iter()
            .filter(|shown| shown.finding.kind == finding.kind)
            .count();
        if shown >= MOST {
            *self.more.entry(finding.kind).or_default() += 1;
            return;
        }
        let (text, finding) = shrink(stand, line, text, path, finding);
        if self.met.insert(format!("{:?} {text}", finding.kind)) {
            self.found.push(Shown {
                finding,
                text,
                path: path.to_owned(),
            });
        }
    }

    pub fn add(&mut self, other: Report) {
        self.statements += other.statements;
        self.invalid += other.invalid;
        self.utilities += other.utilities;
        self.guarded += other.guarded;
        for (key, count) in other.refused {
            *self.refused.entry(key).or_default() += count;
        }
        for (key, count) in other.checked {
            *self.checked.entry(key).or_default() += count;
        }
        for (key, count) in other.allowed {
            *self.allowed.entry(key).or_default() += count;
        }
        for (key, count) in other.known {
            *self.known.entry(key).or_default() += count;
        }
        for (key, count) in other.more {
            *self.more.entry(key).or_default() += count;
        }
        self.found.extend(other.found);
    }

    pub fn all_checked(&self) -> usize {
        self.checked.values().sum()
    }

    /// Fails where anything was found.
    pub fn check(&self) {
        assert!(
            self.found.is_empty(),
            "{} findings, see above",
            self.found.len()
        );
    }
}

/// The reason for which a finding is left, if it is one of those.
fn known(finding: &Finding, text: &str) -> Option<&'static str> {
    KNOWN
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .find_map(|line| {
            let mut fields = line.split(" | ");
            let (kind, holds, why) = (fields.next()?, fields.next()?, fields.next()?);
            let meant = kind == format!("{:?}", finding.kind)
                && (finding.shown.contains(holds) || text.contains(holds));
            meant.then_some(why)
        })
}

/// Most attempts to shorten a statement.
const ATTEMPTS: usize = 300;

/// Drops runs of words as long as the kind of the finding stays.
fn shrink(
    stand: &Stand,
    line: &mut Line,
    text: &str,
    path: &str,
    finding: Finding,
) -> (String, Finding) {
    let mut best = (text.to_owned(), finding);
    let mut attempts = 0;
    let mut size = words(text).len() / 2;
    while size > 0 {
        let (mut at, mut shrunk) = (0, false);
        loop {
            let all = words(&best.0);
            if at + size > all.len() || attempts > ATTEMPTS {
                break;
            }
            attempts += 1;
            let kept = [&all[..at], &all[at + size..]].concat().join(" ");
            let Judged { findings, .. } = stand.judge(line, &kept, path);
            let same = findings
                .into_iter()
                .find(|found| found.kind == best.1.kind && known(found, &kept).is_none());
            match same {
                Some(found) => {
                    best = (kept, found);
                    shrunk = true;
                }
                None => at += 1,
            }
        }
        if !shrunk || size > 1 {
            size /= 2;
        }
    }
    best
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} statements: {} checked, {} refused, {} invalid, {} without a query; {} guarded relations in what runs",
            self.statements,
            self.all_checked(),
            self.refused.values().sum::<usize>(),
            self.invalid,
            self.utilities,
            self.guarded
        )?;
        for (how, count) in &self.checked {
            writeln!(f, "  checked {count}: {how}")?;
        }
        for (why, count) in &self.refused {
            writeln!(f, "  refused {count}: {why}")?;
        }
        for (what, count) in &self.allowed {
            writeln!(f, "  allowed {count}: {what:?}")?;
        }
        for (why, count) in &self.known {
            writeln!(f, "  known {count}: {why}")?;
        }
        for shown in &self.found {
            writeln!(
                f,
                "{:?} [{}] {}\n  {}",
                shown.finding.kind, shown.path, shown.text, shown.finding.shown
            )?;
        }
        for (kind, count) in &self.more {
            writeln!(f, "... and {count} more: {kind:?}")?;
        }
        Ok(())
    }
}
