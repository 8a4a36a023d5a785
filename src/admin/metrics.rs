//! The metrics, in one place: names, help and how they are counted. Nothing else knows the metrics library.
//!
//! Labels take values from closed sets, never names or data that a client chooses:
//!
//! | label | its values | how many |
//! | --- | --- | --- |
//! | `role` | roles of the policies since the start | those of the policy; a role that a reload renames leaves its series until the restart |
//! | `kind` | [`crate::sql`]'s words for statements, as constants | some sixty |
//! | `verdict`, `protected`, `result`, `blame`, `end`, `channel`, `purpose`, `limit` | the variants of an enum each | at most ten |
//! | `reason` | reasons of refusals, as constants | some thirty |
//! | `event`, `alarm` | events of the record, detectors | some twenty |
//! | `sink` | names in `audit.sinks` | those of the configuration |
//! | `database` | databases that the policy was held against: existing ones, by the server's spelling | those of the server |
//! | `version` | the policy in force, the program | 1 |
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

mod beginning;
mod installation;
mod maker;
mod role;
mod sinks;
mod table;

pub use self::installation::PROCESS;
pub use self::table::TABLE;

use self::installation::Installation;
use self::maker::Maker;
use self::role::RoleMetrics;
use self::sinks::SinkMetrics;
use super::recent::Recent;
use crate::audit::retention::Kept;
use crate::audit::sink::Status;
use crate::audit::{Event, Spool};

/// Seconds; from a cached plan to a slow disk.
const SHORT: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005,
    0.01, 0.025, 0.1, 1.0,
];
/// Seconds; from a lookup by key to a report.
const LONG: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0, 300.0,
];

/// What became of a connection before login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    Accepted,
    TooMany,
    AcceptError,
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginResult {
    Ok,
    Failed,
    Cancel,
    Closed,
}

/// All counters of the process. Made once and shared.
pub struct Metrics {
    registry: Registry,
    sessions: IntGauge,
    connections: IntCounterVec,
    logins: IntCounterVec,
    login_failures: IntCounterVec,
    session_ends: IntCounterVec,
    statements: IntCounterVec,
    statement_duration: HistogramVec,
    planning: Histogram,
    cache_hits: IntCounter,
    cache_misses: IntCounter,
    cache_bytes: IntGauge,
    rows: IntCounterVec,
    refusals: IntCounterVec,
    not_enforced: IntCounterVec,
    lookups: IntCounterVec,
    export_stops: IntCounterVec,
    violations: IntCounter,
    audit_records: IntCounterVec,
    /// What every statement counts, by role: of a closed set, as the label is.
    by_role: DashMap<String, RoleMetrics, RandomState>,
    /// Those of statements, which are nearly all.
    audit_statements: OnceLock<IntCounter>,
    audit_failures: IntCounter,
    audit_append: Histogram,
    audit_sync_wait: Histogram,
    audit_unsynced: IntGauge,
    alarms: IntCounterVec,
    detection_behind: IntGauge,
    audit_lost: IntCounter,
    audit_head_seq: IntGauge,
    audit_head_hash: IntGauge,
    audit_bytes: IntGauge,
    audit_awaited: IntGauge,
    audit_held: IntGauge,
    audit_sinks: SinkMetrics,
    policy_info: IntGaugeVec,
    /// The version that it shows.
    policy_shown: Mutex<String>,
    policy_reload_successful: IntGauge,
    policy_reload_time: IntGauge,
    settings_reload_successful: IntGauge,
    settings_reload_time: IntGauge,
    upgrades_failed: IntCounter,
    policy_drift: IntGaugeVec,
    state_available: IntGauge,
    requests_pending: IntGauge,
    requests_oldest: IntGauge,
    notifications: IntCounterVec,
    notifications_pending: IntGauge,
    notifications_oldest: IntGauge,
    installation: Installation,
    ready: IntGauge,
    /// The last refusals, for the console.
    pub recent: Arc<Recent>,
}

