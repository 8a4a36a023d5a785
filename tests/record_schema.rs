//! The audit record is what `deploy/audit-record.schema.json` says, line by line: real records of a real proxy, and one
//! with every field there is. Properties that the schema does not name count as errors here.
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgveil::audit::checkpoint::{Checkpoint, Tombstone};
use pgveil::audit::sealed::Sealed;
use pgveil::audit::{
    AlarmRecord, ColumnsRecord, Event, ExportRecord, Record, Signature, TlsRecord, TraceRecord,
    VerdictRecord, WouldRecord, schema,
};
use serde_json::{Value, json};
use support::message::Client;
use support::{Certificates, Config, Options, Pgveil, Postgres, fed, skip};

fn file() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(schema::FILE);
    let text = std::fs::read_to_string(path).expect("the schema is in the repository");
    serde_json::from_str(&text).expect("a schema is JSON")
}

/// The schema in which an object has no properties but those named.
fn closed(schema: &mut Value) {
    if schema.get("properties").is_some() {
        schema["additionalProperties"] = json!(false);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(closed),
        Value::Array(items) => items.iter_mut().for_each(closed),
        _ => {}
    }
}

/// Reads a schema and documents as JSON Lines; for each document prints a JSON array of what is wrong with it.
const VALIDATE: &str = r#"
import json, sys
from datetime import datetime
from jsonschema import Draft202012Validator, FormatChecker
formats = FormatChecker(formats=())
@formats.checks("date-time", raises=ValueError)
def date_time(text):
    return not isinstance(text, str) or datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ") is not None
schema = json.loads(sys.stdin.readline())
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema, format_checker=formats)
for line in sys.stdin:
    print(json.dumps([f"{e.json_path}: {e.message}" for e in validator.iter_errors(json.loads(line))]))
"#;

