//! Keys under other names: what a condition of the query holds against a column of a key (`JOIN numbers p ON p.n = t.id`)
//! tells rows apart as that column does.
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::super::FROM;
use super::super::levels::{Level, Way};
use super::{Choices, Named};
use crate::sql::tree::{Node, Tree};

/// A value of what does not count: a column of a relation, or an expression, by where it stands and the way to it.
pub(super) type Other = (usize, Way, String);

/// `AND_EXPR` as `pg_query` numbers it.
const AND: i64 = 1;

/// Values that are held against each other, with the keys that are among them.
type Held = Rc<Vec<Named>>;

/// What conditions hold against each other, by query.
#[derive(Default)]
pub(super) struct Ties {
    known: RefCell<HashMap<(usize, Way), Held>>,
    /// They are not asked for.
    left_out: Cell<bool>,
}

impl Ties {
    /// Whether they were left out before.
    pub fn leave_out(&self, leave: bool) -> bool {
        self.left_out.replace(leave)
    }
}

/// A node for as long as its statement is looked at.
pub(super) fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

pub(super) fn of_value(value: &Node) -> Other {
    (address(value), 0, String::new())
}

impl Choices<'_> {
    /// Adds the keys that values of what does not count stand for in a query.
    pub(super) fn tied<'t>(&self, level: &Rc<Level<'t>>, found: &mut Named) {
        if found.others.is_empty() || self.ties.left_out.get() {
            return;
        }
        let held = self.held(level);
        let mut met: BTreeSet<usize> = BTreeSet::new();
        let mut others = found.others.clone();
        // What is held against one of them is as good as it.
        loop {
            let next = held.iter().enumerate().find(|(at, condition)| {
                !met.contains(at) && condition.others.iter().any(|other| others.contains(other))
            });
            let Some((at, condition)) = next else {
                return;
            };
            met.insert(at);
            others.extend(condition.others.iter().cloned());
            found.a_row |= condition.a_row;
            found.add(condition);
        }
    }

    fn held<'t>(&self, level: &Rc<Level<'t>>) -> Held {
        let Some((query, way)) = level.query() else {
            return Held::default();
        };
        let place = (address(query), way);
        if let Some(known) = self.ties.known.borrow().get(&place) {
            return Rc::clone(known);
        }
        // Its own conditions name columns that it is asked for meanwhile.
        self.ties.known.borrow_mut().insert(place, Held::default());
        let left = self.left.replace(super::MOST_STEPS);
        let mut all = Vec::new();
        if let Some(condition) = query.get("where_clause") {
            self.conjuncts(condition, level, &mut all);
        }
        for items in FROM.iter().filter_map(|field| query.get(field)) {
            self.joins(items, level, &mut all);
        }
        self.left.set(left);
        let held = Rc::new(all);
        self.ties.known.borrow_mut().insert(place, Rc::clone(&held));
        held
    }

    fn joins<'t>(&self, tree: &'t Tree, level: &Rc<Level<'t>>, all: &mut Vec<Named>) {
        tree.each(&mut |node| {
            if node.kind != "JoinExpr" {
                return;
            }
            for side in ["larg", "rarg"].iter().filter_map(|side| node.get(side)) {
                self.joins(side, level, all);
            }
            if let Some(condition) = node.get("quals") {
                self.conjuncts(condition, level, all);
            }
            for name in node.list("using_clause").iter().filter_map(Tree::string) {
                let mut named = Named::default();
                self.come_from(level.columns_named(name, self.facts.columns), &mut named);
                all.push(named);
            }
        });
    }

    /// Each condition of those that hold together.
    fn conjuncts<'t>(&self, tree: &'t Tree, level: &Rc<Level<'t>>, all: &mut Vec<Named>) {
        let Some(node) = tree.node() else {
            return;
        };
        match node.kind {
            "BoolExpr" if node.int("boolop") == AND => {
                for condition in node.list("args") {
                    self.conjuncts(condition, level, all);
                }
            }
            _ => {
                let mut named = self.named(node, level);
                // What a subquery says is no key.
                named.asks = false;
                if !named.others.is_empty() {
                    all.push(named);
                }
            }
        }
    }
}
