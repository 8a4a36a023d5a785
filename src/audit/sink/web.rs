//! Receivers over HTTP: Splunk's event collector, Elasticsearch's bulk interface, and any web server that checks a
//! signature.
use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use url::Url;

use super::batch::Message;
use super::progress::micros;
use super::target::{Delivered, Failure};
use crate::config::{
    ElasticsearchSettings, HttpLogin, Secret, SinkKind, SinkSettings, SplunkHecSettings,
};
use crate::outbound::{self, retry_after, sign, told};

/// An answer is not read beyond this.
const MAX_ANSWER: usize = 16 << 20;

pub struct WebSender {
    client: Client,
    url: Url,
    receiver: Receiver,
}

enum Receiver {
    Splunk(SplunkHecSettings),
    Elastic(Option<HttpLogin>),
    /// The key of signatures.
    Webhook(Secret),
}

impl WebSender {
    pub fn new(settings: &SinkSettings) -> Result<Self, String> {
        let (url, ca, certificate, receiver) = match &settings.kind {
            SinkKind::SplunkHec(splunk) => (
                &splunk.web.url,
                &splunk.web.ca,
                &splunk.web.certificate,
                Receiver::Splunk(splunk.clone()),
            ),
            SinkKind::Elasticsearch(elastic) => (
                &elastic.url,
                &elastic.ca,
                &elastic.certificate,
                Receiver::Elastic(elastic.login.clone()),
            ),
            SinkKind::Webhook(web) => (
                &web.url,
                &web.ca,
                &web.certificate,
                Receiver::Webhook(web.secret.clone()),
            ),
            _ => return Err("it is not reached over HTTP".to_owned()),
        };
        let mut url: Url = url
            .expose()
            .parse()
            .map_err(|error: url::ParseError| error.to_string())?;
        if let SinkKind::Elasticsearch(elastic) = &settings.kind {
            bulk(&mut url, elastic);
        }
        let client = outbound::client(ca.as_deref(), certificate.as_ref(), settings.timeout)?;
        Ok(WebSender {
            client: client.build().map_err(|error| told(&error))?,
            url,
            receiver,
        })
    }

    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let request = self.client.post(self.url.clone());
        let request = match &self.receiver {
            Receiver::Splunk(splunk) => to_splunk(request, splunk, messages)?,
            Receiver::Elastic(login) => to_elastic(request, login.as_ref(), messages)?,
            Receiver::Webhook(secret) => to_webhook(request, secret, messages)?,
        };
        let mut answer = request
            .send()
            .await
            .map_err(|error| Failure::new(told(&error)))?;
        let status = answer.status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large(messages);
        }
        if !status.is_success() {
            return Err(Failure {
                wait: retry_after(answer.headers(), SystemTime::now()),
                ..Failure::new(format!("answered {status}"))
            });
        }
        let body = outbound::body(&mut answer, MAX_ANSWER).await;
        let body = body.map_err(Failure::new)?;
        match &self.receiver {
            Receiver::Splunk(_) => from_splunk(&body),
            Receiver::Elastic(_) => from_elastic(&body, messages.len()),
            Receiver::Webhook(_) => Ok(Delivered::default()),
        }
    }
}

/// RFC 9110, section 15.5.14: in parts it may pass; one record alone never will.
fn too_large(messages: &[Message]) -> Result<Delivered, Failure> {
    let reason = "the receiver finds it too large";
    if messages.len() == 1 {
        return Ok(Delivered {
            rejected: vec![(0, reason.to_owned())],
        });
    }
    Err(Failure {
        divide: true,
        ..Failure::new(reason)
    })
}

/// `<base>/<index>/_bulk`, with only that in the answer which is looked at.
fn bulk(url: &mut Url, elastic: &ElasticsearchSettings) {
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{}/_bulk", elastic.index));
    url.set_query(Some("filter_path=errors,items.*.status,items.*.error.type"));
}

fn header(text: String) -> Result<HeaderValue, Failure> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Failure::new("a secret cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A record as JSON: what is JSON stays as it is, to the byte; all else becomes a string.
fn as_json(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => text.into_owned(),
        Err(_) => json!(text).to_string(),
    }
}

/// Splunk documentation, "Format events for HTTP Event Collector": objects one after the other.
fn to_splunk(
    request: RequestBuilder,
    splunk: &SplunkHecSettings,
    messages: &[Message],
) -> Result<RequestBuilder, Failure> {
    let mut body = String::new();
    for message in messages {
        let event = as_json(&message.body);
        let mut envelope = json!({
            "source": splunk.source,
            "sourcetype": splunk.sourcetype,
            "fields": { "record_id": message.id, "record_seq": message.place.seq },
        });
        if let Some(object) = envelope.as_object_mut() {
            if let Some(micros) = micros(&message.entry.time) {
                let time = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
                object.insert("time".to_owned(), Value::String(time));
            }
            if let Some(index) = &splunk.index {
                object.insert("index".to_owned(), Value::String(index.clone()));
            }
        }
        let envelope = envelope.to_string();
        // The event goes in as it is, not as the same in other words.
        body.push_str(envelope.strip_suffix('}').unwrap_or(&envelope));
        body.push_str(",\"event\":");
        body.push_str(&event);
        body.push_str("}\n");
    }
    let token = header(format!("Splunk {}", splunk.web.secret.expose()))?;
    Ok(request
        .header(AUTHORIZATION, token)
        .header(CONTENT_TYPE, "application/json")
        .body(body))
}

