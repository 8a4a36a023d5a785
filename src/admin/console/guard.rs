//! What every request passes and every answer carries, whatever page it is for.
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::session::Cookies;

/// Within it a request is answered.
const ANSWER: Duration = Duration::from_secs(30);

/// Nothing but what the console itself serves, and nobody frames it. `form-action` keeps forged markup from sending forms
/// elsewhere.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Where the console is, as browsers see it.
#[derive(Debug, Clone)]
pub struct Site {
    /// `https://approvals.example.com`
    base: String,
    /// What may stand in `Host`.
    hosts: Vec<String>,
    /// What may stand in `Origin`.
    origins: Vec<String>,
    cookies: Cookies,
}

impl Site {
    /// `url`: what browsers show, if it is not the address.
    pub fn new(address: SocketAddr, tls: bool, url: Option<&str>) -> Self {
        let scheme = if tls { "https" } else { "http" };
        let mut hosts = vec![address.to_string(), format!("localhost:{}", address.port())];
        // Browsers leave out the port that goes without saying.
        if address.port() == (if tls { 443 } else { 80 }) {
            let ip = address.to_string();
            let ip = ip.rsplit_once(':').map_or("", |(ip, _)| ip);
            hosts.extend([ip.to_owned(), "localhost".to_owned()]);
        }
        let mut origins: Vec<String> = hosts
            .iter()
            .map(|host| format!("{scheme}://{host}"))
            .collect();
        let mut base = origins.first().cloned().unwrap_or_default();
        let mut cookies = if tls {
            Cookies::Secure
        } else {
            Cookies::Loopback
        };
        if let Some(url) = url {
            let url = url.to_ascii_lowercase();
            if let Some((scheme, host)) = url.split_once("://") {
                if scheme == "https" {
                    cookies = Cookies::Secure;
                }
                hosts.push(host.to_owned());
            }
            origins.push(url.clone());
            base = url;
        }
        Site {
            base,
            hosts,
            origins,
            cookies,
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn cookies(&self) -> Cookies {
        self.cookies
    }

    /// Against DNS rebinding: another site's name that leads here is not answered.
    fn is_host(&self, request: &Request) -> bool {
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => text(request.headers(), &header::HOST),
        };
        host.is_some_and(|host| {
            self.hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(host))
        })
    }

    /// Whether a page of the console sent this form. Browsers name the page's origin with every form.
    fn is_own_form(&self, headers: &HeaderMap) -> bool {
        match text(headers, &header::ORIGIN) {
            Some(origin) => self
                .origins
                .iter()
                .any(|own| own.eq_ignore_ascii_case(origin)),
            None => {
                let site = headers.get("sec-fetch-site");
                site.is_some_and(|site| site == "same-origin")
            }
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Turns away what no page of the console sent, and sees to the headers of every answer.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let api = path.starts_with("/api/");
    let asset = path.starts_with("/assets/");
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if !app.site.is_host(&request) {
        refusal(
            StatusCode::MISDIRECTED_REQUEST,
            "this console does not answer to that name; set `console: { url }` in pgveil.yaml\n",
        )
    } else if !api && !reads && !app.site.is_own_form(request.headers()) {
        tracing::warn!("console: a form of another origin was turned away");
        refusal(
            StatusCode::FORBIDDEN,
            "this form did not come from this console\n",
        )
    } else {
        match tokio::time::timeout(ANSWER, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "this took too long\n"),
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: browsers would then send `Origin: null` with the console's own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    if !asset {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if app.site.cookies() == Cookies::Secure {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    response
}

fn refusal(status: StatusCode, message: &'static str) -> Response {
    (status, message).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(address: &str, tls: bool, url: Option<&str>) -> Site {
        Site::new(address.parse().expect("an address"), tls, url)
    }

    fn request(host: &str) -> Request {
        let request = Request::get("/").header(header::HOST, host);
        request.body(axum::body::Body::empty()).expect("a request")
    }

    #[test]
    fn a_console_answers_to_its_address_and_its_url() {
        let loopback = site("[::1]:443", true, Some("https://Approvals.example.com"));
        for host in ["[::1]:443", "[::1]", "localhost", "approvals.example.com"] {
            assert!(loopback.is_host(&request(host)), "{host}");
        }
        for host in ["example.com", "approvals.example.com.evil.example", ""] {
            assert!(!loopback.is_host(&request(host)), "{host}");
        }
        assert_eq!(loopback.base(), "https://approvals.example.com");
        assert!(!site("127.0.0.1:9443", false, None).is_host(&request("127.0.0.1")));
    }

    #[test]
    fn cookies_are_secure_wherever_browsers_come_by_tls() {
        let proxied = Some("https://approvals.example.com");
        for (tls, url, cookies) in [
            (false, None, Cookies::Loopback),
            (true, None, Cookies::Secure),
            (false, proxied, Cookies::Secure),
        ] {
            assert_eq!(site("127.0.0.1:9443", tls, url).cookies(), cookies);
        }
    }

    #[test]
    fn a_form_comes_from_the_console_s_own_origin() {
        let site = site("127.0.0.1:9443", false, None);
        let from = |name: &'static str, value: &'static str| {
            let headers = [(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )];
            site.is_own_form(&HeaderMap::from_iter(headers))
        };
        assert!(from("origin", "http://127.0.0.1:9443"));
        assert!(from("sec-fetch-site", "same-origin"));
        for origin in [
            "null",
            "https://127.0.0.1:9443",
            "http://127.0.0.1:9444",
            "",
        ] {
            assert!(!from("origin", origin), "{origin}");
        }
        assert!(!from("sec-fetch-site", "same-site"));
        assert!(!site.is_own_form(&HeaderMap::new()));
    }
}
