//! A policy names two columns; whatever way their data takes inside the database, it arrives masked.
mod nested;
#[path = "../support/mod.rs"]
mod support;
mod views;

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
    CREATE FUNCTION crm.same(int, int) RETURNS bool LANGUAGE sql STABLE SECURITY DEFINER
        AS 'SELECT EXISTS (SELECT FROM crm.contacts WHERE id = $1 AND phone::text ~ ''CANARY'')';
    CREATE OPERATOR crm.= (LEFTARG = int, RIGHTARG = int, FUNCTION = crm.same);
    SET search_path = crm, pg_catalog;
    CREATE VIEW v_case AS SELECT CASE id WHEN 0 THEN 'yes' ELSE 'no' END AS hit FROM orders;
    CREATE VIEW v_nullif AS SELECT NULLIF(id, 0) AS hit FROM orders;
    CREATE VIEW v_distinct AS SELECT id IS DISTINCT FROM 0 AS hit FROM orders;
    RESET search_path;
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

fn compile(catalog: &Catalog, text: &str) -> std::sync::Arc<RolePolicy> {
    let folder = Folder::new("policy");
    fs::write(folder.path().join("crm.yaml"), text).expect("cannot write the policy");
    let policy = policy::load(folder.path()).expect("the policy is right");
    let (compiled, findings) = policy.compile(catalog);
    assert!(!findings.has_errors(), "{findings}");
    std::sync::Arc::clone(&compiled.roles["agent"])
}

fn read(postgres: &Postgres) -> Catalog {
    let port = postgres.port();
    tokio::runtime::Runtime::new()
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
        })
}

/// What the role sees of a relation, in the way that the planner puts it together.
fn seen(relation: &Relation, role: &RolePolicy) -> String {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|column| {
            let name = policy::mask::quote_identifier(&column.name);
            match role.mask(relation.oid, column.num) {
                Some(mask) => format!("{} AS {name}", mask.sql.over("", &column.name)),
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
    let catalog = read(&postgres);
    let role = compile(&catalog, POLICY);
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

const RULED: &str = r#"
    CREATE EXTENSION pg_trgm;
    CREATE SCHEMA crm;
    CREATE TABLE crm.contacts (id int PRIMARY KEY, owner text, note text);
    INSERT INTO crm.contacts VALUES (1, 'ann', 'shown'), (2, 'bob', 'HIDDEN'), (3, NULL, 'HIDDEN too');
    CREATE TABLE crm.orders (id int, contact int);
    INSERT INTO crm.orders VALUES (1, 1), (2, 2);
    CREATE VIEW crm.v_all AS SELECT * FROM crm.contacts;
    CREATE VIEW crm.v_count AS SELECT count(*) AS n FROM crm.contacts;
    CREATE VIEW crm.v_exists AS SELECT id FROM crm.orders o WHERE EXISTS (SELECT FROM crm.contacts c WHERE c.id = o.contact AND c.note ~ 'HID');
    CREATE VIEW crm.v_over AS SELECT n + 1 AS n FROM crm.v_count;
    CREATE MATERIALIZED VIEW crm.m AS SELECT note FROM crm.contacts;
    CREATE VIEW crm.v_of_m AS SELECT 1 AS one FROM crm.m LIMIT 1;
    CREATE FUNCTION crm.all_notes() RETURNS text LANGUAGE sql STABLE AS 'SELECT string_agg(note, '','') FROM crm.contacts';
    CREATE VIEW crm.v_function AS SELECT 1 AS one WHERE crm.all_notes() ~ 'x';
    CREATE VIEW crm.v_mine AS SELECT id, owner, note FROM crm.contacts;
    CREATE VIEW crm.v_over_mine AS SELECT note FROM crm.v_mine;
    CREATE VIEW crm.v_orders AS SELECT id, similarity(contact::text, '1') AS s FROM crm.orders;
    CREATE TABLE crm.child (extra int) INHERITS (crm.contacts);
    INSERT INTO crm.child VALUES (4, 'bob', 'HIDDEN in a child', 1);
    CREATE TABLE crm.plain (id int, owner text);
    CREATE TABLE crm.ruled_child (note text) INHERITS (crm.plain);
    INSERT INTO crm.ruled_child VALUES (5, 'HIDDEN', 'HIDDEN');
    CREATE TABLE crm.parts (id int, owner text) PARTITION BY RANGE (id);
    CREATE TABLE crm.parts_1 (owner text, id int);
    ALTER TABLE crm.parts ATTACH PARTITION crm.parts_1 FOR VALUES FROM (0) TO (10);
    INSERT INTO crm.parts VALUES (1, 'ann'), (2, 'HIDDEN');
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.equal(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equal);
    CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS 'SELECT ''ann''';
    CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
"#;

const RULES: &str = r#"
version: 1
roles:
  agent:
    who: [{ db_user: agent }]
    rows:
      crm.contacts: "lower(owner) = {app_user}::text AND owner LIKE 'a%' AND id IN (SELECT c.id FROM crm.contacts c WHERE c.id = contacts.id)"
      crm.v_mine: "owner IN ({app_user}, {attr.none}) AND id BETWEEN 0 AND 10"
      crm.ruled_child: "owner = {db_user}"
      crm.parts: "owner = {app_user}"
"#;

#[test]
fn hidden_rows_show_nowhere_and_what_would_show_them_is_closed() {
    let postgres = Postgres::start(Options::default());
    postgres.sql("postgres", RULED);
    let catalog = read(&postgres);
    let role = compile(&catalog, RULES);
    let mut closed = Vec::new();
    let mut open = Vec::new();
    for relation in catalog
        .relations
        .values()
        .filter(|relation| relation.schema == "crm" && relation.kind != RelationKind::Other)
    {
        if role.closed.contains_key(&relation.oid) {
            closed.push(relation.name.as_str());
            continue;
        }
        let condition = role
            .rows
            .get(&relation.oid)
            .map_or("true".to_owned(), |rule| {
                rule.sql("r", |value| match value {
                    policy::SessionValue::Attribute(_) | policy::SessionValue::Region(_) => None,
                    _ => Some("ann".to_owned()),
                })
            });
        // A session can put anything in front of PostgreSQL's own names.
        let text = format!(
            "SET search_path = evil, pg_catalog; SELECT r::pg_catalog.text FROM {} r WHERE {condition}",
            relation.full_name()
        );
        let rows = postgres.sql("postgres", &text);
        let shown = rows
            .iter()
            .flatten()
            .flatten()
            .any(|row| row.contains("HID"));
        assert!(!shown, "{}: {rows:?}", relation.name);
        open.push((relation.name.as_str(), rows.len()));
    }
    closed.sort_unstable();
    assert_eq!(
        closed,
        [
            "m",
            "plain",
            "v_all",
            "v_count",
            "v_exists",
            "v_function",
            "v_of_m",
            "v_over",
            "v_over_mine"
        ]
    );
    open.sort_unstable();
    assert_eq!(
        open,
        [
            ("child", 0),
            ("contacts", 1),
            ("orders", 2),
            ("parts", 1),
            ("parts_1", 1),
            ("ruled_child", 0),
            ("v_mine", 1),
            ("v_orders", 2)
        ],
        "and the rows that a rule leaves are there"
    );
}
