//! OpenTelemetry logs and traces (OTLP 1.x) over HTTP with protobuf bodies, and over gRPC.
mod grpc;
mod proto;
mod traces;

use std::time::SystemTime;

use prost::Message as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode};
use url::Url;

use self::proto::{
    AnyValue, ExportLogsServiceRequest, ExportLogsServiceResponse, InstrumentationScope, KeyValue,
    LogRecord, Resource, ResourceLogs, ScopeLogs,
};
use super::batch::Message;
use super::progress::micros;
use super::target::{Delivered, Failure};
use crate::audit::Entry;
use crate::audit::format::{self, Severity};
use crate::config::{OtlpProtocol, OtlpSettings, OtlpSignal};
use crate::outbound::{self, retry_after, told};

/// An answer is not read beyond this.
const MAX_ANSWER: usize = 1 << 20;
const PROTOBUF: &str = "application/x-protobuf";

pub struct OtlpSender {
    client: Client,
    url: Url,
    protocol: OtlpProtocol,
    signal: OtlpSignal,
    authorization: Option<HeaderValue>,
}

impl OtlpSender {
    pub fn new(settings: &OtlpSettings, timeout: std::time::Duration) -> Result<Self, String> {
        let mut url: Url = settings
            .url
            .expose()
            .parse()
            .map_err(|error: url::ParseError| error.to_string())?;
        let path = match (settings.protocol, settings.signal) {
            (OtlpProtocol::Http, OtlpSignal::Logs) => "v1/logs",
            (OtlpProtocol::Http, OtlpSignal::Traces) => "v1/traces",
            (OtlpProtocol::Grpc, OtlpSignal::Logs) => grpc::LOGS,
            (OtlpProtocol::Grpc, OtlpSignal::Traces) => grpc::TRACES,
        };
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        let client = outbound::client(
            settings.ca.as_deref(),
            settings.certificate.as_ref(),
            timeout,
        )?;
        let client = match settings.protocol {
            OtlpProtocol::Http => client.http1_only(),
            OtlpProtocol::Grpc => client.http2_prior_knowledge(),
        };
        let authorization = match &settings.token {
            Some(token) => {
                let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                    .map_err(|_| "the token cannot be sent".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(OtlpSender {
            client: client.build().map_err(|error| told(&error))?,
            url,
            protocol: settings.protocol,
            signal: settings.signal,
            authorization,
        })
    }

    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let body = match self.signal {
            OtlpSignal::Logs => request(messages).encode_to_vec(),
            OtlpSignal::Traces => match traces::request(messages) {
                Some(request) => request.encode_to_vec(),
                // None of them is part of a trace.
                None => return Ok(Delivered::default()),
            },
        };
        let mut request = self.client.post(self.url.clone());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = match self.protocol {
            OtlpProtocol::Http => http(request, body, messages.len()).await?,
            OtlpProtocol::Grpc => grpc::call(request, &body).await?,
        };
        let Some(answer) = answer else {
            return too_much(messages.len());
        };
        // That of traces has the same fields under the same numbers.
        let answer = ExportLogsServiceResponse::decode(answer.as_slice())
            .map_err(|_| Failure::new("this is not the answer of a collector"))?;
        match answer.partial_success {
            Some(partial) if partial.rejected_log_records > 0 => too_much(messages.len()),
            _ => Ok(Delivered::default()),
        }
    }
}

/// Which ones were not taken is not said: in parts it shows.
fn too_much(count: usize) -> Result<Delivered, Failure> {
    let reason = "the collector does not take it";
    if count == 1 {
        return Ok(Delivered {
            rejected: vec![(0, reason.to_owned())],
        });
    }
    Err(Failure {
        divide: true,
        ..Failure::new(reason)
    })
}

/// The body of the answer; `None`: it was too much at once.
async fn http(
    request: reqwest::RequestBuilder,
    body: Vec<u8>,
    count: usize,
) -> Result<Option<Vec<u8>>, Failure> {
    let mut answer = request
        .header(CONTENT_TYPE, PROTOBUF)
        .body(body)
        .send()
        .await
        .map_err(|error| Failure::new(told(&error)))?;
    let status = answer.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE && count > 0 {
        return Ok(None);
    }
    if !status.is_success() {
        return Err(Failure {
            wait: retry_after(answer.headers(), SystemTime::now()),
            ..Failure::new(format!("answered {status}"))
        });
    }
    let kind = answer.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(PROTOBUF.as_bytes())) {
        return Err(Failure::new("this is not the answer of a collector"));
    }
    let read = outbound::body(&mut answer, MAX_ANSWER).await;
    read.map(Some).map_err(Failure::new)
}

/// Who sends it.
fn resource() -> Resource {
    Resource {
        attributes: vec![
            KeyValue::text("service.name", "pgveil"),
            KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
        ],
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "pgveil.audit".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What a record says about its statement, by OpenTelemetry's semantic conventions where they have a name for it.
fn attributes(entry: &Entry) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    for (key, value) in [
        ("user.name", entry.actor()),
        ("db.namespace", entry.database.as_deref()),
        ("db.operation.name", entry.kind.as_deref()),
        ("pgveil.role", entry.role.as_deref()),
        ("pgveil.verdict", entry.verdict.as_deref()),
        ("error.type", entry.sqlstate.as_deref()),
    ] {
        if let Some(value) = value {
            attributes.push(KeyValue::text(key, value));
        }
    }
    if entry.database.is_some() {
        attributes.push(KeyValue::text("db.system.name", "postgresql"));
    }
    if let Some(address) = entry.client_addr {
        attributes.push(KeyValue::text("client.address", &address.ip().to_string()));
        attributes.push(KeyValue::number("client.port", address.port().into()));
    }
    attributes
}

fn request(messages: &[Message]) -> ExportLogsServiceRequest {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(0);
    let logs = ScopeLogs {
        scope: Some(scope()),
        log_records: messages.iter().map(|message| log(message, now)).collect(),
        schema_url: String::new(),
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource()),
            scope_logs: vec![logs],
            schema_url: String::new(),
        }],
    }
}

fn log(message: &Message, now: u64) -> LogRecord {
    let entry = &message.entry;
    let (number, text) = severity(entry);
    let mut attributes = attributes(entry);
    attributes.push(KeyValue::text("pgveil.record.id", &message.id));
    attributes.push(KeyValue::number("pgveil.record.seq", message.place.seq));
    let (trace_id, span_id) = traces::ids(message).unwrap_or_default();
    LogRecord {
        time_unix_nano: micros(&entry.time).unwrap_or(0).saturating_mul(1000),
        observed_time_unix_nano: now,
        severity_number: number,
        severity_text: text.to_owned(),
        body: Some(AnyValue::text(&String::from_utf8_lossy(&message.body))),
        attributes,
        event_name: format!("pgveil.{}", entry.event),
        trace_id,
        span_id,
    }
}

/// Numbers of the log data model's severities.
fn severity(entry: &Entry) -> (i32, &'static str) {
    match format::severity(entry) {
        Severity::Informational => (9, "INFO"),
        Severity::Low => (10, "INFO2"),
        Severity::Medium => (13, "WARN"),
        Severity::High => (17, "ERROR"),
        Severity::Critical => (21, "FATAL"),
    }
}
