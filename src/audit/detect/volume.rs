//! Unusual volume: far more rows within an hour or a day than the person usually takes.
use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::people::People;
use super::{Alarm, Kind};

/// Hours and days with rows after which it is known what is usual.
pub const KNOWN_AFTER: [u32; 2] = [24, 7];
/// How much of a new hour, and of a new day, goes into what is usual.
const WEIGHT: [f64; 2] = [0.05, 0.2];
/// Seconds.
const SPAN: [u64; 2] = [3600, 86_400];
const NAMES: [&str; 2] = ["hour", "day"];

/// How many rows are far more than usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unusual {
    /// Rows within an hour and within a day below which nothing is unusual.
    pub per_hour: u64,
    pub per_day: u64,
    /// How many times what is usual for the person.
    pub times_usual: u32,
}

impl Default for Unusual {
    fn default() -> Self {
        Unusual {
            per_hour: 1_000,
            per_day: 5_000,
            times_usual: 5,
        }
    }
}

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
    pub fn take(&mut self, observed: &Observed, unusual: &Unusual, alarms: &mut Vec<Alarm>) {
        let times = f64::from(unusual.times_usual);
        // Rows that a statement wrote have no bytes: nobody took them out.
        let rows = observed
            .rows
            .filter(|_| observed.bytes.is_some_and(|bytes| bytes > 0));
        let Some(rows) = rows.filter(|rows| *rows > 0) else {
            return;
        };
        let at = observed.at;
        let baselines = self.0.of(&observed.person, at);
        let constants = SPAN
            .iter()
            .zip([unusual.per_hour, unusual.per_day])
            .zip(KNOWN_AFTER)
            .zip(WEIGHT)
            .zip(NAMES);
        for (baseline, ((((span, least), known), weight), name)) in
            baselines.iter_mut().zip(constants)
        {
            baseline.add(at / span, rows, weight, times, least);
            if baseline.is_unusual(times, least, known) {
                baseline.told = true;
                alarms.push(Alarm {
                    kind: Kind::Volume,
                    person: observed.person.to_string(),
                    seq: observed.seq,
                    message: format!(
                        "{} rows within this {name}, {:.0} are usual",
                        baseline.rows, baseline.usual
                    ),
                    classes: observed.classes.iter().map(ToString::to_string).collect(),
                });
            }
        }
    }
}

impl Baseline {
    fn add(&mut self, number: u64, rows: u64, weight: f64, times: f64, least: u64) {
        if number > self.number {
            if self.rows > 0 {
                // What raised an alarm is learnt no faster than what just does not.
                let limit = (times * self.usual).max(least as f64);
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

    fn is_unusual(&self, times: f64, least: u64, known: u32) -> bool {
        !self.told
            && self.spans >= known
            && self.rows >= least
            && self.rows as f64 >= times * self.usual
    }
}
