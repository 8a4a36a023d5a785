//! What is asked for.
use serde::{Deserialize, Serialize};

use crate::export::store::Seconds;

/// A column that the statement reads, as approvers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// `schema.table.column`
    pub name: String,
    pub class: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub level: Option<i64>,
    /// What leaves is the mask.
    pub masked: bool,
}

/// Which limit stopped the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    Rows,
    Bytes,
    PerHour,
    PerDay,
    SubjectsPerDay,
}

impl LimitKind {
    pub const ALL: [LimitKind; 5] = [
        LimitKind::Rows,
        LimitKind::Bytes,
        LimitKind::PerHour,
        LimitKind::PerDay,
        LimitKind::SubjectsPerDay,
    ];

    /// The `reason` of a record, and of a metric.
    pub const fn reason(self) -> &'static str {
        match self {
            LimitKind::Rows => "export_rows",
            LimitKind::Bytes => "export_bytes",
            LimitKind::PerHour => "export_per_hour",
            LimitKind::PerDay => "export_per_day",
            LimitKind::SubjectsPerDay => "export_subjects_per_day",
        }
    }

    /// As the policy names it, under `export`.
    pub const fn label(self) -> &'static str {
        match self {
            LimitKind::Rows => "rows",
            LimitKind::Bytes => "bytes",
            LimitKind::PerHour => "per_hour",
            LimitKind::PerDay => "per_day",
            LimitKind::SubjectsPerDay => "subjects_per_day",
        }
    }
}

/// What was asked for. Never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub person: String,
    pub db_user: String,
    pub role: String,
    pub database: String,
    /// `SELECT`, `COPY`, ...
    pub kind: String,
    /// Of the normalised text.
    pub fingerprint: String,
    /// Of the statement, the relations it reads, its literals and parameters, keyed: hexadecimal digits.
    pub digest: String,
    /// The statement with its literals replaced by `$n`.
    pub text: String,
    /// `schema.name`
    pub reads: Vec<String>,
    pub columns: Vec<Column>,
    pub limit: LimitKind,
    /// What the limit was.
    pub allowed: u64,
    pub policy_version: String,
    /// What it is for, where the policy asks: masks depend on it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purpose: Option<String>,
    /// Regions whose rows are masked for where it was asked from ([`crate::policy::PolicySet::masked_outside`]).
    #[serde(skip_serializing_if = "is_nowhere", default)]
    pub masked_outside: u32,
    /// One person of each has to sign.
    pub groups: Vec<String>,
    /// Classes that may be granted unmasked.
    #[serde(default)]
    pub may_unmask: Vec<String>,
    /// No grant goes beyond so many rows.
    pub max_rows: u64,
    /// How often a grant may be used.
    pub uses: u32,
    /// How long a grant holds, in seconds.
    pub holds: Seconds,
}

const fn is_nowhere(regions: &u32) -> bool {
    *regions == 0
}
