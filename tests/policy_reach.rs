//! A policy names two columns; whatever way their data takes inside the database, it arrives masked.
mod support;

use std::fs;

use pgveil::catalog::{Catalog, Relation, RelationKind};
use pgveil::policy::{self, RolePolicy};
use support::{Folder, Options, Postgres};

const SCHEMA: &str = r#"
    CREATE SCHEMA crm;
    CREATE DOMAIN crm.phone AS varchar(20) CHECK (VALUE !~ '\*');
    CREATE TABLE crm.contacts (id int PRIMARY KEY, phone crm.phone, notes text, region text,
        tail text GENERATED ALWAYS AS (right(phone::text, 4)) STORED);
    INSERT INTO crm.contacts VALUES (1, 'CANARY1', 'CANARY note', 'CN'), (2, NULL, NULL, 'EU'), (3, 'CANARY3', '', 'EU');
    CREATE VIEW crm.v_all AS SELECT * FROM crm.contacts;
    CREATE VIEW crm.v_renamed (k, mobile, row) AS SELECT id, phone, c FROM crm.contacts c;
    CREATE VIEW crm.v_over_view AS SELECT k, '+86-' || mobile AS m FROM crm.v_renamed;
    CREATE VIEW crm.v_aggregate AS SELECT region, max(phone::text) AS top, array_agg(notes) AS list FROM crm.contacts GROUP BY region;
    CREATE VIEW crm.v_subquery AS SELECT (SELECT phone FROM crm.contacts LIMIT 1) AS one, 1 AS two;
    CREATE VIEW crm.v_union AS SELECT region AS x FROM crm.contacts UNION SELECT notes FROM crm.contacts;
    CREATE VIEW crm.v_window AS SELECT id, lag(phone) OVER (ORDER BY id) AS before FROM crm.contacts;
    CREATE VIEW crm.v_cte AS WITH q(a, b) AS (SELECT id, notes FROM crm.contacts) SELECT b FROM q;
    CREATE VIEW crm.v_json AS SELECT to_jsonb(c) AS j, c::text AS t FROM crm.contacts c;
    CREATE FUNCTION crm.phone_of(int) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts WHERE id = $1';
    CREATE VIEW crm.v_function AS SELECT id, crm.phone_of(id) AS p FROM crm.contacts;
    CREATE MATERIALIZED VIEW crm.m AS SELECT id, lower(phone) AS p FROM crm.contacts;
    CREATE TABLE crm.events (id int, notes text, region text) PARTITION BY LIST (region);
    CREATE TABLE crm.events_cn PARTITION OF crm.events FOR VALUES IN ('CN');
    CREATE TABLE crm.events_eu (region text, id int, notes text);
    ALTER TABLE crm.events ATTACH PARTITION crm.events_eu FOR VALUES IN ('EU');
    INSERT INTO crm.events SELECT id, notes, region FROM crm.contacts;
    CREATE TABLE crm.base (id int, notes text);
    CREATE TABLE crm.child (extra int) INHERITS (crm.base);
    CREATE TABLE crm.sibling () INHERITS (crm.base);
    INSERT INTO crm.base SELECT id, notes FROM crm.contacts;
    INSERT INTO crm.child SELECT id, notes FROM crm.contacts;
    INSERT INTO crm.sibling SELECT id, notes FROM crm.contacts;
    CREATE TABLE crm.orders (id int, memo text);
    INSERT INTO crm.orders VALUES (1, 'plain');
    CREATE VIEW crm.v_orders AS SELECT id, upper(memo) AS memo FROM crm.orders;
"#;

const POLICY: &str = r#"
version: 1
data:
  phone: { columns: [crm.contacts.phone] }
  notes: { columns: [crm.contacts.notes, crm.events_cn.notes, crm.child.notes] }
roles:
  agent:
    who: [{ db_user: agent }]
    mask: { phone: { show: { last: 1 } }, notes: redact }
"#;

fn compile(catalog: &Catalog) -> std::sync::Arc<RolePolicy> {
    let folder = Folder::new("policy");
    fs::write(folder.path().join("crm.yaml"), POLICY).expect("cannot write the policy");
    let policy = policy::load(folder.path()).expect("the policy is right");
    let (compiled, findings) = policy.compile(catalog);
    assert!(findings.is_empty(), "{findings}");
    std::sync::Arc::clone(&compiled.roles["agent"])
}

/// What the role sees of a relation, in the way that the planner puts it together.
fn seen(relation: &Relation, role: &RolePolicy) -> String {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|column| {
            let name = policy::mask::quote_identifier(&column.name);
            match role.mask(relation.oid, column.num) {
                Some(mask) => format!("{} AS {name}", mask.sql.over(&name)),
                None => name,
            }
        })
        .collect();
    format!(
        "SELECT s::text FROM (SELECT {} FROM {}) s",
        columns.join(", "),
        relation.full_name()
    )
}

#[test]
fn classified_data_is_masked_wherever_it_goes() {
    let postgres = Postgres::start(Options::default());
    postgres.sql("postgres", SCHEMA);
    let port = postgres.port();
    let catalog = tokio::runtime::Runtime::new()
        .expect("no runtime")
        .block_on(async {
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
        });
    let role = compile(&catalog);
    let mut leaks = Vec::new();
    let mut unprotected = Vec::new();
    for relation in catalog
        .relations
        .values()
        .filter(|relation| relation.schema == "crm" && relation.kind != RelationKind::Other)
    {
        let rows = postgres.sql("postgres", &seen(relation, &role));
        if rows
            .iter()
            .flatten()
            .flatten()
            .any(|row| row.to_uppercase().contains("CANARY"))
        {
            leaks.push((relation.name.clone(), rows));
        }
        if !role.protected.contains(&relation.oid) {
            unprotected.push(relation.name.as_str());
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    unprotected.sort_unstable();
    assert_eq!(
        unprotected,
        ["orders", "v_orders"],
        "and only what holds none of it is unprotected"
    );
}
