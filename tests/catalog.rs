//! Reading a real server's catalog, and keeping it current.
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pgveil::catalog::{
    Catalog, CatalogError, CatalogStore, ColumnSource, ConnectSettings, Pace, Relation,
    RelationKind, SslMode, TypeKind, Volatility, load,
};
use support::{Authentication, Certificates, Options, Postgres};

const SCHEMA: &str = r#"
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

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("runtime")
}

fn settings(server: &Postgres) -> ConnectSettings {
    ConnectSettings {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
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

fn read(server: &Postgres, database: &str) -> Catalog {
    runtime().block_on(async {
        let client = settings(server).connect(database).await.expect("connect");
        load(&client).await.expect("load")
    })
}

fn columns(relation: &Relation) -> Vec<&str> {
    relation
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect()
}

/// `=relation.column`, or the columns read, or `?`.
fn sources(catalog: &Catalog, name: &str) -> Vec<String> {
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

/// Waits for a snapshot that fits, by asking as sessions do.
async fn until(store: &CatalogStore, database: &str, what: &str, fits: impl Fn(&Catalog) -> bool) {
    let started = Instant::now();
    while !fits(&*store.get(database).await.expect("a snapshot")) {
        assert!(
            started.elapsed() < support::PATIENCE,
            "never noticed: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn the_store_notices_changes_of_the_schema() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", &SCHEMA.replace("CREATE VIEW crm.peeking", "--"));
    runtime().block_on(async {
        let store = CatalogStore::new(settings(&server));
        let first = store.get("postgres").await.expect("a snapshot");
        let contacts = first.relation("crm", "contacts").expect("contacts").oid;
        for (change, column) in [
            ("ALTER TABLE crm.contacts RENAME phone TO tel", "tel"),
            ("ALTER TABLE crm.contacts ADD COLUMN fax text", "fax"),
        ] {
            server.sql("postgres", change);
            until(&store, "postgres", change, |catalog| catalog.relations[&contacts].column(column).is_some()).await;
        }
        let drop = "ALTER TABLE crm.contacts DROP COLUMN fax";
        server.sql("postgres", drop);
        until(&store, "postgres", drop, |catalog| catalog.relations[&contacts].column("fax").is_none()).await;
        let view = "CREATE OR REPLACE VIEW crm.book_of_book AS SELECT id, title::varchar(20) AS tel, title AS caps, caps AS title FROM crm.book";
        server.sql("postgres", view);
        until(&store, "postgres", view, |catalog| sources(catalog, "book_of_book")[3] == "=book.caps").await;
        for (change, schema, function) in [
            ("CREATE FUNCTION crm.fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'", "crm", "fresh"),
            ("ALTER FUNCTION crm.fresh() RENAME TO renamed", "crm", "renamed"),
        ] {
            server.sql("postgres", change);
            until(&store, "postgres", change, |catalog| {
                catalog.functions.get(function).is_some_and(|known| known[0].schema == schema)
            })
            .await;
        }
        let key = "ALTER TABLE crm.contacts DROP CONSTRAINT contacts_pkey";
        server.sql("postgres", key);
        until(&store, "postgres", key, |catalog| catalog.relations[&contacts].primary_key.is_empty()).await;
        let child = "CREATE TABLE crm.log_2027 PARTITION OF crm.log FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')";
        server.sql("postgres", child);
        until(&store, "postgres", child, |catalog| {
            let log = catalog.relation("crm", "log").expect("log").oid;
            catalog.children(log).len() == 2
        })
        .await;
    });
}

#[test]
fn a_refresh_shows_what_was_committed_before_it() {
    let server = Postgres::start(Options::default());
    runtime().block_on(async {
        let slow = Pace {
            interval: Duration::from_secs(3600),
            ..Pace::default()
        };
        let store = Arc::new(CatalogStore::new(ConnectSettings {
            pace: slow,
            ..settings(&server)
        }));
        let before = store.get("postgres").await.expect("a snapshot");
        // Nothing changed: the very same snapshot, so nothing compiled against it is thrown away.
        assert!(Arc::ptr_eq(
            &before,
            &store.refresh("postgres").await.expect("a snapshot")
        ));
        server.sql("postgres", "CREATE TABLE late (id int)");
        assert!(
            store
                .get("postgres")
                .await
                .expect("a snapshot")
                .relation("public", "late")
                .is_none()
        );
        let many: Vec<_> = (0..20)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.refresh("postgres").await })
            })
            .collect();
        let mut seen = HashSet::new();
        for one in many {
            let catalog = one.await.expect("task").expect("a snapshot");
            assert!(catalog.relation("public", "late").is_some());
            seen.insert(Arc::as_ptr(&catalog));
        }
        assert_eq!(seen.len(), 1);
    });
}

