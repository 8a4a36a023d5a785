//! Temporary tables of restricted roles: they hold masks, they come before other schemas as in PostgreSQL, and what they
//! copy counts as exported.
mod support;

use support::compare::{error, same, shows, values};
use support::message::{Client, bind, describe, execute, parse, query, sync, tags};
use support::{Config, Options, Pgveil, Postgres};

const PHONE: &str = "13800138000";
const MASKED: &str = "138****8000";

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } }, export: { rows: 100 } }
  bare: { who: [{ db_user: bare }], unmasked: true }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE ROLE agent LOGIN; CREATE ROLE bare LOGIN SUPERUSER; CREATE TABLE people(id int PRIMARY KEY, phone text); \
             INSERT INTO people SELECT g, '{PHONE}' FROM generate_series(1, 500) g; CREATE TABLE plain(id int PRIMARY KEY, t text); \
             INSERT INTO plain SELECT g, 'x' || g FROM generate_series(1, 500) g; GRANT ALL ON people, plain TO agent; \
             GRANT CREATE ON SCHEMA public TO agent; CREATE SCHEMA other; GRANT USAGE ON SCHEMA other TO agent; \
             CREATE TABLE other.plain(id int, t text); INSERT INTO other.plain VALUES (1, 'other'); GRANT ALL ON other.plain TO agent"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn agent(port: u16) -> Client {
    Client::login(port, "agent", "", "postgres")
}

#[test]
fn a_temporary_table_behaves_as_on_postgresql() {
    let (server, pgveil) = start();
    same(
        &mut agent(pgveil.port()),
        &mut agent(server.port()),
        &[
            "DROP TABLE IF EXISTS nowhere",
            "DROP INDEX IF EXISTS nowhere",
            "CREATE TEMP TABLE t (id serial PRIMARY KEY, n text NOT NULL DEFAULT 'd' CHECK (n <> ''), at date DEFAULT '2020-01-01', UNIQUE (n))",
            "INSERT INTO t (n) VALUES ('a'), ('b') RETURNING id, n",
            "INSERT INTO t (n) VALUES ('a')",
            "INSERT INTO t (n) VALUES ('')",
            "INSERT INTO t (n) VALUES (NULL)",
            "SELECT * FROM t ORDER BY id",
            "SELECT t.n, pg_temp.t.id FROM pg_temp.t JOIN plain p USING (id) ORDER BY 2",
            "SELECT nope FROM t",
            "UPDATE t SET n = n || '!' WHERE id = 1",
            "DELETE FROM t WHERE id = 2",
            "CREATE INDEX t_n ON t (lower(n)) WHERE id > 0",
            "CREATE UNIQUE INDEX ON t (at, id)",
            "ALTER TABLE t ADD COLUMN more int DEFAULT 7, ALTER COLUMN n TYPE varchar(20), ALTER COLUMN at DROP DEFAULT",
            "SELECT * FROM t",
            "ALTER TABLE t RENAME COLUMN more TO less",
            "ALTER TABLE t RENAME TO u",
            "SELECT less FROM u",
            "SELECT less FROM t",
            "ANALYZE u",
            "ANALYZE u (less)",
            "DROP INDEX t_n",
            "DROP INDEX t_n",
            "TRUNCATE u RESTART IDENTITY",
            "TRUNCATE TABLE u, u",
            "INSERT INTO u (n) SELECT t FROM plain WHERE id < 4",
            "SELECT count(*) FROM u",
            "LOCK TABLE u",
            "BEGIN; LOCK TABLE u IN SHARE MODE; COMMIT",
            "DROP TABLE u",
            "DROP TABLE u",
            "DROP TABLE IF EXISTS u",
            "DROP TABLE IF EXISTS pg_temp.u, v",
            "SELECT * FROM u",
            "CREATE TEMP SEQUENCE s START 5",
            "SELECT nextval('s'), nextval('pg_temp.s')",
            "DROP SEQUENCE s",
            "CREATE TEMP TABLE IF NOT EXISTS k (LIKE plain INCLUDING ALL, x int)",
            "CREATE TEMP TABLE IF NOT EXISTS k (LIKE plain INCLUDING ALL, x int)",
            "CREATE TEMP TABLE k (a int)",
            "INSERT INTO k SELECT id, t, 1 FROM plain WHERE id < 3; SELECT * FROM k ORDER BY id",
            "CREATE TEMP TABLE l AS SELECT id AS a, t FROM plain WHERE id < 3 WITH NO DATA",
            "SELECT * FROM l",
            "SELECT id INTO TEMP m FROM plain WHERE id < 5",
            "SELECT * FROM m ORDER BY 1",
            "SELECT id INTO TEMP m FROM plain",
            "PREPARE p(int) AS SELECT id, t FROM plain WHERE id < $1",
            "CREATE TEMP TABLE n AS EXECUTE p(3)",
            "SELECT * FROM n ORDER BY 1",
            "CREATE TEMP TABLE f (id int REFERENCES k (id))",
            "CREATE TEMP TABLE tree (id int PRIMARY KEY, up int REFERENCES tree, over int, FOREIGN KEY (over) REFERENCES pg_temp.tree (id))",
            "INSERT INTO tree VALUES (1, NULL, 1), (2, 1, 2)",
            "INSERT INTO tree VALUES (3, 4, NULL)",
            "WITH x AS (SELECT a FROM l) SELECT * FROM x, n ORDER BY 1, 2",
            "DISCARD TEMP",
            "SELECT * FROM n",
            "COPY (SELECT 1) TO STDOUT",
        ],
    );
}

