//! Conditions of a query that move into a template: lookups, and what keeps its index behind a fence.
//!
//! `lookup: exact` lets equality of a masked column with a constant or parameter run on the stored value. Such a condition
//! of WHERE is taken out of the query and put into the template, where the index serves it. Behind a fence, comparisons
//! of open columns with constants are put there too, and stay where they were.
use std::sync::Arc;

use crate::catalog::{Oid, Relation};
use crate::policy::compiled::RolePolicy;
use crate::sql::names::qualified as qualified_name;
use crate::sql::plan::Refusal;
use crate::sql::scope::Offer;
use crate::sql::tree::{Node, Tree};

use super::conditions::{
    Condition, FIELD, OR, Shape, compared, conjuncts, conjuncts_mut, qualified, truth, written,
};
use super::constants::Constants;
use super::walk::{Walk, offset};
use super::{Change, Side};

/// A comparison of a query's WHERE: the alias it is on, and its canonical node.
pub(super) type Comparison = (String, Node);

/// What stands in a template besides its own: lookups, and comparisons that the statement has, too.
pub(super) type Inside = (Vec<Tree>, Vec<Tree>);

/// A relation of FROM on which a condition of WHERE works as it would inside: not on the nullable side of a join.
struct Candidate {
    at: usize,
    alias: String,
    relation: Arc<Relation>,
    conditions: Vec<(Condition, Node)>,
}

