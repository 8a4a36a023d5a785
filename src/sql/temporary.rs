//! What earlier statements of a session mean to later ones: its temporary tables, and a search path that was just set.
//!
//! A temporary relation joins the catalog under the schema alias `pg_temp`, so that it is resolved, judged and emitted
//! (`"pg_temp"."name"`) like every other. The alias can only mean the session's own schema; which of the relations
//! in it the session may read is followed in `session::made`.
use std::borrow::Cow;
use std::collections::BTreeSet;

use pg_query::protobuf::ObjectType;

use crate::catalog::{Catalog, Oid, Relation, RelationKind, Type, TypeKind};

use super::judge::Use;
use super::lex::Token;
use super::names;
use super::plan::{Effect, Refusal, SessionFacts};
use super::refuse;
use super::tree::{Node, Tree};

/// The schema alias of the session's own temporary objects.
pub const SCHEMA: &str = "pg_temp";

/// The facts once a statement with these effects has run well; `None` where they cannot be told before.
pub fn after(facts: &SessionFacts, effects: &[Effect]) -> Option<SessionFacts> {
    let mut facts = facts.clone();
    let sets_path = effects
        .iter()
        .any(|effect| matches!(effect, Effect::SearchPath(_)));
    for effect in effects {
        match effect {
            Effect::SearchPath(path) => facts.search_path.clone_from(path),
            Effect::SettingsChanged if !sets_path => return None,
            Effect::TemporaryMade(name) => {
                facts.temporary.insert(name.clone());
            }
            Effect::TemporaryGone(Some(name)) => {
                facts.temporary.remove(name);
                if facts.spoiled.remove(name) {
                    facts.shadows.remove(name);
                }
            }
            // What code of users' has put in their place cannot be told before the server is asked.
            Effect::TemporaryGone(None) | Effect::RunsCode => facts.hide_temporary(),
            _ => {}
        }
    }
    Some(facts)
}

impl SessionFacts {
    /// None of the temporary relations is to be read any more before it was dropped and made anew.
    pub fn spoil_temporary(&mut self) {
        self.spoiled.extend(self.temporary.iter().cloned());
        self.hide_temporary();
    }

    /// None of the temporary relations is to be read any more. Their row types may still be there.
    pub fn hide_temporary(&mut self) {
        self.shadows.append(&mut self.temporary);
    }
}

/// Under which names a text's statements are planned, one after the other: each statement sees what those before it
/// did, if they ran well; if one does not, those behind it do not run.
pub struct Circumstances<'a> {
    base: &'a Catalog,
    facts: Cow<'a, SessionFacts>,
    catalog: Cow<'a, Catalog>,
    path: Vec<String>,
    makes_in: Option<String>,
    /// Names that the statement at hand speaks of as if they were there.
    supposed: BTreeSet<String>,
}

impl<'a> Circumstances<'a> {
    pub fn new(base: &'a Catalog, facts: &'a SessionFacts) -> Self {
        let mut circumstances = Circumstances {
            base,
            facts: Cow::Borrowed(facts),
            catalog: Cow::Borrowed(base),
            path: Vec::new(),
            makes_in: None,
            supposed: BTreeSet::new(),
        };
        circumstances.lay_over();
        circumstances
    }

    /// The schema snapshot with the session's temporary relations.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Schemas in which unqualified names are looked up, in order.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The schema in which a permanent relation without one would be made; `None`: that cannot be told.
    pub fn makes_in(&self) -> Option<&str> {
        self.makes_in.as_deref()
    }

    /// Names that count as temporary relations although there is nothing of that name anywhere.
    pub fn supposed(&self) -> &BTreeSet<String> {
        &self.supposed
    }

