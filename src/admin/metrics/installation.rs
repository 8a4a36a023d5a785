//! What the proxy runs with: its version, limits, certificates, disk and process.
use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, IntGaugeVec};

use super::{Maker, Metrics, clamp};

/// What [`Metrics::show_process`] adds, under the names that every exporter of Prometheus uses.
pub const PROCESS: &[&str] = &[
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

pub struct Installation {
    sessions_limit: IntGauge,
    certificates: IntGaugeVec,
    disk_free: IntGauge,
}

impl Installation {
    pub fn new(made: &Maker<'_>) -> Result<Self, prometheus::Error> {
        let build = made.gauges("pgveil_build_info", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(Installation {
            sessions_limit: made.gauge("pgveil_sessions_limit")?,
            certificates: made.gauges(
                "pgveil_tls_certificate_not_after_timestamp_seconds",
                &["purpose"],
            )?,
            disk_free: made.gauge("pgveil_audit_disk_free_bytes")?,
        })
    }
}

impl Metrics {
    /// Shows CPU, memory and descriptors of this process as well.
    ///
    /// # Errors
    /// It is shown already.
    pub fn show_process(&self) -> Result<(), prometheus::Error> {
        self.registry
            .register(Box::new(ProcessCollector::for_self()))
    }

    pub fn sessions_limit(&self, limit: u64) {
        self.installation.sessions_limit.set(clamp(limit));
    }

    /// When a certificate in use ends, as Unix time; before 1970 for one that never began.
    pub fn certificate(&self, purpose: &str, not_after: i64) {
        self.installation
            .certificates
            .with_label_values(&[purpose])
            .set(not_after);
    }

    pub fn audit_disk_free(&self, bytes: u64) {
        self.installation.disk_free.set(clamp(bytes));
    }
}
