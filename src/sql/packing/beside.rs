//! How many rows of the same relation stand side by side in a row of the result: it is named several times, a window
//! function brings another row's value, or an aggregate shows a row that others of its kind do not.
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::calls::{self, Call};
use super::choices::{Choices, Group};
use super::levels::Level;
use super::{Facts, MOST, mentioned_in};
use crate::sql::tree::{Node, Tree};

/// How often relations stand in a row, by name.
type Counts = HashMap<String, u32>;

/// So many sums that only some rows go into count as a row.
const CONDITIONAL: u32 = 4;

/// `FRAMEOPTION_NONDEFAULT` (parsenodes.h): the window has a frame of its own.
const OWN_FRAME: i64 = 1;

/// How many rows a write looks at for a row that it writes, in values and conditions alike, besides the one that is there.
pub(super) fn around(write: &Node, facts: Facts<'_>) -> u32 {
    let mut seen = Seen::new(facts);
    if let Some(with) = write.child("with_clause") {
        seen.with_clause(with);
    }
    seen.level = seen.level.inside(write);
    let mut counts = seen.fields(write, &["with_clause", "relation", "returning_clause"]);
    for item in write.list("from_clause") {
        seen.join_conditions(item, &mut counts);
    }
    let sum = counts
        .values()
        .fold(0, |sum: u32, count| sum.saturating_add(*count));
    sum.saturating_mul(seen.shows.factor()).min(MOST)
}

pub(super) fn side_by_side(statement: &Tree, facts: Facts<'_>) -> u32 {
    let mut seen = Seen::new(facts);
    let counts = seen.tree(statement);
    let factor = seen.shows.factor();
    let most = counts.values().copied().max().unwrap_or(0);
    most.saturating_mul(factor)
}

/// What the outputs of one query show beside a row of their own.
#[derive(Default)]
struct Shows {
    /// Aggregates that show one row, over a column of a relation: `max` and `min` of two columns can be those of the same
    /// rows.
    columns: HashMap<String, BTreeSet<String>>,
    /// ... over anything else.
    shown: u32,
    /// Values that window functions bring from other rows.
    others: u32,
    /// Sums of some rows only, which may be one.
    conditional: u32,
    /// Of those that are shown, what conditions have chosen.
    chosen: u32,
    /// FROM has subqueries or functions: their columns are made.
    made: bool,
    group: Group,
}

impl Shows {
    /// `chosen`: so many rows the conditions of an aggregate can choose.
    fn call(&mut self, node: &Node, chosen: u32) {
        let window = node.child("over");
        let call = calls::call(node);
        let argument = node.list("args").first().and_then(Tree::node);
        self.chosen = self.chosen.saturating_add(chosen);
        match call {
            Call::Another if window.is_some() => self.others += 1,
            Call::Shown if window.is_some() => self.others += 1,
            Call::Number if window.is_some_and(has_frame) => self.others += 1,
            // In a frame of one row a count is a truth about it.
            Call::Plain if calls::counts(node) && window.is_some_and(has_frame) => self.others += 1,
            // By counts and figures alone.
            _ if chosen > 0 => self.shown = self.shown.saturating_add(chosen),
            Call::Number if window.is_some() => self.conditional += 1,
            Call::Shown => match argument.filter(|argument| self.is_column(node, argument)) {
                Some(column) => {
                    let name = column.names("fields").unwrap_or_default().join(".");
                    let of = self.columns.entry(name).or_default();
                    of.insert(calls::name(node).to_owned());
                }
                None => self.shown += 1,
            },
            Call::Number if !argument.is_some_and(|argument| self.is_column(node, argument)) => {
                self.conditional += scaled_arms(node).max(1);
            }
            _ => {}
        }
    }

    fn is_column(&self, call: &Node, argument: &Node) -> bool {
        let whole = ["agg_filter", "agg_within_group"];
        argument.kind == "ColumnRef"
            && !self.made
            && whole.iter().all(|field| call.get(field).is_none())
    }

    fn factor(&self) -> u32 {
        let columns = self.columns.values().map(BTreeSet::len).max().unwrap_or(0);
        let columns = u32::try_from(columns).unwrap_or(MOST);
        let shown = columns
            .saturating_add(self.shown)
            .saturating_add(self.conditional / CONDITIONAL);
        shown.max(1).saturating_add(self.others).min(MOST)
    }
}

