//! Steps of requests as audit records.
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::audit::{Event, ExportRecord, Record, Signature};
use crate::export::request::{Action, Request, State};

/// The audit record of one step of a request.
pub(super) fn record(request: &Request, index: usize) -> Record {
    let step = request.history.get(index);
    let at = step.map_or(request.opened, |step| step.at);
    let granted =
        request.state == State::Granted || step.is_some_and(|step| step.action == Action::Use);
    let terms = granted.then(|| request.granted());
    let asked = &request.asked;
    Record {
        db_user: Some(asked.db_user.as_str().into()),
        role: Some(asked.role.as_str().into()),
        database: Some(asked.database.as_str().into()),
        purpose: asked.purpose.as_deref().map(Into::into),
        text: Some(asked.text.as_str().into()),
        fingerprint: Some(asked.fingerprint.as_str().into()),
        reads: asked.reads.as_slice().into(),
        masked: asked
            .columns
            .iter()
            .filter(|column| column.masked)
            .map(|column| column.name.clone())
            .collect(),
        policy_version: Some(asked.policy_version.as_str().into()),
        rule: Some(format!(
            "role {}, export.{}: {}",
            asked.role,
            asked.limit.label(),
            asked.allowed
        )),
        export: Some(Arc::new(ExportRecord {
            request: request.id.clone(),
            step: Some(index),
            action: step.map(|step| step.action.label()),
            state: step.map(|step| step.state.label()),
            person: asked.person.clone(),
            by: step.map(|step| step.by.clone()),
            group: step.and_then(|step| step.group.clone()),
            reason: request.reason.clone(),
            comment: step.and_then(|step| step.comment.clone()),
            approvals: signatures(request),
            rows: terms.as_ref().and_then(|terms| terms.rows),
            clear: terms.map(|terms| terms.clear).unwrap_or_default(),
        })),
        ..Record::new(
            Event::Export,
            UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or(0)),
        )
    }
}

/// Who has signed a request, for records.
pub fn signatures(request: &Request) -> Vec<Signature> {
    request
        .signatures()
        .map(|(group, person)| Signature {
            group: group.to_owned(),
            person: person.to_owned(),
        })
        .collect()
}
