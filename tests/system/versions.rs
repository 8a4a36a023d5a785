//! The tables of functions and system relations against the server under test: what nobody has read is noticed.
use std::collections::HashSet;

use crate::support::{Options, Postgres};

const FUNCTIONS: &str = include_str!("../functions/names.txt");
const RELATIONS: &str = include_str!("../../src/policy/system.tsv");

fn column(server: &Postgres, sql: &str) -> Vec<String> {
    let rows = server.sql("postgres", sql);
    rows.into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect()
}

fn first_fields(table: &'static str, separator: char) -> HashSet<&'static str> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(separator).next())
        .collect()
}

#[test]
fn every_function_of_this_server_has_been_read() {
    let server = Postgres::start(Options::default());
    let known = first_fields(FUNCTIONS, ' ');
    let unread: Vec<String> = column(
        &server,
        "SELECT DISTINCT CASE n.nspname WHEN 'pg_catalog' THEN '' ELSE n.nspname || '.' END || p.proname \
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname IN ('pg_catalog', 'information_schema') AND p.oid < 16384",
    )
    .into_iter()
    .filter(|name| !known.contains(name.as_str()))
    .collect();
    assert!(
        unread.is_empty(),
        "read these, then add them to tests/functions/names.txt and src/sql/functions.tsv or refused.tsv: {unread:?}"
    );
}

#[test]
fn every_system_relation_of_this_server_has_been_read() {
    let server = Postgres::start(Options::default());
    let known = first_fields(RELATIONS, '\t');
    let unread: Vec<String> = column(
        &server,
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v', 'p', 'm', 'f') \
         AND c.oid < 16384",
    )
    .into_iter()
    .filter(|name| !known.contains(name.as_str()))
    .collect();
    assert!(
        unread.is_empty(),
        "read these, then add them to src/policy/system.tsv: {unread:?}"
    );
}

#[test]
fn columns_that_rules_name_exist() {
    let server = Postgres::start(Options::default());
    let columns: HashSet<String> = column(
        &server,
        "SELECT n.nspname || '.' || c.relname || '.' || a.attname FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname IN ('pg_catalog', 'information_schema') AND a.attnum > 0",
    )
    .into_iter()
    .collect();
    let relations: HashSet<&str> = columns
        .iter()
        .filter_map(|column| column.rsplit_once('.'))
        .map(|(relation, _)| relation)
        .collect();
    for line in RELATIONS.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let (name, rule) = (
            fields.next().expect("a name"),
            fields.next().expect("a rule"),
        );
        assert!(fields.next().is_some_and(|why| why.len() > 5), "{line}");
        if !relations.contains(name) {
            continue;
        }
        // Each version lacks some columns, but never all of a rule's.
        for clause in rule.split("; ").filter(|clause| clause.contains(' ')) {
            let found = clause
                .split(' ')
                .skip(1)
                .filter(|column| columns.contains(&format!("{name}.{column}")))
                .count();
            assert!(found > 0, "{name}: {clause}");
        }
    }
}