    /// Takes up the next statement. `DROP ... IF EXISTS` and `ALTER TABLE IF EXISTS` may name what is nowhere, and a temporary table that is being made
    /// refers to itself: such a name can only be one of the session's own.
    pub fn meet(&mut self, statement: &Tree) {
        // What the statement before spoke of is nowhere still.
        if !self.supposed.is_empty() {
            self.supposed.clear();
            self.lay_over();
        }
        let supposed: BTreeSet<String> = match statement.node() {
            // What is not read any more may be dropped by whom it was made.
            Some(node) if node.kind == "DropStmt" => node
                .list("objects")
                .iter()
                .filter_map(|object| self.nowhere(object))
                .filter(|name| node.flag("missing_ok") || self.facts.spoiled.contains(name))
                .collect(),
            Some(node) if alters(node) && node.flag("missing_ok") => node
                .child("relation")
                .and_then(|relation| self.unresolved(relation))
                .into_iter()
                .collect(),
            Some(node) if node.kind == "CreateStmt" => node
                .child("relation")
                .and_then(made)
                .filter(|name| taken(self.base, name).is_none())
                .filter(|name| refers_to(node, name))
                .map(str::to_owned)
                .into_iter()
                .collect(),
            _ => BTreeSet::new(),
        };
        if supposed != self.supposed {
            self.supposed = supposed;
            self.lay_over();
        }
    }

    /// Of a relation that is there and not read any more it is said why.
    pub fn explain(&self, refusal: &mut Refusal) {
        let missing = |name: &&String| refusal.message == does_not_exist(name);
        if let Some(name) = self.facts.spoiled.iter().find(missing) {
            *refusal = Refusal {
                position: refusal.position,
                ..refuse::spoiled(name)
            };
        }
    }

    /// The statement has run well.
    pub fn follow(&mut self, effects: &[Effect]) {
        // What cannot be told before it ran, the session refuses to build on.
        if let Some(after) = after(&self.facts, effects)
            && after != *self.facts
        {
            self.facts = Cow::Owned(after);
            self.lay_over();
        }
    }

    fn nowhere(&self, object: &Tree) -> Option<String> {
        let names: Option<Vec<&str>> = object.items()?.iter().map(Tree::string).collect();
        let name = match names?.as_slice() {
            [name] if self.catalog.resolve(&self.path, name).is_none() => (*name).to_owned(),
            [SCHEMA, name] if self.catalog.relation(SCHEMA, name).is_none() => (*name).to_owned(),
            // It counts as a temporary one, so there must be none that it would be taken for.
            [schema, name]
                if self.catalog.relation(schema, name).is_none() && !self.is_temporary(name) =>
            {
                (*name).to_owned()
            }
            _ => return None,
        };
        Some(name)
    }

    /// Whether anything in the session's temporary schema has the name.
    fn is_temporary(&self, name: &str) -> bool {
        let facts = &self.facts;
        [&facts.temporary, &facts.shadows, &facts.spoiled]
            .iter()
            .any(|names| names.contains(name))
    }

    /// The name of a relation that is nowhere to be found, if it could be of the session's own.
    fn unresolved(&self, relation: &Node) -> Option<String> {
        let name = relation.text("relname");
        let nowhere = match relation.text("schemaname") {
            "" => self.catalog.resolve(&self.path, name).is_none(),
            SCHEMA => self.catalog.relation(SCHEMA, name).is_none(),
            _ => false,
        };
        (nowhere && relation.text("catalogname").is_empty()).then(|| name.to_owned())
    }

    fn lay_over(&mut self) {
        // A permanent relation that has come to the same name since wins: what triggers write to is not read.
        let own = self.facts.temporary.iter();
        let (own, hidden): (Vec<_>, Vec<_>) =
            own.partition(|name| taken(self.base, name).is_none());
        let names: BTreeSet<&String> = own.into_iter().chain(&self.supposed).collect();
        let shadows: BTreeSet<&String> = hidden.into_iter().chain(&self.facts.shadows).collect();
        self.catalog = if names.is_empty() && shadows.is_empty() {
            Cow::Borrowed(self.base)
        } else {
            Cow::Owned(overlay(self.base, &names, &shadows))
        };
        self.path = names::search_path(&self.facts, &self.catalog);
        self.makes_in = names::creation_schema(&self.facts, &self.catalog);
    }
}

fn does_not_exist(name: &str) -> String {
    format!("relation \"{name}\" does not exist")
}

/// The permanent relation, outside of the system catalogs, that has this name in any schema, the first of them by name.
pub(super) fn taken<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c Relation> {
    const OWN: &[&str] = &[SCHEMA, "pg_catalog", "information_schema"];
    catalog
        .schemas
        .iter()
        .filter(|schema| !OWN.contains(&schema.as_str()))
        .filter_map(|schema| Some((schema, catalog.relation(schema, name)?)))
        // Of several always the same: what is said does not depend on the process.
        .min_by_key(|(schema, _)| *schema)
        .map(|(_, relation)| &**relation)
}

