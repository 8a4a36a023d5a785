//! What audit sinks do, by sink.
use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Maker, clamp};
use crate::audit::sink::Status;

pub struct SinkMetrics {
    records: IntCounterVec,
    failures: IntCounterVec,
    missing: IntCounterVec,
    rejected: IntCounterVec,
    lag: IntGaugeVec,
    oldest: IntGaugeVec,
}

impl SinkMetrics {
    pub fn new(made: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let label = &["sink"];
        Ok(SinkMetrics {
            records: made.counters("pgveil_audit_sink_records_total", label)?,
            failures: made.counters("pgveil_audit_sink_failures_total", label)?,
            missing: made.counters("pgveil_audit_sink_missing_total", label)?,
            rejected: made.counters("pgveil_audit_sink_rejected_total", label)?,
            lag: made.gauges("pgveil_audit_sink_lag_records", label)?,
            oldest: made.gauges("pgveil_audit_sink_oldest_seconds", label)?,
        })
    }

    /// A sink that is there no more.
    pub fn forget(&self, name: &str) {
        for counters in [&self.records, &self.failures, &self.missing, &self.rejected] {
            let _ = counters.remove_label_values(&[name]);
        }
        for gauges in [&self.lag, &self.oldest] {
            let _ = gauges.remove_label_values(&[name]);
        }
    }

    pub fn set(&self, status: &Status) {
        let sink = &[status.name.as_str()];
        for (counters, total) in [
            (&self.records, status.delivered),
            (&self.failures, status.failures),
            (&self.missing, status.missing),
            (&self.rejected, status.rejected),
        ] {
            // A sink that was changed counts anew.
            if counters.with_label_values(sink).get() > total {
                let _ = counters.remove_label_values(sink);
            }
            let counter = counters.with_label_values(sink);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.lag.with_label_values(sink).set(clamp(status.lag));
        let oldest = clamp(status.oldest.as_secs());
        self.oldest.with_label_values(sink).set(oldest);
    }
}
