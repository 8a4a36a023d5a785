//! Whether a statement's own conditions could tell about rows that a row rule hides.
//!
//! PostgreSQL may evaluate a condition of the user before the row rule. One that can raise an error (a division, a cast)
//! would then betray hidden rows; comparisons of columns and constants by built-in operators cannot, where their types
//! are such (`operands`). The same goes for all that is evaluated for a row of FROM at a time: subqueries, functions. What is not known
//! to be harmless counts as harmful: the relation then stands behind a fence.
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use super::constants::Constants;
use super::operands::{Operand, comparable, together};
use super::sources::{Sources, harmless_function, width};

const COMPARISONS: &[&str] = &["=", "<>", "<", ">", "<=", ">="];
/// `AEXPR_OP`, `OP_ANY`, `OP_ALL`, `DISTINCT`, `NOT_DISTINCT`, `IN`, and the four kinds of BETWEEN.
const PLAIN_KINDS: &[i64] = &[1, 2, 3, 4, 5, 7, 11, 12, 13, 14];
/// Aggregates of PostgreSQL's own that statements sort by.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "jsonb_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];
const IN: i64 = 7;
/// `EXISTS_SUBLINK` and `ANY_SUBLINK` (nodes/primnodes.h, as protobuf numbers them).
const EXISTS: i64 = 1;
const ANY: i64 = 3;

/// A statement in its canonical form.
pub(super) struct Quals<'t> {
    sources: Sources<'t>,
}

