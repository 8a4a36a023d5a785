//! What applications send at their start and with each request, beside their queries: a restricted session is told what
//! PostgreSQL tells.
mod support;

use support::compare::{error, same, values};
use support::message::{Client, Frame, bind, execute, parse, sync};
use support::{Config, Options, Pgveil, Postgres};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } }, export: { rows: 100 } }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE other LOGIN; GRANT other TO agent; \
         GRANT CREATE ON SCHEMA public TO agent; GRANT CREATE ON DATABASE postgres TO agent; \
         CREATE TABLE people(id int PRIMARY KEY, phone text); INSERT INTO people VALUES (1, '13800138000'); \
         CREATE TABLE labels(id serial PRIMARY KEY, name text); INSERT INTO labels(name) VALUES ('a'), ('b'); \
         CREATE INDEX labels_name ON labels(name); ALTER TABLE labels OWNER TO agent; \
         CREATE VIEW names AS SELECT name FROM labels; \
         CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO agent; CREATE TABLE app.jobs(id int); \
         CREATE TABLE stage(id int, name text) PARTITION BY RANGE (id); \
         CREATE TABLE stage_1 PARTITION OF stage FOR VALUES FROM (0) TO (10); \
         CREATE TABLE calls(id int, person int REFERENCES people); CREATE TABLE kept(id int PRIMARY KEY); \
         CREATE TABLE keepers(id int REFERENCES kept); \
         ALTER TABLE stage OWNER TO agent; ALTER TABLE kept OWNER TO agent; GRANT ALL ON people, calls, app.jobs TO agent",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn login(port: u16) -> Client {
    Client::login(port, "agent", "", "postgres")
}

fn sqlstate(frames: &[Frame]) -> Option<String> {
    error(frames).map(|(sqlstate, _)| sqlstate)
}