#[test]
fn what_is_nowhere_can_be_dropped_twice_in_one_text() {
    let (server, pgveil) = start();
    same(
        &mut agent(pgveil.port()),
        &mut agent(server.port()),
        &[
            "DROP TABLE IF EXISTS nowhere; DROP TABLE IF EXISTS nowhere; SELECT 1",
            "CREATE TEMP TABLE mine (a int)",
            "DROP TABLE IF EXISTS mine; DROP TABLE IF EXISTS mine; DROP TABLE mine",
        ],
    );
}

#[test]
fn a_temporary_table_comes_before_those_of_other_schemas() {
    let (server, pgveil) = start();
    same(
        &mut agent(pgveil.port()),
        &mut agent(server.port()),
        &[
            "CREATE TEMP TABLE pg_am AS SELECT 'mine'::text AS amname",
            "SELECT amname FROM pg_am",
            "SELECT amname FROM pg_catalog.pg_am WHERE amname = 'btree'",
            "SET search_path TO public, pg_temp",
            "SELECT amname FROM pg_am WHERE amname = 'btree'",
            "SET search_path TO other",
            "SELECT amname FROM pg_am",
            "RESET search_path",
            "SELECT pg_am.amname FROM pg_am",
            "DROP TABLE pg_am",
            "SELECT amname FROM pg_am WHERE amname = 'btree'",
            // In one text.
            "CREATE TEMP TABLE pg_am (t text); INSERT INTO pg_am VALUES ('now'); SELECT t FROM pg_am; DROP TABLE pg_am; SELECT amname FROM pg_am WHERE amname = 'hash'",
            "SET search_path TO other; SELECT t FROM plain; SET search_path TO public; SELECT count(*) FROM plain",
            "RESET search_path",
        ],
    );
}

#[test]
fn a_permanent_table_that_comes_later_takes_the_name() {
    let (server, pgveil) = start();
    let mut client = agent(pgveil.port());
    client.query("CREATE TEMP TABLE late AS SELECT 'mine'::text AS t");
    assert_eq!(values(&client.query("SELECT t FROM late")), ["mine"]);
    server.sql(
        "postgres",
        "CREATE TABLE late AS SELECT 'permanent'::text AS t; GRANT ALL ON late TO agent",
    );
    // This makes the catalog be read again.
    client.query("SELECT * FROM nowhere");
    assert_eq!(values(&client.query("SELECT t FROM late")), ["permanent"]);
    assert_eq!(
        error(&client.query("SELECT t FROM pg_temp.late"))
            .expect("an error")
            .0,
        "42P01"
    );
    assert_eq!(
        error(&client.query("DROP TABLE IF EXISTS pg_temp.late")),
        None
    );
}

