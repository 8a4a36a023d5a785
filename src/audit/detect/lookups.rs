//! Enumeration: values tried out one after the other on a column that can be looked up by its stored value.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::people::People;
use super::{Alarm, Kind};

/// Minutes with lookups after which it is known what is usual.
pub const KNOWN_AFTER: u32 = 30;
/// Seconds.
pub const PROBING_WINDOW: u64 = 600;
/// An alarm about the same person and column is not raised again for so long: seconds.
pub const QUIET: u64 = 600;
/// Columns that are followed for a person; there are no more with `lookup: exact` in a sensible policy.
const MAX_COLUMNS: usize = 64;
/// How much of a new minute goes into what is usual.
const WEIGHT: f64 = 0.05;

/// How many lookups of one column by one person within a minute are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumeration {
    /// What nobody does by hand.
    pub per_minute: u32,
    /// With fewer, how many times what is usual for the person ...
    pub times_usual: u32,
    /// ... but no fewer than this.
    pub least: u32,
}

impl Default for Enumeration {
    fn default() -> Self {
        Enumeration {
            per_minute: 60,
            times_usual: 5,
            least: 20,
        }
    }
}

/// How few lookups within [`PROBING_WINDOW`] may find anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// Fewer lookups are not looked at.
    pub least: u32,
    /// Percent of them that find nothing.
    pub empty: u32,
}

impl Default for Probing {
    fn default() -> Self {
        Probing {
            least: 20,
            empty: 80,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lookups(People<BTreeMap<String, Column>>);

/// One person's lookups of one column.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Column {
    /// Since 1970.
    minute: u64,
    in_minute: u32,
    /// Lookups in a minute that has any, and how many minutes it rests on.
    usual: f64,
    minutes: u32,
    /// Number of the window, and the lookups in it.
    window: u64,
    in_window: u32,
    empty: u32,
    /// When an alarm was raised last.
    many_told: u64,
    empty_told: u64,
}

impl Lookups {
    pub fn take(
        &mut self,
        observed: &Observed,
        (many, probing): (&Enumeration, &Probing),
        alarms: &mut Vec<Alarm>,
    ) {
        if observed.lookups.is_empty() {
            return;
        }
        let at = observed.at;
        let columns = self.0.of(&observed.person, at);
        for name in observed.lookups.iter() {
            if !columns.contains_key(name) && columns.len() >= MAX_COLUMNS {
                continue;
            }
            let column = columns.entry(name.clone()).or_default();
            column.count(at, observed.rows.unwrap_or(0) == 0, many);
            let alarm = |kind, message| Alarm {
                kind,
                person: observed.person.to_string(),
                seq: observed.seq,
                message,
                classes: Vec::new(),
            };
            if column.is_many(many) && due(&mut column.many_told, at) {
                let count = column.in_minute;
                let message = format!("{count} lookups of {name} within a minute");
                alarms.push(alarm(Kind::Enumeration, message));
            }
            if column.is_probing(probing) && due(&mut column.empty_told, at) {
                let (empty, all) = (column.empty, column.in_window);
                let message = format!("{empty} of {all} lookups of {name} found nothing");
                alarms.push(alarm(Kind::Probing, message));
            }
        }
    }
}

/// Whether an alarm may be raised again; notes that it is.
fn due(told: &mut u64, at: u64) -> bool {
    let due = *told == 0 || at >= told.saturating_add(QUIET);
    if due {
        *told = at.max(1);
    }
    due
}

impl Column {
    fn count(&mut self, at: u64, empty: bool, many: &Enumeration) {
        let minute = at / 60;
        if minute > self.minute {
            self.close_minute(many);
            self.minute = minute;
        }
        self.in_minute = self.in_minute.saturating_add(1);
        let window = at / PROBING_WINDOW;
        if window > self.window {
            (self.window, self.in_window, self.empty) = (window, 0, 0);
        }
        self.in_window = self.in_window.saturating_add(1);
        self.empty = self.empty.saturating_add(u32::from(empty));
    }

    fn close_minute(&mut self, many: &Enumeration) {
        if self.in_minute > 0 {
            let count = f64::from(self.in_minute);
            // What raises alarms is not to become usual faster than it would at the limit.
            let count = count.min(f64::from(many.per_minute));
            self.usual = match self.minutes {
                0 => count,
                _ => self.usual + WEIGHT * (count - self.usual),
            };
            self.minutes = self.minutes.saturating_add(1);
        }
        self.in_minute = 0;
    }

    fn is_many(&self, many: &Enumeration) -> bool {
        let unusual = self.minutes >= KNOWN_AFTER
            && self.in_minute >= many.least
            && f64::from(self.in_minute) >= f64::from(many.times_usual) * self.usual;
        self.in_minute >= many.per_minute || unusual
    }

    fn is_probing(&self, probing: &Probing) -> bool {
        self.in_window >= probing.least
            && u64::from(self.empty) * 100 >= u64::from(self.in_window) * u64::from(probing.empty)
    }
}
