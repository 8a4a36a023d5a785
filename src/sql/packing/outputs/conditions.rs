//! Conditions carry values: what is picked from a list of candidates by a gathered value is that value, and so is a truth
//! about it.
use std::rc::Rc;
use std::sync::Arc;

use super::super::calls::{self, Call};
use super::super::levels::{Has, Level, Origin};
use super::super::sums::collect;
use super::super::{FROM, Holding};
use super::columns::Outputs;
use super::forms::{chosen, either, truth};
use super::names::name_of;
use super::{Given, NO_LEVEL, Reader};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Element, Own};

/// Clauses of a query or write that choose its rows.
const CLAUSES: [&str; 5] = [
    "where_clause",
    "having_clause",
    "join_condition",
    "limit_count",
    "limit_offset",
];
/// Those that sort and divide them.
const ORDERS: [&str; 3] = ["group_clause", "distinct_clause", "sort_clause"];

impl<'t> Reader<'_, 't> {
    /// Where gathered values choose rows of a query or write, whose FROM is the innermost scope, candidates are those
    /// values: gives the outermost level of the scope that they are of.
    pub(super) fn choose_candidates(&mut self, query: &'t Node) -> usize {
        let mut looked = self.looked_before;
        for clause in CLAUSES.iter().filter_map(|clause| query.get(clause)) {
            looked = looked.min(self.asks(clause));
        }
        for clause in query
            .list("merge_when_clauses")
            .iter()
            .filter_map(Tree::node)
        {
            let condition = clause.get("condition");
            looked = looked.min(condition.map_or(NO_LEVEL, |condition| self.asks(condition)));
        }
        for items in FROM.iter().filter_map(|field| query.get(field)) {
            looked = looked.min(self.joins_ask(items));
        }
        for item in ORDERS.iter().flat_map(|clause| query.list(clause)) {
            if own_output(item, query).is_none() {
                looked = looked.min(self.sorts(item));
            }
        }
        for window in query.list("window_clause").iter().filter_map(Tree::node) {
            let level = self.window_looks(window);
            self.windows_look |= level != NO_LEVEL;
            looked = looked.min(level);
        }
        if looked != NO_LEVEL {
            self.mark_candidates();
        }
        looked
    }

    /// The outermost level whose gathered values a condition says something of.
    fn asks(&mut self, condition: &'t Tree) -> usize {
        let before = self.met.replace(NO_LEVEL);
        let holding = self.of(condition);
        let met = self.met.get();
        self.met.set(before.min(met));
        match truth(holding) {
            Own => NO_LEVEL,
            _ => met.min(self.own_level()),
        }
    }

    fn own_level(&self) -> usize {
        self.scope.len().saturating_sub(1)
    }

    /// Conditions of joins.
    fn joins_ask(&mut self, tree: &'t Tree) -> usize {
        let node = match tree {
            Tree::List(items) => {
                let levels = items.iter().map(|item| self.joins_ask(item));
                return levels.min().unwrap_or(NO_LEVEL);
            }
            Tree::Node(node) if node.kind == "JoinExpr" => node,
            _ => return NO_LEVEL,
        };
        let own = self.scope.last().map_or(&[][..], Vec::as_slice);
        let joined = |name: &str| {
            let mut held = own.iter().filter_map(|source| source.outputs.named(name));
            held.any(|(holding, _)| truth(holding) != Own)
        };
        let mut using = node.list("using_clause").iter().filter_map(Tree::string);
        let mut gathered = own.iter().map(|source| source.outputs.worst());
        let natural = node.flag("is_natural") && gathered.any(|worst| truth(worst) != Own);
        let mut looked = match natural || using.any(joined) {
            true => self.own_level(),
            false => NO_LEVEL,
        };
        for field in ["quals", "larg", "rarg"] {
            let Some(part) = node.get(field) else {
                continue;
            };
            looked = looked.min(match field {
                "quals" => self.asks(part),
                _ => self.joins_ask(part),
            });
        }
        looked
    }

    /// What is sorted or divided by: by a list of its own rows these are put in an order, by anything else that is gathered
    /// they are chosen.
    fn sorts(&mut self, item: &'t Tree) -> usize {
        let Some(node) = item.node() else {
            return NO_LEVEL;
        };
        let node = match node.kind {
            "SortBy" => node.get("node"),
            _ => Some(item),
        };
        match node {
            Some(Tree::Node(column)) if column.kind == "ColumnRef" => self.sorts_by(column),
            Some(Tree::Node(call)) if calls::gathers(uncast(call)) => NO_LEVEL,
            Some(value) => self.asks(value),
            None => NO_LEVEL,
        }
    }

    fn sorts_by(&self, column: &Node) -> usize {
        let mut own = self.scope.last().into_iter().flatten();
        let candidates = own.any(|source| {
            let held = self.in_source(name_of(column), source, false);
            source.given != Given::Counted && held.is_some_and(|(held, _)| truth(held) != Own)
        });
        match candidates {
            true => self.own_level(),
            false => NO_LEVEL,
        }
    }

    /// Output columns that a query is sorted or divided by, once it is known what they hold.
    pub(super) fn sorts_look(&mut self, query: &'t Node, outputs: &Outputs) -> usize {
        let items = ORDERS.iter().flat_map(|clause| query.list(clause));
        let mut targets = items.filter_map(|item| own_output(item, query));
        let looks = targets.any(|(at, value)| {
            let bare = value.kind == "ColumnRef" && self.sorts_by(value) == NO_LEVEL;
            let held = match outputs.stars.is_empty() {
                true => outputs.columns.get(at).map(|(_, held)| held.clone()),
                false => Some(outputs.worst()),
            };
            let held = held.map_or(Own, truth);
            held != Own && !bare && !calls::gathers(uncast(value))
        });
        // Of whatever level they are.
        if looks { 0 } else { NO_LEVEL }
    }

    /// Whether rows of a set operation are chosen, which names its columns alone.
    pub(super) fn union_looks(&mut self, query: &'t Node, outputs: &Outputs) -> usize {
        let limits = ["limit_count", "limit_offset"];
        let mut looked = NO_LEVEL;
        for limit in limits.iter().filter_map(|limit| query.get(limit)) {
            looked = looked.min(self.asks(limit));
        }
        let element = |(_, held): &(_, Holding)| matches!(held, Element(_));
        if !query.list("sort_clause").is_empty() && outputs.columns.iter().any(element) {
            looked = 0;
        }
        looked
    }

    fn window_looks(&mut self, window: &'t Node) -> usize {
        let mut looked = NO_LEVEL;
        for clause in ["partition_clause", "order_clause"] {
            for item in window.list(clause) {
                looked = looked.min(self.sorts(item));
            }
        }
        for offset in ["start_offset", "end_offset"] {
            let offset = window.get(offset);
            looked = looked.min(offset.map_or(NO_LEVEL, |offset| self.asks(offset)));
        }
        looked
    }

    /// What chooses the rows that an aggregate or window function is of, or puts them in an order.
    pub(super) fn call_conditions(&mut self, node: &'t Node) -> Holding {
        let arguments: Vec<&Node> = node.list("args").iter().filter_map(Tree::node).collect();
        let filter = node.child("agg_filter");
        let mut by = filter.map_or(Own, |filter| self.condition(filter, &arguments));
        let mut looked = NO_LEVEL;
        if !node.flag("agg_within_group") {
            for item in node.list("agg_order") {
                looked = looked.min(self.sorts(item));
            }
        }
        if let Some(window) = node.child("over") {
            looked = looked.min(self.window_looks(window));
            if self.windows_look && calls::is_named(window) {
                looked = 0;
            }
        }
        if looked != NO_LEVEL {
            by = either(by, Element(Arc::from("")));
        }
        by
    }

    /// Candidates are what they were chosen by: a row of a relation or function is one value, and of whatever else was put
    /// together each column.
    fn mark_candidates(&mut self) {
        let Some(level) = self.scope.last_mut() else {
            return;
        };
        for source in level.iter_mut() {
            if source.given == Given::Counted {
                continue;
            }
            self.candidates += 1;
            let key: Arc<str> = match source.given {
                Given::One => format!("candidate {}", self.candidates).into(),
                _ => Arc::from(""),
            };
            source.stored = None;
            for column in &mut source.outputs.columns {
                if column.1 == Own {
                    column.1 = Element(Arc::clone(&key));
                }
            }
        }
    }

    /// What a query gives whose rows gathered values have chosen: all but columns of rows that count as they are says what
    /// those values were.
    pub(super) fn all_chosen(&self, mut outputs: Outputs, targets: &[Tree]) -> Outputs {
        let own = self.scope.last().map_or(&[][..], Vec::as_slice);
        if !own.iter().any(|source| source.given == Given::Counted) {
            return all_of_them(outputs);
        }
        let values = targets.iter().filter_map(Tree::node);
        let values: Vec<&Node> = values.filter_map(|target| target.child("val")).collect();
        let told = outputs.stars.is_empty() && values.len() == outputs.columns.len();
        let stays = |value: &Node| naming::is_star(value) || self.is_of_rows(value);
        let all_stay = values.iter().all(|value| stays(value));
        for (at, column) in outputs.columns.iter_mut().enumerate() {
            let stays = match told {
                true => values.get(at).is_some_and(|value| stays(value)),
                false => all_stay,
            };
            if column.1 == Own && !stays {
                column.1 = Element(Arc::from(""));
            }
        }
        outputs
    }

    /// Made of columns of rows that count as they are, and of nothing else.
    fn is_of_rows(&self, value: &Node) -> bool {
        let mut columns = Vec::new();
        collect(value, &mut columns);
        let own = self.scope.last().map_or(&[][..], Vec::as_slice);
        let counted = |column: &&Node| {
            let name = name_of(column);
            let mut of = own
                .iter()
                .filter(|source| self.in_source(name, source, false).is_some());
            of.all(|source| source.given == Given::Counted)
        };
        !columns.is_empty() && columns.iter().all(counted) && !value.anywhere(&makes_rows)
    }

    /// What a condition says of a gathered value that does not come out itself, as in `CASE WHEN list = '' THEN NULL ELSE list END`.
    pub(super) fn condition(&mut self, node: &'t Node, results: &[&Node]) -> Holding {
        let operand = match node.kind {
            "NullTest" => node.child("arg"),
            "AExpr" if compares_with_constant(node) => node.child("lexpr"),
            _ => None,
        };
        let comes_out = operand.is_some_and(|operand| {
            let operand = uncast(operand);
            results.iter().any(|result| uncast(result) == operand)
        });
        match comes_out {
            true => Own,
            false => truth(self.expression(node)),
        }
    }

    /// A truth about whether there is anything is none about a row.
    pub(super) fn null_test(&mut self, node: &'t Node) -> Holding {
        match node.child("arg") {
            Some(inner) if self.is_whole(uncast(inner)) => Own,
            Some(inner) => truth(self.expression(inner)),
            None => Own,
        }
    }

    /// All rows of a stored column in an array, a list or a document.
    pub(super) fn is_whole(&self, node: &'t Node) -> bool {
        let argument = node.list("args").first().and_then(Tree::node);
        node.kind == "FuncCall"
            && calls::gathers(node)
            && node.get("agg_filter").is_none()
            && argument.is_some_and(|argument| is_stored(argument, &self.level, self.facts.columns))
    }
}

