//! What a query yields: SELECT, VALUES, set operations, common table expressions.
use std::cell::Cell;
use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{
    self, CommonTableExpr, Node, ResTarget, SelectStmt, SetOperation, WithClause,
};

use super::expression::Place;
use super::from::Gathered;
use super::purity::{Purity, string};
use super::scope::{Output, Scope};
use super::source::{Named, Reads, Source};
use super::{Aggregates, MAX_DEPTH};
use crate::catalog::Catalog;

/// A recursive query settles when another round adds nothing; each round passes values on by at least one column.
const MAX_ROUNDS: usize = 64;

/// The analysis of one definition.
pub struct Analysis<'a> {
    pub purity: Purity<'a>,
    pub catalog: &'a Catalog,
    pub aggregates: &'a Aggregates,
    depth: Cell<u32>,
}

/// One level deeper for as long as it lives.
pub struct Deeper<'a>(&'a Cell<u32>);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl<'a> Analysis<'a> {
    pub fn new(
        purity: Purity<'a>,
        catalog: &'a Catalog,
        aggregates: &'a Aggregates,
    ) -> Analysis<'a> {
        Analysis {
            purity,
            catalog,
            aggregates,
            depth: Cell::new(0),
        }
    }

    /// `None` where the definition is nested too deeply.
    pub fn deeper(&self) -> Option<Deeper<'_>> {
        let depth = self.depth.get();
        (depth < MAX_DEPTH).then(|| {
            self.depth.set(depth + 1);
            Deeper(&self.depth)
        })
    }

    pub fn subquery(&self, node: Option<&Node>, outer: Option<&Scope>) -> Output {
        match node.and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(select)) => self.query(select, outer),
            // Statements that change data; no view may hold one.
            _ => Output::unknown(),
        }
    }

    pub fn query(&self, select: &SelectStmt, outer: Option<&Scope>) -> Output {
        let Some(_deeper) = self.deeper() else {
            return Output::unknown();
        };
        let mut scope = Scope::below(outer);
        if let Some(with) = &select.with_clause {
            self.bind(with, &mut scope);
        }
        let mut output = if select.op() != SetOperation::SetopNone {
            self.set_operation(select, &scope)
        } else if select.values_lists.is_empty() {
            return self.select(select, &scope);
        } else {
            self.values(select, &scope)
        };
        self.read_tail(
            select,
            &Scope::below(Some(&scope)),
            &Reads::default(),
            &mut output,
        );
        output
    }

    fn set_operation(&self, select: &SelectStmt, scope: &Scope) -> Output {
        let (Some(left), Some(right)) = (&select.larg, &select.rarg) else {
            return Output::unknown();
        };
        let left = self.query(left, Some(scope));
        let right = self.query(right, Some(scope));
        let even = left.columns.len() == right.columns.len();
        let mut output = left;
        output.open |= right.open || !even;
        output.conditions.add(&right.conditions);
        output.reads.add(&right.reads);
        let both = output.columns.into_iter().zip(&right.columns);
        output.columns = both
            .map(|((name, left), (_, right))| (name, left.or(right)))
            .collect();
        // EXCEPT and INTERSECT let the values of either side decide which rows there are.
        if select.op() != SetOperation::SetopUnion {
            for (_, source) in &output.columns {
                output.conditions.add_source(source);
            }
        }
        output
    }

    fn values(&self, select: &SelectStmt, scope: &Scope) -> Output {
        let mut output = Output::default();
        let nothing = Reads::default();
        let place = Place {
            scope,
            conditions: &nothing,
            windows: &nothing,
        };
        for (number, row) in select.values_lists.iter().enumerate() {
            let Some(NodeEnum::List(row)) = &row.node else {
                return Output::unknown();
            };
            let row: Vec<Source> = row
                .items
                .iter()
                .map(|value| self.source(value, &place))
                .collect();
            for source in &row {
                output.reads.add_source(source);
            }
            if number == 0 {
                let names = (1..).map(|number| format!("column{number}"));
                output.columns = names.zip(row).collect();
            } else if row.len() == output.columns.len() {
                let both = output.columns.into_iter().zip(&row);
                output.columns = both
                    .map(|((name, one), other)| (name, one.or(other)))
                    .collect();
            } else {
                return Output::unknown();
            }
        }
        output
    }

    fn select(&self, select: &SelectStmt, with: &Scope) -> Output {
        let nothing = Reads::default();
        let mut gathered = Gathered::default();
        let mut scope = Scope::below(Some(with));
        for item in &select.from_clause {
            let table = self.table(item, with, &scope, &mut gathered);
            scope.tables.push(table);
        }

        let mut conditions = gathered.conditions;
        let before = Place {
            scope: &scope,
            conditions: &nothing,
            windows: &nothing,
        };
        self.read_all(select.where_clause.as_deref(), &before, &mut conditions);
        // An output column that GROUP BY names: its source does not depend on the grouping. Looked at only where it is
        // needed: twice on every level would be without end for a query in a query in a query.
        let outputs = select.group_clause.iter();
        let ungrouped = match outputs.into_iter().any(|item| may_be_output(item, &scope)) {
            true => self.targets(select, &before),
            false => Output::default(),
        };
        for item in &select.group_clause {
            self.read_or_output(item, &ungrouped.columns, &before, &mut conditions);
        }
        let filtered = conditions.clone();
        let grouped = Place {
            scope: &scope,
            conditions: &filtered,
            windows: &nothing,
        };
        self.read_all(select.having_clause.as_deref(), &grouped, &mut conditions);
        let mut windows = Reads::default();
        for window in &select.window_clause {
            match &window.node {
                Some(NodeEnum::WindowDef(window)) => {
                    self.read_window(window, &grouped, &mut windows)
                }
                _ => windows.unknown = true,
            }
        }

        let mut output = self.targets(
            select,
            &Place {
                scope: &scope,
                conditions: &conditions,
                windows: &windows,
            },
        );
        output.reads.add(&gathered.reads);
        output.reads.add(&conditions);
        output.reads.add(&windows);
        for (_, source) in &output.columns {
            output.reads.add_source(source);
        }
        output.conditions = conditions;
        self.read_tail(select, &scope, &windows, &mut output);
        output
    }

    /// The output columns of a target list.
    fn targets(&self, select: &SelectStmt, place: &Place) -> Output {
        let mut output = Output::default();
        for target in &select.target_list {
            let Some(NodeEnum::ResTarget(target)) = &target.node else {
                return Output::unknown();
            };
            match star(target) {
                Some(alias) => expand_star(alias, place.scope, &mut output),
                None => {
                    let source = target
                        .val
                        .as_deref()
                        .map_or_else(Source::unknown, |value| self.source(value, place));
                    output.columns.push((target_name(target), source));
                }
            }
        }
        output
    }

    /// ORDER BY, DISTINCT ON, LIMIT: they choose and order rows, and count as read.
    fn read_tail(&self, select: &SelectStmt, scope: &Scope, windows: &Reads, output: &mut Output) {
        let conditions = output.conditions.clone();
        let place = Place {
            scope,
            conditions: &conditions,
            windows,
        };
        let mut reads = Reads::default();
        for item in select.sort_clause.iter().chain(&select.distinct_clause) {
            let item = match &item.node {
                Some(NodeEnum::SortBy(sort)) if sort.use_op.is_empty() => sort.node.as_deref(),
                _ => Some(item),
            };
            // Plain DISTINCT is a list of one empty node.
            if let Some(item) = item {
                self.read_or_output(item, &output.columns, &place, &mut reads);
            }
        }
        self.read_all(select.limit_count.as_deref(), &place, &mut reads);
        self.read_all(select.limit_offset.as_deref(), &place, &mut reads);
        output.reads.add(&reads);
        // With a limit they decide which rows a query around this one gets to count.
        if select.limit_count.is_some()
            || select.limit_offset.is_some()
            || !select.distinct_clause.is_empty()
        {
            output.conditions.add(&reads);
        }
    }

    /// GROUP BY and ORDER BY take output columns too, by number or name.
    fn read_or_output(&self, item: &Node, columns: &[Named], place: &Place, reads: &mut Reads) {
        let named = match &item.node {
            Some(NodeEnum::AConst(constant)) => match &constant.val {
                Some(protobuf::a_const::Val::Ival(number)) => usize::try_from(number.ival)
                    .ok()
                    .and_then(|number| columns.get(number.checked_sub(1)?)),
                _ => None,
            },
            Some(NodeEnum::ColumnRef(column)) => match column.fields.as_slice() {
                [name] => string(name)
                    .filter(|name| place.scope.plain_column(name).is_none())
                    .and_then(|name| columns.iter().find(|(known, _)| known == name)),
                _ => None,
            },
            _ => None,
        };
        match named {
            Some((_, source)) => reads.add_source(source),
            None => self.read(item, place, reads),
        }
    }

    fn bind(&self, with: &WithClause, scope: &mut Scope) {
        let ctes = with.ctes.iter().map(|cte| match &cte.node {
            Some(NodeEnum::CommonTableExpr(cte)) => Some(cte.as_ref()),
            _ => None,
        });
        let ctes: Vec<&CommonTableExpr> = ctes.flatten().collect();
        if with.recursive {
            // A reference forward must not find something else of that name.
            for cte in &ctes {
                scope
                    .ctes
                    .push((cte.ctename.clone(), Rc::new(Output::unknown())));
            }
        }
        for cte in ctes {
            let mut output = if with.recursive {
                self.recursive(cte, scope)
            } else {
                self.plain_cte(cte, scope)
            };
            // SEARCH and CYCLE add columns of their own.
            output.open |= cte.search_clause.is_some() || cte.cycle_clause.is_some();
            scope.ctes.push((cte.ctename.clone(), Rc::new(output)));
        }
    }

    fn plain_cte(&self, cte: &CommonTableExpr, scope: &Scope) -> Output {
        let mut output = self.subquery(cte.ctequery.as_deref(), Some(scope));
        let names: Vec<String> = cte
            .aliascolnames
            .iter()
            .map(|name| string(name).unwrap_or_default().to_owned())
            .collect();
        output.rename(&names);
        output
    }

    /// Starts from the first branch and goes round until nothing is added.
    fn recursive(&self, cte: &CommonTableExpr, scope: &mut Scope) -> Output {
        let query = match cte.ctequery.as_deref().and_then(|node| node.node.as_ref()) {
            Some(NodeEnum::SelectStmt(query)) if query.op() != SetOperation::SetopNone => query,
            _ => return self.plain_cte(cte, scope),
        };
        let (Some(first), None) = (&query.larg, &query.with_clause) else {
            return self.plain_cte(cte, scope);
        };
        let first = Node {
            node: Some(NodeEnum::SelectStmt(first.clone())),
        };
        let first = CommonTableExpr {
            ctequery: Some(Box::new(first)),
            ..cte.clone()
        };
        let mut known = self.plain_cte(&first, scope);
        for _ in 0..MAX_ROUNDS {
            scope
                .ctes
                .push((cte.ctename.clone(), Rc::new(known.clone())));
            let next = self.plain_cte(cte, scope);
            scope.ctes.pop();
            if next == known {
                return known;
            }
            known = next;
        }
        Output::unknown()
    }
}

