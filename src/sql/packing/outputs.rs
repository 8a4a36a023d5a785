//! What each output column of a statement holds. Followed through subqueries and common table expressions as far as
//! values go through them unchanged; what is done to a gathered value otherwise leaves nothing known about it.
use std::sync::Arc;

use super::calls::{self, Call};
use super::{Columns, Holding, Protected, mentioned_in};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Array, Document, Number, Own, Separated, Tags};

/// The version whose names unnamed columns have here. A name that another version gives differently is not found.
const VERSION: u32 = 150_000;

/// `SubLinkType`, `XmlExprOp` and `A_Expr_Kind` as `pg_query` numbers them.
const EXPR_SUBLINK: i64 = 5;
const ARRAY_SUBLINK: i64 = 7;
const XMLELEMENT: i64 = 2;
const OPERATOR: i64 = 1;

/// An output column of a query: its name, if known.
type Output = (Option<String>, Holding);

/// The outputs of a query, in order; what a `*` stands for is one with a name of none.
#[derive(Debug, Clone, Default)]
struct Outputs {
    columns: Vec<Output>,
    /// Where in `columns` a `*` stands.
    stars: Vec<usize>,
}

/// Something in FROM.
#[derive(Debug, Clone)]
struct Source {
    alias: String,
    outputs: Outputs,
    /// Its rows count, or may.
    counted: bool,
}

/// The names that expressions see, the innermost query last.
type Scope = Vec<Vec<Source>>;

pub(super) struct Reader<'a> {
    protected: Protected<'a>,
    common: Vec<(String, Outputs)>,
    scope: Scope,
    /// The query, or one around it, reads a relation whose rows count.
    counts: bool,
    /// A query around the one that is read does: it sees what that one's subqueries in FROM do not.
    outside: bool,
    /// The query that is read next is the statement itself.
    top: bool,
}

impl Outputs {
    fn all(holding: Holding) -> Self {
        Outputs {
            columns: vec![(None, holding)],
            stars: vec![0],
        }
    }

    fn worst(&self) -> Holding {
        let all = self.columns.iter().map(|(_, holding)| holding.clone());
        all.fold(Own, either)
    }

    /// The column of that name; what has no known name may have it.
    fn named(&self, name: &str) -> Option<Holding> {
        let known = self
            .columns
            .iter()
            .filter(|(known, _)| known.as_deref() == Some(name));
        let found: Vec<Holding> = known.map(|(_, holding)| holding.clone()).collect();
        if !found.is_empty() {
            return Some(found.into_iter().fold(Own, either));
        }
        let unnamed = self.columns.iter().filter(|(known, _)| known.is_none());
        let may_be = unnamed
            .map(|(_, holding)| holding.clone())
            .fold(Own, either);
        (may_be != Own).then_some(may_be)
    }

    /// Under the column names of an alias.
    fn renamed(mut self, names: &[Tree]) -> Self {
        if names.is_empty() {
            return self;
        }
        if !self.stars.is_empty() {
            return Outputs::all(self.worst());
        }
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0 = name.string().map(str::to_owned);
        }
        self
    }

    fn into_columns(self) -> Columns {
        let (Some(first), Some(last)) = (self.stars.first(), self.stars.last()) else {
            return Columns {
                before: self
                    .columns
                    .into_iter()
                    .map(|(_, holding)| holding)
                    .collect(),
                ..Columns::default()
            };
        };
        let (first, last) = (*first, *last);
        let mut columns = Columns::default();
        let mut star = Own;
        for (at, (_, holding)) in self.columns.into_iter().enumerate() {
            match at {
                _ if at < first => columns.before.push(holding),
                _ if at > last => columns.after.push(holding),
                _ => star = either(star, holding),
            }
        }
        columns.star = Some(star);
        columns
    }
}

