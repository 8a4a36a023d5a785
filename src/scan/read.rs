//! Reading for a scan: comments, sizes and samples. Every table is read in a transaction of its own, READ ONLY, within limits of
//! time, rows and bytes, and nothing that a user made is called: values are written as text by PostgreSQL's own types alone.
use std::fmt::Write as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::class::Kind;
use super::survey::{ColumnDetails, Details, Table, TableDetails, Target};
use super::tally::Sample;
use crate::catalog::{AttNum, CatalogError, Oid};
use crate::policy::mask::quote_identifier;

/// Characters of a value that are looked at, and of a document.
const MAX_CHARACTERS: usize = 2_000;
const MAX_DOCUMENT: usize = 16_000;
/// Stored values larger than this (bytes, compressed) are not even opened.
const MAX_STORED: usize = 256 * 1024;
/// Bytes of one column that are kept.
const MAX_COLUMN_BYTES: usize = 1024 * 1024;
/// Columns of one query: what a query holds in memory is bounded by it.
const COLUMNS_AT_ONCE: usize = 24;
/// Pages that are few enough for a sample of rows; of larger tables a sample of pages is read.
const FEW_PAGES: i64 = 2_000;
/// How much longer than the server's own limit an answer is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// Most rows of a table, and how long reading it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub rows: u32,
    pub timeout: Duration,
}

/// Why the values of a table were not read. Never in the server's words: they can quote data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// No SELECT, or no USAGE on the schema.
    Denied,
    Locked,
    Slow(Duration),
    /// The connection is lost, or does not answer.
    Lost,
    /// SQLSTATE.
    Failed(String),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::Denied => f.write_str(
                "permission denied: the user needs USAGE on the schema and SELECT on the table",
            ),
            Unread::Locked => f.write_str("somebody holds a lock on it"),
            Unread::Slow(limit) => {
                write!(
                    f,
                    "it took longer than {} (--timeout)",
                    humantime::format_duration(*limit)
                )
            }
            Unread::Lost => f.write_str("the connection was lost"),
            Unread::Failed(code) => write!(f, "the server answered SQLSTATE {code}"),
        }
    }
}

const TABLES: &str = "SELECT c.oid, pg_catalog.obj_description(c.oid, 'pg_class'), c.reltuples::pg_catalog.float8, \
       c.relpages::pg_catalog.int8 \
     FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid >= 16384";

const COLUMNS: &str = "SELECT a.attrelid, a.attnum, pg_catalog.col_description(a.attrelid, a.attnum), \
       pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') \
         AND coalesce(pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'), false) \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped";

/// Comments, sizes and privileges.
///
/// # Errors
/// The catalogs cannot be read.
pub async fn details(client: &Client) -> Result<Details, CatalogError> {
    let failed = |error: tokio_postgres::Error| CatalogError::query("comments", &error);
    let mut details = Details::default();
    for row in client.query(TABLES, &[]).await.map_err(failed)? {
        let read = || -> Result<(Oid, TableDetails), tokio_postgres::Error> {
            Ok((
                row.try_get(0)?,
                TableDetails {
                    comment: row.try_get(1)?,
                    rows: row.try_get(2)?,
                    pages: row.try_get(3)?,
                },
            ))
        };
        let (oid, table) = read().map_err(failed)?;
        details.tables.insert(oid, table);
    }
    for row in client.query(COLUMNS, &[]).await.map_err(failed)? {
        let read = || -> Result<((Oid, AttNum), ColumnDetails), tokio_postgres::Error> {
            Ok((
                (row.try_get(0)?, row.try_get(1)?),
                ColumnDetails {
                    comment: row.try_get(2)?,
                    readable: row.try_get(3)?,
                },
            ))
        };
        let (cell, column) = read().map_err(failed)?;
        details.columns.insert(cell, column);
    }
    Ok(details)
}

/// A sample of each of the columns, in their order.
///
/// # Errors
/// [`Unread`]; the connection can be used again unless it is lost.
pub async fn sample(
    client: &Client,
    table: &Table,
    columns: &[&Target],
    limits: Limits,
) -> Result<Vec<Sample>, Unread> {
    let mut samples = Vec::with_capacity(columns.len());
    for columns in columns.chunks(COLUMNS_AT_ONCE) {
        let mut rows = read(
            client,
            &statement(table, columns, method(table, limits), limits),
            limits,
        )
        .await?;
        // A sample of pages can miss all rows of a table that shrank.
        if rows.is_empty() && method(table, limits) != Method::First {
            rows = read(
                client,
                &statement(table, columns, Method::First, limits),
                limits,
            )
            .await?;
        }
        for (place, target) in columns.iter().enumerate() {
            samples.push(gather(&rows, place, whole(target)));
        }
    }
    Ok(samples)
}

