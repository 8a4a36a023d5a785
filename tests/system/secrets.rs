//! System relations tell nothing of masked values and hidden rows.
use std::collections::HashMap;
use std::sync::Arc;

use pgveil::catalog::Catalog;
use pgveil::policy::compiled::{RolePolicy, RowRule, RulePart};
use pgveil::policy::system;
use pgveil::sql::plan::{SessionFacts, Verdict};
use pgveil::sql::template::Templates;

use crate::support::catalog::read;

use crate::{agent, error, rows, start};

#[test]
fn statistics_of_masked_relations_and_their_indexes_are_null() {
    // To the owner the server shows statistics of indexes, too.
    let (server, pgveil) = start("ALTER TABLE crm.contacts OWNER TO agent");
    let sql = "SELECT tablename, attname, null_frac, avg_width, n_distinct, most_common_vals, histogram_bounds, correlation \
               FROM pg_stats WHERE schemaname = 'crm' AND tablename LIKE 'contacts%' ORDER BY 1, 2";
    // With masking off they hold the values themselves.
    let raw = format!("{:?}", server.sql("crm", sql));
    assert!(
        raw.contains("{13800") || raw.contains("13800015838"),
        "{raw}"
    );
    let mut client = agent(pgveil.port());
    let shown = rows(&client.query(sql));
    assert!(
        shown.iter().any(|row| row.starts_with("contacts_tail|")),
        "{shown:?}"
    );
    assert!(
        shown.iter().all(|row| row.ends_with("|-|-|-|-|-|-")),
        "{shown:?}"
    );
    for sql in [
        "SELECT n_distinct, dependencies, most_common_vals, most_common_freqs FROM pg_stats_ext WHERE tablename = 'contacts'",
        "SELECT x.n_distinct, x.dependencies, x.most_common_vals, x.most_common_freqs FROM (SELECT * FROM pg_stats_ext) x WHERE x.tablename = 'contacts'",
    ] {
        assert_eq!(rows(&client.query(sql)), ["-|-|-|-"]);
    }
    // Predicates see what is shown, too.
    let guess = "SELECT count(*) FROM pg_stats WHERE tablename LIKE 'contacts%' AND (most_common_vals::text LIKE '%138%' OR histogram_bounds::text LIKE '%138%')";
    assert_eq!(rows(&client.query(guess)), ["0"]);
}

#[test]
fn texts_of_other_sessions_are_hidden() {
    let (server, pgveil) = start("");
    let mut other = agent(server.port());
    other.query("SELECT 'secret 13912345678' AS said");
    let mut client = agent(pgveil.port());
    let sql = "SELECT pid = pg_backend_pid(), query FROM pg_stat_activity WHERE usename = 'agent' ORDER BY 1";
    assert!(format!("{:?}", server.sql("crm", sql)).contains("13912345678"));
    let shown = rows(&client.query(sql));
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(shown[0], "f|-");
    assert!(shown[1].starts_with("t|SELECT"), "{shown:?}");
    assert_eq!(
        rows(&client.query("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%139%' AND pid <> pg_backend_pid()")),
        ["0"]
    );
    client.query("PREPARE mine AS SELECT phone FROM crm.contacts");
    assert_eq!(
        rows(&client.query("SELECT name, statement FROM pg_prepared_statements")),
        ["mine|-"]
    );
    for sql in [
        "SELECT pg_stat_get_activity(NULL)",
        "SELECT pg_stat_get_backend_activity(1)",
        "SELECT * FROM pg_cursor()",
        "SELECT * FROM pg_prepared_statement()",
        "SELECT current_query()",
    ] {
        assert!(
            error(&client.query(sql)).is_some_and(|error| error.starts_with("42501")),
            "{sql}"
        );
    }
}

/// An index that counts phones, and a phone in `pg_attribute`.
pub const KEPT: &str = "CREATE INDEX contacts_mobile ON crm.contacts (id) WHERE phone LIKE '138%'; \
    ALTER TABLE crm.contacts DROP COLUMN hotline, ADD COLUMN hotline text DEFAULT '13800000000'; ANALYZE crm.contacts";

