//! Sums that may be longer than what is summed up: terms are moved to places of their own by factors. Of what is stored
//! nobody counts the digits.
use std::cell::Cell;
use std::rc::Rc;

use super::super::levels::{Has, Level, Origin};
use super::super::sums::is_truth;
use super::Reader;
use super::conditions::uncast;
use crate::sql::tree::{Node, Tree};

/// Expressions that one sum is followed through.
const MOST_STEPS: u32 = 4096;

struct Terms<'f> {
    has: Has<'f>,
    left: Cell<u32>,
    /// Values that are added to others.
    terms: Cell<u32>,
    /// Constants that values are multiplied by.
    factors: Cell<u32>,
    /// Products of columns, or more than is looked at.
    products: Cell<bool>,
}

impl<'t> Reader<'_, 't> {
    /// Whether an aggregate that adds up can give a long number where it is stored.
    pub(super) fn scales(&self, call: &'t Node) -> bool {
        if !self.storing {
            return false;
        }
        let terms = Terms {
            has: self.facts.columns,
            left: Cell::new(MOST_STEPS),
            terms: Cell::new(0),
            factors: Cell::new(0),
            products: Cell::new(false),
        };
        let arguments = call.get("args").unwrap_or(&Tree::Nothing);
        arguments.each(&mut |argument| terms.node(argument, &self.level));
        terms.products.get() || (terms.factors.get() > 0 && terms.terms.get() > 0)
    }
}

impl Terms<'_> {
    fn node<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) {
        let Some(left) = self.left.get().checked_sub(1) else {
            self.products.set(true);
            return;
        };
        self.left.set(left);
        let names = node.names("name").unwrap_or_default();
        match (node.kind, names.last()) {
            _ if is_truth(node) => return,
            ("ColumnRef", _) => {
                for origin in level.origins(node, self.has) {
                    match origin {
                        Origin::Made(value, inside) => self.node(value, &inside),
                        Origin::Unknown => self.products.set(true),
                        Origin::Stored(..) | Origin::Function(..) => {}
                    }
                }
            }
            ("CaseExpr", _) => {
                let results = node.list("args").iter().filter_map(Tree::node);
                let results = results.filter_map(|when| when.child("result"));
                let valued = results
                    .chain(node.child("defresult"))
                    .filter(|result| digits(result) != Some(0));
                for (at, result) in valued.enumerate() {
                    self.terms.set(self.terms.get() + u32::from(at > 0));
                    if digits(result).is_some_and(|digits| digits > 1) {
                        self.factors.set(self.factors.get() + 1);
                    }
                    self.node(result, level);
                }
                return;
            }
            ("AExpr", Some(&("+" | "-"))) => self.terms.set(self.terms.get() + 1),
            ("AExpr", Some(&("*" | "/"))) => {
                let sides = [node.child("lexpr"), node.child("rexpr")];
                let mut sides = sides.into_iter().flatten();
                match sides.clone().any(|side| is_truth(uncast(side))) {
                    true => {}
                    false
                        if sides.any(|side| matches!(uncast(side).kind, "AConst" | "ParamRef")) =>
                    {
                        self.factors.set(self.factors.get() + 1);
                    }
                    false => self.products.set(true),
                }
            }
            _ => {}
        }
        node.each(&mut |inner| self.node(inner, level));
    }
}

/// How long a constant is, at least: nothing, a digit, or more.
fn digits(node: &Node) -> Option<u8> {
    let constant = uncast(node);
    let value = match constant.kind {
        "AConst" => constant.child("val"),
        _ => return None,
    };
    Some(
        match value.map(|value| (value.kind, value.int("ival").abs())) {
            None | Some(("Integer", 0)) => 0,
            Some(("Integer", 1..10)) => 1,
            _ => 2,
        },
    )
}

/// Whether something is multiplied in an expression.
pub(super) fn multiplies(tree: &Tree) -> bool {
    tree.anywhere(&|node| {
        let names = node.names("name").unwrap_or_default();
        node.kind == "AExpr" && matches!(names.last(), Some(&("*" | "/" | "^")))
    })
}
