//! Where a column's value comes from: a relation, or an expression further inside the statement. Followed when it is asked
//! for, through subqueries and common table expressions.
mod from;

use std::cell::Cell;
use std::rc::Rc;

use self::from::{add, is_scalar};
use super::FROM;
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

/// Queries within queries that a column is followed through.
const MAX_DEPTH: usize = 16;

/// Queries that are looked into for a statement: common table expressions that name each other twice could make it endless.
const MOST_LOOKUPS: u32 = 50_000;

/// Names of unnamed columns differ between versions for few expressions alone, which nothing is hidden by here.
const VERSION: u32 = 150_000;

/// A WITH clause.
struct Clause<'t> {
    /// Names and queries, in the order of the text.
    expressions: Vec<(&'t str, &'t Node)>,
    /// Each sees all of them, itself as well; otherwise those before it.
    recursive: bool,
    /// What the query that has the clause stands in.
    around: Commons<'t>,
    outer: Option<Rc<Level<'t>>>,
}

/// The common table expressions that a query sees: so many of a clause, and those around it.
type Commons<'t> = Option<(Rc<Clause<'t>>, usize)>;

/// What a query stands in: which common table expressions it sees, and whose columns.
type Place<'t> = (Commons<'t>, Option<Rc<Level<'t>>>);

/// By which references to common table expressions a row was reached: two references are two rows.
pub(super) type Way = u64;

/// Whether a relation may have a column of that name.
pub(super) type Has<'f> = &'f dyn Fn(&Node, &str) -> bool;

/// What a query's FROM offers.
#[derive(Clone)]
pub(super) struct Level<'t> {
    sources: Rc<Vec<Source<'t>>>,
    /// So many of them are seen: what is lateral sees those before it.
    seen: usize,
    commons: Commons<'t>,
    /// What is seen beyond, where a name is none of these.
    outer: Option<Rc<Level<'t>>>,
    depth: usize,
    way: Way,
    /// Whose names they are.
    query: Option<&'t Node>,
    left: Rc<Cell<u32>>,
}

struct Source<'t> {
    alias: &'t str,
    /// Names that the alias gives to its columns.
    names: Vec<&'t str>,
    from: From<'t>,
    /// The alias of `JOIN ... USING (...) AS j`: a name with it alone is one of these.
    qualified: bool,
}

