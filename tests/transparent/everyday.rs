//! What drivers do every day, message by message.
use crate::script::{Script, copy_data, one, script};
use crate::support::message::{bind, close, describe, execute, flush, frame, parse, query, sync};

#[allow(clippy::too_many_lines)] // a list of scripts
pub fn scripts() -> Vec<Script> {
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
                    q("DELETE FROM plain"),
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
                    query("DELETE FROM plain"),
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
