//! The same session, direct and through pgveil as an unrestricted role, byte for byte: all that differs are process
//! ids and cancel keys. And the same through 1-byte writes and 1-byte reads.
mod support;

use std::io::Read;

use support::message::{
    self, Client, Frame, bind, close, describe, execute, flush, frame, parse, query, sync,
};
use support::{Config, Options, Pgveil, Postgres};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: clear }], unmasked: true }
  blind: { who: [{ db_user: blind }], mask: { phone: redact } }
unmatched: deny
";

struct Bench {
    server: Postgres,
    pgveil: Pgveil,
}

impl Bench {
    fn start() -> Bench {
        let server = Postgres::start(Options::default());
        server.sql(
            "postgres",
            "CREATE ROLE clear LOGIN SUPERUSER; CREATE ROLE blind LOGIN SUPERUSER; CREATE TABLE people(id int PRIMARY KEY, phone text); \
             INSERT INTO people SELECT g, '138'||g FROM generate_series(1, 50) g; CREATE TABLE plain(id int PRIMARY KEY, t text)",
        );
        let mut config = Config::new(&server);
        config.policy(POLICY);
        let pgveil = Pgveil::start(&config);
        Bench { server, pgveil }
    }

    fn ports(&self) -> [u16; 2] {
        [self.server.port(), self.pgveil.port()]
    }
}

/// A script: pieces that are sent at once; after each the client reads up to so many ReadyForQuery.
struct Script {
    name: &'static str,
    pieces: Vec<(Vec<Vec<u8>>, usize)>,
}

fn script(name: &'static str, pieces: Vec<(Vec<Vec<u8>>, usize)>) -> Script {
    Script { name, pieces }
}

fn one(name: &'static str, messages: Vec<Vec<u8>>) -> Script {
    script(name, vec![(messages, 1)])
}

fn copy_data(bytes: &[u8]) -> Vec<u8> {
    frame(b'd', bytes)
}

