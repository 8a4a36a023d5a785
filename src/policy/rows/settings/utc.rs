//! Days and months added to a moment, counted in UTC.
use pg_query::NodeEnum;
use pg_query::protobuf::{AExpr, AExprKind, Node};

use super::kind::{Interval, Moment};
use super::operators::Operation;
use crate::policy::rows::syntax::{HEAD, where_clause};
use crate::policy::rows::{Objection, names};

/// Places of the operands while the days of a moment are written anew.
const LEFT: &str = "pgveil_left";
const RIGHT: &str = "pgveil_right";

/// A moment and an interval: added in UTC.
pub fn in_utc(expression: &mut AExpr, found: Operation) -> Option<Result<NodeEnum, Objection>> {
    let (moment_first, operator) = match (found.left, found.right, found.result) {
        (Moment, Interval, Moment) => (true, expression.name.last().and_then(names::string)?),
        (Interval, Moment, Moment) => (false, expression.name.last().and_then(names::string)?),
        _ => return None,
    };
    if expression.kind() != AExprKind::AexprOp || !["+", "-"].contains(&operator) {
        return None;
    }
    let utc = "'00:00:00'::pg_catalog.interval";
    let local = |name: &str, moment: bool| match moment {
        true => format!("pg_catalog.timezone({utc}, {name})"),
        false => name.to_owned(),
    };
    let sql = format!(
        "{HEAD}pg_catalog.timezone({utc}, {} OPERATOR(pg_catalog.{operator}) {})",
        local(LEFT, moment_first),
        local(RIGHT, !moment_first),
    );
    let (left, right) = (expression.lexpr.take(), expression.rexpr.take());
    Some(where_clause(&sql).and_then(|mut anew| {
        put(&mut anew, LEFT, &mut left.map(|node| *node));
        put(&mut anew, RIGHT, &mut right.map(|node| *node));
        anew.node
            .ok_or_else(|| Objection::new("the rule could not be read"))
    }))
}

/// Puts a node where a column of that name stands, within calls and operators.
fn put(node: &mut Node, name: &str, value: &mut Option<Node>) {
    match node.node.as_mut() {
        Some(NodeEnum::ColumnRef(column))
            if column.fields.first().and_then(names::string) == Some(name) =>
        {
            if let Some(value) = value.take() {
                *node = value;
            }
        }
        Some(NodeEnum::FuncCall(call)) => {
            for argument in &mut call.args {
                put(argument, name, value);
            }
        }
        Some(NodeEnum::AExpr(expression)) => {
            let sides = [&mut expression.lexpr, &mut expression.rexpr];
            for side in sides.into_iter().flatten() {
                put(side, name, value);
            }
        }
        _ => {}
    }
}
