//! Queries: what their targets hold, by what their FROM and WITH offer.
use std::sync::Arc;

use super::super::{Holding, mentioned_in};
use super::columns::{Output, Outputs, arms};
use super::expressions::as_text;
use super::forms::either;
use super::{Reader, Source, VERSIONS};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Element, Joined, Own};

/// The column that is all that a query gives.
fn only_column(targets: &[Tree]) -> Option<&Node> {
    let [only] = targets else {
        return None;
    };
    let value = only.node()?.child("val")?;
    (value.kind == "ColumnRef" && !naming::is_star(value)).then_some(value)
}

impl<'t> Reader<'_, 't> {
    pub(super) fn query(&mut self, node: &'t Node) -> Outputs {
        let top = std::mem::take(&mut self.top);
        let in_document = std::mem::take(&mut self.in_document);
        let common = self.common.len();
        let around = self.counts;
        let outside = std::mem::replace(&mut self.outside, around);
        let level = self.level.inside(node);
        let level = std::mem::replace(&mut self.level, level);
        self.with_clause(node);
        let names = mentioned_in(node, self.facts.counted);
        let chosen = std::mem::replace(&mut self.chosen, names);
        self.counts |= names;
        let outputs = match (node.child("larg"), node.child("rarg")) {
            (Some(left), Some(right)) => {
                let (left, right) = (self.query(left), self.query(right));
                arms(left, right)
            }
            _ if !node.list("values_lists").is_empty() => {
                let rows = node.list("values_lists").iter();
                let rows: Vec<Outputs> = rows
                    .map(|row| self.expressions(row.items().unwrap_or_default()))
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
                let targets = node.list("target_list");
                let outputs = match only_column(targets).filter(|_| in_document) {
                    Some(row) => Outputs::all(self.column(row, true)),
                    None => self.targets(targets, top),
                };
                self.scope.pop();
                outputs
            }
        };
        self.level = level;
        self.chosen = chosen;
        self.counts = around;
        self.outside = outside;
        self.common.truncate(common);
        outputs
    }

    /// `top`: nothing is done to the values any more.
    pub(super) fn targets(&mut self, targets: &'t [Tree], top: bool) -> Outputs {
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
                "" => {
                    let [first, last] = VERSIONS.map(|version| naming::known(value, version));
                    first.filter(|first| last == Some(first))
                }
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
    fn star(&mut self, value: &'t Node, outputs: &mut Outputs) {
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

    pub(super) fn sources(&mut self, items: &'t [Tree]) -> Vec<Source> {
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

    fn source(&mut self, node: &'t Node) -> Vec<Source> {
        let alias = node.child("alias");
        let name = alias.map_or("", |alias| alias.text("aliasname"));
        let names = alias.map_or(&[][..], |alias| alias.list("colnames"));
        let counted = mentioned_in(node, self.facts.counted);
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

    pub(super) fn with_clause(&mut self, node: &'t Node) {
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
    fn recursion(&mut self, name: &str, query: &'t Node, names: &'t [Tree]) -> Outputs {
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
            let gathers = mentioned_in(query, self.facts.counted);
            return Outputs::all(if gathers { Anything } else { Own });
        }
        let own: Vec<String> = outputs
            .columns
            .iter()
            .filter_map(|(name, _)| name.clone())
            .collect();
        let aliases = own_aliases(turn, name);
        // What it has gathered so far, in whatever column it was.
        let mut gathered = outputs.clone();
        gathered
            .columns
            .iter_mut()
            .for_each(|column| column.1 = Joined);
        self.common.push((name.to_owned(), gathered));
        let others = self.query(turn);
        self.common.truncate(common);
        let moves = |target: &Node| target.kind == "ColumnRef" && reads(target, &own, &aliases);
        let stays = |column: &Output, target: &Node| {
            let name = column.0.as_deref();
            name.is_some_and(|name| stays(target, name, &aliases))
        };
        // One row's value, that of an earlier turn, unless something is appended to what moves.
        let mut moved = Element(Arc::from(""));
        for ((column, target), (_, other)) in
            outputs.columns.iter().zip(&targets).zip(&others.columns)
        {
            if !stays(column, target) && !moves(target) && reads(target, &own, &aliases) {
                moved = either(moved, other.clone());
            }
        }
        for ((column, target), (_, other)) in
            outputs.columns.iter_mut().zip(targets).zip(others.columns)
        {
            if stays(column, target) {
                continue;
            }
            let turned = match moves(target) {
                true => moved.clone(),
                false => other,
            };
            column.1 = either(column.1.clone(), turned);
        }
        outputs
    }
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
