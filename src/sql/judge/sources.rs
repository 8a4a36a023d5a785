//! What names of columns may mean, by type: from everything in a statement that has the name, at whatever level.
//!
//! No scopes are followed. A name means all that it could mean, so a comparison that is harmless by every reading is.
use std::sync::Arc;

use crate::catalog::{Column, Relation};
use crate::sql::temporary;
use crate::sql::tree::{Node, Tree};

use super::constants::Constants;
use super::operands::{
    Class, Operand, VIRTUAL_COLUMNS, class_of, class_of_column, is_stored, together,
};
use super::system_columns::SYSTEM_COLUMNS;

/// Subqueries of subqueries through which a name is followed.
const DEPTH: usize = 16;
const TID: u32 = 27;

/// A thing in FROM, by the name it goes by.
struct Item<'t> {
    alias: &'t str,
    /// New names of its columns, from the first on.
    names: &'t [Tree],
    source: Source<'t>,
}

enum Source<'t> {
    Relation(Arc<Relation>),
    Query(&'t Node),
    /// Of a name, wherever it stands.
    Cte(&'t str),
    /// A function whose columns, but for their names, are these.
    Function(Vec<Option<Operand>>),
    /// What a function gives, by the definition that stands behind it.
    Defined(Vec<(&'t str, Option<Operand>)>),
    /// A table of the session's own: what columns it has is not known.
    Temporary,
    Unknown,
}

struct Cte<'t> {
    name: &'t str,
    names: &'t [Tree],
    query: Option<&'t Node>,
}

/// Looking for what has a name.
struct Search {
    /// Columns are good whose type has no class.
    any_type: bool,
    /// Queries whose outputs are being looked through.
    inside: Vec<*const Node>,
}

impl Search {
    fn of_types() -> Search {
        Search {
            any_type: false,
            inside: Vec::new(),
        }
    }
}

pub(super) struct Sources<'t> {
    pub constants: Constants<'t>,
    items: Vec<Item<'t>>,
    ctes: Vec<Cte<'t>>,
}

impl<'t> Sources<'t> {
    /// Of a statement in its canonical form.
    pub fn read(constants: Constants<'t>, statement: &'t Tree) -> Sources<'t> {
        let mut sources = Sources {
            constants,
            items: Vec::new(),
            ctes: Vec::new(),
        };
        sources.collect(statement);
        sources
    }

    fn collect(&mut self, tree: &'t Tree) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.collect(item)),
            // FOR UPDATE OF and INTO name nothing that is read.
            Tree::Node(node) if matches!(node.kind, "LockingClause" | "IntoClause") => {}
            Tree::Node(node) => {
                self.meet(node);
                let fields = node.fields.iter();
                fields.for_each(|(_, value)| self.collect(value));
            }
            _ => {}
        }
    }

    fn meet(&mut self, node: &'t Node) {
        let alias = node.child("alias");
        let names = alias.map_or(&[][..], |alias| alias.list("colnames"));
        let alias = alias.map_or("", |alias| alias.text("aliasname"));
        let (alias, source) = match node.kind {
            "RangeVar" => {
                let name = node.text("relname");
                let alias = if alias.is_empty() { name } else { alias };
                (alias, self.relation(node))
            }
            "InsertStmt" if node.get("on_conflict_clause").is_some() => {
                let target = node.child("relation");
                let source = target.map_or(Source::Unknown, |target| self.relation(target));
                ("excluded", source)
            }
            "RangeSubselect" => {
                let query = node.child("subquery");
                (alias, query.map_or(Source::Unknown, Source::Query))
            }
            "RangeFunction" if !node.list("coldeflist").is_empty() => {
                let columns = node.list("coldeflist").iter().filter_map(Tree::node);
                let columns = columns.map(|column| (column.text("colname"), self.defined(column)));
                (alias, Source::Defined(columns.collect()))
            }
            "RangeFunction" => {
                let (name, columns) = match harmless_function(self.constants, node) {
                    Some(found) => found,
                    None => ("", vec![None]),
                };
                let alias = if alias.is_empty() { name } else { alias };
                let known = !node.flag("ordinality") && !columns.contains(&None);
                let source = match known {
                    true => Source::Function(columns),
                    false => Source::Unknown,
                };
                (alias, source)
            }
            "RangeTableFunc" | "JsonTable" => (alias, Source::Unknown),
            "JoinExpr" if node.get("alias").is_some() => (alias, Source::Unknown),
            "JoinExpr" => match node.child("join_using_alias") {
                Some(alias) => (alias.text("aliasname"), Source::Unknown),
                None => return,
            },
            "CommonTableExpr" => {
                let query = node.child("ctequery");
                self.ctes.push(Cte {
                    name: node.text("ctename"),
                    names: node.list("aliascolnames"),
                    query: query.filter(|query| query.kind == "SelectStmt"),
                });
                return;
            }
            _ => return,
        };
        self.items.push(Item {
            alias,
            names,
            source,
        });
    }

    fn relation(&self, node: &'t Node) -> Source<'t> {
        let (schema, name) = (node.text("schemaname"), node.text("relname"));
        if schema.is_empty() {
            return Source::Cte(name);
        }
        let catalog = self.constants.catalog;
        // What computes a column there would not be known.
        if schema == temporary::SCHEMA && catalog.server_version < VIRTUAL_COLUMNS {
            return Source::Temporary;
        }
        let found = catalog.relation(schema, name);
        match found.filter(|_| schema != temporary::SCHEMA) {
            Some(relation) => Source::Relation(Arc::clone(relation)),
            None => Source::Unknown,
        }
    }

    /// A column of a function's definition.
    fn defined(&self, column: &Node) -> Option<Operand> {
        let kind = self.constants.named(column)?;
        let domain = self.constants.is_domain(kind.0);
        class_of(kind, self.constants.catalog)
            .filter(|_| !domain)
            .map(Operand::Of)
    }

    /// All that an operand of a comparison may be; `None`: that is not known, or evaluating it may raise an error.
    pub fn operands(&self, tree: &Tree) -> Option<Vec<Operand>> {
        self.followed(tree, &mut Search::of_types())
    }

    /// Whether the reference is to a column, of whatever type, and reading it computes nothing.
    pub fn is_stored(&self, reference: &Node) -> bool {
        let mut search = Search {
            any_type: true,
            ..Search::of_types()
        };
        self.reference(reference, &mut search).is_some()
    }

    fn followed(&self, tree: &Tree, search: &mut Search) -> Option<Vec<Operand>> {
        match tree.node() {
            Some(node) if node.kind == "ColumnRef" => self.reference(node, search),
            _ => Some(vec![self.constants.operand(tree)?]),
        }
    }

    fn reference(&self, reference: &Node, search: &mut Search) -> Option<Vec<Operand>> {
        let names = reference.names("fields")?;
        let found = match names.as_slice() {
            [name] => self.column(None, name, search)?,
            [alias, name] => self.column(Some(alias), name, search)?,
            _ => return None,
        };
        (!found.is_empty()).then_some(found)
    }

    /// What has the name; `None`: that is not known.
    fn column(&self, alias: Option<&str>, name: &str, search: &mut Search) -> Option<Vec<Operand>> {
        if SYSTEM_COLUMNS.contains(&name) {
            let own = match name {
                "tableoid" => Class::Id,
                _ => Class::Other(TID),
            };
            return Some(vec![Operand::Of(own)]);
        }
        let mut found = Vec::new();
        let within = self.items.iter();
        for item in within.filter(|item| alias.is_none_or(|alias| item.alias == alias)) {
            found.append(&mut self.of_item(item, name, search)?);
        }
        Some(found)
    }

    fn of_item(&self, item: &Item<'_>, name: &str, search: &mut Search) -> Option<Vec<Operand>> {
        match &item.source {
            Source::Unknown => None,
            Source::Temporary => Some(vec![Operand::Loose]),
            Source::Defined(columns) => {
                let found = columns.iter().filter(|(own, _)| *own == name);
                found.map(|(_, operand)| operand.clone()).collect()
            }
            Source::Relation(relation) => {
                let named = |at: usize, own: &str| {
                    let given = item.names.get(at).and_then(Tree::string);
                    given.unwrap_or(own) == name
                };
                let columns = relation.columns.iter().enumerate();
                columns
                    .filter(|(at, column)| named(*at, &column.name))
                    .map(|(_, column)| self.stored(relation, column, search))
                    .collect()
            }
            Source::Query(query) => self.of_query(query, item.names, name, search),
            Source::Cte(cte) => {
                let mut found = Vec::new();
                let mut known = false;
                for other in self.ctes.iter().filter(|other| other.name == *cte) {
                    known = true;
                    // One layer of names is followed.
                    let names = match (item.names, other.names) {
                        ([], names) | (names, []) => names,
                        _ => return None,
                    };
                    found.append(&mut self.of_query(other.query?, names, name, search)?);
                }
                known.then_some(found)
            }
            Source::Function(columns) => {
                let named = |at: usize| match item.names.get(at).and_then(Tree::string) {
                    Some(given) => given == name,
                    None => item.alias == name,
                };
                let all = columns.iter().enumerate();
                let found = all.filter(|(at, _)| named(*at));
                found.map(|(_, operand)| operand.clone()).collect()
            }
        }
    }

    fn stored(&self, relation: &Relation, column: &Column, search: &Search) -> Option<Operand> {
        let catalog = self.constants.catalog;
        match class_of_column(catalog, relation, column) {
            Some(class) => Some(Operand::Of(class)),
            None => {
                (search.any_type && is_stored(catalog, relation, column)).then_some(Operand::Loose)
            }
        }
    }

    fn of_query(
        &self,
        query: &Node,
        names: &[Tree],
        name: &str,
        search: &mut Search,
    ) -> Option<Vec<Operand>> {
        // A query does not see its own outputs: what leads back to it is another's name.
        if search.inside.contains(&std::ptr::from_ref(query)) {
            return Some(Vec::new());
        }
        if search.inside.len() >= DEPTH {
            return None;
        }
        search.inside.push(std::ptr::from_ref(query));
        let found = self.outputs(query, names, name, search);
        search.inside.pop();
        found
    }

    fn outputs(
        &self,
        query: &Node,
        names: &[Tree],
        name: &str,
        search: &mut Search,
    ) -> Option<Vec<Operand>> {
        let rows = query.list("values_lists");
        if !rows.is_empty() {
            let mut found = Vec::new();
            for at in 0..width(rows) {
                let given = names.get(at).and_then(Tree::string).map(str::to_owned);
                if given.unwrap_or_else(|| format!("column{}", at + 1)) == name {
                    found.push(self.values(rows, at)?);
                }
            }
            return Some(found);
        }
        if query.kind != "SelectStmt" || query.get("larg").is_some() {
            return None;
        }
        let mut found = Vec::new();
        for (at, target) in query.list("target_list").iter().enumerate() {
            let target = target.node()?;
            let value = target.get("val")?;
            let reference = value.node().filter(|value| value.kind == "ColumnRef");
            let given = names.get(at).and_then(Tree::string);
            let own = Some(target.text("name")).filter(|own| !own.is_empty());
            let is = match (given.or(own), reference) {
                (Some(given), _) => given == name,
                (None, Some(reference)) => {
                    let fields = reference.list("fields");
                    match fields.last().and_then(Tree::string) {
                        Some(last) => last == name,
                        // A star: whatever has the name.
                        None => {
                            if !names.is_empty() {
                                return None;
                            }
                            found.append(&mut self.column(None, name, search)?);
                            continue;
                        }
                    }
                }
                // Unnamed: constants are `?column?`, the rest has names by rules of its own.
                (None, None) => match value.node().map(|value| value.kind) {
                    Some("AConst" | "ParamRef") => false,
                    _ => return None,
                },
            };
            if is {
                let operands = self.followed(value, search)?;
                found.extend(operands.into_iter().map(on_its_own));
            }
        }
        Some(found)
    }

    /// A column of VALUES.
    pub fn values(&self, rows: &[Tree], at: usize) -> Option<Operand> {
        let mut all = Vec::new();
        for row in rows {
            let value = row.items()?.get(at)?;
            let is_default = value.node().is_some_and(|node| node.kind == "SetToDefault");
            if !is_default {
                all.append(&mut self.operands(value)?);
            }
        }
        together(&all).map(on_its_own)
    }
}

