//! CREATE ... IF NOT EXISTS of something permanent that is there: the server says so in a NOTICE and does nothing.
//! Applications that see to their schema when they start send it.
//!
//! The catalog at hand may be older than the server's. So what runs makes nothing where the object is gone meanwhile: the
//! server looks for the object before it reads anything else of the statement, and what else there is would be an error.
//! A schema, of which nothing of the kind can be said, would be made empty; an index, on columns that are open to the role.
use crate::catalog::{Catalog, RelationKind};
use crate::sql::names::{qualified, quoted};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::template;
use crate::sql::temporary::{SCHEMA, made};
use crate::sql::tree::{Node, Tree};

use super::walk::Walk;
use super::{Access, Change, Side, Use};

/// What may stand in CREATE INDEX: columns by their names.
const INDEX: &[&str] = &[
    "idxname",
    "relation",
    "access_method",
    "index_params",
    "index_including_params",
    "unique",
    "if_not_exists",
];
const INDEXED: &[&str] = &["name", "ordering", "nulls_ordering"];

impl Walk<'_> {
    /// Walks a statement that makes what is there; `None` where it is another one.
    pub(super) fn existing(&mut self, node: &mut Node) -> Option<Result<(), Refusal>> {
        if !node.flag("if_not_exists") {
            return None;
        }
        let text = match node.kind {
            // A table like one that is not there.
            "CreateStmt" => {
                let name = self.named_there(node.child("relation")?)?;
                format!("CREATE TABLE IF NOT EXISTS {name} (LIKE {name})")
            }
            "CreateSeqStmt" => {
                let name = self.named_there(node.child("sequence")?)?;
                format!("CREATE SEQUENCE IF NOT EXISTS {name} INCREMENT 0")
            }
            "CreateExtensionStmt" => {
                let name = node.text("extname");
                if !is_installed(self.rules.catalog, name) {
                    return None;
                }
                // Two schemas are one too many.
                let name = quoted(name);
                format!("CREATE EXTENSION IF NOT EXISTS {name} SCHEMA pg_catalog SCHEMA pg_catalog")
            }
            "CreateSchemaStmt" => {
                let name = node.text("schemaname");
                let there = self.rules.catalog.schemas.contains(name) && !name.starts_with("pg_");
                return (there && has_only(node, &["schemaname", "if_not_exists"]))
                    .then_some(Ok(()));
            }
            "IndexStmt" => return self.index_there(node),
            _ => return None,
        };
        Some(self.put_in_place(node, text))
    }

    /// The quoted name of a permanent relation that is there, of whatever kind, where one of this name would be made.
    fn named_there(&mut self, named: &Node) -> Option<String> {
        let temporary = made(named).is_some() || named.text("relpersistence") == "t";
        if temporary || !named.text("catalogname").is_empty() {
            return None;
        }
        let schema = match (named.text("schemaname"), self.side) {
            ("", Side::Client) => self.rules.makes_in?,
            (schema, _) => schema,
        };
        let relation = self.rules.catalog.relation(schema, named.text("relname"))?;
        // For the record; the statement is edited as a whole.
        self.uses.push(Use {
            relation: relation.oid,
            access: Access::Lock,
            at: 0,
            alias: false,
            fenced: false,
        });
        Some(qualified(&relation.schema, &relation.name))
    }

    /// On the client's side what runs takes the statement's place; the other must be it.
    fn put_in_place(&mut self, node: &mut Node, text: String) -> Result<(), Refusal> {
        let harmless = template::single(&text);
        match (harmless, self.side) {
            (Some(Tree::Node(harmless)), Side::Client) => {
                self.changes.push(Change::Whole { text });
                *node = harmless;
                Ok(())
            }
            (Some(Tree::Node(harmless)), Side::Run) if harmless == *node => Ok(()),
            _ => Err(refuse::judge(
                "CREATE of what is there would make something",
            )),
        }
    }

    /// The server asks for the owner of the table before it looks for the index.
    fn index_there(&mut self, node: &mut Node) -> Option<Result<(), Refusal>> {
        let relation = self.resolve(node.child("relation")?).ok()?;
        let catalog = self.rules.catalog;
        let is_table = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        );
        let columns = node.list("index_params").iter();
        let mut columns = columns.chain(node.list("index_including_params"));
        let plain = columns.all(|column| {
            let column = column.node();
            column.is_some_and(|column| has_only(column, INDEXED))
        });
        let there = catalog.relation(&relation.schema, node.text("idxname"));
        let passes = relation.schema != SCHEMA
            && is_table
            && there.is_some()
            && plain
            && has_only(node, INDEX)
            && self.rules.role.is_open(relation.oid);
        let named = node.get_mut("relation").and_then(Tree::node_mut)?;
        passes.then(|| self.relation(named, Access::Lock))
    }
}

fn has_only(node: &Node, fields: &[&str]) -> bool {
    node.fields.iter().all(|(name, _)| fields.contains(name))
}

/// Whether the database has the extension: told by what it has brought.
fn is_installed(catalog: &Catalog, name: &str) -> bool {
    let is = |extension: &Option<String>| extension.as_deref() == Some(name);
    let mut functions = catalog.functions.values().flatten();
    functions.any(|function| is(&function.extension))
        || catalog.types.values().any(|found| is(&found.extension))
        || catalog.relations.values().any(|found| is(&found.extension))
        || catalog
            .operators
            .values()
            .flatten()
            .any(|found| is(&found.extension))
}
