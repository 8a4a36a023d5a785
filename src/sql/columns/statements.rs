//! Statements: what of them comes out, and what they write.
use std::borrow::Cow;
use std::rc::Rc;

use crate::sql::tree::{Node, Tree};

use super::Reading;
use super::cells::{Cell, Cells, Use};
use super::from::{Item, Level, Output, Outputs, Source};

impl<'a> Reading<'a> {
    /// Reads a whole statement.
    pub fn statement(&mut self, node: &'a Node) {
        match node.kind {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                let outputs = self.outputs(node);
                self.project(&outputs);
            }
            "CopyStmt" => self.copy(node),
            // Their query is the statement, or will be.
            "ExplainStmt" | "PrepareStmt" | "DeclareCursorStmt" | "CreateTableAsStmt"
            | "ViewStmt" => {
                if let Some(query) = node.child("query") {
                    self.statement(query);
                }
            }
            // DDL and the rest: the queries in them, at most.
            _ => {
                let mut cells = Cells::new();
                self.children(node, &mut cells);
                self.found.mark(&cells, Use::Projected);
            }
        }
    }

    fn project(&mut self, outputs: &Outputs<'a>) {
        let all: Cells = outputs.all().copied().collect();
        self.found.mark(&all, Use::Projected);
    }

    /// What a write gives back.
    pub fn write(&mut self, node: &'a Node) -> Outputs<'a> {
        let depth = self.ctes.len();
        self.with(node);
        let outputs = match node.child("relation") {
            Some(relation) => self.write_to(node, relation),
            None => Outputs::default(),
        };
        self.ctes.truncate(depth);
        outputs
    }

    fn write_to(&mut self, node: &'a Node, relation: &'a Node) -> Outputs<'a> {
        let target = self.target(relation);
        let place = match target.source {
            Source::Relation(place) => place,
            Source::Query(_) => return Outputs::default(),
        };
        if node.kind == "InsertStmt" {
            self.inserted(node, place);
        }
        let alias = target.alias;
        self.levels.push(Level::of(target));
        match node.kind {
            "UpdateStmt" => {
                self.from(node.list("from_clause"));
                self.assignments(node.list("target_list"), place);
            }
            "DeleteStmt" => self.from(node.list("using_clause")),
            "MergeStmt" => self.merge(node, place),
            _ => {
                if let Some(conflict) = node.child("on_conflict_clause") {
                    self.on_conflict(conflict, place);
                }
            }
        }
        if let Some(condition) = node.get("where_clause") {
            self.filter(condition);
        }
        let outputs = match node.child("returning_clause") {
            Some(returning) => self.returning(returning, alias, place),
            None => Outputs::default(),
        };
        self.levels.pop();
        outputs
    }

    fn returning(&mut self, returning: &'a Node, alias: &'a str, place: usize) -> Outputs<'a> {
        // Rows before and after (PostgreSQL 18), under names of their own if WITH gives them.
        let given = returning.list("options").iter().filter_map(Tree::node);
        let mut names: Vec<&'a str> = given.map(|option| option.text("value")).collect();
        names.extend(["old", "new"]);
        for name in names.into_iter().filter(|name| *name != alias) {
            let item = named(name, Source::Relation(place));
            if let Some(level) = self.levels.last_mut() {
                level.items.push(Rc::new(item));
            }
        }
        self.targets(returning.list("exprs"))
    }

    /// The columns of INSERT's list, or as many of the relation's first as there are values.
    fn inserted(&mut self, node: &'a Node, place: usize) {
        let columns = node.list("cols");
        let Some(query) = node.child("select_stmt") else {
            return self.written(columns, place);
        };
        let outputs = self.outputs(query);
        self.project(&outputs);
        if !columns.is_empty() {
            return self.written(columns, place);
        }
        let mut all = self.found.all(place);
        if outputs.rest.is_none() {
            all.truncate(outputs.columns.len());
        }
        self.found.mark(&all, Use::Written);
    }

    /// The columns that a list of targets assigns to.
    fn written(&mut self, targets: &'a [Tree], place: usize) {
        for target in targets.iter().filter_map(Tree::node) {
            let cells = self.assigned(target, place);
            self.found.mark(&cells, Use::Written);
        }
    }

    fn assigned(&mut self, target: &'a Node, place: usize) -> Cells {
        for subscript in target.list("indirection") {
            self.filter(subscript);
        }
        self.column_of(place, target.text("name"))
    }

    fn column_of(&mut self, relation: usize, name: &'a str) -> Cells {
        let Some(known) = self.found.known(relation) else {
            return vec![self.found.unknown(relation, name)];
        };
        let column = known.columns.iter().position(|column| column.name == name);
        column
            .map(|column| Cell { relation, column })
            .into_iter()
            .collect()
    }

    /// `SET`: what is assigned goes on to be stored. A column that is computed from itself goes nowhere else.
    fn assignments(&mut self, targets: &'a [Tree], place: usize) {
        for target in targets.iter().filter_map(Tree::node) {
            let own = self.assigned(target, place);
            self.found.mark(&own, Use::Written);
            let Some(value) = target.get("val") else {
                continue;
            };
            let several = value.node().filter(|value| value.kind == "MultiAssignRef");
            let mut cells = Cells::new();
            match several {
                // The same source stands in each of them.
                Some(several) if several.int("colno") > 1 => continue,
                Some(several) => self.children(several, &mut cells),
                None => {
                    self.flow(value, &mut cells);
                    cells.retain(|cell| !own.contains(cell));
                }
            }
            self.found.mark(&cells, Use::Projected);
        }
    }

    fn on_conflict(&mut self, conflict: &'a Node, place: usize) {
        if let Some(inferred) = conflict.child("infer") {
            for element in inferred.list("index_elems").iter().filter_map(Tree::node) {
                let column = match element.text("name") {
                    "" => Cells::new(),
                    name => self.column_of(place, name),
                };
                self.found.mark(&column, Use::Filtered);
                if let Some(expression) = element.get("expr") {
                    self.filter(expression);
                }
            }
            if let Some(condition) = inferred.get("where_clause") {
                self.filter(condition);
            }
        }
        // The row that was proposed: its values are no stored ones.
        let columns = self.found.known(place).map(|known| {
            let names = known.columns.iter();
            names
                .map(|column| Output {
                    name: Cow::Borrowed(column.name.as_str()),
                    cells: Cells::new(),
                })
                .collect()
        });
        let excluded = Outputs {
            rest: columns.is_none().then(Cells::new),
            columns: columns.unwrap_or_default(),
        };
        if let Some(level) = self.levels.last_mut() {
            let source = Source::Query(Rc::new(excluded));
            level.items.push(Rc::new(named("excluded", source)));
        }
        self.assignments(conflict.list("target_list"), place);
        if let Some(condition) = conflict.get("where_clause") {
            self.filter(condition);
        }
        if let Some(level) = self.levels.last_mut() {
            level.items.pop();
        }
    }

    fn merge(&mut self, node: &'a Node, place: usize) {
        if let Some(source) = node.child("source_relation") {
            let offered = self.item(source);
            self.offer(offered);
        }
        if let Some(condition) = node.get("join_condition") {
            self.filter(condition);
        }
        for when in node
            .list("merge_when_clauses")
            .iter()
            .filter_map(Tree::node)
        {
            if let Some(condition) = when.get("condition") {
                self.filter(condition);
            }
            let values = when.list("values");
            if values.is_empty() {
                self.assignments(when.list("target_list"), place);
                continue;
            }
            let mut cells = Cells::new();
            for value in values {
                self.flow(value, &mut cells);
            }
            self.found.mark(&cells, Use::Projected);
            match when.list("target_list") {
                [] => {
                    let mut all = self.found.all(place);
                    all.truncate(values.len());
                    self.found.mark(&all, Use::Written);
                }
                targets => self.written(targets, place),
            }
        }
    }

    fn copy(&mut self, node: &'a Node) {
        if let Some(query) = node.child("query") {
            return self.statement(query);
        }
        let Some(relation) = node.child("relation") else {
            return;
        };
        let target = self.target(relation);
        let Source::Relation(place) = target.source else {
            return;
        };
        let named: Vec<&'a str> = node
            .list("attlist")
            .iter()
            .filter_map(Tree::string)
            .collect();
        let cells: Cells = match named.as_slice() {
            [] => self.copied(place),
            named => named
                .iter()
                .flat_map(|name| self.column_of(place, name))
                .collect(),
        };
        let as_what = match node.flag("is_from") {
            true => Use::Written,
            false => Use::Projected,
        };
        self.found.mark(&cells, as_what);
        self.levels.push(Level::of(target));
        if let Some(condition) = node.get("where_clause") {
            self.filter(condition);
        }
        self.levels.pop();
    }

    /// COPY without a list leaves generated columns out (`CopyGetAttnums` in `src/backend/commands/copy.c`).
    fn copied(&mut self, place: usize) -> Cells {
        let mut all = self.found.all(place);
        if let Some(known) = self.found.known(place) {
            let generated = |cell: &Cell| {
                let column = known.columns.get(cell.column);
                column.is_some_and(|column| !column.generated_from.is_empty())
            };
            all.retain(|cell| !generated(cell));
        }
        all
    }
}

/// An item whose columns are named with it alone.
fn named<'a>(alias: &'a str, source: Source<'a>) -> Item<'a> {
    Item {
        alias,
        schema: None,
        renamed: Vec::new(),
        source,
        qualified_only: true,
    }
}