#[allow(clippy::too_many_lines)] // a list of scripts
fn scripts() -> Vec<Script> {
    let q = |text: &str| query(text);
    let failing = "SELECT 1/0";
    vec![
        one("empty query", vec![q("")]),
        one("comment alone", vec![q("-- nothing")]),
        one(
            "several statements",
            vec![q("SELECT 1; SELECT 'x' AS y, NULL; ; VALUES (1), (2)")],
        ),
        one(
            "error in the middle",
            vec![q("SELECT 1; SELECT 1/0; SELECT 2")],
        ),
        one(
            "syntax error with a position",
            vec![q("SELECT 1 FROM FROM")],
        ),
        one(
            "notice",
            vec![q("DO $$ BEGIN RAISE NOTICE 'hello %', 1; END $$")],
        ),
        one("warning outside a transaction", vec![q("ROLLBACK")]),
        one(
            "set reports a parameter",
            vec![q(
                "SET application_name = 'x'; SET DateStyle = 'German'; RESET ALL",
            )],
        ),
        one("large row", vec![q("SELECT repeat('x', 3000000), 1")]),
        one(
            "many rows",
            vec![q(
                "SELECT g, repeat('y', g % 50) FROM generate_series(1, 20000) g",
            )],
        ),
        one(
            "extended, described both ways",
            vec![
                parse("s", "SELECT $1::int + 1, $2::text", &[]),
                describe(b'S', "s"),
                bind("p", "s", &[Some("41"), None], 0),
                describe(b'P', "p"),
                execute("p", 0),
                close(b'P', "p"),
                close(b'S', "s"),
                sync(),
            ],
        ),
        one(
            "binary results",
            vec![
                parse("", "SELECT id, phone FROM people ORDER BY id LIMIT 3", &[]),
                bind("", "", &[], 1),
                execute("", 0),
                sync(),
            ],
        ),
        one(
            "bind before parse",
            vec![bind("", "nowhere", &[], 0), execute("", 0), sync()],
        ),
        one(
            "execute a portal that is not there",
            vec![execute("none", 0), sync()],
        ),
        one(
            "describe what is not there",
            vec![describe(b'S', "none"), describe(b'P', "none"), sync()],
        ),
        one(
            "close what is not there",
            vec![close(b'S', "none"), close(b'P', "none"), sync()],
        ),
        one(
            "statement with no result",
            vec![
                parse("", "SET work_mem = '4MB'", &[]),
                bind("", "", &[], 0),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ],
        ),
        one(
            "empty statement",
            vec![
                parse("", "", &[]),
                describe(b'S', ""),
                bind("", "", &[], 0),
                execute("", 0),
                sync(),
            ],
        ),
        one(
            "two statements in one parse",
            vec![parse("", "SELECT 1; SELECT 2", &[]), sync()],
        ),
        one(
            "duplicate statement name",
            vec![
                parse("d", "SELECT 1", &[]),
                parse("d", "SELECT 2", &[]),
                sync(),
            ],
        ),
        one(
            "wrong number of parameters",
            vec![
                parse("", "SELECT $1::int", &[]),
                bind("", "", &[], 0),
                sync(),
            ],
        ),
        one(
            "bad parameter value",
            vec![
                parse("", "SELECT $1::int", &[]),
                bind("", "", &[Some("x")], 0),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "pipelines with an error skip to sync",
            vec![(
                vec![
                    parse("", "SELECT 1", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    parse("", failing, &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    parse("", "SELECT 3", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                    parse("", "SELECT 4", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                    sync(),
                ],
                3,
            )],
        ),
        script(
            "portal suspension",
            vec![
                (vec![q("BEGIN")], 1),
                (
                    vec![
                        parse("", "SELECT g FROM generate_series(1, 7) g", &[]),
                        bind("c", "", &[], 0),
                        execute("c", 3),
                        execute("c", 3),
                        sync(),
                    ],
                    1,
                ),
                (vec![execute("c", 3), execute("c", 3), sync()], 1),
                (vec![q("COMMIT")], 1),
                (vec![execute("c", 3), sync()], 1),
            ],
        ),
        script(
            "flush without sync, then sync",
            vec![(
                vec![
                    parse("", "SELECT 1", &[]),
                    flush(),
                    bind("", "", &[], 0),
                    flush(),
                    execute("", 0),
                    flush(),
                    sync(),
                ],
                1,
            )],
        ),
        script(
            "cursors in SQL",
            vec![(
                vec![
                    q("BEGIN"),
                    q("DECLARE c SCROLL CURSOR FOR SELECT g FROM generate_series(1, 5) g"),
                    q("FETCH 2 FROM c"),
                    q("MOVE 1 FROM c"),
                    q("FETCH PRIOR FROM c"),
                    q("CLOSE c"),
                    q("FETCH 1 FROM c"),
                    q("ROLLBACK"),
                ],
                8,
            )],
        ),
        script(
            "prepare and execute in SQL",
            vec![(
                vec![
                    q("PREPARE x(int) AS SELECT $1 + 1"),
                    q("EXECUTE x(1)"),
                    q("DEALLOCATE x"),
                    q("EXECUTE x(1)"),
                    q("DISCARD ALL"),
                ],
                5,
            )],
        ),
        script(
            "failed transaction",
            vec![(
                vec![
                    q("BEGIN"),
                    q(failing),
                    q("SELECT 1"),
                    q("ROLLBACK TO x"),
                    q("COMMIT"),
                    q("SELECT 1"),
                ],
                6,
            )],
        ),
        script(
            "savepoints",
            vec![(
                vec![
                    q("BEGIN"),
                    q("SAVEPOINT a"),
                    q(failing),
                    q("ROLLBACK TO a"),
                    q("SELECT 1"),
                    q("COMMIT"),
                ],
                6,
            )],
        ),
        script(
            "copy out",
            vec![(
                vec![
                    q("COPY (SELECT g, 'x' FROM generate_series(1, 500) g) TO STDOUT"),
                    q("COPY people TO STDOUT (FORMAT binary)"),
                ],
                2,
            )],
        ),
        script(
            "copy in",
            vec![(
                vec![
                    q("TRUNCATE plain"),
                    q("COPY plain FROM STDIN"),
                    copy_data(b"1\tone\n2\ttw"),
                    copy_data(b"o\n"),
                    frame(b'c', b""),
                    q("SELECT * FROM plain ORDER BY id"),
                ],
                3,
            )],
        ),
        script(
            "copy in that the client fails",
            vec![(
                vec![
                    q("COPY plain FROM STDIN"),
                    copy_data(b"9\tx\n"),
                    frame(b'f', b"no more\0"),
                    q("SELECT 1"),
                ],
                2,
            )],
        ),
        script(
            "copy in with bad data, late data follows",
            vec![(
                vec![
                    q("COPY plain FROM STDIN"),
                    copy_data(b"not a number\tx\n"),
                    copy_data(b"10\ty\n"),
                    frame(b'c', b""),
                    q("SELECT count(*) FROM plain WHERE id >= 10"),
                ],
                2,
            )],
        ),
        script(
            "copy in over the extended protocol",
            vec![(
                vec![
                    query("TRUNCATE plain"),
                    parse("", "COPY plain FROM STDIN", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    copy_data(b"20\ta\n"),
                    flush(),
                    sync(),
                    frame(b'c', b""),
                    sync(),
                ],
                2,
            )],
        ),
        script(
            "copy data out of place",
            vec![(vec![copy_data(b"x"), frame(b'c', b""), q("SELECT 1")], 1)],
        ),
        script(
            "notifications",
            vec![(
                vec![
                    q("LISTEN ch"),
                    q("BEGIN"),
                    q("NOTIFY ch, 'inside'"),
                    q("COMMIT"),
                    q("SELECT pg_notify('ch', 'again')"),
                    q("UNLISTEN *"),
                ],
                6,
            )],
        ),
        one(
            "function call",
            vec![frame(
                b'F',
                &[&1610u32.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat(),
            )],
        ),
        one(
            "function call that fails",
            vec![frame(
                b'F',
                &[&99u32.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat(),
            )],
        ),
        script(
            "zero-length and large parameters",
            vec![(
                vec![
                    parse("", "SELECT length($1::text), length($2::text)", &[]),
                    bind("", "", &[Some(""), Some(&"z".repeat(400_000))], 0),
                    execute("", 0),
                    sync(),
                ],
                1,
            )],
        ),
        script(
            "simple query inside a pipeline",
            vec![(
                vec![
                    parse("", "SELECT 1", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    q("SELECT 2"),
                    sync(),
                ],
                2,
            )],
        ),
        script(
            "query after an error without sync is skipped",
            vec![(
                vec![
                    parse("", "SELEC", &[]),
                    q("SELECT 'skipped'"),
                    sync(),
                    q("SELECT 'run'"),
                ],
                2,
            )],
        ),
    ]
}

/// Everything the server sends for a script, process ids left out.
fn played(client: &mut Client, script: &Script, chunk: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (messages, readies) in &script.pieces {
        let bytes = messages.concat();
        if chunk == 0 {
            client.send_raw(&bytes);
        } else {
            for part in bytes.chunks(chunk) {
                client.send_raw(part);
            }
        }
        for _ in 0..*readies {
            frames.extend(client.read_until_ready());
        }
    }
    for frame in &mut frames {
        if frame.tag == b'A' {
            frame.body.drain(..4);
        }
    }
    frames
}

fn compare(bench: &Bench, user: &str, chunk: usize) -> Vec<String> {
    let mut failures = Vec::new();
    for script in scripts() {
        let [direct, through] = bench.ports().map(|port| {
            let mut client = Client::login(port, user, "", "postgres");
            played(&mut client, &script, chunk)
        });
        if let Some(at) =
            (0..direct.len().max(through.len())).find(|at| direct.get(*at) != through.get(*at))
        {
            failures.push(format!(
                "{}: message {at}: {:?} direct, {:?} through pgveil",
                script.name,
                direct.get(at),
                through.get(at)
            ));
        }
    }
    failures
}

#[test]
fn an_unrestricted_session_is_byte_for_byte_the_direct_one() {
    let failures = compare(&Bench::start(), "clear", 0);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn writes_of_one_byte_change_nothing() {
    let failures = compare(&Bench::start(), "clear", 1);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn login_parameters_are_those_of_the_server() {
    let bench = Bench::start();
    let [mut direct, mut through] = bench.ports().map(|port| {
        Client::try_login(
            port,
            "clear",
            "",
            &[
                ("user", "clear"),
                ("database", "postgres"),
                ("application_name", "a b"),
                ("options", "-c work_mem=5MB"),
                ("client_encoding", "LATIN1"),
            ],
        )
        .expect("login")
        .parameters_sorted()
    });
    direct.sort();
    through.sort();
    assert_eq!(direct, through);
}

trait Sorted {
    fn parameters_sorted(self) -> Vec<(String, String)>;
}

impl Sorted for Client {
    fn parameters_sorted(mut self) -> Vec<(String, String)> {
        let mut parameters = self.session.parameters.clone();
        let rows = self.query("SHOW work_mem");
        let shown = rows
            .iter()
            .find(|frame| frame.tag == b'D')
            .map(|frame| format!("{frame:?}"));
        parameters.push(("work_mem".into(), shown.unwrap_or_default()));
        parameters
    }
}

#[test]
fn a_client_that_reads_byte_by_byte_gets_everything() {
    let bench = Bench::start();
    let mut client = Client::login(bench.pgveil.port(), "clear", "", "postgres");
    client.send_raw(&query(
        "SELECT repeat('x', 20000), g FROM generate_series(1, 20) g",
    ));
    let mut bytes = Vec::new();
    let end = [b'Z', 0, 0, 0, 5, b'I'];
    while !bytes.ends_with(&end) {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).expect("a byte");
        bytes.push(byte[0]);
    }
    assert!(bytes.len() > 400_000);
}

/// A restricted role whose statements touch nothing protected gets what the server sends, but for the text of errors.
#[test]
fn a_restricted_session_over_unprotected_data_is_the_direct_one() {
    let bench = Bench::start();
    let mut failures = Vec::new();
    for text in [
        "SELECT id, t FROM plain ORDER BY id",
        "SELECT 1; SELECT 'x' AS y; VALUES (1), (2)",
        "SELECT g, repeat('y', g % 50) FROM generate_series(1, 2000) g",
        "BEGIN; SAVEPOINT a; ROLLBACK TO a; COMMIT",
        "COPY plain TO STDOUT",
        "SELECT 1 FROM FROM",
        "SELECT nope FROM plain",
        "SELECT * FROM nowhere",
        "",
        "SHOW search_path",
        "SELECT 1; SELEC 2",
        "INSERT INTO plain VALUES (77, 'x') RETURNING *; DELETE FROM plain WHERE id = 77",
    ] {
        let [direct, through] = bench
            .ports()
            .map(|port| Client::login(port, "blind", "", "postgres").query(text));
        let kept = |frames: &[Frame]| -> Vec<String> {
            frames
                .iter()
                .map(|frame| match frame.tag {
                    b'E' => format!(
                        "E {:?} {:?} {:?}",
                        frame.field(b'C'),
                        frame.field(b'M'),
                        frame.field(b'P')
                    ),
                    _ => format!("{frame:?}"),
                })
                .collect()
        };
        if kept(&direct) != kept(&through) {
            failures.push(format!(
                "{text}\n  direct  {:?}\n  through {:?}",
                kept(&direct),
                kept(&through)
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let _ = message::tags(&[]);
}