#[test]
fn values_and_counts_kept_in_the_catalogs_are_masked() {
    let (server, pgveil) = start(KEPT);
    let mut client = agent(pgveil.port());
    let sql = "SELECT attname, attmissingval FROM pg_attribute WHERE attrelid = 'crm.contacts'::regclass AND atthasmissing";
    assert!(format!("{:?}", server.sql("crm", sql)).contains("13800000000"));
    assert_eq!(rows(&client.query(sql)), ["hotline|-"]);
    // The number of rows in a partial index over a masked column counts values; the table's counts rows.
    let sql = "SELECT relname, reltuples FROM pg_class WHERE relname IN ('contacts', 'contacts_mobile') ORDER BY 1";
    assert_eq!(
        rows(&client.query(sql)),
        ["contacts|300", "contacts_mobile|-1"]
    );
    let mut direct = agent(server.port());
    assert_eq!(
        rows(&direct.query(sql)),
        ["contacts|300", "contacts_mobile|300"]
    );
}

#[test]
fn users_views_over_system_relations_hide_the_same() {
    let (server, pgveil) = start(
        "CREATE VIEW crm.activity AS SELECT pid, query, left(query, 300) AS start FROM pg_stat_activity WHERE usename = 'agent'; \
         CREATE VIEW crm.activity_again AS SELECT start AS again FROM crm.activity; \
         CREATE VIEW crm.activity_by_function AS SELECT query FROM pg_stat_get_activity(NULL); \
         CREATE MATERIALIZED VIEW crm.histograms AS SELECT tablename, attname, histogram_bounds::text AS bounds FROM pg_stats WHERE tablename = 'contacts'; \
         CREATE VIEW crm.raw_statistics AS SELECT starelid, stavalues1::text AS v FROM pg_statistic WHERE starelid = 'crm.contacts'::regclass; \
         CREATE VIEW crm.names AS SELECT relname FROM pg_class WHERE relname = 'contacts'; \
         GRANT SELECT ON ALL TABLES IN SCHEMA crm TO agent",
    );
    let mut other = agent(server.port());
    other.query("SELECT 'secret 13912345678' AS said");
    let (mut client, mut direct) = (agent(pgveil.port()), agent(server.port()));
    for view in [
        "activity",
        "activity_again",
        "activity_by_function",
        "histograms",
        "raw_statistics",
    ] {
        let sql = format!("SELECT v::text FROM crm.{view} v");
        let raw = rows(&direct.query(&sql)).join(" ");
        assert!(
            raw.contains("13912345678") || raw.contains("13800"),
            "{view}: {raw}"
        );
        let frames = client.query(&sql);
        let shown = rows(&frames).join(" ");
        assert!(
            !shown.contains("139123") && !shown.contains("13800"),
            "{view}: {shown}"
        );
        assert_eq!(error(&frames), None, "{view}");
    }
    assert_eq!(rows(&client.query("SELECT * FROM crm.names")), ["contacts"]);
}

#[test]
fn passwords_are_masked() {
    let (server, pgveil) = start("");
    let mut client = agent(pgveil.port());
    for sql in [
        "SELECT umoptions FROM pg_user_mappings",
        "SELECT option_value FROM information_schema.user_mapping_options",
    ] {
        let raw = format!("{:?}", server.sql("crm", sql));
        assert!(raw.contains("hidden-password"), "{sql}: {raw}");
        assert!(
            rows(&client.query(sql)).iter().all(|row| row == "-"),
            "{sql}"
        );
    }
    assert!(
        error(&client.query("SELECT rolpassword FROM pg_authid"))
            .is_some_and(|error| error.starts_with("42501 permission denied"))
    );
}

/// Runs a statement as a role that sees no row of `crm.orders` would, by the plan of that role.
fn planned(catalog: &Catalog, role: &RolePolicy, sql: &str) -> String {
    let facts = SessionFacts {
        search_path: "crm, public".into(),
        user: "agent".into(),
        ..SessionFacts::default()
    };
    let plan = pgveil::sql::planner::plan(sql, catalog, role, &facts, &Templates::new(16 << 20));
    plan.text
        .unwrap_or_else(|| panic!("{sql}: {:?}", plan.statements))
        .to_string()
}

