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
        name if FIGURES.contains(&name) => Call::Number,
        "max" | "min" | "any_value" | "mode" => Call::Shown,
        "lag" | "lead" | "first_value" | "last_value" | "nth_value" => Call::Another,
        "json_build_object" | "jsonb_build_object" | "json_build_array" | "jsonb_build_array"
        | "row_to_json" | "to_json" | "to_jsonb" | "array_to_json" | "json_strip_nulls"
        | "jsonb_strip_nulls" => Call::Document,
        _ if aggregates(node) => Call::Other,
        _ => Call::Plain,
    }
}

/// A call whose value may be made of many rows.
pub fn gathers(node: &Node) -> bool {
    let gathers = matches!(
        call(node),
        Call::Array | Call::Elements | Call::Members | Call::Text | Call::Xml | Call::Other
    );
    match name(node) {
        // Makes a value of a value.
        "hstore" => false,
        // Whatever its fractions are.
        "percentile_disc" => true,
        _ => gathers,
    }
}

pub(super) fn name(node: &Node) -> &str {
    let last = node.list("funcname").last();
    last.and_then(Tree::string).unwrap_or("")
}

/// Statistics: of one row, or of rows of which all but one are made nothing, they are its value.
const FIGURES: [&str; 17] = [
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
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
];

/// Aggregates that give a count or truth of rows.
const COUNTS: [&str; 5] = ["count", "bool_and", "bool_or", "every", "regr_count"];

/// Places in an order, which a window has no frame for.
const PLACES: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

/// An aggregate that divides, or takes a root.
pub(super) fn divides(node: &Node) -> bool {
    name(node) == "avg" || FIGURES.contains(&name(node))
}

/// A count or truth of rows.
pub(super) fn counts(node: &Node) -> bool {
    COUNTS.contains(&name(node))
}

fn is_statistic(node: &Node) -> bool {
    counts(node) || PLACES.contains(&name(node)) || FIGURES.contains(&name(node))
}

/// Clauses that only an aggregate has.
const CLAUSES: [&str; 4] = [
    "agg_order",
    "agg_filter",
    "agg_within_group",
    "agg_distinct",
];

fn has_any(node: &Node, fields: &[&str]) -> bool {
    fields.iter().any(|field| node.get(field).is_some())
}

/// A call that only an aggregate can be, but for those.
fn aggregates(node: &Node) -> bool {
    has_any(node, &CLAUSES) && !is_statistic(node)
}

/// A call that is one of an aggregate or window function, as far as can be told.
pub(super) fn is_aggregate(node: &Node) -> bool {
    counts(node)
        || !matches!(call(node), Call::Plain | Call::Document)
        || has_any(node, &CLAUSES)
        || has_any(node, &["over", "agg_star"])
}

/// The window has a name, or is made of one that has.
pub(super) fn is_named(window: &Node) -> bool {
    ["name", "refname"]
        .iter()
        .any(|name| !window.text(name).is_empty())
}

fn is_number(tree: &Tree) -> bool {
    tree.node().is_some_and(|node| {
        let value = node.child("val").map(|value| value.kind);
        node.kind == "AConst" && matches!(value, Some("Integer" | "Float"))
    })
}

/// A tree in letters, for comparing it with others: without its places in the text.
pub(super) fn write_out(tree: &Tree, out: &mut String) {
    match tree {
        Tree::Nothing => out.push('-'),
        Tree::Bool(value) => out.push_str(if *value { "t" } else { "f" }),
        Tree::Int(value) => out.push_str(&value.to_string()),
        Tree::Text(text) => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        Tree::List(items) => {
            out.push('[');
            for item in items {
                write_out(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Tree::Node(node) => {
            out.push_str(node.kind);
            out.push('{');
            for (name, field) in &node.fields {
                out.push_str(name);
                out.push(':');
                write_out(field, out);
            }
            out.push('}');
        }
    }
}
