//! Places of constants whose value no rule of the planner reads.
use crate::sql::tree::{Node, Tree};

/// `AEXPR_OP`, `AEXPR_IN`, and `AEXPR_BETWEEN` with its negation (nodes/parsenodes.h, as protobuf numbers them).
const OP: i64 = 1;
const IN: i64 = 7;
const BETWEEN: i64 = 11;
const NOT_BETWEEN: i64 = 12;
/// Operators whose operands are values and nothing else to the planner.
const COMPARISONS: &[&str] = &["=", "<>", "!=", "<", ">", "<=", ">="];
const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "||"];

/// Byte offsets of the constants of a statement that can be lifted out; of a negative number that of its sign.
pub(super) fn places(tree: &Tree) -> Vec<usize> {
    let mut places = Vec::new();
    let lifts = tree.node().is_some_and(|node| {
        matches!(
            node.kind,
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt"
        )
    });
    if lifts {
        each(tree, &mut places);
    }
    places
}

/// Looks for clauses of values in a tree of which nothing else is known.
fn each(tree: &Tree, places: &mut Vec<usize>) {
    match tree {
        Tree::List(items) => items.iter().for_each(|item| each(item, places)),
        Tree::Node(node) => {
            for (field, value) in &node.fields {
                match (node.kind, *field) {
                    ("SelectStmt" | "UpdateStmt" | "DeleteStmt", "where_clause")
                    | ("JoinExpr", "quals") => condition(value, places),
                    ("SelectStmt", "values_lists") => rows(value, places),
                    ("UpdateStmt", "target_list") => assignments(value, places),
                    _ => each(value, places),
                }
            }
        }
        _ => {}
    }
}

fn condition(tree: &Tree, places: &mut Vec<usize>) {
    let Some(node) = tree.node() else {
        return;
    };
    match node.kind {
        "BoolExpr" => {
            let args = node.list("args");
            args.iter().for_each(|item| condition(item, places));
        }
        "AExpr" if compares(node) => {
            for side in ["lexpr", "rexpr"] {
                if let Some(side) = node.get(side) {
                    operand(side, places);
                }
            }
        }
        _ => each(tree, places),
    }
}

fn compares(node: &Node) -> bool {
    match node.int("kind") {
        OP | IN => is_one_of(node, COMPARISONS),
        BETWEEN | NOT_BETWEEN => true,
        _ => false,
    }
}

/// The operator is one of these, by its bare name.
fn is_one_of(node: &Node, operators: &[&str]) -> bool {
    match node.names("name").as_deref() {
        Some([name]) => operators.contains(name),
        _ => false,
    }
}

fn operand(tree: &Tree, places: &mut Vec<usize>) {
    match tree {
        // Of IN and BETWEEN.
        Tree::List(items) => items.iter().for_each(|item| operand(item, places)),
        Tree::Node(node) => match node.kind {
            "AConst" => places.extend(usize::try_from(node.location).ok()),
            "List" => each_item(node, places),
            "AExpr" if node.int("kind") == OP && is_one_of(node, ARITHMETIC) => {
                for side in ["lexpr", "rexpr"] {
                    if let Some(side) = node.get(side) {
                        operand(side, places);
                    }
                }
            }
            _ => each(tree, places),
        },
        _ => {}
    }
}

fn each_item(list: &Node, places: &mut Vec<usize>) {
    let items = list.list("items");
    items.iter().for_each(|item| operand(item, places));
}

/// The rows of VALUES.
fn rows(tree: &Tree, places: &mut Vec<usize>) {
    for row in tree.list() {
        match row {
            Tree::List(items) => items.iter().for_each(|item| operand(item, places)),
            Tree::Node(node) if node.kind == "List" => each_item(node, places),
            other => each(other, places),
        }
    }
}

/// The right sides of SET in UPDATE.
fn assignments(tree: &Tree, places: &mut Vec<usize>) {
    for item in tree.list() {
        match item.node().and_then(|item| item.get("val")) {
            Some(value) => operand(value, places),
            None => each(item, places),
        }
    }
}
