//! The last refusals, kept in memory for people who watch.
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::{Event, Record};

/// Records that are kept.
pub const CAPACITY: usize = 200;

/// The last records of something that was refused or stopped. They are on the audit record; this is for looking at.
#[derive(Debug, Default)]
pub struct Recent {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Of the last one, from 1.
    number: u64,
    records: VecDeque<(u64, Arc<Record>)>,
}

impl Recent {
    /// Keeps a record if it is about something refused or stopped.
    pub fn note(&self, record: &Record) {
        if !matches!(
            record.event,
            Event::Refusal | Event::ExportStop | Event::Violation | Event::LoginFailed
        ) {
            return;
        }
        let record = Arc::new(record.clone());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.number = kept.number.saturating_add(1);
        let number = kept.number;
        if kept.records.len() >= CAPACITY {
            kept.records.pop_front();
        }
        kept.records.push_back((number, record));
    }

    /// The records after a number, the latest first, at most so many.
    pub fn after(&self, number: u64, limit: usize) -> Vec<(u64, Arc<Record>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records
            .iter()
            .rev()
            .take_while(|(at, _)| *at > number)
            .take(limit)
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn numbers(recent: &Recent, after: u64) -> Vec<u64> {
        let found = recent.after(after, usize::MAX);
        found.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn refusals_are_kept_up_to_a_number_and_nothing_else_is() {
        let recent = Recent::default();
        let refusal = Record::new(Event::Refusal, SystemTime::UNIX_EPOCH);
        recent.note(&Record::new(Event::Statement, SystemTime::UNIX_EPOCH));
        assert!(numbers(&recent, 0).is_empty());
        (0..CAPACITY + 5).for_each(|_| recent.note(&refusal));
        assert_eq!(numbers(&recent, 0).len(), CAPACITY);
        let last = CAPACITY as u64 + 5;
        assert_eq!(numbers(&recent, last - 2), [last, last - 1]);
        assert_eq!(recent.after(0, 3).len(), 3);
    }
}
