//! What the formats promise, held against what their publishers require (`ocsf.json`, `ecs.json`).
use std::time::{Duration, SystemTime};

use pgveil::audit::format::{Format, Recorded, render};
use pgveil::audit::record::ExportRecord;
use pgveil::audit::{Entry, Event, Record, Signature, TlsRecord, VerdictRecord, chain};
use serde_json::{Map, Value};

const EVENTS: [Event; Event::ALL.len()] = Event::ALL;

/// A record of an event that says nothing else.
pub fn bare(event: Event) -> Record {
    Record::new(
        event,
        SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_332_096_000_001),
    )
}

/// One that says everything.
pub fn full(event: Event) -> Record {
    let export = ExportRecord {
        request: "r-1".to_owned(),
        step: Some(1),
        action: Some("approve"),
        state: Some("granted"),
        person: "ann".to_owned(),
        by: Some("leo".to_owned()),
        group: Some("legal".to_owned()),
        reason: Some("审计 2026".to_owned()),
        comment: Some("fine".to_owned()),
        approvals: vec![Signature {
            group: "legal".to_owned(),
            person: "leo".to_owned(),
        }],
        rows: Some(500),
        clear: ["phone".to_owned()].into(),
    };
    Record {
        session: Some(7),
        sequence: Some(3),
        client_addr: Some("[2001:db8::1]:4711".parse().expect("an address")),
        tls: Some(
            TlsRecord {
                version: "TLSv1.3".to_owned(),
                cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
                subject: None,
            }
            .into(),
        ),
        db_user: Some("ann_db".into()),
        app_user: Some("王伟".into()),
        person: Some("ann".into()),
        role: Some("agent".into()),
        application_name: Some("crm | a=b \\ c".into()),
        database: Some("crm".into()),
        kind: Some("SELECT".into()),
        text: Some("SELECT *\nFROM \"a|b\" WHERE x = $1 -- \\".into()),
        fingerprint: Some("00112233aabbccdd".into()),
        reads: vec!["crm.customers".to_owned(), "crm.orders".to_owned()].into(),
        writes: vec!["crm.log".to_owned()].into(),
        masked: vec!["crm.customers.phone".to_owned()].into(),
        lookups: vec!["crm.customers.phone".to_owned()].into(),
        verdict: Some(VerdictRecord::Refuse),
        reason: Some("function".into()),
        rule: Some("pg_read_file is not allowed".to_owned()),
        policy_version: Some("0123456789abcdef".into()),
        rows: Some(42),
        bytes: Some(4096),
        duration: Some(Duration::from_micros(1500)),
        sqlstate: Some("42501".into()),
        export: Some(export.into()),
        message: Some("something happened".to_owned()),
        lost: Some(3),
        ..bare(event)
    }
}

pub fn rendered(format: Format, record: &Record) -> (String, Entry) {
    let mut line = Vec::new();
    let body = serde_json::to_vec(record).expect("a record");
    chain::seal(&mut line, chain::Hash::genesis("c0ffee"), 12, &body);
    line.pop();
    let entry: Entry = serde_json::from_slice(&line).expect("an entry");
    let recorded = Recorded {
        id: "c0ffee-12",
        entry: &entry,
        line: &line,
    };
    let text = String::from_utf8(render(format, &recorded)).expect("utf-8");
    assert!(!text.contains('\n'), "one line: {text}");
    (text, entry)
}

fn json(format: Format, record: &Record) -> Value {
    serde_json::from_str(&rendered(format, record).0).expect("JSON")
}

fn schema(text: &str) -> Value {
    serde_json::from_str(text).expect("a schema")
}

fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

