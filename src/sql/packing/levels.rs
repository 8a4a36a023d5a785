//! Where a column's value comes from: a relation, or an expression further inside the statement. Followed when it is asked
//! for, through subqueries and common table expressions.
use std::cell::Cell;
use std::rc::Rc;

use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

/// Queries within queries that a column is followed through.
const MAX_DEPTH: usize = 16;

/// Queries that are looked into for a statement: common table expressions that name each other twice could make it endless.
const MOST_LOOKUPS: u32 = 50_000;

/// Names of unnamed columns differ between versions for few expressions alone, which nothing is hidden by here.
const VERSION: u32 = 150_000;

type Commons<'t> = Rc<Vec<(&'t str, &'t Node)>>;

/// What a query's FROM offers.
#[derive(Clone)]
pub(super) struct Level<'t> {
    sources: Vec<Source<'t>>,
    commons: Commons<'t>,
    /// What is seen beyond, where a name is none of these.
    outer: Option<Rc<Level<'t>>>,
    depth: usize,
    left: Rc<Cell<u32>>,
}

#[derive(Clone)]
struct Source<'t> {
    alias: &'t str,
    /// Names that the alias gives to its columns.
    names: Vec<&'t str>,
    from: From<'t>,
}

#[derive(Clone, Copy)]
enum From<'t> {
    Relation(&'t Node),
    Query(&'t Node),
    Function(&'t Node),
}

/// Where the value of a column may come from.
pub(super) enum Origin<'t> {
    /// The column of a relation, which its `RangeVar` says; `None`: any or all of them.
    Stored(&'t Node, Option<&'t str>),
    /// This expression, among these names.
    Made(&'t Node, Rc<Level<'t>>),
    /// A function's result.
    Function(&'t Node, Rc<Level<'t>>),
    /// Nobody knows.
    Unknown,
}

impl<'t> Level<'t> {
    /// Where there is nothing to name.
    pub fn outermost() -> Rc<Self> {
        Rc::new(Level {
            sources: Vec::new(),
            commons: Rc::default(),
            outer: None,
            depth: 0,
            left: Rc::new(Cell::new(MOST_LOOKUPS)),
        })
    }

    /// The names of a query inside this one.
    pub fn inside(self: &Rc<Self>, query: &'t Node) -> Rc<Self> {
        let mut commons = Rc::clone(&self.commons);
        if let Some(with) = query.child("with_clause") {
            let own = with.list("ctes").iter().filter_map(Tree::node);
            let own =
                own.filter_map(|common| Some((common.text("ctename"), common.child("ctequery")?)));
            commons = Rc::new(self.commons.iter().copied().chain(own).collect());
        }
        let mut level = Level {
            sources: Vec::new(),
            commons,
            outer: Some(Rc::clone(self)),
            depth: self.depth + 1,
            left: Rc::clone(&self.left),
        };
        for field in ["relation", "from_clause", "using_clause", "source_relation"] {
            match query.get(field) {
                Some(Tree::List(items)) => items.iter().for_each(|item| level.add(item)),
                Some(item) => level.add(item),
                None => {}
            }
        }
        Rc::new(level)
    }

    fn add(&mut self, item: &'t Tree) {
        let Some(node) = item.node() else {
            return;
        };
        let alias = node.child("alias");
        let names = alias.map_or(Vec::new(), |alias| {
            alias
                .list("colnames")
                .iter()
                .filter_map(Tree::string)
                .collect()
        });
        let alias = alias.map_or("", |alias| alias.text("aliasname"));
        let from = match node.kind {
            "RangeVar" => {
                let name = node.text("relname");
                let common = self
                    .commons
                    .iter()
                    .rev()
                    .find(|(common, _)| *common == name);
                match common.filter(|_| node.text("schemaname").is_empty()) {
                    Some((_, query)) => From::Query(query),
                    None => From::Relation(node),
                }
            }
            "RangeSubselect" => match node.child("subquery") {
                Some(query) => From::Query(query),
                None => return,
            },
            "RangeTableSample" => {
                if let Some(relation) = node.get("relation") {
                    self.add(relation);
                }
                return;
            }
            "JoinExpr" => {
                for side in ["larg", "rarg"] {
                    if let Some(side) = node.get(side) {
                        self.add(side);
                    }
                }
                return;
            }
            _ => From::Function(node),
        };
        let alias = match (alias, from) {
            ("", From::Relation(_) | From::Query(_)) => node.text("relname"),
            (alias, _) => alias,
        };
        self.sources.push(Source { alias, names, from });
    }

    /// Where the value of a column reference may come from.
    pub fn origins(self: &Rc<Self>, column: &'t Node) -> Vec<Origin<'t>> {
        let fields = column.list("fields");
        let names: Vec<&str> = fields.iter().filter_map(Tree::string).collect();
        let star = naming::is_star(column);
        let (alias, name) = match names.as_slice() {
            [alias] if star => (Some(*alias), None),
            [name] => (None, Some(*name)),
            [.., alias, name] if !star => (Some(*alias), Some(*name)),
            _ => (None, None),
        };
        let mut found = Vec::new();
        for source in &self.sources {
            match (alias, name) {
                (Some(alias), _) if source.alias != alias => {}
                (None, Some(name)) if source.alias == name => {
                    self.of_source(source, None, &mut found)
                }
                _ => self.of_source(source, name, &mut found),
            }
        }
        match (&self.outer, found.is_empty()) {
            (_, false) => found,
            (Some(outer), true) => outer.origins(column),
            (None, true) => vec![Origin::Unknown],
        }
    }

    fn of_source(
        self: &Rc<Self>,
        source: &Source<'t>,
        name: Option<&'t str>,
        found: &mut Vec<Origin<'t>>,
    ) {
        let position = source.names.iter().position(|known| Some(*known) == name);
        match source.from {
            // Which column a new name stands for is not known here.
            From::Relation(relation) if source.names.is_empty() => {
                found.push(Origin::Stored(relation, name))
            }
            From::Relation(relation) => found.push(Origin::Stored(relation, None)),
            From::Function(function) => {
                // Their only column has the name that the alias gives.
                let named = name.is_none() || position.is_some() || !is_scalar(function);
                found.extend(named.then(|| Origin::Function(function, Rc::clone(self))));
            }
            From::Query(_) if self.depth > MAX_DEPTH => found.push(Origin::Unknown),
            From::Query(query) => match (position, name) {
                (Some(position), _) => self.column(query, Which::At(position), found),
                (None, Some(name)) => self.column(query, Which::Named(name), found),
                (None, None) => self.column(query, Which::All, found),
            },
        }
    }

    /// The column of a query.
    fn column(self: &Rc<Self>, query: &'t Node, which: Which<'t>, found: &mut Vec<Origin<'t>>) {
        let left = self.left.get();
        if query.kind != "SelectStmt" || left == 0 {
            found.push(Origin::Unknown);
            return;
        }
        self.left.set(left - 1);
        if let (Some(left), Some(right)) = (query.child("larg"), query.child("rarg")) {
            let level = self.inside(query);
            // The first one gives the names.
            let place = match which {
                Which::Named(name) => place(left, name).map_or(Which::All, Which::At),
                which => which,
            };
            for arm in [left, right] {
                match level.depth > MAX_DEPTH {
                    true => found.push(Origin::Unknown),
                    false => level.column(arm, place, found),
                }
            }
            return;
        }
        let level = self.inside(query);
        let targets: Vec<&Node> = query
            .list("target_list")
            .iter()
            .filter_map(Tree::node)
            .collect();
        for row in query.list("values_lists") {
            let values = row.items().unwrap_or_default();
            let values = values.iter().filter_map(Tree::node);
            found.extend(values.map(|value| Origin::Made(value, Rc::clone(&level))));
        }
        let stars = targets
            .iter()
            .any(|target| target.child("val").is_some_and(naming::is_star));
        let before = found.len();
        for (at, target) in targets.iter().enumerate() {
            let Some(value) = target.child("val") else {
                continue;
            };
            let star = naming::is_star(value);
            let is_it = match which {
                Which::All => true,
                Which::At(position) => stars || at == position,
                Which::Named(name) => !star && named(target) == Some(name),
            };
            match (is_it, star, which) {
                (true, false, _) => found.push(Origin::Made(value, Rc::clone(&level))),
                (true, true, _) => found.extend(level.origins(value)),
                _ => {}
            }
        }
        // It is behind a star then.
        if let (true, Which::Named(name)) = (found.len() == before, which) {
            for target in targets.iter().filter_map(|target| target.child("val")) {
                if !naming::is_star(target) {
                    continue;
                }
                let of = target.list("fields").iter().find_map(Tree::string);
                for source in level
                    .sources
                    .iter()
                    .filter(|source| of.is_none_or(|of| of == source.alias))
                {
                    level.of_source(source, Some(name), found);
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Which<'t> {
    Named(&'t str),
    At(usize),
    All,
}

/// Functions in FROM that give one column.
fn is_scalar(from: &Node) -> bool {
    fn calls<'t>(tree: &'t Tree, found: &mut Vec<&'t Node>) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| calls(item, found)),
            Tree::Node(node) if node.kind == "FuncCall" => found.push(node),
            Tree::Node(node) if node.kind == "List" => {
                calls(node.get("items").unwrap_or(&Tree::Nothing), found)
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    calls(from.get("functions").unwrap_or(&Tree::Nothing), &mut found);
    match found.as_slice() {
        [call] => {
            let name = call.list("funcname").last().and_then(Tree::string);
            match name {
                Some("generate_series") => true,
                Some("unnest") => call.list("args").len() == 1,
                _ => false,
            }
        }
        _ => false,
    }
}

fn named(target: &Node) -> Option<&str> {
    match target.text("name") {
        "" => target
            .child("val")
            .and_then(|value| naming::known(value, VERSION)),
        name => Some(name),
    }
}

/// Where a query's first arm has a column of that name, if no star stands there.
fn place(query: &Node, name: &str) -> Option<usize> {
    if let Some(left) = query.child("larg") {
        return place(left, name);
    }
    let targets = query.list("target_list");
    let star = |target: &Tree| {
        target
            .node()
            .and_then(|target| target.child("val"))
            .is_none_or(naming::is_star)
    };
    if targets.iter().any(star) {
        return None;
    }
    targets
        .iter()
        .position(|target| target.node().and_then(named) == Some(name))
}