/// What a value holds that is one or the other.
fn either(one: Holding, other: Holding) -> Holding {
    match (one, other) {
        (Own, any) | (any, Own) => any,
        (Document { members: one }, Document { members: other }) => Document {
            members: one || other,
        },
        (one, other) if one == other => one,
        _ => Anything,
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(protected: Protected<'a>) -> Self {
        Reader {
            protected,
            common: Vec::new(),
            scope: Vec::new(),
            counts: false,
            outside: false,
            top: false,
        }
    }

    /// The columns that a statement gives to the client.
    pub(super) fn statement(&mut self, node: &Node) -> Columns {
        let copies = node.kind == "CopyStmt";
        let outputs = match node.kind {
            "SelectStmt" => {
                self.top = node.get("larg").is_none();
                self.query(node)
            }
            "CopyStmt" | "DeclareCursorStmt" | "PrepareStmt" => match node.child("query") {
                Some(query) => {
                    let columns = self.statement(query);
                    return if copies {
                        written_out(columns)
                    } else {
                        columns
                    };
                }
                None => Outputs::all(Own),
            },
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.write(node),
            _ => Outputs::all(Own),
        };
        outputs.into_columns()
    }

    /// Whether what a statement writes gathers rows.
    pub(super) fn stores_many(&mut self, node: &Node) -> bool {
        let many = |outputs: Outputs| !matches!(outputs.worst(), Own | Number);
        match node.kind {
            "SelectStmt" if node.get("into_clause").is_some() => many(self.query(node)),
            "SelectStmt" => node.child("larg").is_some_and(|arm| self.stores_many(arm)),
            "CreateTableAsStmt" | "PrepareStmt" | "ExplainStmt" => {
                node.child("query")
                    .is_some_and(|query| match (node.kind, query.kind) {
                        ("CreateTableAsStmt", "SelectStmt") => many(self.query(query)),
                        ("CreateTableAsStmt", _) => false,
                        _ => self.stores_many(query),
                    })
            }
            "InsertStmt" => {
                self.with_clause(node);
                let updates = node
                    .child("on_conflict_clause")
                    .is_some_and(|clause| many(self.assigned(clause.list("target_list"))));
                updates
                    || node
                        .child("select_stmt")
                        .is_some_and(|query| many(self.query(query)))
            }
            "UpdateStmt" => {
                self.with_clause(node);
                self.counts |= mentioned_in(node, self.protected);
                let sources = self.sources(node.list("from_clause"));
                self.scope.push(sources);
                let assigned = self.assigned(node.list("target_list"));
                self.scope.pop();
                many(assigned)
            }
            "MergeStmt" => {
                self.with_clause(node);
                self.counts |= mentioned_in(node, self.protected);
                let sources = self.sources(std::slice::from_ref(
                    node.get("source_relation").unwrap_or(&Tree::Nothing),
                ));
                self.scope.push(sources);
                let clauses = node
                    .list("merge_when_clauses")
                    .iter()
                    .filter_map(Tree::node);
                let mut found = false;
                for clause in clauses {
                    found |= many(self.assigned(clause.list("target_list")));
                    found |= many(self.expressions(clause.list("values")));
                }
                self.scope.pop();
                found
            }
            _ => false,
        }
    }

    fn assigned(&mut self, targets: &[Tree]) -> Outputs {
        let columns = targets.iter().filter_map(Tree::node).map(|target| {
            let holding = target
                .child("val")
                .map_or(Own, |value| self.expression(value));
            (None, holding)
        });
        Outputs {
            columns: columns.collect(),
            stars: Vec::new(),
        }
    }

    fn expressions(&mut self, list: &[Tree]) -> Outputs {
        let columns = list.iter().map(|value| (None, self.of(value)));
        Outputs {
            columns: columns.collect(),
            stars: Vec::new(),
        }
    }

    /// The rows of RETURNING.
    fn write(&mut self, node: &Node) -> Outputs {
        let Some(returning) = node.child("returning_clause") else {
            return Outputs::all(Own);
        };
        let common = self.common.len();
        self.with_clause(node);
        let around = self.counts;
        self.counts |= mentioned_in(node, self.protected);
        let mut sources = Vec::new();
        for field in ["from_clause", "using_clause", "source_relation"] {
            match node.get(field) {
                Some(Tree::List(items)) => sources.extend(self.sources(items)),
                Some(one) => sources.extend(self.sources(std::slice::from_ref(one))),
                None => {}
            }
        }
        self.scope.push(sources);
        let outputs = self.targets(returning.list("exprs"), true);
        self.scope.pop();
        self.counts = around;
        self.common.truncate(common);
        outputs
    }

    fn query(&mut self, node: &Node) -> Outputs {
        let top = std::mem::take(&mut self.top);
        let common = self.common.len();
        let around = self.counts;
        let outside = std::mem::replace(&mut self.outside, around);
        self.with_clause(node);
        self.counts |= mentioned_in(node, self.protected);
        let outputs = match (node.child("larg"), node.child("rarg")) {
            (Some(left), Some(right)) => {
                let (left, right) = (self.query(left), self.query(right));
                arms(left, right)
            }
            _ if !node.list("values_lists").is_empty() => {
                let rows = node.list("values_lists").iter();
                let rows: Vec<Outputs> = rows
                    .map(|row| {
                        self.expressions(row.node().map_or(row.list(), |row| row.list("items")))
                    })
                    .collect();
                let mut all = rows.into_iter().reduce(arms).unwrap_or_default();
                for (at, column) in all.columns.iter_mut().enumerate() {
                    column.0 = Some(format!("column{}", at + 1));
                }
                all
            }
            _ => {
                let sources = self.sources(node.list("from_clause"));
                self.scope.push(sources);
                let outputs = self.targets(node.list("target_list"), top);
                self.scope.pop();
                outputs
            }
        };
        self.counts = around;
        self.outside = outside;
        self.common.truncate(common);
        outputs
    }

    /// `top`: nothing is done to the values any more.
    fn targets(&mut self, targets: &[Tree], top: bool) -> Outputs {
        let mut outputs = Outputs::default();
        for target in targets.iter().filter_map(Tree::node) {
            let Some(value) = target.child("val") else {
                continue;
            };
            if naming::is_star(value) {
                self.star(value, &mut outputs);
                continue;
            }
            let name = match target.text("name") {
                "" => naming::known(value, VERSION),
                name => Some(name),
            };
            let name = name.map(str::to_owned);
            let holding = match as_text(value).filter(|_| top) {
                // Its form stays what it was.
                Some(inner) => self.expression(inner),
                None => self.expression(value),
            };
            outputs.columns.push((name, holding));
        }
        outputs
    }

    /// `*` over one query is that query's columns; over several, or a relation, they are not told apart.
    fn star(&mut self, value: &Node, outputs: &mut Outputs) {
        let mut names = value.list("fields").iter().filter_map(Tree::string);
        let of = names.next_back();
        let sources: Vec<&Source> = self.scope.last().map_or(Vec::new(), |sources| {
            sources
                .iter()
                .filter(|source| of.is_none_or(|of| source.alias == of))
                .collect()
        });
        if let ("ColumnRef", [one]) = (value.kind, sources.as_slice()) {
            let base = outputs.columns.len();
            outputs
                .stars
                .extend(one.outputs.stars.iter().map(|at| base + at));
            outputs.columns.extend(one.outputs.columns.iter().cloned());
            return;
        }
        let holding = match value.kind {
            "ColumnRef" => sources
                .iter()
                .map(|source| source.outputs.worst())
                .fold(Own, either),
            _ => self.expression(value),
        };
        outputs.stars.push(outputs.columns.len());
        outputs.columns.push((None, holding));
    }

    fn sources(&mut self, items: &[Tree]) -> Vec<Source> {
        // What is lateral sees what stands before it.
        self.scope.push(Vec::new());
        for item in items.iter().filter_map(Tree::node) {
            let found = self.source(item);
            if let Some(level) = self.scope.last_mut() {
                level.extend(found);
            }
        }
        self.scope.pop().unwrap_or_default()
    }

    fn source(&mut self, node: &Node) -> Vec<Source> {
        let alias = node.child("alias");
        let name = alias.map_or("", |alias| alias.text("aliasname"));
        let names = alias.map_or(&[][..], |alias| alias.list("colnames"));
        let counted = mentioned_in(node, self.protected);
        let source = |name: &str, outputs: Outputs| {
            vec![Source {
                alias: name.to_owned(),
                outputs: outputs.renamed(names),
                counted,
            }]
        };
        match node.kind {
            "RangeVar" => {
                let relation = node.text("relname");
                let own = if name.is_empty() { relation } else { name };
                let plain = node.text("schemaname").is_empty();
                let known = self
                    .common
                    .iter()
                    .rev()
                    .find(|(common, _)| plain && common == relation);
                source(
                    own,
                    known.map_or_else(|| Outputs::all(Own), |(_, outputs)| outputs.clone()),
                )
            }
            "RangeSubselect" => {
                let here = self.counts;
                self.counts = self.outside || (here && node.flag("lateral"));
                let outputs = node
                    .child("subquery")
                    .map_or_else(Outputs::default, |query| self.query(query));
                self.counts = here;
                source(name, outputs)
            }
            "RangeTableSample" => node
                .child("relation")
                .map_or(Vec::new(), |relation| self.source(relation)),
            "JoinExpr" => {
                let mut sides = Vec::new();
                for side in ["larg", "rarg"].iter().filter_map(|side| node.child(side)) {
                    let found = self.source(side);
                    if let Some(level) = self.scope.last_mut() {
                        level.extend(found.iter().cloned());
                    }
                    sides.extend(found);
                }
                match name {
                    "" => sides,
                    _ => {
                        let worst = sides
                            .iter()
                            .map(|side| side.outputs.worst())
                            .fold(Own, either);
                        source(name, Outputs::all(worst))
                    }
                }
            }
            _ => {
                let gathered = node.fields.iter().any(|(_, field)| self.of(field) != Own);
                let holding = if gathered { Anything } else { Own };
                source(name, Outputs::all(holding))
            }
        }
    }

    fn with_clause(&mut self, node: &Node) {
        let Some(with) = node.child("with_clause") else {
            return;
        };
        for common in with.list("ctes").iter().filter_map(Tree::node) {
            let name = common.text("ctename").to_owned();
            let names = common.list("aliascolnames");
            let Some(query) = common.child("ctequery") else {
                continue;
            };
            let recursive = with.flag("recursive") && query.child("rarg").is_some();
            let mut outputs = match query.kind {
                "SelectStmt" if recursive => self.recursion(&name, query, names),
                "SelectStmt" => self.query(query).renamed(names),
                _ => self.write(query).renamed(names),
            };
            // Lists of the rows that led to one.
            let search = common.child("search_clause");
            let cycle = common.child("cycle_clause");
            let added = [
                search.map(|clause| clause.text("search_seq_column")),
                cycle.map(|clause| clause.text("cycle_path_column")),
                cycle.map(|clause| clause.text("cycle_mark_column")),
            ];
            for added in added.into_iter().flatten() {
                outputs.columns.push((Some(added.to_owned()), Anything));
            }
            self.common.push((name, outputs));
        }
    }

    /// A query that reads its own rows: with every turn it could put one row more into a value, or one more beside the
    /// others. What comes from another relation, or stands where it stood before, is as it was.
    fn recursion(&mut self, name: &str, query: &Node, names: &[Tree]) -> Outputs {
        let common = self.common.len();
        self.with_clause(query);
        let first = query
            .child("larg")
            .map_or_else(Outputs::default, |arm| self.query(arm));
        let mut outputs = first.renamed(names);
        let Some(turn) = query.child("rarg") else {
            return outputs;
        };
        let targets: Vec<&Node> = turn
            .list("target_list")
            .iter()
            .filter_map(|target| target.node()?.child("val"))
            .collect();
        let told = outputs.stars.is_empty()
            && targets.len() == outputs.columns.len()
            && !targets.iter().any(|target| naming::is_star(target));
        if !told {
            self.common.truncate(common);
            let gathers = mentioned_in(query, self.protected);
            return Outputs::all(if gathers { Anything } else { Own });
        }
        let own: Vec<String> = outputs
            .columns
            .iter()
            .filter_map(|(name, _)| name.clone())
            .collect();
        let aliases = own_aliases(turn, name);
        self.common.push((name.to_owned(), outputs.clone()));
        let others = self.query(turn);
        self.common.truncate(common);
        for ((column, target), (_, other)) in
            outputs.columns.iter_mut().zip(targets).zip(others.columns)
        {
            let stays = column
                .0
                .as_deref()
                .is_some_and(|name| stays(target, name, &aliases));
            if stays {
                continue;
            }
            column.1 = match reads(target, &own, &aliases) {
                true => Anything,
                false => either(column.1.clone(), other),
            };
        }
        outputs
    }

    fn of(&mut self, tree: &Tree) -> Holding {
        match tree {
            Tree::List(items) => {
                let mut all = Own;
                for item in items {
                    all = either(all, self.of(item));
                }
                all
            }
            Tree::Node(node) => self.expression(node),
            _ => Own,
        }
    }

    fn expression(&mut self, node: &Node) -> Holding {
        match node.kind {
            "ColumnRef" => self.column(node, false),
            "FuncCall" => self.call(node),
            "JsonArrayAgg" | "JsonObjectAgg" if self.counts => {
                let members = node.kind == "JsonObjectAgg";
                let inner = self.of(node.get("arg").unwrap_or(&Tree::Nothing));
                let output = node
                    .child("constructor")
                    .and_then(|common| common.child("output"));
                match (is_text(output), document(inner)) {
                    (true, Some(inside)) => Document {
                        members: members || inside,
                    },
                    _ => Anything,
                }
            }
            "JsonObjectConstructor" | "JsonArrayConstructor" => {
                let inner = self.of(node.get("exprs").unwrap_or(&Tree::Nothing));
                match (inner, is_text(node.child("output"))) {
                    (Own, _) => Own,
                    (inner, true) => {
                        document(inner).map_or(Anything, |members| Document { members })
                    }
                    _ => Anything,
                }
            }
            "JsonArrayQueryConstructor" => self.gathered(node.child("query"), |inner| {
                document(inner).map_or(Anything, |members| Document { members })
            }),
            "SubLink" => match node.int("sub_link_type") {
                EXPR_SUBLINK => {
                    let query = node.child("subselect");
                    query.map_or(Own, |query| self.query(query).worst())
                }
                ARRAY_SUBLINK => self.gathered(node.child("subselect"), array),
                // True or false.
                _ => Own,
            },
            "CoalesceExpr" => self.of(node.get("args").unwrap_or(&Tree::Nothing)),
            "CaseExpr" => {
                let mut all = node
                    .child("defresult")
                    .map_or(Own, |value| self.expression(value));
                for when in node.list("args").iter().filter_map(Tree::node) {
                    let result = when
                        .child("result")
                        .map_or(Own, |value| self.expression(value));
                    all = either(all, result);
                }
                all
            }
            "CollateClause" | "NamedArgExpr" => node
                .child("arg")
                .map_or(Own, |inner| self.expression(inner)),
            "BoolExpr" | "NullTest" | "BooleanTest" => Own,
            "AExpr" => self.operator(node),
            "TypeCast" => self.cast(node),
            "AIndirection" => self.indirection(node),
            "XmlExpr" if node.int("op") == XMLELEMENT => match self.fields(node) {
                inner @ (Own | Tags) => inner,
                _ => Anything,
            },
            "XmlSerialize" => match self.fields(node) {
                inner @ (Own | Tags) => inner,
                _ => Anything,
            },
            "JsonValueExpr" | "JsonKeyValue" | "List" | "ResTarget" => self.fields(node),
            "SelectStmt" => self.query(node).worst(),
            _ => match self.fields(node) {
                Own => Own,
                _ => Anything,
            },
        }
    }

    fn fields(&mut self, node: &Node) -> Holding {
        let mut all = Own;
        for (_, field) in &node.fields {
            all = either(all, self.of(field));
        }
        all
    }

    /// A query whose rows go into one value, which is made of what each of them holds.
    fn gathered(&mut self, query: Option<&Node>, value: fn(Holding) -> Holding) -> Holding {
        let Some(query) = query else {
            return Own;
        };
        let inner = self.query(query).worst();
        match mentioned_in(query, self.protected) || inner != Own {
            true => value(inner),
            false => Own,
        }
    }

    /// `inside`: it goes into a document as it is. A row in text form hides what it holds behind quotes.
    fn column(&self, node: &Node, inside: bool) -> Holding {
        let row = |holding: Holding| match holding {
            Own => Own,
            holding if inside => holding,
            _ => Anything,
        };
        let fields = node.list("fields");
        let star = naming::is_star(node);
        let names: Vec<&str> = fields.iter().filter_map(Tree::string).collect();
        let (relation, name) = match names.as_slice() {
            [relation] if star => (Some(*relation), None),
            [name] => (None, Some(*name)),
            [.., relation, name] => (Some(*relation), Some(*name)),
            [] => (None, None),
        };
        for level in self.scope.iter().rev() {
            let mut found = None;
            for source in level {
                let holding = match (relation, name) {
                    (Some(relation), name) if source.alias == relation => match name {
                        Some(name) => Some(source.outputs.named(name).unwrap_or(Own)),
                        None => Some(row(source.outputs.worst())),
                    },
                    (Some(_), _) => None,
                    (None, Some(name)) if source.alias == name => Some(row(source.outputs.worst())),
                    (None, Some(name)) => source.outputs.named(name),
                    (None, None) => Some(row(source.outputs.worst())),
                };
                found = match (found, holding) {
                    (None, holding) => holding,
                    (found, None) => found,
                    (Some(one), Some(other)) => Some(either(one, other)),
                };
            }
            if let Some(found) = found {
                return found;
            }
        }
        Own
    }

    fn call(&mut self, node: &Node) -> Holding {
        let call = calls::call(node);
        let documents = matches!(call, Call::Document | Call::Elements | Call::Members);
        let mut inner = Own;
        for argument in node.list("args") {
            let holding = match argument {
                Tree::Node(row) if documents && row.kind == "ColumnRef" => self.column(row, true),
                argument => self.of(argument),
            };
            inner = either(inner, holding);
        }
        // What is sorted there is what comes out.
        if node.flag("agg_within_group") {
            inner = either(
                inner,
                self.of(node.get("agg_order").unwrap_or(&Tree::Nothing)),
            );
        }
        let collects = self.counts && (inner != Own || !self.of_uncounted(node));
        match call {
            Call::Document => match inner {
                Own => Own,
                inner => document(inner).map_or(Anything, |members| Document { members }),
            },
            Call::Array if collects => array(inner),
            Call::Elements if collects => {
                document(inner).map_or(Anything, |members| Document { members })
            }
            Call::Members if collects => {
                document(inner).map_or(Anything, |_| Document { members: true })
            }
            Call::Text if collects => match (inner, node.list("args")) {
                (Own, [_, separator]) => separated(separator),
                _ => Anything,
            },
            Call::Xml if collects => {
                let element = node.list("args").first().and_then(Tree::node);
                let element =
                    element.filter(|node| node.kind == "XmlExpr" && node.int("op") == XMLELEMENT);
                match (inner, element) {
                    (Own | Tags, Some(_)) => Tags,
                    _ => Anything,
                }
            }
            Call::Other if collects => Anything,
            Call::Number if collects => {
                let plain = node
                    .list("args")
                    .iter()
                    .all(|argument| argument.node().is_some_and(calls::is_plain_number));
                match (inner, plain) {
                    (Own, true) if calls::name(node) == "avg" => Own,
                    (Own | Number, true) => Number,
                    _ => Anything,
                }
            }
            // `array_to_string` of an array of single values.
            Call::Plain if calls::name(node) == "array_to_string" && inner == Array => {
                match node.list("args") {
                    [_, separator, ..] => separated(separator),
                    _ => Anything,
                }
            }
            Call::Plain if calls::name(node) == "count" => Own,
            _ => match inner {
                Own => Own,
                Number => Number,
                _ => Anything,
            },
        }
    }

    /// The aggregate is over relations whose rows do not count: its arguments are of this query, which reads none that
    /// do, and not of the query around it, whose aggregate it would be then.
    fn of_uncounted(&self, node: &Node) -> bool {
        let Some(level) = self.scope.last() else {
            return false;
        };
        fn own(tree: &Tree, level: &[Source]) -> bool {
            match tree {
                Tree::List(items) => items.iter().any(|item| own(item, level)),
                Tree::Node(node) if node.kind == "ColumnRef" => {
                    let first = node.list("fields").first().and_then(Tree::string);
                    level
                        .iter()
                        .any(|source| first == Some(source.alias.as_str()))
                }
                Tree::Node(node) => node.fields.iter().any(|(_, field)| own(field, level)),
                _ => false,
            }
        }
        let counted = level.iter().any(|source| source.counted);
        !counted && !level.is_empty() && node.get("args").is_some_and(|args| own(args, level))
    }

    fn operator(&mut self, node: &Node) -> Holding {
        const TRUTHS: [&str; 12] = [
            "=", "<>", "!=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "@>", "<@",
        ];
        let operator = node.names("name").unwrap_or_default();
        let operator = operator.last().copied().unwrap_or("");
        let inner = [node.child("lexpr"), node.child("rexpr")].map(|side| {
            side.map_or(Own, |side| match side.kind {
                "AConst" => Own,
                _ => self.expression(side),
            })
        });
        let constant = |side: &str| node.child(side).is_some_and(|side| side.kind == "AConst");
        match (operator, inner) {
            (_, [Own, Own]) => Own,
            (operator, _) if node.int("kind") != OPERATOR || TRUTHS.contains(&operator) => Own,
            ("||", [text @ Separated(_), Own]) if constant("rexpr") => text,
            ("||", [Own, text @ Separated(_)]) if constant("lexpr") => text,
            ("+" | "-" | "*" | "/", [Own | Number, Own | Number]) => Number,
            _ => Anything,
        }
    }

    /// A cast to text leaves the form as it is, but whoever puts that text into a document hides it behind quotes; so it
    /// is kept for lists alone.
    fn cast(&mut self, node: &Node) -> Holding {
        let inner = node
            .child("arg")
            .map_or(Own, |inner| self.expression(inner));
        let target = node.child("type_name");
        let array = target.is_some_and(|target| !target.list("array_bounds").is_empty());
        let names = target
            .and_then(|target| target.names("names"))
            .unwrap_or_default();
        let target = names.last().copied().unwrap_or("");
        match (inner, target) {
            (Own, _) => Own,
            (inner @ Array, _) if array => inner,
            (inner @ Separated(_), "text" | "varchar") if !array => inner,
            (inner @ Document { .. }, "json" | "jsonb") if !array => inner,
            (
                inner @ Number,
                "numeric" | "int4" | "int8" | "float8" | "float4" | "text" | "varchar",
            ) if !array => inner,
            (inner @ Tags, "xml" | "text") if !array => inner,
            _ => Anything,
        }
    }

    /// `(array_agg(name ORDER BY day))[1]` is one row's value.
    fn indirection(&mut self, node: &Node) -> Holding {
        let inner = node
            .child("arg")
            .map_or(Own, |inner| self.expression(inner));
        match (inner, node.list("indirection")) {
            (Own, _) => Own,
            (Array, [Tree::Node(index)]) if index.kind == "AIndices" && !index.flag("is_slice") => {
                match index.child("uidx").map(|index| index.kind) {
                    Some("AConst") => Own,
                    _ => Anything,
                }
            }
            _ => Anything,
        }
    }
}

/// An array of such values.
fn array(inner: Holding) -> Holding {
    match inner {
        Own | Number | Array => Array,
        _ => Anything,
    }
}

/// Whether members of objects in a document of such values stand for rows; `None`: they are not told by its form.
fn document(inner: Holding) -> Option<bool> {
    match inner {
        Own | Number | Array => Some(false),
        Document { members } => Some(members),
        _ => None,
    }
}

/// What is cast to text.
fn as_text(node: &Node) -> Option<&Node> {
    let target = node
        .child("type_name")
        .filter(|_| node.kind == "TypeCast")?;
    let names = target.names("names")?;
    let text = matches!(names.last(), Some(&("text" | "varchar")));
    (text && target.list("array_bounds").is_empty()).then(|| node.child("arg"))?
}

fn separated(separator: &Tree) -> Holding {
    let text = separator
        .node()
        .filter(|node| node.kind == "AConst")
        .and_then(|node| node.get("val").and_then(Tree::string));
    match text {
        Some(text) if !text.is_empty() => Separated(Arc::from(text)),
        _ => Anything,
    }
}

/// The text of COPY spells control characters and backslashes in another way.
fn written_out(mut columns: Columns) -> Columns {
    let all = columns
        .before
        .iter_mut()
        .chain(&mut columns.after)
        .chain(&mut columns.star);
    for holding in all {
        if let Separated(separator) = holding
            && separator.contains(|c: char| c.is_control() || c == '\\')
        {
            *holding = Anything;
        }
    }
    columns
}

fn arms(left: Outputs, right: Outputs) -> Outputs {
    let told = left.stars.is_empty()
        && right.stars.is_empty()
        && left.columns.len() == right.columns.len();
    if !told {
        return Outputs::all(either(left.worst(), right.worst()));
    }
    let columns = left.columns.into_iter().zip(right.columns);
    Outputs {
        columns: columns
            .map(|((name, one), (_, other))| (name, either(one, other)))
            .collect(),
        stars: Vec::new(),
    }
}

/// SQL/JSON gives another form than text only where RETURNING says so.
fn is_text(output: Option<&Node>) -> bool {
    let Some(target) = output.and_then(|output| output.child("type_name")) else {
        return true;
    };
    let names = target.names("names").unwrap_or_default();
    matches!(names.last(), Some(&("json" | "jsonb" | "text" | "varchar")))
}

/// Under which names a query's FROM has the common table expression.
fn own_aliases(query: &Node, name: &str) -> Vec<String> {
    fn collect(tree: &Tree, name: &str, found: &mut Vec<String>) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| collect(item, name, found)),
            Tree::Node(node) if node.kind == "RangeVar" => {
                let is_it = node.text("schemaname").is_empty() && node.text("relname") == name;
                let alias = node.child("alias");
                let alias = alias.map_or(name, |alias| alias.text("aliasname"));
                found.extend(is_it.then(|| alias.to_owned()));
            }
            Tree::Node(node) => node
                .fields
                .iter()
                .for_each(|(_, field)| collect(field, name, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(
        query.get("from_clause").unwrap_or(&Tree::Nothing),
        name,
        &mut found,
    );
    found
}

/// The column itself, or counted up by a constant.
fn stays(target: &Node, name: &str, aliases: &[String]) -> bool {
    match target.kind {
        "ColumnRef" => match target.names("fields").as_deref() {
            Some([column]) => *column == name,
            Some([alias, column]) => *column == name && aliases.iter().any(|own| own == alias),
            _ => false,
        },
        "AExpr" => {
            let operator = target.names("name").unwrap_or_default();
            let step = target
                .child("rexpr")
                .and_then(|step| step.child("val"))
                .map(|step| step.kind);
            matches!(operator.last(), Some(&("+" | "-")))
                && step == Some("Integer")
                && target
                    .child("lexpr")
                    .is_some_and(|inner| stays(inner, name, aliases))
        }
        _ => false,
    }
}

/// Whether an expression may read a column of the common table expression.
fn reads(node: &Node, columns: &[String], aliases: &[String]) -> bool {
    fn any(tree: &Tree, columns: &[String], aliases: &[String]) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(|item| any(item, columns, aliases)),
            Tree::Node(node) => reads(node, columns, aliases),
            _ => false,
        }
    }
    if node.kind != "ColumnRef" {
        return node
            .fields
            .iter()
            .any(|(_, field)| any(field, columns, aliases));
    }
    match node.names("fields").as_deref() {
        Some([name]) => [columns, aliases].concat().iter().any(|own| own == name),
        Some([alias, _]) => aliases.iter().any(|own| own == alias),
        _ => true,
    }
}
