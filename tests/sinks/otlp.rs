//! OpenTelemetry logs against a collector made of the published protocol files (`collector.py`), over HTTP and gRPC.
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pgveil::audit::{Event, Record};
use pgveil::config::{OtlpProtocol, OtlpSettings, OtlpSignal, Secret, SinkKind, SinkSettings};
use serde_json::Value;

use crate::house::{House, caught_up, sink, status, until};
use crate::support::guard::Guard;
use crate::support::{Certificates, Folder, free_port, skip};

/// Python with the protocol files, as `tests/run.sh` installs it. `None`: it is not there.
pub fn python() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sinks/bin/python");
    path.exists().then_some(path)
}

pub struct Collector {
    server: Child,
    pub port: u16,
    lines: Arc<Mutex<Vec<Value>>>,
    _folder: Folder,
    _guard: Guard,
}

impl Collector {
    pub async fn start(python: &Path, protocol: &str, port: u16, more: &[&str]) -> Collector {
        let folder = Folder::new("otlp");
        let mut server = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sinks/collector.py"))
            .args([protocol, "--port", &port.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start the collector");
        let guard = Guard::watch(server.id(), "KILL", folder.path());
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let log = Arc::clone(&lines);
        let out = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        thread::spawn(move || {
            for line in out.map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line is JSON");
                log.lock().expect("log").push(line);
            }
        });
        until("the collector is ready", || async {
            !lines.lock().expect("log").is_empty()
        })
        .await;
        Collector {
            server,
            port,
            lines,
            _folder: folder,
            _guard: guard,
        }
    }

    pub fn records(&self) -> Vec<Value> {
        let lines = self.lines.lock().expect("log");
        lines
            .iter()
            .filter(|line| line.get("ready").is_none())
            .cloned()
            .collect()
    }

    pub fn ids(&self) -> BTreeSet<String> {
        self.records().iter().map(id).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn id(record: &Value) -> String {
    let id = record["attributes"]["pgveil.record.id"].as_str();
    id.expect("an identifier").to_owned()
}

pub fn otlp(port: u16, protocol: OtlpProtocol, tls: Option<&Certificates>) -> SinkSettings {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut settings = sink(
        "otel",
        SinkKind::Otlp(OtlpSettings {
            url: Secret::new(format!("{scheme}://localhost:{port}/")),
            protocol,
            signal: OtlpSignal::Logs,
            token: Some(Secret::new("t0ken".to_owned())),
            ca: tls.map(Certificates::ca_file),
            certificate: None,
        }),
    );
    settings.timeout = Duration::from_secs(2);
    settings
}

const TROUBLE: &str = "unavailable,garbage,exhausted,partial,hang,unavailable";

async fn everything_arrives(name: &str, protocol: OtlpProtocol, word: &str) {
    let Some(python) = python() else {
        skip(
            name,
            "tests/run.sh has not installed the collector (target/sinks)",
        );
        return;
    };
    let house = House::of_segments(30_000);
    house.write(100);
    let port = free_port();
    let sinks = house.start(&[otlp(port, protocol, None)]);
    until("it is missed", || async {
        status(&sinks, "otel").failures > 1
    })
    .await;
    let first = Collector::start(&python, word, port, &["--trouble", TROUBLE]).await;
    caught_up(&sinks, "otel").await;
    until("its output is read", || async {
        first.ids() == house.ids()
    })
    .await;
    let ids = first.ids();
    let records = house.records();
    for record in first.records() {
        let line: Value = serde_json::from_str(&records[&id(&record)]).expect("JSON");
        let body: Value =
            serde_json::from_str(record["body"].as_str().expect("text")).expect("JSON");
        assert_eq!(body, line);
        assert_eq!(record["resource"]["service.name"], "pgveil");
        assert_eq!(record["scope"], "pgveil.audit");
        assert_eq!(record["authorization"], "Bearer t0ken");
        let event = line["event"].as_str().expect("an event");
        assert_eq!(record["event"], format!("pgveil.{event}"));
        let time =
            humantime::parse_rfc3339(line["time"].as_str().expect("a time")).expect("a time");
        let since = time
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .expect("after 1970");
        assert_eq!(
            record["time"].as_u64().map(u128::from),
            Some(since.as_nanos())
        );
        if event == "statement" {
            assert_eq!(record["attributes"]["client.address"], "192.0.2.7");
            assert_eq!(record["attributes"]["user.name"], "ann");
            assert_eq!(record["severity"], 9);
        }
    }
    drop(first);
    house.write(50);
    let before = status(&sinks, "otel").failures;
    until("it is gone", || async {
        status(&sinks, "otel").failures > before
    })
    .await;
    let second = Collector::start(&python, word, port, &[]).await;
    caught_up(&sinks, "otel").await;
    until("it has what the first has not", || async {
        let both: BTreeSet<String> = ids.union(&second.ids()).cloned().collect();
        both == house.ids()
    })
    .await;
    assert_eq!(status(&sinks, "otel").rejected, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_has_every_record_over_http() {
    everything_arrives(
        "a_collector_has_every_record_over_http",
        OtlpProtocol::Http,
        "http",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_has_every_record_over_grpc() {
    everything_arrives(
        "a_collector_has_every_record_over_grpc",
        OtlpProtocol::Grpc,
        "grpc",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_is_reached_over_tls() {
    let Some(python) = python() else {
        skip(
            "grpc_is_reached_over_tls",
            "tests/run.sh has not installed the collector (target/sinks)",
        );
        return;
    };
    let certificates = Certificates::new();
    let (cert, key) = (certificates.cert_file(), certificates.key_file());
    let pair = [
        "--cert",
        cert.to_str().expect("utf-8"),
        "--key",
        key.to_str().expect("utf-8"),
    ];
    let collector = Collector::start(&python, "grpc", free_port(), &pair).await;
    let house = House::new();
    house.write(30);
    let sinks = house.start(&[otlp(
        collector.port,
        OtlpProtocol::Grpc,
        Some(&certificates),
    )]);
    caught_up(&sinks, "otel").await;
    until("its output is read", || async {
        collector.ids() == house.ids()
    })
    .await;
}

/// Statements of sampled traces, as spans and nothing else, each once; their logs name the same span.
async fn traces_arrive(name: &str, protocol: OtlpProtocol, word: &str) {
    let Some(python) = python() else {
        skip(name, "there is no collector (tests/run.sh installs it)");
        return;
    };
    let collector =
        Collector::start(&python, word, free_port(), &["--trouble", "unavailable"]).await;
    let house = House::new();
    house.write(3);
    let trace = |parent: &str, sampled| {
        Some(Box::new(pgveil::audit::TraceRecord {
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            parent_id: parent.to_owned(),
            sampled,
        }))
    };
    for (trace, sqlstate) in [
        (trace("00f067aa0ba902b7", true), None),
        (trace("00f067aa0ba902b8", true), Some("42501".into())),
        (trace("00f067aa0ba902b9", false), None),
    ] {
        let record = Record {
            kind: Some("SELECT".into()),
            reads: ["crm.contacts".to_owned()].into(),
            text: Some("SELECT phone FROM crm.contacts WHERE id = $1".into()),
            database: Some("crm".into()),
            duration: Some(Duration::from_millis(250)),
            rows: Some(1),
            sqlstate,
            trace,
            ..Record::new(Event::Statement, std::time::SystemTime::now())
        };
        house.spool.append(&record).expect("appended");
    }
    house.spool.sync().expect("synced");
    let mut spans = otlp(collector.port, protocol, None);
    if let SinkKind::Otlp(settings) = &mut spans.kind {
        settings.signal = OtlpSignal::Traces;
    }
    let logs = otlp(collector.port, protocol, None);
    let sinks = house.start(&[
        SinkSettings {
            name: "traces".to_owned(),
            ..spans
        },
        logs,
    ]);
    caught_up(&sinks, "traces").await;
    caught_up(&sinks, "otel").await;
    // What the collector has said is read on a thread of its own.
    let all = house.records().len() + 2;
    until("all is read", || async { collector.records().len() >= all }).await;
    let records = collector.records();
    let (spans, logs): (Vec<_>, Vec<_>) = records
        .iter()
        .partition(|line| line.get("parent").is_some());
    let parents: Vec<&str> = spans
        .iter()
        .filter_map(|span| span["parent"].as_str())
        .collect();
    assert_eq!(parents, ["00f067aa0ba902b7", "00f067aa0ba902b8"]);
    for span in &spans {
        assert_eq!(span["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["name"], "SELECT crm.contacts");
        assert_eq!(span["nanoseconds"], 250_000_000);
        assert_eq!(
            span["attributes"]["db.query.text"],
            "SELECT phone FROM crm.contacts WHERE id = $1"
        );
        let same = logs
            .iter()
            .filter(|log| log["span"] == span["span"])
            .count();
        assert_eq!(same, 1, "{span}");
    }
    assert_eq!([&spans[0]["error"], &spans[1]["error"]], [false, true]);
    let untraced = logs.iter().filter(|log| log["trace"] == "").count();
    assert_eq!(logs.len() - untraced, 3);
}

#[tokio::test]
async fn statements_of_traces_are_spans_over_http() {
    traces_arrive(
        "statements_of_traces_are_spans_over_http",
        OtlpProtocol::Http,
        "http",
    )
    .await;
}

#[tokio::test]
async fn statements_of_traces_are_spans_over_grpc() {
    traces_arrive(
        "statements_of_traces_are_spans_over_grpc",
        OtlpProtocol::Grpc,
        "grpc",
    )
    .await;
}
