//! What a snapshot of a real server's catalog holds.
mod support;

use std::collections::HashSet;

use pgveil::catalog::{RelationKind, TypeKind, Volatility};
use support::catalog::{SCHEMA, columns, read, sources};
use support::{Options, Postgres};

#[test]
fn a_snapshot_holds_what_the_server_holds() {
    let server = Postgres::start(Options::default());
    server.create_database("shop");
    server.sql("shop", SCHEMA);
    let catalog = read(&server, "shop");

    assert_eq!(catalog.database, "shop");
    assert_eq!(catalog.server_version / 10_000, server.major());
    assert!(catalog.schemas.contains("crm") && catalog.schemas.contains("pg_catalog"));

    let contacts = catalog.relation("crm", "contacts").expect("contacts");
    assert_eq!(contacts.kind, RelationKind::Table);
    assert_eq!(
        columns(contacts),
        ["id", "name", "phone", "company_id", "State", "digits"]
    );
    assert_eq!(contacts.primary_key, [1]);
    let phone = contacts.column("phone").expect("phone");
    assert_eq!((phone.num, phone.type_oid, phone.typmod), (4, 1043, 24));
    assert_eq!(phone.type_sql, "character varying(20)");
    assert!(contacts.column("name").expect("name").not_null && !phone.not_null);
    assert_eq!(
        contacts.column("digits").expect("digits").generated_from,
        [3, 4]
    );
    assert_eq!(
        contacts.column("State").expect("State").type_sql,
        "crm.\"State\""
    );

    let log = catalog.relation("crm", "log").expect("log");
    let part = catalog.relation("crm", "log_2026").expect("log_2026");
    assert_eq!(log.kind, RelationKind::PartitionedTable);
    assert_eq!(
        log.primary_key.iter().collect::<HashSet<_>>(),
        HashSet::from([&1, &2])
    );
    assert_eq!(
        (part.parents.as_slice(), catalog.children(log.oid)),
        (&[log.oid][..], &[part.oid][..])
    );
    // GROUP BY may not rely on a key that can be violated for a while.
    assert!(
        catalog
            .relation("crm", "slow")
            .expect("slow")
            .primary_key
            .is_empty()
    );
    assert_eq!(
        catalog
            .relation("crm", "contacts_pkey")
            .expect("the index")
            .kind,
        RelationKind::Other
    );
    assert_eq!(
        catalog
            .relation("crm", "contacts_id_seq")
            .expect("the sequence")
            .kind,
        RelationKind::Sequence
    );
    assert!(
        catalog
            .relation("pg_catalog", "pg_stats")
            .is_some_and(|view| view.column("most_common_vals").is_some())
    );
    assert!(catalog.relation("information_schema", "columns").is_some());

    let peek = &catalog.functions["peek"];
    assert_eq!(peek.len(), 2);
    assert!(
        peek.iter()
            .any(|function| function.security_definer && function.volatility == Volatility::Stable)
    );
    assert!(
        catalog.functions["now"]
            .iter()
            .all(|function| function.schema == "pg_catalog")
    );
    assert_eq!(catalog.operators["==="][0].schema, "crm");
    assert!(!catalog.operators.contains_key("="));
    let mobile = catalog.types_named("mobile").next().expect("the domain");
    assert_eq!(
        (mobile.kind, mobile.base, mobile.category),
        (TypeKind::Domain, Some(1043), 'S')
    );
    assert_eq!(
        catalog.types_named("State").next().expect("the enum").kind,
        TypeKind::Enum
    );
}

