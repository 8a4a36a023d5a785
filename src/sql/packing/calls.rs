//! Functions by what they do with rows.
use crate::sql::tree::{Node, Tree};

/// What a call does with the rows that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// An array of them.
    Array,
    /// A JSON array of them.
    Elements,
    /// A JSON object of them.
    Members,
    /// Text of them.
    Text,
    /// XML of them.
    Xml,
    /// Some other form that holds many.
    Other,
    /// A number that sums can hide others in.
    Number,
    /// One of them.
    Shown,
    /// As a window function, another one than its own.
    Another,
    /// Makes JSON of values and keeps what form they have.
    Document,
    /// Nothing of the kind.
    Plain,
}

pub(super) fn call(node: &Node) -> Call {
    match name(node) {
        "array_agg" => Call::Array,
        "json_agg" | "json_agg_strict" | "jsonb_agg" | "jsonb_agg_strict" => Call::Elements,
        "json_object_agg"
        | "json_object_agg_strict"
        | "json_object_agg_unique"
        | "json_object_agg_unique_strict"
        | "jsonb_object_agg"
        | "jsonb_object_agg_strict"
        | "jsonb_object_agg_unique"
        | "jsonb_object_agg_unique_strict" => Call::Members,
        "string_agg" => Call::Text,
        "xmlagg" => Call::Xml,
        "range_agg" | "range_intersect_agg" | "hstore" => Call::Other,
        // Of an array of fractions it makes an array of rows' values.
        "percentile_disc" | "percentile_cont" => match node.list("args") {
            [fraction] if is_number(fraction) => Call::Shown,
            _ => Call::Array,
        },
        "sum" | "avg" | "bit_or" | "bit_and" | "bit_xor" => Call::Number,
        "max" | "min" | "any_value" | "mode" => Call::Shown,
        "lag" | "lead" | "first_value" | "last_value" | "nth_value" => Call::Another,
        "json_build_object" | "jsonb_build_object" | "json_build_array" | "jsonb_build_array"
        | "row_to_json" | "to_json" | "to_jsonb" | "array_to_json" | "json_strip_nulls"
        | "jsonb_strip_nulls" => Call::Document,
        _ if aggregates(node) => Call::Other,
        _ => Call::Plain,
    }
}

pub(super) fn name(node: &Node) -> &str {
    let last = node.list("funcname").last();
    last.and_then(Tree::string).unwrap_or("")
}

/// A call that only an aggregate can be, but for those known to give a number or truth of no row.
fn aggregates(node: &Node) -> bool {
    const STATISTICS: [&str; 26] = [
        "count",
        "bool_and",
        "bool_or",
        "every",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "variance",
        "var_pop",
        "var_samp",
        "corr",
        "covar_pop",
        "covar_samp",
        "regr_avgx",
        "regr_avgy",
        "regr_count",
        "regr_intercept",
        "regr_r2",
        "regr_slope",
        "regr_sxx",
        "regr_sxy",
        "regr_syy",
        "rank",
        "dense_rank",
        "percent_rank",
        "cume_dist",
    ];
    let only = [
        "agg_order",
        "agg_filter",
        "agg_within_group",
        "agg_distinct",
    ];
    only.iter().any(|field| node.get(field).is_some()) && !STATISTICS.contains(&name(node))
}

fn is_number(tree: &Tree) -> bool {
    tree.node().is_some_and(|node| {
        let value = node.child("val").map(|value| value.kind);
        node.kind == "AConst" && matches!(value, Some("Integer" | "Float"))
    })
}

/// Longest factor that a number is multiplied by without others being meant to find room beside it.
const LONGEST_FACTOR: usize = 4;

/// What is summed up can be taken for one column's values: columns, short constants, and arithmetic that makes no room
/// for another value.
pub(super) fn is_plain_number(node: &Node) -> bool {
    fn of(tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().all(of),
            Tree::Node(node) => is_plain_number(node),
            _ => true,
        }
    }
    match node.kind {
        "ColumnRef" | "ParamRef" => true,
        "AConst" => {
            let value = node.child("val");
            value.is_none_or(|value| {
                value.text("fval").len() <= LONGEST_FACTOR && value.int("ival") < 10_000
            })
        }
        "AExpr" => {
            let operator = node.names("name").unwrap_or_default();
            let sides = [node.child("lexpr"), node.child("rexpr")];
            let factors = sides
                .iter()
                .flatten()
                .filter(|side| side.kind != "AConst")
                .count();
            let own = match operator.last() {
                Some(&("+" | "-")) => true,
                Some(&("*" | "/")) => factors <= 1 || alike(sides),
                _ => false,
            };
            own && node
                .fields
                .iter()
                .all(|(name, field)| *name == "name" || of(field))
        }
        // Conditions choose; they do not add.
        "CaseExpr" => {
            let results = node.list("args").iter().filter_map(Tree::node);
            results
                .filter_map(|when| when.child("result"))
                .all(is_plain_number)
                && node.child("defresult").is_none_or(is_plain_number)
        }
        "CoalesceExpr" => node.list("args").iter().all(of),
        "FuncCall"
            if matches!(
                name(node),
                "abs" | "round" | "floor" | "ceil" | "trunc" | "extract" | "date_part"
            ) =>
        {
            node.list("args").iter().all(|argument| {
                of(argument) || argument.node().is_some_and(|node| node.kind == "AConst")
            })
        }
        _ => false,
    }
}

/// Both are columns of one relation: nobody can have made the one to move the other.
fn alike(sides: [Option<&Node>; 2]) -> bool {
    let relation = |side: Option<&Node>| match side?.names("fields")?.as_slice() {
        [relation, _] => Some((*relation).to_owned()),
        _ => None,
    };
    matches!((relation(sides[0]), relation(sides[1])), (Some(one), Some(other)) if one == other)
}
