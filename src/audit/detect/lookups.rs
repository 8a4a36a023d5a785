//! Enumeration: values tried out one after the other on a column that can be looked up by its stored value.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::people::People;
use super::{Alarm, Kind};
use crate::audit::entry::Entry;

/// Lookups of one column within a minute that nobody does by hand.
pub const PER_MINUTE: u32 = 60;
/// With fewer within a minute, how many times what is usual for the person ...
pub const TIMES_USUAL: f64 = 5.0;
/// ... but no fewer than this.
pub const LEAST_UNUSUAL: u32 = 20;
/// Minutes with lookups after which it is known what is usual.
pub const KNOWN_AFTER: u32 = 30;
/// Lookups within [`PROBING_WINDOW`] that are looked at for how few of them find anything.
pub const PROBING_LEAST: u32 = 20;
/// Of 100 of them that find nothing.
pub const PROBING_EMPTY: u32 = 80;
/// Seconds.
pub const PROBING_WINDOW: u64 = 600;
/// An alarm about the same person and column is not raised again for so long: seconds.
pub const QUIET: u64 = 600;
/// Columns that are followed for a person; there are no more with `lookup: exact` in a sensible policy.
const MAX_COLUMNS: usize = 64;
/// How much of a new minute goes into what is usual.
const WEIGHT: f64 = 0.05;

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
    pub fn take(&mut self, entry: &Entry, person: &str, at: u64, alarms: &mut Vec<Alarm>) {
        if entry.lookups.is_empty() {
            return;
        }
        let columns = self.0.of(person, at);
        for name in &entry.lookups {
            if !columns.contains_key(name) && columns.len() >= MAX_COLUMNS {
                continue;
            }
            let column = columns.entry(name.clone()).or_default();
            column.count(at, entry.rows.unwrap_or(0) == 0);
            let alarm = |kind, message| Alarm {
                kind,
                person: person.to_owned(),
                seq: entry.seq,
                message,
                classes: Vec::new(),
            };
            if column.is_many() && due(&mut column.many_told, at) {
                let count = column.in_minute;
                let message = format!("{count} lookups of {name} within a minute");
                alarms.push(alarm(Kind::Enumeration, message));
            }
            if column.is_probing() && due(&mut column.empty_told, at) {
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
    fn count(&mut self, at: u64, empty: bool) {
        let minute = at / 60;
        if minute > self.minute {
            self.close_minute();
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

    fn close_minute(&mut self) {
        if self.in_minute > 0 {
            let count = f64::from(self.in_minute);
            // What raises alarms is not to become usual faster than it would at the limit.
            let count = count.min(f64::from(PER_MINUTE));
            self.usual = match self.minutes {
                0 => count,
                _ => self.usual + WEIGHT * (count - self.usual),
            };
            self.minutes = self.minutes.saturating_add(1);
        }
        self.in_minute = 0;
    }

    fn is_many(&self) -> bool {
        let unusual = self.minutes >= KNOWN_AFTER
            && self.in_minute >= LEAST_UNUSUAL
            && f64::from(self.in_minute) >= TIMES_USUAL * self.usual;
        self.in_minute >= PER_MINUTE || unusual
    }

    fn is_probing(&self) -> bool {
        self.in_window >= PROBING_LEAST
            && u64::from(self.empty) * 100 >= u64::from(self.in_window) * u64::from(PROBING_EMPTY)
    }
}
