//! Rules of the rewrite system (CREATE RULE). What a write does besides or instead of what it says stands in its text
//! nowhere: a rule's SELECT sends rows to the client, its RETURNING takes them from anywhere, its condition tells by the
//! number of rows what it has found (`fireRIRrules` and `fireRules` in `src/backend/rewrite/rewriteHandler.c`).
//!
//! So a rule is judged as though the role had sent its actions. They take part as they are: a rule that would have to be
//! masked refuses the write.
use std::collections::HashSet;

use crate::catalog::{Oid, Relation, RewriteRule, RuleEvent};
use crate::sql::functions::safe_extension;
use crate::sql::plan::Refusal;
use crate::sql::tree::{Node, Tree};
use crate::sql::{lex, parse, refuse};

use super::walk::{Walk, at};
use super::{Access, Parameters, Rules, Side};

/// A relation that is written to, and how. `None`: MERGE, or through a view, in any way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Written {
    pub relation: Oid,
    pub event: Option<RuleEvent>,
    pub location: i32,
}

impl Written {
    pub fn by(statement: &Node, relation: Oid, location: i32) -> Self {
        let event = match statement.kind {
            "InsertStmt" => Some(RuleEvent::Insert),
            "UpdateStmt" => Some(RuleEvent::Update),
            "DeleteStmt" => Some(RuleEvent::Delete),
            _ => None,
        };
        Written {
            relation,
            event,
            location,
        }
    }
}

/// Judges the rules that the writes bring about, and those that these bring about.
///
/// # Errors
/// One of them does what the role may not, or reaches a protected relation.
pub(super) fn check(rules: &Rules<'_>, written: Vec<Written>) -> Result<(), Refusal> {
    if rules.catalog.rewrite_rules.is_empty() {
        return Ok(());
    }
    let mut met = HashSet::new();
    let mut written = written;
    while let Some(write) = written.pop() {
        if !met.insert((write.relation, write.event)) {
            continue;
        }
        let Some(relation) = rules.catalog.relations.get(&write.relation) else {
            continue;
        };
        let found = rules.catalog.rewrite_rules.get(&write.relation);
        for rule in found.into_iter().flatten() {
            let fires = write.event.is_none_or(|event| event == rule.event);
            if fires {
                let further = judged(rules, relation, rule).map_err(|why| {
                    at(
                        refuse::rule(&rule.name, &relation.full_name(), &why),
                        write.location,
                    )
                })?;
                let here = |(relation, event)| Written {
                    relation,
                    event,
                    location: write.location,
                };
                written.extend(further.into_iter().map(here));
            }
        }
        // What is written to a view goes on to a relation that it reads.
        let reads = rules.catalog.view_reads.get(&write.relation);
        for base in reads.into_iter().flat_map(|reads| &reads.relations) {
            written.push(Written {
                relation: *base,
                ..write
            });
        }
    }
    Ok(())
}

/// What the rule writes to in its turn; or why it may not take part.
fn judged(
    rules: &Rules<'_>,
    relation: &Relation,
    rule: &RewriteRule,
) -> Result<Vec<(Oid, Option<RuleEvent>)>, String> {
    let mut node = definition(rule).ok_or("its definition could not be read")?;
    let actions = match node.remove("actions") {
        Some(Tree::List(actions)) => actions,
        _ => Vec::new(),
    };
    let condition = node.remove("where_clause");
    if actions.is_empty() && condition.is_none() {
        return Ok(Vec::new());
    }
    let guarded = |oid| rules.role.substitutes(oid) || rules.role.protected.contains(&oid);
    if guarded(relation.oid) {
        return Err("the rows it is about are protected".to_owned());
    }
    // Some operators are called without being named.
    let calls = rule.calls.iter().find(|call| {
        !safe_extension(call.extension.as_deref()) && !rules.role.functions.contains(&call.name)
    });
    if let Some(call) = calls {
        return Err(format!(
            "it calls {}, which is not on the allowlist",
            call.name
        ));
    }
    // As pg_get_ruledef writes it: only PostgreSQL's own names stand without a schema.
    let path = ["pg_catalog".to_owned()];
    let rules = Rules {
        path: &path,
        ..*rules
    };
    // A rule has no parameters.
    let parameters = Parameters::default();
    let mut written = Vec::new();
    let condition = condition
        .map(|condition| Tree::Node(Node::new("SelectStmt", vec![("where_clause", condition)])));
    for mut action in actions.into_iter().chain(condition) {
        let mut walk = Walk::new(&rules, Side::Client, &parameters);
        for row in ["new", "old"] {
            walk.rows.relation(row, relation.oid);
        }
        let judged = walk
            .statement(&mut action)
            .and_then(|_| walk.fields_are_columns());
        judged.map_err(|refusal| refusal.message)?;
        if let Some(found) = walk.uses.iter().find(|found| guarded(found.relation)) {
            let name = rules.catalog.relations.get(&found.relation);
            let name = name.map_or_else(String::new, |relation| relation.full_name());
            let verb = match found.access {
                Access::Write => "writes to",
                Access::Read | Access::Lock => "reads",
            };
            return Err(format!("it {verb} {name}"));
        }
        if let Some(why) = walk.tied.first() {
            return Err(format!("it may change {why}"));
        }
        written.extend(
            walk.written
                .iter()
                .map(|write| (write.relation, write.event)),
        );
    }
    Ok(written)
}

fn definition(rule: &RewriteRule) -> Option<Node> {
    lex::tokens(&rule.definition).ok()?;
    let mut statements = parse::parse(&rule.definition).ok()?;
    match statements.pop()?.tree {
        Tree::Node(node) if node.kind == "RuleStmt" && statements.is_empty() => Some(node),
        _ => None,
    }
}
