//! Requests: the lists, one request, and what approvers and requesters do with it.
use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::view::{RequestView, may_see};
use super::{Fields, Page, Posted, Signed, render};
use crate::admin::console::words::Words;
use crate::export::DeskError;
use crate::export::request::{Objection, Request, State, Terms, same_person};

/// Requests on one page.
const LISTED: usize = 200;

#[derive(Template)]
#[template(path = "requests.html")]
struct ListPage {
    t: &'static Words,
    page: Page,
    lead: &'static str,
    none: &'static str,
    requests: Vec<RequestView>,
}

#[derive(Template)]
#[template(path = "request.html")]
struct RequestPage {
    t: &'static Words,
    page: Page,
    request: RequestView,
    /// Groups the visitor may sign for; empty: `objection` says why.
    groups: Vec<String>,
    objection: Option<String>,
    may_reject: bool,
    own: bool,
    may_explain: bool,
    may_withdraw: bool,
    /// Steps the visitor has seen.
    seen: usize,
    notice: Option<&'static str>,
}

pub async fn pending(signed: Signed) -> Response {
    let t = signed.visitor.words();
    let words = (t.requests_title, t.requests_lead, t.requests_none);
    list(
        &signed,
        "/requests",
        words,
        &[State::Requested, State::Approved],
        false,
    )
    .await
}

pub async fn history(signed: Signed) -> Response {
    let t = signed.visitor.words();
    let words = (t.history_title, t.history_lead, t.history_none);
    let states: Vec<State> = State::ALL
        .into_iter()
        .filter(|state| !state.is_pending())
        .collect();
    list(&signed, "/history", words, &states, false).await
}

pub async fn mine(signed: Signed) -> Response {
    let t = signed.visitor.words();
    let words = (t.mine_title, t.mine_lead, t.mine_none);
    list(&signed, "/mine", words, &[], true).await
}

