//! What statements of one role count, found once and not by its labels for each statement.
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::Metrics;

/// The counters that every statement of a role raises. Each shows from the first time that it counts anything.
#[derive(Default)]
pub(super) struct RoleMetrics {
    duration: OnceLock<Histogram>,
    /// By kind and verdict; there are few of them.
    statements: RwLock<Vec<(String, &'static str, IntCounter)>>,
    /// Of unprotected and of protected results.
    rows: [OnceLock<IntCounter>; 2],
}

impl RoleMetrics {
    pub fn statement(
        &self,
        metrics: &Metrics,
        role: &str,
        kind: &str,
        verdict: &'static str,
        duration: Duration,
    ) {
        let known = self
            .statements
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let found = known
            .iter()
            .find(|(known, of, _)| known == kind && *of == verdict);
        match found {
            Some((_, _, counter)) => counter.inc(),
            None => {
                drop(known);
                self.first(metrics, role, kind, verdict);
            }
        }
        self.duration
            .get_or_init(|| metrics.statement_duration.with_label_values(&[role]))
            .observe(duration.as_secs_f64());
    }

    fn first(&self, metrics: &Metrics, role: &str, kind: &str, verdict: &'static str) {
        let counter = metrics.statements.with_label_values(&[role, kind, verdict]);
        counter.inc();
        let mut known = self
            .statements
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Another session may have come first.
        if !known.iter().any(|(of, by, _)| of == kind && *by == verdict) {
            known.push((kind.to_owned(), verdict, counter));
        }
    }

    pub fn rows(&self, metrics: &Metrics, role: &str, protected: bool, count: u64) {
        let [open, closed] = &self.rows;
        let counter = if protected { closed } else { open };
        let label = if protected { "true" } else { "false" };
        counter
            .get_or_init(|| metrics.rows.with_label_values(&[role, label]))
            .inc_by(count);
    }
}
