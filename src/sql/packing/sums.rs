//! What sums are made of: whether other values can have been moved beside each other in one (`age * 100 ^ id`).
//!
//! A sum of columns, of what is chosen by conditions, or of a row's own products hides nothing. Where columns of two
//! relations are multiplied, as amounts with rates are, one of them may have been filled for it.
use std::cell::Cell;
use std::rc::Rc;

use super::calls;
use super::levels::{Level, Origin, Way};
use super::{Facts, is_in_key};
use crate::sql::tree::{Node, Tree};

/// Longest factor that a number is multiplied by without others being meant to find room beside it.
const LONGEST_FACTOR: usize = 4;

/// Functions that give elements of arrays and documents.
const OPENING: [&str; 11] = [
    "unnest",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements",
    "json_array_elements_text",
    "jsonb_to_recordset",
    "json_to_recordset",
    "jsonb_each",
    "jsonb_each_text",
    "json_each",
    "json_each_text",
];

/// Expressions that one sum is followed through.
const MOST_STEPS: u32 = 4096;

/// `A_Expr_Kind` as `pg_query` numbers them.
const OPERATOR: i64 = 1;
pub(super) const NULLIF: i64 = 6;
/// `SubLinkType`
const EXPR_SUBLINK: i64 = 5;

/// What is summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Summed {
    /// Values of a row.
    Own,
    /// Products of columns of several relations.
    Mixed,
}

pub(super) struct Sums<'a> {
    facts: Facts<'a>,
    left: Cell<u32>,
}

impl<'a> Sums<'a> {
    pub fn new(facts: Facts<'a>) -> Self {
        Sums {
            facts,
            left: Cell::new(MOST_STEPS),
        }
    }

    /// `None`: others may have been moved beside a value.
    pub fn summed<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) -> Option<Summed> {
        self.left.set(self.left.get().checked_sub(1)?);
        let all = |trees: &'t [Tree]| {
            let mut worst = Summed::Own;
            for tree in trees {
                worst = worst.max(self.summed(tree.node()?, level)?);
            }
            Some(worst)
        };
        match node.kind {
            "ColumnRef" => {
                let mut worst = Summed::Own;
                for origin in level.origins(node, self.facts.columns) {
                    worst = worst.max(match origin {
                        Origin::Stored(..) => Summed::Own,
                        Origin::Made(value, level) => self.summed(value, &level)?,
                        Origin::Function(function, level) => {
                            opens_stored(function, &level, self.facts).then_some(Summed::Own)?
                        }
                        Origin::Unknown => return None,
                    });
                }
                Some(worst)
            }
            "ParamRef" | "SqlvalueFunction" | "SqlValueFunction" => Some(Summed::Own),
            "AConst" => is_short(node).then_some(Summed::Own),
            "AExpr" => self.operation(node, level),
            // Conditions choose; they do not add.
            "CaseExpr" => {
                let mut worst = Summed::Own;
                for when in node.list("args").iter().filter_map(Tree::node) {
                    worst = worst.max(self.summed(when.child("result")?, level)?);
                }
                match node.child("defresult") {
                    Some(otherwise) => Some(worst.max(self.summed(otherwise, level)?)),
                    None => Some(worst),
                }
            }
            "CoalesceExpr" | "MinMaxExpr" => all(node.list("args")),
            "TypeCast" => {
                let names = node.child("type_name").and_then(|name| name.names("names"));
                let target = names.and_then(|names| names.last().copied()).unwrap_or("");
                let numeric = [
                    "numeric", "int2", "int4", "int8", "float4", "float8", "money",
                ];
                let inner = node.child("arg")?;
                match (is_truth(inner), numeric.contains(&target)) {
                    // 0 or 1.
                    (true, true) => Some(Summed::Own),
                    (false, true) => self.summed(inner, level),
                    (_, false) => match target {
                        "date" | "timestamp" | "timestamptz" | "interval" => {
                            self.summed(inner, level)
                        }
                        _ => None,
                    },
                }
            }
            "FuncCall" => match calls::name(node) {
                "abs" | "round" | "floor" | "ceil" | "ceiling" | "trunc" => {
                    let (first, others) = node.list("args").split_first()?;
                    let constant =
                        |tree: &Tree| tree.node().is_some_and(|node| node.kind == "AConst");
                    others
                        .iter()
                        .all(constant)
                        .then(|| self.summed(first.node()?, level))?
                }
                "extract" | "date_part" => self.summed(node.list("args").last()?.node()?, level),
                "now" | "count" | "row_number" | "rank" | "dense_rank" | "ntile" => {
                    Some(Summed::Own)
                }
                "lag" | "lead" | "first_value" | "last_value" | "nth_value" => {
                    self.summed(node.list("args").first()?.node()?, level)
                }
                "length" | "char_length" | "character_length" | "sum" | "avg" | "max" | "min"
                | "any_value" => all(node.list("args")),
                _ => None,
            },
            "SubLink" if node.int("sub_link_type") == EXPR_SUBLINK => {
                let query = node
                    .child("subselect")
                    .filter(|query| query.get("larg").is_none())?;
                let inside = level.inside(query);
                match query.list("target_list") {
                    [Tree::Node(target)] => self.summed(target.child("val")?, &inside),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn operation<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) -> Option<Summed> {
        let operator = node.names("name").unwrap_or_default();
        let operator = operator.last().copied().unwrap_or("");
        let right = node.child("rexpr")?;
        let of = |side: Option<&'t Node>| {
            side.map_or(Some(Summed::Own), |side| self.summed(side, level))
        };
        let left = node.child("lexpr");
        match (node.int("kind"), operator) {
            (NULLIF, _) if right.kind == "AConst" => of(left),
            (OPERATOR, "+" | "-") => Some(of(left)?.max(of(Some(right))?)),
            (OPERATOR, "*" | "/") => {
                let sides = of(left)?.max(of(Some(right))?);
                match left.filter(|left| !is_factor(left) && !is_factor(right)) {
                    Some(left) => Some(sides.max(self.product([left, right], level)?)),
                    None => Some(sides),
                }
            }
            // A field of a document.
            (OPERATOR, "->" | "->>" | "#>" | "#>>") if right.kind == "AConst" => of(left),
            _ => None,
        }
    }

    /// Columns of one row that stand where they were before the statement, none of which numbers the rows.
    fn product<'t>(&self, sides: [&'t Node; 2], level: &Rc<Level<'t>>) -> Option<Summed> {
        let mut columns = Vec::new();
        sides
            .into_iter()
            .for_each(|side| collect(side, &mut columns));
        let mut first: Option<(i32, Way)> = None;
        let mut result = Summed::Own;
        for column in columns {
            for origin in level.origins(column, self.facts.columns) {
                let Origin::Stored(relation, Some(name), way) = origin else {
                    return None;
                };
                if is_in_key(self.facts, relation, name) {
                    return None;
                }
                let row = (relation.location, way);
                if first.is_some_and(|first| first != row) {
                    result = Summed::Mixed;
                }
                first = Some(row);
            }
        }
        Some(result)
    }
}

