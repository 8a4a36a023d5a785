//! Rows of protected relations that a statement puts where they can be read without being counted.
use super::statements::is_analyze;
use super::walk::Walk;
use super::{Access, Side, offset};
use crate::sql::packing::{self, Facts};
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::temporary;
use crate::sql::tree::{Node, Tree};

/// The target itself, and conditions. In a protected relation these put nothing into a row that would be read without being
/// counted; in another one, which rows were found there tells what they were compared with.
const TARGET: &str = "relation";
const CONDITIONS: [&str; 2] = ["where_clause", "join_condition"];

/// Functions that keep a value which the session can ask for again in bulk (a setting, a sequence, a lock, a notification),
/// and which of their arguments that is.
const KEEPING: [(&str, &[usize]); 13] = [
    ("set_config", &[1]),
    ("setval", &[1]),
    ("pg_notify", &[0, 1]),
    ("pg_advisory_lock", &[0, 1]),
    ("pg_advisory_lock_shared", &[0, 1]),
    ("pg_advisory_unlock", &[0, 1]),
    ("pg_advisory_unlock_shared", &[0, 1]),
    ("pg_advisory_xact_lock", &[0, 1]),
    ("pg_advisory_xact_lock_shared", &[0, 1]),
    ("pg_try_advisory_lock", &[0, 1]),
    ("pg_try_advisory_lock_shared", &[0, 1]),
    ("pg_try_advisory_xact_lock", &[0, 1]),
    ("pg_try_advisory_xact_lock_shared", &[0, 1]),
];

/// Functions by whose argument a value can be kept in a state, or in the name of what they change or lock, and which of them it
/// is: it may be computed, but not from what rows hold.
const KEEPING_ONE: [(&str, usize); 9] = [
    ("currval", 0),
    ("isn_weak", 0),
    ("nextval", 0),
    ("pg_get_sequence_data", 0),
    ("pg_partition_tree", 0),
    ("pg_sequence_last_value", 0),
    ("setval", 0),
    ("setseed", 0),
    ("set_limit", 0),
];

/// `ARRAY_SUBLINK` (nodes/primnodes.h, as protobuf numbers it).
const ARRAY: i64 = 7;

/// A write within a statement.
struct Store<'a> {
    node: &'a Node,
    /// The command tag tells how many rows it wrote.
    told: bool,
}

