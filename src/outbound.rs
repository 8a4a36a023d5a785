//! What requests of pgveil's own over HTTP have in common: where they go, how they are signed, what is said when they
//! fail.
use std::path::Path;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, Mac};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, Identity, Response};
use sha2::Sha256;

use crate::config::{Secret, TlsSettings};

/// Waits of servers are taken for what they are up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A client that goes where the settings say: no redirect and no proxy of the environment leads elsewhere. `ca` is a PEM
/// file of the only authorities that count; the system's own if absent. `certificate` is shown to a server that asks for
/// one.
///
/// # Errors
/// A file cannot be used.
pub fn client(
    ca: Option<&Path>,
    certificate: Option<&TlsSettings>,
    timeout: Duration,
) -> Result<ClientBuilder, String> {
    let mut client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(timeout)
        .connect_timeout(timeout)
        .user_agent(concat!("pgveil/", env!("CARGO_PKG_VERSION")));
    if let Some(TlsSettings { cert, key }) = certificate {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| format!("`{}`: {error}", path.display()))
        };
        let mut pem = read(cert)?;
        pem.push(b'\n');
        pem.extend(read(key)?);
        let identity = Identity::from_pem(&pem);
        client = client.identity(identity.map_err(|error| {
            format!(
                "cert `{}`, key `{}`: {error}",
                cert.display(),
                key.display()
            )
        })?);
    }
    let Some(path) = ca else {
        return Ok(client);
    };
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let bundle = read
        .and_then(|pem| Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string()))
        .map_err(|error| format!("ca `{}`: {error}", path.display()))?;
    Ok(client.tls_certs_only(bundle))
}

/// How long a server that does not take something now wants to be left alone (RFC 9110, section 10.2.3): seconds, or a
/// date. At most [`LONGEST_WAIT`].
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => http_date(text)?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7; the obsolete forms are not read).
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split(' ');
    let mut next = || parts.next();
    let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    if zone != "GMT" {
        return None;
    }
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
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

/// The body of an answer of up to `limit` bytes.
///
/// # Errors
/// It is longer, or breaks off.
pub async fn body(answer: &mut Response, limit: usize) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| told(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Err("the answer is too long".to_owned());
        }
    }
    Ok(body)
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

    #[test]
    fn a_wait_is_in_seconds_or_up_to_a_date_and_never_too_long() {
        let now = humantime::parse_rfc3339("1994-11-06T08:49:00Z").unwrap();
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("0"), Some(0));
        assert_eq!(wait("86400"), Some(300));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(wait("Sun, 06 Nov 1994 08:48:37 GMT"), Some(0));
        assert_eq!(wait("Mon, 07 Nov 1994 08:48:37 GMT"), Some(300));
        for rubbish in [
            "-1",
            "soon",
            "",
            "Sun, 06 Nov 1994",
            "Sun, 06 Non 1994 08:49:37 GMT",
        ] {
            assert_eq!(wait(rubbish), None, "{rubbish}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

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
