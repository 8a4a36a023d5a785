//! The HTTP API under `/api/v1`: what the console does, for programs. They show who they act for by a token in
//! `Authorization: Bearer`; cookies mean nothing here, so no other site can use a browser for it.
//!
//! `openapi.json` describes it; a test holds the two together.
mod accounts;
mod exports;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use accounts::{added, shown as account_json};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router};
use serde_json::json;

use super::console::{App, Peer, Unrecorded};
use crate::admin::accounts::{AccountError, Identity};
use crate::export::desk::DeskError;
use crate::export::store::StoreError;

/// The description of the API (OpenAPI 3.1).
pub const OPENAPI: &str = include_str!("openapi.json");

/// Every route: method, path, handler.
fn table() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("get", "/api/v1/openapi.json", get(openapi)),
        ("get", "/api/v1/requests", get(exports::list)),
        ("get", "/api/v1/requests/{id}", get(exports::show)),
        (
            "post",
            "/api/v1/requests/{id}/approve",
            post(exports::approve),
        ),
        (
            "post",
            "/api/v1/requests/{id}/reject",
            post(exports::reject),
        ),
        (
            "post",
            "/api/v1/requests/{id}/reason",
            post(exports::explain),
        ),
        (
            "post",
            "/api/v1/requests/{id}/withdraw",
            post(exports::withdraw),
        ),
        ("get", "/api/v1/people", get(exports::people)),
        ("post", "/api/v1/tokens", post(accounts::issue)),
        ("get", "/api/v1/tokens", get(accounts::tokens)),
        ("delete", "/api/v1/tokens/{id}", delete(accounts::revoke)),
        ("get", "/api/v1/accounts", get(accounts::list)),
        ("post", "/api/v1/accounts", post(accounts::add)),
        (
            "delete",
            "/api/v1/accounts/{name}",
            delete(accounts::remove),
        ),
        (
            "post",
            "/api/v1/accounts/{name}/groups",
            post(accounts::groups),
        ),
        (
            "post",
            "/api/v1/accounts/{name}/password",
            post(accounts::password),
        ),
        (
            "post",
            "/api/v1/accounts/{name}/factor",
            post(accounts::enrol),
        ),
        (
            "delete",
            "/api/v1/accounts/{name}/factor",
            delete(accounts::disenrol),
        ),
    ]
}

pub fn routes() -> Router<App> {
    table()
        .into_iter()
        .fold(Router::new(), |router, (_, path, handler)| {
            router.route(path, handler)
        })
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// What is not there.
pub fn missing() -> Response {
    ApiError::new(StatusCode::NOT_FOUND, "there is no such thing here").into_response()
}

/// An answer that says what was wrong: `{"error": "..."}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        ApiError {
            status,
            message: message.into(),
        }
    }

    fn missing() -> Self {
        ApiError::new(StatusCode::NOT_FOUND, "there is no such thing here")
    }

    fn forbidden() -> Self {
        ApiError::new(
            StatusCode::FORBIDDEN,
            "this needs an account of the group admin",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = axum::http::HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "api");
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the state store is unavailable",
        )
    }
}

impl From<Unrecorded> for ApiError {
    fn from(_: Unrecorded) -> Self {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the audit record could not be written",
        )
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Store(error) => error.into(),
            DeskError::Unrecorded(error) => Unrecorded(error).into(),
            DeskError::Unknown(_) => ApiError::new(StatusCode::NOT_FOUND, error.to_string()),
            DeskError::Objection(_) | DeskError::TooMany { .. } => {
                ApiError::new(StatusCode::CONFLICT, error.to_string())
            }
        }
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let status = match &error {
            AccountError::Store(error) => return error.clone().into(),
            AccountError::Unknown(_) | AccountError::UnknownToken(_) => StatusCode::NOT_FOUND,
            AccountError::Exists(_) | AccountError::TooManyTokens(_) => StatusCode::CONFLICT,
            AccountError::Name
            | AccountError::Group(_)
            | AccountError::Person
            | AccountError::Weak(_)
            | AccountError::Code
            | AccountError::Days => StatusCode::UNPROCESSABLE_ENTITY,
        };
        ApiError::new(status, error.to_string())
    }
}

/// Who a call is made for.
pub struct Caller {
    pub app: App,
    pub identity: Identity,
    pub peer: Option<SocketAddr>,
}

impl Caller {
    /// # Errors
    /// The caller is no administrator.
    fn admin(&self) -> Result<(), ApiError> {
        match self.identity.is_admin() {
            true => Ok(()),
            false => Err(ApiError::forbidden()),
        }
    }

    fn note(&self, message: String) -> Result<(), Unrecorded> {
        self.app
            .note(Some(&self.identity.person), self.peer, message)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let unknown = || {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "this needs `Authorization: Bearer` with a token that holds",
            )
        };
        let token = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|header| header.to_str().ok())
            .and_then(|header| header.strip_prefix("Bearer "))
            .ok_or_else(unknown)?;
        let identity = app.accounts.bearer(token.trim()).await?;
        Ok(Caller {
            app: App::clone(app),
            identity: app.known(identity.ok_or_else(unknown)?),
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0),
        })
    }
}
