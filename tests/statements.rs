//! Statements around queries: cursors, prepared statements, savepoints, settings, notifications, EXPLAIN. Over unprotected
//! data a restricted session is told what PostgreSQL tells; over protected data it gets masks and is counted.
mod support;

use support::compare::{error, same, shows, told, values};
use support::message::{
    Client, Frame, bind, close, describe, execute, flush, parse, query, sync, tags,
};
use support::{Config, Options, Pgveil, Postgres};

const PHONE: &str = "13800138000";
const MASKED: &str = "138****8000";

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } }, export: { rows: 100 } }
  planner:
    who: [{ db_user: planner }]
    mask: { phone: { show: { first: 3, last: 4 } } }
    statements: { allow: [explain, notify_payload] }
  loud: { who: [{ db_user: loud }], mask: { phone: redact } }
  loose: { who: [{ db_user: loose }], mask: { phone: redact } }
  bare: { who: [{ db_user: bare }], unmasked: true }
  hidden: { who: [{ db_user: hidden }], rows: { public.people: 'id < 400' } }
  strict: { who: [{ db_user: strict }], mask: { phone: redact } }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE ROLE agent LOGIN; CREATE ROLE planner LOGIN; CREATE ROLE bare LOGIN SUPERUSER; \
             CREATE ROLE loud LOGIN; ALTER ROLE loud SET client_min_messages = debug5; \
             CREATE ROLE hidden LOGIN; ALTER ROLE hidden SET default_transaction_isolation = serializable; \
             CREATE ROLE strict LOGIN; ALTER ROLE strict SET default_transaction_isolation = serializable; \
             CREATE ROLE loose LOGIN; ALTER ROLE loose SET standard_conforming_strings = off; \
             CREATE TABLE people(id int PRIMARY KEY, phone text); \
             INSERT INTO people SELECT g, '{PHONE}' FROM generate_series(1, 500) g; \
             CREATE TABLE plain(id int PRIMARY KEY, t text); INSERT INTO plain SELECT g, 'x' || g FROM generate_series(1, 500) g; \
             CREATE SCHEMA other; CREATE TABLE other.plain(id int, t text); INSERT INTO other.plain VALUES (1, 'other'); \
             CREATE FUNCTION other.pg_my_temp_schema() RETURNS text LANGUAGE sql AS 'SELECT phone FROM public.people LIMIT 1'; \
             CREATE DOMAIN other.pg_postmaster_start_time AS int; \
             GRANT USAGE ON SCHEMA other TO agent; GRANT ALL ON people, plain, other.plain TO agent, planner"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn login(port: u16, user: &str) -> Client {
    Client::login(port, user, "", "postgres")
}

fn rows(frames: &[Frame]) -> usize {
    let rows = frames
        .iter()
        .filter(|frame| matches!(frame.tag, b'D' | b'd'));
    rows.count()
}

fn sqlstate(frames: &[Frame]) -> Option<String> {
    error(frames).map(|(sqlstate, _)| sqlstate)
}