/// Whether an object has what its class or object of the schema requires, and nothing that it does not know.
fn fits(schema: &Value, rules: &Value, object: &Map<String, Value>, at: &str) {
    for required in words(&rules["required"]) {
        assert!(
            object.contains_key(required),
            "{at}: {required} is missing in {object:?}"
        );
    }
    let one_of = words(&rules["at_least_one"]);
    assert!(
        one_of.is_empty() || one_of.iter().any(|name| object.contains_key(*name)),
        "{at}: none of {one_of:?} in {object:?}"
    );
    for (name, value) in object {
        let at = format!("{at}.{name}");
        let kind = rules["known"][name]
            .as_str()
            .unwrap_or_else(|| panic!("{at} is not known"));
        let (kind, values) = match kind.strip_suffix("[]") {
            Some(kind) => (
                kind,
                value
                    .as_array()
                    .unwrap_or_else(|| panic!("{at}: no list"))
                    .iter()
                    .collect(),
            ),
            None => (kind, vec![value]),
        };
        for value in values {
            match kind {
                "object" => assert!(value.is_object(), "{at}"),
                "integer_t" | "long_t" | "timestamp_t" | "port_t" => {
                    assert!(value.is_u64(), "{at}: {value}")
                }
                "boolean_t" => assert!(value.is_boolean(), "{at}: {value}"),
                kind if kind.ends_with("_t") => assert!(value.is_string(), "{at}: {value}"),
                kind => {
                    let rules = &schema["objects"][kind];
                    assert!(rules.is_object(), "{at}: no rules for {kind}");
                    fits(schema, rules, value.as_object().expect("an object"), &at);
                }
            }
        }
    }
}

#[test]
fn every_record_is_an_event_of_ocsf() {
    let schema = schema(include_str!("ocsf.json"));
    for event in EVENTS {
        for record in [bare(event), full(event)] {
            let value = json(Format::Ocsf, &record);
            let object = value.as_object().expect("an object");
            let class = object["class_uid"].as_u64().expect("a class");
            let rules = &schema["classes"][class.to_string()];
            fits(&schema, rules, object, event.label());
            let activity = object["activity_id"].as_u64().expect("an activity");
            let known = rules["activities"].as_array().expect("a list");
            assert!(
                known.contains(&activity.into()),
                "{}: activity {activity}",
                event.label()
            );
            assert_eq!(object["type_uid"], class * 100 + activity);
            assert_eq!(object["category_uid"], class / 1000);
            assert_eq!(object["class_name"], rules["name"]);
            assert_eq!(object["metadata"]["uid"], "c0ffee-12");
            assert_eq!(object["metadata"]["version"], "1.8.0");
            assert_eq!(object["time"], 1_795_332_096_000_u64);
        }
    }
}

#[test]
fn a_statement_in_ocsf_says_who_did_what_to_which_data() {
    let value = json(Format::Ocsf, &full(Event::Refusal));
    for (path, expected) in [
        ("/class_uid", "6005"),
        ("/activity_id", "4"),
        ("/actor/user/name", "\"ann\""),
        ("/actor/user/account/name", "\"ann_db\""),
        ("/actor/session/uid", "\"7\""),
        ("/src_endpoint/ip", "\"2001:db8::1\""),
        ("/src_endpoint/port", "4711"),
        ("/database/name", "\"crm\""),
        (
            "/query_info/query_string",
            r#""SELECT *\nFROM \"a|b\" WHERE x = $1 -- \\""#,
        ),
        ("/status_id", "2"),
        ("/status_code", "\"42501\""),
        (
            "/status_detail",
            "\"function: pg_read_file is not allowed\"",
        ),
        ("/action_id", "2"),
        ("/policy/version", "\"0123456789abcdef\""),
        ("/unmapped/reads/1", "\"crm.orders\""),
        ("/unmapped/masked/0", "\"crm.customers.phone\""),
        ("/unmapped/export/approvals/0/person", "\"leo\""),
        ("/unmapped/rows", "42"),
    ] {
        let found = value.pointer(path).map(Value::to_string);
        assert_eq!(found.as_deref(), Some(expected), "{path}");
    }
    assert_eq!(
        value
            .pointer("/unmapped/hash")
            .and_then(Value::as_str)
            .map(str::len),
        Some(64)
    );
}

