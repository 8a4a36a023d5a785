//! What is read out of the record: reports, alarms, incidents.
mod alarms;
mod report;
mod story;
#[path = "../support/mod.rs"]
mod support;
mod traps;
