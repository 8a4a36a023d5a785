//! How many rows of the same relation stand side by side in a row of the result: it is named several times, a window
//! function brings another row's value, or an aggregate shows a row that others of its kind do not.
mod shows;

use std::collections::HashMap;
use std::rc::Rc;

use self::shows::Shows;
use super::calls;
use super::choices::{Choices, Group};
use super::levels::Level;
use super::{FROM, Facts, MOST};
use crate::sql::tree::{Node, Tree};

/// How often relations stand in a row, by name.
type Counts = HashMap<String, u32>;

/// How many rows a write looks at for a row that it writes, in values and conditions alike, besides the one that is there.
pub(super) fn around(write: &Node, facts: Facts<'_>) -> u32 {
    let mut seen = Seen::new(facts);
    if let Some(with) = write.child("with_clause") {
        seen.with_clause(with);
    }
    seen.level = seen.level.inside(write);
    let mut counts = seen.fields(write, &["with_clause", "relation", "returning_clause"]);
    seen.joins(write, &mut counts);
    let sum = counts
        .values()
        .fold(0, |sum: u32, count| sum.saturating_add(*count));
    match (sum, seen.shows.factor()) {
        // Figures alone.
        (0, factor) => factor - 1,
        (sum, factor) => sum.saturating_mul(factor).min(MOST),
    }
}

pub(super) fn side_by_side(statement: &Tree, facts: Facts<'_>) -> u32 {
    let mut seen = Seen::new(facts);
    let counts = seen.tree(statement);
    let factor = seen.shows.factor();
    // Figures of protected rows alone are a row at least.
    let most = counts.values().copied().max().unwrap_or(0).max(1);
    most.saturating_mul(factor)
}

struct Seen<'a, 't> {
    facts: Facts<'a>,
    choices: Choices<'a>,
    /// What the common table expressions in scope hold, the innermost last.
    common: Vec<(String, Counts)>,
    shows: Shows,
    level: Rc<Level<'t>>,
    /// Windows that the query names.
    windows: &'t [Tree],
}

impl<'a, 't> Seen<'a, 't> {
    fn new(facts: Facts<'a>) -> Self {
        Seen {
            facts,
            choices: Choices::new(facts),
            common: Vec::new(),
            shows: Shows::default(),
            level: Level::outermost(),
            windows: &[],
        }
    }

    /// With RECURSIVE each sees all of them: of those that come later a row may hold as many as stand anywhere in the
    /// clause, and its own rows are those of one relation, whatever its name.
    fn with_clause(&mut self, with: &'t Node) {
        let expressions = || with.list("ctes").iter().filter_map(Tree::node);
        let recursive = with.flag("recursive");
        if recursive {
            let mut later = self.mentioned(with);
            let own = |name: &str| expressions().any(|it| name == by_name("", it.text("ctename")));
            later.retain(|name, _| !own(name));
            let later = expressions().map(|it| (it.text("ctename").to_owned(), later.clone()));
            self.common.extend(later);
        }
        for expression in expressions() {
            let name = expression.text("ctename").to_owned();
            if recursive {
                self.common.push((name.clone(), unknown()));
            }
            let counts = self.fields(expression, &[]);
            if recursive {
                self.common.pop();
            }
            self.common.push((name, counts));
        }
    }