/// Counts one session in `pgveil_sessions` until it is dropped.
pub struct SessionGuard(IntGauge);

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// # Errors
    /// A name is registered twice or is no metric name: a fault in this file, held by a test.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let made = Maker(&registry);
        let metrics = Metrics {
            sessions: made.gauge("pgveil_sessions")?,
            connections: made.counters("pgveil_connections_total", &["result"])?,
            logins: made.counters("pgveil_logins_total", &["result"])?,
            login_failures: made.counters("pgveil_login_failures_total", &["blame"])?,
            session_ends: made.counters("pgveil_session_ends_total", &["end"])?,
            statements: made.counters("pgveil_statements_total", &["role", "kind", "verdict"])?,
            statement_duration: made.histograms(
                "pgveil_statement_duration_seconds",
                &["role"],
                LONG,
            )?,
            planning: made.histogram("pgveil_planning_seconds", SHORT)?,
            cache_hits: made.counter("pgveil_plan_cache_hits_total")?,
            cache_misses: made.counter("pgveil_plan_cache_misses_total")?,
            cache_bytes: made.gauge("pgveil_plan_cache_bytes")?,
            rows: made.counters("pgveil_rows_total", &["role", "protected"])?,
            refusals: made.counters("pgveil_refusals_total", &["role", "reason"])?,
            not_enforced: made
                .counters("pgveil_not_enforced_total", &["role", "verdict", "reason"])?,
            lookups: made.counters("pgveil_lookups_total", &["role"])?,
            export_stops: made.counters("pgveil_export_stops_total", &["role", "limit"])?,
            violations: made.counter("pgveil_violations_total")?,
            audit_records: made.counters("pgveil_audit_records_total", &["event"])?,
            by_role: DashMap::default(),
            audit_statements: OnceLock::new(),
            audit_failures: made.counter("pgveil_audit_failures_total")?,
            audit_append: made.histogram("pgveil_audit_append_seconds", SHORT)?,
            audit_sync_wait: made.histogram("pgveil_audit_sync_wait_seconds", SHORT)?,
            audit_unsynced: made.gauge("pgveil_audit_unsynced_records")?,
            alarms: made.counters("pgveil_alarms_total", &["alarm"])?,
            detection_behind: made.gauge("pgveil_detection_behind_records")?,
            audit_lost: made.counter("pgveil_audit_records_lost_total")?,
            audit_head_seq: made.gauge("pgveil_audit_head_seq")?,
            audit_head_hash: made.gauge("pgveil_audit_head_hash")?,
            audit_bytes: made.gauge("pgveil_audit_spool_bytes")?,
            audit_awaited: made.gauge("pgveil_audit_segments_awaited")?,
            audit_held: made.gauge("pgveil_audit_segments_held")?,
            audit_sinks: SinkMetrics::new(&made)?,
            policy_info: made.gauges("pgveil_policy_info", &["version"])?,
            policy_shown: Mutex::default(),
            policy_reload_successful: made.gauge("pgveil_policy_last_reload_successful")?,
            policy_reload_time: made
                .gauge("pgveil_policy_last_reload_success_timestamp_seconds")?,
            settings_reload_successful: made.gauge("pgveil_settings_last_reload_successful")?,
            settings_reload_time: made
                .gauge("pgveil_settings_last_reload_success_timestamp_seconds")?,
            upgrades_failed: made.counter("pgveil_upgrades_failed_total")?,
            policy_drift: made.gauges("pgveil_policy_drift", &["database"])?,
            state_available: made.gauge("pgveil_state_available")?,
            requests_pending: made.gauge("pgveil_export_requests_pending")?,
            requests_oldest: made.gauge("pgveil_export_requests_oldest_seconds")?,
            notifications: made.counters("pgveil_notifications_total", &["channel", "result"])?,
            notifications_pending: made.gauge("pgveil_notifications_pending")?,
            notifications_oldest: made.gauge("pgveil_notifications_oldest_seconds")?,
            installation: Installation::new(&made)?,
            ready: made.gauge("pgveil_ready")?,
            recent: Arc::default(),
            registry,
        };
        Ok(metrics)
    }

    /// A session has logged in; it counts until the guard is dropped.
    pub fn session(&self) -> SessionGuard {
        self.sessions.inc();
        SessionGuard(self.sessions.clone())
    }

    pub fn sessions(&self) -> u64 {
        u64::try_from(self.sessions.get()).unwrap_or(0)
    }

    pub fn connection(&self, what: Connection) {
        let result = match what {
            Connection::Accepted => "accepted",
            Connection::TooMany => "too_many",
            Connection::AcceptError => "accept_error",
        };
        self.connections.with_label_values(&[result]).inc();
    }

    pub fn login(&self, result: LoginResult) {
        let result = match result {
            LoginResult::Ok => "ok",
            LoginResult::Failed => "failed",
            LoginResult::Cancel => "cancel",
            LoginResult::Closed => "closed",
        };
        self.logins.with_label_values(&[result]).inc();
    }

    /// A login failed. `blame` is the label of who is to blame.
    pub fn login_failure(&self, blame: &str) {
        self.login(LoginResult::Failed);
        self.login_failures.with_label_values(&[blame]).inc();
    }

    /// A session has ended. `end` is the label of how, in words.
    pub fn session_end(&self, end: &str) {
        self.ended(end).inc();
    }

    fn ended(&self, end: &str) -> IntCounter {
        let end = end.replace(' ', "_");
        self.session_ends.with_label_values(&[end.as_str()])
    }

    /// A statement has ended. `verdict` is `pass`, `rewrite` or `refuse`.
    pub fn statement(&self, role: &str, kind: &str, verdict: &'static str, duration: Duration) {
        self.of_role(role, |known| {
            known.statement(self, role, kind, verdict, duration);
        });
    }

    fn of_role(&self, role: &str, count: impl FnOnce(&RoleMetrics)) {
        match self.by_role.get(role) {
            Some(known) => count(&known),
            None => count(&self.by_role.entry(role.to_owned()).or_default()),
        }
    }

    /// A statement looked up that many columns by their stored values.
    pub fn lookups(&self, role: &str, count: usize) {
        if let Ok(count @ 1..) = u64::try_from(count) {
            self.lookups.with_label_values(&[role]).inc_by(count);
        }
    }

    pub fn planned(&self, took: Duration, cached: bool) {
        self.planning.observe(took.as_secs_f64());
        if cached {
            self.cache_hits.inc();
        } else {
            self.cache_misses.inc();
        }
    }

    pub fn plan_cache_bytes(&self, bytes: u64) {
        self.cache_bytes.set(clamp(bytes));
    }

    pub fn rows(&self, role: &str, protected: bool, count: u64) {
        self.of_role(role, |known| known.rows(self, role, protected, count));
    }

    /// `reason` is the label of a refusal's reason.
    pub fn refusal(&self, role: &str, reason: &str) {
        self.refusals.with_label_values(&[role, reason]).inc();
    }

    /// A statement of a role that is not enforced, by what would have become of it; `reason` is empty where it would have
    /// run to its end.
    pub fn not_enforced(&self, role: &str, verdict: &str, reason: &str) {
        self.not_enforced
            .with_label_values(&[role, verdict, reason])
            .inc();
    }

    /// `reason` is the label of the limit.
    pub fn export_stop(&self, role: &str, reason: &str) {
        self.export_stops
            .with_label_values(&[role, limit(reason)])
            .inc();
    }

    pub fn violation(&self) {
        self.violations.inc();
    }

    pub fn audit_record(&self, event: Event, took: Duration) {
        let counter = || self.audit_records.with_label_values(&[event.label()]);
        match event {
            Event::Statement => self.audit_statements.get_or_init(counter).inc(),
            _ => counter().inc(),
        }
        self.audit_append.observe(took.as_secs_f64());
    }

    /// A session has waited until its records were on the disk.
    pub fn audit_settled(&self, waited: Duration) {
        self.audit_sync_wait.observe(waited.as_secs_f64());
    }

    pub fn audit_failure(&self) {
        self.audit_failures.inc();
    }

    /// The state of the spool when it is scraped.
    pub fn audit_spool(&self, spool: &Spool) {
        self.audit_unsynced.set(clamp(spool.unsynced()));
        let head = spool.head();
        self.audit_head_seq.set(clamp(head.seq));
        self.audit_head_hash.set(clamp(head.hash.leading()));
        let known = self.audit_lost.get();
        self.audit_lost.inc_by(spool.lost().saturating_sub(known));
    }

    /// What the last round of retention left.
    pub fn audit_kept(&self, kept: &Kept) {
        self.audit_bytes.set(clamp(kept.bytes));
        self.audit_awaited.set(clamp(kept.awaited));
        self.audit_held.set(clamp(kept.held));
    }

    /// An alarm was raised. `alarm` is the label of its kind.
    pub fn alarm(&self, alarm: &str) {
        self.alarms.with_label_values(&[alarm]).inc();
    }

    /// Records that have not been looked at for alarms.
    pub fn detection_behind(&self, records: u64) {
        self.detection_behind.set(clamp(records));
    }

    /// A sink that is there no more.
    pub fn audit_sink_gone(&self, name: &str) {
        self.audit_sinks.forget(name);
    }

    /// What a sink has done since it began.
    pub fn audit_sink(&self, status: &Status) {
        self.audit_sinks.set(status);
    }

    /// The policy in force; the one before goes, and not before: a scrape always finds one.
    pub fn policy(&self, version: &str) {
        let mut shown = self
            .policy_shown
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *shown == version {
            return;
        }
        self.policy_info.with_label_values(&[version]).set(1);
        let before = std::mem::replace(&mut *shown, version.to_owned());
        // The first has none before it.
        let _ = self.policy_info.remove_label_values(&[&before]);
    }

    /// The policy's files were read: whether they are right.
    pub fn policy_reload(&self, right: bool) {
        self.policy_reload_successful.set(i64::from(right));
        if right {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            self.policy_reload_time
                .set(clamp(now.unwrap_or_default().as_secs()));
        }
    }

    /// The settings and the files they name were read: whether they are right.
    pub fn settings_reload(&self, right: bool) {
        self.settings_reload_successful.set(i64::from(right));
        if right {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            self.settings_reload_time
                .set(clamp(now.unwrap_or_default().as_secs()));
        }
    }

    /// A successor did not take over.
    pub fn upgrade_failed(&self) {
        self.upgrades_failed.inc();
    }

    /// How many names of the policy have lost what they meant in a database.
    pub fn policy_drift(&self, database: &str, findings: usize) {
        let findings = i64::try_from(findings).unwrap_or(i64::MAX);
        self.policy_drift
            .with_label_values(&[database])
            .set(findings);
    }

    /// Whether the store of budgets and approvals has answered.
    pub fn state_available(&self, available: bool) {
        self.state_available.set(i64::from(available));
    }

    /// Requests that wait for signatures, and seconds that the oldest waits.
    pub fn requests_waiting(&self, pending: u64, oldest: u64) {
        self.requests_pending.set(clamp(pending));
        self.requests_oldest.set(clamp(oldest));
    }

    /// What the worker that tells approvers has done since the start. Never less than before.
    pub fn notifications(&self, channel: &str, result: &str, total: u64) {
        let counter = self.notifications.with_label_values(&[channel, result]);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// What it has yet to tell: steps, and seconds that the oldest waits.
    pub fn notifications_waiting(&self, pending: u64, oldest: u64) {
        self.notifications_pending.set(clamp(pending));
        self.notifications_oldest.set(clamp(oldest));
    }

    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// All metrics in Prometheus' text format (version 0.0.4).
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }
}

/// The limit's name in the policy.
fn limit(reason: &str) -> &str {
    reason.strip_prefix("export_").unwrap_or(reason)
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