#[test]
fn sessions_over_unprotected_data_are_told_what_postgresql_tells() {
    let (server, pgveil) = start();
    same(
        &mut login(pgveil.port(), "agent"),
        &mut login(server.port(), "agent"),
        &[
            // Cursors
            "DECLARE c CURSOR FOR SELECT 1",
            "BEGIN",
            "DECLARE c SCROLL CURSOR FOR SELECT id, t FROM plain ORDER BY id",
            "FETCH c",
            "FETCH NEXT FROM c",
            "FETCH PRIOR FROM c",
            "FETCH FIRST FROM c",
            "FETCH LAST IN c",
            "FETCH ABSOLUTE 5 FROM c",
            "FETCH ABSOLUTE -2 FROM c",
            "FETCH RELATIVE -3 FROM c",
            "FETCH 3 FROM c",
            "FETCH BACKWARD 2 FROM c",
            "FETCH FORWARD ALL FROM c",
            "FETCH BACKWARD ALL FROM c",
            "FETCH 0 FROM c",
            "MOVE 7 FROM c",
            "MOVE BACKWARD ALL IN c",
            "FETCH 2 FROM c",
            "CLOSE c",
            "FETCH c",
            "ROLLBACK",
            "BEGIN; DECLARE n NO SCROLL CURSOR FOR SELECT id FROM plain ORDER BY id; FETCH 2 FROM n",
            "FETCH PRIOR FROM n",
            "ROLLBACK",
            "BEGIN; DECLARE b BINARY CURSOR FOR SELECT id FROM plain ORDER BY id; FETCH 2 FROM b; COMMIT",
            "BEGIN; DECLARE h CURSOR WITH HOLD FOR SELECT id FROM plain ORDER BY id; COMMIT",
            "FETCH 3 FROM h",
            "DECLARE \"H 2\" INSENSITIVE CURSOR WITH HOLD FOR SELECT id FROM plain ORDER BY id",
            "FETCH 3 FROM \"H 2\"",
            "CLOSE ALL",
            "FETCH 3 FROM h",
            // Prepared statements
            "PREPARE p (int) AS SELECT t FROM plain WHERE id = $1",
            "EXECUTE p(3)",
            "EXECUTE nope",
            "PREPARE p AS SELECT 1",
            "PREPARE w (int, text) AS UPDATE plain SET t = $2 WHERE id = $1 RETURNING t",
            "EXECUTE w(3, 'x3')",
            "DEALLOCATE p",
            "EXECUTE p(3)",
            "DEALLOCATE PREPARE ALL",
            "EXECUTE w(3, 'x3')",
            // Transactions
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            "SHOW transaction_isolation",
            "UPDATE plain SET t = 'y' WHERE id = 1",
            "SELECT 1",
            "END",
            "START TRANSACTION; SAVEPOINT a; SELECT 1/0",
            "ROLLBACK TO SAVEPOINT a",
            "RELEASE a",
            "SAVEPOINT b; INSERT INTO plain VALUES (9999, 'z')",
            "ROLLBACK WORK TO b; COMMIT AND CHAIN",
            "SELECT count(*) FROM plain",
            "ROLLBACK AND NO CHAIN",
            "COMMIT",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
            // DISCARD, LOCK
            "PREPARE d AS SELECT 1; DISCARD PLANS",
            "EXECUTE d",
            "DISCARD SEQUENCES",
            "DISCARD TEMP",
            "LOCK TABLE plain",
            "BEGIN; LOCK TABLE plain, other.plain IN ACCESS SHARE MODE NOWAIT; LOCK plain; COMMIT",
            "BEGIN; DISCARD ALL",
            "ROLLBACK",
            "DISCARD ALL",
            "EXECUTE d",
            // COPY
            "COPY plain (id) TO STDOUT WITH (FORMAT csv, HEADER)",
            "COPY (SELECT id FROM plain ORDER BY id LIMIT 2) TO STDOUT",
            "EXPLAIN (COSTS OFF) SELECT * FROM plain WHERE id = 1",
            "SHOW search_path",
            "LISTEN a; NOTIFY a; UNLISTEN a; UNLISTEN *",
        ],
    );
}