/// A trigger that does not qualify what it writes to finds the session's temporary table first.
#[test]
fn a_temporary_table_cannot_stand_in_for_one_that_triggers_write_to() {
    let (server, pgveil) = start();
    server.sql(
        "postgres",
        "CREATE TABLE journal (id int, phone text); GRANT INSERT ON journal TO agent; ALTER TABLE people ADD COLUMN region text; \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO journal VALUES (NEW.id, NEW.phone); RETURN NEW; END $$; \
         CREATE TRIGGER note AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note()",
    );
    let attempts = [
        "CREATE TEMP TABLE journal (id int, phone text)",
        "CREATE TEMP TABLE journal AS SELECT 1 AS id, ''::text AS phone",
        "SELECT 1 AS id, ''::text AS phone INTO TEMP journal",
        "CREATE TEMP TABLE x (id int, phone text); ALTER TABLE x RENAME TO journal",
        "CREATE TABLE pg_temp.journal (id int, phone text)",
    ];
    for attempt in attempts {
        let mut client = agent(pgveil.port());
        let mut frames = client.query(attempt);
        assert_eq!(error(&frames).expect("an error").0, "42501", "{attempt}");
        frames.extend(client.query("UPDATE people SET region = 'n' WHERE id = 1"));
        frames.extend(client.query("SELECT * FROM journal"));
        frames.extend(client.query("SELECT * FROM pg_temp.journal"));
        assert!(!shows(&frames, PHONE), "{attempt}: {frames:?}");
        // The poison control: this is what the trigger does on PostgreSQL.
        let mut direct = agent(server.port());
        direct.query(attempt);
        assert_eq!(
            error(&direct.query("UPDATE people SET region = 'n' WHERE id = 1")),
            None
        );
        assert!(
            shows(&direct.query("SELECT * FROM journal"), PHONE),
            "{attempt}"
        );
    }
}

#[test]
fn the_end_of_a_transaction_takes_temporary_tables_along() {
    let (server, pgveil) = start();
    same(
        &mut agent(pgveil.port()),
        &mut agent(server.port()),
        &[
            "BEGIN",
            "CREATE TEMP TABLE mine (a int) ON COMMIT DROP",
            "SELECT * FROM mine",
            "SAVEPOINT s",
            "DROP TABLE mine",
            "SELECT count(*) FROM mine",
            "ROLLBACK TO s",
            "SELECT * FROM mine",
            "COMMIT",
            "SELECT count(*) FROM mine",
            "BEGIN; CREATE TEMP TABLE mine (a int)",
            "ROLLBACK",
            "SELECT count(*) FROM mine",
            "BEGIN; CREATE TEMP TABLE mine (a int)",
            "SELECT 1/0",
            "COMMIT",
            "SELECT count(*) FROM mine",
            "CREATE TEMP TABLE mine (a int) ON COMMIT DELETE ROWS",
            "INSERT INTO mine VALUES (1)",
            "SELECT * FROM mine",
            "BEGIN; DROP TABLE mine",
            "SELECT count(*) FROM mine",
            "ROLLBACK",
            "SELECT count(*) FROM mine",
            // The question about temporary tables takes no snapshot that the client's transaction has not taken.
            "CREATE TEMP TABLE x (a int)",
            "BEGIN",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SELECT * FROM x",
            "COMMIT",
            "DISCARD ALL",
            "SELECT * FROM x",
            "SELECT count(*) FROM mine",
        ],
    );
}

#[test]
fn batches_know_what_their_earlier_statements_do() {
    let (_server, pgveil) = start();
    let mut client = agent(pgveil.port());
    let run = |text: &str| [parse("", text, &[]), bind("", "", &[], 0), execute("", 0)];
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for text in [
        "CREATE TEMP TABLE mine AS SELECT phone AS t FROM people WHERE id = 1",
        "SELECT t FROM mine",
        "SET search_path TO other",
        "DROP TABLE mine",
        "SELECT t FROM plain",
    ] {
        messages.extend(run(text));
    }
    messages.push(sync());
    client.send_all(&messages);
    let frames = client.read_until_ready();
    assert_eq!(tags(&frames), "12C12DC12C12C12DCZ", "{frames:?}");
    assert_eq!(values(&frames), [MASKED, "other"]);
    // What a failed statement would have changed is not built on.
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for text in [
        "SET search_path TO public",
        "SELECT 1/0",
        "SELECT t FROM plain",
    ] {
        messages.extend(run(text));
    }
    messages.push(sync());
    messages.push(query("SELECT t FROM plain"));
    client.send_all(&messages);
    assert_eq!(tags(&client.read_until_ready()), "12C1EZ");
    assert_eq!(values(&client.read_until_ready()), ["other"]);
    // Described before it runs.
    client.send_all(&[
        parse(
            "a",
            "CREATE TEMP TABLE d AS SELECT phone FROM public.people WHERE id = 2",
            &[],
        ),
        describe(b'S', "a"),
        bind("", "a", &[], 0),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ]);
    assert_eq!(tags(&client.read_until_ready()), "1tn2nCZ");
    assert_eq!(values(&client.query("SELECT phone FROM d")), [MASKED]);
}

