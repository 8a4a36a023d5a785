//! Corners of the protocol that a driver reaches on a bad day.
use crate::script::{Script, Until, function_call, one, script};
use crate::support::message::{bind, close, describe, execute, flush, parse, query, sync};

pub fn scripts() -> Vec<Script> {
    let mut all = portals();
    all.extend(pipelines());
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
        script(
            "a write with RETURNING is suspended and goes on",
            vec![(
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
                2,
            )],
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
