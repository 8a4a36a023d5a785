//! What a query's FROM clause offers to name: its items under their aliases, and their columns.
//!
//! Follows `src/backend/parser/parse_relation.c` and `parse_target.c`. Where the columns of an item cannot be told they are `None`,
//! never a guess.
mod functions;

use crate::catalog::{AttNum, Oid};

use super::judge::{self, Rules};
use super::naming;
use super::template;
use super::tree::{Node, Tree};

/// The column number of a whole row (`InvalidAttrNumber`, access/attnum.h).
pub const WHOLE_ROW: AttNum = 0;

/// An output column.
#[derive(Debug, Clone)]
pub struct Output {
    pub name: String,
    /// The column of a relation that it shows unchanged.
    pub origin: Option<(Oid, AttNum)>,
}

/// An item of FROM: its name, and its columns where they are known.
#[derive(Debug, Clone)]
pub struct Item {
    pub alias: String,
    pub columns: Option<Vec<Output>>,
    /// The relation that it is.
    pub relation: Option<Oid>,
    /// It has a name of its own: with a schema before it, the relation's name does not mean it.
    aliased: bool,
}

/// What FROM offers: its items, for qualified names, and the columns of `*`, in which USING merges some.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    pub items: Vec<Item>,
    pub star: Option<Vec<Output>>,
    /// An item goes by a name that is not known.
    nameless: bool,
}

/// A common table expression and its columns.
pub type Cte = (String, Option<Vec<Output>>);

pub struct Reader<'a> {
    rules: &'a Rules<'a>,
    /// Common table expressions in scope, innermost last.
    pub ctes: Vec<Cte>,
    /// `(c).x` is taken for a column of the item `c`. It is one unless a column is called `c`, too, here or further out.
    trusting: bool,
    /// What LATERAL subqueries see besides their own FROM, innermost last; kept by a trusting reader alone.
    beside: Vec<Offer>,
}

impl<'a> Reader<'a> {
    pub fn new(rules: &'a Rules<'a>, ctes: Vec<Cte>) -> Self {
        Reader {
            rules,
            ctes,
            trusting: false,
            beside: Vec::new(),
        }
    }

    /// A reader whose findings may be wrong where a row and a column have one name: for descriptions alone.
    pub fn trusting(rules: &'a Rules<'a>) -> Self {
        Reader {
            trusting: true,
            ..Reader::new(rules, Vec::new())
        }
    }

    /// The output columns of a SELECT, VALUES or set operation.
    pub fn outputs(&mut self, query: &Node) -> Option<Vec<Output>> {
        let depth = self.ctes.len();
        self.with_clause(query);
        let found = self.body(query);
        self.ctes.truncate(depth);
        found
    }

    /// What an output column is called that nothing names.
    pub fn name(&mut self, value: &Node) -> Option<String> {
        let version = self.rules.catalog.server_version;
        match (naming::known(value, version), naming::asked(value, version)) {
            (Some(name), _) => Some(name.to_owned()),
            (None, Some(query)) => match self.outputs(query)?.as_slice() {
                [only] => Some(only.name.clone()),
                _ => None,
            },
            (None, None) => None,
        }
    }

    /// The output columns of a write's RETURNING.
    pub fn returned(&mut self, write: &Node) -> Option<Vec<Output>> {
        let depth = self.ctes.len();
        self.with_clause(write);
        let (merge, others) = match write.kind {
            "MergeStmt" => (true, std::slice::from_ref(write.get("source_relation")?)),
            "UpdateStmt" => (false, write.list("from_clause")),
            "DeleteStmt" => (false, write.list("using_clause")),
            _ => (false, &[][..]),
        };
        let mut offer = self.item(write.child("relation")?);
        let mut others = self.from(others);
        if merge {
            std::mem::swap(&mut offer, &mut others);
        }
        offer.append(others);
        let mut outputs = Vec::new();
        let items = write.child("returning_clause")?.list("exprs");
        for target in items.iter().filter_map(Tree::node) {
            self.target(target, &offer, &mut outputs)?;
        }
        self.ctes.truncate(depth);
        Some(outputs)
    }

    fn with_clause(&mut self, query: &Node) {
        let Some(with) = query.child("with_clause") else {
            return;
        };
        for cte in with.list("ctes").iter().filter_map(Tree::node) {
            let found = self.cte(cte, with.flag("recursive"));
            self.ctes.push(found);
        }
    }

    /// The name and columns of one expression of a WITH clause.
    pub fn cte(&mut self, cte: &Node, recursive: bool) -> Cte {
        // A recursive expression is a set operation: it has no origins.
        let columns = match cte.child("ctequery") {
            Some(inner) if inner.kind == "SelectStmt" && !recursive => self.outputs(inner),
            _ => None,
        };
        let extended = cte.get("search_clause").is_some() || cte.get("cycle_clause").is_some();
        let columns = columns
            .filter(|_| !extended)
            .and_then(|columns| renamed(columns, cte.list("aliascolnames")));
        (cte.text("ctename").to_owned(), columns)
    }

