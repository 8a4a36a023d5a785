//! What is read out of the record: reports, alarms, incidents.
mod report;
mod story;
