//! Plays scripts over several workers and counts what came of them.
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Line, Role};
use crate::generator::generate;
use crate::oracles::{Difference, Oracle};
use crate::script::Script;
use crate::shrink::shrink;

/// After so many differences nothing more is looked for.
const MOST: usize = 5;
/// What differs but once may be a matter of time.
const AGAIN: usize = 4;
/// One script of so many is played by an unrestricted role, too.
const UNRESTRICTED: u64 = 4;
/// The share of statements that must be served, in percent: a generator of errors and refusals tests nothing.
const SERVED: usize = 50;

#[derive(Debug, Default)]
pub struct Report {
    pub scripts: usize,
    pub served: usize,
    pub failing: usize,
    pub refused: usize,
    pub ended: usize,
    /// Differed once and not again.
    unsteady: Vec<String>,
    /// Scripts in which nothing was refused.
    free: usize,
    refusals: BTreeMap<String, usize>,
    pub differences: Vec<String>,
    duration: Duration,
}

pub fn run(bench: &Bench, workers: usize, seeds: Range<u64>) -> Report {
    let report = Mutex::new(Report::default());
    let next = AtomicU64::new(seeds.start);
    let met = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for worker in 0..workers {
            let (report, next, met, end) = (&report, &next, &met, seeds.end);
            scope.spawn(move || {
                let mut line = bench.line(worker);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || met.load(Ordering::Relaxed) >= MOST {
                        break;
                    }
                    play(&mut line, seed, report, met);
                }
            });
        }
    });
    let mut report = report.into_inner().expect("report");
    report.duration = started.elapsed();
    report
}

fn play(line: &mut Line<'_>, seed: u64, report: &Mutex<Report>, met: &AtomicUsize) {
    let script = generate(seed);
    let roles: &[Role] = match seed % UNRESTRICTED {
        0 => &[Role::Restricted, Role::Unrestricted],
        _ => &[Role::Restricted],
    };
    for role in roles {
        let found = line.run(&script, *role);
        if *role == Role::Restricted {
            let mut report = report.lock().expect("report");
            report.scripts += 1;
            report.served += found.served;
            report.failing += found.failing;
            report.refused += found.refusals.len();
            report.ended += usize::from(found.ended);
            report.free += usize::from(found.refusals.is_empty());
            for words in found.refusals {
                *report.refusals.entry(words).or_default() += 1;
            }
        }
        let Some(difference) = found.difference else {
            continue;
        };
        let kind = difference.oracle;
        let steady = kind == Oracle::Secret || {
            (0..AGAIN).any(|_| differs(line, &script, *role, kind).is_some())
        };
        if !steady {
            let mut report = report.lock().expect("report");
            report.unsteady.push(format!("seed {seed}: {difference:?}"));
            continue;
        }
        let at = met.fetch_add(1, Ordering::Relaxed);
        let mut shortest = script.clone();
        let mut shown = difference.shown;
        if at < MOST {
            shortest = shrink(&script, |script| {
                let again = (0..2).find_map(|_| differs(line, script, *role, kind));
                if let Some(again) = &again {
                    shown.clone_from(&again.shown);
                }
                again.is_some()
            });
        }
        let number = report.lock().expect("report").scripts;
        let text = format!(
            "{kind:?} by {role:?}, seed {seed}, after {number} scripts:\n{shortest}    {shown}\n"
        );
        println!("{text}");
        report.lock().expect("report").differences.push(text);
    }
}

fn differs(line: &mut Line<'_>, script: &Script, role: Role, kind: Oracle) -> Option<Difference> {
    let found = line.run(script, role);
    found.difference.filter(|found| found.oracle == kind)
}

impl Report {
    /// # Panics
    /// If there is a difference, or if too few statements were served.
    pub fn check(&self) {
        assert!(
            self.differences.is_empty(),
            "{} scripts differ",
            self.differences.len()
        );
        let all = self.served + self.failing + self.refused;
        assert!(
            self.served * 100 >= all * SERVED,
            "only {} of {all} served",
            self.served
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        writeln!(
            f,
            "{} scripts in {seconds:.1} s, {} without a refusal, {} ended by pgveil; statements: {} served, {} refused, {} failing",
            self.scripts, self.free, self.ended, self.served, self.refused, self.failing
        )?;
        let mut sorted: Vec<_> = self.refusals.iter().collect();
        sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (words, count) in sorted.iter().take(25) {
            writeln!(f, "refused {count:6} {words}")?;
        }
        for once in &self.unsteady {
            let once: String = once.chars().take(1600).collect();
            writeln!(f, "once and not again: {once}")?;
        }
        Ok(())
    }
}
