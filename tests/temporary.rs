//! Temporary tables of restricted roles: they hold masks, they shadow permanent tables as in PostgreSQL, and what they
//! copy counts as exported.
mod support;

use support::message::{Client, Frame, bind, describe, execute, parse, query, sync, tags};
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

fn shows(frames: &[Frame], text: &str) -> bool {
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn error(frames: &[Frame]) -> Option<(String, String)> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    Some((frame.field(b'C')?, frame.field(b'M')?))
}

/// Values of the first columns.
fn values(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| {
        let value = row.columns().into_iter().next().flatten();
        String::from_utf8(value.unwrap_or_default()).expect("text")
    })
    .collect()
}

/// What a client can tell apart: tags, rows, command tags, SQLSTATEs and messages, the transaction's state.
fn told(frames: &[Frame]) -> Vec<String> {
    frames
        .iter()
        .map(|frame| match frame.tag {
            b'E' | b'N' => format!(
                "{} {:?} {:?} {:?} {:?}",
                char::from(frame.tag),
                frame.field(b'C'),
                frame.field(b'M'),
                frame.field(b'H'),
                frame.field(b'P')
            ),
            b'T' => {
                // Without the tables' object identifiers: two temporary tables have two.
                let mut names = Vec::new();
                let mut rest = &frame.body[2..];
                while let Some(end) = rest.iter().position(|byte| *byte == 0) {
                    names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
                    rest = &rest[end + 19..];
                }
                format!("T {names:?}")
            }
            _ => format!("{frame:?}"),
        })
        .collect()
}

/// Runs texts through pgveil and directly, and expects the same.
fn same(server: &Postgres, pgveil: &Pgveil, texts: &[&str]) {
    let (mut through, mut direct) = (agent(pgveil.port()), agent(server.port()));
    for text in texts {
        let (through, direct) = (through.query(text), direct.query(text));
        assert_eq!(told(&through), told(&direct), "{text}");
    }
}

#[test]
fn a_temporary_table_behaves_as_on_postgresql() {
    let (server, pgveil) = start();
    same(
        &server,
        &pgveil,
        &[
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
            "WITH x AS (SELECT a FROM l) SELECT * FROM x, n ORDER BY 1, 2",
            "DISCARD TEMP",
            "SELECT * FROM n",
            "COPY (SELECT 1) TO STDOUT",
        ],
    );
}

#[test]
fn a_temporary_table_shadows_a_permanent_one_until_it_is_gone() {
    let (server, pgveil) = start();
    same(
        &server,
        &pgveil,
        &[
            "CREATE TEMP TABLE plain AS SELECT 0 AS id, 'mine'::text AS t",
            "SELECT t FROM plain",
            "SELECT t FROM other.plain",
            "SELECT count(*) FROM public.plain",
            "SET search_path TO public, pg_temp",
            "SELECT count(*) FROM plain",
            "SET search_path TO other",
            "SELECT t FROM plain",
            "RESET search_path",
            "SELECT plain.t FROM plain",
            "DROP TABLE plain",
            "SELECT count(*) FROM plain",
            // In one text, in one batch.
            "CREATE TEMP TABLE plain (t text); INSERT INTO plain VALUES ('now'); SELECT t FROM plain; DROP TABLE plain; SELECT count(*) FROM plain",
            "SET search_path TO other; SELECT t FROM plain; SET search_path TO public; SELECT count(*) FROM plain",
            "RESET search_path",
        ],
    );
}

