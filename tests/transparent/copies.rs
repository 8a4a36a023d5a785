//! COPY in every way that goes well or wrong, and messages of every size.
use crate::script::{Script, copy_data, one, script};
use crate::support::message::{bind, describe, execute, flush, frame, parse, query, sync};

pub fn scripts() -> Vec<Script> {
    let mut all = copies();
    all.extend(sizes());
    all
}

fn q(text: &str) -> Vec<u8> {
    query(text)
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
