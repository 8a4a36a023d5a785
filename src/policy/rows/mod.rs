//! Row rules: which rows of a relation a role may read and write, written as an SQL condition in a policy.
//!
//! A rule is read in two steps. [`Condition::read`] needs no database: it finds the values in braces and makes sure that
//! the text is one condition of PostgreSQL's grammar and nothing else. [`Condition::bind`] holds it against a relation of
//! one database: every column is found, and every name in it is given its schema, so that nothing in a session's
//! `search_path` takes part (CVE-2026-2360 class). The outcome is read again with PostgreSQL's grammar and must be the
//! tree that was meant; what cannot be said safely is an error with a way to write it otherwise.
mod bind;
mod emit;
mod from;
mod names;
mod settings;
mod syntax;
mod text;

use std::thread;

use pg_query::protobuf::Node;

use super::compiled::{RowRule, SessionValue};
use crate::catalog::{Catalog, Oid, Relation};
use crate::config::{Diagnostic, Origin};

pub use text::is_name;

/// Longest row rule, in bytes.
pub const MAX_RULE: usize = 4 * 1024;
/// Relations within a bound rule go by this and a number. A statement whose own aliases begin so could take their place.
pub const ALIAS_PREFIX: &str = "pgveil_rule_";
/// Begins the names that stand for columns and values between parsing and emitting: no rule may hold it.
const RESERVED: &str = "pgveil_";
/// Reserved, not used, by ordinary rules (bytes). Decoding a tree takes about 45 KiB for each level, and [`MAX_RULE`]
/// bytes have at most half as many levels.
const STACK: usize = 128 * 1024 * 1024;

/// A row rule as the policy has it: one condition, its values found.
#[derive(Debug, Clone)]
pub struct Condition {
    tree: Node,
    /// In the order of the text: the literal with this index stands for the value.
    values: Vec<SessionValue>,
}

/// Why a text cannot be a row rule, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    pub message: String,
    pub suggestion: Option<String>,
}

impl Objection {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
        }
    }

    /// As a finding about the rule that stands there.
    pub fn at(self, origin: &Origin) -> Diagnostic {
        let diagnostic = Diagnostic::error(origin, self.message);
        match self.suggestion {
            Some(suggestion) => diagnostic.suggest(suggestion),
            None => diagnostic,
        }
    }

    fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

impl Condition {
    /// Reads the text of a rule.
    ///
    /// # Errors
    /// [`Objection`] where it is not one condition, or holds what a rule must not.
    pub fn read(text: &str) -> Result<Self, Objection> {
        let (sql, values) = text::values(text)?;
        on_deep_stack(|| syntax::condition(&sql)).map(|tree| Self { tree, values })
    }

    /// The values of the session that the rule names.
    pub fn values(&self) -> &[SessionValue] {
        &self.values
    }

    /// The rule for one relation of a database, all names qualified.
    ///
    /// # Errors
    /// [`Objection`] where a name does not exist or cannot be qualified.
    pub fn bind(&self, relation: &Relation, catalog: &Catalog) -> Result<RowRule, Objection> {
        self.bound(relation, catalog, false)
    }

    /// [`Condition::bind`] with NULLs of the columns' types in the place of each relation that the rule reads besides, for who may
    /// not read those.
    ///
    /// # Errors
    /// As there.
    pub fn bind_apart(&self, relation: &Relation, catalog: &Catalog) -> Result<RowRule, Objection> {
        self.bound(relation, catalog, true)
    }

    fn bound(
        &self,
        relation: &Relation,
        catalog: &Catalog,
        apart: bool,
    ) -> Result<RowRule, Objection> {
        on_deep_stack(|| {
            let mut tree = self.tree.clone();
            let names = bind::bind(&mut tree, relation, catalog, apart)?;
            settings::vet(&mut tree, relation, &names, catalog)?;
            let parts = emit::parts(tree, &names.columns, &self.values)?;
            Ok(RowRule { parts })
        })
    }

    /// The relations that the rule reads besides its own.
    ///
    /// # Errors
    /// As [`Condition::bind`].
    pub fn reads(&self, relation: &Relation, catalog: &Catalog) -> Result<Vec<Oid>, Objection> {
        on_deep_stack(|| {
            let names = bind::bind(&mut self.tree.clone(), relation, catalog, false)?;
            let mut read: Vec<Oid> = names.aliases.into_iter().map(|(_, oid)| oid).collect();
            read.sort_unstable();
            read.dedup();
            Ok(read)
        })
    }
}

/// Trees are as deep as a text makes them, and both parser and decoder recurse.
fn on_deep_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Objection> + Send,
) -> Result<T, Objection> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("row-rule".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| Objection::new(format!("the rule could not be read: {error}")))?;
        worker
            .join()
            .unwrap_or_else(|_| Err(Objection::new("the rule could not be read")))
    })
}

#[cfg(test)]
mod tests;