/// How many values a row of VALUES has.
pub(super) fn width(rows: &[Tree]) -> usize {
    let first = rows.first().and_then(Tree::items);
    first.map_or(0, <[Tree]>::len)
}

/// What an operand is as a column.
fn on_its_own(operand: Operand) -> Operand {
    match operand {
        Operand::Literal(class) => Operand::Of(class),
        Operand::Open => Operand::Of(Class::Text(None)),
        other => other,
    }
}

/// A function in FROM that raises no error, by its name, and what it gives: the elements of arrays, or the numbers
/// from one to another.
pub(super) fn harmless_function<'t>(
    constants: Constants<'_>,
    node: &'t Node,
) -> Option<(&'t str, Vec<Option<Operand>>)> {
    let [single] = node.list("functions") else {
        return None;
    };
    let call = single.items()?.first()?.node()?;
    let name = match call.names("funcname")?.as_slice() {
        [name] | ["pg_catalog", name] => *name,
        _ => return None,
    };
    let args = call.list("args");
    if call.kind != "FuncCall" || !node.list("coldeflist").is_empty() {
        return None;
    }
    match name {
        "generate_series" => {
            let number = |arg: &Tree| {
                let operand = constants.operand(arg);
                matches!(operand, Some(Operand::Literal(Class::Integer)))
            };
            (args.len() == 2 && args.iter().all(number))
                .then(|| (name, vec![Some(Operand::Of(Class::Integer))]))
        }
        "unnest" => {
            let arrays: Option<Vec<Operand>> =
                args.iter().map(|arg| constants.operand(arg)).collect();
            let elements = arrays?.into_iter().map(|array| match array {
                Operand::Of(Class::Array(element)) => Some(Operand::Of(*element)),
                _ => None,
            });
            Some((name, elements.collect()))
        }
        _ => None,
    }
}
