//! Row rules on the rows that a write finds.
//!
//! The rule goes into WHERE (ON in MERGE). Beside plain comparisons it is one more conjunct; where the client's condition
//! could raise an error over a hidden row, CASE keeps it from being evaluated before the rule, and the client's plain
//! comparisons of the target with constants stand before the CASE once more, for their indexes. What the write joins must not be
//! evaluated for hidden rows either: a rule that the planner would make a join of, and one that stands in such a CASE, is
//! put before it as a condition on the target alone ([`Form`]).
//!
//! What a condition is depends on names that the walk may not have met yet: the form is settled when it has met all.
use crate::catalog::{Oid, RelationKind};
use crate::sql::names::{qualified as qualified_name, quoted};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::template;
use crate::sql::tree::{Node, Tree};

use super::conditions::{compared, conjuncts, qualified, start, truth};
use super::constants::Constants;
use super::quals::Quals;
use super::walk::{Walk, offset};
use super::{Access, Change, Condition, Side};

const AND: i64 = 1;
/// The field of a write's node that says where its guard is, while the tree is walked.
const MARK: &str = "pgveil_guard";

/// How the rule stands with the client's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `condition AND rule`
    Conjunct,
    /// `condition AND CASE WHEN rule THEN TRUE ELSE FALSE END`: the planner makes no join of the rule.
    Apart,
    /// `CASE WHEN rule THEN condition ELSE FALSE END`
    Case,
    /// Both cases: relations are joined.
    CaseApart,
}

impl Form {
    fn of(plain: bool, joined: bool, reads: bool) -> Form {
        match (plain, joined) {
            (true, true) if reads => Form::Apart,
            (true, _) => Form::Conjunct,
            (false, false) => Form::Case,
            (false, true) => Form::CaseApart,
        }
    }
}

/// A row rule of a write, until its form is settled.
pub(super) struct Guarded {
    field: &'static str,
    /// The write joins the target with something.
    joined: bool,
    /// The rule reads relations.
    reads: bool,
    /// The change that writes it, or the form in which it stands.
    place: Place,
}

enum Place {
    Change(usize),
    Stands(Form),
}