/// A column, or whole rows, as they are stored.
fn is_stored<'t>(node: &'t Node, level: &Rc<Level<'t>>, has: Has<'_>) -> bool {
    let stored = |origin: Origin<'t>| match origin {
        Origin::Stored(..) => true,
        Origin::Made(value, inside) => is_stored(value, &inside, has),
        Origin::Function(..) | Origin::Unknown => false,
    };
    node.kind == "ColumnRef" && level.origins(node, has).into_iter().all(stored)
}

/// All columns of a query whose rows such a value has chosen.
pub(super) fn all_of_them(mut outputs: Outputs) -> Outputs {
    for column in &mut outputs.columns {
        let holding = std::mem::take(&mut column.1);
        column.1 = chosen(holding, Element(Arc::from("")));
    }
    outputs
}

/// The output column that a query is sorted or divided by under its name or number.
fn own_output<'t>(item: &'t Tree, query: &'t Node) -> Option<(usize, &'t Node)> {
    let node = item.node()?;
    let node = match node.kind {
        "SortBy" => node.child("node")?,
        _ => node,
    };
    let targets = query.list("target_list");
    let at = match node.kind {
        "AConst" => usize::try_from(node.child("val")?.int("ival"))
            .ok()?
            .checked_sub(1)?,
        "ColumnRef" => {
            let [name] = node.names("fields")?[..] else {
                return None;
            };
            let is_it = |target: &Tree| target.node().is_some_and(|it| it.text("name") == name);
            targets.iter().position(is_it)?
        }
        _ => return None,
    };
    Some((at, targets.get(at)?.node()?.child("val")?))
}

