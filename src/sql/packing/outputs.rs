//! What each output column of a statement holds. Followed through subqueries and common table expressions as far as
//! values go through them unchanged; what is done to a gathered value otherwise leaves nothing known about it.
mod columns;
mod conditions;
mod elements;
mod expressions;
mod forms;
mod names;
mod queries;
mod recursion;
mod scaled;

use std::cell::Cell;
use std::rc::Rc;

use self::columns::Outputs;
use super::levels::Level;
use super::{Columns, FROM, Facts, Holding, mentioned_in};
use crate::sql::tree::{Node, Tree};

use Holding::{Joined, Own, Separated};

/// The first and the last version whose names unnamed columns may have. What they call differently has no known name.
const VERSIONS: [u32; 2] = [130_000, 180_000];

/// Whose rows something in FROM gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    /// Of relations that count, each as itself.
    Counted,
    /// Of one relation or function that does not count: a row is one candidate.
    One,
    /// Anything that may have been put together.
    Made,
}

/// No level of the scope: nothing gathered was looked at.
const NO_LEVEL: usize = usize::MAX;

/// Something in FROM.
#[derive(Debug, Clone)]
struct Source<'t> {
    alias: String,
    outputs: Outputs,
    /// Its rows count, or may.
    counted: bool,
    given: Given,
    /// The relation, where its columns have their own names.
    stored: Option<&'t Node>,
    /// The alias of `JOIN ... USING (...) AS j`: no name without it is one of these.
    qualified: bool,
}

impl Source<'_> {
    /// What the statement writes to, or a name for its rows.
    fn target(alias: &str, given: Given) -> Self {
        Source {
            alias: alias.to_owned(),
            outputs: Outputs::all(Own),
            counted: true,
            given,
            stored: None,
            qualified: false,
        }
    }
}

/// A common table expression.
struct Common {
    name: String,
    outputs: Outputs,
    counted: bool,
    given: Given,
}

/// The names that expressions see, the innermost query last.
type Scope<'t> = Vec<Vec<Source<'t>>>;

pub(super) struct Reader<'a, 't> {
    facts: Facts<'a>,
    /// The innermost query's names.
    level: Rc<Level<'t>>,
    common: Vec<Common>,
    scope: Scope<'t>,
    /// The query, or one around it, reads a relation whose rows count.
    counts: bool,
    /// The query does so itself, in FROM or in a condition, which chooses what it gathers.
    chosen: bool,
    /// A query around the one that is read does: it sees what that one's subqueries in FROM do not.
    outside: bool,
    /// The query that is read next is the statement itself.
    top: bool,
    /// The row that the query gives goes into a document as it is.
    in_document: bool,
    /// The outermost level of the scope whose gathered values have chosen rows of the query that was read last.
    looked: usize,
    /// ... rows of what its FROM and WITH offer.
    looked_before: usize,
    /// The outermost level of the scope that gathered values were found in.
    met: Cell<usize>,
    /// Whose rows the query gives that was read last.
    given: Given,
    /// A window that the query names is divided or sorted by gathered values.
    windows_look: bool,
    /// So many lists of candidates were met.
    candidates: u32,
    /// What is read is stored.
    storing: bool,
}

impl<'a, 't> Reader<'a, 't> {
    pub(super) fn new(facts: Facts<'a>) -> Self {
        Reader {
            facts,
            level: Level::outermost(),
            common: Vec::new(),
            scope: Vec::new(),
            counts: false,
            chosen: false,
            outside: false,
            top: false,
            in_document: false,
            looked: NO_LEVEL,
            looked_before: NO_LEVEL,
            met: Cell::new(NO_LEVEL),
            given: Given::Made,
            windows_look: false,
            candidates: 0,
            storing: false,
        }
    }

