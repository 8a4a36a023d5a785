//! Which columns a statement uses, and what for: for the record.
//!
//! Read from the client's text, as far as the catalog knows its relations, and for every role. Nothing is decided by
//! it: what may run says [`super::judge`]. A name that may mean several columns is taken for all of them.
//!
//! * projected: values of the column reach the result (rows, RETURNING, COPY TO), or are stored in another relation.
//! * filtered: the column takes part in finding, joining, grouping or sorting rows; or the statement names it where no
//!   value of it goes anywhere.
//! * written: the statement assigns to the column.
mod cells;
mod expressions;
mod from;
mod outputs;
mod queries;
mod references;
mod statements;
mod traps;

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::policy::compiled::RolePolicy;

use super::tree::Tree;
use cells::Found;
pub use outputs::{OutputColumn, SourceColumn, outputs};
pub use traps::TrapUse;

/// Most names in each list of [`Columns`].
pub const MAX_NAMES: usize = 256;
/// Most steps (columns passed on, references looked up) before a statement's columns are left at what was found.
const MAX_WORK: usize = 200_000;

/// The columns that a statement uses, as `schema.table.column`, in the order in which the statement names the relations.
///
/// Where the catalog does not know a relation, its name is the statement's own, and all its columns are `*`. Columns of
/// `pg_catalog` and `information_schema` are left out unless a class of the policy names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    pub projected: Arc<[Arc<str>]>,
    pub filtered: Arc<[Arc<str>]>,
    pub written: Arc<[Arc<str>]>,
    /// There are more columns than are listed: a list is full, or the statement is too large to follow.
    pub truncated: bool,
    /// Classes of data that all these columns belong to, sorted. Complete whether the lists are or not, unless the
    /// statement is too large to follow.
    pub classes: Arc<[Arc<str>]>,
    /// Honeytoken rows that the statement may show or look for.
    pub traps: Arc<[TrapUse]>,
}

impl Columns {
    pub fn is_empty(&self) -> bool {
        self.projected.is_empty()
            && self.filtered.is_empty()
            && self.written.is_empty()
            && !self.truncated
    }

    /// Of the lists, in bytes.
    pub fn size(&self) -> usize {
        [
            &self.projected,
            &self.filtered,
            &self.written,
            &self.classes,
        ]
        .into_iter()
        .flat_map(|list| list.iter())
        .map(|name| name.len() + 32)
        .sum()
    }
}

/// The columns that a statement uses. `path`: the schemas in which unqualified names are looked up, in order.
pub fn used(tree: &Tree, catalog: &Catalog, role: &RolePolicy, path: &[String]) -> Columns {
    let mut reading = Reading::new(Found::new(catalog, path), catalog.server_version);
    if let Some(statement) = tree.node() {
        reading.statement(statement);
    }
    let mut columns = reading.found.finish(role);
    columns.traps = traps::named(columns.traps, tree);
    columns
}

/// A statement while it is read.
struct Reading<'a> {
    found: Found<'a>,
    /// What the queries around offer to name, innermost last.
    levels: Vec<from::Level<'a>>,
    /// Common table expressions in scope, innermost last.
    ctes: Vec<queries::Cte<'a>>,
    server_version: u32,
}

impl<'a> Reading<'a> {
    fn new(found: Found<'a>, server_version: u32) -> Self {
        Reading {
            found,
            levels: Vec::new(),
            ctes: Vec::new(),
            server_version,
        }
    }
}