#[test]
fn counters_of_relations_with_hidden_rows_are_null() {
    let (server, _pgveil) = start("");
    let catalog = read(&server, "crm");
    let orders = catalog.relation("crm", "orders").expect("orders").oid;
    let rule = RowRule {
        parts: vec![RulePart::Sql("false".into())],
    };
    let mut role = RolePolicy {
        rows: HashMap::from([(orders, Arc::new(rule))]),
        ..RolePolicy::default()
    };
    system::guard(&mut role, &catalog);
    let shown = |sql: &str| -> Vec<Vec<Option<String>>> {
        server.sql("crm", &planned(&catalog, &role, sql))
    };
    let tables = shown(
        "SELECT relname, n_live_tup, n_tup_ins, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname IN ('orders', 'contacts') ORDER BY 1",
    );
    assert!(tables[0][1..].iter().all(Option::is_some), "{tables:?}");
    assert!(tables[1][1..].iter().all(Option::is_none), "{tables:?}");
    // What is read in one table tells of hidden rows of another that it is joined to.
    let scans = shown(
        "SELECT seq_scan, seq_tup_read, idx_scan, idx_tup_fetch FROM pg_stat_user_tables WHERE relname IN ('orders', 'contacts')",
    );
    assert_eq!(scans, vec![vec![None; 4]; 2]);
    let sizes = shown(
        "SELECT relname, reltuples FROM pg_class WHERE relname IN ('orders', 'contacts', 'orders_pkey') ORDER BY 1",
    );
    let sizes: Vec<&str> = sizes.iter().filter_map(|row| row[1].as_deref()).collect();
    assert_eq!(sizes, ["300", "-1", "-1"]);
    let database = shown(
        "SELECT tup_returned, tup_fetched, xact_commit IS NULL FROM pg_stat_database WHERE datname = 'crm'",
    );
    assert_eq!(database[0][..2], [None, None]);
    assert_eq!(database[0][2].as_deref(), Some("f"));
    let blocks = shown(
        "SELECT relname, heap_blks_hit, idx_blks_read FROM pg_statio_user_tables WHERE relname IN ('orders', 'contacts') ORDER BY 1",
    );
    assert!(blocks[0][1..].iter().all(Option::is_none), "{blocks:?}");
    assert!(blocks[1][1..].iter().all(Option::is_none), "{blocks:?}");
    let all = shown("SELECT blks_hit, blks_read FROM pg_stat_database WHERE datname = 'crm'");
    assert_eq!(all, [[None, None]]);
    let indexes =
        shown("SELECT DISTINCT idx_tup_read FROM pg_stat_all_indexes WHERE relname = 'orders'");
    assert_eq!(indexes, [[None]]);
    let stats =
        shown("SELECT DISTINCT avg_width, n_distinct FROM pg_stats WHERE tablename = 'orders'");
    assert_eq!(stats, [[None, None]]);
    let stats = shown("SELECT count(avg_width) FROM pg_stats WHERE tablename = 'contacts'");
    assert_ne!(stats[0][0].as_deref(), Some("0"));
}

