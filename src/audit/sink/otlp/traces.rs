//! Statements as spans of the traces that their texts name (`opentelemetry/proto/trace/v1/trace.proto`).
//!
//! A span is made of a record: what is not on record, no literal and no value, cannot be in it.
use sha2::{Digest, Sha256};

use super::super::batch::Message;
use super::super::progress::micros;
use super::proto::{InstrumentationScope, KeyValue, Resource};
use super::{attributes, resource, scope};
use crate::audit::Entry;

/// pgveil serves the client whose span is the parent.
const SPAN_KIND_SERVER: i32 = 2;
const STATUS_CODE_ERROR: i32 = 2;
/// Bytes of a trace's and of a span's identifier.
const TRACE_ID: usize = 16;
const SPAN_ID: usize = 8;

#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Status {
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// Spans of those records that are part of a sampled trace; `None` where there is none.
pub fn request(messages: &[Message]) -> Option<ExportTraceServiceRequest> {
    let spans: Vec<Span> = messages.iter().filter_map(span).collect();
    (!spans.is_empty()).then(|| ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource()),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope()),
                spans,
            }],
        }],
    })
}

/// Identifiers of a record's trace and of its own span in it.
pub fn ids(message: &Message) -> Option<(Vec<u8>, Vec<u8>)> {
    let trace = message.entry.trace.as_ref()?;
    let trace_id = bytes(&trace.trace_id, TRACE_ID)?;
    // The same at every attempt, so that a collector can tell a repetition.
    let digest = Sha256::digest(message.id.as_bytes());
    Some((trace_id, digest.get(..SPAN_ID)?.to_vec()))
}

fn span(message: &Message) -> Option<Span> {
    let entry = &message.entry;
    let trace = entry.trace.as_ref().filter(|trace| trace.sampled)?;
    let (trace_id, span_id) = ids(message)?;
    let end = micros(&entry.time)?.saturating_mul(1000);
    let took = entry.duration.unwrap_or(0.0).max(0.0) * 1e9;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    let took = took as u64;
    let mut attributes = attributes(entry);
    for (key, value) in [
        ("db.query.text", entry.text.as_deref()),
        ("pgveil.reason", entry.reason.as_deref()),
    ] {
        attributes.extend(value.map(|value| KeyValue::text(key, value)));
    }
    attributes.extend(
        entry
            .rows
            .map(|rows| KeyValue::number("db.response.returned_rows", rows)),
    );
    Some(Span {
        trace_id,
        span_id,
        parent_span_id: bytes(&trace.parent_id, SPAN_ID)?,
        name: name(entry),
        kind: SPAN_KIND_SERVER,
        start_time_unix_nano: end.saturating_sub(took),
        end_time_unix_nano: end,
        attributes,
        status: entry.sqlstate.as_ref().map(|sqlstate| Status {
            message: format!("SQLSTATE {sqlstate}"),
            code: STATUS_CODE_ERROR,
        }),
    })
}

/// The statement's kind and the relation it is about, if it is about one.
fn name(entry: &Entry) -> String {
    let kind = entry.kind.as_deref().unwrap_or("statement");
    match (&entry.writes[..], &entry.reads[..]) {
        ([relation], _) | ([], [relation]) => format!("{kind} {relation}"),
        _ => kind.to_owned(),
    }
}

fn bytes(hex: &str, length: usize) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16)?).ok())
        .collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    (rest.is_empty() && bytes.len() == length).then_some(bytes)
}
