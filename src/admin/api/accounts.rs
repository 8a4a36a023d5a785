//! Accounts and tokens, as JSON. Passwords come in bodies only, and no answer has one.
use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::exports::body;
use super::{ApiError, Caller};
use crate::admin::accounts::totp::TotpSecret;
use crate::admin::accounts::{Account, Refused, TokenLine};
use crate::admin::console::{App, rfc3339};
use crate::export::store::StoreError;

/// An account as administrators see it.
pub fn shown(account: &Account) -> Value {
    json!({
        "name": account.name,
        "person": account.person,
        "groups": account.groups,
        "second_factor": account.totp.is_some(),
        "created": rfc3339(account.created),
        "last_login": (account.last_login > 0).then(|| rfc3339(account.last_login)),
        "failures": account.failures,
    })
}

fn token(line: &TokenLine) -> Value {
    json!({
        "id": line.id,
        "account": line.account,
        "label": line.label,
        "created": rfc3339(line.created),
        "expires": rfc3339(line.expires),
    })
}

/// Somebody asks for a token of their own, and shows who they are as they do when they sign in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOrder {
    name: String,
    password: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    label: String,
    #[serde(default = "a_month")]
    days: u32,
}

fn a_month() -> u32 {
    30
}

pub async fn issue(
    axum::extract::State(app): axum::extract::State<App>,
    peer: Option<axum::Extension<super::Peer>>,
    order: Result<Json<TokenOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let peer = peer.map(|peer| peer.0.0);
    let order = body(order)?;
    let login = app
        .accounts
        .login(&order.name, &order.password, &order.code);
    let identity = match login.await {
        Ok(identity) => identity,
        Err(Refused::Store(error)) => return Err(StoreError(error).into()),
        Err(why) => {
            let known = match why {
                Refused::Unknown => None,
                _ => app.accounts.get(&order.name).await.ok(),
            };
            let person = known.map(|account| account.person);
            let message = format!("token refused: {why}");
            app.note(person.as_deref(), peer, message)?;
            return Err(ApiError::new(
                StatusCode::UNAUTHORIZED,
                "the name, the password or the code is wrong, or there were too many attempts and you have to wait",
            ));
        }
    };
    let name = identity.account.unwrap_or_default();
    let issued = app.accounts.issue(&name, &order.label, order.days).await?;
    let message = format!("account {name}: token {} issued", issued.line.id);
    app.note(Some(&identity.person), peer, message)?;
    let mut answer = token(&issued.line);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("token".to_owned(), Value::from(issued.token));
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The caller's own.
pub async fn tokens(caller: Caller) -> Result<Json<Value>, ApiError> {
    let name = caller.identity.account.as_deref().unwrap_or_default();
    let tokens = caller.app.accounts.tokens(name).await?;
    let tokens: Vec<Value> = tokens.iter().map(token).collect();
    Ok(Json(json!({ "tokens": tokens })))
}

pub async fn revoke(caller: Caller, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let name = caller.identity.account.clone().unwrap_or_default();
    caller.app.accounts.revoke(&name, &id).await?;
    caller.note(format!("account {name}: token {id} voided"))?;
    Ok(StatusCode::NO_CONTENT)
}

pub async fn list(caller: Caller) -> Result<Json<Value>, ApiError> {
    caller.admin()?;
    let accounts = caller.app.accounts.list().await?;
    let accounts: Vec<Value> = accounts.iter().map(shown).collect();
    Ok(Json(json!({ "accounts": accounts })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    name: String,
    person: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    password: String,
}

pub async fn add(
    caller: Caller,
    account: Result<Json<NewAccount>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.admin()?;
    let new = body(account)?;
    let person = new.person.as_deref().unwrap_or(&new.name);
    let accounts = &caller.app.accounts;
    let account = accounts
        .add(&new.name, person, &new.groups, &new.password)
        .await?;
    caller.note(added(&account))?;
    Ok((StatusCode::CREATED, Json(shown(&account))))
}

/// For the record.
pub fn added(account: &Account) -> String {
    let groups: Vec<&str> = account.groups.iter().map(String::as_str).collect();
    format!(
        "account {} added for {}, groups: {}",
        account.name,
        account.person,
        groups.join(", ")
    )
}

pub async fn remove(caller: Caller, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    caller.admin()?;
    caller.app.accounts.remove(&name).await?;
    caller.note(format!("account {name} removed"))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGroups {
    groups: Vec<String>,
}

pub async fn groups(
    caller: Caller,
    Path(name): Path<String>,
    groups: Result<Json<NewGroups>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    caller.admin()?;
    let groups = body(groups)?.groups;
    let account = caller.app.accounts.set_groups(&name, &groups).await?;
    caller.note(format!("account {name}: groups {}", groups.join(", ")))?;
    Ok(Json(shown(&account)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    password: String,
}

pub async fn password(
    caller: Caller,
    Path(name): Path<String>,
    password: Result<Json<NewPassword>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    caller.admin()?;
    let password = body(password)?.password;
    let account = caller.app.accounts.set_password(&name, &password).await?;
    caller.note(format!("account {name}: password set"))?;
    Ok(Json(shown(&account)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFactor {
    secret: String,
    code: String,
}

pub async fn enrol(
    caller: Caller,
    Path(name): Path<String>,
    factor: Result<Json<NewFactor>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    caller.admin()?;
    let factor = body(factor)?;
    let secret = TotpSecret::parse(&factor.secret).ok_or_else(|| {
        ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "a secret is base 32, 160 bits",
        )
    })?;
    let accounts = &caller.app.accounts;
    let account = accounts.enrol(&name, &secret, &factor.code).await?;
    caller.note(format!("account {name}: second factor set up"))?;
    Ok(Json(shown(&account)))
}

pub async fn disenrol(caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    caller.admin()?;
    let account = caller.app.accounts.disenrol(&name).await?;
    caller.note(format!("account {name}: second factor taken away"))?;
    Ok(Json(shown(&account)))
}