    fn body(&mut self, query: &Node) -> Option<Vec<Output>> {
        const PLAIN: i64 = 1;
        if query.int("op") > PLAIN {
            let left = query.child("larg")?;
            return Some(without_origins(self.outputs(left)?));
        }
        if let Some(row) = query.list("values_lists").first() {
            let values = row.node().map_or(&[][..], |row| row.list("items"));
            // `VALUES (c.*)` has as many columns as the row, which may be none.
            if values.iter().filter_map(Tree::node).any(naming::is_star) {
                return None;
            }
            return Some(
                (1..=values.len())
                    .map(|at| Output {
                        name: format!("column{at}"),
                        origin: None,
                    })
                    .collect(),
            );
        }
        let offer = self.from(query.list("from_clause"));
        let mut outputs = Vec::new();
        for target in query.list("target_list").iter().filter_map(Tree::node) {
            self.target(target, &offer, &mut outputs)?;
        }
        Some(outputs)
    }

    /// Adds the output columns of one target; `None` where a `*` cannot be counted.
    fn target(&mut self, target: &Node, offer: &Offer, outputs: &mut Vec<Output>) -> Option<()> {
        let given = target.text("name");
        let value = target.child("val")?;
        let field = match self.trusting {
            true => field_of_row(value),
            false => None,
        };
        let reference = match value.kind {
            "ColumnRef" => Some(value),
            "CaseExpr" if !self.trusting && !given.is_empty() => {
                template::column_behind_fence(value)
            }
            _ => None,
        };
        let Some(reference) = field.as_ref().or(reference) else {
            if naming::is_star(value) {
                return None;
            }
            let name = match given {
                "" => match self.name(value) {
                    Some(name) => name,
                    None if self.trusting => naming::UNNAMED.to_owned(),
                    None => return None,
                },
                given => given.to_owned(),
            };
            let origin = self.origin_of_cast(offer, value);
            outputs.push(Output { name, origin });
            return Some(());
        };
        let names: Vec<Option<&str>> = reference.list("fields").iter().map(Tree::string).collect();
        let (qualifier, last) = match names.as_slice() {
            [last] => (None, *last),
            [.., qualifier, last] => (*qualifier, *last),
            [] => return None,
        };
        let Some(name) = last else {
            let columns = match names.as_slice() {
                [_] => offer.star.clone()?,
                [Some(alias), _] => offer.item(alias)?.columns.clone()?,
                [.., Some(schema), Some(table), _] => {
                    let relation = self.rules.catalog.relation(schema, table)?;
                    offer.relation(relation.oid)?.columns.clone()?
                }
                _ => return None,
            };
            outputs.extend(columns);
            return Some(());
        };
        outputs.push(Output {
            name: if given.is_empty() { name } else { given }.to_owned(),
            origin: self.origin(offer, qualifier, name),
        });
        Some(())
    }

    /// A cast to the type that a column has is the column (`coerce_type` in parse_coerce.c), where neither has a modifier.
    fn origin_of_cast(&self, offer: &Offer, value: &Node) -> Option<(Oid, AttNum)> {
        if value.kind != "TypeCast" || !self.trusting {
            return None;
        }
        let inner = value.child("arg")?;
        let names = inner.names("fields");
        let (relation, number) = match (inner.kind, names.as_deref()) {
            ("ColumnRef", Some([name])) => self.origin(offer, None, name)?,
            ("ColumnRef", Some([.., qualifier, name])) => {
                self.origin(offer, Some(qualifier), name)?
            }
            _ => self.origin_of_cast(offer, inner)?,
        };
        let target = value.child("type_name")?;
        let catalog = self.rules.catalog;
        let column = catalog.relations.get(&relation)?;
        let column = column.columns.iter().find(|column| column.num == number)?;
        let same =
            judge::named_type(catalog, self.rules.path, target) == Some((column.type_oid, false));
        (same && column.typmod == -1 && target.list("typmods").is_empty())
            .then_some((relation, number))
    }

    /// The column of a relation that a reference shows: of the nearest FROM that has the name.
    fn origin(&self, offer: &Offer, qualifier: Option<&str>, name: &str) -> Option<(Oid, AttNum)> {
        let has = |offer: &&Offer| match qualifier {
            Some(alias) => offer.names_item(alias) != Some(false),
            None => offer.names_column(name) != Some(false),
        };
        let mut levels = std::iter::once(offer).chain(self.beside.iter().rev());
        match (levels.find(has), qualifier) {
            (Some(found), Some(alias)) => unique(found.item(alias)?.columns.as_deref()?, name),
            (Some(found), None) => found
                .star
                .as_deref()
                .and_then(|columns| unique(columns, name)),
            (None, None) => self.whole_row(offer, name),
            (None, Some(_)) => None,
        }
    }