#[test]
fn settings_follow_the_session_as_in_postgresql() {
    let (server, pgveil) = start();
    same(
        &mut login(pgveil.port(), "agent"),
        &mut login(server.port(), "agent"),
        &[
            "SET search_path TO other, public",
            "SELECT t FROM plain LIMIT 1",
            "SET LOCAL search_path TO public",
            "SELECT count(*) FROM plain",
            "BEGIN; SET LOCAL search_path TO public",
            "SELECT count(*) FROM plain",
            "SAVEPOINT s; SET search_path TO other",
            "SELECT count(*) FROM plain",
            "ROLLBACK TO s",
            "SELECT count(*) FROM plain",
            "COMMIT",
            "SELECT count(*) FROM plain",
            "BEGIN; SET search_path = 'public'",
            "SELECT count(*) FROM plain",
            "ROLLBACK",
            "SELECT count(*) FROM plain",
            "SELECT set_config('search_path', 'public', true), set_config('search_path', 'public', false)",
            "SELECT count(*) FROM plain",
            "RESET search_path",
            "SELECT count(*) FROM plain",
            "SET SCHEMA 'other'",
            "SELECT count(*) FROM plain",
            "SET search_path TO DEFAULT",
            "SELECT count(*) FROM plain",
            "SET search_path TO other; RESET ALL",
            "SELECT count(*) FROM plain",
            "SET search_path TO nowhere",
            "SELECT count(*) FROM plain",
            "DISCARD ALL",
            "SELECT count(*) FROM plain",
            "SET search_path FROM CURRENT",
            "SET search_path TO ''",
            "SELECT count(*) FROM plain",
            "SET search_path TO \"$user\", public",
            "SELECT count(*) FROM plain",
            "SET statement_timeout = '10s'; SHOW statement_timeout; RESET statement_timeout",
            "SET TIME ZONE 'Europe/Berlin'; SHOW timezone; SET TIME ZONE DEFAULT",
            "SET my.var = 'x'; SHOW my.var; SELECT current_setting('my.var')",
            "SET standard_conforming_strings TO on; SET standard_conforming_strings = 'TRUE'",
            "SET client_min_messages TO warning; DROP TABLE IF EXISTS nowhere; RESET client_min_messages",
            "SET row_security = off; RESET row_security",
            "SET ROLE NONE; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE",
            "SET bytea_output = 'escape'; SET extra_float_digits = 0; SET intervalstyle = 'iso_8601'; SHOW intervalstyle",
            "SET nope = 1",
            "SHOW nope",
            "SET search_path = other; SELECT count(*) FROM plain; SET search_path = public; SELECT count(*) FROM plain",
            // As the pools of Npgsql and asyncpg take a session back.
            "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP",
            "SELECT count(*) FROM plain",
            "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
            "SELECT count(*) FROM plain",
            "BEGIN; SET LOCAL search_path = other; SELECT count(*) FROM plain; COMMIT",
            "SELECT count(*) FROM plain",
        ],
    );
}

#[test]
fn behind_reset_all_names_run_that_mean_the_same_on_every_path() {
    let (server, pgveil) = start();
    let mut client = login(pgveil.port(), "agent");
    same(
        &mut client,
        &mut login(server.port(), "agent"),
        &["RESET ALL; SELECT 7, 'x', current_user, abs(7), quote_literal('x')"],
    );
    for text in [
        "SELECT pg_my_temp_schema()",
        "SELECT abs(pg_my_temp_schema())",
        "SELECT pg_postmaster_start_time()",
        "SELECT 1 + 1",
        "SELECT 1::int",
        "SELECT count(*) FROM plain",
        "SELECT abs((SELECT count(*) FROM plain))",
    ] {
        let frames = client.query(&format!("RESET ALL; {text}"));
        assert_eq!(sqlstate(&frames).as_deref(), Some("42501"), "{text}");
    }
}

#[test]
fn settings_that_would_show_or_change_what_was_judged_are_refused_in_every_form() {
    let (_server, pgveil) = start();
    let mut client = login(pgveil.port(), "agent");
    for (name, value) in [
        ("standard_conforming_strings", "off"),
        ("client_min_messages", "debug5"),
        ("client_min_messages", "log"),
        ("client_min_messages", "info"),
        ("debug_print_plan", "on"),
        ("debug_print_parse", "on"),
        ("log_statement_stats", "on"),
        ("track_functions", "all"),
        ("trace_sort", "on"),
        ("auto_explain.log_min_duration", "0"),
        ("plpgsql.print_strict_params", "on"),
        ("session_replication_role", "replica"),
        ("role", "bare"),
        ("session_authorization", "bare"),
        ("local_preload_libraries", "x"),
    ] {
        for text in [
            format!("SET {name} TO '{value}'"),
            format!("SET LOCAL {name} = '{value}'"),
            format!("SET SESSION \"{name}\" TO '{value}'"),
            format!("SELECT set_config('{name}', '{value}', false)"),
            format!(
                "SELECT set_config('{}', '{value}', true)",
                name.to_uppercase()
            ),
            format!("SELECT set_config('{name}', t, false) FROM plain"),
            format!("UPDATE pg_settings SET setting = '{value}' WHERE name = '{name}'"),
            format!("ALTER USER agent SET {name} TO '{value}'"),
            format!("ALTER DATABASE postgres SET {name} TO '{value}'"),
            format!("ALTER SYSTEM SET {name} TO '{value}'"),
            format!(
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET {name} = '{value}' AS 'SELECT 1'"
            ),
        ] {
            let frames = client.query(&text);
            assert_eq!(
                sqlstate(&frames).as_deref(),
                Some("42501"),
                "{text}: {frames:?}"
            );
            assert!(
                frames[0]
                    .field(b'M')
                    .is_some_and(|message| message.starts_with("pgveil: ")),
                "{text}: {frames:?}"
            );
        }
        let pgoptions = [
            format!("-c {name}={value}"),
            format!("--{}={value}", name.replace('_', "-")),
        ];
        for (parameter, value) in pgoptions
            .iter()
            .map(|options| ("options", options.as_str()))
            .chain([(name, value)])
        {
            let parameters = [
                ("user", "agent"),
                ("database", "postgres"),
                (parameter, value),
            ];
            let refused = Client::try_login(pgveil.port(), "agent", "", &parameters);
            let sqlstate = refused.err().and_then(|frame| frame.field(b'C'));
            assert_eq!(sqlstate.as_deref(), Some("42501"), "{parameters:?}");
        }
    }
    for text in [
        "SET ROLE bare",
        "SET SESSION AUTHORIZATION bare",
        "SET LOCAL ROLE 'bare'",
        "SELECT set_config(t, 'x', false) FROM plain",
    ] {
        assert_eq!(
            sqlstate(&client.query(text)).as_deref(),
            Some("42501"),
            "{text}"
        );
    }
}

