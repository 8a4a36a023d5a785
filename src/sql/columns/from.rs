//! What a FROM clause offers to name.
//!
//! Follows `transformFromClauseItem` in `src/backend/parser/parse_clause.c`.
use std::borrow::Cow;
use std::rc::Rc;

use crate::sql::tree::{Node, Tree};

use super::Reading;
use super::cells::{Cell, Cells, Use};

/// An output column of a query, and where its values come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Output<'a> {
    pub name: Cow<'a, str>,
    pub cells: Cells,
}

/// The output columns of a query.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs<'a> {
    pub columns: Vec<Output<'a>>,
    /// There are columns besides, whose number and names are not known.
    pub rest: Option<Cells>,
}

impl Outputs<'_> {
    pub fn all(&self) -> impl Iterator<Item = &Cell> {
        self.columns
            .iter()
            .flat_map(|column| &column.cells)
            .chain(self.rest.iter().flatten())
    }
}

/// What an item of FROM stands for.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// A relation, by its place in [`super::cells::Found`].
    Relation(usize),
    Query(Rc<Outputs<'a>>),
}

/// An item of FROM, and the name it goes by.
#[derive(Debug)]
pub struct Item<'a> {
    pub alias: &'a str,
    /// Of a relation without an alias: it can be named with its schema.
    pub schema: Option<&'a str>,
    /// Names given to the first columns.
    pub renamed: Vec<&'a str>,
    pub source: Source<'a>,
    /// `excluded`, `old`, `new`: its columns are named with it alone.
    pub qualified_only: bool,
}

/// A part of what `*` stands for.
#[derive(Debug, Clone)]
pub enum Part<'a> {
    /// The columns of an item, less those that joins have merged.
    Item(Rc<Item<'a>>, Vec<&'a str>),
    Merged(Output<'a>),
}

/// What one level of a query offers to name.
#[derive(Debug, Default)]
pub struct Level<'a> {
    pub items: Vec<Rc<Item<'a>>>,
    pub star: Vec<Part<'a>>,
}

impl<'a> Level<'a> {
    pub fn of(item: Item<'a>) -> Self {
        let item = Rc::new(item);
        Level {
            star: vec![Part::Item(Rc::clone(&item), Vec::new())],
            items: vec![item],
        }
    }

    pub fn append(&mut self, other: Level<'a>) {
        self.items.extend(other.items);
        self.star.extend(other.star);
    }
}

impl<'a> Reading<'a> {
    /// Reads a FROM clause into the innermost level. Items see what stands to their left, if they are LATERAL.
    pub fn from(&mut self, items: &'a [Tree]) {
        for item in items.iter().filter_map(Tree::node) {
            let offered = self.item(item);
            self.offer(offered);
        }
    }

    /// Adds to the innermost level.
    pub fn offer(&mut self, offered: Level<'a>) {
        if let Some(level) = self.levels.last_mut() {
            level.append(offered);
        }
    }