impl Walk<'_> {
    /// Finds the conditions of a query's WHERE and notes them at the relations of its FROM. Lookups are replaced by TRUE.
    pub(super) fn conditions(&mut self, query: &mut Node) -> Result<(), Refusal> {
        let role = self.rules.role;
        if query.get("where_clause").is_none() {
            return Ok(());
        }
        if self.side == Side::Run {
            if !role.rows.is_empty() {
                self.comparisons = self.comparisons_of(query);
            }
            return Ok(());
        }
        let mut candidates = Vec::new();
        for item in query.list("from_clause").iter().filter_map(Tree::node) {
            self.candidates(item, &mut candidates);
        }
        if candidates.is_empty() {
            return Ok(());
        }
        let offer = self.reader().from(query.list("from_clause"));
        let constants = self.constants();
        if let Some(clause) = query.get_mut("where_clause") {
            for conjunct in conjuncts_mut(clause) {
                take(role, constants, &offer, &mut candidates, conjunct);
            }
        }
        for candidate in &mut candidates {
            for (_, node) in &mut candidate.conditions {
                self.children(node)?;
            }
        }
        if let Some(Tree::List(items)) = query.get_mut("from_clause") {
            for item in items.iter_mut().filter_map(Tree::node_mut) {
                attach(item, &mut candidates);
            }
        }
        for candidate in candidates {
            for (condition, _) in candidate.conditions {
                let found = (candidate.at, condition);
                // The grammar repeats the query that several columns are assigned from.
                if self.conditions.contains(&found) {
                    continue;
                }
                if found.1.moves {
                    let column = found.1.column.clone();
                    self.lookups.push((candidate.relation.oid, column));
                }
                self.conditions.push(found);
            }
        }
        Ok(())
    }

    /// The comparisons with constants in a query's WHERE, by which what stands behind a fence is checked.
    fn comparisons_of(&self, query: &Node) -> Vec<Comparison> {
        let offer = self.reader().from(query.list("from_clause"));
        let conjuncts = query.get("where_clause").map_or(Vec::new(), conjuncts);
        let located = conjuncts.into_iter().filter_map(|conjunct| {
            let (fields, _, mut node) = compared(conjunct)?;
            let (alias, (relation, column)) = located(&offer, &fields)?;
            let relation = self.rules.catalog.relations.get(&relation)?;
            let column = relation.column_number(column)?;
            node.set("column", Tree::Text(column.name.clone()));
            Some((alias, node))
        });
        located.collect()
    }

    fn candidates(&self, node: &Node, found: &mut Vec<Candidate>) {
        const INNER: i64 = 1;
        const LEFT: i64 = 2;
        const RIGHT: i64 = 4;
        match node.kind {
            "RangeVar" => {
                let bare = node.text("schemaname").is_empty();
                if bare && self.in_scope(node.text("relname")) {
                    return;
                }
                let role = self.rules.role;
                let Ok(relation) = self.resolve(node) else {
                    return;
                };
                let looked_up = role
                    .masks
                    .get(&relation.oid)
                    .is_some_and(|masks| masks.values().any(|mask| mask.lookup));
                if looked_up || role.rows.contains_key(&relation.oid) {
                    found.push(Candidate {
                        at: offset(node.location),
                        alias: node.goes_by().to_owned(),
                        relation,
                        conditions: Vec::new(),
                    });
                }
            }
            "JoinExpr" if node.get("alias").is_none() => {
                let sides: &[&str] = match node.int("jointype") {
                    INNER => &["larg", "rarg"],
                    LEFT => &["larg"],
                    RIGHT => &["rarg"],
                    _ => &[],
                };
                for side in sides.iter().filter_map(|side| node.child(side)) {
                    self.candidates(side, found);
                }
            }
            _ => {}
        }
    }

    /// The conditions in a template's WHERE, in the canonical form; `None` where one is none of those allowed there.
    pub(super) fn template_conditions(
        &mut self,
        relation: &Relation,
        conditions: Vec<Tree>,
    ) -> Result<Option<Inside>, Refusal> {
        let role = self.rules.role;
        let mut lookups = Vec::new();
        let mut repeats = Vec::new();
        for mut tree in conditions {
            let Some((column, mut node)) = tree.node_mut().and_then(written) else {
                return Ok(None);
            };
            let Some(found) = relation.column(&column) else {
                return Ok(None);
            };
            if role.denies(relation.oid, found.num) {
                return Ok(None);
            }
            let constants = self.constants();
            if !constants.harmless(relation, found, node.list("values")) {
                return Ok(None);
            }
            let exact = constants.exact(found, node.list("values"));
            self.children(&mut node)?;
            match role.mask(relation.oid, found.num) {
                Some(mask) if mask.lookup && exact && node.text("operator") == "=" => {
                    lookups.push(Tree::Node(node));
                }
                Some(_) => return Ok(None),
                None => repeats.push(Tree::Node(node)),
            }
        }
        Ok(Some((lookups, repeats)))
    }

    /// A condition of WHERE over a column of the write's target that is looked up: it holds if the stored value or its
    /// mask is equal, so that a lock on what a form showed still finds its row.
    pub(super) fn target_conditions(&mut self, clause: &mut Tree) -> Result<(), Refusal> {
        let role = self.rules.role;
        for conjunct in conjuncts_mut(clause) {
            let Some(target) = &self.target else {
                return Ok(());
            };
            let lookup = |name: &str| target.mask(role, name).is_some_and(|(_, mask)| mask.lookup);
            let constants = self.constants();
            let exact = |name: &str, compared: &Node| {
                let values = compared.list("values");
                let column = target.relation.column(name);
                column.is_some_and(|column| {
                    constants.exact(column, values)
                        && constants.harmless(&target.relation, column, values)
                })
            };
            match self.side {
                Side::Client => {
                    let Some((fields, condition, node)) = compared(conjunct) else {
                        continue;
                    };
                    let Some((qualifier, name)) = target.refers(&fields).filter(|(_, name)| {
                        condition.operator == "=" && lookup(name) && exact(name, &node)
                    }) else {
                        continue;
                    };
                    let Some(masked) = target.masked(role, &qualifier, name) else {
                        continue;
                    };
                    let place = match condition.shape {
                        Shape::Right => "rexpr",
                        _ => "lexpr",
                    };
                    let column = conjunct.node().and_then(|node| node.child(place));
                    self.placed.extend(column.map(|node| offset(node.location)));
                    let name = name.to_owned();
                    let found = (target.relation.oid, name.clone());
                    self.changes.push(Change::Lookup {
                        reference: qualified_name(&qualifier, &name),
                        condition: Condition {
                            column: name,
                            ..condition
                        },
                        masked,
                    });
                    self.lookups.push(found);
                }
                Side::Run => {
                    let Some(node) = conjunct.node_mut().filter(|node| {
                        node.kind == "BoolExpr"
                            && node.int("boolop") == OR
                            && node.list("args").len() == 2
                    }) else {
                        continue;
                    };
                    let Some(Tree::List(args)) = node.get_mut("args") else {
                        continue;
                    };
                    let stored = args
                        .first_mut()
                        .and_then(Tree::node_mut)
                        .and_then(|node| qualified(node, &target.alias));
                    let Some(stored) = stored.filter(|stored| {
                        let name = stored.text("column");
                        stored.text("operator") == "=" && lookup(name) && exact(name, stored)
                    }) else {
                        continue;
                    };
                    if let Some(shown) = args
                        .pop()
                        .filter(|shown| target.compared_mask(shown).as_ref() == Some(&stored))
                    {
                        *conjunct = shown;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Takes a conjunct that is a condition on one of the candidates.
fn take(
    role: &RolePolicy,
    constants: Constants<'_>,
    offer: &Offer,
    candidates: &mut [Candidate],
    conjunct: &mut Tree,
) {
    let Some((fields, condition, node)) = compared(conjunct) else {
        return;
    };
    let Some((alias, origin)) = located(offer, &fields) else {
        return;
    };
    let Some(candidate) = candidates
        .iter_mut()
        .find(|candidate| candidate.alias == alias && candidate.relation.oid == origin.0)
    else {
        return;
    };
    let Some(column) = candidate.relation.column_number(origin.1) else {
        return;
    };
    let values = node.list("values");
    if !constants.harmless(&candidate.relation, column, values) {
        return;
    }
    let moves = match role.mask(origin.0, origin.1) {
        Some(mask) => {
            if !mask.lookup || condition.operator != "=" || !constants.exact(column, values) {
                return;
            }
            true
        }
        // Only behind a fence, and only there is it of use.
        None if role.rows.contains_key(&origin.0) && !role.denies(origin.0, origin.1) => false,
        None => return,
    };
    let condition = Condition {
        column: column.name.clone(),
        moves,
        ..condition
    };
    let mut node = node;
    node.set("column", Tree::Text(column.name.clone()));
    candidate.conditions.push((condition, node));
    if moves {
        *conjunct = truth();
    }
}

/// The relation and column that a reference means, if that can be told.
fn located(offer: &Offer, fields: &[String]) -> Option<(String, (Oid, i16))> {
    match fields {
        [alias, name] => {
            let columns = offer.item(alias)?.columns.as_deref()?;
            let column = columns.iter().find(|column| column.name == *name)?;
            Some((alias.clone(), column.origin?))
        }
        [name] => {
            let mut found = None;
            for item in &offer.items {
                let columns = item.columns.as_deref()?;
                if let Some(column) = columns.iter().find(|column| column.name == *name) {
                    if found.is_some() {
                        return None;
                    }
                    found = Some((item.alias.clone(), column.origin?));
                }
            }
            found
        }
        _ => None,
    }
}

/// Puts each candidate's conditions on its node in FROM.
fn attach(node: &mut Node, candidates: &mut [Candidate]) {
    match node.kind {
        "RangeVar" => {
            let alias = node.goes_by().to_owned();
            let found = candidates
                .iter_mut()
                .find(|candidate| candidate.alias == alias);
            if let Some(candidate) = found.filter(|found| !found.conditions.is_empty()) {
                let nodes: Vec<Tree> = candidate
                    .conditions
                    .iter_mut()
                    .filter(|(condition, _)| condition.moves)
                    .map(|(_, node)| Tree::Node(std::mem::replace(node, Node::new("", Vec::new()))))
                    .collect();
                if !nodes.is_empty() {
                    node.set(FIELD, Tree::List(nodes));
                }
            }
        }
        "JoinExpr" => {
            for side in ["larg", "rarg"] {
                if let Some(side) = node.get_mut(side).and_then(Tree::node_mut) {
                    attach(side, candidates);
                }
            }
        }
        _ => {}
    }
}
