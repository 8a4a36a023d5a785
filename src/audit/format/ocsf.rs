//! Open Cybersecurity Schema Framework, version 1.8.0 (schema.ocsf.io).
//!
//! | records | class |
//! | --- | --- |
//! | `statement`, `refusal`, `export_stop` | Datastore Activity, 6005 |
//! | `login`, `login_failed`, `logout` | Authentication, 3002 |
//! | `export`, `policy` | Entity Management, 3004 |
//! | `console` | API Activity, 6003 |
//! | `start`, `stop` | Application Lifecycle, 6002 |
//! | `violation` | Detection Finding, 2004 |
//! | `drift`, `lost`, `recovered` | Application Error, 6008 |
//! | all else, as `checkpoint` | Base Event, 0 |
//!
//! What the schema has no place for stands in `unmapped`, under the names of the native record.
use serde_json::{Map, Value, json};

use super::{Recorded, Severity, members, put, severity, succeeded, summary, text};
use crate::audit::entry::Entry;

/// Of the schema.
pub const VERSION: &str = "1.8.0";

/// Members of the native record that have a place in the schema.
const MAPPED: [&str; 19] = [
    "seq",
    "time",
    "event",
    "client_addr",
    "db_user",
    "person",
    "application_name",
    "database",
    "session",
    "kind",
    "text",
    "sqlstate",
    "message",
    "policy_version",
    "bytes",
    "reason",
    "rule",
    "app_user",
    "schema_version",
];

/// A class with its category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    uid: u64,
    name: &'static str,
    category: &'static str,
}

impl Class {
    const fn category_uid(self) -> u64 {
        self.uid / 1000
    }
}

const fn class(uid: u64, name: &'static str, category: &'static str) -> Class {
    Class {
        uid,
        name,
        category,
    }
}

const BASE: Class = class(0, "Base Event", "Uncategorized");
const FINDING: Class = class(2004, "Detection Finding", "Findings");
const AUTHENTICATION: Class = class(3002, "Authentication", IAM);
const ENTITY: Class = class(3004, "Entity Management", IAM);
const LIFECYCLE: Class = class(6002, "Application Lifecycle", APPLICATION);
const API: Class = class(6003, "API Activity", APPLICATION);
const DATASTORE: Class = class(6005, "Datastore Activity", APPLICATION);
const ERROR: Class = class(6008, "Application Error", APPLICATION);
const IAM: &str = "Identity & Access Management";
const APPLICATION: &str = "Application Activity";

/// Activity of an event that the class has no number for.
const OTHER: u64 = 99;

fn class_of(event: &str) -> Class {
    match event {
        "statement" | "refusal" | "export_stop" => DATASTORE,
        "login" | "login_failed" | "logout" => AUTHENTICATION,
        "export" | "policy" => ENTITY,
        "console" => API,
        "start" | "stop" => LIFECYCLE,
        "violation" | "alarm" => FINDING,
        "drift" | "lost" | "recovered" => ERROR,
        _ => BASE,
    }
}

/// Number and caption of an activity within its class.
fn activity(class: Class, entry: &Entry) -> (u64, String) {
    let step = entry
        .export
        .as_ref()
        .and_then(|export| export.action.as_deref());
    let (uid, name) = match (class, entry.event.as_str()) {
        (DATASTORE, _) => match entry.kind.as_deref().unwrap_or_default() {
            "SELECT" | "FETCH" | "DECLARE CURSOR" | "EXECUTE" => (4, "Query"),
            "COPY" | "COPY TO" => (1, "Read"),
            "UPDATE" => (2, "Update"),
            "DELETE" | "TRUNCATE" => (7, "Delete"),
            "INSERT" => (6, "Create"),
            "MERGE" | "COPY FROM" => (5, "Write"),
            kind => (OTHER, kind),
        },
        (AUTHENTICATION, "logout") => (2, "Logoff"),
        (AUTHENTICATION, _) => (1, "Logon"),
        (ENTITY, "policy") => (3, "Update"),
        (ENTITY, _) => match step {
            Some("open") => (1, "Create"),
            Some("approve") => (3, "Update"),
            Some("withdraw" | "revoke" | "reject" | "deny") => (9, "Disable"),
            step => (OTHER, step.unwrap_or("export")),
        },
        (LIFECYCLE, "stop") => (4, "Stop"),
        (LIFECYCLE, _) => (3, "Start"),
        (FINDING, _) => (1, "Create"),
        (ERROR, _) => (1, "General Error"),
        (_, event) => (OTHER, event),
    };
    let name = if name.is_empty() { "Other" } else { name };
    (uid, name.to_owned())
}

