//! Rows of protected relations that a statement puts where they can be read without being counted.
use super::walk::Walk;
use super::{Access, Side, offset};
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

/// What does not say which rows are written: conditions, and the target itself.
const CONDITIONS: [&str; 3] = ["relation", "where_clause", "join_condition"];

/// A write within a statement.
struct Store<'a> {
    node: &'a Node,
    /// The command tag tells how many rows it wrote.
    told: bool,
}

impl Walk<'_> {
    /// Notes that rows of protected relations go into another relation: they count as exported. Refuses what nobody would
    /// count. Rows that go into a protected relation are counted where they are read.
    pub(super) fn note_stored(&mut self, statement: &Node) -> Result<(), Refusal> {
        let protected = &self.rules.role.protected;
        let reads = self
            .uses
            .iter()
            .any(|found| found.access == Access::Read && protected.contains(&found.relation));
        if !reads {
            return Ok(());
        }
        let mut stores = Vec::new();
        writes(statement, true, &mut stores);
        stores.retain(|store| {
            !self.is_protected(store.node.child("relation")) && self.takes(store.node)
        });
        if stores.iter().any(|store| store.told) {
            self.effects.push(Effect::StoresRows);
        }
        let uncounted = stores.iter().any(|store| !store.told);
        if uncounted && self.side == Side::Client && self.rules.role.export.limits() {
            return Err(refuse::construct(
                "a WITH query that writes rows of protected relations into another relation",
                "nobody could count them; write them by a statement of its own: INSERT INTO ... SELECT ...",
            ));
        }
        Ok(())
    }

    fn is_protected(&self, relation: Option<&Node>) -> bool {
        relation.is_some_and(|relation| {
            let at = offset(relation.location);
            let mut uses = self.uses.iter().filter(|found| found.at == at);
            uses.any(|found| self.rules.role.protected.contains(&found.relation))
        })
    }

    /// Whether what is written comes from a protected relation, or may: from a common table expression.
    fn takes(&self, store: &Node) -> bool {
        let mut relations = Vec::new();
        for (name, field) in &store.fields {
            if !CONDITIONS.contains(name) {
                named(field, &mut relations);
            }
        }
        relations.into_iter().any(|relation| {
            let at = offset(relation.location);
            let known = self.uses.iter().any(|found| found.at == at);
            !known || self.is_protected(Some(relation))
        })
    }
}

/// Writes anywhere in a statement. `told`: its command tag tells of this one.
fn writes<'a>(node: &'a Node, told: bool, found: &mut Vec<Store<'a>>) {
    let is_write = match node.kind {
        "InsertStmt" | "UpdateStmt" | "MergeStmt" | "CreateTableAsStmt" => true,
        "SelectStmt" => node.get("into_clause").is_some(),
        _ => false,
    };
    if is_write {
        found.push(Store { node, told });
    }
    for (name, field) in &node.fields {
        // The statement that PREPARE and EXPLAIN carry, and the arm of a UNION at which INTO stands.
        let told = told && !is_write && matches!(*name, "query" | "larg");
        each(field, &mut |inner| writes(inner, told, found));
    }
}

fn named<'a>(tree: &'a Tree, found: &mut Vec<&'a Node>) {
    each(tree, &mut |node| {
        if node.kind == "RangeVar" {
            found.push(node);
        }
        node.fields
            .iter()
            .for_each(|(_, field)| named(field, found));
    });
}

fn each<'a>(tree: &'a Tree, visit: &mut impl FnMut(&'a Node)) {
    match tree {
        Tree::Node(node) => visit(node),
        Tree::List(items) => items.iter().for_each(|item| each(item, visit)),
        _ => {}
    }
}
