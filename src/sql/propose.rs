//! The rewriter's reading of a statement: where sqlparser sees relations.
//!
//! sqlparser gives positions; it is not believed. What it misses or misreads, the judge refuses, and the caller falls
//! back on the positions of the judge's own tree.
use std::ops::ControlFlow;

use sqlparser::ast::{
    Ident, Insert, ObjectName, ObjectNamePart, Query, SetExpr, Statement, TableFactor, TableObject,
    Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::catalog::Catalog;

use super::judge::{Access, Use};

/// Nesting that sqlparser may follow; the thread's stack fits it.
const RECURSION_LIMIT: usize = 200;

/// The uses of relations in one statement's text, positions as byte offsets in that text. `None` where sqlparser cannot
/// read it or meets what it is known to misread.
pub fn uses(text: &str, catalog: &Catalog, path: &[String]) -> Option<Vec<Use>> {
    let statements = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(RECURSION_LIMIT)
        .try_with_sql(text)
        .ok()?
        .parse_statements()
        .ok()?;
    let [statement] = statements.as_slice() else {
        return None;
    };
    let mut reader = Reader {
        catalog,
        path,
        lines: Lines::new(text),
        scopes: Vec::new(),
        uses: Vec::new(),
    };
    match statement.visit(&mut reader) {
        ControlFlow::Continue(()) => Some(reader.uses),
        ControlFlow::Break(()) => None,
    }
}

struct Reader<'a> {
    catalog: &'a Catalog,
    path: &'a [String],
    lines: Lines<'a>,
    scopes: Vec<Scope>,
    uses: Vec<Use>,
}

/// The common table expressions of one query.
struct Scope {
    /// Name, and address of the query that defines it.
    ctes: Vec<(String, *const Query)>,
    recursive: bool,
    /// How many of them are visible where the walk stands.
    visible: usize,
}

impl Reader<'_> {
    fn relation(&mut self, name: &ObjectName, access: Access, alias: bool) -> ControlFlow<()> {
        let parts: Option<Vec<&Ident>> = name
            .0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => Some(ident),
                ObjectNamePart::Function(_) => None,
            })
            .collect();
        let Some(parts) = parts else {
            return ControlFlow::Break(());
        };
        let folded: Vec<String> = parts.iter().map(|ident| fold(ident)).collect();
        let found = match folded.as_slice() {
            [name] if access == Access::Read && self.in_scope(name) => {
                return ControlFlow::Continue(());
            }
            [name] => self.catalog.resolve(self.path, name),
            [schema, name] | [_, schema, name] => self.catalog.relation(schema, name),
            _ => None,
        };
        let start = parts.first().map(|ident| ident.span.start);
        let at = start.and_then(|start| self.lines.offset(start.line, start.column));
        match (found, at) {
            (Some(found), Some(at)) => {
                self.uses.push(Use {
                    relation: found.oid,
                    access,
                    at,
                    alias,
                    fenced: false,
                });
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        }
    }

    fn in_scope(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| {
            scope
                .ctes
                .iter()
                .take(scope.visible)
                .any(|(cte, _)| cte == name)
        })
    }
}

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // Entering the definition of an expression of the innermost scope shows those before it.
        if let Some(scope) = self.scopes.last_mut()
            && !scope.recursive
            && let Some(index) = scope
                .ctes
                .iter()
                .position(|(_, at)| std::ptr::eq(*at, query))
        {
            scope.visible = index;
        }
        let ctes = query.with.as_ref().map_or(Vec::new(), |with| {
            with.cte_tables
                .iter()
                .map(|cte| (fold(&cte.alias.name), std::ptr::from_ref(&*cte.query)))
                .collect()
        });
        let recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let visible = ctes.len();
        self.scopes.push(Scope {
            ctes,
            recursive,
            visible,
        });
        // `TABLE name` has no position here.
        match query.body.as_ref() {
            SetExpr::Table(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.scopes.pop();
        if let Some(scope) = self.scopes.last_mut()
            && scope.ctes.iter().any(|(_, at)| std::ptr::eq(*at, query))
        {
            let last = scope
                .ctes
                .last()
                .is_some_and(|(_, at)| std::ptr::eq(*at, query));
            scope.visible = if last {
                scope.ctes.len()
            } else {
                scope.visible + 1
            };
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                ..
            } => self.relation(name, Access::Read, alias.is_some()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        match statement {
            Statement::Query(_) => ControlFlow::Continue(()),
            Statement::Insert(Insert {
                table: TableObject::TableName(name),
                ..
            }) => self.relation(name, Access::Write, true),
            // The judge's tree has the positions of the rest.
            _ => ControlFlow::Break(()),
        }
    }
}

/// The name as PostgreSQL folds it.
fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// Byte offsets from sqlparser's 1-based lines and columns (columns count characters).
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Lines { text, starts }
    }

    fn offset(&self, line: u64, column: u64) -> Option<usize> {
        let start = *self
            .starts
            .get(usize::try_from(line).ok()?.checked_sub(1)?)?;
        let skip = usize::try_from(column).ok()?.checked_sub(1)?;
        let rest = self.text.get(start..)?;
        rest.char_indices()
            .map(|(at, _)| start + at)
            .chain(std::iter::once(self.text.len()))
            .nth(skip)
    }
}
