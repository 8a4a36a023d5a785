//! Rows of the statement that runs, held against what it may take out and what its person has in hand.
use super::{Counted, Ledger, Running};
use crate::export::{Allowed, Count, LimitKind, clock};

impl Ledger {
    /// Counts a row of the statement that runs: its bytes on the wire, the number of rows it counts for, and the rows of
    /// protected relations that it shows.
    pub fn count(&mut self, bytes: u64, weight: u64, subjects: &[i64]) -> Counted {
        if self.running.as_ref().is_some_and(Running::hides_rows) {
            return Counted::Hidden;
        }
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

    /// The statement that fails costs a row of what its person may take out in an hour or a day, if it has given none: that it
    /// fails, and how, may tell what a row holds. `Some`: there is none left.
    pub fn fails(&mut self) -> Option<LimitKind> {
        self.ending_by_error()?;
        let running = self.running.as_ref()?;
        let (export, _) = self.limits_of(&running.statement);
        if running.meter.rows() > 0 || !running.is_counted(export) {
            return None;
        }
        match self.admit(0, 1, &[]) {
            Counted::Over(limit @ (LimitKind::PerHour | LimitKind::PerDay)) => Some(limit),
            Counted::Over(_) | Counted::Out | Counted::Hidden | Counted::Stopped => None,
        }
    }

    /// Whether what has such a weight may go out; what the person has in hand is spent.
    fn admit(&self, bytes: u64, weight: u64, subjects: &[i64]) -> Counted {
        let Some(running) = &self.running else {
            return Counted::Stopped;
        };
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
            if allowed.limits_rows() && !purse.spend(weight, allowed, now) {
                return Counted::Over(LimitKind::PerHour);
            }
        }
        Counted::Out
    }
}
