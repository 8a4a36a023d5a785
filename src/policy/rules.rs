//! A policy as checked without a database: classes of columns, and roles in order.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mask::Mask;
use super::pattern::{ColumnPattern, RelationName};
use super::rows::Condition;
use crate::config::Origin;

/// A class of sensitive data.
#[derive(Debug, Clone)]
pub struct ClassRule {
    pub name: Arc<str>,
    pub level: Option<u8>,
    pub columns: Vec<ClassColumn>,
    pub missing: Missing,
}

#[derive(Debug, Clone)]
pub struct ClassColumn {
    pub pattern: ColumnPattern,
    pub origin: Origin,
}

/// What a class column is that matches nothing in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    Error,
    Warn,
}

/// What the sessions of a role may see and do.
#[derive(Debug, Clone)]
pub struct RoleRule {
    pub name: Arc<str>,
    /// Database users, by exact name.
    pub users: BTreeSet<String>,
    /// Bytes pass unchanged; excludes everything below.
    pub unmasked: bool,
    pub masks: Vec<MaskRule>,
    /// At most one of a relation.
    pub rows: Vec<RowsRule>,
    /// Most rows of protected data in one result.
    pub export_rows: Option<u64>,
    /// `schema.name`.
    pub functions: BTreeSet<String>,
    pub statements: BTreeSet<String>,
    pub origin: Origin,
}

#[derive(Debug, Clone)]
pub struct MaskRule {
    pub class: Arc<str>,
    pub mask: Mask,
    /// Where the rule says `lookup: exact`.
    pub lookup: Option<Origin>,
    pub origin: Origin,
}

/// A row rule as the policy has it.
#[derive(Debug, Clone)]
pub struct RowsRule {
    pub relation: RelationName,
    /// Where the relation is named.
    pub named: Origin,
    pub condition: Condition,
    /// Where the condition stands.
    pub origin: Origin,
}

/// What row rules know of a person.
#[derive(Debug, Clone)]
pub struct Person {
    /// As `{app_user}` has it.
    pub name: String,
    pub attributes: BTreeMap<Box<str>, String>,
}

impl RoleRule {
    /// Whether the role's statements are analysed and rewritten. Only `unmasked: true` frees a role of that: a role that
    /// names no mask is still held to the function and statement rules.
    pub fn restricted(&self) -> bool {
        !self.unmasked
    }

    pub fn mask(&self, class: &str) -> Option<&MaskRule> {
        self.masks.iter().find(|rule| &*rule.class == class)
    }
}

/// A session that no role matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmatched {
    Deny,
    /// Gets the role of this name, which exists.
    Role(Arc<str>),
}
