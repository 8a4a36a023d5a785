//! A server with a table per type.
use std::fmt::Write as _;

use pgveil::catalog::{Catalog, Column};

use crate::edges::EDGES;
use crate::support::{Options, Postgres};

const SCHEMA: &str = "
    CREATE EXTENSION citext; CREATE EXTENSION hstore;
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE DOMAIN phone_number AS varchar(20) CHECK (VALUE ~ '^[+]?[0-9]+$');
    CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0);
    CREATE DOMAIN never_null AS text NOT NULL CHECK (VALUE <> '***');
    CREATE DOMAIN json_document AS jsonb CHECK (VALUE::text !~ '[*][*][*]');
    CREATE DOMAIN phones AS text[] CHECK (VALUE IS NULL OR NOT '***' = ANY (VALUE));
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TYPE pair AS (a int, b text);
    CREATE SCHEMA masks;";

/// Functions, operators and types that a session could put in front of PostgreSQL's own; all of them raise.
fn hostile() -> String {
    let mut text = "CREATE SCHEMA evil;".to_owned();
    for (function, result) in [
        ("length(text)", "int"),
        ("left(text, int)", "text"),
        ("right(text, int)", "text"),
        ("repeat(text, int)", "text"),
        ("reverse(text)", "text"),
        ("strpos(text, text)", "int"),
        ("ltrim(text, text)", "text"),
        ("mod(numeric, numeric)", "numeric"),
        ("trim_scale(numeric)", "numeric"),
        ("date_trunc(text, timestamp)", "timestamp"),
        ("timezone(interval, timestamp)", "timestamptz"),
        ("timezone(interval, timestamptz)", "timestamp"),
        ("jsonb_typeof(jsonb)", "text"),
        ("to_jsonb(text)", "jsonb"),
        ("jsonb_exists(jsonb, text)", "bool"),
        ("jsonb_build_object(text, jsonb)", "jsonb"),
        ("jsonb_array_elements(jsonb)", "jsonb"),
        ("jsonb_agg(jsonb)", "jsonb"),
        ("regexp_replace(text, text, text, text)", "text"),
        ("substring(text, text)", "text"),
        ("unnest(text[])", "text"),
        ("array_ndims(text[])", "int"),
        ("masklen(inet)", "int"),
        ("family(inet)", "int"),
        ("set_masklen(inet, int)", "inet"),
        ("network(inet)", "cidr"),
    ] {
        let _ = write!(
            text,
            "CREATE FUNCTION evil.{function} RETURNS {result} LANGUAGE plpgsql AS 'BEGIN RAISE ''{function}''; END';"
        );
    }
    for (number, (operator, operand, result)) in [
        ("<=", "int", "bool"),
        ("=", "int", "bool"),
        ("=", "text", "bool"),
        ("!~", "text", "bool"),
        (">", "int", "bool"),
        ("-", "int", "int"),
        ("||", "text", "text"),
        ("-", "numeric", "numeric"),
        ("+", "numeric", "numeric"),
        (">=", "numeric", "bool"),
        ("<=", "numeric", "bool"),
        (">=", "float4", "bool"),
        ("<=", "float8", "bool"),
        (">=", "date", "bool"),
        ("<=", "timestamp", "bool"),
        (">=", "timestamptz", "bool"),
    ]
    .into_iter()
    .enumerate()
    {
        let _ = write!(
            text,
            "CREATE FUNCTION evil.f{number}({operand}, {operand}) RETURNS {result} LANGUAGE plpgsql AS 'BEGIN RAISE ''{operator}''; END';
             CREATE OPERATOR evil.{operator} (LEFTARG = {operand}, RIGHTARG = {operand}, FUNCTION = evil.f{number});"
        );
    }
    for data_type in [
        "text",
        "numeric",
        "float4",
        "float8",
        "date",
        "timestamp",
        "timestamptz",
        "interval",
        "uuid",
        "jsonb",
        "json",
        "_text",
        "inet",
        "bytea",
    ] {
        let _ = write!(
            text,
            "CREATE DOMAIN evil.{data_type} AS pg_catalog.{data_type} CHECK (false);"
        );
    }
    text
}

/// Settings with which dates, numbers and names read and print otherwise.
pub const UNUSUAL: &str = "SET search_path = evil, pg_catalog, public; SET datestyle = 'German, DMY'; \
    SET timezone = '<+13:37>-13:37'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = -15; \
    SET bytea_output = 'escape'; SET timezone_abbreviations = 'India';";

/// A server with the types, without tables.
pub fn start() -> Postgres {
    let postgres = Postgres::start(Options::default());
    postgres.sql("postgres", SCHEMA);
    postgres
}

/// A table `masks.t<n>` for each of [`EDGES`], its values numbered from 0, NULL at -1 (domains that forbid it apart).
pub fn create_edges(postgres: &Postgres) {
    let mut text = String::new();
    for (number, (data_type, values)) in EDGES.iter().enumerate() {
        // An explicit cast cuts what is too long for the type.
        let plain = data_type.split(" COLLATE").next().unwrap_or(data_type);
        let mut rows: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(row, value)| format!("({row}, ({value})::{plain})"))
            .collect();
        if *data_type != "never_null" {
            rows.push("(-1, NULL)".to_owned());
        }
        let rows = rows.join(", ");
        let _ = write!(
            text,
            "CREATE TABLE masks.t{number} (n int, v {data_type}); INSERT INTO masks.t{number} VALUES {rows};"
        );
    }
    postgres.sql("postgres", &text);
    postgres.sql("postgres", &hostile());
}

pub fn catalog(postgres: &Postgres) -> Catalog {
    let port = postgres.port();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("no runtime");
    runtime.block_on(async move {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(port)
            .user("postgres")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await
            .expect("cannot connect");
        tokio::spawn(connection);
        pgveil::catalog::load(&client).await.expect("no catalog")
    })
}

/// The column `v` of a table.
pub fn column<'a>(catalog: &'a Catalog, table: &str) -> &'a Column {
    let relation = catalog.relation("masks", table).expect("the table");
    relation.column("v").expect("the column")
}
