//! The types of a call's arguments, as PostgreSQL names them in the error that there is no such function
//! (`func_signature_string` in `src/backend/parser/parse_func.c`): those that the text alone tells.
use crate::sql::tree::Node;

/// Types by the name that the grammar gives them, and as `format_type` writes them.
const TYPES: &[(&str, &str)] = &[
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("bytea", "bytea"),
    ("date", "date"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("inet", "inet"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("interval", "interval"),
    ("json", "json"),
    ("jsonb", "jsonb"),
    ("numeric", "numeric"),
    ("oid", "oid"),
    ("regclass", "regclass"),
    ("text", "text"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("uuid", "uuid"),
    ("varchar", "character varying"),
];

/// `(integer, unknown)`; `None`: one of them cannot be told.
fn signature(call: &Node) -> Option<String> {
    let types: Option<Vec<&str>> = call
        .list("args")
        .iter()
        .map(|argument| type_of(argument.node()?))
        .collect();
    let clauses = ["over", "agg_within_group", "func_variadic"];
    let plain = clauses.iter().all(|clause| call.get(clause).is_none());
    types
        .filter(|_| plain)
        .map(|types| format!("({})", types.join(", ")))
}

fn type_of(node: &Node) -> Option<&'static str> {
    match node.kind {
        "AConst" => Some(match node.child("val").map(|value| value.kind) {
            Some("Integer") => "integer",
            Some("Float") => number(node)?,
            Some("Boolean") => "boolean",
            Some("String") | None => "unknown",
            Some(_) => return None,
        }),
        "TypeCast" => {
            let target = node.child("type_name")?;
            if target.get("array_bounds").is_some() || target.flag("setof") {
                return None;
            }
            let names = target.names("names")?;
            let name = match names.as_slice() {
                [name] | ["pg_catalog", name] => *name,
                _ => return None,
            };
            let known = TYPES.iter().find(|(known, _)| *known == name);
            known.map(|(_, shown)| *shown)
        }
        _ => None,
    }
}

/// A number that is no `integer` is a `bigint` if it fits one, and else `numeric` (`make_const` in parse_node.c).
fn number(node: &Node) -> Option<&'static str> {
    let text = node.child("val").map(|value| value.text("fval"))?;
    Some(match text.parse::<i64>() {
        Ok(_) => "bigint",
        Err(_)
            if text
                .chars()
                .all(|c| c.is_ascii_digit() || ".eE+-".contains(c)) =>
        {
            "numeric"
        }
        Err(_) => return None,
    })
}

/// The name with its arguments in an error; only what the role wrote is in it.
pub(super) fn shown(name: &str, call: &Node) -> Option<String> {
    signature(call).map(|arguments| format!("{name}{arguments}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;
    use crate::sql::tree::Tree;

    fn of(call: &str) -> Option<String> {
        let statement = parse::parse(&format!("SELECT {call}"))
            .expect("SQL")
            .remove(0);
        let select = statement.tree.node().expect("a statement");
        let target = select.list("target_list").first().and_then(Tree::node);
        signature(
            target
                .and_then(|target| target.child("val"))
                .expect("a call"),
        )
    }

    #[test]
    fn types_are_named_where_the_text_tells_them() {
        for (call, expected) in [
            ("f()", Some("()")),
            ("f(*)", Some("()")),
            (
                "f(1, 'x', NULL, true)",
                Some("(integer, unknown, unknown, boolean)"),
            ),
            ("f(3000000000, 1.5)", Some("(bigint, numeric)")),
            (
                "f('x'::text, 1::int8, CAST('2020-01-01' AS timestamptz))",
                Some("(text, bigint, timestamp with time zone)"),
            ),
            ("f(a)", None),
            ("f('{}'::text[])", None),
            ("f(1 + 1)", None),
            ("f($1)", None),
        ] {
            assert_eq!(of(call).as_deref(), expected, "{call}");
        }
    }
}
