//! Honeytokens: columns and rows that are there to be touched by whoever has no business there.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::people::People;
use super::{Alarm, Kind};
use crate::audit::classes::Classes;
use crate::audit::entry::Entry;

/// After an alarm further touches of the same class by the same person raise no other for so long: seconds. The
/// records of them are there all the same.
pub const QUIET: u64 = 60;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traps(People<BTreeMap<String, u64>>);

impl Traps {
    /// Whether a statement touches a column of one of the classes or a row that is a trap, refused or not.
    pub fn take(&mut self, entry: &Entry, person: &str, at: u64, traps: &Classes) -> Option<Alarm> {
        let touched = touched(entry, traps);
        if touched.is_empty() {
            return None;
        }
        let told = self.0.of(person, at);
        told.retain(|_, last| at < last.saturating_add(QUIET));
        let new: Vec<String> = touched
            .into_iter()
            .filter(|class| !told.contains_key(class))
            .collect();
        if new.is_empty() {
            return None;
        }
        told.extend(new.iter().map(|class| (class.clone(), at)));
        let (classes, rows): (Vec<String>, Vec<String>) =
            new.into_iter().partition(|name| traps.contains(name));
        let mut touches = Vec::new();
        if !classes.is_empty() {
            touches.push(format!("a column of {}", classes.join(", ")));
        }
        if !rows.is_empty() {
            touches.push(format!("a row of {}", rows.join(", ")));
        }
        Some(Alarm {
            kind: Kind::Honeytoken,
            person: person.to_owned(),
            seq: entry.seq,
            message: format!("a statement touched {}", touches.join(" and ")),
            classes,
        })
    }
}

/// The traps that a statement touches: those whose rows the record names, and classes, by the classes of the record as
/// well as by its columns, for the trap may be newer than the record's policy.
pub fn touched(entry: &Entry, traps: &Classes) -> Vec<String> {
    if traps.is_empty() {
        return entry.traps.clone();
    }
    let mut touched: Vec<String> = entry
        .classes
        .iter()
        .filter(|class| traps.contains(class))
        .cloned()
        .collect();
    for column in entry.column_names() {
        touched.extend(traps.of_column(column).map(str::to_owned));
    }
    touched.extend(entry.traps.iter().cloned());
    touched.sort();
    touched.dedup();
    touched
}