/// Arms of CASE that move what they add to another place of a sum, which may be taken apart again.
fn scaled_arms(node: &Node) -> u32 {
    let plain = ["ColumnRef", "AConst", "ParamRef", "CaseExpr"];
    let is_scaled = |result: &Node| !plain.contains(&result.kind);
    let own = node.kind == "CaseWhen" && node.child("result").is_some_and(is_scaled);
    let mut arms = u32::from(own);
    node.each(&mut |inner| arms = arms.saturating_add(scaled_arms(inner)));
    arms
}

/// A window that is not the one a running total has; what a name stands for is not looked up.
fn has_frame(window: &Node) -> bool {
    window.int("frame_options") & OWN_FRAME != 0
        || !window.text("name").is_empty()
        || !window.text("refname").is_empty()
}

struct Seen<'a, 't> {
    facts: Facts<'a>,
    /// What the common table expressions in scope hold, the innermost last.
    common: Vec<(String, Counts)>,
    shows: Shows,
    level: Rc<Level<'t>>,
}

impl<'a, 't> Seen<'a, 't> {
    fn new(facts: Facts<'a>) -> Self {
        Seen {
            facts,
            common: Vec::new(),
            shows: Shows::default(),
            level: Level::outermost(),
        }
    }

    fn with_clause(&mut self, with: &'t Node) {
        for expression in with.list("ctes").iter().filter_map(Tree::node) {
            let counts = self.fields(expression, &[]);
            let name = expression.text("ctename").to_owned();
            self.common.push((name, counts));
        }
    }

    fn tree(&mut self, tree: &'t Tree) -> Counts {
        match tree {
            Tree::List(items) => {
                let mut sum = Counts::new();
                for item in items {
                    add(&mut sum, self.tree(item));
                }
                sum
            }
            Tree::Node(node) => self.node(node),
            _ => Counts::new(),
        }
    }

    fn node(&mut self, node: &'t Node) -> Counts {
        match node.kind {
            "RangeVar" => self.relation(node),
            // `SET (a, b) = (SELECT ...)`: the query stands with each of them.
            "MultiAssignRef" if node.int("colno") > 1 => Counts::new(),
            "SelectStmt" if self.counts_alone(node) => {
                self.shows.conditional += 1;
                Counts::new()
            }
            "SelectStmt" => self.select(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                let level = self.level.inside(node);
                let level = std::mem::replace(&mut self.level, level);
                let counts = self.fields(node, &[]);
                self.level = level;
                counts
            }
            "FuncCall" => {
                let chosen = match calls::counts(node) || calls::call(node) == Call::Number {
                    true => Choices::new(self.facts).chosen(node, &self.level, &self.shows.group),
                    false => 0,
                };
                self.shows.call(node, chosen);
                self.fields(node, &[])
            }
            _ => self.fields(node, &[]),
        }
    }

    /// A query that counts rows and shows none, as the one that says how many pages there are: of all of them, or of those that
    /// no condition on a key chooses.
    fn counts_alone(&self, select: &'t Node) -> bool {
        const NOT: [&str; 7] = [
            "larg",
            "with_clause",
            "group_clause",
            "having_clause",
            "window_clause",
            "distinct_clause",
            "sort_clause",
        ];
        let [target] = select.list("target_list") else {
            return false;
        };
        let call = target.node().and_then(|target| target.child("val"));
        let counts = call.is_some_and(|call| {
            call.kind == "FuncCall"
                && calls::name(call) == "count"
                && call.flag("agg_star")
                && ["over", "agg_filter"]
                    .iter()
                    .all(|field| call.get(field).is_none())
        });
        let plain = |tree: &Tree| tree.node().is_some_and(|node| node.kind == "RangeVar");
        counts
            && NOT
                .iter()
                .all(|field| select.child(field).is_none() && select.list(field).is_empty())
            && select.list("from_clause").iter().all(plain)
            && select.child("where_clause").is_none_or(|condition| {
                let level = self.level.inside(select);
                !Choices::new(self.facts).chooses(condition, &level, &Group::default())
            })
    }

    fn relation(&self, node: &Node) -> Counts {
        let name = node.text("relname");
        if node.text("schemaname").is_empty()
            && let Some((_, counts)) = self.common.iter().rev().find(|(known, _)| known == name)
        {
            return counts.clone();
        }
        if !(self.facts.counted)(node) {
            return Counts::new();
        }
        Counts::from([(format!("{}.{name}", node.text("schemaname")), 1)])
    }

