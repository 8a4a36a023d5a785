//! Aggregates over chosen rows: whether their conditions can choose one row (`sum(age) FILTER (WHERE id = 7)`), so that the
//! figure is that row's value.
//!
//! A condition can where it names a column that, with those that the query groups by, makes a key. Conditions on other
//! columns, as months and states, give figures of many.
mod ties;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use self::ties::{Other, Ties, address, of_value};
use super::Facts;
use super::calls::{self, Call};
use super::levels::{Level, Origin, Way};
use super::sums::{NULLIF, Sums, is_truth, opens_stored};
use crate::sql::tree::{Node, Tree};

/// Expressions that one aggregate is followed through.
const MOST_STEPS: u32 = 4096;

type Place = (i32, Way);

/// What an expression names that can tell rows apart.
#[derive(Debug, Clone, Default)]
struct Named {
    /// By where the relation stands in the statement, and the way to it.
    relations: BTreeMap<Place, OfRelation>,
    /// A place in an order, or something of which nobody knows where it is from.
    a_row: bool,
    /// A subquery, whose value may be anything.
    asks: bool,
    /// Values of what does not count.
    others: BTreeSet<Other>,
}

#[derive(Debug, Clone, Default)]
struct OfRelation {
    keys: Vec<Vec<String>>,
    /// Those of its columns that belong to a key.
    columns: BTreeSet<String>,
}

impl Named {
    fn has(&self, relation: Place, column: &str) -> bool {
        let of = self.relations.get(&relation);
        of.is_some_and(|of| of.columns.contains(column))
    }

    fn add(&mut self, other: &Named) {
        self.a_row |= other.a_row;
        self.asks |= other.asks;
        for (at, of) in &other.relations {
            let own = self.relations.entry(*at).or_default();
            own.keys.clone_from(&of.keys);
            own.columns.extend(of.columns.iter().cloned());
        }
    }
}

/// What a query groups by.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// Columns of keys that the groups are made of, in any way.
    named: Named,
    /// Those that are themselves what is grouped by: each group has one value.
    plain: Named,
}

pub(super) struct Choices<'a> {
    facts: Facts<'a>,
    left: Cell<u32>,
    ties: Ties,
}

impl<'a> Choices<'a> {
    pub fn new(facts: Facts<'a>) -> Self {
        Choices {
            facts,
            left: Cell::new(MOST_STEPS),
            ties: Ties::default(),
        }
    }

    /// For another call, which may take as many steps.
    pub fn anew(&self) -> &Self {
        self.left.set(MOST_STEPS);
        self
    }

