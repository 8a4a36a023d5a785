//! TRUNCATE and ANALYZE: of the session's own tables, and of permanent ones in which nothing is kept from the role or counted.
//! What they do, and whether they fail, depends on such tables and on the schema alone: the server refuses to truncate what a
//! foreign key of another table refers to, whatever rows there are. Triggers fire as with DELETE; functions of indexes run as
//! they do when a row is written.
use pg_query::protobuf::DropBehavior;

use crate::catalog::{Oid, RelationKind};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::temporary::SCHEMA;
use crate::sql::tree::{Node, Tree};

use super::Access;
use super::walk::{Walk, at};

impl Walk<'_> {
    /// CASCADE would empty what nobody named; RESTART IDENTITY moves counters.
    pub(super) fn truncate(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        let cascades = node.int("behavior") == DropBehavior::DropCascade as i64;
        let plain = !cascades && !node.flag("restart_seqs");
        self.each(node, "relations", |walk, relation| {
            walk.keeps_up(relation, kind, plain)
        })
    }

    /// Without names it is about all tables; VERBOSE counts rows, also such as are gone.
    pub(super) fn analyze(&mut self, node: &mut Node, kind: &'static str) -> Result<(), Refusal> {
        if node.flag("is_vacuumcmd") || node.list("rels").is_empty() {
            return Err(refuse::statement(kind));
        }
        self.walked(node, "options")?;
        let plain = node.list("options").is_empty();
        self.each(node, "rels", |walk, named| {
            match named.get_mut("relation").and_then(Tree::node_mut) {
                Some(relation) => walk.keeps_up(relation, kind, plain),
                None => Err(refuse::judge("a statement without its relation")),
            }
        })
    }

    fn keeps_up(
        &mut self,
        relation: &mut Node,
        kind: &'static str,
        plain: bool,
    ) -> Result<(), Refusal> {
        self.relation(relation, Access::Write)?;
        let found = self.uses.last().map(|found| found.relation);
        let own = relation.text("schemaname") == SCHEMA;
        match own || plain && found.is_some_and(|found| self.is_open_throughout(found)) {
            true => Ok(()),
            false => Err(at(refuse::permanent(kind), relation.location)),
        }
    }

    /// Whether a table is open to the role, with all that inherits from it and all that these inherit from.
    fn is_open_throughout(&self, relation: Oid) -> bool {
        let catalog = self.rules.catalog;
        let is_table = |oid: Oid| {
            let kind = catalog.relations.get(&oid).map(|relation| relation.kind);
            matches!(
                kind,
                Some(RelationKind::Table | RelationKind::PartitionedTable)
            )
        };
        catalog
            .related(relation)
            .into_iter()
            .all(|oid| is_table(oid) && self.rules.role.is_open(oid))
    }
}
