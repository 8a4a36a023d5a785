//! What PostgreSQL calls an output column without an alias (`FigureColname` in `src/backend/parser/parse_target.c`).
//!
//! A name that is wrong here could make the judge take a reference to the row of a write's target for one to something
//! else. So a name is known or it is not, never guessed. What FigureColname does not name has no name, so it is known of
//! every expression but a subquery of `*`, whose only column names it.
use super::tree::{Node, Tree};

/// What PostgreSQL calls a column that nothing names.
pub const UNNAMED: &str = "?column?";

/// From this version on EXTRACT is called so, and `date_part` before.
const EXTRACT: u32 = 140_000;
/// Before this version TRUE and FALSE are casts to `bool` (`makeBoolAConst` in `src/backend/parser/gram.y`).
const BOOLEANS: u32 = 150_000;

/// The name of an expression, as far as it is known, on a server of this version.
pub fn known(node: &Node, version: u32) -> Option<&str> {
    match figured(node, version) {
        Figured::Strong(name) | Figured::Weak(name) => Some(name),
        Figured::Nothing => Some(UNNAMED),
        Figured::Of(_) | Figured::Unknown => None,
    }
}

/// The subquery whose only column has the name of the expression, where that column is what `*` stands for.
pub fn asked(node: &Node, version: u32) -> Option<&Node> {
    match figured(node, version) {
        Figured::Of(query) => Some(query),
        _ => None,
    }
}

/// The name of an expression; where it is not known, that of a column which nothing names.
pub fn name(node: &Node, version: u32) -> &str {
    known(node, version).unwrap_or(UNNAMED)
}

/// Whether the expression stands for several columns: `*`, `c.*`, `(row).*`.
pub fn is_star(node: &Node) -> bool {
    let last = match node.kind {
        "ColumnRef" => node.list("fields").last(),
        "AIndirection" => node.list("indirection").last(),
        _ => None,
    };
    last.and_then(Tree::node)
        .is_some_and(|last| last.kind == "AStar")
}

/// A name and how good it is: that of a cast's type or of CASE gives way to a better one.
enum Figured<'t> {
    Strong(&'t str),
    Weak(&'t str),
    /// That of the query's only column, as good as any.
    Of(&'t Node),
    Nothing,
    Unknown,
}

use Figured::{Nothing, Of, Strong, Unknown, Weak};

fn figured(node: &Node, version: u32) -> Figured<'_> {
    match node.kind {
        "ColumnRef" => last(node, "fields").map_or(Nothing, Strong),
        "AIndirection" => match (last(node, "indirection"), node.child("arg")) {
            (Some(name), _) => Strong(name),
            (None, Some(inner)) => figured(inner, version),
            (None, None) => Unknown,
        },
        "FuncCall" => match node.names("funcname").as_deref() {
            Some(["pg_catalog", "extract"]) if version < EXTRACT => Strong("date_part"),
            _ => last(node, "funcname").map_or(Unknown, Strong),
        },
        "AExpr" if node.int("kind") == NULLIF => Strong("nullif"),
        "TypeCast" => match node.child("arg").map(|inner| figured(inner, version)) {
            Some(found @ (Strong(_) | Of(_) | Unknown)) => found,
            Some(Weak(_) | Nothing) => node
                .child("type_name")
                .and_then(|name| last(name, "names"))
                .map_or(Unknown, Weak),
            None => Unknown,
        },
        "CollateClause" => node
            .child("arg")
            .map_or(Unknown, |inner| figured(inner, version)),
        "GroupingFunc" => Strong("grouping"),
        "MergeSupportFunc" => Strong("merge_action"),
        "SubLink" => match node.int("sub_link_type") {
            EXISTS => Strong("exists"),
            ARRAY => Strong("array"),
            // The name that the column has in the subquery.
            SCALAR => node.child("subselect").map_or(Unknown, |query| {
                of_query(query, version).map_or(Of(query), Strong)
            }),
            _ => Nothing,
        },
        "CaseExpr" => match node.child("defresult") {
            None => Weak("case"),
            Some(otherwise) => match figured(otherwise, version) {
                found @ (Strong(_) | Of(_) | Unknown) => found,
                Weak(_) | Nothing => Weak("case"),
            },
        },
        "AArrayExpr" => Strong("array"),
        "RowExpr" => Strong("row"),
        "CoalesceExpr" => Strong("coalesce"),
        "MinMaxExpr" if node.int("op") == LEAST => Strong("least"),
        "MinMaxExpr" => Strong("greatest"),
        "SqlvalueFunction" | "SqlValueFunction" => numbered(node, VALUE_FUNCTIONS),
        "AConst" if version < BOOLEANS && is_boolean(node) => Weak("bool"),
        "XmlExpr" => numbered(node, XML_FUNCTIONS),
        "JsonFuncExpr" => numbered(node, JSON_FUNCTIONS),
        "XmlSerialize" => Strong("xmlserialize"),
        "JsonParseExpr" => Strong("json"),
        "JsonScalarExpr" => Strong("json_scalar"),
        "JsonSerializeExpr" => Strong("json_serialize"),
        "JsonObjectConstructor" => Strong("json_object"),
        "JsonArrayConstructor" | "JsonArrayQueryConstructor" => Strong("json_array"),
        "JsonObjectAgg" => Strong("json_objectagg"),
        "JsonArrayAgg" => Strong("json_arrayagg"),
        "AConst" | "ParamRef" | "AExpr" | "BoolExpr" | "NullTest" | "BooleanTest"
        | "SetToDefault" | "JsonIsPredicate" => Nothing,
        _ => Unknown,
    }
}

/// The name by the operation's number, which libpg_query counts from 1; what comes behind has none.
fn numbered(node: &Node, names: &'static [&'static str]) -> Figured<'static> {
    let at = usize::try_from(node.int("op") - 1).ok();
    at.map_or(Unknown, |at| {
        names.get(at).map_or(Nothing, |name| Strong(name))
    })
}