    pub fn group<'t>(&self, query: &'t Node, level: &Rc<Level<'t>>) -> Group {
        let targets = query.list("target_list");
        let target = |at: usize| targets.get(at).and_then(Tree::node)?.child("val");
        let mut group = Group::default();
        let items = query.list("group_clause").iter().filter_map(Tree::node);
        for item in items {
            let position = item
                .child("val")
                .filter(|value| item.kind == "AConst" && value.kind == "Integer");
            let position = position.and_then(|value| usize::try_from(value.int("ival")).ok());
            let own_name = item.names("fields").filter(|_| item.kind == "ColumnRef");
            let named = targets
                .iter()
                .filter_map(Tree::node)
                .filter(|target| own_name.as_deref() == Some(&[target.text("name")]));
            let mut expressions: Vec<&Node> =
                named.filter_map(|target| target.child("val")).collect();
            match position {
                Some(position) => expressions.extend(position.checked_sub(1).and_then(target)),
                None => expressions.push(item),
            }
            for expression in expressions {
                if self.is_stored(expression, level) {
                    // What is held against a column need not be equal to it.
                    let ties = self.ties.leave_out(true);
                    group.plain.add(&self.named(expression, level));
                    self.ties.leave_out(ties);
                }
                group.named.add(&self.named(expression, level));
            }
        }
        group
    }

    /// The expression is a column as it is stored.
    fn is_stored<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) -> bool {
        node.kind == "ColumnRef"
            && self.step()
            && self
                .origins(node, level)
                .into_iter()
                .all(|origin| match origin {
                    Origin::Stored(_, column, _) => column.is_some(),
                    Origin::Made(value, inside) => self.is_stored(value, &inside),
                    Origin::Function(..) | Origin::Unknown => false,
                })
    }

    fn origins<'t>(&self, column: &'t Node, level: &Rc<Level<'t>>) -> Vec<Origin<'t>> {
        level.origins(column, self.facts.columns)
    }

    /// How many rows of their own the figure of an aggregate or window function may be made of, by its conditions.
    /// `windows`: those that the query names.
    pub fn chosen<'t>(
        &self,
        call: &'t Node,
        level: &Rc<Level<'t>>,
        group: &Group,
        windows: &'t [Tree],
    ) -> u32 {
        // A window has rows of all groups.
        let all = Group::default();
        let group = if call.get("over").is_some() {
            &all
        } else {
            group
        };
        let filter = call.child("agg_filter");
        let filtered = filter.is_some_and(|filter| self.chooses(filter, level, group));
        let arguments = call.get("args").unwrap_or(&Tree::Nothing);
        let mut arms = self.arms_of(arguments, level, group);
        // What is added up as it is has no conditions but its arms.
        let sums = Sums::new(self.facts);
        let adds = |value: &'t Node| {
            calls::call(call) == Call::Number && sums.summed(value, level).is_some()
        };
        let values = call.list("args").iter().filter_map(Tree::node);
        let mut values: Vec<&Node> = values.filter(|value| !adds(value)).collect();
        // Which place a row has in an order, or which rows are before it, are truths about it.
        let within = call
            .get("agg_order")
            .filter(|_| call.flag("agg_within_group"));
        let orders = within.into_iter().chain(window_orders(call, windows));
        for order in orders {
            arms = arms.saturating_add(self.arms_of(order, level, group));
            values.extend(
                order
                    .list()
                    .iter()
                    .filter_map(Tree::node)
                    .filter_map(sorted_by),
            );
        }
        let told = values
            .into_iter()
            .any(|value| self.tells(value, level, group));
        arms.max(u32::from(filtered || told))
    }

    fn arms_of<'t>(&self, tree: &'t Tree, level: &Rc<Level<'t>>, group: &Group) -> u32 {
        match tree {
            Tree::List(items) => items
                .iter()
                .map(|item| self.arms_of(item, level, group))
                .fold(0, u32::saturating_add),
            Tree::Node(node) => self.arms(node, level, group),
            _ => 0,
        }
    }

    /// Conditions in an expression that can choose a row, each of which may move another row's value to another place.
    fn arms<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>, group: &Group) -> u32 {
        if !self.step() {
            return 1;
        }
        match node.kind {
            _ if is_truth(node) => u32::from(self.chooses(node, level, group)),
            "CaseExpr" => {
                let whens = node.list("args").iter().filter_map(Tree::node);
                let by = node
                    .child("arg")
                    .is_some_and(|arg| self.chooses(arg, level, group));
                let mut arms: u32 = 0;
                let mut chosen = false;
                for when in whens {
                    let this = by
                        || when
                            .child("expr")
                            .is_some_and(|expr| self.chooses(expr, level, group));
                    chosen |= this;
                    let inner = when
                        .child("result")
                        .map_or(0, |result| self.arms(result, level, group));
                    arms = arms.saturating_add(inner.max(u32::from(this)));
                }
                let otherwise = node.child("defresult");
                let inner = otherwise.map_or(0, |otherwise| self.arms(otherwise, level, group));
                let rest = otherwise.is_some_and(|otherwise| chosen && otherwise.kind != "AConst");
                arms.saturating_add(inner.max(u32::from(rest)))
            }
            "ColumnRef" => {
                let mut most = 0;
                for origin in self.origins(node, level) {
                    if let Origin::Made(value, inside) = origin {
                        most = most.max(self.arms(value, &inside, group));
                    }
                }
                most
            }
            // Its conditions choose among what is there already.
            "SubLink" => 1,
            // These leave out of a sum what does not fit.
            "MinMaxExpr" => self
                .inside(node, level, group)
                .max(u32::from(self.chooses(node, level, group))),
            "AExpr" if node.int("kind") == NULLIF => self
                .inside(node, level, group)
                .max(u32::from(self.chooses(node, level, group))),
            _ => self.inside(node, level, group),
        }
    }

    /// Whether it is a truth about a row that a value is NULL, or is not. A column's own being there is none.
    fn tells<'t>(&self, value: &'t Node, level: &Rc<Level<'t>>, group: &Group) -> bool {
        let any = |trees: &'t [Tree]| {
            let mut nodes = trees.iter().filter_map(Tree::node);
            nodes.any(|node| self.tells(node, level, group))
        };
        let of = |field| {
            value
                .child(field)
                .is_some_and(|node| self.tells(node, level, group))
        };
        match value.kind {
            "AConst" | "ParamRef" => false,
            "ColumnRef" => {
                let mut origins = self.origins(value, level).into_iter();
                self.step()
                    && origins.any(|origin| match origin {
                        Origin::Stored(..) => false,
                        Origin::Made(value, inside) => self.tells(value, &inside, group),
                        // Whether it has given something.
                        Origin::Function(..) => false,
                        Origin::Unknown => true,
                    })
            }
            // What is counted there has conditions of its own.
            "FuncCall" if is_figure(value) => false,
            "CaseExpr" => any(value.list("args")) || of("defresult"),
            // Its condition is an arm.
            "CaseWhen" => of("result"),
            "CoalesceExpr" => any(value.list("args")),
            "TypeCast" | "CollateClause" => of("arg"),
            _ => self.chooses(value, level, group),
        }
    }

    fn inside<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>, group: &Group) -> u32 {
        let fields = node.fields.iter();
        fields
            .map(|(_, field)| self.arms_of(field, level, group))
            .fold(0, u32::saturating_add)
    }

    /// Whether a condition can choose one row within a group.
    pub fn chooses<'t>(&self, condition: &'t Node, level: &Rc<Level<'t>>, group: &Group) -> bool {
        if self.asks_for_rows(condition, level) {
            return false;
        }
        let named = self.named(condition, level);
        let makes = |at: Place, key: &Vec<String>| {
            key.iter().any(|column| named.has(at, column))
                && key
                    .iter()
                    .all(|column| named.has(at, column) || group.named.has(at, column))
                && !key.iter().all(|column| group.plain.has(at, column))
        };
        let mut relations = named.relations.iter();
        named.a_row
            || named.asks
            || relations.any(|(at, of)| of.keys.iter().any(|key| makes(*at, key)))
    }

    /// Whether there is a row at all, by a column of it. By anything else it is a truth about the row.
    fn asks_for_rows<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) -> bool {
        let of = node.child("arg").filter(|_| node.kind == "NullTest");
        of.is_some_and(|of| self.is_as_it_was(of, level))
    }

    /// A column as it is stored, or a whole row, or a constant that stands beside them.
    fn is_as_it_was<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) -> bool {
        match node.kind {
            "AConst" => true,
            "ColumnRef" => {
                let mut origins = self.origins(node, level).into_iter();
                self.step()
                    && origins.all(|origin| match origin {
                        Origin::Stored(..) => true,
                        Origin::Made(value, inside) => self.is_as_it_was(value, &inside),
                        Origin::Function(..) | Origin::Unknown => false,
                    })
            }
            _ => false,
        }
    }

    /// Columns of keys that an expression names.
    fn named<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>) -> Named {
        let mut found = Named::default();
        self.collect(node, level, &mut found);
        found
    }

    fn collect<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>, found: &mut Named) {
        if !self.step() {
            found.a_row = true;
            return;
        }
        match node.kind {
            "ColumnRef" => {
                let mut own = Named::default();
                self.come_from(self.origins(node, level), &mut own);
                self.tied(level, &mut own);
                found.others.append(&mut own.others);
                found.add(&own);
            }
            _ if self.asks_for_rows(node, level) => {}
            // A place in an order; or a value from elsewhere.
            "FuncCall" if node.get("over").is_some() => found.a_row = true,
            "SubLink" => found.asks = true,
            _ => self.fields(node, level, found),
        }
    }

    fn come_from(&self, origins: Vec<Origin<'_>>, found: &mut Named) {
        for origin in origins {
            match origin {
                Origin::Stored(relation, column, way) => {
                    self.stored((relation, way), column, found);
                }
                Origin::Made(value, inside) => {
                    found.others.insert(of_value(value));
                    self.collect(value, &inside, found);
                }
                Origin::Function(function, inside)
                    if opens_stored(function, &inside, self.facts) =>
                {
                    self.fields(function, &inside, found);
                }
                // Numbers of its own that rows are held against.
                Origin::Function(..) | Origin::Unknown => found.a_row = true,
            }
        }
    }

    fn fields<'t>(&self, node: &'t Node, level: &Rc<Level<'t>>, found: &mut Named) {
        node.each(&mut |inner| self.collect(inner, level, found));
    }

    fn stored(&self, (relation, way): (&Node, Way), column: Option<&str>, found: &mut Named) {
        const PLACES: [&str; 5] = ["ctid", "xmin", "xmax", "cmin", "cmax"];
        if !(self.facts.counted)(relation) {
            let column = column.unwrap_or_default().to_owned();
            found.others.insert((address(relation), way, column));
            return;
        }
        let keys = (self.facts.keys)(relation);
        let in_key = |name: &str| keys.iter().flatten().any(|column| column == name);
        let columns: BTreeSet<String> = match column {
            Some(name) if PLACES.contains(&name) => {
                found.a_row = true;
                return;
            }
            Some(name) if !in_key(name) => return,
            Some(name) => BTreeSet::from([name.to_owned()]),
            // The whole row.
            None => keys.iter().flatten().cloned().collect(),
        };
        let of = found.relations.entry((relation.location, way)).or_default();
        of.columns.extend(columns);
        of.keys = keys;
    }

    fn step(&self) -> bool {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                true
            }
            None => false,
        }
    }
}

/// By what the window of a call is divided and sorted. Which of the query's windows it names is not looked up.
fn window_orders<'t>(call: &'t Node, windows: &'t [Tree]) -> impl Iterator<Item = &'t Tree> {
    let own = call.child("over");
    let named = own.is_some_and(calls::is_named);
    let others = windows.iter().filter_map(Tree::node).filter(move |_| named);
    let all = own.into_iter().chain(others);
    all.flat_map(|window| {
        let orders = ["partition_clause", "order_clause"];
        orders.into_iter().filter_map(|clause| window.get(clause))
    })
}

/// What is sorted or divided by.
fn sorted_by(item: &Node) -> Option<&Node> {
    match item.kind {
        "SortBy" => item.child("node"),
        _ => Some(item),
    }
}

/// A count or figure of rows that no window gives.
fn is_figure(call: &Node) -> bool {
    let figures = calls::counts(call) || calls::call(call) == Call::Number;
    figures && call.get("over").is_none() && call.get("agg_filter").is_none()
}