#[test]
fn what_a_temporary_table_holds_is_masked_in_every_way_it_can_be_filled() {
    let (_server, pgveil) = start();
    let mut client = agent(pgveil.port());
    // Each statement by itself: a text of several stores nothing under limits.
    for fills in [
        "CREATE TEMP TABLE x AS SELECT phone FROM people WHERE id = 1",
        "CREATE TEMP TABLE x AS TABLE people LIMIT 1",
        "CREATE TEMP TABLE x AS WITH people AS (SELECT * FROM people) SELECT * FROM people LIMIT 1",
        "CREATE TEMP TABLE x(a) AS SELECT row_to_json(p) FROM people p LIMIT 1",
        "SELECT phone INTO TEMP x FROM people WHERE id = 1",
        "SELECT phone INTO TEMPORARY TABLE x FROM people WHERE id = 1 UNION ALL SELECT 'y'",
        "CREATE TEMP TABLE x (LIKE people); INSERT INTO x SELECT * FROM people WHERE id = 1",
        "CREATE TEMP TABLE x (a text DEFAULT 'q'); INSERT INTO x VALUES ((SELECT phone FROM people WHERE id = 1))",
        "CREATE TEMP TABLE y AS SELECT * FROM people WHERE id = 1; CREATE TEMP TABLE x AS SELECT * FROM y; DROP TABLE y",
        "CREATE TEMP TABLE x (a text); WITH d AS (DELETE FROM x) INSERT INTO x SELECT phone FROM people WHERE id = 1",
        "PREPARE q AS SELECT phone FROM people WHERE id = 1; CREATE TEMP TABLE x AS EXECUTE q",
        "PREPARE q AS SELECT phone FROM people WHERE id = 1; CREATE TEMP TABLE x AS EXECUTE q; SELECT * FROM x",
    ] {
        for fill in fills.split("; ") {
            let frames = client.query(fill);
            assert_eq!(error(&frames), None, "{fills}");
            assert!(!shows(&frames, PHONE), "{fills}");
        }
        let frames = client.query("SELECT * FROM x");
        assert!(
            shows(&frames, MASKED) && !shows(&frames, PHONE),
            "{fills}: {frames:?}"
        );
        client.query("DROP TABLE x");
        client.query("DEALLOCATE ALL");
    }
    // The poison control: without masks the same statement shows the value.
    let mut bare = Client::login(pgveil.port(), "bare", "", "postgres");
    bare.query("CREATE TEMP TABLE x AS SELECT phone FROM people WHERE id = 1");
    assert!(shows(&bare.query("SELECT * FROM x"), PHONE));
}

