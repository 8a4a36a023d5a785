//! Where the columns of views take their values from.
//!
//! Pure: a view's definition, as `pg_get_viewdef` writes it under an empty `search_path`, is parsed with PostgreSQL's
//! own grammar and each output column is followed to the columns it reads. What is not understood is
//! [`ColumnSource::Unknown`], never a guess: unknown is treated as reading everything.
//!
//! What is followed is the flow of values. Which rows a view shows (its WHERE and join conditions) does not make its
//! plain columns computed ones; an aggregate or window function, whose value depends on the rows it saw, counts the
//! columns of these conditions and of GROUP BY as read.
mod expression;
#[cfg(test)]
mod fixture;
mod from;
pub mod purity;
mod query;
mod scope;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::thread;

use pg_query::protobuf::SelectStmt;
use pg_query::{NodeEnum, ParserOptions};

use super::{Catalog, CatalogError, ColumnSource, Oid, Relation};
use purity::Purity;

/// Names that aggregate functions go by, in any schema.
pub type Aggregates = HashSet<String>;

/// Longer definitions are not looked into (bytes).
pub const MAX_DEFINITION: usize = 256 * 1024;

/// Deepest nesting that is followed; more is unknown. libpg_query gives up between 4,000 and 5,000 levels.
const MAX_DEPTH: u32 = 10_000;

/// Reserved, not used, by ordinary definitions (bytes). Measured: decoding the parser's output takes about 45 KiB of
/// stack per level of a chain of operators, so the deepest tree libpg_query hands out needs some 225 MiB.
const STACK: usize = 512 * 1024 * 1024;

/// The sources of many views' columns, by view: one per column, in order.
///
/// Runs on a thread of its own with a deep stack and blocks until it is done.
pub fn attribute_all(
    catalog: &Catalog,
    definitions: &[(Oid, String)],
    aggregates: &Aggregates,
) -> Result<Vec<(Oid, Vec<ColumnSource>)>, CatalogError> {
    if definitions.is_empty() {
        return Ok(Vec::new());
    }
    let work = || {
        definitions
            .iter()
            .filter_map(|(oid, definition)| {
                let view = catalog.relations.get(oid)?;
                Some((*oid, attribute(catalog, view, definition, aggregates)))
            })
            .collect()
    };
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("lineage".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| CatalogError::Lineage(format!("no thread: {error}")))?;
        worker
            .join()
            .map_err(|_| CatalogError::Lineage("the analysis panicked".to_owned()))
    })
}

/// The sources of one view's columns. Needs a deep stack for deep definitions.
fn attribute(
    catalog: &Catalog,
    view: &Relation,
    definition: &str,
    aggregates: &Aggregates,
) -> Vec<ColumnSource> {
    let unknown = || vec![ColumnSource::Unknown; view.columns.len()];
    if definition.len() > MAX_DEFINITION {
        return unknown();
    }
    let Some(select) = parse(definition) else {
        return unknown();
    };
    let analysis = query::Analysis::new(Purity::new(catalog), catalog, aggregates);
    let output = analysis.query(&select, None);
    // A definition whose columns do not line up with the view's, by number and name, was not understood.
    let lines_up = !output.open
        && output.columns.len() == view.columns.len()
        && output
            .columns
            .iter()
            .zip(&view.columns)
            .all(|((name, _), column)| *name == column.name);
    if !lines_up {
        return unknown();
    }
    output
        .columns
        .into_iter()
        .map(|(_, source)| source.into_column_source())
        .collect()
}

fn parse(definition: &str) -> Option<SelectStmt> {
    let parsed = pg_query::parse(definition, ParserOptions::DEFAULT)
        .ok()?
        .protobuf;
    let [statement] = <[_; 1]>::try_from(parsed.stmts).ok()?;
    match statement.stmt?.node? {
        NodeEnum::SelectStmt(select) => Some(*select),
        _ => None,
    }
}
