//! A policy as checked without a database: classes of columns, and roles in order.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::compiled::SessionValue;
use super::mask::Mask;
use super::pattern::{ColumnPattern, RelationName};
use super::rows::Condition;
use super::who::WhoRule;
use crate::catalog::Relation;
use crate::config::Origin;

/// A class of sensitive data.
#[derive(Debug, Clone)]
pub struct ClassRule {
    pub name: Arc<str>,
    pub level: Option<u8>,
    pub columns: Vec<ClassColumn>,
    pub missing: Missing,
    /// Whoever touches one of the columns raises an alarm.
    pub alarm: bool,
    /// What the data may be used for; `None`: for anything.
    pub purposes: Option<BTreeSet<String>>,
    /// How it is seen in rows of a region by who is not there; `None`: the rows are hidden.
    pub outside: Option<Mask>,
    /// Where its name stands.
    pub origin: Origin,
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
    /// Any of these makes somebody one of the role.
    pub who: Vec<WhoRule>,
    /// Bytes pass unchanged; excludes everything below.
    pub unmasked: bool,
    /// `enforce: false`: bytes pass unchanged, and what the rules below would have done is put on record.
    pub trial: bool,
    pub masks: Vec<MaskRule>,
    pub unlisted: Unlisted,
    /// At most one of a relation.
    pub rows: Vec<RowsRule>,
    pub export: Arc<ExportRule>,
    /// `schema.name`.
    pub functions: BTreeSet<String>,
    pub statements: BTreeSet<String>,
    /// Statements are on record with their values, sealed (`audit: { text: full }`).
    pub full_text: bool,
    /// What everything is for that the role does; `None`: what the session says.
    pub purpose: Option<Arc<str>>,
    pub origin: Origin,
}

/// How much a role may take out, and who may grant more.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ExportRule {
    /// Most rows of one result.
    pub rows: Option<u64>,
    /// Most bytes of one result, as on the wire.
    pub bytes: Option<u64>,
    /// Most rows of a person within any hour.
    pub per_hour: Option<u64>,
    /// ... and within any day.
    pub per_day: Option<u64>,
    /// Most different rows of protected relations, by primary key, that a person sees on a day (UTC).
    pub subjects_per_day: Option<u64>,
    /// Rows count of any relation, not only of protected ones.
    pub counts_all: bool,
    /// Groups of which one person each must sign for more. Empty: nobody can.
    pub approvers: Vec<Arc<str>>,
    pub grants: GrantRule,
}

impl ExportRule {
    /// Whether anything is limited.
    pub const fn limits(&self) -> bool {
        self.rows.is_some()
            || self.bytes.is_some()
            || self.per_hour.is_some()
            || self.per_day.is_some()
            || self.subjects_per_day.is_some()
    }
}

/// What signatures may grant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrantRule {
    pub expires: Duration,
    pub uses: u32,
    pub max_rows: u64,
    pub may_unmask: Vec<Arc<str>>,
}

impl Default for GrantRule {
    /// One use within a day, of a million rows.
    fn default() -> Self {
        GrantRule {
            expires: Duration::from_secs(24 * 3600),
            uses: 1,
            max_rows: 1_000_000,
            may_unmask: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct MaskRule {
    pub class: Arc<str>,
    pub mask: Mask,
    /// Where the rule says `lookup: exact`.
    pub lookup: Option<Origin>,
    pub origin: Origin,
}

/// What a role sees of columns that no class names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unlisted {
    #[default]
    Pass,
    Redact,
    /// They cannot be named at all.
    Deny,
}

/// A user or database of the server that the policy names.
#[derive(Debug, Clone)]
pub struct ServerName {
    pub kind: ServerObject,
    pub name: String,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerObject {
    User,
    Database,
}

/// A row rule as the policy has it.
#[derive(Debug, Clone)]
pub struct RowsRule {
    /// As it is written.
    pub text: String,
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

impl Person {
    /// The attribute that names the database users of a person, separated by commas.
    pub const DB_USERS: &'static str = "db_user";
    /// The attribute that names those by whom applications and tokens mean the person, likewise.
    pub const APP_USERS: &'static str = "app_user";

    /// What an attribute lists.
    pub fn listed(&self, attribute: &str) -> impl Iterator<Item = &str> {
        let list = self.attributes.get(attribute);
        list.into_iter()
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
    }

    /// The person's own name and all others.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str())
            .chain(self.listed(Self::DB_USERS))
            .chain(self.listed(Self::APP_USERS))
    }
}

/// What the rules of a role are to its sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regime {
    /// Statements are judged, and run as they are, otherwise or not at all.
    Enforced,
    /// Statements are judged and run as they are: the outcome goes on record and nowhere else.
    Trial,
    /// There are none.
    Unmasked,
}

impl RoleRule {
    /// Whether the role's statements are analysed and rewritten. Only `unmasked: true` and `enforce: false` free a
    /// role of that: a role that names no mask is still held to the function and statement rules.
    pub fn restricted(&self) -> bool {
        self.regime() == Regime::Enforced
    }

    pub fn regime(&self) -> Regime {
        match (self.unmasked, self.trial) {
            (true, _) => Regime::Unmasked,
            (false, true) => Regime::Trial,
            (false, false) => Regime::Enforced,
        }
    }

    /// Whether a row rule depends on an attribute of the person.
    pub fn asks_attributes(&self) -> bool {
        let mut values = self.rows.iter().flat_map(|rule| rule.condition.values());
        values.any(|value| matches!(value, SessionValue::Attribute(_)))
    }

    /// The database users that entries name.
    pub fn db_users(&self) -> impl Iterator<Item = &str> {
        let named = self.who.iter().filter_map(|entry| entry.db_users.as_ref());
        named.flatten().map(String::as_str)
    }

    /// The row rule that names the relation itself.
    pub fn rows_of(&self, relation: &Relation) -> Option<&RowsRule> {
        let named = |rule: &&RowsRule| {
            rule.relation.schema == relation.schema && rule.relation.name == relation.name
        };
        self.rows.iter().find(named)
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
