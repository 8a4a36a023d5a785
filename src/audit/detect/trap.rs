//! Honeytokens: columns and rows that are there to be touched by whoever has no business there.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::people::People;
use super::{Alarm, Kind};
use crate::audit::classes::Classes;

/// After an alarm further touches of the same class by the same person raise no other for so long: seconds. The
/// records of them are there all the same.
pub const QUIET: u64 = 60;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traps(People<BTreeMap<String, u64>>);

impl Traps {
    /// Whether a statement touches a column of one of the classes or a row that is a trap, refused or not.
    pub fn take(&mut self, observed: &Observed, traps: &Classes) -> Option<Alarm> {
        let touched = touched(observed, traps);
        if touched.is_empty() {
            return None;
        }
        let at = observed.at;
        let told = self.0.of(&observed.person, at);
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
            person: observed.person.to_string(),
            seq: observed.seq,
            message: format!("a statement touched {}", touches.join(" and ")),
            classes,
        })
    }
}

/// The traps that a statement touches: those whose rows the record names, and classes, by the classes of the record as
/// well as by its columns, for the trap may be newer than the record's policy. Of a relation that is a trap as a whole any use
/// is one: rows are counted, deleted and locked without a column.
pub fn touched(observed: &Observed, traps: &Classes) -> Vec<String> {
    let rows = observed.traps.iter().map(ToString::to_string);
    if traps.is_empty() {
        return rows.collect();
    }
    let mut touched: Vec<String> = observed
        .classes
        .iter()
        .filter(|class| traps.contains(class))
        .map(ToString::to_string)
        .collect();
    for column in observed.column_names() {
        touched.extend(traps.of_column(column).map(str::to_owned));
    }
    for relation in observed.reads.iter().chain(observed.writes.iter()) {
        touched.extend(traps.of_whole(relation).map(str::to_owned));
    }
    touched.extend(rows);
    touched.sort();
    touched.dedup();
    touched
}
