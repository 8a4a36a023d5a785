//! Requests as documents of the store.
use serde_json::Value;

use super::{Desk, KEPT, REQUEST};
use crate::export::request::{Asked, Request, State};
use crate::export::store::{Document, StoreError};

/// What is still to be done about a request's steps. Part of its label, so that it is found without reading all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    Untold,
    /// And perhaps untold.
    Unrecorded,
}

impl Left {
    pub(super) const ALL: [Left; 3] = [Left::Nothing, Left::Untold, Left::Unrecorded];

    fn of(request: &Request) -> Left {
        let steps = request.history.len();
        match (request.recorded < steps, request.notified < steps) {
            (true, _) => Left::Unrecorded,
            (false, true) => Left::Untold,
            (false, false) => Left::Nothing,
        }
    }
}

pub(super) fn label(state: State, left: Left) -> String {
    match left {
        Left::Nothing => state.label().to_owned(),
        Left::Untold => format!("{state} untold"),
        Left::Unrecorded => format!("{state} unrecorded"),
    }
}

pub(super) fn parse(document: &Document) -> Result<Request, StoreError> {
    serde_json::from_str(&document.body)
        .map_err(|error| StoreError(format!("export request {}: {error}", document.key)))
}

/// What no two open requests share.
pub(super) fn claim(asked: &Asked) -> String {
    let Asked {
        person,
        role,
        database,
        fingerprint,
        digest,
        policy_version,
        purpose,
        masked_outside,
        ..
    } = asked;
    let mut claim = vec![
        Value::from(person.as_str()),
        role.as_str().into(),
        database.as_str().into(),
        fingerprint.as_str().into(),
        digest.as_str().into(),
        policy_version.as_str().into(),
    ];
    if purpose.is_some() || *masked_outside != 0 {
        claim.extend([purpose.as_deref().into(), (*masked_outside).into()]);
    }
    Value::Array(claim).to_string()
}

/// What the claims of a person begin with.
pub(super) fn claims_of(person: &str) -> String {
    let claim = serde_json::json!([person]).to_string();
    format!("{},", claim.trim_end_matches(']'))
}

impl Desk {
    pub(super) fn document(
        &self,
        request: &Request,
        revision: i64,
        claimed: Option<&str>,
    ) -> Result<Document, StoreError> {
        let ended = request.state.has_ended();
        let last = request
            .history
            .last()
            .map_or(request.opened, |step| step.at);
        Ok(Document {
            kind: REQUEST,
            key: request.id.clone(),
            revision,
            label: label(request.state, Left::of(request)),
            claim: match claimed {
                Some(claim) => Some(claim.to_owned()),
                None => (!ended).then(|| claim(&request.asked)),
            },
            body: serde_json::to_string(request).map_err(StoreError::of)?,
            expires: ended.then(|| last.saturating_add(KEPT)),
        })
    }
}
