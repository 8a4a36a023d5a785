//! Unusual volume: far more rows within an hour or a day than the person usually takes.
use serde::{Deserialize, Serialize};

use super::people::People;
use super::{Alarm, Kind};
use crate::audit::entry::Entry;

/// How many times what is usual.
pub const TIMES_USUAL: f64 = 5.0;
/// Rows within an hour and within a day below which nothing is unusual.
pub const LEAST: [u64; 2] = [1_000, 5_000];
/// Hours and days with rows after which it is known what is usual.
pub const KNOWN_AFTER: [u32; 2] = [24, 7];
/// How much of a new hour, and of a new day, goes into what is usual.
const WEIGHT: [f64; 2] = [0.05, 0.2];
/// Seconds.
const SPAN: [u64; 2] = [3600, 86_400];
const NAMES: [&str; 2] = ["hour", "day"];

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume(People<[Baseline; 2]>);

/// What a person takes in a span of time.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Baseline {
    /// Number of the span since 1970.
    number: u64,
    rows: u64,
    /// Rows of a span that has any, and how many spans it rests on.
    usual: f64,
    spans: u32,
    /// The alarm of this span was raised.
    told: bool,
}

impl Volume {
    pub fn take(&mut self, entry: &Entry, person: &str, at: u64) -> Vec<Alarm> {
        // Rows that a statement wrote have no bytes: nobody took them out.
        let rows = entry
            .rows
            .filter(|_| entry.bytes.is_some_and(|bytes| bytes > 0));
        let Some(rows) = rows.filter(|rows| *rows > 0) else {
            return Vec::new();
        };
        let baselines = self.0.of(person, at);
        let mut alarms = Vec::new();
        let constants = SPAN
            .iter()
            .zip(LEAST)
            .zip(KNOWN_AFTER)
            .zip(WEIGHT)
            .zip(NAMES);
        for (baseline, ((((span, least), known), weight), name)) in
            baselines.iter_mut().zip(constants)
        {
            baseline.add(at / span, rows, weight, least);
            if baseline.is_unusual(least, known) {
                baseline.told = true;
                alarms.push(Alarm {
                    kind: Kind::Volume,
                    person: person.to_owned(),
                    seq: entry.seq,
                    message: format!(
                        "{} rows within this {name}, {:.0} are usual",
                        baseline.rows, baseline.usual
                    ),
                    classes: entry.classes.clone(),
                });
            }
        }
        alarms
    }
}

impl Baseline {
    fn add(&mut self, number: u64, rows: u64, weight: f64, least: u64) {
        if number > self.number {
            if self.rows > 0 {
                // What raised an alarm is learnt no faster than what just does not.
                let limit = (TIMES_USUAL * self.usual).max(least as f64);
                let count = match self.spans {
                    0 => self.rows as f64,
                    _ => (self.rows as f64).min(limit),
                };
                self.usual = match self.spans {
                    0 => count,
                    _ => self.usual + weight * (count - self.usual),
                };
                self.spans = self.spans.saturating_add(1);
            }
            (self.number, self.rows, self.told) = (number, 0, false);
        }
        self.rows = self.rows.saturating_add(rows);
    }

    fn is_unusual(&self, least: u64, known: u32) -> bool {
        !self.told
            && self.spans >= known
            && self.rows >= least
            && self.rows as f64 >= TIMES_USUAL * self.usual
    }
}