fn is_boolean(constant: &Node) -> bool {
    let value = constant.child("val");
    value.is_some_and(|value| value.kind == "Boolean")
}

/// The name of the only column of a subquery.
fn of_query(query: &Node, version: u32) -> Option<&str> {
    const PLAIN: i64 = 1;
    if query.kind != "SelectStmt" {
        return None;
    }
    if query.int("op") > PLAIN {
        return of_query(query.child("larg")?, version);
    }
    if let Some(row) = query.list("values_lists").first() {
        let values = row.node().map_or(&[][..], |row| row.list("items"));
        let star = values.iter().filter_map(Tree::node).any(is_star);
        return (!star).then_some("column1");
    }
    let target = query.list("target_list").first()?.node()?;
    let value = target.child("val")?;
    match target.text("name") {
        _ if is_star(value) => None,
        "" => known(value, version),
        name => Some(name),
    }
}

fn last<'t>(node: &'t Node, field: &str) -> Option<&'t str> {
    node.list(field).iter().rev().find_map(Tree::string)
}

/// `A_Expr_Kind`, `SubLinkType` and `MinMaxOp` as libpg_query numbers them (from 1).
const NULLIF: i64 = 6;
const EXISTS: i64 = 1;
const SCALAR: i64 = 5;
const ARRAY: i64 = 7;
const LEAST: i64 = 2;

/// By `XmlExprOp`; IS DOCUMENT has no name.
const XML_FUNCTIONS: &[&str] = &[
    "xmlconcat",
    "xmlelement",
    "xmlforest",
    "xmlparse",
    "xmlpi",
    "xmlroot",
    "xmlserialize",
];

/// By `JsonExprOp`.
const JSON_FUNCTIONS: &[&str] = &["json_exists", "json_query", "json_value"];

/// By `SQLValueFunctionOp`.
const VALUE_FUNCTIONS: &[&str] = &[
    "current_date",
    "current_time",
    "current_time",
    "current_timestamp",
    "current_timestamp",
    "localtime",
    "localtime",
    "localtimestamp",
    "localtimestamp",
    "current_role",
    "current_user",
    "user",
    "session_user",
    "current_catalog",
    "current_schema",
];