#[test]
fn what_is_there_is_not_made_and_what_is_not_there_not_dropped() {
    let (server, pgveil) = start();
    let mut client = login(pgveil.port());
    same(
        &mut client,
        &mut login(server.port()),
        &[
            "CREATE TABLE IF NOT EXISTS labels (id serial, nope nosuchtype DEFAULT nosuchfunction())",
            "CREATE TABLE IF NOT EXISTS public.people (id int)",
            "CREATE TABLE IF NOT EXISTS names (id int)",
            "CREATE SEQUENCE IF NOT EXISTS labels_id_seq OWNED BY nothing.at_all",
            "CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA public CASCADE",
            "CREATE SCHEMA IF NOT EXISTS app",
            "CREATE INDEX IF NOT EXISTS labels_name ON labels (name)",
            "DROP VIEW IF EXISTS nowhere",
            "DROP TABLE IF EXISTS public.nowhere CASCADE",
            "DROP MATERIALIZED VIEW IF EXISTS nowhere",
            "DROP INDEX IF EXISTS app.nowhere",
            "SET search_path TO app, public",
            "CREATE TABLE IF NOT EXISTS jobs (id int)",
            "BEGIN; CREATE TABLE IF NOT EXISTS jobs (id int); SELECT 1; COMMIT",
            "DROP VIEW public.nowhere",
            "DROP SEQUENCE nowhere",
        ],
    );
    let prepared = [
        parse("", "CREATE TABLE IF NOT EXISTS jobs (id int)", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        sync(),
    ];
    assert_eq!(sqlstate(&client.exchange(&[prepared.to_vec()])), None);
    // Another schema comes first, and there is none there.
    for text in [
        "CREATE TABLE IF NOT EXISTS labels (id int)",
        "CREATE TABLE IF NOT EXISTS jobs AS SELECT 1",
        "CREATE EXTENSION IF NOT EXISTS dblink",
        "DROP TABLE IF EXISTS jobs",
        "DROP VIEW IF EXISTS jobs",
    ] {
        assert_eq!(
            sqlstate(&client.query(text)).as_deref(),
            Some("42501"),
            "{text}"
        );
    }
}

#[test]
fn what_has_gone_since_the_catalog_was_read_is_not_made() {
    let (server, pgveil) = start();
    let mut client = login(pgveil.port());
    client.query("SELECT id FROM labels");
    server.sql(
        "postgres",
        "DROP TABLE people CASCADE; DROP TABLE labels CASCADE; DROP EXTENSION plpgsql",
    );
    for text in [
        "CREATE TABLE IF NOT EXISTS people (id int, phone text)",
        "CREATE SEQUENCE IF NOT EXISTS labels_id_seq",
        "CREATE EXTENSION IF NOT EXISTS plpgsql",
    ] {
        assert!(error(&client.query(text)).is_some(), "{text}");
    }
    let made = server.sql(
        "postgres",
        "SELECT count(*)::text FROM pg_class WHERE relname IN ('people', 'labels_id_seq')",
    );
    assert_eq!(made, [[Some("0".to_owned())]]);
    // What has come since is not dropped.
    server.sql(
        "postgres",
        "CREATE TABLE young(id int); ALTER TABLE young OWNER TO agent",
    );
    client.query("DROP TABLE IF EXISTS public.young");
    server.sql("postgres", "SELECT id FROM young");
}

/// As PostGraphile sends it with each request.
#[test]
fn settings_that_parameters_name_are_held_to_the_rule_of_those_in_a_text() {
    let (server, pgveil) = start();
    let mut client = login(pgveil.port());
    let mut direct = login(server.port());
    const TEXT: &str = "SELECT set_config($1, $2, true), set_config($3, $4, true)";
    let run = |client: &mut Client, values: [&str; 4]| {
        let values = values.map(Some);
        let messages = vec![
            parse("", TEXT, &[]),
            bind("", "", &values, 0),
            execute("", 0),
            sync(),
        ];
        client.exchange(&[messages])
    };
    for given in [
        ["app.user", "alice", "role", "agent"],
        ["role", "none", "statement_timeout", "5s"],
        ["client_min_messages", "warning", "jwt.claims.user_id", "7"],
    ] {
        let (ours, theirs) = (run(&mut client, given), run(&mut direct, given));
        assert_eq!(sqlstate(&ours), None, "{given:?}");
        assert_eq!(values(&ours), values(&theirs), "{given:?}");
    }
    for given in [
        ["app.user", "alice", "role", "other"],
        ["ROLE", "other", "app.user", "x"],
        ["app.user", "x", "session_authorization", "other"],
        ["Standard_conforming_strings", "off", "app.user", "x"],
        ["client_min_messages", "debug5", "app.user", "x"],
        ["session_replication_role", "replica", "app.user", "x"],
        ["app.us\u{e9}r", "x", "app.user", "x"],
    ] {
        let frames = run(&mut client, given);
        assert_eq!(sqlstate(&frames).as_deref(), Some("42501"), "{given:?}");
        let told = format!("{:?}", error(&frames));
        assert!(
            !told.contains("other") && !told.contains("debug5"),
            "{told}"
        );
    }
    // As PostgREST does.
    for (value, expected) in [("agent", None), ("other", Some("42501"))] {
        let messages = vec![
            parse("", "SELECT set_config('role', $1, true)", &[25]),
            bind("", "", &[Some(value)], 0),
            execute("", 0),
            sync(),
        ];
        let frames = client.exchange(&[messages]);
        assert_eq!(sqlstate(&frames).as_deref(), expected, "{value}");
    }
    // One that planning goes by is noticed.
    let frames = run(&mut client, ["search_path", "app", "app.user", "x"]);
    assert_eq!(sqlstate(&frames), None);
    client.query("BEGIN");
    run(&mut client, ["search_path", "app", "app.user", "x"]);
    assert_eq!(sqlstate(&client.query("SELECT id FROM jobs")), None);
    client.query("ROLLBACK");
    assert_eq!(
        sqlstate(&client.query("SELECT id FROM jobs")).as_deref(),
        Some("42P01")
    );
    // Bound by a text, its name would not be read.
    let prepare = vec![parse("s", TEXT, &[]), sync()];
    assert_eq!(sqlstate(&client.exchange(&[prepare])), None);
    let by_text = "EXECUTE s('role', 'other', 'app.user', 'x')";
    assert_eq!(sqlstate(&client.query(by_text)).as_deref(), Some("42501"));
    assert_eq!(values(&client.query("SELECT current_user")), ["agent"]);
    // The role that it has is no other one.
    for text in [
        "SET ROLE agent",
        "SELECT set_config('role', 'agent', false)",
    ] {
        assert_eq!(sqlstate(&client.query(text)), None, "{text}");
    }
    let other = "SET ROLE other";
    assert_eq!(sqlstate(&client.query(other)).as_deref(), Some("42501"));
}

#[test]
fn tables_with_nothing_of_interest_are_emptied_and_analyzed() {
    let (server, pgveil) = start();
    let mut client = login(pgveil.port());
    same(
        &mut client,
        &mut login(server.port()),
        &[
            "TRUNCATE stage",
            "INSERT INTO stage VALUES (1, 'x')",
            "ANALYZE stage",
            "TRUNCATE ONLY stage_1, labels",
            "SELECT count(*) FROM stage",
            "BEGIN; TRUNCATE stage; ROLLBACK",
            "ANALYZE labels (name), stage",
            "TRUNCATE kept",
        ],
    );
    for text in [
        "TRUNCATE people",
        "TRUNCATE stage, people",
        "TRUNCATE stage CASCADE",
        "TRUNCATE stage RESTART IDENTITY",
        "ANALYZE people",
        "ANALYZE VERBOSE stage",
        "ANALYZE",
    ] {
        assert_eq!(
            sqlstate(&client.query(text)).as_deref(),
            Some("42501"),
            "{text}"
        );
    }
}