#[test]
fn permanent_relations_stay_as_they_are() {
    let (_server, pgveil) = start();
    let mut client = agent(pgveil.port());
    client.query("CREATE TEMP TABLE mine (a int)");
    for text in [
        "CREATE TABLE made (a int)",
        "CREATE TABLE made AS SELECT phone FROM people",
        "CREATE UNLOGGED TABLE made AS SELECT phone FROM people",
        "SELECT phone INTO made FROM people",
        "SELECT phone INTO public.made FROM people",
        "CREATE MATERIALIZED VIEW made AS SELECT phone FROM people",
        "CREATE VIEW made AS SELECT phone FROM people",
        "CREATE TEMP VIEW made AS SELECT phone FROM people",
        "CREATE TEMP TABLE made () INHERITS (people)",
        "CREATE TEMP TABLE made OF people",
        "CREATE TEMP TABLE made PARTITION OF people DEFAULT",
        "ALTER TABLE people RENAME TO made",
        "ALTER TABLE mine INHERIT people",
        "ALTER TABLE mine OWNER TO bare",
        "ALTER TABLE people INHERIT mine",
        "DROP TABLE public.people",
        "CREATE INDEX ON people (phone)",
        "CREATE RULE r AS ON INSERT TO mine DO ALSO SELECT * FROM people",
        "CREATE TRIGGER r AFTER INSERT ON mine EXECUTE FUNCTION f()",
        "DROP TABLE mine, people",
        "TRUNCATE mine, people",
        "ANALYZE",
        "ANALYZE mine, people",
        "COPY mine FROM '/etc/passwd'",
        "GRANT SELECT ON mine TO bare",
    ] {
        let (sqlstate, message) =
            error(&client.query(text)).unwrap_or_else(|| panic!("{text} ran"));
        assert!(
            sqlstate == "42501" && message.starts_with("pgveil: "),
            "{text}: {sqlstate} {message}"
        );
    }
    // A temporary table that a trigger or function made is not the session's to read.
    let mut bare = Client::login(pgveil.port(), "bare", "", "postgres");
    bare.query(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         CREATE TEMP TABLE IF NOT EXISTS kept AS SELECT * FROM people; RETURN NULL; END $$; \
         CREATE TRIGGER keep AFTER INSERT ON plain EXECUTE FUNCTION keep()",
    );
    assert_eq!(
        error(&client.query("INSERT INTO plain VALUES (1000, 'x')")),
        None
    );
    client.query("CREATE TEMP TABLE another (a int)");
    for text in [
        "SELECT * FROM kept",
        "SELECT * FROM pg_temp.kept",
        "TABLE kept",
    ] {
        let frames = client.query(text);
        assert_eq!(error(&frames).expect("an error").0, "42P01", "{text}");
        assert!(!shows(&frames, PHONE));
    }
    // Nor does it become the session's by a statement that would make another one of its name, ...
    for text in [
        "CREATE TEMP TABLE kept (x int)",
        "CREATE TEMP TABLE IF NOT EXISTS kept (x int)",
        "CREATE TEMP TABLE IF NOT EXISTS kept (x int); TABLE kept",
        "CREATE TEMP TABLE IF NOT EXISTS kept AS SELECT 1",
        "CREATE TEMP TABLE IF NOT EXISTS kept (x int PRIMARY KEY, y int REFERENCES kept)",
        "CREATE TEMP SEQUENCE IF NOT EXISTS kept",
        "CREATE INDEX IF NOT EXISTS kept ON another (a)",
        "ALTER TABLE another RENAME TO kept",
    ] {
        assert!(!shows(&client.query(text), PHONE), "{text}");
        assert!(!shows(&client.query("TABLE kept"), PHONE), "{text}");
    }
    // ... or that made one which is gone.
    for text in [
        "CREATE TEMP TABLE kept (x int); DROP TABLE kept; INSERT INTO plain VALUES (1001, 'x')",
        "BEGIN; CREATE TEMP TABLE kept (x int); ROLLBACK; INSERT INTO plain VALUES (1002, 'x')",
        "CREATE TEMP TABLE kept (x int) ON COMMIT DROP; COMMIT; INSERT INTO plain VALUES (1003, 'x')",
        "BEGIN; SAVEPOINT a; CREATE TEMP TABLE kept (x int); ROLLBACK TO a; INSERT INTO plain VALUES (1004, 'x'); COMMIT",
    ] {
        let mut client = agent(pgveil.port());
        client.query(text);
        assert!(!shows(&client.query("TABLE kept"), PHONE), "{text}");
    }
}

#[test]
fn rows_copied_into_a_table_count_as_exported() {
    let (_server, pgveil) = start();
    let mut client = agent(pgveil.port());
    for (text, over) in [
        (
            "CREATE TEMP TABLE x AS SELECT * FROM people LIMIT 100",
            false,
        ),
        ("CREATE TEMP TABLE x AS SELECT * FROM people", true),
        ("SELECT * INTO TEMP x FROM people", true),
        (
            "PREPARE big AS SELECT * FROM people; CREATE TEMP TABLE x AS EXECUTE big",
            true,
        ),
        ("CREATE TEMP TABLE x AS SELECT * FROM plain", false),
        (
            "CREATE TEMP TABLE x (a int); INSERT INTO x SELECT id FROM people",
            true,
        ),
        (
            "CREATE TEMP TABLE x (a int); INSERT INTO x SELECT id FROM people WHERE id <= 100",
            false,
        ),
    ] {
        let mut client = agent(pgveil.port());
        let answers: Vec<_> = text.split("; ").map(|text| client.query(text)).collect();
        let found = answers.iter().find_map(|frames| error(frames));
        assert_eq!(
            found.map(|(sqlstate, _)| sqlstate).as_deref(),
            over.then_some("42501"),
            "{text}: {answers:?}"
        );
        if over {
            for name in ["x", "pg_temp.x"] {
                let frames = client.query(&format!("SELECT * FROM {name}"));
                assert!(values(&frames).is_empty(), "{text}: {frames:?}");
            }
        }
    }
    // Counting goes on with the limit's own record.
    let stops = pgveil.http("/metrics");
    assert!(
        stops
            .lines()
            .any(|line| line.starts_with("pgveil_export_stops_total") && line.ends_with(" 4")),
        "{stops}"
    );
    assert_eq!(tags(&client.query("SELECT 1")), "TDCZ");
}

