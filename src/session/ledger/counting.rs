//! Rows of the statement that runs, held against what it may take out and what its person has in hand.
use super::{Counted, Ledger};
use crate::export::{Allowed, Count, LimitKind, clock};

impl Ledger {
    /// Counts a row of the statement that runs: its bytes on the wire, the number of rows it counts for, and the rows of
    /// protected relations that it shows.
    pub fn count(&mut self, bytes: u64, weight: u64, subjects: &[i64]) -> Counted {
        let counted = self.admit(bytes, weight, subjects);
        if let (Counted::Out, Some(running)) = (counted, self.running.as_mut()) {
            running.meter.add(bytes, weight);
        }
        counted
    }

    /// Counts rows that the statement that runs has put into another relation.
    pub fn store(&mut self, rows: u64, weight: u64) -> Counted {
        let counted = self.admit(0, weight, &[]);
        if let (Counted::Out, Some(running)) = (counted, self.running.as_mut()) {
            running.meter.store(rows, weight);
        }
        counted
    }

    /// Whether what has such a weight may go out; what the person has in hand is spent.
    fn admit(&self, bytes: u64, weight: u64, subjects: &[i64]) -> Counted {
        let Some(running) = &self.running else {
            return Counted::Stopped;
        };
        if running.hides_rows() {
            return Counted::Hidden;
        }
        if running.stopped.is_some() {
            return Counted::Stopped;
        }
        if running.unlimited {
            return Counted::Out;
        }
        if let Count::Over(limit) = running.meter.check(bytes, weight) {
            return Counted::Over(limit);
        }
        let (export, purse) = self.limits_of(&running.statement);
        let allowed = Allowed::from(&**export);
        if let Some(purse) = purse
            && allowed.any()
            && running.grant.is_none()
            && !running.meter.awaits_header()
            && running.is_counted(export)
        {
            let now = clock::now();
            if allowed.subjects_per_day.is_some()
                && !subjects.iter().all(|subject| purse.see(*subject, now))
            {
                return Counted::Over(LimitKind::SubjectsPerDay);
            }
            if allowed.limits_rows() && !purse.spend(weight, now) {
                return Counted::Over(LimitKind::PerHour);
            }
        }
        Counted::Out
    }
}
