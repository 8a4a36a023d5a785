//! Where a node stands: the queries around it, and what a column reference in it means.
use crate::node::{Node, Value};

/// A query around a node.
#[derive(Debug, Clone, Copy)]
pub struct Level<'t> {
    pub query: &'t Node,
    /// How it is called where trees are compared: queries that only one of two trees has are left out of the count.
    pub name: usize,
}

/// The queries around a node, outermost first.
pub type Scope<'t> = Vec<Level<'t>>;

/// Kinds of entries of a range table (`RTEKind` in `src/include/nodes/parsenodes.h`).
pub const RELATION: i64 = 0;
pub const SUBQUERY: i64 = 1;
pub const JOIN: i64 = 2;
/// What GROUP BY groups by, from PostgreSQL 18 on.
pub const GROUP: i64 = 9;

pub const SELECT: i64 = 1;
pub const UPDATE: i64 = 2;
pub const INSERT: i64 = 3;

/// A column of an entry of a range table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Of the query, from the outside.
    pub level: usize,
    pub entry: i64,
}

/// Where a `VAR` points to.
pub fn place(var: &Node, scope: &[Level<'_>]) -> Option<Place> {
    let up = usize::try_from(var.int("varlevelsup")).ok()?;
    Some(Place {
        level: scope.len().checked_sub(1 + up)?,
        entry: var.int("varno"),
    })
}

/// The entry at a place.
pub fn entry<'t>(place: Place, scope: &[Level<'t>]) -> Option<&'t Node> {
    let at = usize::try_from(place.entry).ok()?.checked_sub(1)?;
    scope.get(place.level)?.query.list("rtable").get(at)?.node()
}

/// Whether the entry stands for the new rows of ON CONFLICT: what the client's statement proposes.
pub fn is_excluded(place: Place, scope: &[Level<'_>]) -> bool {
    let conflict = scope
        .get(place.level)
        .and_then(|level| level.query.child("onConflict"));
    conflict.is_some_and(|conflict| conflict.int("exclRelIndex") == place.entry && place.entry != 0)
}

/// Whether the entry is what its query writes to.
pub fn is_target(place: Place, scope: &[Level<'_>]) -> bool {
    let level = scope.get(place.level);
    level.is_some_and(|level| level.query.int("resultRelation") == place.entry)
}

/// Calls back for each column reference in a value.
pub fn columns<'t>(
    value: &'t Value,
    scope: &mut Scope<'t>,
    call: &mut impl FnMut(&'t Node, &[Level<'t>]),
) {
    match value {
        Value::List(items) => items.iter().for_each(|item| columns(item, scope, call)),
        Value::Node(node) => columns_of(node, scope, call),
        Value::Word(_) | Value::Null => {}
    }
}

pub fn columns_of<'t>(
    node: &'t Node,
    scope: &mut Scope<'t>,
    call: &mut impl FnMut(&'t Node, &[Level<'t>]),
) {
    if node.kind == "VAR" {
        return call(node, scope);
    }
    let inner = node.kind == "QUERY";
    if inner {
        scope.push(Level {
            query: node,
            name: scope.len(),
        });
    }
    for (_, value) in &node.fields {
        columns(value, scope, call);
    }
    if inner {
        scope.pop();
    }
}

/// The value without the casts around it that only make it fit the column it goes to.
pub fn uncast(value: &Value) -> &Value {
    cast(value).map_or(value, uncast)
}

/// What is cast, where the value is a cast.
pub fn cast(value: &Value) -> Option<&Value> {
    /// `COERCE_EXPLICIT_CAST` and `COERCE_IMPLICIT_CAST` (`CoercionForm`).
    const CASTS: [i64; 2] = [1, 2];
    let node = value.node()?;
    match node.kind.as_str() {
        "RELABELTYPE" | "COERCEVIAIO" | "COERCETODOMAIN" | "ARRAYCOERCEEXPR" => {
            Some(node.get("arg"))
        }
        "FUNCEXPR" if CASTS.contains(&node.int("funcformat")) => node.list("args").first(),
        _ => None,
    }
}