/// ALTER of what a relation consists of. Renaming the relation itself would make a name the session's own.
fn alters(statement: &Node) -> bool {
    const COLUMN: i64 = ObjectType::ObjectColumn as i64;
    match statement.kind {
        "AlterTableStmt" => true,
        "RenameStmt" => statement.int("rename_type") == COLUMN,
        _ => false,
    }
}

/// Whether a foreign key in a table's definition is to a table of this name, of the session's own.
pub(in crate::sql) fn refers_to(table: &Node, name: &str) -> bool {
    let constraints = table.list("table_elts").iter().filter_map(Tree::node);
    let constraints = constraints.flat_map(|element| match element.kind {
        "Constraint" => vec![element],
        _ => element
            .list("constraints")
            .iter()
            .filter_map(Tree::node)
            .collect(),
    });
    constraints
        .filter_map(|constraint| constraint.child("pktable"))
        .any(|referred| {
            referred.text("relname") == name && ["", SCHEMA].contains(&referred.text("schemaname"))
        })
}

/// The catalog with relations of the session's own, whose columns are not known, and the row types of these and of others
/// that are there and not read: by a bare name such a type is found before PostgreSQL's own (`LookupTypeNameExtended`
/// in `src/backend/parser/parse_type.c`).
fn overlay(base: &Catalog, names: &BTreeSet<&String>, shadows: &BTreeSet<&String>) -> Catalog {
    let mut catalog = base.clone();
    catalog.schemas.insert(SCHEMA.to_owned());
    // Identifiers that the server does not give out soon; one that is taken is passed over.
    let mut free = (0..=Oid::MAX)
        .rev()
        .filter(|oid| !base.relations.contains_key(oid) && !base.types.contains_key(oid));
    for (name, oid) in names.union(shadows).zip(&mut free) {
        catalog.insert_type(
            oid,
            Type {
                schema: SCHEMA.to_owned(),
                name: (*name).clone(),
                kind: TypeKind::Composite,
                category: 'C',
                base: None,
                extension: None,
            },
        );
    }
    for (name, oid) in names.iter().zip(&mut free) {
        catalog.insert(Relation {
            oid,
            schema: SCHEMA.to_owned(),
            name: (*name).clone(),
            kind: RelationKind::Table,
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique: Vec::new(),
            parents: Vec::new(),
            sources: Vec::new(),
            extension: None,
        });
    }
    catalog
}

/// Puts the uses of a DROP where their names stand: the grammar keeps no places for them.
pub fn place(uses: &mut [Use], text: &str, tokens: &[Token]) {
    // DROP TABLE [IF EXISTS] name [, ...], DROP INDEX [CONCURRENTLY] [IF EXISTS] name [, ...], DROP MATERIALIZED VIEW: of the
    // words that may stand before the names CONCURRENTLY is reserved for functions and types, and IF is a name where EXISTS
    // does not follow.
    let is = |at: usize, word: &str| {
        tokens
            .get(at)
            .is_some_and(|token| token.is_word(text, word))
    };
    let mut at = 2;
    let has_two = is(1, "materialized") || is(1, "foreign");
    if has_two || is(1, "index") && is(at, "concurrently") {
        at += 1;
    }
    if is(at, "if") && is(at + 1, "exists") {
        at += 2;
    }
    for found in uses {
        let Some(token) = tokens.get(at) else {
            return;
        };
        found.at = token.span.start;
        while let Some(token) = tokens.get(at) {
            at += 1;
            if token.is(text, ",") {
                break;
            }
        }
    }
}

/// The name of a relation that is made in the session's temporary schema and nowhere else; `None` for every other.
pub(super) fn made(relation: &Node) -> Option<&str> {
    let schema = relation.text("schemaname");
    let temporary = match relation.text("relpersistence") {
        "t" => schema.is_empty() || schema == SCHEMA,
        _ => schema == SCHEMA,
    };
    (temporary && relation.text("catalogname").is_empty()).then(|| relation.text("relname"))
}