/// Fields by their dotted names, lists as they are; what is pgveil's own is left out.
fn flattened(value: &Value, prefix: &str, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| *name != "pgveil") {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flattened(value, &name, out);
            }
        }
        value => out.push((prefix.to_owned(), value.clone())),
    }
}

#[test]
fn every_record_is_a_document_of_ecs() {
    let schema = schema(include_str!("ecs.json"));
    for event in EVENTS {
        for record in [bare(event), full(event)] {
            let value = json(Format::Ecs, &record);
            let mut fields = Vec::new();
            flattened(&value, "", &mut fields);
            for required in words(&schema["required"]) {
                assert!(
                    fields.iter().any(|(name, _)| name == required),
                    "{required}"
                );
            }
            for (name, value) in &fields {
                let rules = &schema["fields"][name];
                assert!(rules.is_object(), "{name} is no field of ECS");
                let is_list = rules["array"] == true;
                assert_eq!(is_list, value.is_array(), "{name}: {value}");
                let values = value
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![value.clone()]);
                for value in values {
                    let fits = match rules["type"].as_str().expect("a type") {
                        "long" => value.is_u64(),
                        "boolean" => value.is_boolean(),
                        "ip" => value
                            .as_str()
                            .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
                        "date" => value
                            .as_str()
                            .is_some_and(|time| humantime::parse_rfc3339(time).is_ok()),
                        _ => value.is_string(),
                    };
                    assert!(fits, "{name}: {value}");
                    if let Some(allowed) = rules["values"].as_array() {
                        assert!(allowed.contains(&value), "{name}: {value}");
                    }
                }
            }
            // Every type goes with one of the categories.
            for kind in words(&value["event"]["type"]) {
                let goes = words(&value["event"]["category"])
                    .iter()
                    .any(|category| words(&schema["types"][category]).contains(&kind));
                assert!(goes, "{}: {kind}", event.label());
            }
            assert_eq!(value["event"]["id"], "c0ffee-12");
            assert_eq!(value["ecs"]["version"], "8.17.0");
        }
    }
}

#[test]
fn a_statement_in_ecs_says_who_did_what_to_which_data() {
    let value = json(Format::Ecs, &full(Event::Statement));
    for (path, expected) in [
        ("/@timestamp", "\"2026-11-22T07:21:36.000001Z\""),
        ("/event/outcome", "\"failure\""),
        ("/event/duration", "1500000"),
        ("/user/name", "\"ann\""),
        ("/user/effective/name", "\"ann_db\""),
        ("/source/ip", "\"2001:db8::1\""),
        ("/tls/version", "\"1.3\""),
        ("/error/code", "\"42501\""),
        ("/pgveil/database", "\"crm\""),
        ("/pgveil/masked/0", "\"crm.customers.phone\""),
        ("/pgveil/rows", "42"),
    ] {
        let found = value.pointer(path).map(Value::to_string);
        assert_eq!(found.as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn the_native_record_is_the_line_of_the_spool() {
    let (text, entry) = rendered(Format::Json, &full(Event::Statement));
    assert!(
        chain::unseal(text.as_bytes()).is_ok(),
        "its hash still holds"
    );
    assert_eq!(entry.seq, 12);
}

/// What a later version adds does not go missing on the way.
#[test]
fn what_is_not_known_is_carried_along() {
    let line = br#"{"hash":"x","prev":"y","seq":5,"schema_version":1,"time":"2026-11-22T07:21:36.000001Z","event":"alarm","incident":{"id":"i-1"}}"#;
    let entry: Entry = serde_json::from_slice(line).expect("an entry");
    let recorded = Recorded {
        id: "c-5",
        entry: &entry,
        line,
    };
    for (format, path) in [
        (Format::Ocsf, "/unmapped/incident/id"),
        (Format::Ecs, "/pgveil/incident/id"),
    ] {
        let value: Value = serde_json::from_slice(&render(format, &recorded)).expect("JSON");
        assert_eq!(value.pointer(path), Some(&"i-1".into()), "{format:?}");
    }
}