#[test]
fn settings_preset_for_a_role_are_noticed_at_login() {
    let (_server, pgveil) = start();
    for (user, setting) in [
        ("loud", "client_min_messages"),
        ("loose", "standard_conforming_strings"),
        ("hidden", "default_transaction_isolation"),
    ] {
        let parameters = [("user", user), ("database", "postgres")];
        let refused = Client::try_login(pgveil.port(), user, "", &parameters);
        let refused = refused.err().expect("no login");
        assert_eq!(refused.field(b'C').as_deref(), Some("42501"), "{refused:?}");
        assert!(
            refused
                .field(b'M')
                .is_some_and(|message| message.contains(setting)),
            "{refused:?}"
        );
    }
    // Where no rows are hidden, none are told of.
    let frames = login(pgveil.port(), "strict").query("SHOW transaction_isolation");
    assert_eq!(values(&frames), ["serializable"]);
}

#[test]
fn a_cursor_is_masked_and_counted_in_every_direction() {
    let (_server, pgveil) = start();
    for declare in [
        "DECLARE k SCROLL CURSOR FOR SELECT phone, id FROM people ORDER BY id",
        "DECLARE k SCROLL CURSOR WITH HOLD FOR SELECT phone, id FROM people ORDER BY id",
        "DECLARE k BINARY SCROLL CURSOR FOR SELECT phone, id FROM people ORDER BY id",
    ] {
        let mut client = login(pgveil.port(), "agent");
        client.query("BEGIN");
        client.query(declare);
        if declare.contains("HOLD") {
            client.query("COMMIT");
        }
        let mut seen = 0;
        for fetch in [
            "FETCH 30 FROM k",
            "FETCH BACKWARD 10 FROM k",
            "FETCH FIRST FROM k",
            "FETCH LAST FROM k",
            "FETCH ABSOLUTE 7 FROM k",
            "MOVE 20 IN k",
            "FETCH RELATIVE 3 FROM k",
            "FETCH FORWARD 40 FROM k",
        ] {
            let frames = client.query(fetch);
            assert_eq!(error(&frames), None, "{fetch}");
            assert!(
                !shows(&frames, PHONE) && (rows(&frames) == 0 || shows(&frames, MASKED)),
                "{fetch}: {frames:?}"
            );
            seen += rows(&frames);
        }
        let frames = client.query("FETCH 100 FROM k");
        // MOVE counts as a row.
        assert_eq!(seen + 1 + rows(&frames), 100, "{declare}");
        assert_eq!(sqlstate(&frames).as_deref(), Some("42501"));
        if declare.contains("HOLD") {
            let again = client.query("FETCH 1 FROM k");
            assert_eq!(
                (rows(&again), sqlstate(&again).as_deref()),
                (0, Some("42501"))
            );
        }
    }
    // Through a portal of the protocol, with a limit of rows, in one transaction and described by nobody.
    let mut client = login(pgveil.port(), "agent");
    client.send_all(&[
        parse("s", "SELECT phone FROM people", &[]),
        bind("p", "s", &[], 1),
        execute("p", 60),
        flush(),
        execute("p", 30),
        execute("p", 30),
        sync(),
    ]);
    let frames = client.read_until_ready();
    assert_eq!(rows(&frames), 100, "{}", tags(&frames));
    assert!(!shows(&frames, PHONE) && shows(&frames, MASKED));
    assert_eq!(tags(&frames).replace('D', ""), "12ssEZ");
    // PREPARE and EXECUTE.
    let mut client = login(pgveil.port(), "agent");
    client.query("PREPARE q (int) AS SELECT phone FROM people WHERE id <= $1");
    assert_eq!(values(&client.query("EXECUTE q(1)")), [MASKED]);
    let frames = client.query("EXECUTE q(101)");
    assert_eq!(
        (rows(&frames), sqlstate(&frames).as_deref()),
        (100, Some("42501"))
    );
    client.send_all(&[
        parse("", "EXECUTE q(2)", &[]),
        bind("", "", &[], 0),
        describe(b'P', ""),
        execute("", 0),
        close(b'S', ""),
        sync(),
    ]);
    let frames = client.read_until_ready();
    assert_eq!(tags(&frames), "12TDDC3Z");
    assert!(!shows(&frames, PHONE));
}