#[test]
fn a_lost_server_is_survived_for_a_while_and_then_fails_closed() {
    let mut server = Postgres::start(Options::default());
    let pace = Pace {
        interval: Duration::from_millis(20),
        staleness: Duration::from_millis(1500),
        ..Pace::default()
    };
    let settings = ConnectSettings {
        pace,
        databases: Some(vec!["postgres".to_owned()]),
        ..settings(&server)
    };
    let runtime = runtime();
    let store = CatalogStore::new(settings);
    runtime.block_on(store.get("postgres")).expect("a snapshot");
    server.crash();
    assert!(runtime.block_on(store.get("postgres")).is_ok());
    let started = Instant::now();
    let error = loop {
        match runtime.block_on(store.get("postgres")) {
            Ok(_) => assert!(
                started.elapsed() < support::PATIENCE,
                "a stale snapshot is served for ever"
            ),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CatalogError::Stale { .. }), "{error}");
    server.restart();
    server.sql("postgres", "CREATE TABLE after_all (id int)");
    let catalog = runtime
        .block_on(store.get("postgres"))
        .expect("a snapshot again");
    assert!(catalog.relation("public", "after_all").is_some());
}

#[test]
fn a_database_that_nobody_uses_is_let_go() {
    let server = Postgres::start(Options::default());
    server.create_database("passing");
    runtime().block_on(async {
        let pace = Pace {
            interval: Duration::from_millis(20),
            idle: Duration::from_millis(100),
            ..Pace::default()
        };
        let store = CatalogStore::new(ConnectSettings {
            pace,
            ..settings(&server)
        });
        store.get("passing").await.expect("a snapshot");
        let started = Instant::now();
        while server.try_sql("postgres", "DROP DATABASE passing").is_err() {
            assert!(
                started.elapsed() < support::PATIENCE,
                "the catalog connection is never let go"
            );
        }
        let error = store.get("passing").await.expect_err("it is gone");
        assert!(error.to_string().contains("passing"), "{error}");
        server.create_database("passing");
        store.get("passing").await.expect("back again");
    });
}

#[test]
fn databases_and_unknown_ones() {
    let server = Postgres::start(Options::default());
    server.create_database("shop");
    runtime().block_on(async {
        let store = CatalogStore::new(settings(&server));
        assert_eq!(
            store.databases().await.expect("the list"),
            ["postgres", "shop"]
        );
        let error = store.get("nowhere").await.expect_err("no such database");
        assert!(matches!(error, CatalogError::Connect { .. }), "{error}");
    });
}

