//! The few pieces of SQL that masks are made of.

/// An identifier in double quotes.
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string literal under `standard_conforming_strings`, which restricted sessions cannot switch off. NUL cannot stand
/// in SQL text; it is kept out where values are read.
pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A literal of a `pg_catalog` type.
pub fn typed(text: &str, data_type: &str) -> String {
    format!("{}::pg_catalog.{data_type}", quote_literal(text))
}

/// `a op b` by PostgreSQL's own operator. Both sides must be primary expressions or casts: all qualified operators have
/// one precedence.
pub fn operator(left: &str, operator: &str, right: &str) -> String {
    format!("{left} OPERATOR(pg_catalog.{operator}) {right}")
}

/// A call of PostgreSQL's own function. The name is quoted, for some are keywords (`left`).
pub fn call(function: &str, arguments: &[&str]) -> String {
    format!("pg_catalog.\"{function}\"({})", arguments.join(", "))
}

/// `value` of the type wherever the column is not NULL.
pub fn unless_null(column: &str, value: &str, data_type: &str) -> String {
    format!("(CASE WHEN {column} IS NULL THEN NULL ELSE {value} END)::{data_type}")
}
