//! Signing in and out.
use askama::Template;
use axum::extract::{FromRequestParts, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::{Fields, Page, Posted, Visitor, fields, local, refused, render};
use crate::admin::accounts::{Identity, Refused, random};
use crate::admin::console::App;
use crate::admin::console::oidc::OidcError;
use crate::admin::console::session::{Cookie, csrf_of};
use crate::admin::console::words::Words;

/// How long somebody may stay at the identity provider, in seconds.
const PROVIDER_KEPT: i64 = 600;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    t: &'static Words,
    page: Page,
    csrf: String,
    next: String,
    name: String,
    provider: bool,
    notice: Option<&'static str>,
}

pub async fn form(visitor: Visitor, Query(query): Query<Fields>) -> Response {
    let next = local(query.get("next").map_or("/", String::as_str)).to_owned();
    if visitor.session.is_some() {
        return Redirect::to(&next).into_response();
    }
    let notice = visitor.name.is_some().then(|| visitor.words().login_again);
    page(&visitor, &next, "", notice, StatusCode::OK)
}

/// The form, bound to this browser: another site cannot sign somebody in as somebody else.
fn page(
    visitor: &Visitor,
    next: &str,
    name: &str,
    notice: Option<&'static str>,
    status: StatusCode,
) -> Response {
    let cookies = visitor.app.cookies();
    let browser = match cookies.get(&visitor.headers, Cookie::Login) {
        Some(browser) => browser,
        None => match random::secret() {
            Ok(browser) => browser,
            Err(error) => return visitor.unavailable(&error),
        },
    };
    let t = visitor.words();
    let template = LoginPage {
        t,
        page: visitor.page(t.login_title, ""),
        csrf: csrf_of(&browser),
        next: next.to_owned(),
        name: name.to_owned(),
        provider: visitor.app.provider.is_some(),
        notice,
    };
    let mut response = (status, render(&template)).into_response();
    set_cookie(&mut response, &cookies.set(Cookie::Login, &browser, None));
    response
}

fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