/// Whether an item of GROUP BY or ORDER BY can be an output column: a number, or a name that FROM does not know.
fn may_be_output(item: &Node, scope: &Scope) -> bool {
    match &item.node {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::ColumnRef(column)) => match column.fields.as_slice() {
            [name] => string(name).is_some_and(|name| scope.plain_column(name).is_none()),
            _ => false,
        },
        _ => false,
    }
}

/// `Some` for `*` and `alias.*`.
fn star(target: &ResTarget) -> Option<Option<&str>> {
    let Some(NodeEnum::ColumnRef(column)) = &target.val.as_ref()?.node else {
        return None;
    };
    let is_star = |node: &Node| matches!(node.node, Some(NodeEnum::AStar(_)));
    match column.fields.as_slice() {
        [last] if is_star(last) => Some(None),
        [alias, last] if is_star(last) => string(alias).map(Some),
        _ => None,
    }
}

fn expand_star(alias: Option<&str>, scope: &Scope, output: &mut Output) {
    match alias {
        None => {
            for table in &scope.tables {
                output.columns.extend(table.columns.iter().cloned());
                output.open |= table.open.is_some();
            }
        }
        Some(alias) => match scope.alias(alias) {
            Some(alias) => {
                output.columns.extend(alias.columns.iter().cloned());
                output.open |= alias.open.is_some();
            }
            None => output.open = true,
        },
    }
}

/// The name the server gives an output column, as far as view definitions leave it unsaid: they write `AS` for
/// everything but plain columns (get_target_list in ruleutils.c).
fn target_name(target: &ResTarget) -> String {
    if !target.name.is_empty() {
        return target.name.clone();
    }
    let column = match target.val.as_ref().and_then(|value| value.node.as_ref()) {
        Some(NodeEnum::ColumnRef(column)) => column.fields.last().and_then(string),
        _ => None,
    };
    column.unwrap_or("?column?").to_owned()
}