    /// All that count of what is named in it.
    fn mentioned(&self, node: &'t Node) -> Counts {
        let mut counts = Counts::new();
        if node.kind == "RangeVar" {
            counts = self.relation(node);
        }
        node.each(&mut |inner| add(&mut counts, self.mentioned(inner)));
        counts
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
                self.shows.of_others().conditional += 1;
                Counts::new()
            }
            "SelectStmt" => self.select(node),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                let level = self.level.inside(node);
                let level = std::mem::replace(&mut self.level, level);
                let before = self.common.len();
                if let Some(with) = node.child("with_clause") {
                    self.with_clause(with);
                }
                let mut counts = self.fields(node, &["with_clause"]);
                self.joins(node, &mut counts);
                self.common.truncate(before);
                self.level = level;
                counts
            }
            "FuncCall" => {
                self.call(node);
                self.fields(node, &[])
            }
            _ => self.fields(node, &[]),
        }
    }

    /// What an aggregate or window function shows. One that gathers is told by what it gives.
    fn call(&mut self, node: &'t Node) {
        let group = &self.shows.group;
        let chosen = match calls::gathers(node) {
            true => 0,
            false if calls::is_aggregate(node) => {
                self.choices
                    .anew()
                    .chosen(node, &self.level, group, self.windows)
            }
            false => 0,
        };
        let shows = match chosen == 0 && self.is_own(node) {
            true => &mut self.shows,
            false => self.shows.of_others(),
        };
        shows.call(node, chosen);
    }

    /// An aggregate of the query that it stands in: of those whose columns its arguments name, the innermost one's.
    fn is_own(&self, call: &'t Node) -> bool {
        let named = ["args", "agg_filter", "agg_order"];
        let mut columns = Vec::new();
        for field in named.iter().filter_map(|field| call.get(field)) {
            field.each(&mut |node| own_columns(node, &mut columns));
        }
        let asks = || call.anywhere(&|node| node.kind == "SelectStmt");
        call.get("over").is_some()
            || (columns.is_empty() && !asks())
            || columns
                .into_iter()
                .any(|column| self.level.has_own(column, self.facts.columns))
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
        // Over several relations it is a sum; rows of a common table expression were chosen there.
        let plain = match select.list("from_clause") {
            [Tree::Node(from)] => from.kind == "RangeVar" && self.common_of(from).is_none(),
            _ => false,
        };
        counts
            && NOT
                .iter()
                .all(|field| select.child(field).is_none() && select.list(field).is_empty())
            && plain
            && select.child("where_clause").is_none_or(|condition| {
                let level = self.level.inside(select);
                !self
                    .choices
                    .anew()
                    .chooses(condition, &level, &Group::default())
            })
    }

    /// What is known of the common table expression of that name.
    fn common_of(&self, node: &Node) -> Option<&Counts> {
        let mut common = self.common.iter().rev();
        let found = common.find(|(known, _)| known == node.text("relname"))?;
        node.text("schemaname").is_empty().then_some(&found.1)
    }

    fn relation(&self, node: &Node) -> Counts {
        match self.common_of(node) {
            Some(counts) => counts.clone(),
            None if (self.facts.counted)(node) => {
                let name = by_name(node.text("schemaname"), node.text("relname"));
                Counts::from([(name, 1)])
            }
            None => Counts::new(),
        }
    }

    /// The arms of a set operation give rows one after the other. Conditions show no row, but where a query brings something
    /// of its own to choose from: what a protected row has chosen of all numbers is its value.
    fn select(&mut self, node: &'t Node) -> Counts {
        let made = node.list("from_clause").iter().any(|item| self.makes(item));
        let level = self.level.inside(node);
        let shows = Shows::of(made, self.choices.anew().group(node, &level));
        let shows_around = std::mem::replace(&mut self.shows, shows);
        let level_around = std::mem::replace(&mut self.level, level);
        let windows = std::mem::replace(&mut self.windows, node.list("window_clause"));
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
        let from = node.list("from_clause");
        if !from.iter().all(|item| self.counts_itself(item)) || from.is_empty() {
            most_of(&mut counts, self.conditions(node));
        }
        self.common.truncate(before);
        self.level = level_around;
        self.windows = windows;
        let mut shows = std::mem::replace(&mut self.shows, shows_around);
        // Nothing is beside it here: it is shown beside what is around.
        if counts.is_empty()
            && let Some(others) = shows.of_others.take()
        {
            self.shows.of_others().add(*others);
        }
        let factor = shows.factor();
        for count in counts.values_mut() {
            *count = count.saturating_mul(factor).min(MOST);
        }
        counts
    }

    /// Rows of what stands in FROM count, each as itself. All else may be a list of candidates, whatever it mentions.
    fn counts_itself(&self, tree: &Tree) -> bool {
        let Some(node) = tree.node() else {
            return false;
        };
        match node.kind {
            "RangeVar" => self.common_of(node).is_none() && (self.facts.counted)(node),
            "RangeTableSample" => node
                .get("relation")
                .is_some_and(|relation| self.counts_itself(relation)),
            "JoinExpr" => ["larg", "rarg"]
                .iter()
                .all(|side| node.get(side).is_some_and(|side| self.counts_itself(side))),
            _ => false,
        }
    }

    /// What the conditions of a query look at.
    fn conditions(&mut self, node: &'t Node) -> Counts {
        // What they show is not shown beside a row, but by it.
        let shows = Shows::of(self.shows.made, self.shows.group.clone());
        let shows = std::mem::replace(&mut self.shows, shows);
        let mut counts = Counts::new();
        for field in ["where_clause", "having_clause"] {
            if let Some(condition) = node.get(field) {
                add(&mut counts, self.tree(condition));
            }
        }
        self.joins(node, &mut counts);
        let mut shown = std::mem::replace(&mut self.shows, shows);
        if let Some(others) = shown.of_others.take() {
            self.shows.of_others().add(*others);
        }
        self.shows.conditions = self.shows.conditions.max(shown.factor());
        counts
    }

    /// Conditions of joins in a query, or a write.
    fn joins(&mut self, node: &'t Node, counts: &mut Counts) {
        for items in FROM.iter().filter_map(|field| node.get(field)) {
            items.each(&mut |item| self.join_conditions(item, counts));
        }
    }

    fn join_conditions(&mut self, item: &'t Node, counts: &mut Counts) {
        if item.kind != "JoinExpr" {
            return;
        }
        if let Some(condition) = item.get("quals") {
            add(counts, self.tree(condition));
        }
        for side in ["larg", "rarg"].iter().filter_map(|side| item.child(side)) {
            self.join_conditions(side, counts);
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

/// Columns that are named in an expression, but not in its subqueries.
fn own_columns<'t>(node: &'t Node, found: &mut Vec<&'t Node>) {
    match node.kind {
        "ColumnRef" => found.push(node),
        "SelectStmt" => {}
        _ => node.each(&mut |inner| own_columns(inner, found)),
    }
}

fn by_name(schema: &str, relation: &str) -> String {
    format!("{schema}.{relation}")
}

/// A row of something that is not known yet: its own turns' in a recursive query.
fn unknown() -> Counts {
    Counts::from([("?".to_owned(), 1)])
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
