//! Whether a statement's own conditions could tell about rows that a row rule hides.
//!
//! PostgreSQL may evaluate a condition of the user before the row rule. One that can raise an error (a division, a cast)
//! would then betray hidden rows; comparisons of columns and constants by built-in operators cannot. What is not known to
//! be harmless counts as harmful: the relation then stands behind a fence.
use crate::sql::tree::{Node, Tree};

const COMPARISONS: &[&str] = &["=", "<>", "<", ">", "<=", ">="];
/// `AEXPR_OP`, `OP_ANY`, `OP_ALL`, `DISTINCT`, `NOT_DISTINCT`, `IN`, and the four kinds of BETWEEN.
const PLAIN_KINDS: &[i64] = &[1, 2, 3, 4, 5, 7, 11, 12, 13, 14];

/// Whether any condition in the tree, at any depth, is more than plain comparisons.
pub(super) fn may_raise(tree: &Tree) -> bool {
    match tree {
        Tree::List(items) => items.iter().any(may_raise),
        Tree::Node(node) => node_may_raise(node),
        _ => false,
    }
}

fn node_may_raise(node: &Node) -> bool {
    let conditions = [
        "where_clause",
        "having_clause",
        "quals",
        "join_condition",
        "condition",
    ];
    let harmful = conditions
        .iter()
        .filter_map(|field| node.get(field))
        .any(|condition| !is_plain(condition));
    // An expression of a subquery can become part of a condition around it.
    let computed = match node.kind {
        "RangeSubselect" => node.child("subquery").is_some_and(computes),
        "CommonTableExpr" => node.child("ctequery").is_some_and(computes),
        // A function that is given columns may be met before a row rule that is a join.
        "RangeFunction" | "RangeTableFunc" | "JsonTable" => {
            node.fields.iter().any(|(_, field)| holds_column(field))
        }
        _ => false,
    };
    harmful || computed || node.fields.iter().any(|(_, value)| may_raise(value))
}

/// Whether a query's output holds anything but columns and constants.
fn computes(query: &Node) -> bool {
    if query.kind != "SelectStmt" {
        return false;
    }
    let sides = ["larg", "rarg"];
    // A single row of VALUES is pulled up as a SELECT is.
    let rows = query.list("values_lists");
    sides
        .iter()
        .filter_map(|side| query.child(side))
        .any(computes)
        || !rows.iter().all(is_simple)
        || query
            .list("target_list")
            .iter()
            .filter_map(Tree::node)
            .any(|target| target.get("val").is_some_and(|value| !is_simple(value)))
}

pub(super) fn is_plain(condition: &Tree) -> bool {
    match condition {
        Tree::List(items) => items.iter().all(is_plain),
        Tree::Node(node) => match node.kind {
            "BoolExpr" => node.list("args").iter().all(is_plain),
            "AExpr" => is_comparison(node),
            "NullTest" | "BooleanTest" => node.get("arg").is_some_and(is_simple),
            "SubLink" => {
                let own = node.get("oper_name").is_none_or(|_| {
                    node.names("oper_name").is_some_and(
                        |names| matches!(names.as_slice(), [name] if COMPARISONS.contains(name)),
                    )
                });
                own && node.get("testexpr").is_none_or(is_simple)
                    && node
                        .child("subselect")
                        .is_some_and(|query| !computes(query))
            }
            _ => is_simple(condition),
        },
        _ => true,
    }
}

fn is_comparison(node: &Node) -> bool {
    let kind = node.int("kind");
    let operator = match node.names("name").as_deref() {
        Some([name]) => name.contains("BETWEEN") || COMPARISONS.contains(name),
        Some(["pg_catalog", name]) => COMPARISONS.contains(name),
        _ => false,
    };
    let sides = ["lexpr", "rexpr"];
    PLAIN_KINDS.contains(&kind)
        && operator
        && sides
            .iter()
            .filter_map(|side| node.get(side))
            .all(is_simple)
}

/// A column, a constant, or a list of such: nothing in it is computed from a stored value.
fn is_simple(tree: &Tree) -> bool {
    match tree {
        Tree::List(items) => items.iter().all(is_simple),
        Tree::Node(node) => match node.kind {
            "ColumnRef" | "AConst" | "ParamRef" | "SetToDefault" => true,
            "TypeCast" => node
                .get("arg")
                .is_some_and(|arg| is_simple(arg) && !holds_column(arg)),
            "AArrayExpr" => node.list("elements").iter().all(is_simple),
            "List" => node.list("items").iter().all(is_simple),
            "AExpr" => {
                node.get("lexpr").is_none()
                    && node.names("name").as_deref() == Some(&["-"])
                    && node
                        .get("rexpr")
                        .is_some_and(|arg| is_simple(arg) && !holds_column(arg))
            }
            _ => false,
        },
        _ => true,
    }
}

fn holds_column(tree: &Tree) -> bool {
    match tree {
        Tree::List(items) => items.iter().any(holds_column),
        Tree::Node(node) => {
            node.kind == "ColumnRef" || node.fields.iter().any(|(_, value)| holds_column(value))
        }
        _ => false,
    }
}
