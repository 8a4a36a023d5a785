//! Rows of protected relations that a statement puts where they can be read without being counted.
use super::keeping;
use super::statements::is_analyze;
use super::walk::Walk;
use super::{Access, Side, Use, offset};
use crate::catalog::RelationKind;
use crate::policy::pattern::is_system;
use crate::sql::packing::{self, Facts};
use crate::sql::plan::{Effect, Refusal};
use crate::sql::refuse;
use crate::sql::temporary;
use crate::sql::tree::{Node, Tree};

/// The target itself, and conditions. In a protected relation these put nothing into a row that would be read without being
/// counted; in another one, which rows were found there tells what they were compared with.
pub(super) const TARGET: &str = "relation";
const CONDITIONS: [&str; 2] = ["where_clause", "join_condition"];

/// `ARRAY_SUBLINK` (nodes/primnodes.h, as protobuf numbers it).
const ARRAY: i64 = 7;

/// `ONCONFLICT_NOTHING` (nodes/nodes.h, as protobuf numbers it).
const DO_NOTHING: i64 = 2;

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
        let limits = self.side == Side::Client && self.rules.role.export.limits();
        if limits && keeping::reads_marks(statement) {
            return Err(refuse::construct(
                "xmax, cmin or cmax, which tell what was done to rows",
                "what was too much and taken back leaves its marks there, which nobody counts; in RETURNING of an INSERT they may be had",
            ));
        }
        let uncounted = limits && !self.rules.role.export.counts_all;
        if uncounted && keeping::reads_places(statement) && self.uses_permanent() {
            return Err(refuse::construct(
                "ctid or TABLESAMPLE over a relation whose rows are not counted",
                "rows that were written and taken back take up places there; use a key, or count the relation's rows too (export: counts: all)",
            ));
        }
        let mut stores = Vec::new();
        writes(statement, true, &mut stores);
        self.note_returned(&stores);
        let carrying = stores.iter().filter(|store| self.carries(store.node));
        // Of each whether its command tag tells.
        let carried: Vec<bool> = carrying.map(|store| store.told).collect();
        let protected = &self.rules.role.protected;
        let reads = self
            .uses
            .iter()
            .any(|found| found.access == Access::Read && protected.contains(&found.relation));
        if !reads && !stores.iter().any(|store| self.meets(store.node)) {
            return Ok(());
        }
        stores.retain(|store| self.takes(store.node));
        let elsewhere = |store: &&Store<'_>| self.is_elsewhere(store.node);
        // What is deleted from a protected relation is in no row.
        stores.retain(|store| store.node.kind != "DeleteStmt" || elsewhere(&store));
        // A row that holds many would be read as one.
        let uncounted = stores
            .iter()
            .any(|store| !store.told && (elsewhere(&store) || gathers(store.node)));
        let uncounted =
            uncounted || (stores.iter().any(|store| !store.told) && self.puts_together(statement));
        let uncounted = uncounted || carried.contains(&false);
        let copies =
            carried.contains(&true) || stores.iter().filter(elsewhere).any(|store| store.told);
        // What was stopped leaves no locks: others would see them.
        if copies {
            self.effects.push(Effect::StoresElsewhere);
        }
        if copies || self.locks_elsewhere(statement) {
            self.effects.push(Effect::StoresRows);
        }
        if keeping::draws(statement) {
            self.effects.push(Effect::DrawsNumbers);
        }
        if limits && keeping::keeps(statement) {
            return Err(refuse::construct(
                "a function that keeps values of protected relations where nobody would count them",
                "give settings, sequences, locks and notifications constants or parameters, as output columns of the outermost query without OFFSET, or use them in a statement that reads no protected relation",
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

    /// Rows that a write to a protected relation gives back count like those of a query, and where they are too many nothing
    /// may be written: the client is told of an error. Those that an INSERT has brought itself do not count.
    fn note_returned(&mut self, stores: &[Store<'_>]) {
        let is_target = |store: &&Store<'_>| self.is_protected(store.node.child(TARGET));
        let gives = |store: &&Store<'_>| is_target(store) && (!store.told || returns(store.node));
        if !stores.iter().any(|store| is_target(&store)) {
            return;
        }
        let keeps = |store: &Store<'_>| {
            let conflict = store.node.child("on_conflict_clause");
            conflict.is_none_or(|clause| {
                clause.int("action") == DO_NOTHING && tried(store.node).is_none_or(|rows| rows == 1)
            })
        };
        let protected = &self.rules.role.protected;
        let own = |store: &Store<'_>| {
            store.node.kind == "InsertStmt"
                && keeps(store)
                && !self.is_view(store.node.child(TARGET))
        };
        let brings = matches!(stores, [only] if own(only))
            && self
                .uses
                .iter()
                .all(|found| found.access == Access::Write || !protected.contains(&found.relation));
        let counted = stores.iter().any(|store| gives(&store));
        let tries = match stores {
            [only] => tried(only.node),
            _ => None,
        };
        match (brings, counted) {
            (true, _) => self.effects.push(Effect::GivesBack),
            (false, true) => {
                self.effects.push(Effect::StoresRows);
                self.effects.extend(tries.map(Effect::Tries));
            }
            (false, false) => {}
        }
    }

    /// Whether a write meets rows of a protected relation that are there: as those that a query reads, they may go anywhere.
    fn meets(&self, store: &Node) -> bool {
        let updates = |clause: &Node| clause.int("action") != DO_NOTHING || returns(store);
        let adds =
            store.kind == "InsertStmt" && !store.child("on_conflict_clause").is_some_and(updates);
        let target = store.child(TARGET);
        !adds && self.is_protected(target)
    }

    /// Whether what is written is read without being counted. The rows of a view lie in another relation.
    fn is_elsewhere(&self, store: &Node) -> bool {
        let target = store.child(TARGET);
        !self.is_protected(target) || self.is_view(target)
    }

    fn is_view(&self, relation: Option<&Node>) -> bool {
        relation.is_some_and(|relation| {
            self.uses_of(relation).any(|found| {
                let relation = self.rules.catalog.relations.get(&found.relation);
                relation.is_none_or(|relation| relation.kind == RelationKind::View)
            })
        })
    }

    /// Whether the statement is about relations of users that are neither protected nor the session's own: what is taken
    /// back of the session's own is not read again.
    fn uses_permanent(&self) -> bool {
        let role = self.rules.role;
        self.uses.iter().any(|found| {
            let relation = self.rules.catalog.relations.get(&found.relation);
            !role.protected.contains(&found.relation)
                && relation.is_some_and(|relation| {
                    relation.schema != temporary::SCHEMA && !is_system(&relation.schema)
                })
        })
    }

    /// Whether rows of other relations are locked by the outermost query.
    fn locks_elsewhere(&self, node: &Node) -> bool {
        if matches!(node.kind, "PrepareStmt" | "CopyStmt") {
            let query = node.child("query");
            return query.is_some_and(|query| self.locks_elsewhere(query));
        }
        let mut locked = Vec::new();
        if node.kind == "SelectStmt"
            && !node.list("locking_clause").is_empty()
            && let Some(from) = node.get("from_clause")
        {
            named(from, &mut locked);
        }
        locked
            .into_iter()
            .any(|relation| !self.is_protected(Some(relation)))
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
            let by_protected = read.iter().any(protected) || self.looks_outside(node, &read);
            if by_protected && !locked.iter().all(protected) {
                return true;
            }
        }
        let mut found = false;
        for (_, field) in &node.fields {
            let shown = matches!(node.kind, "PrepareStmt" | "CopyStmt");
            field.each(&mut |inner| found |= self.only_locks(inner, shown));
        }
        found
    }

    /// Whether a query names columns of a query around it. `read`: the relations that it names itself.
    fn looks_outside(&self, query: &Node, read: &[&Node]) -> bool {
        let qualifies = |relation: &Node, name: &str| name == relation.goes_by();
        let has = |relation: &Node, column: &str| {
            self.uses_of(relation).any(|found| {
                let relation = self.rules.catalog.relations.get(&found.relation);
                relation.is_some_and(|relation| relation.column(column).is_some())
            })
        };
        query.anywhere(&|node| {
            let names = node.names("fields").filter(|_| node.kind == "ColumnRef");
            match names.unwrap_or_default().as_slice() {
                [] => false,
                [column] => !read
                    .iter()
                    .any(|relation| has(relation, column) || qualifies(relation, column)),
                [.., relation, _] => !read.iter().any(|named| qualifies(named, relation)),
            }
        })
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
            columns: &|_, _| true,
        };
        packing::joined(statement, facts).of_several()
    }

    /// Whether code of users' may run that nobody has judged. What it does to the session's temporary relations must not go
    /// unnoticed.
    pub(super) fn runs_code(&self) -> bool {
        let catalog = self.rules.catalog;
        let users = |found: &Use| {
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

    pub(super) fn is_protected(&self, relation: Option<&Node>) -> bool {
        relation.is_some_and(|relation| {
            let mut uses = self.uses_of(relation);
            uses.any(|found| self.rules.role.protected.contains(&found.relation))
        })
    }

    /// What a name of a relation was taken for; nothing, for a common table expression.
    pub(super) fn uses_of(&self, relation: &Node) -> impl Iterator<Item = &Use> {
        let at = offset(relation.location);
        self.uses.iter().filter(move |found| found.at == at)
    }

    /// Whether what is written comes from a protected relation, or may: from a common table expression.
    fn takes(&self, store: &Node) -> bool {
        let mut relations = Vec::new();
        let target = store.child(TARGET);
        // Its columns may come from anywhere.
        if self.is_view(target) && self.meets(store) {
            return true;
        }
        let within = self.is_protected(target);
        for (name, field) in &store.fields {
            if *name != TARGET && !(within && CONDITIONS.contains(name)) {
                named(field, &mut relations);
            }
        }
        relations.into_iter().any(|relation| {
            let known = self.uses_of(relation).next().is_some();
            !known || self.is_protected(Some(relation))
        })
    }
}

/// How many rows an INSERT offers that leaves those out which are there and gives back the others; more than any number where
/// they come from a query.
fn tried(store: &Node) -> Option<u64> {
    let clause = store.child("on_conflict_clause")?;
    let tries = clause.int("action") == DO_NOTHING && returns(store);
    let source = store.child("select_stmt").filter(|_| tries)?;
    Some(match source.list("values_lists").len() {
        0 => u64::from(u32::MAX),
        rows => rows as u64,
    })
}

/// Whether a write gives rows back.
fn returns(write: &Node) -> bool {
    let mut fields = write.fields.iter();
    fields.any(|(name, _)| name.starts_with("returning"))
}

/// Whether a value may be made of many rows.
fn gathers(node: &Node) -> bool {
    node.anywhere(&|node| match node.kind {
        "FuncCall" => packing::gathers(node),
        "SubLink" => node.int("sub_link_type") == ARRAY,
        "JsonArrayAgg" | "JsonObjectAgg" | "JsonArrayQueryConstructor" => true,
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
        field.each(&mut |inner| writes(inner, told, found));
    }
}

fn named<'a>(tree: &'a Tree, found: &mut Vec<&'a Node>) {
    tree.each(&mut |node| {
        if node.kind == "RangeVar" {
            found.push(node);
        }
        node.fields
            .iter()
            .for_each(|(_, field)| named(field, found));
    });
}
