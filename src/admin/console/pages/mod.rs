//! The pages: who asks for one, in which language, and how an answer is put together.
mod account;
mod exports;
mod login;
mod oversight;
mod view;

pub use view::{may_see, rfc3339};

use std::collections::BTreeMap;
use std::net::SocketAddr;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::guard::Peer;
use super::session::{Cookie, Session};
use super::words::{Language, Words};
use super::{App, Unrecorded};
use crate::admin::accounts::{Identity, Refused, random};
use crate::export::desk::DeskError;
use crate::export::store::StoreError;

/// The header by which htmx says that it asks, and the one it follows.
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
/// How long a chosen language is remembered, in seconds.
const LANGUAGE_KEPT: i64 = 365 * 24 * 3600;

pub fn routes() -> Router<App> {
    Router::new()
        .route("/", get(front))
        .route("/login", get(login::form).post(login::submit))
        .route("/login/provider", get(login::to_provider))
        .route("/login/provider/return", get(login::from_provider))
        .route("/logout", post(login::logout))
        .route("/language/{tag}", get(language))
        .route("/requests", get(exports::pending))
        .route("/requests/{id}", get(exports::show))
        .route("/requests/{id}/approve", post(exports::approve))
        .route("/requests/{id}/reject", post(exports::reject))
        .route("/requests/{id}/reason", post(exports::explain))
        .route("/requests/{id}/withdraw", post(exports::withdraw))
        .route("/history", get(exports::history))
        .route("/mine", get(exports::mine))
        .route("/people", get(oversight::people))
        .route("/refusals", get(oversight::refusals))
        .route("/refusals/rows", get(oversight::refusal_rows))
        .route("/account", get(account::show))
        .route("/account/password", post(account::password))
        .route("/account/factor", post(account::factor))
        .route("/account/tokens/{id}", post(account::revoke))
}

async fn front(signed: Signed) -> Redirect {
    Redirect::to(match signed.identity.oversees() {
        true => "/requests",
        false => "/mine",
    })
}

/// Somebody looks at a page, signed in or not.
pub struct Visitor {
    pub app: App,
    pub language: Language,
    pub session: Option<Session>,
    /// The session's name, from the cookie.
    pub name: Option<String>,
    pub peer: Option<SocketAddr>,
    /// Path and query.
    pub here: String,
    headers: HeaderMap,
}

impl Visitor {
    pub fn words(&self) -> &'static Words {
        self.language.words()
    }

    pub fn problem(&self, status: StatusCode, message: impl Into<String>) -> Response {
        let page = self.page(self.words().error_title, "");
        let template = ErrorPage {
            t: self.words(),
            page,
            message: message.into(),
        };
        (status, render(&template)).into_response()
    }

    pub fn unavailable(&self, error: &StoreError) -> Response {
        tracing::error!(%error, "console");
        self.problem(StatusCode::SERVICE_UNAVAILABLE, self.words().error_store)
    }

    pub fn unrecorded(&self, _: &Unrecorded) -> Response {
        self.problem(StatusCode::SERVICE_UNAVAILABLE, self.words().error_store)
    }

    pub fn missing(&self) -> Response {
        self.problem(StatusCode::NOT_FOUND, self.words().error_missing)
    }

    pub fn forged(&self) -> Response {
        self.problem(StatusCode::FORBIDDEN, self.words().error_forged)
    }

    /// Why the desk did not do what was asked of it, in the visitor's language.
    pub fn desk(&self, error: &DeskError) -> Response {
        let status = match error {
            DeskError::Unknown(_) => return self.missing(),
            DeskError::Store(error) => return self.unavailable(error),
            DeskError::Unrecorded(error) => return self.unrecorded(&Unrecorded(error.clone())),
            DeskError::Objection(_) | DeskError::TooMany { .. } => StatusCode::CONFLICT,
        };
        let why = match error {
            DeskError::Objection(objection) => self.words().objection(objection),
            other => other.to_string(),
        };
        self.problem(status, format!("{} {why}", self.words().not_done))
    }

    /// What all pages show. `nav`: the page's path, if it is one of the navigation.
    pub fn page(&self, title: &str, nav: &'static str) -> Page {
        let identity = self.session.as_ref().map(|session| &session.identity);
        let other = match self.language {
            Language::English => Language::Chinese,
            Language::Chinese => Language::English,
        };
        Page {
            title: title.to_owned(),
            nav,
            person: identity.map(|identity| identity.person.clone()),
            oversees: identity.is_some_and(Identity::oversees),
            csrf: self
                .session
                .as_ref()
                .map(|session| session.csrf.clone())
                .unwrap_or_default(),
            other: other.tag(),
            here: self.here.clone(),
        }
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let cookies = app.cookies();
        let language = cookies
            .get(&parts.headers, Cookie::Language)
            .and_then(|tag| Language::of_tag(&tag))
            .unwrap_or_else(|| Language::accepted(&parts.headers));
        let mut visitor = Visitor {
            app: App::clone(app),
            language,
            session: None,
            name: cookies.get(&parts.headers, Cookie::Session),
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
            here: parts
                .uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            headers: parts.headers.clone(),
        };
        if let Some(name) = &visitor.name {
            // A page that asks by itself is no sign of a person.
            let touch = !parts.headers.contains_key(HX_REQUEST);
            visitor.session = match app.sessions.find(&app.accounts, name, touch).await {
                Ok(session) => session.map(|session| Session {
                    identity: app.known(session.identity),
                    ..session
                }),
                Err(error) => return Err(visitor.unavailable(&error)),
            };
        }
        Ok(visitor)
    }
}

