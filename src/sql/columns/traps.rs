//! Honeytoken rows that a statement may touch: by the columns that hold the values which name them.
use std::sync::Arc;

use crate::policy::trap::Trap;
use crate::sql::tree::{Node, Tree};

/// What a statement does with the columns of a trap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrapUse {
    pub trap: Arc<Trap>,
    /// Their values reach the result: its rows are to be looked at.
    pub shown: bool,
    /// Rows are found by them: parameters are to be looked at.
    pub sought: bool,
    /// ... and a constant of the statement is one of the trap's values.
    pub named: bool,
}

impl TrapUse {
    pub(super) fn add(uses: &mut Vec<TrapUse>, trap: &Arc<Trap>, shown: bool, sought: bool) {
        if !shown && !sought {
            return;
        }
        match uses.iter_mut().find(|known| known.trap.name == trap.name) {
            Some(known) => {
                known.shown |= shown;
                known.sought |= sought;
            }
            None => uses.push(TrapUse {
                trap: Arc::clone(trap),
                shown,
                sought,
                named: false,
            }),
        }
    }
}

/// Looks for the values among the constants of the statement, wherever they stand in it: what the constant is compared
/// with need not be understood for that.
pub fn named(uses: Arc<[TrapUse]>, tree: &Tree) -> Arc<[TrapUse]> {
    if !uses.iter().any(|known| known.sought) {
        return uses;
    }
    let mut uses = uses.to_vec();
    constants(tree, &mut |text| {
        for known in uses.iter_mut().filter(|known| known.sought) {
            known.named |= known.trap.is(text);
        }
    });
    uses.into()
}

fn constants(tree: &Tree, take: &mut dyn FnMut(&str)) {
    match tree {
        Tree::Node(node) if node.kind == "AConst" => {
            if let Some(text) = node.child("val").and_then(constant) {
                take(&text);
            }
        }
        Tree::Node(node) => {
            for (_, value) in &node.fields {
                constants(value, take);
            }
        }
        Tree::List(items) => items.iter().for_each(|item| constants(item, take)),
        Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => {}
    }
}

/// A string, or a number as it is written; beyond 32 bits it is one with `fval`.
fn constant(value: &Node) -> Option<String> {
    match value.kind {
        "String" => Some(value.text("sval").to_owned()),
        "Integer" => Some(value.int("ival").to_string()),
        "Float" => Some(value.text("fval").to_owned()),
        _ => None,
    }
}
