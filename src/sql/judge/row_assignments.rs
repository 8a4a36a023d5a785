//! `SET (a, b) = (SELECT ...)`: columns that are assigned from the row of a query.
//!
//! Where one of them may not take just any value, the query stands in FROM of another, which does with its columns what
//! [`super::writeback`] does with a single value. A query without a row assigns NULLs: so it is joined to a row that is
//! there.
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::target::first_value;
use super::walk::{Walk, at, offset};
use super::writeback::WriteBack;
use super::{Change, Side};

/// The name of the row that the client's query gives.
const ROW: &str = "\"pgveil_s\"";

/// Whether the item of SET takes its value from the row of a query.
pub(super) fn is_query(item: &Node) -> bool {
    const SCALAR: i64 = 5;
    let source = assigned(item).and_then(|value| value.child("source"));
    source.is_some_and(|source| source.kind == "SubLink" && source.int("sub_link_type") == SCALAR)
}

/// How many items of SET from this one on are assigned together.
pub(super) fn width(item: Option<&&mut Node>) -> usize {
    let item = item.map(|item| &**item).filter(|item| is_query(item));
    let columns = item
        .and_then(assigned)
        .map_or(1, |value| value.int("ncolumns"));
    usize::try_from(columns).map_or(1, |columns| columns.max(1))
}

fn assigned(item: &Node) -> Option<&Node> {
    item.child("val")
        .filter(|value| value.kind == "MultiAssignRef")
}

impl Walk<'_> {
    pub(super) fn row_assignment(&mut self, items: &mut [&mut Node]) -> Result<(), Refusal> {
        let mut columns = Vec::new();
        for item in items.iter() {
            columns.push(self.write_back(item)?);
        }
        // The grammar repeats the query for each column; the first keeps it.
        let mut query = None;
        for item in items.iter_mut() {
            let mut value = item.remove("val");
            let source = value
                .as_mut()
                .and_then(Tree::node_mut)
                .and_then(|value| value.remove("source"));
            query = query.or(source);
            self.children(item)?;
            item.fields.extend(value.map(|value| ("val", value)));
        }
        let (Some(mut query), Some(first)) = (query, items.first_mut()) else {
            return Err(refuse::judge("a row is assigned from nothing"));
        };
        let around = columns
            .iter()
            .any(Option::is_some)
            .then(|| around(&columns));
        match (&around, self.side) {
            (Some(around), Side::Run) => self.taken_off(&mut query, around)?,
            (Some(_), Side::Client) => self.counted(&query, columns.len(), first.location)?,
            (None, _) => {}
        }
        self.tree(&mut query)?;
        if let (Some(around), Side::Client) = (around, self.side) {
            // Behind what is noted within the query: what is put at the same place stands in that order.
            self.changes.push(Change::AssignedRow {
                at: offset(first.location),
                around,
            });
        }
        if let Some(value) = first.get_mut("val").and_then(Tree::node_mut) {
            value.set("source", query);
        }
        Ok(())
    }

    /// Takes what has to stand around the query off.
    fn taken_off(&self, query: &mut Tree, around: &WriteBack) -> Result<(), Refusal> {
        let expected = self.rules.templates.text(&pattern(around));
        let inside = expected
            .as_deref()
            .and_then(first_value)
            .and_then(|expected| inside(query.node_mut()?, expected))
            .ok_or_else(|| {
                refuse::judge("a masked column is assigned from a row without regard to its mask")
            })?;
        if let Some(link) = query.node_mut() {
            link.set("subselect", inside);
        }
        Ok(())
    }

    /// The query has one column for each that is assigned: within FROM more of them would not be noticed.
    fn counted(&self, query: &Tree, columns: usize, location: i32) -> Result<(), Refusal> {
        let select = query.node().and_then(|link| link.child("subselect"));
        match select.and_then(|select| self.reader().outputs(select)) {
            Some(outputs) if outputs.len() == columns => Ok(()),
            Some(_) => {
                let message = "number of columns does not match number of values".to_owned();
                Err(at(refuse::undefined("42601", message), location))
            }
            None => Err(at(
                refuse::construct(
                    "assigning a masked column from a query whose columns are not known",
                    "name the query's columns one by one",
                ),
                location,
            )),
        }
    }
}

/// The text around a query whose columns these are.
fn around(columns: &[Option<WriteBack>]) -> WriteBack {
    let mut values = Vec::new();
    let mut names = Vec::new();
    for (column, number) in columns.iter().zip(1..) {
        let name = format!("\"c{number}\"");
        let value = format!("{ROW}.{name}");
        values.push(match column {
            Some(keep) => format!("{} {value}{}", keep.open, keep.close),
            None => value,
        });
        names.push(name);
    }
    WriteBack {
        open: format!(
            "SELECT {} FROM (SELECT 1) AS \"pgveil_o\" LEFT JOIN (",
            values.join(", ")
        ),
        close: format!(") AS {ROW}({}) ON TRUE", names.join(", ")),
    }
}

/// A text whose tree [`inside`] compares with.
fn pattern(around: &WriteBack) -> String {
    format!("SELECT ({}SELECT NULL{})", around.open, around.close)
}

/// The client's query, if the subquery is exactly the expected text around one.
fn inside(link: &mut Node, expected: &Node) -> Option<Tree> {
    let from = expected.child("subselect")?.list("from_clause");
    let joined = from.first()?.node()?.child("rarg")?;
    let placeholder = joined.get("subquery")?.duplicate();
    let select = link.get_mut("subselect")?.node_mut()?;
    let Some(Tree::List(from)) = select.get_mut("from_clause") else {
        return None;
    };
    let joined = from.first_mut()?.node_mut()?.get_mut("rarg")?.node_mut()?;
    let client = std::mem::replace(joined.get_mut("subquery")?, placeholder);
    (*link == *expected).then_some(client)
}
