//! Keeping snapshots current, and what else is asked of the server as the catalog user.
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pgveil::catalog::{Catalog, CatalogError, CatalogStore, ConnectSettings, Pace, SslMode};
use support::catalog::{SCHEMA, runtime, settings, sources};
use support::{Authentication, Certificates, Options, Postgres};

/// Waits for a snapshot that fits, by asking as sessions do.
async fn until(store: &CatalogStore, database: &str, what: &str, fits: impl Fn(&Catalog) -> bool) {
    let started = Instant::now();
    while !fits(&store.get(database).await.expect("a snapshot")) {
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

/// Locks that an application holds: its session, in a transaction.
async fn locking(settings: &ConnectSettings, statement: &str) -> tokio_postgres::Client {
    let session = settings.connect("postgres").await.expect("a session");
    let begun = session
        .batch_execute(&format!("BEGIN READ WRITE; {statement}"))
        .await;
    begun.expect("nobody else is there");
    session
}

#[test]
fn a_reading_never_costs_an_application_its_statement_by_a_deadlock() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", "CREATE SCHEMA crm; SET search_path = crm; CREATE TABLE a (x text); CREATE TABLE b (x text); \
        CREATE VIEW v AS SELECT a.x FROM a, b; CREATE INDEX ON a (lower(x)); CREATE INDEX ON b (lower(x))");
    runtime().block_on(async {
        let store = Arc::new(CatalogStore::new(settings(&server)));
        store.get("postgres").await.expect("a snapshot");
        let own = store.connect_settings();
        let migration = locking(&own, "ALTER TABLE crm.b ADD y text").await;
        server.sql("postgres", "CREATE TABLE unrelated (x int)");
        let reading = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.refresh("postgres").await }
        });
        // A reader that waits for `b` longer than `deadlock_timeout` has looked for a deadlock: it would not be the victim.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        migration
            .batch_execute("ALTER TABLE crm.a ADD y text")
            .await
            .expect("no deadlock");
        migration.batch_execute("COMMIT").await.expect("COMMIT");
        reading.await.expect("a task").expect("a snapshot");
        until(&store, "postgres", "the migration", |catalog| {
            let has = |name| {
                catalog
                    .relation("crm", name)
                    .is_some_and(|table| table.column("y").is_some())
            };
            has("a") && has("b") && sources(catalog, "v") == ["=a.x"]
        })
        .await;
    });
}

#[test]
fn a_relation_that_stays_locked_costs_the_knowledge_of_its_views_alone() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", "CREATE SCHEMA crm; SET search_path = crm; CREATE TABLE locked (x text, g text GENERATED ALWAYS AS (lower(x)) STORED); CREATE TABLE free (x text); \
        CREATE INDEX ON locked (lower(x)) WHERE x > 'a'; CREATE VIEW of_locked AS SELECT x FROM locked; CREATE VIEW of_free AS SELECT x FROM free; \
        CREATE RULE r AS ON DELETE TO free DO ALSO DELETE FROM locked; \
        ALTER TABLE locked ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON locked USING (x > 'a')");
    runtime().block_on(async {
        let store = CatalogStore::new(settings(&server));
        let first = store.get("postgres").await.expect("a snapshot");
        assert_eq!(sources(&first, "of_locked"), ["=locked.x"]);
        let oid = first.relation("crm", "locked").expect("locked").oid;
        let kinds = |catalog: &Catalog| -> Vec<_> {
            catalog.ties[&oid]
                .iter()
                .map(|tie| (tie.kind, tie.columns.clone()))
                .collect()
        };
        let own = store.connect_settings();
        let session = locking(&own, "LOCK TABLE crm.locked IN ACCESS EXCLUSIVE MODE").await;
        server.sql("postgres", "CREATE TABLE fresh (x int)");
        until(&store, "postgres", "a table beside the lock", |catalog| {
            catalog.relation("public", "fresh").is_some()
        })
        .await;
        let around = store.get("postgres").await.expect("a snapshot");
        assert_eq!(sources(&around, "of_locked"), ["?"]);
        assert_eq!(sources(&around, "of_free"), ["=free.x"]);
        // What could be said of it is not known: it may raise, and read the whole row.
        assert!(
            kinds(&around)
                .iter()
                .any(|(_, columns)| columns.contains(&0)),
            "{:?}",
            kinds(&around)
        );
        session.batch_execute("ROLLBACK").await.expect("ROLLBACK");
        until(&store, "postgres", "the end of the lock", |catalog| {
            sources(catalog, "of_locked") == ["=locked.x"]
        })
        .await;
        let after = store.get("postgres").await.expect("a snapshot");
        assert_eq!(kinds(&after), kinds(&first));
    });
}

const STALENESS: Duration = Duration::from_millis(1500);

#[test]
fn a_lost_server_is_survived_for_a_while_and_then_fails_closed() {
    let mut server = Postgres::start(Options::default());
    let pace = Pace {
        interval: Duration::from_millis(20),
        staleness: STALENESS,
        ..Pace::default()
    };
    let settings = ConnectSettings {
        pace,
        databases: Some(vec!["postgres".to_owned()]),
        ..settings(&server)
    };
    let runtime = runtime();
    let store = CatalogStore::new(settings);
    let read = Instant::now();
    runtime.block_on(store.get("postgres")).expect("a snapshot");
    server.crash();
    let survived = runtime.block_on(store.get("postgres")).is_ok();
    assert!(
        survived || read.elapsed() >= STALENESS,
        "a snapshot that is not stale is served"
    );
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