#[test]
fn rows_that_nobody_asked_a_description_of_are_described_to_pgveil() {
    let (_server, pgveil) = start();
    let mut client = login(pgveil.port(), "agent");
    let run = |name: &str| [bind("", name, &[], 0), execute("", 0), sync()].concat();
    client.send_raw(
        &[
            parse("s", "SELECT phone FROM people WHERE id = 1", &[]),
            run("s"),
        ]
        .concat(),
    );
    let frames = client.read_until_ready();
    assert_eq!(tags(&frames), "12DCZ");
    assert_eq!(values(&frames), [MASKED]);
    // Known from then on; a statement without rows, and one that fails.
    client.send_raw(&run("s"));
    assert_eq!(tags(&client.read_until_ready()), "2DCZ");
    client.send_raw(
        &[
            parse("i", "INSERT INTO people VALUES (1000, 'new')", &[]),
            run("i"),
            run("i"),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.read_until_ready()), "12CZ");
    assert_eq!(tags(&client.read_until_ready()), "2EZ");
    client.send_all(&[execute("nowhere", 0), sync()]);
    let frames = client.read_until_ready();
    assert_eq!(sqlstate(&frames).as_deref(), Some("34000"));
    client.send_raw(
        &[
            parse("e", "SELECT phone, id / 0 FROM people", &[]),
            run("e"),
        ]
        .concat(),
    );
    assert_eq!(tags(&client.read_until_ready()), "12EZ");
    client.send_raw(&[parse("c", "COPY people TO STDOUT", &[]), run("c")].concat());
    let frames = client.read_until_ready();
    assert!(
        tags(&frames).starts_with("12Hdd") && !shows(&frames, PHONE),
        "{}",
        tags(&frames)
    );
}

#[test]
fn two_phase_commit_and_what_lies_beyond_sessions_is_refused() {
    let (_server, pgveil) = start();
    let mut client = login(pgveil.port(), "agent");
    for text in [
        "PREPARE TRANSACTION 'x'",
        "COMMIT PREPARED 'x'",
        "ROLLBACK PREPARED 'x'",
        "CHECKPOINT",
        "DO 'BEGIN END'",
    ] {
        assert_eq!(
            sqlstate(&client.query(text)).as_deref(),
            Some("42501"),
            "{text}"
        );
    }
    let frames = client.query("BEGIN; PREPARE TRANSACTION 'x'");
    assert_eq!(frames.last().map(|frame| frame.body[0]), Some(b'E'));
    client.query("ROLLBACK");
}