    /// The row of the item of that name, where no column has it.
    fn whole_row(&self, offer: &Offer, name: &str) -> Option<(Oid, AttNum)> {
        let relation = offer.item(name)?.relation?;
        let column = offer.names_column(name) != Some(false);
        (self.trusting && !column).then_some((relation, WHOLE_ROW))
    }

    /// What the items of a FROM clause offer.
    pub fn from(&mut self, items: &[Tree]) -> Offer {
        let mut offer = Offer {
            items: Vec::new(),
            star: Some(Vec::new()),
            nameless: false,
        };
        for item in items.iter().filter_map(Tree::node) {
            let found = self.item_beside(item, &offer);
            offer.append(found);
        }
        offer
    }

    /// What an item offers that stands behind others, which it sees if it is LATERAL.
    fn item_beside(&mut self, node: &Node, before: &Offer) -> Offer {
        if !self.trusting || !is_lateral(node) {
            return self.item(node);
        }
        self.beside.push(before.clone());
        let found = self.item(node);
        self.beside.pop();
        found
    }

    fn item(&mut self, node: &Node) -> Offer {
        match node.kind {
            "RangeVar" => {
                let name = node.text("relname");
                let columns = self.relation(node, name);
                let mut offer = Offer::single(node, name, columns);
                let relation = self.resolved(node, name);
                if let Some(item) = offer.items.first_mut() {
                    item.relation = relation;
                }
                offer
            }
            "RangeSubselect" => {
                let columns = node.child("subquery").and_then(|query| self.outputs(query));
                Offer::single(node, "", columns)
            }
            "RangeTableSample" => node
                .child("relation")
                .map(|relation| self.item(relation))
                .unwrap_or_default(),
            "JoinExpr" if node.get("alias").is_none() => self.join(node),
            "RangeFunction" => self.function(node),
            "RangeTableFunc" => Offer::single(node, "xmltable", None),
            "JsonTable" => Offer::single(node, "json_table", None),
            // The alias of a join hides what is in it.
            _ => Offer::single(node, "", None),
        }
    }

    fn function(&self, node: &Node) -> Offer {
        let name = functions::alias(node, self.rules.catalog.server_version);
        let columns = self.function_columns(node);
        let mut offer = Offer::single(node, name.unwrap_or_default(), columns);
        offer.nameless = name.is_none() && node.get("alias").is_none();
        offer
    }

    /// The permanent relation that a name in FROM is.
    fn resolved(&self, node: &Node, name: &str) -> Option<Oid> {
        let catalog = self.rules.catalog;
        let found = match node.text("schemaname") {
            "" if self.ctes.iter().any(|(cte, _)| cte == name) => None,
            "" => catalog.resolve(self.rules.path, name),
            schema => catalog.relation(schema, name),
        }?;
        (found.schema != super::temporary::SCHEMA).then_some(found.oid)
    }

    fn relation(&self, node: &Node, name: &str) -> Option<Vec<Output>> {
        let schema = node.text("schemaname");
        if schema.is_empty()
            && let Some((_, columns)) = self.ctes.iter().rev().find(|(cte, _)| cte == name)
        {
            return columns.clone();
        }
        let relation = if schema.is_empty() {
            self.rules.catalog.resolve(self.rules.path, name)
        } else {
            self.rules.catalog.relation(schema, name)
        }?;
        if relation.schema == super::temporary::SCHEMA {
            return None; // Its columns are not known.
        }
        Some(
            relation
                .columns
                .iter()
                .map(|column| Output {
                    name: column.name.clone(),
                    origin: Some((relation.oid, column.num)),
                })
                .collect(),
        )
    }

    fn join(&mut self, node: &Node) -> Offer {
        let (Some(left), Some(right)) = (node.child("larg"), node.child("rarg")) else {
            return Offer::default();
        };
        let left = self.item(left);
        let right = self.item_beside(right, &left);
        let star = match (left.star, right.star) {
            (Some(left), Some(right)) => merged(node, left, right),
            _ => None,
        };
        let mut items = left.items;
        items.extend(right.items);
        Offer {
            items,
            star,
            nameless: left.nameless || right.nameless,
        }
    }
}

impl Offer {
    fn single(node: &Node, name: &str, columns: Option<Vec<Output>>) -> Offer {
        let (alias, columns) = match node.child("alias") {
            Some(alias) => (
                alias.text("aliasname"),
                columns.and_then(|columns| renamed(columns, alias.list("colnames"))),
            ),
            None => (name, columns),
        };
        Offer {
            items: vec![Item {
                alias: alias.to_owned(),
                columns: columns.clone(),
                relation: None,
                aliased: node.get("alias").is_some(),
            }],
            star: columns,
            nameless: false,
        }
    }