    /// The columns that a statement gives to the client.
    pub(super) fn statement(&mut self, node: &'t Node) -> Columns {
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
    pub(super) fn stores_many(&mut self, node: &'t Node) -> bool {
        let many = |outputs: Outputs| !outputs.worst().is_single();
        self.storing = true;
        if node.kind != "SelectStmt" {
            self.level = self.level.inside(node);
        }
        match node.kind {
            "SelectStmt" if node.get("into_clause").is_some() => many(self.query(node)),
            "SelectStmt" => node.child("larg").is_some_and(|arm| self.stores_many(arm)),
            "CreateTableAsStmt" | "PrepareStmt" | "ExplainStmt" | "CopyStmt" => node
                .child("query")
                .is_some_and(|query| match (node.kind, query.kind) {
                    ("CreateTableAsStmt", "SelectStmt") => many(self.query(query)),
                    ("CreateTableAsStmt", _) => false,
                    _ => self.stores_many(query),
                }),
            "InsertStmt" => {
                self.with_clause(node);
                let mut sources = self.written(node);
                sources.push(Source::target("excluded", Given::Counted));
                self.scope.push(sources);
                let updates = node
                    .child("on_conflict_clause")
                    .is_some_and(|clause| many(self.assigned(clause.list("target_list"))));
                self.scope.pop();
                updates
                    || node
                        .child("select_stmt")
                        .is_some_and(|query| many(self.query(query)))
            }
            "UpdateStmt" => {
                self.with_clause(node);
                self.counts |= mentioned_in(node, self.facts.counted);
                let mut sources = self.sources(node.list("from_clause"));
                sources.extend(self.written(node));
                self.scope.push(sources);
                self.choose_candidates(node);
                let assigned = self.assigned(node.list("target_list"));
                self.scope.pop();
                many(assigned)
            }
            "MergeStmt" => {
                self.with_clause(node);
                self.counts |= mentioned_in(node, self.facts.counted);
                let mut sources = node.get("source_relation").map_or(Vec::new(), |source| {
                    self.sources(std::slice::from_ref(source))
                });
                sources.extend(self.written(node));
                self.scope.push(sources);
                self.choose_candidates(node);
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

    /// The relation that a statement writes to, by its name there.
    fn written(&self, node: &Node) -> Vec<Source<'t>> {
        let relation = node.child("relation").into_iter();
        relation
            .map(|relation| {
                let given = match (self.facts.counted)(relation) {
                    true => Given::Counted,
                    false => Given::One,
                };
                Source::target(relation.goes_by(), given)
            })
            .collect()
    }

    fn assigned(&mut self, targets: &'t [Tree]) -> Outputs {
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

    fn expressions(&mut self, list: &'t [Tree]) -> Outputs {
        let columns = list.iter().map(|value| (None, self.of(value)));
        Outputs {
            columns: columns.collect(),
            stars: Vec::new(),
        }
    }

    /// The rows of RETURNING.
    fn write(&mut self, node: &'t Node) -> Outputs {
        let Some(returning) = node.child("returning_clause") else {
            return Outputs::all(Own);
        };
        let common = self.common.len();
        let level = self.level.inside(node);
        let level = std::mem::replace(&mut self.level, level);
        let before = std::mem::replace(&mut self.looked_before, NO_LEVEL);
        self.with_clause(node);
        let around = self.counts;
        self.counts |= mentioned_in(node, self.facts.counted);
        let mut sources = self.written(node);
        let given = sources.first().map_or(Given::Made, |target| target.given);
        let options = returning.list("options").iter().filter_map(Tree::node);
        let options = options.map(|option| option.text("value"));
        sources.extend(
            ["old", "new"]
                .into_iter()
                .chain(options)
                .map(|name| Source::target(name, given)),
        );
        for field in FROM {
            match node.get(field) {
                Some(Tree::List(items)) => sources.extend(self.sources(items)),
                Some(one) => sources.extend(self.sources(std::slice::from_ref(one))),
                None => {}
            }
        }
        self.scope.push(sources);
        let looked = self.choose_candidates(node);
        let targets = returning.list("exprs");
        let mut outputs = self.targets(targets, true);
        if looked != NO_LEVEL {
            outputs = self.all_chosen(outputs, targets);
        }
        self.looked = looked;
        self.looked_before = before;
        self.given = given;
        self.level = level;
        self.scope.pop();
        self.counts = around;
        self.common.truncate(common);
        outputs
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
        if let Separated(separators) = holding
            && separators
                .iter()
                .any(|separator| separator.contains(char::is_control))
        {
            *holding = Joined;
        }
    }
    columns
}
