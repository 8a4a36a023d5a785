//! Names, kinds and help of all metrics.

/// Every metric: name, kind, help. The table of `docs/operators-guide.md` is this one.
pub const TABLE: &[(&str, &str, &str)] = &[
    (
        "pgveil_build_info",
        "gauge",
        "1 for the `version` that runs.",
    ),
    ("pgveil_sessions", "gauge", "Sessions that are logged in."),
    (
        "pgveil_sessions_limit",
        "gauge",
        "Sessions that may be logged in at the same time (`limits.max_sessions`).",
    ),
    (
        "pgveil_session_ends_total",
        "counter",
        "Sessions that ended, by `end`: `client_closed`, `client_lost`, `server_closed`, `protocol_violation`, `stopped` (by pgveil).",
    ),
    (
        "pgveil_connections_total",
        "counter",
        "Connections accepted, by what became of them: `accepted`, `too_many`, `accept_error`.",
    ),
    (
        "pgveil_logins_total",
        "counter",
        "Logins by `result`: `ok`, `failed`, `cancel` (a cancel request), `closed` (gone before an answer).",
    ),
    (
        "pgveil_login_failures_total",
        "counter",
        "Failed logins by who is to `blame`: `client`, `credentials`, `policy`, `server` (unreachable, or it refused), `pgveil` (full, or its settings do not fit the server's).",
    ),
    (
        "pgveil_statements_total",
        "counter",
        "Finished statements by `role`, `kind` and `verdict` (`pass`, `rewrite`, `refuse`).",
    ),
    (
        "pgveil_statement_duration_seconds",
        "histogram",
        "Time from a statement's first byte to the end of its result, by `role`.",
    ),
    (
        "pgveil_planning_seconds",
        "histogram",
        "Time to decide what runs for a statement, cache hits included.",
    ),
    (
        "pgveil_plan_cache_hits_total",
        "counter",
        "Plans found in the cache.",
    ),
    (
        "pgveil_plan_cache_misses_total",
        "counter",
        "Plans that had to be made.",
    ),
    (
        "pgveil_plan_cache_bytes",
        "gauge",
        "Bytes held by the plan cache.",
    ),
    (
        "pgveil_rows_total",
        "counter",
        "Rows sent to clients by `role` and `protected` (`true`: the statement reads a protected relation).",
    ),
    (
        "pgveil_refusals_total",
        "counter",
        "Statements refused by `role` and `reason`.",
    ),
    (
        "pgveil_not_enforced_total",
        "counter",
        "Statements of roles with `enforce: false` by `role`, and by the `verdict` and `reason` they would have had; they ran, and count as `pass` above.",
    ),
    (
        "pgveil_lookups_total",
        "counter",
        "Masked columns looked up by their stored value (`lookup: exact`), by `role`; who did is on record.",
    ),
    (
        "pgveil_export_stops_total",
        "counter",
        "Results ended at the row after an export limit, by `role` and `limit`.",
    ),
    (
        "pgveil_violations_total",
        "counter",
        "Results stopped because a masked column came back as a plain column. Anything but 0 is an alarm.",
    ),
    (
        "pgveil_audit_records_total",
        "counter",
        "Audit records written, by `event`.",
    ),
    (
        "pgveil_audit_failures_total",
        "counter",
        "Audit records that could not be written.",
    ),
    (
        "pgveil_audit_append_seconds",
        "histogram",
        "Time from when an audit record is made to when it is written; records of sessions that are busy at the same time share a write.",
    ),
    (
        "pgveil_audit_sync_wait_seconds",
        "histogram",
        "Time a session waits until its records are on the disk, with `audit.ack: synced`.",
    ),
    (
        "pgveil_audit_records_lost_total",
        "counter",
        "Audit records that could not be written and are not there.",
    ),
    (
        "pgveil_audit_head_seq",
        "gauge",
        "Records in the audit chain. Its head is kept outside of the machine wherever this is scraped.",
    ),
    (
        "pgveil_audit_head_hash",
        "gauge",
        "First 13 hexadecimal digits of the hash of that record, as a number.",
    ),
    (
        "pgveil_audit_spool_bytes",
        "gauge",
        "Bytes of all audit segments.",
    ),
    (
        "pgveil_audit_disk_free_bytes",
        "gauge",
        "Bytes that are free for pgveil on the disk of `audit.dir`.",
    ),
    (
        "pgveil_audit_segments_awaited",
        "gauge",
        "Audit segments over the limits of `audit.retain` that stay because a sink has not got them yet.",
    ),
    (
        "pgveil_audit_segments_held",
        "gauge",
        "Audit segments over the limits of `audit.retain` that stay because an open incident needs them as evidence.",
    ),
    (
        "pgveil_audit_unsynced_records",
        "gauge",
        "Audit records handed to the operating system but not yet known to be on the disk.",
    ),
    (
        "pgveil_alarms_total",
        "counter",
        "What was out of the ordinary on record, by `alarm` (`enumeration`, `probing`, `volume`, `honeytoken`, `violation`); each is a record, too.",
    ),
    (
        "pgveil_detection_behind_records",
        "gauge",
        "Audit records that have not been looked at for alarms yet.",
    ),
    (
        "pgveil_audit_sink_records_total",
        "counter",
        "Audit records delivered, by `sink`.",
    ),
    (
        "pgveil_audit_sink_failures_total",
        "counter",
        "Deliveries that failed and are tried again, by `sink`.",
    ),
    (
        "pgveil_audit_sink_missing_total",
        "counter",
        "Audit records that a `sink` did not get because the spool has them no more, or damaged. Anything but 0 is an alarm.",
    ),
    (
        "pgveil_audit_sink_rejected_total",
        "counter",
        "Audit records that the receiver of a `sink` will not have; they are set aside in `<audit.dir>/cursors`. Anything but 0 is an alarm.",
    ),
    (
        "pgveil_audit_sink_lag_records",
        "gauge",
        "Audit records that a `sink` has yet to deliver.",
    ),
    (
        "pgveil_audit_sink_oldest_seconds",
        "gauge",
        "Age of the oldest of these.",
    ),
    (
        "pgveil_policy_info",
        "gauge",
        "1 for the policy `version` in force.",
    ),
    (
        "pgveil_policy_last_reload_successful",
        "gauge",
        "1 while the policy's files are those in force, 0 after a change that could not be used: an alarm.",
    ),
    (
        "pgveil_policy_last_reload_success_timestamp_seconds",
        "gauge",
        "When the policy's files were last found to be right, as Unix time.",
    ),
    (
        "pgveil_settings_last_reload_successful",
        "gauge",
        "1 while `pgveil.yaml` and the files it names are those in force, 0 after a change that could not be used: an alarm.",
    ),
    (
        "pgveil_settings_last_reload_success_timestamp_seconds",
        "gauge",
        "When they were last found to be right, as Unix time.",
    ),
    (
        "pgveil_upgrades_failed_total",
        "counter",
        "Successors that SIGUSR2 asked for and that did not take over; this process went on.",
    ),
    (
        "pgveil_policy_drift",
        "gauge",
        "What of the policy does not fit a served `database` any more (and is protected all the same). Anything but 0 is an alarm.",
    ),
    (
        "pgveil_state_available",
        "gauge",
        "1 while the store of budgets and approvals can be read and written. 0 is an alarm: what needs it is refused.",
    ),
    (
        "pgveil_export_requests_pending",
        "gauge",
        "Export requests that wait for signatures, in the state as last looked at; proxies that share a state all show it.",
    ),
    (
        "pgveil_export_requests_oldest_seconds",
        "gauge",
        "How long the oldest of these waits.",
    ),
    (
        "pgveil_notifications_total",
        "counter",
        "Attempts to tell approvers of a request, by `channel` (`webhook`, `mail`) and `result` (`sent`, `failed`: tried again).",
    ),
    (
        "pgveil_notifications_pending",
        "gauge",
        "Steps of requests that approvers have not been told of.",
    ),
    (
        "pgveil_notifications_oldest_seconds",
        "gauge",
        "How long the oldest of these waits.",
    ),
    (
        "pgveil_tls_certificate_not_after_timestamp_seconds",
        "gauge",
        "When the first of the certificates in use for a `purpose` ends, as Unix time: `listener`, `client_ca`, `console`, `upstream_ca`, `state_ca`.",
    ),
    ("pgveil_ready", "gauge", "1 while /readyz answers 200."),
];