    /// The arms of a set operation give rows one after the other. Conditions show no row, but where a query brings something
    /// of its own to choose from: what a protected row has chosen of all numbers is its value.
    fn select(&mut self, node: &'t Node) -> Counts {
        let made = node.list("from_clause").iter().any(|item| self.makes(item));
        let level = self.level.inside(node);
        let shows = Shows {
            made,
            group: Choices::new(self.facts).group(node, &level),
            ..Shows::default()
        };
        let shows_around = std::mem::replace(&mut self.shows, shows);
        let level_around = std::mem::replace(&mut self.level, level);
        let before = self.common.len();
        if let Some(with) = node.child("with_clause") {
            self.with_clause(with);
        }
        let arms = [node.get("larg"), node.get("rarg")];
        let mut counts = Counts::new();
        for arm in arms.into_iter().flatten() {
            most_of(&mut counts, self.tree(arm));
        }
        let skipped = [
            "with_clause",
            "larg",
            "rarg",
            "where_clause",
            "having_clause",
        ];
        add(&mut counts, self.fields(node, &skipped));
        if node
            .list("from_clause")
            .iter()
            .any(|item| self.brings(item))
        {
            most_of(&mut counts, self.conditions(node));
        }
        self.common.truncate(before);
        self.level = level_around;
        let shows = std::mem::replace(&mut self.shows, shows_around);
        // An aggregate over columns of the query around is that one's.
        if counts.is_empty() {
            self.shows.shown = self.shows.shown.saturating_add(shows.chosen);
            self.shows.chosen = self.shows.chosen.saturating_add(shows.chosen);
        }
        let factor = shows.factor();
        for count in counts.values_mut() {
            *count = count.saturating_mul(factor).min(MOST);
        }
        counts
    }

    /// Whether what stands in FROM may be a list of candidates: rows that are not counted.
    fn brings(&self, tree: &Tree) -> bool {
        let Some(node) = tree.node() else {
            return false;
        };
        match node.kind {
            "RangeVar" => {
                let mut common = self.common.iter().rev();
                let common = common.find(|(known, _)| known == node.text("relname"));
                match common.filter(|_| node.text("schemaname").is_empty()) {
                    Some((_, counts)) => counts.is_empty(),
                    None => !(self.facts.counted)(node),
                }
            }
            "JoinExpr" => ["larg", "rarg"]
                .iter()
                .any(|side| node.get(side).is_some_and(|side| self.brings(side))),
            _ => !mentioned_in(node, self.facts.counted),
        }
    }

    /// What the conditions of a query look at.
    fn conditions(&mut self, node: &'t Node) -> Counts {
        // What they show is not shown beside a row.
        let shows = std::mem::take(&mut self.shows);
        let mut counts = Counts::new();
        for field in ["where_clause", "having_clause"] {
            if let Some(condition) = node.get(field) {
                add(&mut counts, self.tree(condition));
            }
        }
        for item in node.list("from_clause") {
            self.join_conditions(item, &mut counts);
        }
        self.shows = shows;
        counts
    }

    fn join_conditions(&mut self, tree: &'t Tree, counts: &mut Counts) {
        let Some(join) = tree.node().filter(|node| node.kind == "JoinExpr") else {
            return;
        };
        if let Some(condition) = join.get("quals") {
            add(counts, self.tree(condition));
        }
        for side in ["larg", "rarg"] {
            if let Some(side) = join.get(side) {
                self.join_conditions(side, counts);
            }
        }
    }

    /// Whether what stands in FROM gives columns that the statement itself made.
    fn makes(&self, tree: &Tree) -> bool {
        let Some(node) = tree.node() else {
            return true;
        };
        match node.kind {
            "RangeVar" => {
                node.text("schemaname").is_empty()
                    || node
                        .child("alias")
                        .is_some_and(|alias| !alias.list("colnames").is_empty())
            }
            "RangeTableSample" => node
                .get("relation")
                .is_none_or(|relation| self.makes(relation)),
            "JoinExpr" => ["larg", "rarg"]
                .iter()
                .any(|side| node.get(side).is_none_or(|side| self.makes(side))),
            _ => true,
        }
    }

    fn fields(&mut self, node: &'t Node, skipped: &[&str]) -> Counts {
        let mut sum = Counts::new();
        for (name, field) in &node.fields {
            if !skipped.contains(name) && *name != "quals" {
                let counts = self.tree(field);
                add(&mut sum, counts);
            }
        }
        sum
    }
}

fn add(sum: &mut Counts, more: Counts) {
    for (name, count) in more {
        let total = sum.entry(name).or_insert(0);
        *total = total.saturating_add(count).min(MOST);
    }
}

fn most_of(counts: &mut Counts, others: Counts) {
    for (name, count) in others {
        let most = counts.entry(name).or_insert(0);
        *most = count.max(*most);
    }
}