#[test]
fn views_are_followed_to_their_sources() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    server.sql(
        "postgres",
        r#"
        CREATE VIEW crm.everything AS SELECT * FROM crm.contacts JOIN crm.companies USING (id);
        CREATE VIEW crm.united AS SELECT id, phone FROM crm.contacts UNION ALL SELECT id, phone FROM crm.contacts;
        CREATE VIEW crm.mixed AS SELECT id, phone FROM crm.contacts UNION SELECT id, title FROM crm.companies ORDER BY 2;
        CREATE VIEW crm.tree AS WITH RECURSIVE t AS (
            SELECT id, parent, title FROM crm.companies WHERE parent IS NULL UNION ALL
            SELECT c.id, c.parent, t.title || '/' || c.title FROM crm.companies c JOIN t ON c.parent = t.id) TABLE t;
        CREATE VIEW crm.whole AS SELECT c, row_to_json(c) AS json FROM crm.companies c;
        CREATE VIEW crm.clever AS SELECT DISTINCT ON (k.id) k.id,
            (SELECT max(c.phone) FROM crm.contacts c WHERE c.company_id = k.id) AS best,
            CASE WHEN EXISTS (SELECT FROM crm.contacts c WHERE c.name = 'x') THEN 1 END AS found,
            row_number() OVER (PARTITION BY k.parent ORDER BY k.title) AS place, l.phone
            FROM crm.companies k, LATERAL (SELECT phone FROM crm.contacts c WHERE c.company_id = k.id LIMIT 1) l
            ORDER BY k.id;
        CREATE VIEW crm.functions AS SELECT u.word, g.n FROM crm.contacts c,
            unnest(string_to_array(c.name, ' ')) WITH ORDINALITY AS u(word, place), generate_series(1, 2) g(n);
        CREATE VIEW crm."Odd ""Name""" AS SELECT "State" AS "A b", 1 AS "?column?" FROM crm.contacts;
        CREATE VIEW crm.catalogs AS SELECT relname, c.tableoid FROM pg_class c;
        CREATE VIEW crm.constants AS VALUES (1, 'x'), (2, 'y');
        CREATE VIEW crm.renamed AS SELECT name AS n FROM crm.contacts;
        ALTER TABLE crm.contacts RENAME name TO full_name;
        ALTER VIEW crm.renamed RENAME n TO whole_name;
        "#,
    );
    let catalog = read(&server, "postgres");
    for (view, expected) in [
        (
            "book",
            vec![
                "=contacts.id",
                "=contacts.phone",
                "contacts.full_name",
                "=companies.title",
            ],
        ),
        (
            "book_of_book",
            vec!["=book.id", "=book.tel", "=book.caps", "=book.title"],
        ),
        (
            "counts",
            vec!["=contacts.company_id", "contacts.phone contacts.company_id"],
        ),
        ("peeking", vec!["=companies.id", "?"]),
        ("united", vec!["=contacts.id", "=contacts.phone"]),
        (
            "mixed",
            vec!["companies.id contacts.id", "companies.title contacts.phone"],
        ),
        (
            "tree",
            vec!["=companies.id", "=companies.parent", "companies.title"],
        ),
        ("functions", vec!["contacts.full_name", ""]),
        ("Odd \"Name\"", vec!["=contacts.State", ""]),
        ("catalogs", vec!["=pg_class.relname", ""]),
        ("constants", vec!["", ""]),
        ("renamed", vec!["=contacts.full_name"]),
    ] {
        assert_eq!(sources(&catalog, view), expected, "{view}");
    }
    let clever = sources(&catalog, "clever");
    assert_eq!(
        (clever[0].as_str(), clever[4].as_str()),
        ("=companies.id", "=contacts.phone")
    );
    for (column, read) in [
        (1, "contacts.phone"),
        (1, "contacts.company_id"),
        (2, "contacts.full_name"),
        (3, "companies.title"),
    ] {
        assert!(clever[column].contains(read), "{clever:?}");
    }
    let whole = sources(&catalog, "whole");
    assert_eq!(whole, ["companies.id companies.title companies.parent"; 2]);
    let everything = sources(&catalog, "everything");
    assert_eq!(everything.len(), 8);
    assert!(
        everything.iter().all(|source| source.starts_with('=')),
        "{everything:?}"
    );
    // No sources for tables and for the system's views.
    assert!(
        catalog
            .relation("crm", "contacts")
            .expect("contacts")
            .sources
            .is_empty()
    );
    assert!(
        catalog
            .relation("pg_catalog", "pg_stats")
            .expect("pg_stats")
            .sources
            .is_empty()
    );
}