impl Walk<'_> {
    /// Notes that rows of protected relations go into another relation: they count as exported. Refuses what nobody would
    /// count. Rows that go into a protected relation are counted where they are read, unless many go into one: `Packed::stores_many`.
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
        stores.retain(|store| self.takes(store.node));
        let elsewhere = |store: &&Store<'_>| !self.is_protected(store.node.child(TARGET));
        // What is deleted from a protected relation is in no row.
        stores.retain(|store| store.node.kind != "DeleteStmt" || elsewhere(&store));
        // A row that holds many would be read as one.
        let uncounted = stores
            .iter()
            .any(|store| !store.told && (elsewhere(&store) || gathers(store.node)));
        let uncounted =
            uncounted || (stores.iter().any(|store| !store.told) && self.puts_together(statement));
        let copies = stores.iter().filter(elsewhere).any(|store| store.told);
        if copies {
            self.effects.push(Effect::StoresRows);
        }
        let limits = self.side == Side::Client && self.rules.role.export.limits();
        if limits && keeps(statement) {
            return Err(refuse::construct(
                "a function that keeps values of protected relations where nobody would count them",
                "give settings, sequences, locks and notifications constants or parameters, or use them in a statement that reads no protected relation",
            ));
        }
        if limits && (self.only_locks(statement, true) || self.skips_rows(&stores)) {
            return Err(refuse::construct(
                "a statement that locks rows of another relation by those of protected ones, and need not show them",
                "nobody could count them; lock rows in a statement of its own, or in its outermost query without OFFSET, and leave WHERE out of ON CONFLICT DO UPDATE",
            ));
        }
        if uncounted && limits {
            return Err(refuse::construct(
                "a WITH query or EXPLAIN ANALYZE that writes rows of protected relations into another relation",
                "nobody could count them; write them by a statement of its own: INSERT INTO ... SELECT ...",
            ));
        }
        Ok(())
    }

    /// Whether rows of other relations are locked, by what protected ones hold, and do not come back: a lock leaves its mark on
    /// a row. `shown`: what this query gives comes back, each row of it.
    fn only_locks(&self, node: &Node, shown: bool) -> bool {
        let locks = node.kind == "SelectStmt" && !node.list("locking_clause").is_empty();
        let all = shown && node.get("limit_offset").is_none();
        if locks && !all {
            let (mut locked, mut read) = (Vec::new(), Vec::new());
            if let Some(from) = node.get("from_clause") {
                named(from, &mut locked);
            }
            node.fields
                .iter()
                .for_each(|(_, field)| named(field, &mut read));
            let protected = |found: &&Node| self.is_protected(Some(found));
            if read.iter().any(protected) && !locked.iter().all(protected) {
                return true;
            }
        }
        let mut found = false;
        for (_, field) in &node.fields {
            let shown = matches!(node.kind, "PrepareStmt" | "CopyStmt");
            each(field, &mut |inner| found |= self.only_locks(inner, shown));
        }
        found
    }

    /// Whether rows that are stored elsewhere meet others that stay as they are, and are locked by it.
    fn skips_rows(&self, stores: &[Store<'_>]) -> bool {
        stores.iter().any(|store| {
            let conflict = store.node.child("on_conflict_clause");
            let conditional = conflict.is_some_and(|clause| clause.get("where_clause").is_some());
            conditional && !self.is_protected(store.node.child(TARGET))
        })
    }

    /// Whether a row that is written holds several.
    fn puts_together(&self, statement: &Node) -> bool {
        let facts = Facts {
            counted: &|relation| self.is_protected(Some(relation)),
            keys: &|_| Vec::new(),
        };
        packing::joined(statement, facts) > 1
    }

    /// Whether code of users' may run that nobody has judged. What it does to the session's temporary relations must not go
    /// unnoticed.
    pub(super) fn runs_code(&self) -> bool {
        let catalog = self.rules.catalog;
        let users = |found: &super::Use| {
            let relation = catalog.relations.get(&found.relation);
            match found.access {
                Access::Write => {
                    catalog.triggers
                        && relation.is_some_and(|relation| relation.schema != temporary::SCHEMA)
                }
                Access::Read => catalog
                    .view_reads
                    .get(&found.relation)
                    .is_some_and(|reads| reads.opaque),
                Access::Lock => false,
            }
        };
        self.calls_users || self.uses.iter().any(users)
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
        let within = self.is_protected(store.child(TARGET));
        for (name, field) in &store.fields {
            if *name != TARGET && !(within && CONDITIONS.contains(name)) {
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

/// Whether a function that keeps values is given one that is made for each row.
fn keeps(node: &Node) -> bool {
    let kept = |name: &str| KEEPING.iter().find(|(known, _)| *known == name);
    let one = |name: &str| KEEPING_ONE.iter().find(|(known, _)| *known == name);
    let last = |field| node.list(field).last().and_then(Tree::string).unwrap_or("");
    let takes = |name: &str| kept(name).is_some() || one(name).is_some();
    let here = match node.kind {
        "FuncCall" => {
            let arguments = node.list("args");
            kept(last("funcname")).is_some_and(|(_, kept)| {
                let mut given = arguments.iter().enumerate();
                given.any(|(at, argument)| kept.contains(&at) && !is_constant(argument))
            }) || one(last("funcname"))
                .is_some_and(|(_, at)| arguments.get(*at).is_some_and(of_rows))
        }
        // The notation of a field is a call, too.
        "ColumnRef" => takes(last("fields")),
        "AIndirection" => {
            let names = node.list("indirection").iter();
            names.filter_map(Tree::string).any(takes)
        }
        _ => false,
    };
    let mut found = here;
    for (_, field) in &node.fields {
        each(field, &mut |inner| found |= keeps(inner));
    }
    found
}

/// Whether an expression takes anything from rows.
fn of_rows(tree: &Tree) -> bool {
    let mut found = false;
    each(tree, &mut |node| {
        let below = |(_, field): &(&'static str, Tree)| of_rows(field);
        found |= matches!(node.kind, "ColumnRef" | "SubLink") || node.fields.iter().any(below);
    });
    found
}

/// Whether a value may be made of many rows.
fn gathers(node: &Node) -> bool {
    let mut found = match node.kind {
        "FuncCall" => packing::gathers(node),
        "SubLink" => node.int("sub_link_type") == ARRAY,
        "JsonArrayAgg" | "JsonObjectAgg" | "JsonArrayQueryConstructor" => true,
        _ => false,
    };
    for (_, field) in &node.fields {
        each(field, &mut |inner| found |= gathers(inner));
    }
    found
}

fn is_constant(tree: &Tree) -> bool {
    tree.node().is_some_and(|node| match node.kind {
        "AConst" | "ParamRef" => true,
        "TypeCast" => node.get("arg").is_some_and(is_constant),
        _ => false,
    })
}

/// Writes anywhere in a statement. `told`: its command tag tells of this one.
fn writes<'a>(node: &'a Node, mut told: bool, found: &mut Vec<Store<'a>>) {
    if node.kind == "ExplainStmt" {
        if !node.list("options").iter().any(is_analyze) {
            return;
        }
        // Its command tag says nothing of rows.
        told = false;
    }
    let is_write = match node.kind {
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" | "CreateTableAsStmt" => true,
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
