//! A JSON object by POST, signed: `X-Pgveil-Signature: v1=` and the hexadecimal HMAC-SHA-256 of the timestamp, a full
//! stop and the body, by the secret that both sides know. The timestamp stands in `X-Pgveil-Timestamp` (seconds since
//! 1970); who checks it keeps old messages from being played again. `X-Pgveil-Delivery` is the same for every attempt.
use std::time::Duration;

use hmac::{Hmac, Mac};
use reqwest::redirect::Policy;
use sha2::Sha256;

use super::message::Notice;
use super::{Failure, NotifyError};
use crate::config::{Secret, WebhookSettings};
use crate::export::clock::now;

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
        // Where it goes is what the settings say: no redirect and no proxy of the environment leads elsewhere.
        let mut client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .connect_timeout(timeout)
            .user_agent(concat!("pgveil/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca {
            let read = std::fs::read(path).map_err(|error| error.to_string());
            let bundle = read.and_then(|pem| {
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
            });
            let bundle =
                bundle.map_err(|error| failed(format!("ca `{}`: {error}", path.display())))?;
            client = client.tls_certs_only(bundle);
        }
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

/// The signature of a body, as hexadecimal digits.
fn sign(secret: &Secret, timestamp: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits = mac.finalize().into_bytes();
    Some(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The whole chain of causes, without the address: it may hold a token.
fn told(error: &reqwest::Error) -> String {
    use std::error::Error as _;
    let mut text = match () {
        () if error.is_timeout() => "no answer in time".to_owned(),
        () if error.is_connect() => "cannot connect".to_owned(),
        () => "the answer is broken".to_owned(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf '%s' '1795348800.{"a":1}' | openssl dgst -sha256 -hmac 'a secret of 24 letters..'`
    #[test]
    fn a_signature_is_what_others_compute() {
        let secret = Secret::new("a secret of 24 letters..".to_owned());
        assert_eq!(
            sign(&secret, "1795348800", b"{\"a\":1}").unwrap(),
            "2a844d327c4c5b8932b0c1a1c706bf112fcc5dffb6b70563d46b5f024a6e61e9"
        );
    }
}