#[test]
fn explain_over_protected_data_shows_plans_and_no_values() {
    let (_server, pgveil) = start();
    let mut agent = login(pgveil.port(), "agent");
    assert_eq!(
        sqlstate(&agent.query("EXPLAIN SELECT phone FROM people")).as_deref(),
        Some("42501")
    );
    let mut planner = login(pgveil.port(), "planner");
    for text in [
        "EXPLAIN SELECT phone FROM people",
        "EXPLAIN (VERBOSE, FORMAT json) SELECT phone FROM people WHERE phone LIKE '138%'",
        "EXPLAIN (ANALYZE, VERBOSE, BUFFERS, TIMING off) SELECT p.phone, count(*) FROM people p JOIN plain USING (id) GROUP BY 1 ORDER BY 1",
        "EXPLAIN (ANALYZE, VERBOSE) SELECT DISTINCT ON (phone) phone FROM people ORDER BY phone, id",
        "EXPLAIN ANALYZE SELECT * FROM people WHERE phone = (SELECT max(phone) FROM people)",
        "EXPLAIN (ANALYZE, SETTINGS) WITH m AS MATERIALIZED (SELECT min(phone) AS p FROM people) SELECT * FROM m, people WHERE phone > p",
        "PREPARE x AS SELECT phone FROM people; EXPLAIN ANALYZE EXECUTE x",
    ] {
        let frames = planner.query(text);
        assert!(!shows(&frames, PHONE), "{text}: {frames:?}");
        if !text.contains("EXECUTE") {
            assert_eq!(error(&frames), None, "{text}");
        }
    }
}

/// As drivers ask for it to describe a statement.
#[test]
fn the_plan_of_a_prepared_statement_is_shown_where_that_of_the_statement_is() {
    let (_server, pgveil) = start();
    let mut agent = login(pgveil.port(), "agent");
    for text in [
        "PREPARE plain AS SELECT id FROM plain WHERE id = $1",
        "PREPARE people AS SELECT id FROM people WHERE id = $1",
    ] {
        assert_eq!(error(&agent.query(text)), None, "{text}");
    }
    let of = |client: &mut Client, name: &str| {
        sqlstate(&client.query(&format!(
            "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {name}(NULL)"
        )))
    };
    assert_eq!(of(&mut agent, "plain"), None);
    assert_eq!(of(&mut agent, "people").as_deref(), Some("42501"));
    assert_eq!(of(&mut agent, "nobody").as_deref(), Some("26000"));
    let refused = [
        "EXPLAIN ANALYZE EXECUTE plain(1)",
        "PREPARE pair AS SELECT phone FROM people; EXPLAIN EXECUTE pair",
        "DEALLOCATE plain; PREPARE plain AS SELECT phone FROM people; EXPLAIN EXECUTE plain",
    ];
    for text in refused {
        assert_eq!(
            sqlstate(&agent.query(text)).as_deref(),
            Some("42501"),
            "{text}"
        );
    }
    // Prepared in the same breath under a name that is taken: what is explained is the old one.
    agent.query("DEALLOCATE ALL");
    agent.query("PREPARE x AS SELECT phone FROM people");
    let mut both = parse("x", "SELECT 1", &[]);
    both.extend(sync());
    both.extend(query("EXPLAIN EXECUTE x"));
    agent.send_raw(&both);
    let mut frames = agent.read_until_ready();
    frames.extend(agent.read_until_ready());
    assert!(!frames.iter().any(|frame| frame.tag == b'D'), "{frames:?}");
    let mut planner = login(pgveil.port(), "planner");
    planner.query("PREPARE x AS SELECT phone FROM people");
    assert_eq!(sqlstate(&planner.query("EXPLAIN EXECUTE x")), None);
}

