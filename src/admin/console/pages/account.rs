//! One's own account: password, second factor, tokens.
use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::view::Moment;
use super::{Fields, Page, Posted, Signed, Visitor, refused, render};
use crate::admin::accounts::totp::TotpSecret;
use crate::admin::accounts::{Account, AccountError, Refused};
use crate::admin::console::words::Words;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    t: &'static Words,
    page: Page,
    person: String,
    groups: String,
    /// `None`: an identity provider keeps it.
    account: Option<AccountView>,
    notice: Option<&'static str>,
}

struct AccountView {
    factor: bool,
    /// To be set up.
    secret: String,
    url: String,
    tokens: Vec<TokenView>,
}

struct TokenView {
    id: String,
    label: String,
    expires: Moment,
}

pub async fn show(signed: Signed, Query(query): Query<Fields>) -> Response {
    let Signed { visitor, identity } = &signed;
    let t = visitor.words();
    let account = match &identity.account {
        None => None,
        Some(name) => match view(visitor, name).await {
            Ok(view) => Some(view),
            Err(response) => return response,
        },
    };
    let groups: Vec<&str> = identity.groups.iter().map(String::as_str).collect();
    render(&AccountPage {
        t,
        page: visitor.page(t.account_title, "/account"),
        person: identity.person.clone(),
        groups: groups.join(", "),
        account,
        notice: query.get("done").and_then(|done| match done.as_str() {
            "factor" => Some(t.done_factor),
            "password" => Some(t.done_password),
            "token" => Some(t.done_token),
            _ => None,
        }),
    })
}

async fn view(visitor: &Visitor, name: &str) -> Result<AccountView, Response> {
    let accounts = &visitor.app.accounts;
    let account: Account = accounts
        .get(name)
        .await
        .map_err(|error| failed(visitor, &error))?;
    let tokens = accounts
        .tokens(name)
        .await
        .map_err(|error| visitor.unavailable(&error))?;
    let secret = TotpSecret::new().map_err(|error| visitor.unavailable(&error))?;
    Ok(AccountView {
        factor: account.totp.is_some(),
        url: secret.url(name).unwrap_or_default(),
        secret: secret.expose().to_owned(),
        tokens: tokens
            .into_iter()
            .map(|token| TokenView {
                id: token.id,
                label: token.label,
                expires: Moment::new(token.expires),
            })
            .collect(),
    })
}

fn failed(visitor: &Visitor, error: &AccountError) -> Response {
    match error {
        AccountError::Store(error) => visitor.unavailable(error),
        AccountError::Unknown(_) | AccountError::UnknownToken(_) => visitor.missing(),
        AccountError::Code => {
            visitor.problem(StatusCode::BAD_REQUEST, visitor.words().factor_wrong)
        }
        other => {
            let message = format!("{} {other}", visitor.words().not_done);
            visitor.problem(StatusCode::BAD_REQUEST, message)
        }
    }
}

/// The account's name, once the present password shows who is there.
async fn confirmed(posted: &Posted) -> Result<String, Response> {
    let visitor = &posted.visitor;
    let Some(name) = &posted.identity.account else {
        return Err(visitor.missing());
    };
    let password = posted.fields.get("password").map_or("", String::as_str);
    match visitor.app.accounts.confirm(name, password).await {
        Ok(()) => Ok(name.clone()),
        Err(Refused::Store(error)) => {
            Err(visitor.unavailable(&crate::export::store::StoreError(error)))
        }
        Err(why) => {
            let person = Some(posted.identity.person.as_str());
            if let Err(error) = visitor.app.note(person, visitor.peer, refused(&why)) {
                return Err(visitor.unrecorded(&error));
            }
            Err(visitor.problem(StatusCode::FORBIDDEN, visitor.words().password_wrong))
        }
    }
}

fn noted(posted: &Posted, message: &str, to: &str) -> Response {
    let visitor = &posted.visitor;
    let person = Some(posted.identity.person.as_str());
    match visitor.app.note(person, visitor.peer, message.to_owned()) {
        Ok(()) => Redirect::to(to).into_response(),
        Err(error) => visitor.unrecorded(&error),
    }
}

pub async fn password(posted: Posted) -> Response {
    let visitor = &posted.visitor;
    let field = |name: &str| posted.fields.get(name).map_or("", String::as_str);
    if field("new") != field("again") {
        return visitor.problem(StatusCode::BAD_REQUEST, visitor.words().password_differs);
    }
    let name = match confirmed(&posted).await {
        Ok(name) => name,
        Err(response) => return response,
    };
    match visitor.app.accounts.set_password(&name, field("new")).await {
        Ok(_) => noted(
            &posted,
            &format!("account {name}: password changed"),
            "/login",
        ),
        Err(error) => failed(visitor, &error),
    }
}

/// Sets up the second factor. Who has one cannot replace it here: an administrator takes it away first.
pub async fn factor(posted: Posted) -> Response {
    let visitor = &posted.visitor;
    let Some(secret) = TotpSecret::parse(posted.field("secret")) else {
        return visitor.problem(StatusCode::BAD_REQUEST, visitor.words().error_input);
    };
    let name = match confirmed(&posted).await {
        Ok(name) => name,
        Err(response) => return response,
    };
    let accounts = &visitor.app.accounts;
    match accounts.get(&name).await {
        Ok(account) if account.totp.is_some() => return visitor.missing(),
        Ok(_) => {}
        Err(error) => return failed(visitor, &error),
    }
    match accounts.enrol(&name, &secret, posted.field("code")).await {
        Ok(_) => noted(
            &posted,
            &format!("account {name}: second factor set up"),
            "/login",
        ),
        Err(error) => failed(visitor, &error),
    }
}

pub async fn revoke(Path(id): Path<String>, posted: Posted) -> Response {
    let visitor = &posted.visitor;
    let Some(name) = &posted.identity.account else {
        return visitor.missing();
    };
    match visitor.app.accounts.revoke(name, &id).await {
        Ok(()) => noted(
            &posted,
            &format!("account {name}: token {id} voided"),
            "/account?done=token",
        ),
        Err(error) => failed(visitor, &error),
    }
}