/// Functions that give one value for a row, made of what is there.
const SCALAR: [&str; 28] = [
    "abs",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "concat",
    "concat_ws",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "format",
    "initcap",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "now",
    "replace",
    "right",
    "round",
    "rpad",
    "rtrim",
    "substring",
    "to_char",
    "upper",
];

/// A call that may say more than what stands in a row: how many there are, or which, or that gives several.
fn makes_rows(node: &Node) -> bool {
    match node.kind {
        "FuncCall" => node.get("over").is_some() || !SCALAR.contains(&calls::name(node)),
        "SubLink" => true,
        _ => false,
    }
}

/// An output that gives one value for a row or group, and no list of candidates.
pub(super) fn keeps_rows(target: &Tree) -> bool {
    fn gives_one(tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().all(gives_one),
            Tree::Node(node) => match node.kind {
                "SelectStmt" => true,
                "FuncCall" => {
                    let known = SCALAR.contains(&calls::name(node))
                        || calls::counts(node)
                        || node.get("over").is_some()
                        || !matches!(calls::call(node), Call::Plain | Call::Other);
                    known && node.fields.iter().all(|(_, field)| gives_one(field))
                }
                _ => node.fields.iter().all(|(_, field)| gives_one(field)),
            },
            _ => true,
        }
    }
    gives_one(target)
}

/// What is cast, to whatever type.
pub(super) fn uncast(node: &Node) -> &Node {
    match node.child("arg").filter(|_| node.kind == "TypeCast") {
        Some(inner) => uncast(inner),
        None => node,
    }
}

fn compares_with_constant(node: &Node) -> bool {
    let operator = node.names("name").unwrap_or_default();
    matches!(operator.last(), Some(&("=" | "<>" | "!=")))
        && node
            .child("rexpr")
            .is_some_and(|right| uncast(right).kind == "AConst")
}