pub async fn submit(State(app): State<App>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let visitor = match Visitor::from_request_parts(&mut parts, &app).await {
        Ok(visitor) => visitor,
        Err(response) => return response,
    };
    let fields = match fields(Request::from_parts(parts, body), &app, &visitor).await {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let browser = app.cookies().get(&visitor.headers, Cookie::Login);
    let own = browser.map(|browser| csrf_of(&browser)).unwrap_or_default();
    if own.is_empty() || !random::same(&own, field("csrf")) {
        // Not on the record: anybody can send such a form, as often as they like.
        tracing::warn!(peer = ?visitor.peer, "console: a sign-in form without its token was turned away");
        return visitor.forged();
    }
    let next = local(field("next")).to_owned();
    let name = field("name");
    match app
        .accounts
        .login(name, field("password"), field("code"))
        .await
    {
        Ok(identity) => match admit(&visitor, &identity, "with a password").await {
            Ok(cookie) => {
                let mut response = Redirect::to(&next).into_response();
                set_cookie(&mut response, &cookie);
                response
            }
            Err(response) => response,
        },
        Err(Refused::Store(error)) => visitor.unavailable(&crate::export::store::StoreError(error)),
        Err(why) => {
            // A name that nobody has may be a password in the wrong field: it is not recorded.
            let known = match why {
                Refused::Unknown => None,
                _ => app.accounts.get(name).await.ok(),
            };
            let person = known.map(|account| account.person);
            if let Err(error) = app.note(person.as_deref(), visitor.peer, refused(&why)) {
                return visitor.unrecorded(&error);
            }
            let notice = Some(visitor.words().login_failed);
            page(&visitor, &next, name, notice, StatusCode::UNAUTHORIZED)
        }
    }
}

/// Begins a session that is on record; the cookie for it.
async fn admit(visitor: &Visitor, identity: &Identity, how: &str) -> Result<String, Response> {
    let app = &visitor.app;
    app.note(
        Some(&identity.person),
        visitor.peer,
        format!("signed in {how}"),
    )
    .map_err(|error| visitor.unrecorded(&error))?;
    // A session that was there in this browser is not taken over.
    if let Some(old) = &visitor.name {
        app.sessions
            .end(old)
            .await
            .map_err(|error| visitor.unavailable(&error))?;
    }
    let name = app
        .sessions
        .begin(identity)
        .await
        .map_err(|error| visitor.unavailable(&error))?;
    Ok(app.cookies().set(Cookie::Session, &name, None))
}

pub async fn logout(posted: Posted) -> Response {
    let visitor = &posted.visitor;
    if let Some(name) = &visitor.name
        && let Err(error) = visitor.app.sessions.end(name).await
    {
        return visitor.unavailable(&error);
    }
    let person = Some(posted.identity.person.as_str());
    if let Err(error) = visitor
        .app
        .note(person, visitor.peer, "signed out".to_owned())
    {
        return visitor.unrecorded(&error);
    }
    let mut response = Redirect::to("/login").into_response();
    set_cookie(
        &mut response,
        &visitor.app.cookies().remove(Cookie::Session),
    );
    response
}

/// To the identity provider, with a cookie that its answer has to come back with.
pub async fn to_provider(visitor: Visitor) -> Response {
    let Some(provider) = &visitor.app.provider else {
        return visitor.missing();
    };
    let browser = match random::secret() {
        Ok(browser) => browser,
        Err(error) => return visitor.unavailable(&error),
    };
    match provider.begin(&browser).await {
        Ok(url) => {
            let mut response = Redirect::to(&url).into_response();
            let cookies = visitor.app.cookies();
            let cookie = cookies.set(Cookie::Provider, &browser, Some(PROVIDER_KEPT));
            set_cookie(&mut response, &cookie);
            response
        }
        Err(error) => {
            tracing::error!(%error, "console: the identity provider");
            let notice = Some(visitor.words().login_provider_failed);
            page(&visitor, "/", "", notice, StatusCode::BAD_GATEWAY)
        }
    }
}

#[derive(Template)]
#[template(path = "continue.html")]
struct ContinuePage {
    t: &'static Words,
    page: Page,
}

/// The identity provider's answer. The page that follows leads on by itself: a redirect from here would still be one from
/// the provider's site, and browsers would not send the session's cookie along.
pub async fn from_provider(visitor: Visitor, Query(query): Query<Fields>) -> Response {
    let Some(provider) = &visitor.app.provider else {
        return visitor.missing();
    };
    let cookies = visitor.app.cookies();
    let browser = cookies
        .get(&visitor.headers, Cookie::Provider)
        .unwrap_or_default();
    let field = |name: &str| query.get(name).map_or("", String::as_str);
    let mut response = match provider
        .end(&visitor.app, &browser, field("state"), field("code"))
        .await
    {
        Ok(identity) => match admit(&visitor, &identity, "by the identity provider").await {
            Ok(cookie) => {
                let t = visitor.words();
                let mut response = render(&ContinuePage {
                    t,
                    page: visitor.page(t.signed_in, ""),
                });
                set_cookie(&mut response, &cookie);
                response
            }
            Err(response) => response,
        },
        Err(error) => {
            tracing::warn!(%error, "console: a sign-in by the identity provider failed");
            let message = format!("sign-in by the identity provider refused: {error}");
            // An answer to no question of this browser can come from anybody, as often as they like.
            if !matches!(error, OidcError::State)
                && let Err(error) = visitor.app.note(None, visitor.peer, message)
            {
                return visitor.unrecorded(&error);
            }
            let notice = Some(visitor.words().login_provider_failed);
            page(&visitor, "/", "", notice, StatusCode::UNAUTHORIZED)
        }
    };
    set_cookie(&mut response, &cookies.remove(Cookie::Provider));
    response
}