/// `{"text":"Success","code":0}`
fn from_splunk(answer: &[u8]) -> Result<Delivered, Failure> {
    let answer: Option<Value> = serde_json::from_slice(answer).ok();
    match answer
        .as_ref()
        .and_then(|answer| answer.get("code")?.as_i64())
    {
        Some(0) => Ok(Delivered::default()),
        Some(code) => Err(Failure::new(format!("answered with code {code}"))),
        None => Err(Failure::new("this is not the answer of an event collector")),
    }
}

/// Elasticsearch documentation, "Bulk API". `create` by the record's identifier: a repetition meets itself (409).
fn to_elastic(
    request: RequestBuilder,
    login: Option<&HttpLogin>,
    messages: &[Message],
) -> Result<RequestBuilder, Failure> {
    let mut body = Vec::new();
    for message in messages {
        let action = json!({ "create": { "_id": message.id } });
        body.extend_from_slice(action.to_string().as_bytes());
        body.push(b'\n');
        body.extend_from_slice(&message.body);
        body.push(b'\n');
    }
    let request = match login {
        Some(HttpLogin::Basic { user, password }) => {
            request.basic_auth(user, Some(password.expose()))
        }
        Some(HttpLogin::ApiKey(key)) => {
            request.header(AUTHORIZATION, header(format!("ApiKey {}", key.expose()))?)
        }
        None => request,
    };
    Ok(request
        .header(CONTENT_TYPE, "application/x-ndjson")
        .body(body))
}

/// What became of each document. One that cannot be taken (400) while others are is set aside; where none is taken, or
/// something is about the moment, all is sent again.
fn from_elastic(answer: &[u8], sent: usize) -> Result<Delivered, Failure> {
    let strange = || Failure::new("this is not the answer of a bulk request");
    let answer: Value = serde_json::from_slice(answer).map_err(|_| strange())?;
    let items = answer.get("items").and_then(Value::as_array);
    let items = items
        .filter(|items| items.len() == sent)
        .ok_or_else(strange)?;
    let mut rejected = Vec::new();
    let mut again = None;
    let mut stored = 0;
    for (index, item) in items.iter().enumerate() {
        let result = item.as_object().and_then(|item| item.values().next());
        let status = result.and_then(|result| result.get("status")?.as_u64());
        let kind = result.and_then(|result| result.get("error")?.get("type")?.as_str());
        let kind: String = kind
            .unwrap_or("untyped")
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
            .take(64)
            .collect();
        match status {
            Some(200 | 201 | 409) => stored += 1,
            Some(400) => rejected.push((index, format!("answered 400 ({kind})"))),
            Some(status) => {
                again.get_or_insert(format!("answered {status} ({kind}) for a document"));
            }
            None => return Err(strange()),
        }
    }
    if let Some(reason) = again {
        return Err(Failure::new(reason));
    }
    match rejected.first() {
        Some((_, reason)) if stored == 0 => {
            Err(Failure::new(format!("{reason} for every document")))
        }
        _ => Ok(Delivered { rejected }),
    }
}

/// The webhook of export requests has the same headers, see `export::notify`.
fn to_webhook(
    request: RequestBuilder,
    secret: &Secret,
    messages: &[Message],
) -> Result<RequestBuilder, Failure> {
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else {
        return Err(Failure::new("there is nothing to send"));
    };
    let delivery = format!("{}-{}", first.id, last.place.seq);
    let mut body = format!("{{\"delivery\":{},\"records\":[", json!(delivery));
    for (index, message) in messages.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let record = as_json(&message.body);
        body.push_str(&format!(
            "{comma}{{\"id\":{},\"record\":{}}}",
            json!(message.id),
            record
        ));
    }
    body.push_str("]}");
    let timestamp = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        .to_string();
    let signature = sign(secret, &timestamp, body.as_bytes())
        .ok_or_else(|| Failure::new("it cannot be signed"))?;
    Ok(request
        .header(CONTENT_TYPE, "application/json")
        .header("x-pgveil-timestamp", &timestamp)
        .header("x-pgveil-signature", format!("v1={signature}"))
        .header("x-pgveil-delivery", &delivery)
        .body(body))
}

#[cfg(test)]
#[path = "web_tests.rs"]
mod tests;