/// A Python that has the package `jsonschema`.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schema/bin/python");
    [own, PathBuf::from("python3")].into_iter().find(|python| {
        let tried = Command::new(python)
            .args(["-c", "import jsonschema"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
}

/// What is wrong with each document, by the closed schema.
fn complaints(python: &Path, documents: &[Value]) -> Vec<Vec<String>> {
    let mut schema = file();
    closed(&mut schema);
    let mut input = format!("{schema}\n");
    for document in documents {
        input.push_str(&format!("{document}\n"));
    }
    let output = fed(Command::new(python).args(["-c", VALIDATE]), input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: Vec<Vec<String>> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a list of texts"))
        .collect();
    assert_eq!(found.len(), documents.len());
    found
}

/// All kinds of records that a client can bring about.
#[test]
fn real_records_are_as_the_schema_says() {
    let Some(python) = python() else {
        return skip(
            "real_records_are_as_the_schema_says",
            "no Python with jsonschema",
        );
    };
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE TABLE contacts(id int PRIMARY KEY, name text, phone text); \
         INSERT INTO contacts SELECT g, 'n' || g, '138' || lpad(g::text, 8, '0') FROM generate_series(1, 100) g; \
         CREATE ROLE agent LOGIN; CREATE ROLE dpo LOGIN; CREATE ROLE nobody LOGIN; GRANT ALL ON contacts TO agent, dpo",
    );
    let certificates = Certificates::new();
    let path = |path: std::path::PathBuf| path.display().to_string();
    let mut config = Config::new(&server);
    config.set(
        "tls",
        &format!(
            "{{ cert: {}, key: {}, client_ca: {} }}",
            path(certificates.cert_file()),
            path(certificates.key_file()),
            path(certificates.ca_file())
        ),
    );
    config.policy(
        "version: 1\n\
         data: { phone: { level: 3, columns: [public.contacts.phone] }, person: { level: 1, columns: [public.contacts.name] } }\n\
         roles:\n  agent:\n    who: [{ db_user: agent }]\n    mask: { phone: { show: { last: 4 }, lookup: exact } }\n    \
         export: { rows: 10, per_day: 1000, approvers: [legal] }\n  \
         dpo: { who: [{ db_user: dpo }], unmasked: true }\n\
         unmatched: deny\n",
    );
    let mut pgveil = Pgveil::start(&config);
    let mut agent = Client::login(pgveil.port(), "agent", "", "postgres");
    for text in [
        "SELECT name, phone FROM contacts WHERE id < 5 ORDER BY name",
        "SELECT id FROM contacts WHERE phone = '13800000007'",
        "UPDATE contacts SET name = 'x' WHERE id = 1",
        "SELECT * FROM contacts",
        "SELECT pg_read_file('/etc/passwd')",
        "SELEKT",
        "SELECT 1 FROM nowhere",
        "SELECT 1 / 0",
        "BEGIN; SELECT 1; COMMIT",
        "",
    ] {
        agent.query(text);
    }
    agent.finish();
    let mut dpo = Client::login(pgveil.port(), "dpo", "", "postgres");
    dpo.query("SELECT c, count(*) FROM contacts c GROUP BY c.name, c.id, c");
    dpo.query("COPY contacts (id, phone) TO STDOUT");
    dpo.finish();
    let nobody = [("user", "nobody"), ("database", "postgres")];
    assert!(Client::try_login(pgveil.port(), "nobody", "", &nobody).is_err());
    let (cert, key) = certificates.client("ann", 2020..2040);
    let psql = Command::new("psql")
        .args(["-X", "-w", "-c", "TABLE contacts"])
        .arg(format!(
            "host=127.0.0.1 port={} user=dpo dbname=postgres sslmode=require sslcert={} sslkey={}",
            pgveil.port(),
            cert.display(),
            key.display()
        ))
        .output()
        .expect("psql");
    assert!(psql.status.success());
    pgveil.stop();

    let mut events = BTreeSet::new();
    let records: Vec<Value> = pgveil
        .audit_lines()
        .iter()
        .map(|line| serde_json::from_str(line).expect("a record is JSON"))
        .collect();
    for (record, found) in records.iter().zip(complaints(&python, &records)) {
        assert!(found.is_empty(), "{found:#?}\n{record:#}");
        events.insert(record["event"].as_str().unwrap_or_default().to_owned());
    }
    for event in [
        "chain",
        "start",
        "policy",
        "login",
        "login_failed",
        "logout",
        "statement",
        "refusal",
        "export_stop",
        "export",
        "stop",
    ] {
        assert!(events.contains(event), "no {event} among {events:?}");
    }

    // What the records say of columns and classes.
    let record = |event: &str, text: &str| {
        let fits = |record: &&Value| {
            let recorded = record["text"].as_str().unwrap_or_default();
            record["event"] == event && recorded.starts_with(text)
        };
        let found = records.iter().find(fits);
        found.unwrap_or_else(|| panic!("no {event} of {text}"))
    };
    let ordered = record("statement", "SELECT name, phone");
    assert_eq!(
        ordered["columns"],
        json!({
            "projected": ["public.contacts.name", "public.contacts.phone"],
            "filtered": ["public.contacts.id", "public.contacts.name"],
        })
    );
    assert_eq!(ordered["classes"], json!(["person", "phone"]));
    let looked_up = record("statement", "SELECT id FROM contacts WHERE phone");
    assert_eq!(
        looked_up["columns"],
        json!({"projected": ["public.contacts.id"], "filtered": ["public.contacts.phone"]})
    );
    assert_eq!(looked_up["classes"], json!(["phone"]));
    let stopped = record("export_stop", "SELECT * FROM contacts");
    assert_eq!(
        stopped["columns"]["projected"].as_array().map(Vec::len),
        Some(3)
    );
    let copied = record("statement", "COPY contacts");
    assert_eq!(
        (&copied["role"], &copied["classes"]),
        (&json!("dpo"), &json!(["phone"]))
    );
    let shown = record("statement", "TABLE contacts");
    assert_eq!(shown["tls"]["subject"], "CN=ann,O=Example");
    assert_eq!(
        record("statement", "SELECT $").get("columns"),
        None,
        "a statement without columns has none on record"
    );
}

/// A record with all fields, be they of one event or not.
fn full() -> Record {
    let text = |text: &str| Some(Arc::<str>::from(text));
    let names = |name: &str| -> Arc<[Arc<str>]> { [Arc::from(name)].into() };
    let word = || "word".to_owned();
    Record {
        chain: Some(word()),
        session: Some(1),
        sequence: Some(1),
        client_addr: "[::1]:4000".parse().ok(),
        tls: Some(Arc::new(TlsRecord {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            subject: Some("CN=ann".into()),
        })),
        db_user: text("ann"),
        app_user: text("ann"),
        person: text("ann"),
        role: text("agent"),
        purpose: text("support"),
        outside: vec![word().into()],
        application_name: text("psql"),
        database: text("crm"),
        kind: Some("SELECT".into()),
        text: text("SELECT $1"),
        fingerprint: text("0123456789abcdef"),
        reads: vec![word()].into(),
        writes: vec![word()].into(),
        masked: vec![word()].into(),
        lookups: vec![word()].into(),
        traps: vec![word().into()],
        columns: Some(ColumnsRecord {
            projected: names("a.b.c"),
            filtered: names("a.b.c"),
            written: names("a.b.c"),
            truncated: true,
        }),
        classes: names("phone"),
        enforced: Some(false),
        would: Some(Box::new(WouldRecord {
            verdict: VerdictRecord::Refuse,
            reason: Some("function".into()),
            rule: Some(word()),
            masked: vec![word()],
            lookups: vec![word()],
        })),
        verdict: Some(VerdictRecord::Refuse),
        reason: Some("construct".into()),
        rule: Some(word()),
        policy_version: text("1"),
        rows: Some(1),
        bytes: Some(1),
        duration: Some(Duration::from_millis(1)),
        sqlstate: Some("42501".into()),
        trace: Some(Box::new(TraceRecord {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            parent_id: "00f067aa0ba902b7".to_owned(),
            sampled: true,
        })),
        export: Some(Arc::new(ExportRecord {
            request: word(),
            step: Some(0),
            action: Some("approved"),
            state: Some("granted"),
            person: word(),
            by: Some(word()),
            group: Some(word()),
            reason: Some(word()),
            comment: Some(word()),
            approvals: vec![Signature {
                group: word(),
                person: word(),
            }],
            rows: Some(1),
            clear: [word()].into(),
        })),
        message: Some(word()),
        sealed: Some(Box::new(Sealed {
            recipient: word(),
            key: word(),
            text: word(),
        })),
        alarm: Some(Box::new(AlarmRecord {
            alarm: "honeytoken",
            incident: Some(word()),
            records: vec![1],
        })),
        checkpoint: Some(Box::new(Checkpoint {
            chain: word(),
            count: 1,
            head: word(),
            key: word(),
            signature: word(),
        })),
        tombstone: Some(Box::new(Tombstone {
            chain: word(),
            segment: 1,
            first: 1,
            last: 2,
            head: word(),
            key: word(),
            signature: word(),
        })),
        lost: Some(1),
        ..Record::new(Event::Statement, SystemTime::now())
    }
}

/// The record as a line of a chain.
fn line(record: &Record) -> Value {
    let mut line = serde_json::to_value(record).expect("a record serialises");
    for hash in ["hash", "prev"] {
        line[hash] = json!("0".repeat(64));
    }
    line["seq"] = json!(1);
    line
}

/// So that a field added to the types is added to these tests, too.
#[test]
fn the_record_of_these_tests_has_every_field() {
    let line = line(&full());
    let schema = file();
    for name in schema["properties"].as_object().expect("properties").keys() {
        assert!(line.get(name).is_some(), "`{name}` is not in it");
    }
}

#[test]
fn the_schema_tells_a_record_from_what_is_none() {
    let Some(python) = python() else {
        return skip(
            "the_schema_tells_a_record_from_what_is_none",
            "no Python with jsonschema",
        );
    };
    let good = line(&full());
    let mut what = vec!["nothing".to_owned()];
    let mut lines = vec![good.clone()];
    for (path, wrong) in [
        ("/event", json!("statements")),
        ("/time", json!("yesterday")),
        ("/rows", json!(-1)),
        ("/rows", json!("1")),
        ("/session", Value::Null),
        ("/hash", json!("0")),
        ("/columns/projected", json!("a.b.c")),
        ("/columns/other", json!([])),
        ("/tls/subject", json!(1)),
        ("/export/approvals/0/group", Value::Null),
        ("/verdict", json!("maybe")),
        ("/unheard_of", json!(1)),
    ] {
        let mut line = good.clone();
        let (parent, name) = path.rsplit_once('/').expect("a path");
        line.pointer_mut(parent).expect("a parent")[name] = wrong;
        what.push(path.to_owned());
        lines.push(line);
    }
    for missing in ["schema_version", "time", "event", "hash", "prev", "seq"] {
        let mut line = good.clone();
        line.as_object_mut().expect("an object").remove(missing);
        what.push(missing.to_owned());
        lines.push(line);
    }
    let found = complaints(&python, &lines);
    for ((what, found), wrong) in what
        .iter()
        .zip(&found)
        .zip([false].into_iter().chain([true; 18]))
    {
        assert_eq!(found.is_empty(), !wrong, "{what}: {found:#?}");
    }
}
