//! A policy as the planner uses it: names resolved to object identifiers of one catalog snapshot.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::catalog::{AttNum, Oid};

/// What a class's mask does to one column, ready to be put into a template.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMask {
    /// The class of data, for records (`phone`). `derived` where a view's column could not be attributed to one.
    pub class: Arc<str>,
    /// SQL of the masked value, complete: fully qualified, cast to the column's type and typmod. The column
    /// itself appears in it as its quoted name.
    pub sql: Arc<str>,
}

/// All that the planner needs to know about the role of a session, for one database.
#[derive(Debug, Clone, Default)]
pub struct RolePolicy {
    pub name: Arc<str>,
    /// Differs between two compiled policies that differ; part of every plan cache key.
    pub version: u64,
    /// `unmasked: true`: bytes pass unchanged, only observed.
    pub unmasked: bool,
    /// Masked columns by relation: derived relations (views, partitions, children) included.
    pub masks: HashMap<Oid, HashMap<AttNum, ColumnMask>>,
    /// Relations that hold classified data for anyone (masked for this role or not): their rows are counted.
    pub protected: HashSet<Oid>,
    /// `export.rows`: a result of protected data longer than this is stopped.
    pub export_rows: Option<u64>,
    /// `functions.allow`: `schema.name` of functions outside `pg_catalog` that may be called.
    pub functions: HashSet<String>,
    /// `statements.allow`.
    pub statements: HashSet<String>,
}

impl RolePolicy {
    pub fn mask(&self, relation: Oid, column: AttNum) -> Option<&ColumnMask> {
        self.masks.get(&relation)?.get(&column)
    }
}
