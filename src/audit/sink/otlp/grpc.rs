//! A unary call of gRPC over HTTP/2 ("gRPC over HTTP2", grpc/grpc `doc/PROTOCOL-HTTP2.md`).
use std::time::SystemTime;

use http_body_util::{BodyExt, Limited};
use hyper::HeaderMap;
use reqwest::RequestBuilder;
use reqwest::header::CONTENT_TYPE;

use super::super::target::Failure;
use super::MAX_ANSWER;
use crate::outbound::{retry_after, told};

/// Services and methods.
pub const LOGS: &str = "opentelemetry.proto.collector.logs.v1.LogsService/Export";
pub const TRACES: &str = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
const GRPC: &str = "application/grpc";
/// Whether it is compressed, and how long it is.
const PREFIX: usize = 5;
/// The code of what was too much.
const RESOURCE_EXHAUSTED: i64 = 8;

/// The answer's message; `None`: it was too much at once.
pub async fn call(request: RequestBuilder, message: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let strange = || Failure::new("this is not an answer of gRPC");
    let length = u32::try_from(message.len()).map_err(|_| Failure::new("it is too long"))?;
    let mut body = Vec::with_capacity(PREFIX + message.len());
    body.push(0);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(message);
    let answer = request
        .header(CONTENT_TYPE, GRPC)
        .header("te", "trailers")
        .body(body)
        .send()
        .await
        .map_err(|error| Failure::new(told(&error)))?;
    if !answer.status().is_success() {
        return Err(Failure {
            wait: retry_after(answer.headers(), SystemTime::now()),
            ..Failure::new(format!("answered {}", answer.status()))
        });
    }
    let kind = answer.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(GRPC.as_bytes())) {
        return Err(strange());
    }
    let (parts, body) = hyper::Response::<reqwest::Body>::from(answer).into_parts();
    let read = Limited::new(body, MAX_ANSWER).collect().await;
    let read = read.map_err(|_| Failure::new("the answer is broken"))?;
    // Without a message the status stands in the header already.
    let status = read.trailers().and_then(status).or(status(&parts.headers));
    match status {
        Some(0) => {}
        Some(RESOURCE_EXHAUSTED) => return Ok(None),
        Some(code) => return Err(Failure::new(format!("answered with gRPC status {code}"))),
        None => return Err(strange()),
    }
    let bytes = read.to_bytes();
    let (prefix, message) = bytes.split_at_checked(PREFIX).ok_or_else(strange)?;
    let [0, length @ ..] = prefix else {
        return Err(strange());
    };
    let length = <[u8; 4]>::try_from(length).map_err(|_| strange())?;
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(strange());
    }
    Ok(Some(message.to_vec()))
}

fn status(headers: &HeaderMap) -> Option<i64> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
