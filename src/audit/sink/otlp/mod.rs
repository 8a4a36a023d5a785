//! OpenTelemetry logs (OTLP 1.x) over HTTP with protobuf bodies, and over gRPC.
mod grpc;
mod proto;

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
use crate::config::{OtlpProtocol, OtlpSettings};
use crate::outbound::{self, retry_after, told};

/// An answer is not read beyond this.
const MAX_ANSWER: usize = 1 << 20;
const PROTOBUF: &str = "application/x-protobuf";

pub struct OtlpSender {
    client: Client,
    url: Url,
    protocol: OtlpProtocol,
    authorization: Option<HeaderValue>,
}

impl OtlpSender {
    pub fn new(settings: &OtlpSettings, timeout: std::time::Duration) -> Result<Self, String> {
        let mut url: Url = settings
            .url
            .expose()
            .parse()
            .map_err(|error: url::ParseError| error.to_string())?;
        let path = match settings.protocol {
            OtlpProtocol::Http => "v1/logs",
            OtlpProtocol::Grpc => grpc::METHOD,
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
            authorization,
        })
    }

    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let body = request(messages).encode_to_vec();
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
    let mut read = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Failure::new(told(&error)))?
    {
        read.extend_from_slice(&chunk);
        if read.len() > MAX_ANSWER {
            return Err(Failure::new("the answer is too long"));
        }
    }
    Ok(Some(read))
}

fn request(messages: &[Message]) -> ExportLogsServiceRequest {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(0);
    let logs = ScopeLogs {
        scope: Some(InstrumentationScope {
            name: "pgveil.audit".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }),
        log_records: messages.iter().map(|message| log(message, now)).collect(),
        schema_url: String::new(),
    };
    let attribute = |key: &str, value: &str| KeyValue::text(key, value);
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource {
                attributes: vec![
                    attribute("service.name", "pgveil"),
                    attribute("service.version", env!("CARGO_PKG_VERSION")),
                ],
            }),
            scope_logs: vec![logs],
            schema_url: String::new(),
        }],
    }
}

fn log(message: &Message, now: u64) -> LogRecord {
    let entry = &message.entry;
    let (number, text) = severity(entry);
    let mut attributes = vec![
        KeyValue::text("pgveil.record.id", &message.id),
        KeyValue::number("pgveil.record.seq", message.place.seq),
    ];
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
    LogRecord {
        time_unix_nano: micros(&entry.time).unwrap_or(0).saturating_mul(1000),
        observed_time_unix_nano: now,
        severity_number: number,
        severity_text: text.to_owned(),
        body: Some(AnyValue::text(&String::from_utf8_lossy(&message.body))),
        attributes,
        event_name: format!("pgveil.{}", entry.event),
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