impl<'t> Quals<'t> {
    pub fn read(constants: Constants<'t>, statement: &'t Tree) -> Quals<'t> {
        Quals {
            sources: Sources::read(constants, statement),
        }
    }

    /// Whether any condition in the tree, or what its FROM holds, at any depth, may raise an error.
    pub fn may_raise(&self, tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(|item| self.may_raise(item)),
            Tree::Node(node) => self.node_may_raise(node),
            _ => false,
        }
    }

    fn node_may_raise(&self, node: &Node) -> bool {
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
            .any(|condition| !self.is_plain(condition));
        let itself = match node.kind {
            // An expression of a subquery can become part of a condition around it; and what is not pulled up is evaluated
            // for rows that a rule still hides, if the rule is a join.
            "RangeSubselect" => node
                .child("subquery")
                .is_none_or(|query| !self.is_bare(query)),
            "CommonTableExpr" => node
                .child("ctequery")
                .is_none_or(|query| !self.is_bare(query)),
            "RangeFunction" => harmless_function(self.sources.constants, node).is_none(),
            "RangeTableFunc" | "JsonTable" => true,
            "RangeTableSample" => !has_portion(node),
            "JoinExpr" => !self.joins_plainly(node),
            _ => false,
        };
        harmful || itself || node.fields.iter().any(|(_, value)| self.may_raise(value))
    }

    /// Columns that USING compares. What NATURAL does is not looked up.
    fn joins_plainly(&self, join: &Node) -> bool {
        let each = |name: &Tree| {
            let fields = Tree::List(vec![name.duplicate()]);
            let reference = Tree::Node(Node::new("ColumnRef", vec![("fields", fields)]));
            self.are_comparable(&[&reference])
        };
        !join.flag("is_natural") && join.list("using_clause").iter().all(each)
    }

    /// Whether a subquery's own clauses hold nothing but columns and constants: its conditions and its FROM are asked
    /// elsewhere.
    fn is_bare(&self, query: &Node) -> bool {
        if query.kind != "SelectStmt" || query.get("larg").is_some() {
            return false;
        }
        let rows = query.list("values_lists");
        if !(0..width(rows)).all(|at| self.sources.values(rows, at).is_some()) {
            return false;
        }
        let targets = query.list("target_list");
        let value = |target| output(target).is_some_and(|value| self.is_simple(value));
        let sorts = ["group_clause", "sort_clause", "distinct_clause"];
        let mut sorts = sorts.iter().flat_map(|clause| query.list(clause));
        let limits = ["limit_count", "limit_offset"];
        let mut limits = limits.iter().filter_map(|limit| query.get(limit));
        targets.iter().all(value)
            && sorts.all(|item| self.sorts_plainly(item, targets))
            && limits.all(is_count)
            && query.get("window_clause").is_none()
            && query.get("locking_clause").is_none()
    }

    /// An item of GROUP BY, ORDER BY or DISTINCT ON, by itself or by the number of an output; plain DISTINCT holds an empty
    /// one, for all of them.
    fn sorts_plainly(&self, item: &Tree, targets: &[Tree]) -> bool {
        let has_order = |value: &Tree| self.sources.operands(value).is_some();
        let is_ordered = |target| output(target).is_some_and(has_order);
        if item.node().is_some_and(|sort| sort.get("use_op").is_some()) {
            return false;
        }
        match sort_key(item) {
            None => targets.iter().all(is_ordered),
            Some(key) => match key.node() {
                Some(node) if node.kind == "AConst" => {
                    numbered(node, targets).is_some_and(is_ordered)
                }
                _ => has_order(key),
            },
        }
    }

    /// Whether something by which rows are sorted may raise an error. A parallel plan may sort a relation before it joins it
    /// (`generate_useful_gather_paths` and `relation_can_be_sorted_early` in `src/backend/optimizer/path`): what is computed for
    /// the sort is computed for rows that the joins of a row rule or view have not been asked about.
    pub fn may_raise_early(&self, tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(|item| self.may_raise_early(item)),
            Tree::Node(node) => {
                !self.sorts_simply(node)
                    || node
                        .fields
                        .iter()
                        .any(|(_, value)| self.may_raise_early(value))
            }
            _ => false,
        }
    }

    fn sorts_simply(&self, node: &Node) -> bool {
        let simple = |field: &str| node.list(field).iter().all(|item| self.is_early(item, &[]));
        match node.kind {
            "SelectStmt" => {
                let targets = node.list("target_list");
                let clauses = ["group_clause", "sort_clause", "distinct_clause"];
                let mut items = clauses.iter().flat_map(|clause| node.list(clause));
                items.all(|item| self.is_early(item, targets))
                    && node.child("larg").is_none_or(|arm| self.shows_simply(arm))
                    && node.child("rarg").is_none_or(|arm| self.shows_simply(arm))
            }
            "WindowDef" => simple("partition_clause") && simple("order_clause"),
            "FuncCall" => simple("agg_order") && (!node.flag("agg_distinct") || simple("args")),
            _ => true,
        }
    }

    /// Whether an arm of UNION and its like holds nothing but columns and constants: rows are sorted by all of it.
    fn shows_simply(&self, arm: &Node) -> bool {
        let targets = arm.list("target_list");
        targets.iter().all(|target| self.is_early_output(target))
    }

    fn is_early_output(&self, target: &Tree) -> bool {
        output(target).is_some_and(|value| self.is_early_value(value))
    }

    fn is_early_value(&self, value: &Tree) -> bool {
        self.is_simple(value) || aggregates(value)
    }

    /// An item of a clause that sorts, as [`Quals::sorts_plainly`] takes it.
    fn is_early(&self, item: &Tree, targets: &[Tree]) -> bool {
        let is_early = |target| self.is_early_output(target);
        let Some(key) = sort_key(item) else {
            return targets.iter().all(is_early);
        };
        let Some(node) = key.node() else {
            return false;
        };
        match node.kind {
            "AConst" => numbered(node, targets).is_none_or(is_early),
            // A column, or an output of that name.
            "ColumnRef" => {
                let version = self.sources.constants.catalog.server_version;
                let is_named = |target: &&Tree| match node.names("fields").as_deref() {
                    Some([name]) => has_name(target, name, version),
                    _ => false,
                };
                let mut outputs = targets.iter().filter(is_named).peekable();
                match outputs.peek() {
                    Some(_) => outputs.all(is_early),
                    None => self.is_simple(key),
                }
            }
            _ => self.is_early_value(key),
        }
    }

    /// Whether evaluating the condition raises no error, whatever row it is evaluated for.
    pub fn is_plain(&self, condition: &Tree) -> bool {
        match condition {
            Tree::List(items) => items.iter().all(|item| self.is_plain(item)),
            Tree::Node(node) => match node.kind {
                "BoolExpr" => node.list("args").iter().all(|arg| self.is_plain(arg)),
                "AExpr" => self.is_comparison(node),
                "NullTest" => node.get("arg").is_some_and(|arg| self.is_simple(arg)),
                "BooleanTest" => node.get("arg").is_some_and(|arg| self.is_truth(arg)),
                "SubLink" => self.is_plain_link(node),
                _ => self.is_truth(condition),
            },
            _ => true,
        }
    }

    fn is_plain_link(&self, link: &Node) -> bool {
        let Some(query) = link.child("subselect") else {
            return false;
        };
        let own = link.get("oper_name").is_none_or(|_| {
            link.names("oper_name").is_some_and(
                |names| matches!(names.as_slice(), [name] if COMPARISONS.contains(name)),
            )
        });
        let compares = match (link.int("sub_link_type"), link.get("testexpr")) {
            (EXISTS, None) => true,
            (ANY, Some(test)) => {
                let row = query.list("values_lists");
                let first = query.list("target_list").first();
                match (first.and_then(output), row.is_empty()) {
                    (Some(output), _) => self.are_comparable(&[test, output]),
                    (None, false) => {
                        let column = self.sources.values(row, 0);
                        let test = self.sources.operands(test);
                        test.zip(column).is_some_and(|(mut all, column)| {
                            all.push(column);
                            comparable(&all)
                        })
                    }
                    (None, true) => false,
                }
            }
            _ => false,
        };
        own && compares && self.is_bare(query) && !self.node_may_raise(query)
    }

    fn is_comparison(&self, node: &Node) -> bool {
        let kind = node.int("kind");
        let operator = match node.names("name").as_deref() {
            Some([name]) => name.contains("BETWEEN") || COMPARISONS.contains(name),
            Some(["pg_catalog", name]) => COMPARISONS.contains(name),
            _ => false,
        };
        let (Some(left), Some(right)) = (node.get("lexpr"), node.get("rexpr")) else {
            return false;
        };
        let values = right.items().unwrap_or_else(|| std::slice::from_ref(right));
        if !PLAIN_KINDS.contains(&kind) || !operator {
            return false;
        }
        if kind == IN && values.len() > 1 {
            let elements: Option<Vec<Vec<Operand>>> = values
                .iter()
                .map(|value| self.sources.operands(value))
                .collect();
            let alike = elements.and_then(|elements| together(&elements.concat()));
            if alike.is_none() {
                return false;
            }
        }
        let mut all = vec![left];
        all.extend(values);
        self.are_comparable(&all)
    }

    fn are_comparable(&self, values: &[&Tree]) -> bool {
        let found: Option<Vec<Vec<Operand>>> = values
            .iter()
            .map(|value| self.sources.operands(value))
            .collect();
        found.is_some_and(|operands| comparable(&operands.concat()))
    }

    /// A column or constant that is a condition by itself, without a cast.
    fn is_truth(&self, tree: &Tree) -> bool {
        let operands = self.sources.operands(tree);
        self.is_simple(tree)
            && operands.is_some_and(|operands| operands.iter().all(Constants::is_truth))
    }

    /// A column or a constant: nothing in it is computed from a stored value, nor evaluated so late that it could fail for a
    /// row. What computes a column where it is read is asked of its type.
    fn is_simple(&self, tree: &Tree) -> bool {
        match tree.node() {
            Some(node) if node.kind == "ColumnRef" => {
                let star = node
                    .list("fields")
                    .last()
                    .is_some_and(|last| last.string().is_none());
                star || self.sources.is_stored(node)
            }
            _ => self.sources.constants.operand(tree).is_some(),
        }
    }
}