#[test]
fn every_type_name_reads_back_as_the_same_type_under_a_hostile_search_path() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    // Types that shadow built-in ones for whoever has `evil` in front.
    server.sql(
        "postgres",
        "CREATE SCHEMA evil; CREATE DOMAIN evil.text AS pg_catalog.int4; CREATE DOMAIN evil.uuid AS pg_catalog.int4; \
         CREATE DOMAIN evil.int4 AS pg_catalog.text; CREATE DOMAIN evil.bpchar AS pg_catalog.int4; \
         CREATE DOMAIN evil.date AS pg_catalog.int4; CREATE DOMAIN evil.bit AS pg_catalog.int4; \
         CREATE DOMAIN evil.jsonb AS pg_catalog.int4; CREATE DOMAIN evil.varchar AS pg_catalog.int4",
    );
    let types = [
        "text",
        "varchar",
        "varchar(20)",
        "char(3)",
        "bpchar",
        "\"char\"",
        "name",
        "int2",
        "int4",
        "int8",
        "oid",
        "numeric",
        "numeric(12,2)",
        "numeric(3)",
        "float4",
        "float8",
        "money",
        "bool",
        "bytea",
        "bit(4)",
        "\"bit\"",
        "bit varying",
        "varbit(7)",
        "date",
        "time",
        "time(2)",
        "timetz(3)",
        "timestamp",
        "timestamp(3)",
        "timestamptz",
        "timestamptz(0)",
        "interval",
        "interval(2)",
        "interval year to month",
        "interval day to second(3)",
        "uuid",
        "json",
        "jsonb",
        "xml",
        "inet",
        "cidr",
        "macaddr",
        "point",
        "tsvector",
        "tsquery",
        "int4range",
        "regclass",
        "int2vector",
        "oidvector",
        "text[]",
        "varchar(20)[]",
        "int4[]",
        "timestamptz(3)[]",
        "\"char\"[]",
        "numeric(5,1)[]",
        "crm.phone",
        "crm.mobile",
        "crm.\"State\"",
        "crm.\"State\"[]",
        "crm.pair",
        "crm.pair[]",
        "evil.int4",
        "evil.text",
    ];
    let list: Vec<String> = types
        .iter()
        .enumerate()
        .map(|(n, name)| format!("c{n} {name}"))
        .collect();
    server.sql(
        "postgres",
        &format!("CREATE TABLE crm.types ({})", list.join(", ")),
    );
    let catalog = read(&server, "postgres");
    let written = catalog.relation("crm", "types").expect("types");
    let again: Vec<String> = written
        .columns
        .iter()
        .map(|column| format!("\"{}\" {}", column.name, column.type_sql))
        .collect();
    server.sql(
        "postgres",
        &format!(
            "SET search_path = evil, pg_catalog; CREATE TABLE crm.again ({})",
            again.join(", ")
        ),
    );
    let catalog = read(&server, "postgres");
    let again = catalog.relation("crm", "again").expect("again");
    assert_eq!(written.columns, again.columns);
    // And as a cast in an expression, by the grammar that judges statements.
    for column in &written.columns {
        let text = format!("SELECT NULL::{}", column.type_sql);
        assert!(
            pg_query::parse(&text, pg_query::ParserOptions::DEFAULT).is_ok(),
            "{text}"
        );
    }
}

#[test]
fn equal_content_has_an_equal_version() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let first = read(&server, "postgres").version;
    assert_eq!(first, read(&server, "postgres").version);
    server.sql(
        "postgres",
        "CREATE TEMP TABLE mine (id int); TRUNCATE crm.contacts",
    );
    assert_eq!(first, read(&server, "postgres").version);
    server
        .sql(
            "postgres",
            "ALTER TABLE crm.companies ALTER parent TYPE bigint",
        )
        .len();
    assert_ne!(first, read(&server, "postgres").version);
}