async fn read(client: &Client, statement: &str, limits: Limits) -> Result<Vec<Row>, Unread> {
    let milliseconds = limits.timeout.as_millis();
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {milliseconds}; \
         SET LOCAL lock_timeout = {}; SET LOCAL row_security = on; SET LOCAL search_path = ''; \
         SET LOCAL extra_float_digits = 1; SET LOCAL datestyle = 'ISO'; SET LOCAL jit = off",
        (milliseconds / 2).clamp(1, 2_000)
    );
    let work = async {
        client.batch_execute(&begin).await?;
        client.query(statement, &[]).await
    };
    let answer = tokio::time::timeout(limits.timeout + GRACE, work).await;
    let ended = tokio::time::timeout(GRACE, client.batch_execute("ROLLBACK")).await;
    match (answer, ended) {
        (Ok(Ok(rows)), Ok(Ok(()))) => Ok(rows),
        (Ok(Err(error)), _) => Err(reason(&error, limits)),
        _ => Err(Unread::Lost),
    }
}

fn reason(error: &tokio_postgres::Error, limits: Limits) -> Unread {
    let Some(code) = error.code() else {
        return Unread::Lost;
    };
    match *code {
        SqlState::INSUFFICIENT_PRIVILEGE => Unread::Denied,
        SqlState::LOCK_NOT_AVAILABLE => Unread::Locked,
        SqlState::QUERY_CANCELED => Unread::Slow(limits.timeout),
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => Unread::Lost,
        _ => Unread::Failed(code.code().to_owned()),
    }
}

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    /// The first that come: where nothing is known of the size.
    First,
    /// Percent of the rows, for tables of few pages.
    Rows(f64),
    /// Percent of the pages.
    Pages(f64),
}

fn method(table: &Table, limits: Limits) -> Method {
    let wanted = f64::from(limits.rows);
    if table.pages <= 0 || table.rows <= wanted * 1.5 {
        return Method::First;
    }
    let percent = |share: f64| (share * 100.0).clamp(0.000_1, 100.0);
    if table.pages <= FEW_PAGES {
        return Method::Rows(percent(wanted * 1.3 / table.rows));
    }
    // Rows of one page are often of one day: several pages at least.
    let per_page = (table.rows / table.pages as f64).max(1.0);
    let pages = (wanted * 2.0 / per_page).max(40.0);
    Method::Pages(percent(pages / table.pages as f64))
}

fn statement(table: &Table, columns: &[&Target], method: Method, limits: Limits) -> String {
    let mut sql = String::from("SELECT ");
    for (place, target) in columns.iter().enumerate() {
        let column = format!("t.{}", quote_identifier(&target.column.name));
        let text = match target.array {
            true => format!("pg_catalog.to_json({column})::pg_catalog.text"),
            false => format!("{column}::pg_catalog.text"),
        };
        let length = match whole(target) {
            true => MAX_DOCUMENT,
            false => MAX_CHARACTERS,
        };
        let comma = if place > 0 { ", " } else { "" };
        // The size is looked up in the row; only what is small enough is fetched.
        let _ = write!(
            sql,
            "{comma}CASE WHEN pg_catalog.pg_column_size({column}) OPERATOR(pg_catalog.<=) {MAX_STORED} \
             THEN pg_catalog.left({text}, {length}) END, \
             pg_catalog.pg_column_size({column}) OPERATOR(pg_catalog.>) {MAX_STORED}"
        );
    }
    let relation = &table.relation;
    let _ = write!(
        sql,
        " FROM {}.{} AS t",
        quote_identifier(&relation.schema),
        quote_identifier(&relation.name)
    );
    // The same rows at the next scan, as far as the table is the same.
    let _ = match method {
        Method::First => Ok(()),
        Method::Rows(percent) => {
            write!(sql, " TABLESAMPLE BERNOULLI ({percent:.6}) REPEATABLE (1)")
        }
        Method::Pages(percent) => write!(sql, " TABLESAMPLE SYSTEM ({percent:.6}) REPEATABLE (1)"),
    };
    let _ = write!(sql, " LIMIT {}", limits.rows);
    sql
}

/// Documents and arrays cannot be looked into in part.
fn whole(target: &Target) -> bool {
    target.subject.kind == Kind::Document || target.array
}

fn gather(rows: &[Row], place: usize, whole: bool) -> Sample {
    let mut sample = Sample::default();
    let mut bytes = 0;
    for row in rows {
        if let Ok(Some(true)) = row.try_get::<_, Option<bool>>(2 * place + 1) {
            sample.oversized += 1;
        }
        let Ok(Some(value)) = row.try_get::<_, Option<String>>(2 * place) else {
            continue;
        };
        // As long as it was allowed to be: the rest is missing.
        if whole && value.len() >= MAX_DOCUMENT && value.chars().count() >= MAX_DOCUMENT {
            sample.oversized += 1;
            continue;
        }
        bytes += value.len();
        if bytes > MAX_COLUMN_BYTES {
            break;
        }
        if !value.trim().is_empty() {
            sample.values.push(value);
        }
    }
    sample
}
