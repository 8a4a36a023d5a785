//! What requests of pgveil's own over HTTP have in common: where they go, how they are signed, what is said when they
//! fail.
use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, Mac};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder};
use sha2::Sha256;

use crate::config::Secret;

/// A client that goes where the settings say: no redirect and no proxy of the environment leads elsewhere. `ca` is a PEM
/// file of the only authorities that count; the system's own if absent.
///
/// # Errors
/// The file cannot be used.
pub fn client(ca: Option<&Path>, timeout: Duration) -> Result<ClientBuilder, String> {
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(timeout)
        .connect_timeout(timeout)
        .user_agent(concat!("pgveil/", env!("CARGO_PKG_VERSION")));
    let Some(path) = ca else {
        return Ok(client);
    };
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let bundle = read
        .and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string()))
        .map_err(|error| format!("ca `{}`: {error}", path.display()))?;
    Ok(client.tls_certs_only(bundle))
}

/// The signature of a body, as hexadecimal digits: HMAC-SHA-256 of the timestamp, a full stop and the body.
pub fn sign(secret: &Secret, timestamp: &str, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digits = mac.finalize().into_bytes();
    Some(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The whole chain of causes, without the address: it may hold a token.
pub fn told(error: &reqwest::Error) -> String {
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
