//! Coverage marks: where in the source refusals were made. In debug builds alone, for the test that holds each of them
//! to a statement (`tests/planning/marks.rs`).
use std::panic::Location;

#[cfg(debug_assertions)]
static REACHED: std::sync::Mutex<std::collections::BTreeSet<(&str, u32, u32)>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

/// Marks the place that asked for a refusal.
#[cfg(debug_assertions)]
pub(super) fn reach(place: &'static Location<'static>) {
    let mut reached = REACHED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    reached.insert((place.file(), place.line(), place.column()));
}

#[cfg(not(debug_assertions))]
pub(super) fn reach(_: &'static Location<'static>) {}

/// File, line and column (from 1) of all places that made a refusal in this process so far.
#[cfg(debug_assertions)]
pub fn reached() -> Vec<(&'static str, u32, u32)> {
    let reached = REACHED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    reached.iter().copied().collect()
}