/// One event of the schema.
pub fn render(recorded: &Recorded<'_>) -> Value {
    let entry = recorded.entry;
    let class = class_of(&entry.event);
    let (activity, activity_name) = activity(class, entry);
    let (severity_uid, severity_name) = severity_of(severity(entry));
    let time = milliseconds(&entry.time);
    let mut event = Map::new();
    put(&mut event, "activity_id", json!(activity));
    put(&mut event, "activity_name", json!(activity_name));
    put(&mut event, "category_uid", json!(class.category_uid()));
    put(&mut event, "category_name", json!(class.category));
    put(&mut event, "class_uid", json!(class.uid));
    put(&mut event, "class_name", json!(class.name));
    put(&mut event, "type_uid", json!(class.uid * 100 + activity));
    let type_name = format!("{}: {activity_name}", class.name);
    put(&mut event, "type_name", json!(type_name));
    put(&mut event, "severity_id", json!(severity_uid));
    put(&mut event, "severity", json!(severity_name));
    put(&mut event, "time", json!(time));
    put(&mut event, "message", json!(summary(entry)));
    put(&mut event, "metadata", metadata(recorded));
    if class == FINDING {
        put(&mut event, "status_id", json!(1));
        put(&mut event, "status", json!("New"));
    } else if let Some(success) = succeeded(entry) {
        let (uid, name) = if success {
            (1, "Success")
        } else {
            (2, "Failure")
        };
        put(&mut event, "status_id", json!(uid));
        put(&mut event, "status", json!(name));
    }
    put(&mut event, "status_code", text(entry.sqlstate.as_deref()));
    put(&mut event, "status_detail", detail(entry).map(Value::from));
    if let Some(verdict) = entry.verdict.as_deref() {
        let (action, name, disposition, disposition_name) = match verdict {
            "refuse" => (2, "Denied", 2, "Blocked"),
            _ => (1, "Allowed", 1, "Allowed"),
        };
        put(&mut event, "action_id", json!(action));
        put(&mut event, "action", json!(name));
        put(&mut event, "disposition_id", json!(disposition));
        put(&mut event, "disposition", json!(disposition_name));
    }
    if let Some(version) = entry.policy_version.as_deref() {
        let policy = json!({ "name": "pgveil", "version": version, "is_applied": true });
        put(&mut event, "policy", policy);
    }
    particulars(&mut event, class, recorded);
    let mut unmapped = members(recorded);
    unmapped.retain(|name, _| !MAPPED.contains(&name.as_str()));
    if !unmapped.is_empty() {
        put(&mut event, "unmapped", Value::Object(unmapped));
    }
    Value::Object(event)
}

/// What a class has beyond those of every event.
fn particulars(event: &mut Map<String, Value>, class: Class, recorded: &Recorded<'_>) {
    let entry = recorded.entry;
    let actor = actor(entry);
    match class {
        AUTHENTICATION => {
            put(event, "user", user(entry));
            put(event, "service", service(entry));
            put(event, "session", session(entry));
            put(event, "is_remote", json!(true));
            put(event, "src_endpoint", source(entry));
        }
        DATASTORE => {
            put(event, "actor", actor);
            put(event, "src_endpoint", source(entry));
            put(event, "database", database(entry));
            put(event, "type_id", json!(1));
            put(event, "type", json!("Database"));
            if let Some(text) = entry.text.as_deref() {
                let mut query = Map::new();
                put(&mut query, "query_string", json!(text));
                // The object has to have a name or an identifier of its own.
                let uid = entry.fingerprint.as_deref().unwrap_or(recorded.id);
                put(&mut query, "uid", json!(uid));
                put(&mut query, "bytes", entry.bytes.map(Value::from));
                put(event, "query_info", Value::Object(query));
            }
        }
        ENTITY => {
            put(event, "actor", actor);
            put(event, "entity", entity(entry));
            let export = entry.export.as_ref();
            let comment = export.and_then(|export| {
                let reason = export.reason.as_deref();
                export.comment.as_deref().or(reason)
            });
            put(event, "comment", text(comment));
        }
        API => {
            put(event, "actor", actor);
            put(event, "src_endpoint", source(entry));
            let operation = entry.message.as_deref().unwrap_or("console");
            put(event, "api", json!({ "operation": operation }));
        }
        LIFECYCLE => put(event, "app", product()),
        FINDING => {
            put(
                event,
                "finding_info",
                json!({
                    "uid": recorded.id,
                    "title": "A masked column came back as it is",
                    "created_time": milliseconds(&entry.time),
                }),
            );
            put(event, "is_alert", json!(true));
            let evidence = json!({
                "actor": actor,
                "src_endpoint": source(entry),
                "database": database(entry),
            });
            put(event, "evidences", json!([evidence]));
        }
        _ => {}
    }
}