enum From<'t> {
    Relation(&'t Node),
    /// A subquery, and whether it sees what stands before it.
    Query(&'t Node, bool),
    /// A common table expression, where it stands, and the reference to it.
    Common(&'t Node, Place<'t>, &'t Node),
    Function(&'t Node),
    /// Columns under names that they have not had before.
    Unknown,
}

/// Where the value of a column may come from.
pub(super) enum Origin<'t> {
    /// The column of a relation, which its `RangeVar` says, and the way to it; `None`: any or all of them.
    Stored(&'t Node, Option<&'t str>, Way),
    /// This expression, among these names.
    Made(&'t Node, Rc<Level<'t>>),
    /// A function's result.
    Function(&'t Node, Rc<Level<'t>>),
    /// Nobody knows.
    Unknown,
}

/// The common table expression of that name that is seen, and what it stands in.
fn common<'t>(
    seen: &Commons<'t>,
    is_it: impl Fn(&str, &'t Node) -> bool,
) -> Option<(&'t Node, Place<'t>)> {
    let mut seen = seen;
    while let Some((clause, so_many)) = seen {
        let before = clause.expressions.iter().take(*so_many).enumerate().rev();
        for (at, (name, query)) in before {
            if is_it(name, query) {
                let sees = if clause.recursive {
                    clause.expressions.len()
                } else {
                    at
                };
                return Some((
                    query,
                    (Some((Rc::clone(clause), sees)), clause.outer.clone()),
                ));
            }
        }
        seen = &clause.around;
    }
    None
}

impl<'t> Level<'t> {
    /// Where there is nothing to name.
    pub fn outermost() -> Rc<Self> {
        Rc::new(Level {
            sources: Rc::default(),
            seen: 0,
            commons: None,
            outer: None,
            depth: 0,
            way: 0,
            query: None,
            left: Rc::new(Cell::new(MOST_LOOKUPS)),
        })
    }

    /// The names of a query inside this one: in its FROM, in its WITH, or in an expression of it.
    pub fn inside(self: &Rc<Self>, query: &'t Node) -> Rc<Self> {
        let of_from = |source: &Source<'t>| matches!(source.from, From::Query(own, _) if std::ptr::eq(own, query));
        let place = match self.sources.iter().position(of_from) {
            Some(at) => self.place_of(at),
            None => match common(&self.commons, |_, own| std::ptr::eq(own, query)) {
                Some((_, place)) => place,
                None => (self.commons.clone(), Some(Rc::clone(self))),
            },
        };
        self.at(query, place, self.way)
    }

    /// What the subquery in FROM stands in that is the source of that index.
    fn place_of(self: &Rc<Self>, at: usize) -> Place<'t> {
        let outer = match self.sources.get(at).map(|source| &source.from) {
            Some(From::Query(_, false)) => self.outer.clone(),
            _ => Some(self.before(at)),
        };
        (self.commons.clone(), outer)
    }

    /// What is seen by what is lateral and stands there.
    fn before(&self, at: usize) -> Rc<Self> {
        let mut level = self.clone();
        level.seen = at.min(self.seen);
        Rc::new(level)
    }

    /// The names of a query that stands there.
    fn at(&self, query: &'t Node, (mut commons, outer): Place<'t>, way: Way) -> Rc<Self> {
        if let Some(with) = query.child("with_clause") {
            let own = with.list("ctes").iter().filter_map(Tree::node);
            let own =
                own.filter_map(|common| Some((common.text("ctename"), common.child("ctequery")?)));
            let clause = Clause {
                expressions: own.collect(),
                recursive: with.flag("recursive"),
                around: commons,
                outer: outer.clone(),
            };
            let so_many = clause.expressions.len();
            commons = Some((Rc::new(clause), so_many));
        }
        let mut sources = Vec::new();
        let fields = ["relation"].iter().chain(&FROM);
        for items in fields.filter_map(|field| query.get(field)) {
            items.each(&mut |item| add(&mut sources, item, &commons));
        }
        Rc::new(Level {
            seen: sources.len(),
            sources: Rc::new(sources),
            commons,
            outer,
            depth: self.depth + 1,
            way,
            query: Some(query),
            left: Rc::clone(&self.left),
        })
    }

    fn seen(&self) -> impl Iterator<Item = (usize, &Source<'t>)> {
        self.sources.iter().take(self.seen).enumerate()
    }

    /// The query whose names they are, and the way to it.
    pub fn query(&self) -> Option<(&'t Node, Way)> {
        Some((self.query?, self.way))
    }

    /// Where columns of that name in this query's FROM may come from.
    pub fn columns_named(self: &Rc<Self>, name: &'t str, has: Has<'_>) -> Vec<Origin<'t>> {
        let mut found = Vec::new();
        self.in_this(None, Some(name), has, &mut found);
        found
    }

    /// Where the value of a column reference may come from.
    pub fn origins(self: &Rc<Self>, column: &'t Node, has: Has<'_>) -> Vec<Origin<'t>> {
        let (alias, name) = match names(column).as_slice() {
            [alias] if naming::is_star(column) => (Some(*alias), None),
            [name] => (None, Some(*name)),
            [.., alias, name] if !naming::is_star(column) => (Some(*alias), Some(*name)),
            _ => (None, None),
        };
        let mut found = Vec::new();
        self.look(alias, name, has, &mut found);
        if found.is_empty() {
            found.push(Origin::Unknown);
        }
        found
    }

    /// Whether a column of that name in an expression here is of this query for sure.
    pub fn has_own(self: &Rc<Self>, column: &'t Node, has: Has<'_>) -> bool {
        match names(column).as_slice() {
            [alias] if naming::is_star(column) => self.seen().any(|(_, own)| own.alias == *alias),
            [alias, _] => self.seen().any(|(_, own)| own.alias == *alias),
            [name] => self.in_this(None, Some(*name), has, &mut Vec::new()),
            // The relation of a schema may be one around.
            _ => false,
        }
    }

    /// In this query, and in those around it as long as what was found may not have a column of that name.
    fn look(
        self: &Rc<Self>,
        alias: Option<&'t str>,
        name: Option<&'t str>,
        has: Has<'_>,
        found: &mut Vec<Origin<'t>>,
    ) {
        let before = found.len();
        let sure = self.in_this(alias, name, has, found);
        if let Some(outer) = self
            .outer
            .as_ref()
            .filter(|_| !sure || found.len() == before)
        {
            outer.look(alias, name, has, found);
        }
    }

    /// Finds it in this query; whether it is there for sure.
    fn in_this(
        self: &Rc<Self>,
        alias: Option<&'t str>,
        name: Option<&'t str>,
        has: Has<'_>,
        found: &mut Vec<Origin<'t>>,
    ) -> bool {
        let before = found.len();
        let mut sure = name.is_none();
        for (at, source) in self.seen() {
            match (alias, name) {
                (Some(alias), _) if source.alias != alias => {}
                (None, Some(_)) if source.qualified => {}
                (None, Some(name)) if is_without(source, name, has) => {
                    // A column of a query around comes before a whole row of that name.
                    if source.alias == name {
                        self.of_source(at, None, has, found);
                    }
                }
                _ => {
                    let own = found.len();
                    self.of_source(at, name, has, found);
                    // Or the whole row by its name.
                    if alias.is_none() && name == Some(source.alias) {
                        self.of_source(at, None, has, found);
                    }
                    let stored =
                        matches!(source.from, From::Relation(_)) && source.names.is_empty();
                    let mut own = found.iter().skip(own);
                    sure |= own.any(|origin| stored || matches!(origin, Origin::Made(..)));
                }
            }
        }
        sure || (alias.is_some() && found.len() > before)
    }

    fn of_source(
        self: &Rc<Self>,
        at: usize,
        name: Option<&'t str>,
        has: Has<'_>,
        found: &mut Vec<Origin<'t>>,
    ) {
        let Some(source) = self.sources.get(at) else {
            return;
        };
        let position = source.names.iter().position(|known| Some(*known) == name);
        let which = match (position, name) {
            (Some(position), _) => Which::At(position),
            (None, Some(name)) => Which::Named(name),
            (None, None) => Which::All,
        };
        match &source.from {
            // Which column a new name stands for is not known here.
            From::Relation(relation) if source.names.is_empty() => {
                found.push(Origin::Stored(relation, name, self.way));
            }
            From::Relation(relation) => found.push(Origin::Stored(relation, None, self.way)),
            From::Function(function) => {
                // Their only column has the name that the alias gives.
                let named = name.is_none() || position.is_some() || !is_scalar(function);
                found.extend(named.then(|| Origin::Function(function, self.before(at))));
            }
            From::Unknown => found.push(Origin::Unknown),
            _ if self.depth > MAX_DEPTH => found.push(Origin::Unknown),
            From::Query(query, _) => {
                let level = (self.place_of(at), self.way);
                self.column(query, level, which, has, found);
            }
            From::Common(query, place, reference) => {
                let level = (place.clone(), further(self.way, reference));
                self.column(query, level, which, has, found);
            }
        }
    }

    /// The column of a query.
    fn column(
        &self,
        query: &'t Node,
        (place, way): (Place<'t>, Way),
        which: Which<'t>,
        has: Has<'_>,
        found: &mut Vec<Origin<'t>>,
    ) {
        let left = self.left.get();
        if query.kind != "SelectStmt" || left == 0 {
            found.push(Origin::Unknown);
            return;
        }
        self.left.set(left - 1);
        if let (Some(left), Some(right)) = (query.child("larg"), query.child("rarg")) {
            let level = self.at(query, place, way);
            // The first one gives the names.
            let which = match which {
                Which::Named(name) => position(left, name).map_or(Which::All, Which::At),
                which => which,
            };
            for arm in [left, right] {
                let place = (level.commons.clone(), Some(Rc::clone(&level)));
                match level.depth > MAX_DEPTH {
                    true => found.push(Origin::Unknown),
                    false => level.column(arm, (place, way), which, has, found),
                }
            }
            return;
        }
        let level = self.at(query, place, way);
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
                (true, true, _) => found.extend(level.origins(value, has)),
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
                for (at, _) in level
                    .seen()
                    .filter(|(_, source)| of.map_or(!source.qualified, |of| of == source.alias))
                {
                    level.of_source(at, Some(name), has, found);
                }
            }
        }
    }
}

/// The names of a column reference; a star is none.
pub(super) fn names(column: &Node) -> Vec<&str> {
    let fields = column.list("fields").iter();
    fields.filter_map(Tree::string).collect()
}

/// The way by one reference more.
fn further(way: Way, reference: &Node) -> Way {
    let place = u64::from(reference.location.unsigned_abs());
    way.wrapping_mul(0x100_0000_01b3).wrapping_add(place + 1)
}

/// A relation that has no column of that name, or something whose own name it is: which may be a column as well.
fn is_without(source: &Source<'_>, name: &str, has: Has<'_>) -> bool {
    match &source.from {
        From::Relation(relation) if source.names.is_empty() => !has(relation, name),
        _ => source.alias == name,
    }
}

#[derive(Clone, Copy)]
enum Which<'t> {
    Named(&'t str),
    At(usize),
    All,
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
fn position(query: &Node, name: &str) -> Option<usize> {
    if let Some(left) = query.child("larg") {
        return position(left, name);
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