/// A table that would hold more rows than the role may take out is not there, nor is its row type.
#[test]
fn a_table_that_was_taken_back_has_no_row_type() {
    let (server, pgveil) = start();
    let fill = "CREATE TEMP TABLE text AS SELECT id AS a, phone AS b FROM people";
    let rows = "UPDATE people SET id = id WHERE id = 1 \
        RETURNING (SELECT phone::varchar FROM unnest('{\"(1,x)\"}'::text[]) AS phone LIMIT 1)";
    let mut client = agent(pgveil.port());
    assert!(error(&client.query(fill)).is_some());
    assert_eq!(values(&client.query(rows)), ["(1,x)"]);
    let mut direct = agent(server.port());
    direct.query(fill);
    assert!(shows(&direct.query(rows), PHONE));
}

/// A trigger that puts a table of its own in the place of the session's.
#[test]
fn a_table_that_a_trigger_has_made_anew_is_not_the_sessions_any_more() {
    let (server, pgveil) = start();
    server.sql(
        "postgres",
        "CREATE FUNCTION anew() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         DROP TABLE IF EXISTS mine; CREATE TEMP TABLE mine AS SELECT * FROM people; RETURN NULL; END $$; \
         CREATE TRIGGER anew AFTER INSERT ON plain EXECUTE FUNCTION anew(); \
         CREATE TRIGGER late AFTER DELETE ON plain EXECUTE FUNCTION anew(); \
         CREATE FUNCTION called() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
         DROP TABLE IF EXISTS mine; CREATE TEMP TABLE mine AS SELECT * FROM people; RETURN 1; END $$; \
         CREATE VIEW calls AS SELECT called() AS c; GRANT SELECT ON calls TO agent; \
         GRANT SELECT ON people TO agent",
    );
    // The poison control: this is what PostgreSQL shows.
    let mut direct = agent(server.port());
    direct.query("CREATE TEMP TABLE mine (id int, phone text)");
    direct.query("INSERT INTO plain VALUES (2000, 'x')");
    assert!(shows(&direct.query("TABLE mine"), PHONE));

    let make = "CREATE TEMP TABLE mine (id int, phone text)";
    let insert = "INSERT INTO plain VALUES (2001, 'x')";
    let read = "SELECT * FROM mine";
    for texts in [
        vec![make, insert, read],
        vec![make, "SELECT * FROM mine", insert, read],
        vec![make, "DELETE FROM plain WHERE id = 9", read],
        vec![make, "SELECT * FROM calls", read],
        vec!["BEGIN", make, insert, read, "ROLLBACK"],
        vec![
            "CREATE TEMP TABLE mine (id int, phone text); INSERT INTO plain VALUES (2002, 'x'); SELECT * FROM mine",
        ],
        vec![
            make,
            "INSERT INTO plain VALUES (2003, 'x'); SELECT * FROM mine",
        ],
        vec![
            make,
            "PREPARE p AS INSERT INTO plain VALUES (2004, 'x')",
            "EXECUTE p",
            read,
        ],
        vec![
            make,
            "BEGIN; SAVEPOINT a",
            insert,
            "ROLLBACK TO a",
            insert,
            "COMMIT",
            read,
        ],
    ] {
        let mut client = agent(pgveil.port());
        for text in &texts {
            assert!(!shows(&client.query(text), PHONE), "{texts:?}");
        }
    }
    // In one batch, before the server can be asked.
    let mut client = agent(pgveil.port());
    client.query(make);
    client.send_all(&[
        parse("", insert, &[]),
        bind("", "", &[], 0),
        execute("", 0),
        parse("", read, &[]),
        bind("", "", &[], 0),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ]);
    assert!(!shows(&client.read_until_ready(), PHONE));
    assert!(!shows(&client.query(read), PHONE));
    // What nobody has touched stays the session's own.
    let mut client = agent(pgveil.port());
    client.query("CREATE TEMP TABLE other_one AS SELECT 7 AS a");
    client.query(insert);
    assert_eq!(values(&client.query("SELECT a FROM other_one")), ["7"]);
    client.query("BEGIN; UPDATE plain SET t = 'y' WHERE id = 3; COMMIT");
    assert_eq!(values(&client.query("SELECT a FROM other_one")), ["7"]);
}