#[test]
fn the_end_of_a_transaction_takes_temporary_tables_along() {
    let (server, pgveil) = start();
    same(
        &server,
        &pgveil,
        &[
            "BEGIN",
            "CREATE TEMP TABLE plain (a int) ON COMMIT DROP",
            "SELECT * FROM plain",
            "SAVEPOINT s",
            "DROP TABLE plain",
            "SELECT count(*) FROM plain",
            "ROLLBACK TO s",
            "SELECT * FROM plain",
            "COMMIT",
            "SELECT count(*) FROM plain",
            "BEGIN; CREATE TEMP TABLE plain (a int)",
            "ROLLBACK",
            "SELECT count(*) FROM plain",
            "BEGIN; CREATE TEMP TABLE plain (a int)",
            "SELECT 1/0",
            "COMMIT",
            "SELECT count(*) FROM plain",
            "CREATE TEMP TABLE plain (a int) ON COMMIT DELETE ROWS",
            "INSERT INTO plain VALUES (1)",
            "SELECT * FROM plain",
            "BEGIN; DROP TABLE plain",
            "SELECT count(*) FROM plain",
            "ROLLBACK",
            "SELECT count(*) FROM plain",
            // The question about temporary tables takes no snapshot that the client's transaction has not taken.
            "CREATE TEMP TABLE x (a int)",
            "BEGIN",
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
            "SELECT * FROM x",
            "COMMIT",
            "DISCARD ALL",
            "SELECT * FROM x",
            "SELECT count(*) FROM plain",
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
        "CREATE TEMP TABLE plain AS SELECT phone AS t FROM people WHERE id = 1",
        "SELECT t FROM plain",
        "SET search_path TO other",
        "DROP TABLE plain",
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
    for fill in [
        "CREATE TEMP TABLE x AS SELECT phone FROM people WHERE id = 1",
        "CREATE TEMP TABLE x AS TABLE people LIMIT 1",
        "CREATE TEMP TABLE x AS WITH people AS (SELECT * FROM people) SELECT * FROM people LIMIT 1",
        "CREATE TEMP TABLE x(a) AS SELECT row_to_json(p) FROM people p LIMIT 1",
        "SELECT phone INTO TEMP x FROM people WHERE id = 1",
        "SELECT phone INTO TEMPORARY TABLE x FROM people WHERE id = 1 UNION ALL SELECT 'y'",
        "CREATE TEMP TABLE x (LIKE people); INSERT INTO x SELECT * FROM people WHERE id = 1",
        "CREATE TEMP TABLE x (a text DEFAULT 'q'); INSERT INTO x VALUES ((SELECT phone FROM people WHERE id = 1))",
        "CREATE TEMP TABLE people AS SELECT * FROM people WHERE id = 1; CREATE TEMP TABLE x AS SELECT * FROM people; DROP TABLE people",
        "CREATE TEMP TABLE x (a text); WITH d AS (DELETE FROM x) INSERT INTO x SELECT phone FROM people WHERE id = 1",
        "PREPARE q AS SELECT phone FROM people WHERE id = 1; CREATE TEMP TABLE x AS EXECUTE q",
        "PREPARE q AS SELECT phone FROM people WHERE id = 1; CREATE TEMP TABLE x AS EXECUTE q; SELECT * FROM x",
    ] {
        let frames = client.query(fill);
        assert_eq!(error(&frames), None, "{fill}");
        assert!(!shows(&frames, PHONE), "{fill}");
        let frames = client.query("SELECT * FROM x");
        assert!(
            shows(&frames, MASKED) && !shows(&frames, PHONE),
            "{fill}: {frames:?}"
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
        "ALTER TABLE mine RENAME TO people; DROP TABLE public.people",
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
        let frames = client.query(text);
        let found = error(&frames).map(|(sqlstate, _)| sqlstate);
        assert_eq!(
            found.as_deref(),
            over.then_some("42501"),
            "{text}: {frames:?}"
        );
        if over && !text.contains("INSERT") {
            assert_eq!(
                error(&client.query("SELECT * FROM x")).expect("an error").0,
                "42P01",
                "{text}"
            );
            assert_eq!(
                error(&client.query("SELECT * FROM pg_temp.x"))
                    .expect("an error")
                    .0,
                "42P01",
                "{text}"
            );
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
