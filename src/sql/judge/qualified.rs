//! A relation's name with its schema, in the client's text.
//!
//! `crm.contacts.phone` means the relation itself and passes over whatever has only its name (`scanNameSpaceForRelid` in
//! `src/backend/parser/parse_relation.c`), and two relations of one name may stand side by side without aliases
//! (`checkNameSpaceConflicts`). What stands for a relation in the text that runs is a subquery whose alias has no schema:
//! there neither holds. So the client is asked for an alias where it would make a difference.
use crate::catalog::{Oid, Relation};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::Rules;
use super::walk::at;

/// # Errors
/// A reference or a FROM whose meaning the substitution would change.
pub(super) fn check(rules: &Rules<'_>, tree: &Tree) -> Result<(), Refusal> {
    let mut reading = Reading {
        rules,
        levels: Vec::new(),
        ctes: Vec::new(),
    };
    reading.tree(tree)
}

/// An item of FROM.
struct Item<'t> {
    name: &'t str,
    /// The relation that it is, if it has no name of its own.
    relation: Option<Oid>,
    /// A subquery will stand for it.
    substituted: bool,
    location: i32,
}

struct Reading<'r, 't> {
    rules: &'r Rules<'r>,
    /// What can be named, innermost last.
    levels: Vec<Vec<Item<'t>>>,
    ctes: Vec<&'t str>,
}

impl<'t> Reading<'_, 't> {
    fn tree(&mut self, tree: &'t Tree) -> Result<(), Refusal> {
        match tree {
            Tree::List(items) => items.iter().try_for_each(|item| self.tree(item)),
            Tree::Node(node) => self.node(node),
            Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => Ok(()),
        }
    }

    fn node(&mut self, node: &'t Node) -> Result<(), Refusal> {
        match node.kind {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                self.query(node)
            }
            "RangeSubselect" if !node.flag("lateral") => {
                // It does not see what stands beside it.
                let beside = self.levels.pop();
                let done = self.fields(node);
                self.levels.extend(beside);
                done
            }
            "ColumnRef" => self.reference(node),
            _ => self.fields(node),
        }
    }

    fn fields(&mut self, node: &'t Node) -> Result<(), Refusal> {
        node.fields
            .iter()
            .try_for_each(|(_, value)| self.tree(value))
    }

    fn query(&mut self, node: &'t Node) -> Result<(), Refusal> {
        let known = self.ctes.len();
        if let Some(with) = node.child("with_clause") {
            let named = |cte: &'t Tree| cte.node().map(|cte| cte.text("ctename"));
            if with.flag("recursive") {
                self.ctes.extend(with.list("ctes").iter().filter_map(named));
            }
            for cte in with.list("ctes") {
                self.tree(cte)?;
                self.ctes.extend(named(cte));
            }
        }
        let mut level = Vec::new();
        // The target of a write is no subquery.
        if let Some(target) = node.child("relation") {
            self.items(target, false, &mut level);
        }
        for field in ["from_clause", "using_clause"] {
            for item in node.list(field).iter().filter_map(Tree::node) {
                self.items(item, true, &mut level);
            }
        }
        if let Some(source) = node.child("source_relation") {
            self.items(source, true, &mut level);
        }
        self.side_by_side(&level)?;
        self.levels.push(level);
        let rest = node
            .fields
            .iter()
            .filter(|(field, _)| *field != "with_clause");
        for (field, value) in rest {
            // Rows that are inserted see nothing of the target.
            let alone = *field == "select_stmt";
            let beside = if alone { self.levels.pop() } else { None };
            self.tree(value)?;
            self.levels.extend(beside);
        }
        self.levels.pop();
        self.ctes.truncate(known);
        Ok(())
    }

    fn items(&self, node: &'t Node, read: bool, level: &mut Vec<Item<'t>>) {
        if let Some(alias) = node.child("alias") {
            level.push(Item {
                name: alias.text("aliasname"),
                relation: None,
                substituted: false,
                location: node.location,
            });
            return;
        }
        match node.kind {
            "RangeVar" => {
                let found = self.relation(node, read).map(|relation| relation.oid);
                level.push(Item {
                    name: node.text("relname"),
                    relation: found,
                    substituted: read && found.is_some_and(|oid| self.rules.role.substitutes(oid)),
                    location: node.location,
                });
            }
            "JoinExpr" => {
                if let Some(alias) = node.child("join_using_alias") {
                    level.push(Item {
                        name: alias.text("aliasname"),
                        relation: None,
                        substituted: false,
                        location: node.location,
                    });
                }
                for side in ["larg", "rarg"] {
                    if let Some(side) = node.child(side) {
                        self.items(side, read, level);
                    }
                }
            }
            "RangeTableSample" => {
                if let Some(relation) = node.child("relation") {
                    self.items(relation, read, level);
                }
            }
            _ => {}
        }
    }

    /// No common table expression is the target of a write.
    fn relation(&self, node: &Node, read: bool) -> Option<&Relation> {
        let catalog = self.rules.catalog;
        let name = node.text("relname");
        let found = match node.text("schemaname") {
            "" if read && self.ctes.contains(&name) => None,
            "" => catalog.resolve(self.rules.path, name),
            schema => catalog.relation(schema, name),
        };
        found.map(|relation| &**relation)
    }

    fn side_by_side(&self, level: &[Item<'_>]) -> Result<(), Refusal> {
        for item in level.iter().filter(|item| item.substituted) {
            let others = level.iter().filter(|other| other.name == item.name);
            let mut others = others.filter(|other| other.relation != item.relation);
            if others.any(|other| other.relation.is_some()) {
                return Err(at(
                    refuse::construct(
                        &format!("FROM with two relations called {}", item.name),
                        "give one of them an alias",
                    ),
                    item.location,
                ));
            }
        }
        Ok(())
    }

    fn reference(&self, node: &Node) -> Result<(), Refusal> {
        let fields = node.list("fields");
        let [.., schema, table, _] = fields else {
            return Ok(());
        };
        let (Some(schema), Some(table)) = (schema.string(), table.string()) else {
            return Ok(());
        };
        let Some(relation) = self.rules.catalog.relation(schema, table) else {
            return Ok(());
        };
        for level in self.levels.iter().rev() {
            let mut named = level.iter().filter(|item| item.name == table);
            let itself = level
                .iter()
                .find(|item| item.relation == Some(relation.oid));
            if let Some(itself) = itself {
                let hidden =
                    itself.substituted && named.any(|item| item.relation != itself.relation);
                return if hidden {
                    Err(unlike(table, node))
                } else {
                    Ok(())
                };
            }
            if self.rules.role.substitutes(relation.oid) && named.next().is_some() {
                return Err(unlike(table, node));
            }
        }
        Ok(())
    }
}

fn unlike(table: &str, node: &Node) -> Refusal {
    at(
        refuse::construct(
            &format!("a reference with a schema to {table} past something else of that name"),
            "give the relation an alias, and call its columns by that",
        ),
        node.location,
    )
}