async fn list(
    signed: &Signed,
    nav: &'static str,
    (title, lead, none): (&'static str, &'static str, &'static str),
    states: &[State],
    own: bool,
) -> Response {
    let Signed { visitor, identity } = signed;
    let t = visitor.words();
    let mut requests = match visitor.app.desk.list(states).await {
        Ok(requests) => requests,
        Err(error) => return visitor.unavailable(&error),
    };
    requests.retain(|request| match own {
        true => is_own(identity.person.as_str(), request),
        false => may_see(identity, request),
    });
    requests.truncate(LISTED);
    render(&ListPage {
        t,
        page: visitor.page(title, nav),
        lead,
        none,
        requests: requests
            .iter()
            .map(|request| RequestView::new(request, t))
            .collect(),
    })
}

fn is_own(person: &str, request: &Request) -> bool {
    same_person(&request.asked.person, person)
}

pub async fn show(signed: Signed, Path(id): Path<String>, Query(query): Query<Fields>) -> Response {
    let Signed { visitor, identity } = &signed;
    let t = visitor.words();
    let request = match visitor.app.desk.get(&id).await {
        Ok(request) if may_see(identity, &request) => request,
        Ok(_) => return visitor.missing(),
        Err(error) => return visitor.desk(&error),
    };
    let approver = visitor.app.approver(identity);
    let groups: Vec<String> = request
        .missing()
        .into_iter()
        .filter(|group| request.may_sign(&approver, Some(group)).is_ok())
        .map(str::to_owned)
        .collect();
    let objection = request
        .may_sign(&approver, None)
        .err()
        .filter(|_| request.state.is_pending())
        .map(|objection| t.objection(&objection));
    let now = crate::export::desk::now();
    let notice = query.get("done").and_then(|done| match done.as_str() {
        "approved" => Some(t.done_approved),
        "rejected" => Some(t.done_rejected),
        "withdrawn" => Some(t.done_withdrawn),
        "explained" => Some(t.done_explained),
        "changed" => Some(t.changed_since),
        _ => None,
    });
    render(&RequestPage {
        t,
        page: visitor.page(&format!("{} {}", t.request_title, request.id), ""),
        groups,
        objection,
        may_reject: request.reject(&approver, None, now).is_ok(),
        own: is_own(&identity.person, &request),
        may_explain: request
            .explain(&identity.person, String::new(), now)
            .is_ok(),
        may_withdraw: request.withdraw(&identity.person, now).is_ok(),
        seen: request.history.len(),
        notice,
        request: RequestView::new(&request, t),
    })
}

/// The request that a form is about, if the visitor may see it.
async fn visible(posted: &Posted, id: &str) -> Result<Request, Response> {
    let Posted {
        visitor, identity, ..
    } = posted;
    match visitor.app.desk.get(id).await {
        Ok(request) if may_see(identity, &request) => Ok(request),
        Ok(_) => Err(visitor.missing()),
        Err(error) => Err(visitor.desk(&error)),
    }
}

/// ... and if it is as it was when the form was shown.
async fn current(posted: &Posted, id: &str) -> Result<Request, Response> {
    let request = visible(posted, id).await?;
    match seen(posted) == request.history.len() || request.state.has_ended() {
        true => Ok(request),
        false => Err(changed(id)),
    }
}

/// Steps of the request that the form was shown with.
fn seen(posted: &Posted) -> usize {
    posted.field("seen").parse().unwrap_or(0)
}

fn changed(id: &str) -> Response {
    Redirect::to(&format!("/requests/{id}?done=changed")).into_response()
}

/// What became of a decision.
fn decided(posted: &Posted, id: &str, outcome: Result<Request, DeskError>, what: &str) -> Response {
    match outcome {
        Ok(request) => done(&request, what),
        Err(DeskError::Objection(Objection::Changed { .. })) => changed(id),
        Err(error) => posted.visitor.desk(&error),
    }
}

fn done(request: &Request, what: &str) -> Response {
    Redirect::to(&format!("/requests/{}?done={what}", request.id)).into_response()
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

pub async fn approve(Path(id): Path<String>, posted: Posted) -> Response {
    let visitor = &posted.visitor;
    let rows = match optional(posted.field("rows")) {
        None => None,
        // As the page shows numbers, people write them.
        Some(text) => match text.replace([',', ' '], "").parse() {
            Ok(rows) => Some(rows),
            Err(_) => {
                return visitor.problem(StatusCode::BAD_REQUEST, visitor.words().error_input);
            }
        },
    };
    let clear: BTreeSet<String> = posted
        .fields
        .keys()
        .filter_map(|field| field.strip_prefix("clear."))
        .map(str::to_owned)
        .collect();
    if let Err(response) = visible(&posted, &id).await {
        return response;
    }
    let approved = visitor
        .app
        .desk
        .approve(
            &id,
            &visitor.app.approver(&posted.identity),
            optional(posted.field("group")),
            &Terms { rows, clear },
            optional(posted.field("comment")),
            seen(&posted),
        )
        .await;
    decided(&posted, &id, approved, "approved")
}

pub async fn reject(Path(id): Path<String>, posted: Posted) -> Response {
    if let Err(response) = visible(&posted, &id).await {
        return response;
    }
    let app = &posted.visitor.app;
    let approver = app.approver(&posted.identity);
    let comment = optional(posted.field("comment"));
    let rejected = app
        .desk
        .reject(&id, &approver, comment, Some(seen(&posted)))
        .await;
    decided(&posted, &id, rejected, "rejected")
}

pub async fn explain(Path(id): Path<String>, posted: Posted) -> Response {
    if let Err(response) = current(&posted, &id).await {
        return response;
    }
    let desk = &posted.visitor.app.desk;
    let person = &posted.identity.person;
    match desk.explain(&id, person, posted.field("reason")).await {
        Ok(request) => done(&request, "explained"),
        Err(error) => posted.visitor.desk(&error),
    }
}

pub async fn withdraw(Path(id): Path<String>, posted: Posted) -> Response {
    if let Err(response) = current(&posted, &id).await {
        return response;
    }
    let desk = &posted.visitor.app.desk;
    match desk.withdraw(&id, &posted.identity.person).await {
        Ok(request) => done(&request, "withdrawn"),
        Err(error) => posted.visitor.desk(&error),
    }
}