#[test]
fn what_compares_columns_at_a_write_is_known() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE SCHEMA s;
         CREATE TABLE s.a (id int PRIMARY KEY, x int, y int, z text, w int GENERATED ALWAYS AS (x / y) STORED,
           full_text text GENERATED ALWAYS AS (lower(z)) STORED, CONSTRAINT less CHECK (x < y),
           CONSTRAINT apart EXCLUDE USING gist (int4range(x, y) WITH &&));
         CREATE UNIQUE INDEX partly ON s.a (z) INCLUDE (x) WHERE y IS NULL;
         CREATE INDEX plain ON s.a (z, x); CREATE INDEX lowered ON s.a (lower(z)); CREATE INDEX cast_down ON s.a ((z::int));
         CREATE TABLE s.p (id int, x int) PARTITION BY RANGE (x, abs(id));
         CREATE TABLE s.p1 PARTITION OF s.p (CHECK (x > 0)) DEFAULT;
         CREATE TABLE s.r (a int REFERENCES s.a ON UPDATE CASCADE)",
    );
    let catalog = read(&server, "postgres");
    let oid = |name: &str| catalog.relation("s", name).expect("the relation").oid;
    let ties = |name: &str| -> Vec<String> {
        let ties = catalog.ties[&oid(name)].iter();
        ties.map(|tie| format!("{} {:?}", tie.described(), tie.columns))
            .collect()
    };
    assert_eq!(
        ties("a"),
        [
            "CHECK constraint less [2, 3]",
            "unique index a_pkey [1]",
            "exclusion constraint apart [2, 3]",
            "expression cast_down [4]",
            "unique index partly [2, 3, 4]",
            "expression w [5]",
        ]
    );
    assert_eq!(ties("p"), ["partition key p [1, 2]"]);
    assert_eq!(ties("p1"), ["CHECK constraint p1_x_check [2]"]);
    let cascades = Vec::from_iter(&catalog.cascades);
    let [cascade] = cascades.as_slice() else {
        panic!("{cascades:?}")
    };
    assert_eq!((cascade.from, cascade.to), ((oid("a"), 1), (oid("r"), 1)));
}

#[test]
fn keys_elements_and_what_views_read_are_known() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE EXTENSION pg_trgm; CREATE SCHEMA s; CREATE DOMAIN s.d AS int;
         CREATE TABLE s.a (id int PRIMARY KEY, code text UNIQUE, tags text[], days s.d[]);
         CREATE TABLE s.b (a_id int REFERENCES s.a, code text REFERENCES s.a (code), x int);
         CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM s.a';
         CREATE VIEW s.counts AS SELECT count(*) FROM s.a WHERE EXISTS (SELECT FROM s.b);
         CREATE VIEW s.calls AS SELECT 1 AS one WHERE s.f(1) > 0;
         CREATE VIEW s.pure AS SELECT similarity(code, 'x') AS n FROM s.a",
    );
    let catalog = read(&server, "postgres");
    let oid = |name: &str| catalog.relation("s", name).expect("the relation").oid;
    let keys: Vec<_> = catalog.foreign_keys.iter().collect();
    // What refers to another unique column than the primary key is data, not a key.
    assert_eq!(keys, [(&(oid("b"), 1), &(oid("a"), 1))]);
    let table = catalog.relation("s", "a").expect("the table");
    let element = |name: &str| {
        let array = table.column(name).expect("the column").type_oid;
        catalog.types[&catalog.elements[&array]].name.as_str()
    };
    assert_eq!((element("tags"), element("days")), ("text", "d"));
    let reads = |name: &str| {
        let reads = &catalog.view_reads[&oid(name)];
        let mut names: Vec<&str> = ["a", "b"].into_iter().collect();
        names.retain(|name| reads.relations.contains(&oid(name)));
        (names, reads.opaque)
    };
    assert_eq!(reads("counts"), (vec!["a", "b"], false));
    assert_eq!(reads("calls"), (vec![], true));
    assert_eq!(reads("pure"), (vec!["a"], false));
}
