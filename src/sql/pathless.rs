//! Statements in which no name means something else on another search path: `SELECT pg_advisory_unlock_all()`, which
//! Npgsql puts behind `RESET ALL` in the text by which a pool takes a session back.
//!
//! Told by what may stand in it, never by what may not.
use crate::catalog::Catalog;

use super::tree::{Node, Tree};

/// Whether the statement is a query of constants, parameters and functions of PostgreSQL's own, by names that nothing
/// else in the database has. Operators and types are looked up along the path, so there are none.
pub fn is_pathless(statement: &Tree, catalog: &Catalog) -> bool {
    statement
        .node()
        .is_some_and(|node| node.kind == "SelectStmt" && may_stand(node, catalog))
}

fn may_stand(node: &Node, catalog: &Catalog) -> bool {
    let fields: &[&str] = match node.kind {
        "SelectStmt" => &["target_list", "limit_option", "op"],
        "ResTarget" => &["name", "val"],
        "FuncCall" if is_the_servers(node, catalog) => &["funcname", "args", "funcformat"],
        "AConst" => &["isnull", "val"],
        "ParamRef" => &["number"],
        "SqlvalueFunction" | "SqlValueFunction" => &["op", "typmod"],
        "Integer" | "Float" | "Boolean" | "String" => return true,
        _ => return false,
    };
    node.fields
        .iter()
        .all(|(name, value)| fields.contains(name) && all_may_stand(value, catalog))
}

fn all_may_stand(value: &Tree, catalog: &Catalog) -> bool {
    match value {
        Tree::Node(node) => may_stand(node, catalog),
        Tree::List(items) => items.iter().all(|item| all_may_stand(item, catalog)),
        Tree::Nothing | Tree::Bool(_) | Tree::Int(_) | Tree::Text(_) => true,
    }
}

/// Whether the call is of one of PostgreSQL's own functions on any path: no other function, and no type, has its name.
fn is_the_servers(call: &Node, catalog: &Catalog) -> bool {
    let [Some(name)] = call
        .list("funcname")
        .iter()
        .map(Tree::string)
        .collect::<Vec<_>>()[..]
    else {
        return false;
    };
    let overloads = catalog.functions.get(name).map_or(&[][..], Vec::as_slice);
    !overloads.is_empty()
        && overloads.iter().all(|function| function.built_in)
        && catalog.types_named(name).next().is_none()
}
