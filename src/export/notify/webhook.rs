//! A JSON object by POST, signed: `X-Pgveil-Signature: v1=` and the hexadecimal HMAC-SHA-256 of the timestamp, a full
//! stop and the body, by the secret that both sides know. The timestamp stands in `X-Pgveil-Timestamp` (seconds since
//! 1970); who checks it keeps old messages from being played again. `X-Pgveil-Delivery` is the same for every attempt.
use std::time::Duration;

use super::message::Notice;
use super::{Failure, NotifyError};
use crate::config::{Secret, WebhookSettings};
use crate::export::clock::now;
use crate::outbound::{self, sign, told};

pub struct Webhook {
    client: reqwest::Client,
    url: url::Url,
    secret: Secret,
}

impl Webhook {
    pub fn new(settings: &WebhookSettings, timeout: Duration) -> Result<Self, NotifyError> {
        let failed = |reason: String| NotifyError {
            channel: "webhook",
            reason,
        };
        let client = outbound::client(settings.ca.as_deref(), None, timeout).map_err(failed)?;
        Ok(Webhook {
            client: client.build().map_err(|error| failed(told(&error)))?,
            url: settings
                .url
                .expose()
                .parse()
                .map_err(|error: url::ParseError| failed(format!("url: {error}")))?,
            secret: settings.secret.clone(),
        })
    }

    pub async fn send(&self, notice: &Notice) -> Result<(), Failure> {
        let timestamp = now().to_string();
        let body = notice.json.clone();
        let signature = sign(&self.secret, &timestamp, body.as_bytes())
            .ok_or_else(|| Failure::Refused("it cannot be signed".to_owned()))?;
        let answer = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-pgveil-timestamp", &timestamp)
            .header("x-pgveil-signature", format!("v1={signature}"))
            .header("x-pgveil-delivery", &notice.delivery)
            .body(body)
            .send()
            .await
            .map_err(|error| Failure::Unreachable(told(&error)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let message = format!("answered {status}");
        // 408 and 429 are about the moment, the rest of 4xx about what was sent (RFC 9110, section 15.5).
        match status.as_u16() {
            408 | 429 => Err(Failure::Unreachable(message)),
            400..=499 => Err(Failure::Refused(message)),
            _ => Err(Failure::Unreachable(message)),
        }
    }
}
