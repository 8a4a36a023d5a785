//! Statements of unrestricted roles: their text is read for the record, best effort, and passes as it is.
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::policy::compiled::RolePolicy;

use super::columns;
use super::judge;
use super::lex;
use super::normalise;
use super::parse::{self, Statement};
use super::plan::{Effect, Plan, PositionMap, StatementPlan};
use super::temporary::Circumstances;
use super::tree::{Node, Tree};

/// The plan of a text that passes whatever it holds.
pub fn plan(
    text: &str,
    catalog: &Catalog,
    role: &RolePolicy,
    circumstances: &Circumstances<'_>,
) -> Plan {
    let path = circumstances.path().to_vec();
    let path = path.as_slice();
    let tokens = lex::tokens(text).ok();
    let parsed = tokens
        .as_ref()
        .and_then(|_| parse::parse_as(text, catalog.server_version).ok());
    let statements = match (tokens, parsed) {
        (Some(tokens), Some(parsed)) => parsed
            .into_iter()
            .map(|statement| {
                let own: Vec<_> = tokens
                    .iter()
                    .filter(|token| {
                        token.span.start >= statement.span.0 && token.span.start < statement.span.1
                    })
                    .cloned()
                    .collect();
                let names = circumstances.catalog();
                let used = columns::used(&statement.tree, names, role, path);
                let mut plan =
                    observed(normalise::normalised(text, &own), statement, catalog, path);
                plan.columns = Arc::new(used);
                plan.protected = reads_protected(&plan, catalog, role);
                plan
            })
            .collect(),
        (Some(tokens), None) => vec![unread(normalise::normalised(text, &tokens), text.len())],
        _ => vec![unread("<not readable>".to_owned(), text.len())],
    };
    Plan::new(statements, None, PositionMap::default())
}

/// Whether rows of a result hold classified data, by the names that were read and written.
fn reads_protected(plan: &StatementPlan, catalog: &Catalog, role: &RolePolicy) -> bool {
    plan.reads.iter().chain(&plan.writes).any(|name| {
        name.split_once('.')
            .and_then(|(schema, name)| catalog.relation(schema, name))
            .is_some_and(|relation| role.protected.contains(&relation.oid))
    })
}

fn unread(normalised: String, len: usize) -> StatementPlan {
    StatementPlan::passing("this statement", normalise::recorded(normalised), (0, len))
}

fn observed(
    normalised: String,
    statement: Statement,
    catalog: &Catalog,
    path: &[String],
) -> StatementPlan {
    let kind = judge::statement_kind(&statement.tree);
    let mut plan = StatementPlan::passing(kind, normalise::recorded(normalised), statement.span);
    if let Some(node) = statement.tree.node() {
        plan.effects = effects(node);
    }
    named(&statement.tree, catalog, path, &mut plan);
    plan
}

/// Adds the relations that a statement names to what it reads and writes.
pub(super) fn named(tree: &Tree, catalog: &Catalog, path: &[String], plan: &mut StatementPlan) {
    let mut ctes = Vec::new();
    if let Some(node) = tree.node() {
        names_of_ctes(node, &mut ctes);
        relations(node, &ctes, catalog, path, plan);
        if node.kind == "DropStmt" {
            dropped(node, catalog, path, plan);
        }
    }
}

/// DROP gives names as lists of their parts, of whatever there is to be dropped.
fn dropped(node: &Node, catalog: &Catalog, path: &[String], plan: &mut StatementPlan) {
    for object in node.list("objects") {
        let parts = object.items().unwrap_or_default().iter();
        let parts: Vec<&str> = parts.filter_map(Tree::string).collect();
        let relation = match parts.as_slice() {
            [name] => catalog.resolve(path, name),
            [.., schema, name] => catalog.relation(schema, name),
            [] => None,
        };
        if let Some(relation) = relation {
            add(&mut plan.writes, relation.full_name());
        }
    }
}

/// What pgveil must follow in any session: who prepares and fetches what, and DDL.
fn effects(node: &Node) -> Vec<Effect> {
    let name = |field: &str| node.text(field).to_owned();
    let optional = |field: &str| Some(name(field)).filter(|name| !name.is_empty());
    match node.kind {
        "PrepareStmt" => vec![Effect::Prepare(name("name"))],
        "ExecuteStmt" => vec![Effect::Execute(name("name"))],
        "DeallocateStmt" => vec![Effect::Deallocate(optional("name"))],
        "DeclareCursorStmt" => vec![Effect::declares(node)],
        "FetchStmt" => vec![Effect::Fetch(name("portalname"))],
        "ClosePortalStmt" => vec![Effect::CloseCursor(optional("portalname"))],
        "CopyStmt" => Effect::of_copy(node).into_iter().collect(),
        "TransactionStmt" => Effect::of_transaction(node).into_iter().collect(),
        "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt"
        | "VariableSetStmt" | "VariableShowStmt" | "ExplainStmt" | "LockStmt" | "ListenStmt"
        | "UnlistenStmt" | "NotifyStmt" | "VacuumStmt" | "TruncateStmt" | "CheckPointStmt"
        | "ConstraintsSetStmt" | "DiscardStmt" => Vec::new(),
        _ => vec![Effect::SchemaChanged],
    }
}

fn names_of_ctes(node: &Node, names: &mut Vec<String>) {
    if node.kind == "CommonTableExpr" {
        names.push(node.text("ctename").to_owned());
    }
    node.each(&mut |child| names_of_ctes(child, names));
}

fn relations(
    node: &Node,
    ctes: &[String],
    catalog: &Catalog,
    path: &[String],
    plan: &mut StatementPlan,
) {
    let writes = matches!(
        node.kind,
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt"
    ) || (node.kind == "CopyStmt" && node.flag("is_from"));
    let target = node.child("relation").filter(|_| writes);
    if let Some(name) = target.and_then(|target| relation_name(target, &[], catalog, path)) {
        add(&mut plan.writes, name);
    }
    if node.kind == "RangeVar"
        && let Some(name) = relation_name(node, ctes, catalog, path)
    {
        add(&mut plan.reads, name);
    }
    node.each(&mut |child| {
        if target.is_none_or(|target| !std::ptr::eq(target, child)) {
            relations(child, ctes, catalog, path, plan);
        }
    });
}

fn relation_name(
    node: &Node,
    ctes: &[String],
    catalog: &Catalog,
    path: &[String],
) -> Option<String> {
    let (schema, name) = (node.text("schemaname"), node.text("relname"));
    if !schema.is_empty() {
        return Some(format!("{schema}.{name}"));
    }
    if ctes.iter().any(|cte| cte == name) {
        return None;
    }
    Some(match catalog.resolve(path, name) {
        Some(relation) => relation.full_name(),
        None => name.to_owned(),
    })
}

fn add(list: &mut Vec<String>, name: String) {
    if !list.contains(&name) {
        list.push(name);
    }
}