impl<'a> Walk<'a> {
    /// What is known of the statement's constants.
    pub(super) fn constants(&self) -> Constants<'a> {
        Constants {
            catalog: self.rules.catalog,
            path: self.rules.path,
            parameters: self.parameters,
        }
    }
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
        let joined = match node.kind {
            "MergeStmt" => true,
            _ => ["from_clause", "using_clause"]
                .iter()
                .any(|field| !node.list(field).is_empty()),
        };
        let missing = || refuse::judge("a write finds rows without regard to their row rule");
        let text = self.rules.templates.text(&template::condition(&rule));
        let found = text
            .as_deref()
            .and_then(template::clause)
            .ok_or_else(missing)?;
        let reads = reads(found);
        let place = match self.side {
            Side::Client => {
                // The place and the comparisons, before references take their canonical form.
                let place = node.get(field).and_then(start);
                let repeats = node
                    .get(field)
                    .map_or(Vec::new(), |clause| self.target_comparisons(clause));
                self.condition(node, field)?;
                self.changes.push(Change::Guard {
                    at: place.map_or(anchor, offset),
                    word: if field == "join_condition" {
                        "on"
                    } else {
                        "where"
                    },
                    present: node.get(field).is_some(),
                    rule,
                    form: Form::Conjunct,
                    repeats,
                });
                Place::Change(self.changes.len() - 1)
            }
            Side::Run => {
                let clause = node.remove(field).ok_or_else(missing)?;
                let Some(Parts { own, form, repeats }) = without_rule(clause, found) else {
                    return Err(missing());
                };
                let comparisons = match (&own, repeats.is_empty()) {
                    (Some(own), false) => self.run_comparisons(own),
                    _ => Vec::new(),
                };
                for mut repeat in repeats {
                    let alias = self.target.as_ref().map_or("", |target| &target.alias);
                    let found = repeat.node_mut().and_then(|node| qualified(node, alias));
                    if !found.is_some_and(|found| comparisons.contains(&found)) {
                        return Err(refuse::judge("a write has a condition of its own"));
                    }
                }
                if let Some(own) = own {
                    node.set(field, own);
                    self.condition(node, field)?;
                }
                Place::Stands(form)
            }
        };
        node.set(
            MARK,
            Tree::Int(i64::try_from(self.guards.len()).unwrap_or(-1)),
        );
        self.guards.push(Guarded {
            field,
            joined,
            reads,
            place,
        });
        Ok(())
    }

    /// Settles the forms of row rules in the canonical tree, and says whether its conditions could tell about hidden rows.
    pub(super) fn settle(&mut self, tree: &mut Tree) -> Result<bool, Refusal> {
        let rows = &self.rules.role.rows;
        if !self
            .uses
            .iter()
            .any(|found| rows.contains_key(&found.relation))
        {
            return Ok(false);
        }
        let quals = Quals::read(self.constants(), tree);
        let mut forms = vec![None; self.guards.len()];
        forms_of(&quals, &self.guards, tree, &mut forms);
        let raises = quals.may_raise(tree) || (quals.may_raise_early(tree) && self.rules_join());
        unmark(tree);
        for (guard, form) in self.guards.iter().zip(forms) {
            let form = form.unwrap_or(Form::CaseApart);
            match guard.place {
                Place::Stands(stands) if stands != form => {
                    return Err(refuse::judge("a row rule stands in the wrong form"));
                }
                Place::Stands(_) => {}
                Place::Change(at) => {
                    if let Some(Change::Guard {
                        form: settled,
                        repeats,
                        ..
                    }) = self.changes.get_mut(at)
                    {
                        *settled = form;
                        if matches!(form, Form::Conjunct | Form::Apart) {
                            repeats.clear();
                        }
                    }
                }
            }
        }
        Ok(raises)
    }

    /// Whether rows are asked about by joins, of a row rule or of the view that has one.
    fn rules_join(&self) -> bool {
        let (role, catalog) = (self.rules.role, self.rules.catalog);
        let joins = |relation: Oid| {
            let Some(rule) = template::rule(role, self.rules.values, relation, "\"r\"") else {
                return false;
            };
            let text = self.rules.templates.text(&template::condition(&rule));
            let kind = catalog.relations.get(&relation).map(|found| found.kind);
            kind.is_none_or(|kind| kind == RelationKind::View)
                || text.as_deref().and_then(template::clause).is_none_or(reads)
        };
        let mut read = self
            .uses
            .iter()
            .filter(|found| found.access == Access::Read);
        read.any(|found| joins(found.relation))
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
            let (fields, condition, node) = compared(conjunct)?;
            let column = self.open_column(&fields, &node)?;
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
            let column = self.open_column(&fields, &node)?;
            node.set("column", Tree::Text(column));
            Some(node)
        });
        found.collect()
    }

    /// The column of the target that is compared with these constants, if it may be before the rule.
    fn open_column(&self, fields: &[String], compared: &Node) -> Option<String> {
        let target = self.target.as_ref()?;
        let (qualifier, name) = target.refers(fields)?;
        let column = target.relation.column(name)?;
        let open = qualifier == target.alias && !target.guarded(self.rules.role, name);
        let harmless = self
            .constants()
            .harmless(&target.relation, column, compared.list("values"));
        (open && harmless).then(|| name.to_owned())
    }
}

fn forms_of(quals: &Quals<'_>, guards: &[Guarded], tree: &Tree, forms: &mut [Option<Form>]) {
    match tree {
        Tree::List(items) => {
            let items = items.iter();
            items.for_each(|item| forms_of(quals, guards, item, forms));
        }
        Tree::Node(node) => {
            let at = match node.get(MARK) {
                Some(Tree::Int(at)) => usize::try_from(*at).ok(),
                _ => None,
            };
            if let Some((at, guard)) = at.and_then(|at| Some((at, guards.get(at)?))) {
                let plain = node
                    .get(guard.field)
                    .is_none_or(|clause| quals.is_plain(clause));
                if let Some(form) = forms.get_mut(at) {
                    *form = Some(Form::of(plain, guard.joined, guard.reads));
                }
            }
            let fields = node.fields.iter();
            fields.for_each(|(_, value)| forms_of(quals, guards, value, forms));
        }
        _ => {}
    }
}

