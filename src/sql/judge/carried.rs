//! Writes to protected relations that foreign keys carry on to others (`ON UPDATE CASCADE`, `ON DELETE SET NULL` and the like).
use std::collections::BTreeSet;

use super::stores::TARGET;
use super::walk::Walk;
use crate::catalog::{AttNum, Oid, ROW};
use crate::sql::tree::{Node, Tree};

impl Walk<'_> {
    /// Whether foreign keys carry what a write does to protected rows into relations whose rows are not counted: the new value
    /// of a key, or which rows are gone.
    pub(super) fn carries(&self, store: &Node) -> bool {
        let target = store.child(TARGET);
        let Some(target) = target.filter(|target| self.is_protected(Some(target))) else {
            return false;
        };
        let cascades = &self.rules.catalog.cascades;
        let mut reached: BTreeSet<(Oid, AttNum)> = BTreeSet::new();
        for found in self.uses_of(target) {
            let own = cascades.iter().filter(|key| key.from.0 == found.relation);
            let happen = own.filter(|key| match key.from.1 {
                ROW => deletes(store),
                column => self.assigns(store, found.relation, column),
            });
            reached.extend(happen.map(|key| key.to));
        }
        loop {
            let before = reached.len();
            let further = cascades.iter().filter(|key| reached.contains(&key.from));
            let further: Vec<_> = further.map(|key| key.to).collect();
            reached.extend(further);
            if reached.len() == before {
                break;
            }
        }
        let mut relations = reached.iter().map(|(relation, _)| relation);
        relations.any(|relation| !self.rules.role.protected.contains(relation))
    }

    /// Whether a write assigns a column.
    fn assigns(&self, store: &Node, relation: Oid, column: AttNum) -> bool {
        let relation = self.rules.catalog.relations.get(&relation);
        let Some(column) = relation.and_then(|relation| relation.column_number(column)) else {
            return true;
        };
        let is = |node: &Node| node.kind == "ResTarget" && node.text("name") == column.name;
        let lists = |node: &Node| nodes(node, "target_list").any(is);
        (store.kind == "UpdateStmt" && lists(store))
            || store.child("on_conflict_clause").is_some_and(lists)
            || nodes(store, "merge_when_clauses").any(lists)
    }
}

fn nodes<'a>(node: &'a Node, field: &str) -> impl Iterator<Item = &'a Node> {
    node.list(field).iter().filter_map(Tree::node)
}

/// Whether a write deletes rows of its target. What WHEN does is not told apart.
fn deletes(store: &Node) -> bool {
    matches!(store.kind, "DeleteStmt" | "MergeStmt")
}