/// The value of an output column.
fn output(target: &Tree) -> Option<&Tree> {
    target.node()?.get("val")
}

/// Whether an output column goes by that name.
fn has_name(target: &Tree, name: &str, version: u32) -> bool {
    let Some(target) = target.node() else {
        return false;
    };
    match target.text("name") {
        "" => {
            let value = target.child("val");
            value.is_some_and(|value| naming::name(value, version) == name)
        }
        own => own == name,
    }
}

/// What an item of a clause sorts or groups by; `None`: plain DISTINCT's, which stands for all outputs.
fn sort_key(item: &Tree) -> Option<&Tree> {
    let node = item.node().filter(|node| !node.kind.is_empty())?;
    Some(match node.kind {
        "SortBy" => node.get("node").unwrap_or(item),
        _ => item,
    })
}

/// The output column that a number means.
fn numbered<'t>(number: &Node, targets: &'t [Tree]) -> Option<&'t Tree> {
    let number = number.child("val").map_or(0, |val| val.int("ival"));
    targets.get(usize::try_from(number - 1).ok()?)
}

/// Whether an aggregate's or a window function's value takes part: it is there when all joins are done.
fn aggregates(value: &Tree) -> bool {
    match value {
        Tree::List(items) => items.iter().any(aggregates),
        Tree::Node(node) if node.kind == "SubLink" => false,
        Tree::Node(node) => {
            let is_late = node.kind == "FuncCall"
                && (node.get("over").is_some()
                    || node.flag("agg_star")
                    || node
                        .names("funcname")
                        .is_some_and(|names| match names.as_slice() {
                            [name] | ["pg_catalog", name] => AGGREGATES.contains(name),
                            _ => false,
                        }));
            is_late || node.fields.iter().any(|(_, value)| aggregates(value))
        }
        _ => false,
    }
}

/// A number of rows that no LIMIT objects to.
fn is_count(limit: &Tree) -> bool {
    let Some(node) = limit.node().filter(|node| node.kind == "AConst") else {
        return false;
    };
    node.flag("isnull")
        || node
            .child("val")
            .is_some_and(|val| val.kind == "Integer" && val.int("ival") >= 0)
}

/// TABLESAMPLE of a portion that there is.
fn has_portion(sample: &Node) -> bool {
    let percent = |arg: &Tree| {
        let value = arg.node().filter(|arg| arg.kind == "AConst");
        let value = value.and_then(|value| value.child("val"));
        value.is_some_and(|value| match value.kind {
            "Integer" => (0..=100).contains(&value.int("ival")),
            "Float" => {
                let number = value.text("fval").parse::<f64>();
                number.is_ok_and(|number| (0.0..=100.0).contains(&number))
            }
            _ => false,
        })
    };
    let seed = sample.child("repeatable");
    sample.list("args").iter().all(percent)
        && seed.is_none_or(|seed| seed.kind == "AConst" && !seed.flag("isnull"))
}