/// What a view does not show is not had from the function below it, nor from what counts blocks by other names.
#[test]
fn counters_of_blocks_plans_and_memory_tell_nothing_of_hidden_rows() {
    let (server, _pgveil) = start("");
    let catalog = read(&server, "crm");
    let orders = catalog.relation("crm", "orders").expect("orders").oid;
    let rule = RowRule {
        parts: vec![RulePart::Sql("false".into())],
    };
    let mut hiding = RolePolicy {
        rows: HashMap::from([(orders, Arc::new(rule))]),
        ..RolePolicy::default()
    };
    system::guard(&mut hiding, &catalog);
    let mut seeing = RolePolicy::default();
    system::guard(&mut seeing, &catalog);
    let plan = |role: &RolePolicy, sql: &str| {
        let facts = SessionFacts {
            search_path: "crm, public".into(),
            user: "agent".into(),
            ..SessionFacts::default()
        };
        let templates = Templates::new(16 << 20);
        pgveil::sql::planner::plan(sql, &catalog, role, &facts, &templates)
    };
    let refused = |role: &RolePolicy, sql: &str| {
        let statements = plan(role, sql).statements;
        statements
            .iter()
            .any(|found| matches!(found.verdict, Verdict::Refuse(_)))
    };
    let text = |role: &RolePolicy, sql: &str| {
        assert!(!refused(role, sql), "{sql}");
        plan(role, sql)
            .text
            .map_or(sql.to_owned(), |text| text.to_string())
    };
    // The columns that the server's version has, and whether their relation tells of a role that hides nothing.
    for (name, columns, always) in [
        (
            "pg_stat_bgwriter",
            &[
                "buffers_clean",
                "maxwritten_clean",
                "buffers_backend",
                "buffers_alloc",
            ][..],
            false,
        ),
        (
            "pg_stat_io",
            &[
                "reads",
                "writes",
                "writebacks",
                "hits",
                "evictions",
                "reuses",
            ],
            false,
        ),
        (
            "pg_stat_slru",
            &["blks_hit", "blks_read", "blks_exists"],
            false,
        ),
        (
            "pg_stat_database",
            &["parallel_workers_to_launch", "parallel_workers_launched"],
            false,
        ),
        (
            "pg_prepared_statements",
            &["statement", "generic_plans", "custom_plans"],
            true,
        ),
    ] {
        let Some(relation) = catalog.relation("pg_catalog", name) else {
            continue;
        };
        for column in columns
            .iter()
            .filter(|name| relation.column(name).is_some())
        {
            let sql = format!("SELECT count({column}) FROM pg_catalog.{name}");
            let (hidden, open) = (text(&hiding, &sql), text(&seeing, &sql));
            assert!(hidden.contains("NULL::"), "{name}.{column}: {hidden}");
            assert_eq!(open.contains("NULL::"), always, "{name}.{column}: {open}");
            let counted = server.sql("crm", &format!("PREPARE p AS SELECT 1; {hidden}"));
            let counted = counted.last().and_then(|row| row[0].clone());
            assert_eq!(counted.as_deref(), Some("0"), "{name}.{column}");
        }
    }
    for function in ["numscans", "lastscan"] {
        let name = format!("pg_stat_get_{function}");
        if !catalog.functions.contains_key(&name) {
            continue;
        }
        for sql in [
            format!("SELECT {name}('crm.orders_pkey'::regclass)"),
            format!("SELECT (c.oid).{name} FROM pg_catalog.pg_class c"),
        ] {
            assert!(refused(&hiding, &sql), "{sql}");
            assert!(!refused(&seeing, &sql), "{sql}");
        }
    }
    // What a plan has met, though it does not show.
    let explain = "EXPLAIN (ANALYZE, COSTS off) SELECT 1 FROM pg_locks";
    assert!(refused(&hiding, explain) && !refused(&seeing, explain));
    assert!(!refused(&hiding, "EXPLAIN SELECT 1 FROM pg_locks"));
    // Memory of a plan under way, and what it reads at the moment.
    for name in ["pg_backend_memory_contexts", "pg_aios"] {
        if let Some(relation) = catalog.relation("pg_catalog", name) {
            assert!(!system::readable(&hiding, relation), "{name}");
        }
    }
}

#[test]
fn a_role_without_the_masks_may_not_read_what_needs_them() {
    let (server, _pgveil) = start("");
    let catalog = read(&server, "crm");
    let bare = RolePolicy::default();
    for (name, readable) in [
        ("pg_class", true),
        ("pg_stat_activity", false),
        ("pg_user_mappings", false),
        ("pg_statistic", false),
        ("pg_largeobject", false),
        ("pg_locks", true),
    ] {
        let relation = catalog.relation("pg_catalog", name).expect(name);
        assert_eq!(system::readable(&bare, relation), readable, "{name}");
    }
}