/// Somebody who is signed in looks at a page.
pub struct Signed {
    pub visitor: Visitor,
    pub identity: Identity,
}

impl FromRequestParts<App> for Signed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let visitor = Visitor::from_request_parts(parts, app).await?;
        let Some(session) = &visitor.session else {
            let to = match parts.method == axum::http::Method::GET {
                true => format!("/login?next={}", escaped(&visitor.here)),
                false => "/login".to_owned(),
            };
            return Err(match parts.headers.contains_key(HX_REQUEST) {
                true => (StatusCode::UNAUTHORIZED, [(HX_REDIRECT, "/login")]).into_response(),
                false => Redirect::to(&to).into_response(),
            });
        };
        let identity = session.identity.clone();
        Ok(Signed { visitor, identity })
    }
}

/// The fields of a form.
pub type Fields = BTreeMap<String, String>;

/// A form that a page of this very session sent.
pub struct Posted {
    pub visitor: Visitor,
    pub identity: Identity,
    pub fields: Fields,
}

impl Posted {
    /// A field without the space around it; empty if there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.trim())
    }
}

impl FromRequest<App> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Signed { visitor, identity } = Signed::from_request_parts(&mut parts, app).await?;
        let fields = fields(Request::from_parts(parts, body), app, &visitor).await?;
        let sent = fields.get("csrf").map_or("", String::as_str);
        let own = visitor
            .session
            .as_ref()
            .map_or("", |session| session.csrf.as_str());
        if own.is_empty() || !random::same(own, sent) {
            forgery_recorded(&visitor, &identity.person);
            return Err(visitor.forged());
        }
        Ok(Posted {
            visitor,
            identity,
            fields,
        })
    }
}

/// The fields of a form, whoever sent it.
pub async fn fields(request: Request, app: &App, visitor: &Visitor) -> Result<Fields, Response> {
    match axum::Form::<Fields>::from_request(request, app).await {
        Ok(form) => Ok(form.0),
        Err(_) => Err(visitor.problem(StatusCode::BAD_REQUEST, visitor.words().error_input)),
    }
}

fn forgery_recorded(visitor: &Visitor, person: &str) {
    let message = "a form without the session's token was turned away".to_owned();
    // It is turned away whether it can be recorded or not.
    let _ = visitor.app.note(Some(person), visitor.peer, message);
}

/// What all pages show.
pub struct Page {
    pub title: String,
    pub nav: &'static str,
    pub person: Option<String>,
    pub oversees: bool,
    pub csrf: String,
    /// Tag of the other language.
    pub other: &'static str,
    pub here: String,
}

impl Page {
    fn at(&self, nav: &str) -> bool {
        self.nav == nav
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    t: &'static Words,
    page: Page,
    message: String,
}

/// A template as an answer.
pub fn render(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

pub async fn missing(visitor: Visitor) -> Response {
    match visitor.here.starts_with("/api/") {
        true => crate::admin::api::missing(),
        false => visitor.missing(),
    }
}

async fn language(
    State(app): State<App>,
    axum::extract::Path(tag): axum::extract::Path<String>,
    axum::extract::Query(query): axum::extract::Query<Fields>,
) -> Response {
    let Some(language) = Language::of_tag(&tag) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let cookie = app
        .cookies()
        .set(Cookie::Language, language.tag(), Some(LANGUAGE_KEPT));
    let next = query.get("next").map_or("/", String::as_str);
    ([(header::SET_COOKIE, cookie)], Redirect::to(local(next))).into_response()
}

/// A path of the console; what leads anywhere else becomes its front page.
pub fn local(path: &str) -> &str {
    let elsewhere = !path.starts_with('/')
        || path.starts_with("//")
        || path.contains(['\\', '\r', '\n', '\t', '\0'])
        || !path.is_ascii();
    if elsewhere { "/" } else { path }
}

/// Text as a value in a query.
pub fn escaped(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => {
                out.push(byte.into());
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

/// Why somebody was not let in, for the record.
fn refused(refused: &Refused) -> String {
    format!("sign-in refused: {refused}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for path in [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "",
            "/a\r\nset-cookie: x",
        ] {
            assert_eq!(local(path), "/", "{path}");
        }
        assert_eq!(local("/requests/1?x=y"), "/requests/1?x=y");
        assert_eq!(escaped("/a?b=c&d"), "/a%3Fb%3Dc%26d");
    }
}
