//! System columns of protected relations: a template shows those that the statement names, and no other.
use std::collections::BTreeSet;

use crate::catalog::RelationKind;
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::walk::{Walk, at};
use super::{Access, Side, Use};

/// A template has none of them by itself.
pub const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// A system column that was named.
pub(super) struct SystemColumn {
    /// The name before the dot.
    pub of: Option<String>,
    pub name: String,
    /// Byte offset in the parsed text.
    pub location: i32,
}

impl Walk<'_> {
    /// The system columns that templates must show: those that the statement names. Where a `*`, a whole row or a
    /// NATURAL join would show them unasked they cannot be had.
    ///
    /// # Errors
    /// A template of the text that runs shows others.
    pub fn wanted_system_columns(&self) -> Result<BTreeSet<String>, Refusal> {
        let substituted = |found: &Use| {
            found.access == Access::Read && self.rules.role.substitutes(found.relation)
        };
        let named: Vec<_> = self
            .system_columns
            .iter()
            .filter(|column| {
                let of = column.of.as_ref();
                of.is_none_or(|relation| self.aliases.contains(relation))
            })
            .collect();
        if !self.uses.iter().any(substituted) {
            return Ok(BTreeSet::new());
        }
        let shown = self.stars || self.natural || !self.columns.is_disjoint(&self.aliases);
        let views = self
            .uses
            .iter()
            .filter(|found| substituted(found))
            .any(|found| {
                let relation = self.rules.catalog.relations.get(&found.relation);
                relation.is_none_or(|relation| relation.kind == RelationKind::View)
            });
        if let (true, Some(SystemColumn { name, location, .. })) = (shown || views, named.first()) {
            return Err(at(
                refuse::construct(
                    &format!("the system column {name} beside *, a whole row or a view"),
                    "name the columns, or use the primary key instead",
                ),
                *location,
            ));
        }
        let wanted: BTreeSet<String> = match shown || views {
            true => BTreeSet::new(),
            false => named.iter().map(|column| column.name.clone()).collect(),
        };
        if self.side == Side::Run && self.system_in_templates != wanted {
            return Err(refuse::judge("a template shows a system column unasked"));
        }
        Ok(wanted)
    }
}

/// Takes the system columns off the end of a template's output.
pub(super) fn take_system_columns(query: &mut Node) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(Tree::List(items)) = query.get_mut("target_list") {
        while let Some(name) = items.last().and_then(Tree::node).and_then(system_column) {
            found.push(name);
            items.pop();
        }
    }
    found
}

/// The name, if an output column is `ctid AS ctid` or another system column as itself.
fn system_column(item: &Node) -> Option<String> {
    let reference = item
        .child("val")
        .filter(|value| value.kind == "ColumnRef")?;
    let names = reference.names("fields")?;
    let [name] = names.as_slice() else {
        return None;
    };
    (SYSTEM_COLUMNS.contains(name) && item.text("name") == *name).then(|| (*name).to_owned())
}
