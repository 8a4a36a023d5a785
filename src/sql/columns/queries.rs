//! Queries: SELECT, VALUES, set operations, and common table expressions.
use std::borrow::Cow;
use std::rc::Rc;

use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use super::Reading;
use super::cells::{Cells, Use, settle};
use super::from::{Level, Output, Outputs};

/// A common table expression.
#[derive(Debug)]
pub struct Cte<'a> {
    pub name: &'a str,
    pub outputs: Rc<Outputs<'a>>,
}

/// How often the expressions of a WITH RECURSIVE are read: what comes out of one may go into it again. Columns that
/// change places more often than that are all taken for each other.
const ROUNDS: usize = 3;

/// `SetOperation` as libpg_query numbers it (from 1).
const PLAIN: i64 = 1;
const UNION: i64 = 2;

impl<'a> Reading<'a> {
    /// The output columns of a query, or of a write with RETURNING. What is used on the way is marked; the output
    /// columns themselves are not.
    pub fn outputs(&mut self, query: &'a Node) -> Outputs<'a> {
        if query.kind != "SelectStmt" {
            return self.write(query);
        }
        let depth = self.ctes.len();
        self.with(query);
        let mut outputs = self.body(query);
        for output in &mut outputs.columns {
            settle(&mut output.cells);
        }
        if let Some(rest) = &mut outputs.rest {
            settle(rest);
        }
        self.ctes.truncate(depth);
        outputs
    }

    /// Brings the expressions of a WITH clause into scope.
    pub fn with(&mut self, query: &'a Node) {
        let Some(with) = query.child("with_clause") else {
            return;
        };
        let expressions: Vec<&'a Node> = with.list("ctes").iter().filter_map(Tree::node).collect();
        if !with.flag("recursive") {
            for expression in expressions {
                let outputs = self.expression(expression);
                self.ctes.push(Cte {
                    name: expression.text("ctename"),
                    outputs: Rc::new(outputs),
                });
            }
            return;
        }
        // They may name themselves and each other.
        let first = self.ctes.len();
        self.ctes.extend(expressions.iter().map(|expression| Cte {
            name: expression.text("ctename"),
            outputs: Rc::new(Outputs {
                columns: Vec::new(),
                rest: Some(Cells::new()),
            }),
        }));
        for (place, expression) in expressions.iter().enumerate() {
            let start = expression
                .child("ctequery")
                .filter(|query| query.get("with_clause").is_none() && query.int("op") > PLAIN);
            // What a recursion starts from; only a set operation is one.
            if let Some(start) = start.and_then(|query| query.child("larg")) {
                let outputs = self.outputs(start);
                if let Some(cte) = self.ctes.get_mut(first + place) {
                    cte.outputs = Rc::new(renamed(outputs, expression));
                }
            }
        }
        for round in 1..=ROUNDS {
            let mut changed = false;
            for (place, expression) in expressions.iter().enumerate() {
                let mut outputs = self.expression(expression);
                if round == ROUNDS && changed {
                    outputs = mixed(outputs);
                }
                if let Some(cte) = self.ctes.get_mut(first + place)
                    && *cte.outputs != outputs
                {
                    changed = true;
                    cte.outputs = Rc::new(outputs);
                }
            }
            if !changed || self.found.exhausted() {
                return;
            }
        }
    }

    fn expression(&mut self, expression: &'a Node) -> Outputs<'a> {
        let outputs = match expression.child("ctequery") {
            Some(query) => self.outputs(query),
            None => Outputs::default(),
        };
        let mut outputs = renamed(outputs, expression);
        for (clause, listed, added) in [
            (
                "search_clause",
                "search_col_list",
                &["search_seq_column"][..],
            ),
            (
                "cycle_clause",
                "cycle_col_list",
                &["cycle_path_column", "cycle_mark_column"][..],
            ),
        ] {
            let Some(clause) = expression.child(clause) else {
                continue;
            };
            let names = clause.names(listed).unwrap_or_default();
            let cells: Cells = outputs
                .columns
                .iter()
                .filter(|column| names.contains(&&*column.name))
                .flat_map(|column| column.cells.clone())
                .collect();
            self.found.mark(&cells, Use::Filtered);
            for name in added {
                outputs.columns.push(Output {
                    name: Cow::Borrowed(clause.text(name)),
                    cells: cells.clone(),
                });
            }
        }
        outputs
    }

    fn body(&mut self, query: &'a Node) -> Outputs<'a> {
        if query.int("op") > PLAIN {
            return self.set_operation(query);
        }
        let rows = query.list("values_lists");
        if !rows.is_empty() {
            let outputs = self.values(rows);
            self.tail(query, &outputs);
            return outputs;
        }
        self.levels.push(Level::default());
        self.from(query.list("from_clause"));
        let outputs = self.targets(query.list("target_list"));
        for clause in ["where_clause", "having_clause", "window_clause"] {
            if let Some(clause) = query.get(clause) {
                self.filter(clause);
            }
        }
        for item in query.list("group_clause") {
            self.sorted_by(item, &outputs, Prefer::Input);
        }
        for item in query.list("distinct_clause") {
            match item.node() {
                // DISTINCT without ON: of whatever comes out.
                None => self.name_all(&outputs),
                Some(_) => self.sorted_by(item, &outputs, Prefer::Output),
            }
        }
        self.tail(query, &outputs);
        self.levels.pop();
        outputs
    }

    /// ORDER BY, LIMIT and OFFSET.
    fn tail(&mut self, query: &'a Node, outputs: &Outputs<'a>) {
        for item in query.list("sort_clause") {
            self.sorted_by(item, outputs, Prefer::Output);
        }
        for clause in ["limit_count", "limit_offset"] {
            if let Some(clause) = query.get(clause) {
                self.filter(clause);
            }
        }
    }

    fn set_operation(&mut self, query: &'a Node) -> Outputs<'a> {
        let (Some(left), Some(right)) = (query.child("larg"), query.child("rarg")) else {
            return Outputs::default();
        };
        let left = self.outputs(left);
        let right = self.outputs(right);
        // Rows are compared.
        if query.int("op") != UNION || !query.flag("all") {
            self.name_all(&left);
            self.name_all(&right);
        }
        let outputs = self.aligned(left, right);
        self.levels.push(Level::default());
        self.tail(query, &outputs);
        self.levels.pop();
        outputs
    }

    /// Rows of either side, column by column.
    fn aligned(&mut self, mut left: Outputs<'a>, right: Outputs<'a>) -> Outputs<'a> {
        if left.rest.is_some() || right.rest.is_some() {
            // Which column stands under which is not known.
            let mut all: Cells = left.all().chain(right.all()).copied().collect();
            settle(&mut all);
            if !self.found.spend(all.len() * left.columns.len()) {
                return left;
            }
            for column in &mut left.columns {
                column.cells.clone_from(&all);
            }
            left.rest = Some(all);
            return left;
        }
        for (column, other) in left.columns.iter_mut().zip(right.columns) {
            self.found.spend(other.cells.len());
            column.cells.extend(other.cells);
        }
        left
    }

    fn values(&mut self, rows: &'a [Tree]) -> Outputs<'a> {
        let mut outputs = Outputs::default();
        for row in rows {
            for (place, value) in row.items().unwrap_or_default().iter().enumerate() {
                let mut cells = Cells::new();
                self.flow(value, &mut cells);
                match outputs.columns.get_mut(place) {
                    Some(column) => column.cells.extend(cells),
                    None => outputs.columns.push(Output {
                        name: Cow::Owned(format!("column{}", place + 1)),
                        cells,
                    }),
                }
            }
        }
        outputs
    }

    /// The output columns of a select list or of RETURNING.
    pub fn targets(&mut self, targets: &'a [Tree]) -> Outputs<'a> {
        let mut outputs = Outputs::default();
        for target in targets.iter().filter_map(Tree::node) {
            let (Some(value), name) = (target.get("val"), target.text("name")) else {
                continue;
            };
            let Some(node) = value.node() else {
                continue;
            };
            if node.kind == "ColumnRef" && naming::is_star(node) {
                let fields = node.list("fields").iter();
                let qualifier: Vec<&'a str> = fields.filter_map(Tree::string).collect();
                let expanded = self.expand(&qualifier);
                outputs.columns.extend(expanded.columns);
                if let Some(rest) = expanded.rest {
                    outputs.rest.get_or_insert_default().extend(rest);
                }
                continue;
            }
            let mut cells = Cells::new();
            self.flow(value, &mut cells);
            settle(&mut cells);
            if naming::is_star(node) {
                // `(row).*`
                outputs.rest.get_or_insert_default().extend(cells);
                continue;
            }
            let name = match name {
                "" => naming::name(node, self.server_version),
                name => name,
            };
            outputs.columns.push(Output {
                name: Cow::Borrowed(name),
                cells,
            });
        }
        outputs
    }

    /// An item of GROUP BY, DISTINCT ON or ORDER BY: the number or name of an output column, or an expression
    /// (`findTargetlistEntrySQL92` in `src/backend/parser/parse_clause.c`).
    fn sorted_by(&mut self, item: &'a Tree, outputs: &Outputs<'a>, prefer: Prefer) {
        let Some(node) = item.node() else {
            return self.filter(item);
        };
        match node.kind {
            "SortBy" => {
                if let Some(key) = node.get("node") {
                    self.sorted_by(key, outputs, prefer);
                }
            }
            "GroupingSet" => {
                for key in node.list("content") {
                    self.sorted_by(key, outputs, prefer);
                }
            }
            "AConst" => {
                let number = node.child("val").map_or(0, |number| number.int("ival"));
                let place = usize::try_from(number - 1).unwrap_or(usize::MAX);
                match outputs.columns.get(place) {
                    Some(column) => self.found.mark(&column.cells, Use::Filtered),
                    None => {
                        if let Some(rest) = &outputs.rest {
                            self.found.mark(rest, Use::Filtered);
                        }
                    }
                }
            }
            "ColumnRef" => {
                let fields = node.list("fields");
                let output = match fields {
                    [name] => name.string().and_then(|name| {
                        let mut columns = outputs.columns.iter();
                        columns.find(|column| column.name == name)
                    }),
                    _ => None,
                };
                let mut cells = Cells::new();
                if output.is_none() || prefer == Prefer::Input {
                    self.reference(node, &mut cells);
                }
                match output {
                    Some(output) if cells.is_empty() => {
                        self.found.mark(&output.cells, Use::Filtered);
                    }
                    _ => self.found.mark(&cells, Use::Filtered),
                }
            }
            _ => self.filter(item),
        }
    }

    fn name_all(&mut self, outputs: &Outputs<'a>) {
        let all: Cells = outputs.all().copied().collect();
        self.found.mark(&all, Use::Named);
    }
}

/// What a bare name means first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefer {
    /// A column of FROM.
    Input,
    /// An output column.
    Output,
}

/// Under the names that a common table expression gives to its columns.
fn renamed<'a>(mut outputs: Outputs<'a>, expression: &'a Node) -> Outputs<'a> {
    let names = expression.list("aliascolnames").iter();
    for (column, name) in outputs.columns.iter_mut().zip(names) {
        if let Some(name) = name.string() {
            column.name = Cow::Borrowed(name);
        }
    }
    outputs
}

fn mixed(mut outputs: Outputs<'_>) -> Outputs<'_> {
    let mut all: Cells = outputs.all().copied().collect();
    settle(&mut all);
    for column in &mut outputs.columns {
        column.cells.clone_from(&all);
    }
    outputs
}