fn unmark(tree: &mut Tree) {
    match tree {
        Tree::List(items) => items.iter_mut().for_each(unmark),
        Tree::Node(node) => {
            node.remove(MARK);
            let fields = node.fields.iter_mut();
            fields.for_each(|(_, value)| unmark(value));
        }
        _ => {}
    }
}

/// Whether a rule reads relations: the planner may make a join of it.
fn reads(rule: &Node) -> bool {
    fn within(tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(within),
            Tree::Node(node) => reads(node),
            _ => false,
        }
    }
    rule.kind == "SubLink" || rule.fields.iter().any(|(_, value)| within(value))
}

/// A write's condition, taken apart.
struct Parts {
    own: Option<Tree>,
    form: Form,
    /// What stands before a CASE.
    repeats: Vec<Tree>,
}

/// The client's condition and how the rule stood with it; `None` where the rule is not there.
fn without_rule(clause: Tree, rule: &Node) -> Option<Parts> {
    let alone = |form| Parts {
        own: None,
        form,
        repeats: Vec::new(),
    };
    if clause.node() == Some(rule) {
        return Some(alone(Form::Conjunct));
    }
    if is_apart(&clause, rule) {
        return Some(alone(Form::Apart));
    }
    let Tree::Node(mut node) = clause else {
        return None;
    };
    if node.kind == "CaseExpr" {
        return Some(Parts {
            own: Some(take_guarded(node, rule)?),
            ..alone(Form::Case)
        });
    }
    if node.kind != "BoolExpr" || node.int("boolop") != AND {
        return None;
    }
    let Some(Tree::List(args)) = node.get_mut("args") else {
        return None;
    };
    let last = args.pop()?;
    let beside = match last.node() == Some(rule) {
        true => Some(Form::Conjunct),
        false => is_apart(&last, rule).then_some(Form::Apart),
    };
    if let Some(form) = beside {
        let own = match args.len() {
            0 => None,
            1 => args.pop(),
            _ => Some(Tree::Node(node)),
        };
        return Some(Parts { own, ..alone(form) });
    }
    let mut repeats = std::mem::take(args);
    let form = match repeats.last().is_some_and(|arg| is_apart(arg, rule)) {
        true => {
            repeats.pop();
            Form::CaseApart
        }
        false => Form::Case,
    };
    match last {
        Tree::Node(case) if case.kind == "CaseExpr" => Some(Parts {
            own: Some(take_guarded(case, rule)?),
            form,
            repeats,
        }),
        _ => None,
    }
}

/// Whether it is `CASE WHEN rule THEN TRUE ELSE FALSE END`.
fn is_apart(tree: &Tree, rule: &Node) -> bool {
    let case = tree.node().filter(|node| node.kind == "CaseExpr");
    case.and_then(|case| guarded(case, rule)) == Some(&truth())
}

/// The condition in `CASE WHEN rule THEN condition ELSE FALSE END`.
fn guarded<'c>(case: &'c Node, rule: &Node) -> Option<&'c Tree> {
    let no = case.child("defresult")?;
    let is_false = no.kind == "AConst"
        && no
            .child("val")
            .is_some_and(|value| value.kind == "Boolean" && !value.flag("boolval"));
    let [Tree::Node(when)] = case.list("args") else {
        return None;
    };
    let is_it = case.get("arg").is_none() && is_false && when.child("expr") == Some(rule);
    when.get("result").filter(|_| is_it)
}

/// The same, taken out of it.
fn take_guarded(mut case: Node, rule: &Node) -> Option<Tree> {
    guarded(&case, rule)?;
    match case.get_mut("args") {
        Some(Tree::List(args)) => args.first_mut()?.node_mut()?.remove("result"),
        _ => None,
    }
}
