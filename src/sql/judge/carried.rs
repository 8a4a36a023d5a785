//! Writes to protected relations that foreign keys carry on to others (`ON UPDATE CASCADE`, `ON DELETE SET NULL` and the like).
use std::collections::BTreeSet;

use super::keeping::is_constant;
use super::stores::TARGET;
use super::walk::Walk;
use crate::catalog::{AttNum, Oid, ROW, RelationKind};
use crate::sql::tree::{Node, Tree};

/// `AEXPR_OP` and `AND_EXPR` (nodes/parsenodes.h, nodes/primnodes.h, as protobuf numbers them).
const OPERATOR: i64 = 1;
const AND: i64 = 1;

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
                ROW => deletes(store) && !self.deletes_one(store, found.relation),
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

    /// Whether a DELETE asks for one row by its primary key and for nothing else of it: what goes with it says of that row what
    /// the client has said. Not by a masked key, which any row's value decides.
    fn deletes_one(&self, store: &Node, relation: Oid) -> bool {
        let Some(known) = self.rules.catalog.relations.get(&relation) else {
            return false;
        };
        let stored = matches!(
            known.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        );
        let masks = self.rules.role.masks.get(&relation);
        let open = |column: &AttNum| masks.is_none_or(|masks| !masks.contains_key(column));
        if store.kind != "DeleteStmt" || !stored || !store.list("using_clause").is_empty() {
            return false;
        }
        let named = store.child("where_clause").and_then(constant_columns);
        let key = known.primary_key.iter();
        let key: Option<BTreeSet<&str>> = key
            .map(|column| Some(&*known.column_number(*column).filter(|_| open(column))?.name))
            .collect();
        matches!((named, key), (Some(named), Some(key)) if !key.is_empty() && named == key)
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

/// The columns that a condition holds against constants or parameters, each once, if it does nothing else.
fn constant_columns(condition: &Node) -> Option<BTreeSet<&str>> {
    if condition.kind == "BoolExpr" && condition.int("boolop") == AND {
        let mut columns = BTreeSet::new();
        for part in nodes(condition, "args") {
            for column in constant_columns(part)? {
                if !columns.insert(column) {
                    return None;
                }
            }
        }
        return Some(columns);
    }
    let is_equality = condition.kind == "AExpr"
        && condition.int("kind") == OPERATOR
        && condition
            .names("name")
            .is_some_and(|name| name.last() == Some(&"="));
    let (left, right) = (condition.get("lexpr")?, condition.get("rexpr")?);
    let column = [(left, right), (right, left)]
        .into_iter()
        .find(|(_, other)| is_constant(other))
        .and_then(|(column, _)| column.node())
        .filter(|column| column.kind == "ColumnRef")?;
    let name = column.names("fields")?.last().copied()?;
    is_equality.then(|| BTreeSet::from([name]))
}
