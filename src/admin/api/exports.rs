//! Requests and budgets, as JSON.
use std::collections::BTreeSet;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiError, Caller};
use crate::admin::console::{may_see, rfc3339};
use crate::export::request::{Request, State, Terms};

/// Requests in one answer.
const LISTED: usize = 1000;

/// A request as the API gives it. The digest of its values is left out: nobody needs it.
pub fn shown(request: &Request) -> Value {
    let asked = &request.asked;
    let granted = request.granted();
    let history: Vec<Value> = request
        .history
        .iter()
        .map(|step| {
            json!({
                "at": rfc3339(step.at),
                "action": step.action,
                "by": step.by,
                "group": step.group,
                "comment": step.comment,
                "rows": step.terms.as_ref().and_then(|terms| terms.rows),
                "clear": step.terms.as_ref().map(|terms| &terms.clear),
                "state": step.state,
            })
        })
        .collect();
    let signatures: Vec<Value> = request
        .signatures()
        .map(|(group, person)| json!({ "group": group, "person": person }))
        .collect();
    json!({
        "id": request.id,
        "state": request.state,
        "person": asked.person,
        "db_user": asked.db_user,
        "role": asked.role,
        "database": asked.database,
        "kind": asked.kind,
        "text": asked.text,
        "fingerprint": asked.fingerprint,
        "reads": asked.reads,
        "columns": asked.columns,
        "limit": { "kind": asked.limit, "allowed": asked.allowed },
        "policy_version": asked.policy_version,
        "purpose": asked.purpose,
        "reason": request.reason,
        "groups": asked.groups,
        "missing": request.missing(),
        "signatures": signatures,
        "may_unmask": asked.may_unmask,
        "max_rows": asked.max_rows,
        "granted": { "rows": granted.rows, "clear": granted.clear, "uses_left": request.uses_left },
        "opened": rfc3339(request.opened),
        "expires": rfc3339(request.expires),
        "history": history,
    })
}

#[derive(Deserialize)]
pub struct Filter {
    state: Option<String>,
}

pub async fn list(caller: Caller, Query(filter): Query<Filter>) -> Result<Json<Value>, ApiError> {
    let states: Vec<State> = match filter.state.as_deref() {
        None | Some("pending") => vec![State::Requested, State::Approved],
        Some("all") => Vec::new(),
        Some(label) => match State::ALL.iter().find(|state| state.label() == label) {
            Some(state) => vec![*state],
            None => {
                return Err(ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "state is pending, all or one of a request's states",
                ));
            }
        },
    };
    let requests = caller.app.desk.list(&states).await?;
    let requests: Vec<Value> = requests
        .iter()
        .filter(|request| may_see(&caller.identity, request))
        .take(LISTED)
        .map(shown)
        .collect();
    Ok(Json(json!({ "requests": requests })))
}

/// What one may not see is not there.
async fn visible(caller: &Caller, id: &str) -> Result<Request, ApiError> {
    let request = caller.app.desk.get(id).await?;
    match may_see(&caller.identity, &request) {
        true => Ok(request),
        false => Err(ApiError::missing()),
    }
}

pub async fn show(caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&visible(&caller, &id).await?)))
}

/// What a signature grants and says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Entries of the request's history that the caller has read: who signs, signs these.
    pub seen: usize,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub clear: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comment: Option<String>,
}

/// A body as it should be, or why it is not.
pub fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, ApiError> {
    match body {
        Ok(Json(body)) => Ok(body),
        Err(rejection) => Err(ApiError::new(rejection.status(), rejection.body_text())),
    }
}

pub async fn approve(
    caller: Caller,
    Path(id): Path<String>,
    decision: Result<Json<Decision>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let decision = body(decision)?;
    visible(&caller, &id).await?;
    let terms = Terms {
        rows: decision.rows,
        clear: decision.clear,
    };
    let approver = caller.app.approver(&caller.identity);
    let (group, comment) = (decision.group.as_deref(), decision.comment.as_deref());
    let desk = &caller.app.desk;
    let request = desk
        .approve(&id, &approver, group, &terms, comment, decision.seen)
        .await?;
    Ok(Json(shown(&request)))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Rejection {
    comment: Option<String>,
    seen: Option<usize>,
}

pub async fn reject(
    caller: Caller,
    Path(id): Path<String>,
    rejection: Result<Json<Rejection>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let rejection = body(rejection)?;
    visible(&caller, &id).await?;
    let approver = caller.app.approver(&caller.identity);
    let comment = rejection.comment.as_deref();
    let desk = &caller.app.desk;
    let request = desk.reject(&id, &approver, comment, rejection.seen).await?;
    Ok(Json(shown(&request)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    reason: String,
}

pub async fn explain(
    caller: Caller,
    Path(id): Path<String>,
    reason: Result<Json<Reason>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let reason = body(reason)?;
    visible(&caller, &id).await?;
    let person = &caller.identity.person;
    let request = caller.app.desk.explain(&id, person, &reason.reason).await?;
    Ok(Json(shown(&request)))
}

pub async fn withdraw(caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    visible(&caller, &id).await?;
    let person = &caller.identity.person;
    let request = caller.app.desk.withdraw(&id, person).await?;
    Ok(Json(shown(&request)))
}

/// People whom the policy limits, and what they have used.
pub async fn people(caller: Caller) -> Result<Json<Value>, ApiError> {
    if !caller.identity.oversees() {
        return Err(ApiError::missing());
    }
    let mut people = Vec::new();
    let listed = caller.app.people.people();
    for person in listed.into_iter().filter(|person| person.allowed.any()) {
        let budgets = &caller.app.desk.budgets;
        let used = budgets.used(&person.person, person.allowed).await?;
        let budgets: Vec<Value> = used
            .iter()
            .map(|used| {
                json!({
                    "limit": used.kind,
                    "allowed": used.limit,
                    "used": used.used,
                    "left": used.limit.saturating_sub(used.used),
                })
            })
            .collect();
        people.push(json!({
            "person": person.person,
            "role": person.role,
            "budgets": budgets,
        }));
    }
    Ok(Json(json!({ "people": people })))
}
