//! Row rules on the rows that a write finds.
//!
//! The rule goes into WHERE (ON in MERGE). Beside plain comparisons it is one more conjunct; where the client's condition
//! could raise an error over a hidden row, CASE keeps it from being evaluated before the rule, and the client's plain
//! comparisons of the target with constants stand before the CASE once more, for their indexes.
use crate::sql::names::{qualified as qualified_name, quoted};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::template;
use crate::sql::tree::{Node, Tree};

use super::conditions::{compared, conjuncts, qualified, start};
use super::quals;
use super::walk::{Walk, offset};
use super::{Change, Condition, Side};

const AND: i64 = 1;

/// How the rule stands with the client's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Conjunct,
    Case,
}

impl Walk<'_> {
    /// Walks the condition under `field` with the target's row rule in it. `anchor` is a place in the statement behind
    /// which WHERE goes if there is none.
    pub(super) fn guarded_condition(
        &mut self,
        node: &mut Node,
        field: &'static str,
        anchor: usize,
    ) -> Result<(), Refusal> {
        let Some(rule) = self.target_rule() else {
            return self.condition(node, field);
        };
        match self.side {
            Side::Client => {
                // The place and the comparisons, before references take their canonical form.
                let place = node.get(field).and_then(start);
                let repeats = node
                    .get(field)
                    .map_or(Vec::new(), |clause| self.target_comparisons(clause));
                self.condition(node, field)?;
                let case = node
                    .get(field)
                    .is_some_and(|clause| !quals::is_plain(clause));
                self.changes.push(Change::Guard {
                    at: place.map_or(anchor, offset),
                    word: if field == "join_condition" {
                        "on"
                    } else {
                        "where"
                    },
                    present: node.get(field).is_some(),
                    rule,
                    repeats: if case { repeats } else { Vec::new() },
                    case,
                });
                Ok(())
            }
            Side::Run => {
                let missing =
                    || refuse::judge("a write finds rows without regard to their row rule");
                let text = self.rules.templates.text(&template::condition(&rule));
                let rule = text
                    .as_deref()
                    .and_then(template::clause)
                    .ok_or_else(missing)?;
                let clause = node.remove(field).ok_or_else(missing)?;
                let Some((own, form, repeats)) = without_rule(clause, rule) else {
                    return Err(missing());
                };
                let Some(own) = own else {
                    return Ok(());
                };
                let comparisons = match repeats.is_empty() {
                    true => Vec::new(),
                    false => self.run_comparisons(&own),
                };
                for mut repeat in repeats {
                    let alias = self.target.as_ref().map_or("", |target| &target.alias);
                    let found = repeat.node_mut().and_then(|node| qualified(node, alias));
                    if !found.is_some_and(|found| comparisons.contains(&found)) {
                        return Err(refuse::judge("a write has a condition of its own"));
                    }
                }
                node.set(field, own);
                self.condition(node, field)?;
                let plain = node.get(field).is_none_or(quals::is_plain);
                if plain != (form == Form::Conjunct) {
                    return Err(refuse::judge("a row rule stands in the wrong form"));
                }
                Ok(())
            }
        }
    }

    /// The client's own condition: lookups first, then all that is in it.
    fn condition(&mut self, node: &mut Node, field: &str) -> Result<(), Refusal> {
        if let Some(clause) = node.get_mut(field) {
            self.target_conditions(clause)?;
        }
        self.field(node, field)
    }

    /// The row rule of the target over its name.
    pub(super) fn target_rule(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        template::rule(
            self.rules.role,
            self.rules.values,
            target.relation.oid,
            &quoted(&target.alias),
        )
    }

    /// The client's comparisons of open columns of the target with constants.
    fn target_comparisons(&self, clause: &Tree) -> Vec<(String, Condition)> {
        let found = conjuncts(clause).into_iter().filter_map(|conjunct| {
            let (fields, condition, _) = compared(conjunct)?;
            let column = self.open_column(&fields)?;
            let alias = &self.target.as_ref()?.alias;
            Some((
                qualified_name(alias, &column),
                Condition {
                    column,
                    ..condition
                },
            ))
        });
        found.collect()
    }

    fn run_comparisons(&self, clause: &Tree) -> Vec<Node> {
        let found = conjuncts(clause).into_iter().filter_map(|conjunct| {
            let (fields, _, mut node) = compared(conjunct)?;
            node.set("column", Tree::Text(self.open_column(&fields)?));
            Some(node)
        });
        found.collect()
    }

    fn open_column(&self, fields: &[String]) -> Option<String> {
        let target = self.target.as_ref()?;
        let (qualifier, name) = target.refers(fields)?;
        let open = qualifier == target.alias
            && target.relation.column(name).is_some()
            && !target.guarded(self.rules.role, name);
        open.then(|| name.to_owned())
    }
}

/// The client's condition, the form in which the rule stood, and what stood before a CASE; `None` where the rule is not
/// there.
fn without_rule(clause: Tree, rule: &Node) -> Option<(Option<Tree>, Form, Vec<Tree>)> {
    if clause.node() == Some(rule) {
        return Some((None, Form::Conjunct, Vec::new()));
    }
    let Tree::Node(mut node) = clause else {
        return None;
    };
    if node.kind == "CaseExpr" {
        return Some((Some(guarded(node, rule)?), Form::Case, Vec::new()));
    }
    if node.kind != "BoolExpr" || node.int("boolop") != AND {
        return None;
    }
    let Some(Tree::List(args)) = node.get_mut("args") else {
        return None;
    };
    let last = args.pop()?;
    if last.node() == Some(rule) {
        let own = match args.len() {
            0 => None,
            1 => args.pop(),
            _ => Some(Tree::Node(node)),
        };
        return Some((own, Form::Conjunct, Vec::new()));
    }
    let repeats = std::mem::take(args);
    match last {
        Tree::Node(case) if case.kind == "CaseExpr" => {
            Some((Some(guarded(case, rule)?), Form::Case, repeats))
        }
        _ => None,
    }
}

/// The condition in `CASE WHEN rule THEN condition ELSE FALSE END`.
fn guarded(mut case: Node, rule: &Node) -> Option<Tree> {
    let no = case.child("defresult")?;
    let is_false = no.kind == "AConst"
        && no
            .child("val")
            .is_some_and(|value| value.kind == "Boolean" && !value.flag("boolval"));
    if case.get("arg").is_some() || !is_false {
        return None;
    }
    let Some(Tree::List(args)) = case.get_mut("args") else {
        return None;
    };
    let [Tree::Node(when)] = args.as_mut_slice() else {
        return None;
    };
    if when.child("expr") != Some(rule) {
        return None;
    }
    when.remove("result")
}