fn metadata(recorded: &Recorded<'_>) -> Value {
    let entry = recorded.entry;
    let mut metadata = Map::new();
    put(&mut metadata, "version", json!(VERSION));
    put(&mut metadata, "product", product());
    put(&mut metadata, "uid", json!(recorded.id));
    put(&mut metadata, "sequence", json!(entry.seq));
    put(&mut metadata, "event_code", json!(entry.event));
    put(&mut metadata, "original_time", json!(entry.time));
    put(&mut metadata, "log_name", json!("audit"));
    let schema = entry.schema_version.to_string();
    put(&mut metadata, "log_version", json!(schema));
    if entry.verdict.is_some() || entry.policy_version.is_some() {
        put(&mut metadata, "profiles", json!(["security_control"]));
    }
    Value::Object(metadata)
}

fn product() -> Value {
    json!({
        "name": "pgveil",
        "vendor_name": "pgveil",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn actor(entry: &Entry) -> Value {
    let mut actor = Map::new();
    put(&mut actor, "user", user(entry));
    put(&mut actor, "session", session(entry));
    put(
        &mut actor,
        "app_name",
        text(entry.application_name.as_deref()),
    );
    Value::Object(actor)
}

/// The person first; the login of the database is the account.
fn user(entry: &Entry) -> Value {
    let by = entry.export.as_ref().and_then(|export| {
        let by = export.by.as_deref();
        by.or(Some(export.person.as_str()))
    });
    let name = match entry.event.as_str() {
        "export" => by.or(entry.actor()),
        _ => entry.actor(),
    };
    let mut user = Map::new();
    put(&mut user, "name", json!(name.unwrap_or("unknown")));
    if let Some(login) = entry.db_user.as_deref() {
        put(&mut user, "account", json!({ "name": login }));
    }
    if let Some(role) = entry.role.as_deref() {
        put(&mut user, "groups", json!([{ "name": role }]));
    }
    Value::Object(user)
}

fn session(entry: &Entry) -> Option<Value> {
    let session = entry.session?;
    Some(json!({ "uid": session.to_string(), "is_remote": true }))
}

fn service(entry: &Entry) -> Value {
    let mut service = Map::new();
    let name = match entry.database.as_deref() {
        Some(database) => format!("postgresql/{database}"),
        None => "postgresql".to_owned(),
    };
    put(&mut service, "name", json!(name));
    Value::Object(service)
}

/// Records without an address come from pgveil itself.
fn source(entry: &Entry) -> Value {
    match entry.client_addr {
        Some(address) => json!({ "ip": address.ip().to_string(), "port": address.port() }),
        None => json!({ "svc_name": "pgveil" }),
    }
}

fn database(entry: &Entry) -> Value {
    let mut database = Map::new();
    let name = entry.database.as_deref().unwrap_or("unknown");
    put(&mut database, "name", json!(name));
    put(&mut database, "type_id", json!(1));
    put(&mut database, "type", json!("Relational"));
    Value::Object(database)
}

fn entity(entry: &Entry) -> Value {
    match &entry.export {
        Some(export) => json!({ "uid": export.request, "type": "Export request" }),
        None => {
            let mut entity = Map::new();
            put(&mut entity, "name", json!("pgveil policy"));
            put(&mut entity, "type", json!("Policy"));
            put(
                &mut entity,
                "version",
                text(entry.policy_version.as_deref()),
            );
            Value::Object(entity)
        }
    }
}

fn detail(entry: &Entry) -> Option<String> {
    match (entry.reason.as_deref(), entry.rule.as_deref()) {
        (Some(reason), Some(rule)) => Some(format!("{reason}: {rule}")),
        (one, other) => one
            .or(other)
            .or(entry.message.as_deref())
            .map(str::to_owned),
    }
}

const fn severity_of(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Informational => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

/// Since 1970.
fn milliseconds(time: &str) -> u64 {
    let since = humantime::parse_rfc3339(time).ok();
    let since = since.and_then(|time| time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok());
    let since = since.unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}
