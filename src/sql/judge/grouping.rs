//! GROUP BY a primary key.
//!
//! PostgreSQL lets a query that groups by a table's primary key use the table's other columns
//! (`check_functional_grouping` in `src/backend/catalog/pg_constraint.c`). A template has no primary key, so the columns
//! that are used go into GROUP BY as well: the groups stay the same. For the comparison both readings leave out what
//! depends on a key that is there.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::Relation;
use crate::sql::names::quoted;
use crate::sql::tree::{Node, Tree};

use super::Side;
use super::walk::Walk;

/// Columns to be put into a GROUP BY clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Byte offset, in the parsed text, of the grouping item behind which they go.
    pub behind: usize,
    /// `, "c"."name", "c"."phone"`
    pub text: String,
}

/// A protected relation in FROM, under its alias.
struct Named {
    alias: String,
    relation: Arc<Relation>,
}

impl Walk<'_> {
    /// Over a query that has been walked: notes what its GROUP BY needs, and takes dependent columns out.
    pub(super) fn grouping(&mut self, query: &mut Node) {
        let items = query.list("group_clause");
        let plain = items
            .iter()
            .all(|item| item.node().is_some_and(|node| node.kind != "GroupingSet"));
        if items.is_empty() || !plain {
            return;
        }
        let mut named = Vec::new();
        for item in query.list("from_clause").iter().filter_map(Tree::node) {
            self.protected_names(item, &mut named);
        }
        for entry in &named {
            let Some(behind) = key_position(query, entry) else {
                continue;
            };
            if self.side == Side::Client {
                let columns = used_columns(query, entry);
                if let (false, Ok(behind)) = (columns.is_empty(), usize::try_from(behind)) {
                    let alias = quoted(&entry.alias);
                    let text = columns
                        .iter()
                        .map(|column| format!(", {alias}.{}", quoted(column)))
                        .collect();
                    self.additions.push(Addition { behind, text });
                }
            }
            leave_out_dependent(query, entry);
        }
    }

    fn protected_names(&self, node: &Node, named: &mut Vec<Named>) {
        match node.kind {
            "JoinExpr" if node.get("alias").is_none() => {
                for side in ["larg", "rarg"] {
                    if let Some(side) = node.child(side) {
                        self.protected_names(side, named);
                    }
                }
            }
            "RangeTableSample" => {
                if let Some(relation) = node.child("relation") {
                    self.protected_names(relation, named);
                }
            }
            "RangeVar" => {
                let found = self
                    .rules
                    .catalog
                    .relation(node.text("schemaname"), node.text("relname"));
                let alias = node
                    .child("alias")
                    .filter(|alias| alias.list("colnames").is_empty());
                if let (Some(relation), Some(alias)) = (found, alias)
                    && self.rules.role.substitutes(relation.oid)
                    && !relation.primary_key.is_empty()
                {
                    named.push(Named {
                        alias: alias.text("aliasname").to_owned(),
                        relation: Arc::clone(relation),
                    });
                }
            }
            _ => {}
        }
    }
}

/// Where a column of the key stands in GROUP BY, if all of the key does.
fn key_position(query: &Node, named: &Named) -> Option<i32> {
    let items = query.list("group_clause");
    let mut position = None;
    for key in &named.relation.primary_key {
        let key = &named.relation.column_number(*key)?.name;
        let item = items.iter().filter_map(Tree::node).find(|item| {
            item_column(query, item).is_some_and(|reference| refers(reference, named, key))
        })?;
        position = position.or(Some(item.location));
    }
    position
}

/// The column reference that a grouping item is, or that it means by the number of an output column.
fn item_column<'a>(query: &'a Node, item: &'a Node) -> Option<&'a Node> {
    if item.kind == "ColumnRef" {
        return Some(item);
    }
    let number = item.child("val").filter(|_| item.kind == "AConst")?;
    let index = usize::try_from(number.int("ival")).ok()?.checked_sub(1)?;
    let target = query.list("target_list").get(index)?.node()?;
    target
        .child("val")
        .filter(|value| value.kind == "ColumnRef")
}

fn refers(reference: &Node, named: &Named, column: &str) -> bool {
    match reference.names("fields").as_deref() {
        Some([name]) => *name == column,
        Some([alias, name]) => *alias == named.alias && *name == column,
        _ => false,
    }
}

/// Columns of the relation that the query uses outside GROUP BY, the key left out.
fn used_columns(query: &Node, named: &Named) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for field in [
        "target_list",
        "having_clause",
        "sort_clause",
        "window_clause",
        "distinct_clause",
    ] {
        if let Some(tree) = query.get(field) {
            collect(tree, named, &mut used);
        }
    }
    for key in &named.relation.primary_key {
        if let Some(key) = named.relation.column_number(*key) {
            used.remove(&key.name);
        }
    }
    used
}

fn collect(tree: &Tree, named: &Named, used: &mut BTreeSet<String>) {
    match tree {
        Tree::List(items) => items.iter().for_each(|item| collect(item, named, used)),
        Tree::Node(node) if node.kind == "ColumnRef" => {
            let fields: Vec<Option<&str>> = node.list("fields").iter().map(Tree::string).collect();
            let own = |alias: &Option<&str>| *alias == Some(named.alias.as_str());
            match fields.as_slice() {
                [Some(name)] if named.relation.column(name).is_some() => {
                    used.insert((*name).to_owned());
                }
                [alias, Some(name)] if own(alias) && named.relation.column(name).is_some() => {
                    used.insert((*name).to_owned());
                }
                [None] => used.extend(all(named)),
                [alias, None] if own(alias) => used.extend(all(named)),
                _ => {}
            }
        }
        Tree::Node(node) => node
            .fields
            .iter()
            .for_each(|(_, value)| collect(value, named, used)),
        _ => {}
    }
}

fn all(named: &Named) -> impl Iterator<Item = String> + '_ {
    named
        .relation
        .columns
        .iter()
        .map(|column| column.name.clone())
}

/// Takes `alias.column` out of GROUP BY where the alias's key is in it and the column is none of the key.
fn leave_out_dependent(query: &mut Node, named: &Named) {
    let key: Vec<String> = named
        .relation
        .primary_key
        .iter()
        .filter_map(|num| named.relation.column_number(*num))
        .map(|column| column.name.clone())
        .collect();
    if let Some(Tree::List(items)) = query.get_mut("group_clause") {
        items.retain(|item| {
            let names = item
                .node()
                .filter(|node| node.kind == "ColumnRef")
                .and_then(|node| node.names("fields"));
            !matches!(
                names.as_deref(),
                Some([alias, name]) if *alias == named.alias
                    && named.relation.column(name).is_some()
                    && !key.iter().any(|key| key == name)
            )
        });
    }
}
