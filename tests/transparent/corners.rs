//! Corners of the protocol that a driver reaches on a bad day.
use crate::script::{Script, Until, copy_data, function_call, one, script};
use crate::support::message::{bind, close, describe, execute, flush, frame, parse, query, sync};

pub fn scripts() -> Vec<Script> {
    let mut all = portals();
    all.extend(pipelines());
    all.extend(copies());
    all.extend(sizes());
    all.extend(functions());
    all
}

fn q(text: &str) -> Vec<u8> {
    query(text)
}

const SEVEN: &str = "SELECT g FROM generate_series(1, 7) g";

fn portals() -> Vec<Script> {
    vec![
        one(
            "a closed portal is not executed",
            vec![
                parse("", SEVEN, &[]),
                bind("p", "", &[], 0),
                execute("p", 2),
                close(b'P', "p"),
                execute("p", 2),
                sync(),
            ],
        ),
        one(
            "a portal outlives its statement",
            vec![
                parse("s", SEVEN, &[]),
                bind("p", "s", &[], 0),
                close(b'S', "s"),
                execute("p", 2),
                describe(b'P', "p"),
                describe(b'S', "s"),
                sync(),
            ],
        ),
        script(
            "a portal ends with its transaction",
            vec![
                (
                    vec![
                        parse("s", SEVEN, &[]),
                        bind("p", "s", &[], 0),
                        execute("p", 2),
                        sync(),
                    ],
                    1,
                ),
                (vec![execute("p", 2), sync()], 1),
                (vec![bind("p", "s", &[], 0), execute("p", 0), sync()], 1),
            ],
        ),
        one(
            "a portal's name is taken, the unnamed one is not",
            vec![
                parse("", SEVEN, &[]),
                bind("", "", &[], 0),
                bind("", "", &[], 0),
                execute("", 1),
                bind("p", "", &[], 0),
                bind("p", "", &[], 0),
                sync(),
            ],
        ),
        one(
            "a new unnamed statement leaves the unnamed portal",
            vec![
                parse("", "SELECT 'first'", &[]),
                bind("", "", &[], 0),
                parse("", "SELECT 'second'", &[]),
                execute("", 0),
                bind("", "", &[], 0),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "a simple query ends the unnamed statement",
            vec![
                (vec![parse("", "SELECT 'kept'", &[]), sync()], 1),
                (vec![q("SELECT 'simple'")], 1),
                (vec![bind("", "", &[], 0), execute("", 0), sync()], 1),
            ],
        ),
        one(
            "a portal that is finished gives nothing more",
            vec![
                parse("", SEVEN, &[]),
                bind("p", "", &[], 0),
                execute("p", 0),
                execute("p", 0),
                execute("p", 3),
                sync(),
            ],
        ),
        one(
            "suspended exactly at the end",
            vec![
                parse("", SEVEN, &[]),
                bind("p", "", &[], 0),
                execute("p", 7),
                execute("p", 7),
                sync(),
            ],
        ),
        one(
            "a write with RETURNING is suspended and goes on",
            vec![
                q("DELETE FROM plain"),
                parse(
                    "",
                    "INSERT INTO plain SELECT g, 'r' FROM generate_series(1, 5) g RETURNING id",
                    &[],
                ),
                bind("", "", &[], 0),
                execute("", 2),
                execute("", 2),
                execute("", 2),
                sync(),
            ],
        ),
        script(
            "an SQL cursor is a portal",
            vec![(
                vec![
                    q("BEGIN; DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 5) g"),
                    describe(b'P', "c"),
                    execute("c", 2),
                    sync(),
                    q("FETCH 1 FROM c; COMMIT"),
                ],
                3,
            )],
        ),
        script(
            "a prepared statement of SQL is bound by its name",
            vec![(
                vec![
                    q("PREPARE st(int) AS SELECT $1 + 1"),
                    bind("", "st", &[Some("4")], 0),
                    describe(b'S', "st"),
                    execute("", 0),
                    sync(),
                    q("DEALLOCATE st"),
                    describe(b'S', "st"),
                    sync(),
                ],
                4,
            )],
        ),
        script(
            "commit in an open batch",
            vec![(
                vec![
                    parse("b", "BEGIN", &[]),
                    bind("", "b", &[], 0),
                    execute("", 0),
                    parse("", SEVEN, &[]),
                    bind("p", "", &[], 0),
                    execute("p", 1),
                    parse("c", "COMMIT", &[]),
                    bind("", "c", &[], 0),
                    execute("", 0),
                    execute("p", 1),
                    sync(),
                ],
                1,
            )],
        ),
    ]
}

fn pipelines() -> Vec<Script> {
    vec![
        Script {
            name: "answers come by flush, no sync ever",
            pieces: vec![
                (vec![parse("s", SEVEN, &[]), flush()], Until::Frames(1)),
                (vec![describe(b'S', "s"), flush()], Until::Frames(2)),
                (vec![bind("p", "s", &[], 0), flush()], Until::Frames(1)),
                (vec![execute("p", 3), flush()], Until::Frames(4)),
                (vec![execute("p", 0), flush()], Until::Frames(5)),
                (vec![close(b'P', "p"), flush()], Until::Frames(1)),
            ],
        },
        Script {
            name: "an error comes by itself, and flushes are skipped until sync",
            pieces: vec![
                (vec![parse("", "SELEC", &[]), flush()], Until::Frames(1)),
                (
                    vec![flush(), parse("", "SELECT 1", &[]), flush(), sync()],
                    Until::Frames(1),
                ),
                (vec![q("SELECT 'after'")], Until::Ready(1)),
            ],
        },
        Script {
            name: "flush alone",
            pieces: vec![
                (vec![flush(), flush()], Until::Frames(0)),
                (vec![sync(), sync()], Until::Ready(2)),
            ],
        },
        script(
            "an error in a pipeline takes back what stood before it",
            vec![
                (vec![q("DELETE FROM plain")], 1),
                (
                    vec![
                        parse("i", "INSERT INTO plain VALUES ($1, 'x')", &[23]),
                        bind("", "i", &[Some("1")], 0),
                        execute("", 0),
                        bind("", "i", &[Some("1")], 0),
                        execute("", 0),
                        bind("", "i", &[Some("2")], 0),
                        execute("", 0),
                        sync(),
                        bind("", "i", &[Some("3")], 0),
                        execute("", 0),
                        sync(),
                        q("SELECT id FROM plain ORDER BY id"),
                    ],
                    3,
                ),
            ],
        ),
        script(
            "describe fails in the middle",
            vec![(
                vec![
                    parse("", "SELECT 1", &[]),
                    bind("", "", &[], 0),
                    describe(b'P', "nowhere"),
                    execute("", 0),
                    sync(),
                    q("SELECT 2"),
                ],
                2,
            )],
        ),
        script(
            "errors outside and inside a transaction",
            vec![(
                vec![
                    q("BEGIN"),
                    parse("", "SELECT 1/0", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                    parse("", "SELECT 1", &[]),
                    sync(),
                    parse("", "ROLLBACK", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                ],
                4,
            )],
        ),
        script(
            "several statements are one transaction",
            vec![(
                vec![
                    q("DELETE FROM plain; INSERT INTO plain VALUES (1, 'a'); SELECT 1/0"),
                    q(
                        "SELECT count(*) FROM plain; BEGIN; INSERT INTO plain VALUES (5, 'b'); COMMIT; SELECT 1/0",
                    ),
                    q("SELECT id FROM plain"),
                ],
                3,
            )],
        ),
        script(
            "only semicolons, white space, comments",
            vec![(
                vec![q(";;;"), q("  \n"), q("/* a */ ; -- b"), q("SELECT 1;;")],
                4,
            )],
        ),
        one(
            "types are given, more than there are parameters",
            vec![
                parse("t", "SELECT $1", &[23, 25, 0]),
                describe(b'S', "t"),
                bind("", "t", &[Some("1"), None, None], 0),
                sync(),
            ],
        ),
        script(
            "notifications wait for the end of the transaction",
            vec![(
                vec![
                    q("LISTEN a; LISTEN b"),
                    q("BEGIN"),
                    q("NOTIFY a"),
                    q("NOTIFY a; NOTIFY b, 'x'; NOTIFY b, 'x'; NOTIFY b, 'y'"),
                    q("SAVEPOINT s; NOTIFY a, 'gone'; ROLLBACK TO s"),
                    q("SELECT 1"),
                    q("COMMIT"),
                    q("BEGIN; NOTIFY a; ROLLBACK"),
                    parse("", "NOTIFY b, 'in a batch'", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                    q("UNLISTEN *"),
                ],
                10,
            )],
        ),
    ]
}

fn copies() -> Vec<Script> {
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    vec![
        script(
            "copy in: empty pieces, no rows, no newline at the end",
            vec![(
                vec![
                    q("DELETE FROM plain"),
                    q("COPY plain FROM STDIN"),
                    copy_data(b""),
                    copy_data(b"1\ta\n"),
                    copy_data(b""),
                    copy_data(b"2\tb"),
                    frame(b'c', b""),
                    q("COPY plain FROM STDIN"),
                    frame(b'c', b""),
                    q("SELECT * FROM plain ORDER BY id"),
                ],
                4,
            )],
        ),
        script(
            "copy in ends with a backslash and a dot",
            vec![(
                vec![
                    q("DELETE FROM plain"),
                    q("COPY plain FROM STDIN"),
                    copy_data(b"1\ta\n\\.\n"),
                    frame(b'c', b""),
                    q("SELECT count(*) FROM plain"),
                ],
                3,
            )],
        ),
        script(
            "binary copy in with a bad header",
            vec![(
                vec![
                    q("COPY plain FROM STDIN (FORMAT binary)"),
                    copy_data(b"PGCOPX\n\xff\r\n\0"),
                    frame(b'c', b""),
                    q("SELECT 1"),
                ],
                2,
            )],
        ),
        script(
            "binary copy in that breaks off",
            vec![(
                vec![
                    q("COPY plain FROM STDIN (FORMAT binary)"),
                    copy_data(header),
                    copy_data(b"\0\x02\0\0"),
                    frame(b'c', b""),
                    q("SELECT 1"),
                ],
                2,
            )],
        ),
        script(
            "copy in within a transaction that fails",
            vec![(
                vec![
                    q("BEGIN"),
                    q("COPY plain FROM STDIN"),
                    frame(b'f', b"the client's words\0"),
                    q("COPY plain FROM STDIN"),
                    q("ROLLBACK"),
                ],
                4,
            )],
        ),
        script(
            "copy in is not closed by flush or sync",
            vec![(
                vec![
                    q("DELETE FROM plain"),
                    q("COPY plain FROM STDIN"),
                    flush(),
                    copy_data(b"7\tx\n"),
                    sync(),
                    copy_data(b"8\ty\n"),
                    frame(b'c', b""),
                    q("SELECT id FROM plain ORDER BY id"),
                ],
                3,
            )],
        ),
        script(
            "copy in by a batch that goes on behind it",
            vec![(
                vec![
                    q("DELETE FROM plain"),
                    parse("", "COPY plain FROM STDIN", &[]),
                    bind("", "", &[], 0),
                    describe(b'P', ""),
                    execute("", 0),
                    copy_data(b"1\ta\n"),
                    frame(b'c', b""),
                    parse("", "SELECT count(*) FROM plain", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    sync(),
                ],
                2,
            )],
        ),
        script(
            "copy in by a batch: an error, late data, then sync",
            vec![(
                vec![
                    parse("", "COPY plain FROM STDIN", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    copy_data(b"x\ta\n"),
                    copy_data(b"3\tlate\n"),
                    frame(b'c', b""),
                    parse("", "SELECT 'skipped'", &[]),
                    sync(),
                    q("SELECT 'run'"),
                ],
                2,
            )],
        ),
        script(
            "late data of every kind outside of a copy",
            vec![(
                vec![
                    copy_data(b""),
                    frame(b'f', b"no\0"),
                    frame(b'c', b""),
                    q("SELECT 1"),
                    copy_data(b"x"),
                    sync(),
                ],
                2,
            )],
        ),
        script(
            "copies and statements in one text",
            vec![(
                vec![
                    q(
                        "DELETE FROM plain; COPY plain FROM STDIN; SELECT 'between'; COPY plain TO STDOUT; SELECT 'behind'",
                    ),
                    copy_data(b"1\tone\n"),
                    frame(b'c', b""),
                ],
                1,
            )],
        ),
        script(
            "copy out that fails on its way",
            vec![(
                vec![
                    q("COPY (SELECT 10 / (5 - g) FROM generate_series(1, 9) g) TO STDOUT"),
                    q("SELECT 1"),
                ],
                2,
            )],
        ),
        script(
            "copy out by a batch, two at once, and empty",
            vec![(
                vec![
                    parse("", "COPY (SELECT 1 WHERE false) TO STDOUT", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    parse(
                        "",
                        "COPY (SELECT 'a', NULL) TO STDOUT (FORMAT csv, HEADER)",
                        &[],
                    ),
                    bind("", "", &[], 0),
                    execute("", 1),
                    sync(),
                ],
                1,
            )],
        ),
    ]
}

fn sizes() -> Vec<Script> {
    let large = "z".repeat(9_000_000);
    vec![
        one(
            "a statement of megabytes",
            vec![q(&format!("SELECT 1 /* {} */", "c".repeat(900_000)))],
        ),
        one(
            "a parameter of megabytes, and back",
            vec![
                parse("", "SELECT $1::text, $1::bytea", &[]),
                bind("", "", &[Some(&large)], 1),
                execute("", 0),
                sync(),
            ],
        ),
        script(
            "copy data of megabytes in one message",
            vec![(
                vec![
                    q("DELETE FROM plain"),
                    q("COPY plain FROM STDIN"),
                    copy_data(format!("1\t{large}\n").as_bytes()),
                    frame(b'c', b""),
                    q("SELECT id, length(t), md5(t) FROM plain"),
                    q("DELETE FROM plain"),
                ],
                4,
            )],
        ),
        one(
            "as many columns as a row holds",
            vec![q(&format!("SELECT {}", ["1"; 1600].join(", ")))],
        ),
        one(
            "no column, rows of nothing",
            vec![q("SELECT FROM generate_series(1, 3)")],
        ),
        one(
            "many parameters",
            vec![
                parse(
                    "",
                    &format!(
                        "SELECT {}",
                        (1..=1000)
                            .map(|n| format!("${n}::int"))
                            .collect::<Vec<_>>()
                            .join(" + ")
                    ),
                    &[],
                ),
                bind("", "", &vec![Some("1"); 1000], 0),
                execute("", 0),
                sync(),
            ],
        ),
        script("a thousand syncs", vec![(vec![sync(); 1000], 1000)]),
        script(
            "a thousand small batches in one piece",
            vec![(
                (0..1000)
                    .flat_map(|_| {
                        [
                            parse("", "SELECT 1", &[]),
                            bind("", "", &[], 0),
                            execute("", 0),
                            sync(),
                        ]
                    })
                    .collect(),
                1000,
            )],
        ),
    ]
}

/// int4pl and textcat by their object ids, which are the same in every version.
fn functions() -> Vec<Script> {
    const INT4PL: u32 = 177;
    const TEXTCAT: u32 = 1258;
    let two = 2i32.to_be_bytes();
    vec![
        one(
            "a function call with arguments",
            vec![function_call(INT4PL, &[Some(&two), Some(&two)])],
        ),
        one(
            "a function call with NULL",
            vec![function_call(INT4PL, &[Some(&two), None])],
        ),
        one(
            "a function call with too few arguments",
            vec![function_call(INT4PL, &[Some(&two)])],
        ),
        one(
            "a function call with an argument of the wrong size",
            vec![function_call(INT4PL, &[Some(b"abc"), Some(&two)])],
        ),
        one(
            "a function call with empty texts",
            vec![function_call(TEXTCAT, &[Some(b""), Some(b"")])],
        ),
        script(
            "a function call in a failed transaction",
            vec![(
                vec![
                    q("BEGIN"),
                    q("SELECT 1/0"),
                    function_call(INT4PL, &[Some(&two), Some(&two)]),
                    q("ROLLBACK"),
                ],
                4,
            )],
        ),
        script(
            "a function call behind a batch",
            vec![(
                vec![
                    parse("", "SELECT 1", &[]),
                    bind("", "", &[], 0),
                    execute("", 0),
                    function_call(INT4PL, &[Some(&two), Some(&two)]),
                    sync(),
                ],
                2,
            )],
        ),
    ]
}
