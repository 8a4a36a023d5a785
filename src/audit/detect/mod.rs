//! What is out of the ordinary, told from the records as they come.
//!
//! Detectors are pure: they take records as [`observed`] in their order and the time from them, and their state is
//! bounded and can be written down. Alarms are records themselves, which no detector looks at.
//!
//! * [`lookups`]: somebody tries values out on a column that can be looked up.
//! * [`volume`]: somebody takes far more than that person usually does.
//! * [`trap`]: somebody touches a column that nobody has a reason to.
//! * A violation: the second line of defence stopped a result.
//!
//! What they cannot see: the values of lookups are not on record, so whether they count upwards is not known, only how
//! many there are and how few find anything; and one lookup with a list of a thousand values is one lookup.
pub mod lookups;
pub mod observed;
mod people;
pub mod trap;
pub mod volume;

use serde::{Deserialize, Serialize};

use self::observed::{Observable, Observed};
use super::classes::Classes;

/// What is wrong. Also the label of `pgveil_alarms_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Many lookups within a minute.
    Enumeration,
    /// Many lookups that find nothing.
    Probing,
    /// Far more rows than the person usually takes.
    Volume,
    /// A column of a class with `alarm: true` was touched.
    Honeytoken,
    /// The second line of defence stopped a result.
    Violation,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Enumeration,
        Kind::Probing,
        Kind::Volume,
        Kind::Honeytoken,
        Kind::Violation,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Kind::Enumeration => "enumeration",
            Kind::Probing => "probing",
            Kind::Volume => "volume",
            Kind::Honeytoken => "honeytoken",
            Kind::Violation => "violation",
        }
    }

    /// Whether it may be a breach of personal data, so that the clock of telling the authority runs.
    pub const fn is_breach(self) -> bool {
        matches!(self, Kind::Honeytoken | Kind::Violation)
    }
}

/// Something out of the ordinary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub kind: Kind,
    /// Whose doing it is, as far as the record knows.
    pub person: String,
    /// The record that raised it.
    pub seq: u64,
    pub message: String,
    /// Classes of data that it is about, where they are known.
    pub classes: Vec<String>,
}

/// What raises alarms that are a matter of measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Thresholds {
    pub enumeration: lookups::Enumeration,
    pub probing: lookups::Probing,
    pub volume: volume::Unusual,
}

/// All detectors with what they remember.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Detector {
    lookups: lookups::Lookups,
    volume: volume::Volume,
    traps: trap::Traps,
}

impl Detector {
    /// Takes the next record. `traps` are the classes of which nobody has a reason to touch a column.
    pub fn take(
        &mut self,
        observed: &Observed,
        traps: &Classes,
        thresholds: &Thresholds,
    ) -> Vec<Alarm> {
        if observed.event == Observable::Violation {
            return vec![Alarm {
                kind: Kind::Violation,
                person: observed.person.to_string(),
                seq: observed.seq,
                message: "a result was stopped: the server sent what the policy masks".to_owned(),
                classes: Vec::new(),
            }];
        }
        let mut alarms = Vec::new();
        alarms.extend(self.traps.take(observed, traps));
        if observed.event == Observable::Statement {
            let lookups = (&thresholds.enumeration, &thresholds.probing);
            self.lookups.take(observed, lookups, &mut alarms);
            self.volume.take(observed, &thresholds.volume, &mut alarms);
        }
        alarms
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
