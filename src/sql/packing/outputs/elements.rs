//! Elements of gathered arrays: which of them are of the same row.
use std::sync::Arc;

use super::super::calls;
use crate::sql::tree::{Node, Tree};

/// What says which row's value an element is: the element, and the order of the rows.
pub(super) fn key(array: &Node, steps: &[Tree]) -> Arc<str> {
    if array.kind != "FuncCall" || calls::name(array) != "array_agg" || array.flag("agg_distinct") {
        return Arc::default();
    }
    let order = ["agg_order", "agg_filter"];
    let order = order.iter().filter_map(|field| array.get(field));
    let steady = order.into_iter().all(is_steady) && steps.iter().all(is_constant);
    if !steady {
        return Arc::default();
    }
    let mut key = String::new();
    for step in steps {
        calls::write_out(step, &mut key);
    }
    for field in ["agg_order", "agg_filter", "over"] {
        calls::write_out(array.get(field).unwrap_or(&Tree::Nothing), &mut key);
    }
    key.into()
}

/// Functions that give the same for the same values.
const STEADY: [&str; 12] = [
    "lower",
    "upper",
    "length",
    "date_trunc",
    "date_part",
    "extract",
    "abs",
    "round",
    "trim",
    "btrim",
    "left",
    "substring",
];

/// What gives the same for a row each time that it is asked for.
fn is_steady(tree: &Tree) -> bool {
    match tree {
        Tree::List(items) => items.iter().all(is_steady),
        Tree::Node(node) => match node.kind {
            "FuncCall" => {
                STEADY.contains(&calls::name(node)) && node.fields.iter().all(|(_, f)| is_steady(f))
            }
            "SubLink" => false,
            "SortBy" | "AExpr" | "BoolExpr" | "NullTest" | "BooleanTest" | "TypeCast"
            | "TypeName" | "CoalesceExpr" | "CaseExpr" | "CaseWhen" | "ColumnRef" | "AConst"
            | "ParamRef" | "CollateClause" | "List" | "String" | "Integer" | "Float"
            | "Boolean" => node.fields.iter().all(|(_, field)| is_steady(field)),
            _ => false,
        },
        _ => true,
    }
}

/// A subscript that is the same wherever it stands.
fn is_constant(tree: &Tree) -> bool {
    tree.node().is_some_and(|step| {
        let bounds = ["lidx", "uidx"]
            .iter()
            .filter_map(|bound| step.child(bound));
        let mut bounds = bounds.map(|bound| bound.kind);
        bounds.all(|kind| matches!(kind, "AConst" | "ParamRef"))
    })
}