/// Whether a function in FROM gives what stands in a stored column: elements of an array or a document.
pub(super) fn opens_stored<'t>(from: &'t Node, level: &Rc<Level<'t>>, facts: Facts<'_>) -> bool {
    let mut columns = Vec::new();
    collect(from, &mut columns);
    let mut called = Vec::new();
    functions(from, &mut called);
    let opens = |call: &&Node| {
        OPENING.contains(&calls::name(call))
            && call
                .list("args")
                .iter()
                .all(|argument| argument.node().is_some_and(is_path))
    };
    let stored = |column: &'t Node| {
        let mut origins = level.origins(column, facts.columns).into_iter();
        origins.all(|origin| matches!(origin, Origin::Stored(_, Some(_), _)))
    };
    !called.is_empty() && called.iter().all(opens) && columns.into_iter().all(stored)
}

/// A column, or a field of one that is a document.
fn is_path(node: &Node) -> bool {
    match node.kind {
        "ColumnRef" => true,
        "AExpr" => {
            let operator = node.names("name").unwrap_or_default();
            let path = matches!(operator.last(), Some(&("->" | "->>" | "#>" | "#>>")));
            path && node
                .child("rexpr")
                .is_some_and(|right| right.kind == "AConst")
                && node.child("lexpr").is_some_and(is_path)
        }
        _ => false,
    }
}

/// What multiplies each row's value alike, or leaves it out.
fn is_factor(node: &Node) -> bool {
    match node.kind {
        "AConst" | "ParamRef" => true,
        "TypeCast" => node
            .child("arg")
            .is_some_and(|inner| is_truth(inner) || is_factor(inner)),
        _ => false,
    }
}

fn is_short(constant: &Node) -> bool {
    constant.child("val").is_none_or(|value| {
        let texts = ["fval", "sval", "bsval"].map(|field| value.text(field).len());
        texts.iter().all(|length| *length <= LONGEST_FACTOR) && value.int("ival").abs() < 10_000
    })
}

/// A comparison, or some of them.
pub(super) fn is_truth(node: &Node) -> bool {
    match node.kind {
        "BoolExpr" | "NullTest" | "BooleanTest" => true,
        "AExpr" => {
            let operator = node.names("name").unwrap_or_default();
            let compares = matches!(
                operator.last(),
                Some(&("=" | "<>" | "!=" | "<" | ">" | "<=" | ">="))
            );
            match node.int("kind") {
                OPERATOR => compares,
                NULLIF => false,
                _ => true,
            }
        }
        _ => false,
    }
}

/// The column references in an expression.
pub(super) fn collect<'t>(node: &'t Node, found: &mut Vec<&'t Node>) {
    match node.kind {
        "ColumnRef" => found.push(node),
        _ => node.each(&mut |inner| collect(inner, found)),
    }
}

fn functions<'t>(node: &'t Node, found: &mut Vec<&'t Node>) {
    if node.kind == "FuncCall" {
        found.push(node);
    }
    node.each(&mut |inner| functions(inner, found));
}
