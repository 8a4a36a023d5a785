//! Row rules on the rows that a write leaves behind: what the role could not see it may not write, like a view's CHECK
//! OPTION.
//!
//! RETURNING sees a row as defaults and triggers have made it. A check goes into it that raises an error where the rule
//! does not hold; where the client asked for no rows, those that come of it are kept from it.
use std::collections::BTreeSet;

use crate::catalog::{AttNum, ColumnSource, Oid, Relation};
use crate::policy::compiled::{RowRule, RulePart};
use crate::sql::names::qualified;
use crate::sql::plan::{ROW_RULE, Refusal};
use crate::sql::refuse;
use crate::sql::template;
use crate::sql::tree::{Node, Tree};

use super::walk::Walk;
use super::{Change, Side};

/// The first PostgreSQL whose MERGE has RETURNING.
const MERGE_RETURNS: u32 = 170_000;

impl Walk<'_> {
    /// The check that the write needs, as SQL that is NULL or raises.
    pub(super) fn check(&self, node: &Node) -> Result<Option<String>, Refusal> {
        let (Some(target), Some(rule)) = (&self.target, self.target_rule()) else {
            return Ok(None);
        };
        let role = self.rules.role;
        let named = role
            .rows
            .get(&target.relation.oid)
            .map_or_else(BTreeSet::new, |rule| decides(&target.relation, rule));
        let writes = match node.kind {
            "InsertStmt" => true,
            "UpdateStmt" => assigns(node, &named),
            "MergeStmt" => node
                .list("merge_when_clauses")
                .iter()
                .filter_map(Tree::node)
                .any(|clause| inserts(clause) || assigns(clause, &named)),
            _ => false,
        };
        if !writes {
            return Ok(None);
        }
        if node.kind == "MergeStmt" && self.rules.catalog.server_version < MERGE_RETURNS {
            return Err(refuse::construct(
                "MERGE that inserts under a row rule, or changes what the rule is about,",
                "use INSERT ... ON CONFLICT or UPDATE; from PostgreSQL 17 on MERGE can be checked",
            ));
        }
        let open = target
            .relation
            .columns
            .iter()
            .find(|column| !role.denies(target.relation.oid, column.num))
            .ok_or_else(|| refuse::judge("a relation without an open column"))?;
        Ok(Some(format!(
            "(CASE WHEN {rule} THEN NULL ELSE {} END)",
            template::raising(ROW_RULE, &qualified(&target.alias, &open.name))
        )))
    }

    /// Notes the check on the client's side; takes it out of the statement on the side that runs.
    pub(super) fn returning_check(
        &mut self,
        node: &mut Node,
        anchor: usize,
    ) -> Result<Option<Check>, Refusal> {
        let Some(sql) = self.check(node)? else {
            return Ok(None);
        };
        let asked = node.get("returning_clause").is_some();
        if self.side == Side::Client {
            if !asked {
                self.hidden_rows |= self.inside_with == 0;
                self.changes.push(Change::Append {
                    at: anchor,
                    text: format!(" RETURNING {sql}"),
                });
                return Ok(None);
            }
            return Ok(Some(Check { sql, tree: None }));
        }
        let missing = || refuse::judge("a write leaves rows without regard to their row rule");
        let text = self
            .rules
            .templates
            .text(&template::condition(&sql))
            .ok_or_else(missing)?;
        let items = node
            .child("returning_clause")
            .ok_or_else(missing)?
            .list("exprs");
        let alone = match items {
            [item] => item
                .node()
                .and_then(|item| item.child("val"))
                .zip(template::clause(&text))
                .is_some_and(|(value, check)| value == check),
            _ => false,
        };
        if alone {
            self.hidden_rows |= self.inside_with == 0;
            node.remove("returning_clause");
            return Ok(None);
        }
        Ok(Some(Check {
            sql,
            tree: Some(text),
        }))
    }
}

/// The columns that decide what a rule says of a row: those that it names, and what these are made of, in the relation or in
/// the view that it is.
fn decides<'a>(relation: &'a Relation, rule: &'a RowRule) -> BTreeSet<&'a str> {
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let mut cells: BTreeSet<(Oid, AttNum)> = BTreeSet::new();
    for part in &rule.parts {
        let RulePart::Column(name) = part else {
            continue;
        };
        named.insert(name);
        let at = relation
            .columns
            .iter()
            .position(|found| *found.name == **name);
        match at.and_then(|at| relation.sources.get(at)) {
            Some(ColumnSource::Computed { from }) => cells.extend(from.iter().copied()),
            Some(ColumnSource::Same { relation, column }) => {
                cells.insert((*relation, *column));
            }
            Some(ColumnSource::Unknown) | None => {}
        }
        let num = relation.column(name).map(|column| column.num);
        let stored = num.map_or_else(Vec::new, |num| relation.stored(&[num]));
        named.extend(stored.iter().filter_map(|num| {
            let column = relation.column_number(*num)?;
            Some(column.name.as_str())
        }));
    }
    for (column, source) in relation.columns.iter().zip(&relation.sources) {
        if let ColumnSource::Same {
            relation,
            column: num,
        } = source
            && cells.contains(&(*relation, *num))
        {
            named.insert(&column.name);
        }
    }
    named
}

/// A check that stands around an output column.
pub(super) struct Check {
    sql: String,
    tree: Option<std::sync::Arc<Tree>>,
}

impl Check {
    /// The text around an output column. A column keeps its type and modifier, given as SQL.
    pub fn around(&self, data_type: Option<&str>) -> (String, String) {
        let otherwise = data_type.map_or(String::new(), |name| format!(" ELSE NULL::{name}"));
        (
            format!(" CASE WHEN {} IS NULL THEN ", self.sql),
            format!("{otherwise} END"),
        )
    }

    /// Takes the check off an output column's value; whether it was there.
    pub fn take_off(&self, item: &mut Node) -> bool {
        let Some(check) = self.tree.as_deref().and_then(template::clause) else {
            return false;
        };
        let Some(value) = item.get_mut("val").and_then(Tree::node_mut) else {
            return false;
        };
        if value.kind != "CaseExpr" || value.get("arg").is_some() {
            return false;
        }
        let result = {
            let [when] = value.list("args") else {
                return false;
            };
            let Some(when) = when.node() else {
                return false;
            };
            let held = when.child("expr").is_some_and(|test| {
                test.kind == "NullTest"
                    && test.int("nulltesttype") == 1
                    && test.child("arg") == Some(check)
            });
            let null = value.child("defresult").is_none_or(|other| {
                other.kind == "TypeCast" && other.child("arg").is_some_and(|arg| arg.flag("isnull"))
            });
            if !held || !null {
                return false;
            }
            match value.get_mut("args") {
                Some(Tree::List(args)) => args
                    .first_mut()
                    .and_then(Tree::node_mut)
                    .and_then(|when| when.remove("result")),
                _ => None,
            }
        };
        let Some(result) = result else {
            return false;
        };
        item.set("val", result);
        true
    }
}

fn assigns(node: &Node, named: &BTreeSet<&str>) -> bool {
    node.list("target_list")
        .iter()
        .filter_map(Tree::node)
        .any(|item| named.contains(item.text("name")))
}

pub(super) fn inserts(clause: &Node) -> bool {
    const NOT_MATCHED_BY_TARGET: i64 = 3;
    clause.int("match_kind") == NOT_MATCHED_BY_TARGET
        && (clause.get("values").is_some() || clause.get("target_list").is_some())
}