    fn append(&mut self, other: Offer) {
        self.items.extend(other.items);
        self.nameless |= other.nameless;
        self.star = match (self.star.take(), other.star) {
            (Some(mut all), Some(more)) => {
                all.extend(more);
                Some(all)
            }
            _ => None,
        };
    }

    /// Whether a bare name is one of a column here; `None` where that cannot be told.
    pub fn names_column(&self, name: &str) -> Option<bool> {
        let named = |columns: &[Output]| columns.iter().any(|column| column.name == name);
        let known = self.items.iter().filter_map(|item| item.columns.as_deref());
        if known.into_iter().any(named) {
            return Some(true);
        }
        self.star.as_deref().map(named)
    }

    /// Whether a name is one of an item here; `None` where that cannot be told.
    pub fn names_item(&self, alias: &str) -> Option<bool> {
        let named = self.items.iter().any(|item| item.alias == alias);
        (named || !self.nameless).then_some(named)
    }

    /// The item of that name; `None` where there are several.
    pub fn item(&self, alias: &str) -> Option<&Item> {
        let mut found = self.items.iter().filter(|item| item.alias == alias);
        match (found.next(), found.next()) {
            (Some(item), None) => Some(item),
            _ => None,
        }
    }

    /// The item that a relation's name with its schema means: the relation without a name of its own, whatever has its
    /// name besides (`scanNameSpaceForRelid` in `src/backend/parser/parse_relation.c`). If there is none here, it is
    /// looked for further out.
    fn relation(&self, relation: Oid) -> Option<&Item> {
        let is_it = |item: &&Item| item.relation == Some(relation) && !item.aliased;
        let mut found = self.items.iter().filter(is_it);
        match (found.next(), found.next()) {
            (Some(item), None) => Some(item),
            _ => None,
        }
    }
}

/// The name under which functions in FROM stand without an alias, where it is known.
pub fn function_alias(node: &Node, version: u32) -> Option<&str> {
    functions::alias(node, version)
}

/// Whether a subquery in it sees what stands before it in FROM.
fn is_lateral(node: &Node) -> bool {
    let side = |side| node.child(side).is_some_and(is_lateral);
    match node.kind {
        "RangeSubselect" => node.flag("lateral"),
        "JoinExpr" => side("larg") || side("rarg"),
        _ => false,
    }
}

/// The columns of a join in the order of `*`: those of USING or NATURAL first, once.
fn merged(node: &Node, left: Vec<Output>, right: Vec<Output>) -> Option<Vec<Output>> {
    const FULL: i64 = 3;
    const RIGHT: i64 = 4;
    let shared: Vec<String> = if node.flag("is_natural") {
        left.iter()
            .filter(|column| right.iter().any(|other| other.name == column.name))
            .map(|column| column.name.clone())
            .collect()
    } else {
        node.names("using_clause")?
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let mut columns = Vec::new();
    for name in &shared {
        let side = if node.int("jointype") == RIGHT {
            &right
        } else {
            &left
        };
        let origin = match node.int("jointype") {
            FULL => None,
            _ => unique(side, name),
        };
        columns.push(Output {
            name: name.clone(),
            origin,
        });
    }
    let rest = left.into_iter().chain(right);
    columns.extend(rest.filter(|column| !shared.contains(&column.name)));
    Some(columns)
}

fn renamed(mut columns: Vec<Output>, names: &[Tree]) -> Option<Vec<Output>> {
    if names.len() > columns.len() {
        return None;
    }
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name.string()?.to_owned();
    }
    Some(columns)
}

fn without_origins(mut columns: Vec<Output>) -> Vec<Output> {
    columns.iter_mut().for_each(|column| column.origin = None);
    columns
}

fn unique(columns: &[Output], name: &str) -> Option<(Oid, AttNum)> {
    let mut found = columns.iter().filter(|column| column.name == name);
    match (found.next(), found.next()) {
        (Some(column), None) => column.origin,
        _ => None,
    }
}

/// `c.x` for `(c).x`, and `c.*` for `(c).*`.
fn field_of_row(value: &Node) -> Option<Node> {
    let row = value
        .child("arg")
        .filter(|_| value.kind == "AIndirection")?;
    let ([field], [name]) = (value.list("indirection"), row.list("fields")) else {
        return None;
    };
    let named = row.kind == "ColumnRef" && name.string().is_some();
    let fields = Tree::List(vec![name.duplicate(), field.duplicate()]);
    named.then(|| Node::new("ColumnRef", vec![("fields", fields)]))
}