/// The row of a protected table is described as the table's row type, as without pgveil.
#[test]
fn a_whole_row_is_described_as_its_tables_row_type() {
    let (server, pgveil) = start();
    let mut through = login(pgveil.port(), "agent");
    let mut direct = login(server.port(), "agent");
    for text in [
        "SELECT p FROM people p",
        "SELECT people FROM people",
        "SELECT p.id, p, p.phone AS x FROM people p ORDER BY 1",
        "SELECT s.x FROM (SELECT p FROM people p) s(x)",
        "WITH w AS (SELECT p AS r FROM people p) SELECT r FROM w",
        "SELECT p, q FROM people p JOIN plain q USING (id)",
        "SELECT count(*), p FROM people p GROUP BY p",
    ] {
        let described = |client: &mut Client| {
            client.send_all(&[parse("", text, &[]), describe(b'S', ""), sync()]);
            let frames = client.read_until_ready();
            let description = frames.into_iter().find(|frame| frame.tag == b'T');
            description.map(|frame| frame.body)
        };
        let expected = described(&mut direct);
        assert!(expected.is_some(), "{text}");
        assert_eq!(described(&mut through), expected, "{text}");
    }
}

#[test]
fn a_notification_says_that_and_not_what() {
    let (server, pgveil) = start();
    server.sql(
        "postgres",
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM pg_notify('changed', NEW::text); RETURN NEW; END $$; \
         CREATE TRIGGER tell AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION tell(); \
         ALTER TABLE people ADD COLUMN region text",
    );
    let mut agent = login(pgveil.port(), "agent");
    let mut planner = login(pgveil.port(), "planner");
    agent.query("LISTEN changed");
    planner.query("LISTEN changed");
    // From another session, and from its own.
    server.sql("postgres", "UPDATE people SET region = 'n' WHERE id = 1");
    let mut frames = agent.query("SELECT 1");
    frames.extend(agent.query("UPDATE people SET region = 's' WHERE id = 2"));
    frames.extend(agent.query("NOTIFY changed, 'own words'"));
    let told: Vec<&Frame> = frames.iter().filter(|frame| frame.tag == b'A').collect();
    assert_eq!(told.len(), 3, "{frames:?}");
    for notification in told {
        assert_eq!(&notification.body[4..], b"changed\0\0");
    }
    assert!(!shows(&frames, PHONE));
    // The poison control: a role whose policy allows it reads the payload.
    assert!(shows(&planner.query("SELECT 1"), PHONE));
}

#[test]
fn errors_within_functions_quote_no_stored_value() {
    let (server, pgveil) = start();
    server.sql(
        "postgres",
        "CREATE TABLE log(id int, t text); GRANT ALL ON log TO agent; \
         CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE v text; BEGIN \
         SELECT phone INTO v FROM people WHERE id = 1; \
         CASE NEW.id WHEN 1 THEN EXECUTE 'SELECT x' || v; \
         WHEN 2 THEN EXECUTE 'SELECT \"' || v || '\"'; WHEN 3 THEN EXECUTE 'SELECT 1 FROM \"' || v || '\"'; \
         WHEN 4 THEN RAISE EXCEPTION 'it is %', v; WHEN 5 THEN RAISE undefined_table USING MESSAGE = v, HINT = v; \
         WHEN 6 THEN RAISE NOTICE 'it is %', v; WHEN 7 THEN PERFORM v::date; WHEN 8 THEN PERFORM ('{' || v)::json; \
         WHEN 9 THEN ASSERT false, v; WHEN 10 THEN EXECUTE 'SELECT ' || v || '.' || v || '.' || v; \
         WHEN 11 THEN RAISE WARNING '%', v; WHEN 12 THEN RAISE unique_violation USING MESSAGE = v, CONSTRAINT = 'c'; \
         WHEN 13 THEN EXECUTE format('CREATE TEMP TABLE %I()', v); EXECUTE format('CREATE TEMP TABLE IF NOT EXISTS %I()', v); \
         WHEN 14 THEN EXECUTE format('DROP TABLE IF EXISTS %I', v); WHEN 15 THEN PERFORM v::int; \
         WHEN 16 THEN EXECUTE format('SELECT %I()', v); WHEN 17 THEN EXECUTE format('SET %I = 1', v); \
         WHEN 18 THEN EXECUTE format('LOCK TABLE %I', v); WHEN 19 THEN RAISE SQLSTATE '40001' USING MESSAGE = v; \
         WHEN 20 THEN PERFORM set_config('my.' || v, v, false); WHEN 21 THEN PERFORM set_config('application_name', v, false); END CASE; \
         RETURN NEW; END $$; CREATE TRIGGER bad BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION bad()",
    );
    let mut client = login(pgveil.port(), "agent");
    for id in 1..=20 {
        let frames = client.query(&format!("INSERT INTO log VALUES ({id})"));
        assert!(!shows(&frames, "13800138"), "{id}: {frames:?}");
        let mut direct = login(server.port(), "agent");
        // The poison control: PostgreSQL says it, but for what carries no message.
        let frames = direct.query(&format!("INSERT INTO log VALUES ({id})"));
        assert!(shows(&frames, "13800138") || id == 20, "{id}: {frames:?}");
    }
}

