//! Runs cases over several workers and counts what came of them.
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::bench::{Bench, Oracle, RESTRICTED};
use crate::compare::known;
use crate::shrink::shrink;
use crate::statement::Case;

/// More of one kind, and more in all, are not shrunk.
const SHRUNK: usize = 2;
const MOST_SHRUNK: usize = 40;
/// Cases of a worker between two vacuums.
const TIDY: usize = 300;
/// The share of statements that must be served, in percent: a generator of errors tests nothing.
const SERVED: usize = 50;

#[derive(Debug)]
pub struct Reported {
    pub seed: u64,
    pub oracle: Oracle,
    kind: String,
    statement: String,
    shown: String,
}

/// How often, and the shortest example.
type Kinds = BTreeMap<String, (usize, String)>;

#[derive(Debug, Default)]
pub struct Report {
    pub executed: usize,
    served: usize,
    refused: usize,
    erring: usize,
    /// Another error than the copy's, or one where the copy has none: SQL leaves it open.
    open: usize,
    refusals: Kinds,
    errors: Kinds,
    kinds: BTreeMap<(Oracle, String), (usize, String)>,
    pub differences: Vec<Reported>,
    duration: Duration,
}

/// Runs the cases of all seeds; a seed without a case is passed over.
pub fn run<F>(bench: &Bench, user: &str, workers: usize, seeds: Range<u64>, case_of: F) -> Report
where
    F: Fn(u64) -> Option<Case> + Sync,
{
    let report = Mutex::new(Report::default());
    // With masking off nearly all differ, as they should.
    let shrinks = user == RESTRICTED;
    let next = AtomicU64::new(seeds.start);
    let started = Instant::now();
    thread::scope(|scope| {
        for worker in 0..workers {
            let (report, next, case_of, end) = (&report, &next, &case_of, seeds.end);
            scope.spawn(move || {
                let mut line = bench.line(worker, user);
                for turn in 1.. {
                    if turn % TIDY == 0 {
                        bench.tidy(worker);
                    }
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let Some(case) = case_of(seed) else { continue };
                    let found = line.run(&case);
                    let shown = shown(&case);
                    let mut shrunk = None;
                    if let Some(difference) = &found.difference {
                        let total = report.lock().expect("report").differences.len();
                        let wanted = (difference.oracle, difference.kind.clone());
                        let alike = report
                            .lock()
                            .expect("report")
                            .kinds
                            .get(&wanted)
                            .map_or(0, |kind| kind.0);
                        if shrinks
                            && !self::known(&wanted.1)
                            && total < MOST_SHRUNK
                            && alike < SHRUNK
                        {
                            shrunk = Some(shrink(&case, |case| {
                                line.run(case)
                                    .difference
                                    .is_some_and(|found| (found.oracle, found.kind) == wanted)
                            }));
                        }
                    }
                    let mut report = report.lock().expect("report");
                    report.executed += 1;
                    report.open += usize::from(found.open);
                    match (&found.refusal, &found.error) {
                        (Some(message), _) => {
                            report.refused += 1;
                            count(&mut report.refusals, message, &shown);
                        }
                        (None, Some(sqlstate)) => {
                            report.erring += 1;
                            count(&mut report.errors, sqlstate, &shown);
                        }
                        (None, None) => report.served += 1,
                    }
                    if let Some(difference) = found.difference {
                        let (statement, seen) = match &shrunk {
                            Some(case) => {
                                let again = line.run(case).difference;
                                (
                                    self::shown(case),
                                    again.map_or(difference.shown, |found| found.shown),
                                )
                            }
                            None => (shown, difference.shown),
                        };
                        let reported = Reported {
                            seed,
                            oracle: difference.oracle,
                            kind: difference.kind,
                            statement,
                            shown: seen.chars().take(600).collect(),
                        };
                        if !known(&reported.kind) && env::var_os("PGVEIL_LIST").is_some() {
                            println!("{reported}");
                        }
                        let kind = (reported.oracle, reported.kind.clone());
                        let entry = report
                            .kinds
                            .entry(kind)
                            .or_insert((0, reported.to_string()));
                        entry.0 += 1;
                        if reported.statement.len() < entry.1.len() && shrunk.is_some() {
                            entry.1 = reported.to_string();
                        }
                        report.differences.push(reported);
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().expect("report");
    report.duration = started.elapsed();
    report
}

fn shown(case: &Case) -> String {
    let steps: Vec<&str> = case.steps.iter().map(|step| step.sql.as_str()).collect();
    match &case.parameters {
        Some(values) if !values.is_empty() => format!("{} with {values:?}", steps.join("; ")),
        _ => steps.join("; "),
    }
}

fn count(kinds: &mut Kinds, kind: &str, example: &str) {
    let entry = kinds
        .entry(kind.to_owned())
        .or_insert((0, example.to_owned()));
    entry.0 += 1;
    if example.len() < entry.1.len() {
        entry.1 = example.to_owned();
    }
}

impl Report {
    /// # Panics
    /// If there is a difference that is not [`crate::compare::KNOWN`], or if too few statements were served.
    pub fn check(&self) {
        self.check_differences();
        assert!(
            self.served * 100 >= self.executed * SERVED,
            "only {} of {} served",
            self.served,
            self.executed
        );
    }

    /// # Panics
    /// If there is a difference that is not [`crate::compare::KNOWN`].
    pub fn check_differences(&self) {
        let new = self
            .differences
            .iter()
            .filter(|difference| !known(&difference.kind))
            .count();
        assert!(new == 0, "{new} differences");
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} ({}) seed {}: {}\n    {}",
            self.oracle, self.kind, self.seed, self.statement, self.shown
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        writeln!(
            f,
            "{} executed in {seconds:.1} s ({:.0} a second): {} served, {} refused, {} erring ({} in another order than the copy), {} differences",
            self.executed,
            self.executed as f64 / seconds,
            self.served,
            self.refused,
            self.erring,
            self.open,
            self.differences.len()
        )?;
        for (title, kinds) in [("refused", &self.refusals), ("erring", &self.errors)] {
            let mut sorted: Vec<_> = kinds.iter().collect();
            sorted.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
            for (kind, (count, example)) in sorted.iter().take(40) {
                let example: String = example.chars().take(300).collect();
                writeln!(f, "{title} {count:6} {kind}\n        {example}")?;
            }
        }
        for ((oracle, kind), (count, example)) in &self.kinds {
            writeln!(f, "{oracle:?} {count:6} {kind}\n        {example}")?;
        }
        Ok(())
    }
}
