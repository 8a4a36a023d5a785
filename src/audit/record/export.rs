//! Exports and their signatures on record.
use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

/// Who signed an export for which group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Signature {
    /// The approver group that the signature counts for.
    pub group: String,
    /// Who signed.
    pub person: String,
}

/// The export request that a record is about: one step of it, or the grant that a statement ran under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExportRecord {
    /// Id of the request.
    pub request: String,
    /// Number of the step in the request's history, from 0. A repeated number is the same step, recorded again after a
    /// crash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What was done in the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    /// The request's state after the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Who asked for the export.
    pub person: String,
    /// Who took the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The approver group for which the step was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What the person said the export is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What whoever took the step said to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The signatures there are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Signature>,
    /// Rows granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Classes granted unmasked.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub clear: BTreeSet<String>,
}