#[test]
fn errors_that_name_objects_keep_postgresqls_words() {
    let (server, pgveil) = start();
    server.sql(
        "postgres",
        "CREATE TABLE child(id int GENERATED ALWAYS AS IDENTITY, p int REFERENCES plain); \
         CREATE TABLE checked(p int CONSTRAINT positive CHECK (p > 0)); \
         CREATE DOMAIN amount AS int CHECK (VALUE > 0); CREATE DOMAIN other.\"Some one\" AS text NOT NULL; \
         CREATE TABLE parts(id int NOT NULL, a amount, UNIQUE (id)) PARTITION BY RANGE (id); \
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id); \
         CREATE TABLE parts_2 PARTITION OF parts_1 FOR VALUES FROM (0) TO (100); INSERT INTO parts VALUES (1, 1); \
         GRANT ALL ON child, checked, parts TO agent",
    );
    let (mut through, mut direct) = (login(pgveil.port(), "agent"), login(server.port(), "agent"));
    for text in [
        "SELECT nope FROM plain",
        "SELECT plain.idd FROM plain",
        "SELECT p.id FROM plain q",
        "SELECT * FROM nowhere",
        "SELECT * FROM nowhere.plain",
        "SELECT upper(1, 2)",
        "SELECT id + t FROM plain",
        "SELECT count(*) FROM plain GROUP BY nope",
        "SELECT id, count(*) FROM plain",
        "SELEC 1",
        "SELECT 1 FROM",
        "SELECT 'unterminated",
        "SELECT 1/0",
        "SELECT 99999999999::int",
        "INSERT INTO plain VALUES (1, 'dup')",
        "INSERT INTO plain (nope) VALUES (1)",
        "INSERT INTO plain VALUES (1, 2, 3)",
        "INSERT INTO child (id) VALUES (1)",
        "INSERT INTO child (p) VALUES (12345)",
        "INSERT INTO checked VALUES (-1)",
        "INSERT INTO plain VALUES (NULL)",
        "INSERT INTO parts VALUES (2, -1)",
        "INSERT INTO parts VALUES (1, 1)",
        "INSERT INTO parts VALUES (NULL, 1)",
        "SELECT (-1)::amount",
        "SELECT NULL::other.\"Some one\"",
        "SELECT CASE WHEN true THEN 1 ELSE now() END",
        "SELECT ARRAY[1] || now()",
        "SELECT 'x' COLLATE \"nope\"",
        "SELECT 1::nope",
        "SELECT * FROM plain ORDER BY 5",
        "SELECT id FROM plain UNION SELECT t FROM plain",
        "SELECT max(count(*)) FROM plain",
        "SELECT * FROM plain FOR UPDATE OF nope",
        "FETCH nope",
        "CLOSE nope",
        "EXECUTE nope",
        "DEALLOCATE nope",
        "ROLLBACK TO nope",
        "SAVEPOINT x",
        "COMMIT",
    ] {
        let (through, direct) = (through.query(text), direct.query(text));
        // The row is the client's own: so are its values, which a partition's name does not change.
        if text.starts_with("INSERT") {
            let detail = |frames: &[Frame]| frames.iter().find_map(|frame| frame.field(b'D'));
            assert_eq!(detail(&through), detail(&direct), "{text}");
        }
        let without_value = |told: Vec<String>| -> Vec<String> {
            told.into_iter()
                .map(|line| {
                    line.replace(
                        "integer out of range",
                        "value out of range for type integer",
                    )
                })
                .collect()
        };
        assert_eq!(
            without_value(told(&through)),
            without_value(told(&direct)),
            "{text}"
        );
    }
}