    pub fn item(&mut self, node: &'a Node) -> Level<'a> {
        match node.kind {
            "RangeVar" => Level::of(self.range_var(node)),
            "RangeSubselect" => {
                // Only a LATERAL one sees its neighbours.
                let hidden = match node.flag("lateral") {
                    true => None,
                    false => self.levels.pop(),
                };
                let outputs = match node.child("subquery") {
                    Some(query) => self.outputs(query),
                    None => Outputs::default(),
                };
                self.levels.extend(hidden);
                derived(node, outputs)
            }
            "RangeTableSample" => {
                for argument in node.list("args").iter().chain(node.get("repeatable")) {
                    self.filter(argument);
                }
                match node.child("relation") {
                    Some(relation) => self.item(relation),
                    None => Level::default(),
                }
            }
            "JoinExpr" => self.join(node),
            // Functions, XMLTABLE, JSON_TABLE: all that goes in may come out.
            _ => {
                let mut cells = Cells::new();
                self.children(node, &mut cells);
                derived(
                    node,
                    Outputs {
                        columns: Vec::new(),
                        rest: Some(cells),
                    },
                )
            }
        }
    }

    /// A relation, or the common table expression of that name.
    pub fn range_var(&mut self, node: &'a Node) -> Item<'a> {
        let (schema, name) = (node.text("schemaname"), node.text("relname"));
        let cte = match schema {
            "" => self.ctes.iter().rev().find(|cte| cte.name == name),
            _ => None,
        };
        match cte {
            Some(cte) => item(node, name, Source::Query(Rc::clone(&cte.outputs))),
            None => self.target(node),
        }
    }

    /// A relation that no common table expression can hide: the target of a write.
    pub fn target(&mut self, node: &'a Node) -> Item<'a> {
        let (schema, name) = (node.text("schemaname"), node.text("relname"));
        let (place, known) = self.found.relation(schema, name);
        let aliased = node.child("alias").is_some();
        Item {
            schema: match known {
                _ if aliased => None,
                Some(relation) => Some(relation.schema.as_str()),
                None => Some(schema).filter(|schema| !schema.is_empty()),
            },
            ..item(node, name, Source::Relation(place))
        }
    }

    fn join(&mut self, node: &'a Node) -> Level<'a> {
        let (Some(left), Some(right)) = (node.child("larg"), node.child("rarg")) else {
            return Level::default();
        };
        let left = self.item(left);
        let offered = self.levels.last().map_or(0, |level| level.items.len());
        if let Some(level) = self.levels.last_mut() {
            level.items.extend(left.items.iter().cloned());
        }
        let right = self.item(right);
        if let Some(level) = self.levels.last_mut() {
            level.items.truncate(offered);
        }
        let shared = self.shared(node, &left, &right);
        let mut joined = Level {
            items: left.items,
            star: Vec::new(),
        };
        joined.items.extend(right.items);
        let mut merged = Vec::new();
        for name in &shared {
            let mut cells = Cells::new();
            for part in left.star.iter().chain(&right.star) {
                self.part_column(part, name, &mut cells);
            }
            self.found.mark(&cells, Use::Filtered);
            merged.push(Output {
                name: Cow::Borrowed(name),
                cells,
            });
        }
        if let Some(alias) = node.child("join_using_alias") {
            let outputs = Outputs {
                columns: merged.clone(),
                rest: None,
            };
            joined.items.push(Rc::new(Item {
                alias: alias.text("aliasname"),
                schema: None,
                renamed: Vec::new(),
                source: Source::Query(Rc::new(outputs)),
                qualified_only: true,
            }));
        }
        joined.star.extend(merged.into_iter().map(Part::Merged));
        for part in left.star.into_iter().chain(right.star) {
            match part {
                Part::Item(item, mut without) => {
                    without.extend(&shared);
                    joined.star.push(Part::Item(item, without));
                }
                Part::Merged(output) if !shared.contains(&&*output.name) => {
                    joined.star.push(Part::Merged(output));
                }
                Part::Merged(_) => {}
            }
        }
        self.levels.push(joined);
        if let Some(condition) = node.get("quals") {
            self.filter(condition);
        }
        let joined = self.levels.pop().unwrap_or_default();
        match node.child("alias") {
            // The alias of a join hides what is in it.
            Some(_) => {
                let outputs = self.star(&joined.star);
                derived(node, outputs)
            }
            None => joined,
        }
    }

    /// The columns that USING or NATURAL merges.
    fn shared(&mut self, node: &'a Node, left: &Level<'a>, right: &Level<'a>) -> Vec<&'a str> {
        if !node.flag("is_natural") {
            return node.names("using_clause").unwrap_or_default();
        }
        let others = self.star_names(&right.star);
        let mut names = self.star_names(&left.star);
        names.retain(|name| others.contains(name));
        names
    }
}

/// The name of an item and the names its alias gives to columns.
fn item<'a>(node: &'a Node, name: &'a str, source: Source<'a>) -> Item<'a> {
    let alias = node.child("alias");
    Item {
        alias: alias.map_or(name, |alias| alias.text("aliasname")),
        schema: None,
        renamed: alias.map_or_else(Vec::new, |alias| {
            let names = alias.list("colnames").iter();
            names.filter_map(Tree::string).collect()
        }),
        source,
        qualified_only: false,
    }
}

fn derived<'a>(node: &'a Node, outputs: Outputs<'a>) -> Level<'a> {
    Level::of(item(
        node,
        function_name(node),
        Source::Query(Rc::new(outputs)),
    ))
}

/// The name under which a function in FROM stands without an alias.
fn function_name(node: &Node) -> &str {
    let first = node.list("functions").first();
    let call = first
        .and_then(Tree::node)
        .map_or_else(
            || first.map_or(&[][..], Tree::list),
            |list| list.list("items"),
        )
        .first()
        .and_then(Tree::node);
    call.and_then(|call| call.list("funcname").last())
        .and_then(Tree::string)
        .unwrap_or("")
}
