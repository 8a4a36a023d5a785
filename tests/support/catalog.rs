//! What the catalog's tests share: a schema, settings, a view's sources as text.
use std::time::Duration;

use pgveil::catalog::{Catalog, ColumnSource, ConnectSettings, Pace, Relation, SslMode, load};
use pgveil::wire::hosts::Hosts;

use super::Postgres;

pub const SCHEMA: &str = r#"
CREATE SCHEMA crm;
CREATE DOMAIN crm.phone AS varchar(20);
CREATE DOMAIN crm.mobile AS crm.phone;
CREATE TYPE crm."State" AS ENUM ('open', 'closed');
CREATE TYPE crm.pair AS (a int, b text);
CREATE TABLE crm.companies (id int PRIMARY KEY, title text, parent int);
CREATE TABLE crm.contacts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone int, name text NOT NULL, phone varchar(20), company_id int,
    "State" crm."State", digits text GENERATED ALWAYS AS (upper(name) || phone) STORED);
ALTER TABLE crm.contacts DROP COLUMN gone;
CREATE TABLE crm.log (at date, n int, what text, PRIMARY KEY (n, at)) PARTITION BY RANGE (at);
CREATE TABLE crm.log_2026 PARTITION OF crm.log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE crm.slow (id int, PRIMARY KEY (id) DEFERRABLE);
CREATE VIEW crm.book AS SELECT c.id, c.phone AS tel, upper(c.name) AS caps, k.title
    FROM crm.contacts c LEFT JOIN crm.companies k ON k.id = c.company_id;
CREATE VIEW crm.book_of_book AS SELECT * FROM crm.book;
CREATE MATERIALIZED VIEW crm.counts AS SELECT company_id, count(*) AS n FROM crm.contacts WHERE phone IS NOT NULL GROUP BY 1;
CREATE FUNCTION crm.peek(int) RETURNS text LANGUAGE sql SECURITY DEFINER STABLE AS 'SELECT phone FROM crm.contacts WHERE id = $1';
CREATE FUNCTION crm.peek(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE VIEW crm.peeking AS SELECT id, crm.peek(id) AS seen FROM crm.companies;
CREATE FUNCTION crm.same(text, text) RETURNS bool LANGUAGE sql AS 'SELECT $1 = $2';
CREATE OPERATOR crm.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = crm.same);
"#;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("runtime")
}

pub fn settings(server: &Postgres) -> ConnectSettings {
    ConnectSettings {
        hosts: Hosts::one("127.0.0.1", server.port()),
        user: "postgres".to_owned(),
        password: None,
        ssl_mode: SslMode::Disable,
        tls: None,
        databases: None,
        pace: Pace {
            interval: Duration::from_millis(50),
            ..Pace::default()
        },
    }
}

pub fn read(server: &Postgres, database: &str) -> Catalog {
    runtime().block_on(async {
        let client = settings(server).connect(database).await.expect("connect");
        load(&client).await.expect("load")
    })
}

pub fn columns(relation: &Relation) -> Vec<&str> {
    relation
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect()
}

/// `=relation.column`, or the columns read, or `?`.
pub fn sources(catalog: &Catalog, name: &str) -> Vec<String> {
    let relation = catalog.relation("crm", name).expect("the view");
    let name = |(oid, num): (u32, i16)| {
        let relation = &catalog.relations[&oid];
        format!(
            "{}.{}",
            relation.name,
            relation.column_number(num).expect("the column").name
        )
    };
    relation
        .sources
        .iter()
        .map(|source| match source {
            ColumnSource::Same { relation, column } => format!("={}", name((*relation, *column))),
            ColumnSource::Computed { from } => {
                from.iter().copied().map(name).collect::<Vec<_>>().join(" ")
            }
            ColumnSource::Unknown => "?".to_owned(),
        })
        .collect()
}