#[test]
fn verifiers_come_from_pg_authid() {
    let server = Postgres::start(Options {
        authentication: Authentication::Scram,
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE ROLE pgveil LOGIN PASSWORD 'own'; CREATE ROLE clerk LOGIN PASSWORD 'secret' VALID UNTIL '2030-01-01 00:00:00+00'; \
         CREATE ROLE agent LOGIN PASSWORD 'other' VALID UNTIL 'infinity'; CREATE ROLE nobody LOGIN",
    );
    let runtime = runtime();
    let own = ConnectSettings {
        user: "pgveil".to_owned(),
        password: Some("own".to_owned()),
        ..settings(&server)
    };
    let store = CatalogStore::new(own);
    let error = runtime
        .block_on(store.verifier("clerk"))
        .expect_err("not granted");
    assert!(error.to_string().contains("SELECT on pg_authid"), "{error}");
    server.sql("postgres", "GRANT SELECT ON pg_authid TO pgveil");
    let clerk = runtime
        .block_on(store.verifier("clerk"))
        .expect("verifier")
        .expect("a password");
    assert!(clerk.secret.starts_with("SCRAM-SHA-256$4096:"));
    assert_eq!(
        clerk.valid_until,
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_893_456_000))
    );
    let agent = runtime
        .block_on(store.verifier("agent"))
        .expect("verifier")
        .expect("a password");
    assert_eq!(agent.valid_until, None);
    for without in ["nobody", "no such role", "'; DROP TABLE x --"] {
        assert_eq!(
            runtime
                .block_on(store.verifier(without))
                .expect("an answer"),
            None
        );
    }
}

fn trusting(certificates: &Certificates) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(certificates.ca_pem.as_bytes()).expect("PEM"))
        .expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(
        config
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

#[test]
fn the_connection_uses_tls_by_the_words_of_libpq() {
    let certificates = Certificates::new();
    let tls = Options {
        tls: Some(&certificates),
        authentication: Authentication::Scram,
        ..Options::default()
    };
    let server = Postgres::start(tls);
    let plain = Postgres::start(Options::default());
    server.sql("postgres", "CREATE ROLE pgveil LOGIN PASSWORD 'own'");
    let encrypted = |server: &Postgres, ssl_mode, trust: &Certificates, user: &str| {
        let settings = ConnectSettings {
            ssl_mode,
            tls: Some(trusting(trust)),
            user: user.to_owned(),
            password: Some("own".to_owned()),
            ..settings(server)
        };
        runtime().block_on(async {
            let client = settings.connect("postgres").await?;
            let row = client
                .query_one(
                    "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
                    &[],
                )
                .await;
            Ok::<bool, CatalogError>(row.expect("pg_stat_ssl").get(0))
        })
    };
    // As `pgveil`: SCRAM with channel binding, which fails where the certificate's hash is wrong.
    assert!(encrypted(&server, SslMode::Require, &certificates, "pgveil").expect("require"));
    assert!(encrypted(&server, SslMode::Prefer, &certificates, "pgveil").expect("prefer"));
    assert!(!encrypted(&server, SslMode::Allow, &certificates, "pgveil").expect("allow"));
    assert!(
        !encrypted(&plain, SslMode::Prefer, &certificates, "postgres").expect("prefer without TLS")
    );
    let error =
        encrypted(&plain, SslMode::Require, &certificates, "postgres").expect_err("no TLS there");
    assert!(error.to_string().contains("TLS"), "{error}");
    let stranger = Certificates::new();
    let error = encrypted(&server, SslMode::Require, &stranger, "pgveil")
        .expect_err("signed by somebody else");
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn the_fingerprint_of_a_large_schema_is_cheap() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "DO $$ BEGIN FOR n IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, b text, c text, d text, \
         e text, f text, g text, h text, i text)', n); END LOOP; END $$",
    );
    runtime().block_on(async {
        let slow = Pace {
            interval: Duration::from_secs(3600),
            ..Pace::default()
        };
        let store = CatalogStore::new(ConnectSettings {
            pace: slow,
            ..settings(&server)
        });
        let started = Instant::now();
        let catalog = store.get("postgres").await.expect("a snapshot");
        println!(
            "{} relations read in {:?}",
            catalog.relations.len(),
            started.elapsed()
        );
        let started = Instant::now();
        for _ in 0..10 {
            store.refresh("postgres").await.expect("a snapshot");
        }
        let each = started.elapsed() / 10;
        println!("fingerprint in {each:?}");
        assert!(each < Duration::from_secs(2), "{each:?}");
    });
}
