//! Queries: what their targets hold, by what their FROM and WITH offer.
use super::super::{Holding, mentioned_in};
use super::columns::{Outputs, arms};
use super::conditions::{all_of_them, keeps_rows};
use super::expressions::as_text;
use super::forms::either;
use super::{Common, Given, NO_LEVEL, Reader, Source, VERSIONS};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Own};

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
        let before = std::mem::replace(&mut self.looked_before, NO_LEVEL);
        let windows = std::mem::take(&mut self.windows_look);
        self.with_clause(node);
        let names = mentioned_in(node, self.facts.counted);
        let chosen = std::mem::replace(&mut self.chosen, names);
        self.counts |= names;
        let (mut looks, mut given) = (self.looked_before, Given::Made);
        let outputs = match (node.child("larg"), node.child("rarg")) {
            (Some(left), Some(right)) => {
                let left = self.query(left);
                looks = looks.min(self.looked);
                given = self.given;
                let right = self.query(right);
                looks = looks.min(self.looked);
                if given != self.given {
                    given = Given::Made;
                }
                let both = arms(left, right);
                self.scope.push(Vec::new());
                let chosen = self.union_looks(node, &both);
                self.scope.pop();
                looks = looks.min(chosen);
                if chosen == NO_LEVEL {
                    both
                } else {
                    all_of_them(both)
                }
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
                let targets = node.list("target_list");
                let counted = sources.iter().all(|source| source.given == Given::Counted);
                if counted && !sources.is_empty() && targets.iter().all(keeps_rows) {
                    given = Given::Counted;
                }
                self.scope.push(sources);
                looks = looks.min(self.choose_candidates(node));
                let mut outputs = match only_column(targets).filter(|_| in_document) {
                    Some(row) => Outputs::all(self.column(row, true)),
                    None => self.targets(targets, top),
                };
                looks = looks.min(self.sorts_look(node, &outputs));
                if looks != NO_LEVEL {
                    outputs = self.all_chosen(outputs, targets);
                }
                self.scope.pop();
                outputs
            }
        };
        self.looked = looks;
        self.looked_before = before;
        self.windows_look = windows;
        self.given = given;
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
        let sources: Vec<&Source<'t>> = self.scope.last().map_or(Vec::new(), |sources| {
            sources
                .iter()
                .filter(|source| of.map_or(!source.qualified, |of| source.alias == of))
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

    pub(super) fn sources(&mut self, items: &'t [Tree]) -> Vec<Source<'t>> {
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

    fn source(&mut self, node: &'t Node) -> Vec<Source<'t>> {
        let alias = node.child("alias");
        let name = alias.map_or("", |alias| alias.text("aliasname"));
        let names = alias.map_or(&[][..], |alias| alias.list("colnames"));
        let counted = self.reads_counted(node);
        let source = |name: &str, outputs: Outputs, given: Given| {
            vec![Source {
                alias: name.to_owned(),
                outputs: outputs.renamed(names),
                counted,
                given,
                stored: None,
                qualified: false,
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
                    .find(|common| plain && common.name == relation);
                match known {
                    Some(common) => source(own, common.outputs.clone(), common.given),
                    None => vec![Source {
                        alias: own.to_owned(),
                        outputs: Outputs::all(Own),
                        counted,
                        given: if counted { Given::Counted } else { Given::One },
                        stored: names.is_empty().then_some(node),
                        qualified: false,
                    }],
                }
            }
            "RangeSubselect" => {
                let here = self.counts;
                let lateral = node.flag("lateral");
                self.counts = self.outside || (here && lateral);
                // What is not lateral does not see what stands beside it.
                let beside = self.scope.pop().unwrap_or_default();
                self.scope
                    .push(if lateral { beside.clone() } else { Vec::new() });
                let outputs = node
                    .child("subquery")
                    .map_or_else(Outputs::default, |query| self.query(query));
                self.notice_looks();
                self.counts = here;
                self.scope.pop();
                self.scope.push(beside);
                source(name, outputs, self.given)
            }
            "RangeTableSample" => node
                .child("relation")
                .map_or(Vec::new(), |relation| self.source(relation)),
            "JoinExpr" => {
                let mut sides = Vec::new();
                let before = self.scope.last().map_or(0, Vec::len);
                for side in ["larg", "rarg"].iter().filter_map(|side| node.child(side)) {
                    let found = self.source(side);
                    if let Some(level) = self.scope.last_mut() {
                        level.extend(found.iter().cloned());
                    }
                    sides.extend(found);
                }
                // Whoever asked for the join adds them as they are seen from outside it.
                if let Some(level) = self.scope.last_mut() {
                    level.truncate(before);
                }
                let all_counted = sides.iter().all(|side| side.given == Given::Counted);
                let given = if all_counted {
                    Given::Counted
                } else {
                    Given::Made
                };
                let merged = node.child("join_using_alias");
                if let Some(alias) = merged.map(|alias| alias.text("aliasname")) {
                    let worst = sides.iter().map(|side| side.outputs.worst());
                    sides.push(Source {
                        alias: alias.to_owned(),
                        outputs: Outputs::all(worst.fold(Own, either)),
                        counted,
                        given,
                        stored: None,
                        qualified: true,
                    });
                }
                match name {
                    "" => sides,
                    _ => {
                        let worst = sides
                            .iter()
                            .map(|side| side.outputs.worst())
                            .fold(Own, either);
                        source(name, Outputs::all(worst), given)
                    }
                }
            }
            _ => {
                let met = self.met.replace(NO_LEVEL);
                let gathered = node.fields.iter().any(|(_, field)| self.of(field) != Own);
                // Values that stand beside it count there.
                let looked = self.met.replace(self.met.get().min(met));
                if gathered && looked < self.scope.len().saturating_sub(1) {
                    self.looked_before = self.looked_before.min(looked);
                }
                let holding = if gathered { Anything } else { Own };
                let name = if name.is_empty() {
                    of_function(node)
                } else {
                    name
                };
                source(name, Outputs::all(holding), Given::One)
            }
        }
    }

    /// The query that was read last stands in FROM or WITH: what has chosen its rows from further out has a say in whatever
    /// is made of them.
    fn notice_looks(&mut self) {
        if self.looked < self.scope.len() {
            self.looked_before = self.looked_before.min(self.looked);
        }
    }

    pub(super) fn with_clause(&mut self, node: &'t Node) {
        let Some(with) = node.child("with_clause") else {
            return;
        };
        let recursive = with.flag("recursive");
        // There each may name any other, and what is not read yet may hold anything.
        if recursive && (self.counts || mentioned_in(with, self.facts.counted)) {
            for common in with.list("ctes").iter().filter_map(Tree::node) {
                self.common.push(Common {
                    name: common.text("ctename").to_owned(),
                    outputs: Outputs::all(Anything),
                    counted: true,
                    given: Given::Made,
                });
            }
        }
        for common in with.list("ctes").iter().filter_map(Tree::node) {
            let name = common.text("ctename").to_owned();
            let names = common.list("aliascolnames");
            let Some(query) = common.child("ctequery") else {
                continue;
            };
            let turns = recursive && query.child("rarg").is_some();
            let counted = self.reads_counted(query);
            let mut outputs = match query.kind {
                "SelectStmt" if turns => self.recursion(&name, query, names),
                "SelectStmt" => self.query(query).renamed(names),
                _ => self.write(query).renamed(names),
            };
            self.notice_looks();
            let given = self.given;
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
            self.common.push(Common {
                name,
                outputs,
                counted,
                given,
            });
        }
    }
}

/// What a function in FROM is called that has no alias.
fn of_function(item: &Node) -> &str {
    let calls = item.list("functions").first().and_then(Tree::items);
    let call = calls.and_then(|calls| calls.first()).and_then(Tree::node);
    match item.kind {
        "RangeTableFunc" => "xmltable",
        "JsonTable" => "json_table",
        _ => call.map_or("", super::super::calls::name),
    }
}
