//! INSERT, UPDATE, DELETE, MERGE.
//!
//! A target cannot be substituted. Writes to unprotected relations run, with all they read substituted. Of writes to a
//! protected relation those run that read no masked column of it and overwrite none: INSERT, and UPDATE and DELETE by
//! unmasked columns.
use std::collections::BTreeSet;

use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::Access;
use super::walk::{Walk, at};

impl Walk<'_> {
    pub(super) fn write(&mut self, node: &mut Node) -> Result<(), Refusal> {
        self.casts(node, true)?;
        self.with_scope(node, |walk, node| walk.target_and_rest(node))
    }

    fn target_and_rest(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let mut target = match node.remove("relation") {
            Some(Tree::Node(target)) => target,
            _ => return Err(refuse::judge("a write without its target")),
        };
        // A common table expression cannot be a target, so the scope takes no part (`setTargetTable` in
        // `src/backend/parser/parse_clause.c`).
        self.relation(&mut target, Access::Write)?;
        let masked = self
            .uses
            .last()
            .and_then(|found| self.masked_names(found.relation));
        if let Some(masked) = masked {
            let alias = target
                .child("alias")
                .map_or("", |alias| alias.text("aliasname"));
            check_protected_target(node, &masked, &row_names(node, alias))?;
        }
        // The field order is the same on both sides: the target goes last.
        self.children(node)?;
        node.set("relation", Tree::Node(target));
        Ok(())
    }

    fn masked_names(&self, relation: crate::catalog::Oid) -> Option<BTreeSet<String>> {
        let masks = self.rules.role.masks.get(&relation)?;
        let relation = self.rules.catalog.relations.get(&relation)?;
        Some(
            relation
                .columns
                .iter()
                .filter(|column| masks.contains_key(&column.num))
                .map(|column| column.name.clone())
                .collect(),
        )
    }
}

/// Names that stand for a whole row of the target: its alias, `old`, `new`, and what RETURNING WITH (OLD AS ...) calls
/// them.
fn row_names(node: &Node, alias: &str) -> BTreeSet<String> {
    let given = node
        .child("returning_clause")
        .map_or(&[][..], |returning| returning.list("options"))
        .iter()
        .filter_map(Tree::node)
        .map(|option| option.text("value"));
    [alias, "old", "new", "excluded"]
        .into_iter()
        .chain(given)
        .map(str::to_owned)
        .collect()
}

/// Refuses a write to a protected relation that could read or overwrite a masked column of it.
fn check_protected_target(
    node: &Node,
    masked: &BTreeSet<String>,
    rows: &BTreeSet<String>,
) -> Result<(), Refusal> {
    match node.kind {
        "InsertStmt" => {
            if let Some(conflict) = node.child("on_conflict_clause") {
                check_conflict(conflict, masked)?;
                no_masked_reference(conflict, masked, rows)?;
            }
            for field in ["returning_list", "returning_clause"] {
                if let Some(returning) = node.get(field) {
                    tree_has_no_masked_reference(returning, masked, rows)?;
                }
            }
            Ok(())
        }
        "UpdateStmt" => {
            assigns_no_masked(node.list("target_list"), masked)?;
            no_masked_reference(node, masked, rows)
        }
        "DeleteStmt" => no_masked_reference(node, masked, rows),
        _ => Err(refuse::construct(
            "MERGE into a protected relation",
            "use INSERT ... ON CONFLICT or UPDATE",
        )),
    }
}

/// ON CONFLICT must name unmasked columns: without a target, DO NOTHING tells whether a masked value exists.
fn check_conflict(conflict: &Node, masked: &BTreeSet<String>) -> Result<(), Refusal> {
    let columns: Vec<&str> = conflict
        .child("infer")
        .map_or(&[][..], |infer| infer.list("index_elems"))
        .iter()
        .filter_map(Tree::node)
        .map(|element| element.text("name"))
        .collect();
    if columns.is_empty()
        || columns
            .iter()
            .any(|name| name.is_empty() || masked.contains(*name))
    {
        return Err(at(
            refuse::construct(
                "ON CONFLICT without a target of unmasked columns",
                "name the conflict's columns, for instance ON CONFLICT (id)",
            ),
            conflict.location,
        ));
    }
    assigns_no_masked(conflict.list("target_list"), masked)
}

fn assigns_no_masked(targets: &[Tree], masked: &BTreeSet<String>) -> Result<(), Refusal> {
    let hit = targets
        .iter()
        .filter_map(Tree::node)
        .find(|target| masked.contains(target.text("name")));
    match hit {
        Some(target) => Err(at(
            refuse::construct(
                &format!("assigning the masked column {}", target.text("name")),
                "leave masked columns out of SET: what the form shows is the mask, not the value",
            ),
            target.location,
        )),
        None => Ok(()),
    }
}

fn tree_has_no_masked_reference(
    tree: &Tree,
    masked: &BTreeSet<String>,
    rows: &BTreeSet<String>,
) -> Result<(), Refusal> {
    match tree {
        Tree::List(items) => items
            .iter()
            .try_for_each(|item| tree_has_no_masked_reference(item, masked, rows)),
        Tree::Node(node) => no_masked_reference(node, masked, rows),
        _ => Ok(()),
    }
}

/// No column reference whose name could be a masked column of the target, no `*`, no whole row. Names, not scopes:
/// whatever could be meant counts.
fn no_masked_reference(
    node: &Node,
    masked: &BTreeSet<String>,
    rows: &BTreeSet<String>,
) -> Result<(), Refusal> {
    if node.kind == "ColumnRef" {
        let fields = node.list("fields");
        let last = fields.last().and_then(Tree::string);
        let whole_row = fields.len() == 1 && last.is_some_and(|name| rows.contains(name));
        let reads = match last {
            None => Some("*".to_owned()),
            Some(name) if masked.contains(name) || whole_row => Some(name.to_owned()),
            Some(_) => None,
        };
        return match reads {
            None => Ok(()),
            Some(name) => Err(at(
                refuse::construct(
                    &format!("reading {name} in a write to a protected relation"),
                    "name unmasked columns only; read masked ones with SELECT",
                ),
                node.location,
            )),
        };
    }
    node.fields
        .iter()
        .try_for_each(|(_, value)| tree_has_no_masked_reference(value, masked, rows))
}
