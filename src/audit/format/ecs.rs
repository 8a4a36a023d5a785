//! Elastic Common Schema, version 8.17 (elastic.co/guide/en/ecs/8.17). What the schema has no field for stands under
//! `pgveil`, with the names of the native record.
use serde_json::{Map, Value, json};

use super::{Recorded, Severity, members, put, severity, succeeded, summary, text};
use crate::audit::entry::Entry;

/// Of the schema.
pub const VERSION: &str = "8.17.0";

/// Members of the native record that have a field of the schema.
const MAPPED: [&str; 14] = [
    "seq",
    "hash",
    "time",
    "event",
    "client_addr",
    "tls",
    "db_user",
    "person",
    "app_user",
    "text",
    "duration",
    "reason",
    "message",
    "sqlstate",
];

/// `event.kind`, `event.category` and `event.type`: words of the schema.
fn classes(
    event: &str,
) -> (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
) {
    match event {
        "statement" => ("event", &["database"], &["access"]),
        "refusal" | "export_stop" => (
            "event",
            &["database", "intrusion_detection"],
            &["access", "denied"],
        ),
        "violation" | "alarm" => (
            "alert",
            &["database", "intrusion_detection"],
            &["access", "denied"],
        ),
        "login" => ("event", &["authentication", "session"], &["start"]),
        "login_failed" => ("event", &["authentication"], &["start"]),
        "logout" => ("event", &["authentication", "session"], &["end"]),
        "export" => ("event", &["iam"], &["admin", "change"]),
        "policy" | "settings" => ("event", &["configuration"], &["change"]),
        "console" => ("event", &["web"], &["access"]),
        "incident_closed" => ("event", &["intrusion_detection"], &["info"]),
        "start" => ("event", &["process"], &["start"]),
        "stop" => ("event", &["process"], &["end"]),
        "drift" | "lost" => ("alert", &["database"], &["error"]),
        _ => ("event", &["database"], &["info"]),
    }
}

/// One document of the schema.
pub fn render(recorded: &Recorded<'_>) -> Value {
    let entry = recorded.entry;
    let mut document = Map::new();
    put(&mut document, "@timestamp", json!(entry.time));
    put(&mut document, "ecs", json!({ "version": VERSION }));
    put(&mut document, "message", json!(summary(entry)));
    put(&mut document, "event", event(recorded));
    put(
        &mut document,
        "service",
        json!({ "type": "postgresql", "name": "pgveil" }),
    );
    put(
        &mut document,
        "observer",
        json!({
            "vendor": "pgveil",
            "product": "pgveil",
            "type": "proxy",
            "version": env!("CARGO_PKG_VERSION"),
        }),
    );
    if let Some(address) = entry.client_addr {
        let ip = address.ip().to_string();
        let source = json!({ "address": ip, "ip": ip, "port": address.port() });
        put(&mut document, "source", source.clone());
        put(&mut document, "client", source);
    }
    put(&mut document, "user", user(entry));
    if let Some(tls) = &entry.tls {
        put(&mut document, "tls", tls_of(&tls.version, &tls.cipher));
    }
    if let Some(sqlstate) = entry.sqlstate.as_deref() {
        put(&mut document, "error", json!({ "code": sqlstate }));
    }
    if let Some(rule) = entry.rule.as_deref() {
        put(&mut document, "rule", json!({ "name": rule }));
    }
    let names: Vec<&str> = [&entry.person, &entry.app_user, &entry.db_user]
        .into_iter()
        .filter_map(|name| name.as_deref())
        .collect();
    let mut related = Map::new();
    if !names.is_empty() {
        put(&mut related, "user", json!(names));
    }
    if let Some(address) = entry.client_addr {
        put(&mut related, "ip", json!([address.ip().to_string()]));
    }
    if !related.is_empty() {
        put(&mut document, "related", Value::Object(related));
    }
    let mut own = members(recorded);
    own.retain(|name, _| !MAPPED.contains(&name.as_str()));
    put(&mut own, "statement", text(entry.text.as_deref()));
    put(&mut document, "pgveil", Value::Object(own));
    Value::Object(document)
}

fn event(recorded: &Recorded<'_>) -> Value {
    let entry = recorded.entry;
    let (kind, category, types) = classes(&entry.event);
    let mut event = Map::new();
    put(&mut event, "id", json!(recorded.id));
    put(&mut event, "kind", json!(kind));
    put(&mut event, "category", json!(category));
    put(&mut event, "type", json!(types));
    put(&mut event, "action", json!(entry.event));
    put(&mut event, "dataset", json!("pgveil.audit"));
    put(&mut event, "module", json!("pgveil"));
    put(&mut event, "provider", json!("pgveil"));
    put(&mut event, "sequence", json!(entry.seq));
    put(&mut event, "hash", members(recorded).remove("hash"));
    let number = match severity(entry) {
        Severity::Informational => 1,
        Severity::Low => 3,
        Severity::Medium => 5,
        Severity::High => 8,
        Severity::Critical => 10,
    };
    put(&mut event, "severity", json!(number));
    let outcome = match succeeded(entry) {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    };
    put(&mut event, "outcome", json!(outcome));
    put(&mut event, "reason", text(entry.reason.as_deref()));
    if let Some(seconds) = entry.duration {
        // Nanoseconds; beyond what 64 bits hold it would be centuries.
        put(&mut event, "duration", json!((seconds * 1e9) as u64));
    }
    Value::Object(event)
}

/// The person first; the login of the database is what that person came in as.
fn user(entry: &Entry) -> Option<Value> {
    let name = entry.actor()?;
    let mut user = Map::new();
    put(&mut user, "name", json!(name));
    if let Some(login) = entry.db_user.as_deref().filter(|login| *login != name) {
        put(&mut user, "effective", json!({ "name": login }));
    }
    if let Some(role) = entry.role.as_deref() {
        put(&mut user, "roles", json!([role]));
    }
    Some(Value::Object(user))
}

/// `TLSv1.3` is protocol `tls`, version `1.3`.
fn tls_of(version: &str, cipher: &str) -> Value {
    json!({
        "version_protocol": "tls",
        "version": version.trim_start_matches("TLSv"),
        "cipher": cipher,
        "established": true,
    })
}
