//! Messages that are no messages, and clients that leave in the middle.
use crate::script::{Script, copy_data, last, one, script};
use crate::support::message::{bind, execute, frame, parse, query, sync, terminate};

/// Where pgveil answers itself, and the server would in other words or in none: it cannot pass on what is no message.
pub const OWN_WORDS: &[(&str, &str)] = &[
    (
        "an unknown message",
        "pgveil's own FATAL names no file and line of the server's source",
    ),
    ("a password out of place", "as an unknown message"),
    (
        "an unknown message in a copy",
        "ended by good-bye, which the server names instead",
    ),
    (
        "a length below four",
        "the server closes without a word, pgveil says why",
    ),
    ("a length of zero", "as a length below four"),
    ("a length beyond what may be", "as a length below four"),
    ("a negative length", "as a length below four"),
    ("a sync longer than a sync", "as a length below four"),
];

/// Bytes with a length of their own.
fn raw(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

#[allow(clippy::too_many_lines)] // a list of scripts
pub fn scripts() -> Vec<Script> {
    vec![
        last("an unknown message", vec![frame(b'z', b"")]),
        last("a length below four", vec![raw(b'Q', 3, b"")]),
        last("a length of zero", vec![raw(b'S', 0, b"")]),
        last(
            "a length beyond what may be",
            vec![raw(b'Q', 0x7fff_ffff, b"")],
        ),
        last("a negative length", vec![raw(b'Q', 0xffff_fffe, b"")]),
        last("a sync longer than a sync", vec![raw(b'S', 20_000, b"")]),
        last("a password out of place", vec![frame(b'p', b"secret\0")]),
        last("good-bye", vec![terminate()]),
        last(
            "good-bye behind a query",
            vec![query("SELECT 1"), terminate()],
        ),
        last(
            "good-bye in a batch that was not synced",
            vec![
                parse("", "SELECT 1", &[]),
                bind("", "", &[], 0),
                execute("", 0),
                terminate(),
            ],
        ),
        last(
            "good-bye in a transaction",
            vec![query("BEGIN"), terminate()],
        ),
        last(
            "good-bye in a copy",
            vec![
                query("COPY plain FROM STDIN"),
                copy_data(b"9\tx\n"),
                terminate(),
            ],
        ),
        last(
            "a query in a copy",
            vec![query("COPY plain FROM STDIN"), query("SELECT 1")],
        ),
        last(
            "an unknown message in a copy",
            vec![query("COPY plain FROM STDIN"), frame(b'z', b"")],
        ),
        one("a query without its zero", vec![frame(b'Q', b"SELECT 1")]),
        one(
            "a query with more behind its zero",
            vec![frame(b'Q', b"SELECT 1\0SELECT 2\0")],
        ),
        one("a query of no bytes", vec![frame(b'Q', b"")]),
        one("a parse of no bytes", vec![frame(b'P', b""), sync()]),
        one(
            "a parse that breaks off",
            vec![frame(b'P', b"s\0SELECT 1\0"), sync()],
        ),
        one(
            "a parse that promises types",
            vec![frame(b'P', b"s\0SELECT 1\0\0\x02\0\0\0\x17"), sync()],
        ),
        one(
            "a parse with more behind it",
            vec![frame(b'P', b"s\0SELECT 1\0\0\0x"), sync()],
        ),
        one("a bind of no bytes", vec![frame(b'B', b""), sync()]),
        one(
            "a bind that promises values",
            vec![
                parse("s", "SELECT $1::int", &[]),
                frame(b'B', b"\0s\0\0\0\0\x01\0\0\0\x08ab"),
                sync(),
            ],
        ),
        one(
            "a bind with formats that do not fit",
            vec![
                parse("s", "SELECT 1, 2", &[]),
                frame(b'B', b"\0s\0\0\0\0\0\0\x03\0\0\0\0\0\0"),
                execute("", 0),
                sync(),
            ],
        ),
        one(
            "a bind with a format nobody knows",
            vec![
                parse("s", "SELECT 1", &[]),
                frame(b'B', b"\0s\0\0\0\0\0\0\x01\0\x07"),
                execute("", 0),
                sync(),
            ],
        ),
        one(
            "a describe of neither kind",
            vec![frame(b'D', b"Xs\0"), sync()],
        ),
        one("a describe of no bytes", vec![frame(b'D', b""), sync()]),
        one(
            "a close of neither kind",
            vec![frame(b'C', b"Xs\0"), sync()],
        ),
        one("an execute of no bytes", vec![frame(b'E', b""), sync()]),
        one(
            "an execute without its count",
            vec![frame(b'E', b"\0"), sync()],
        ),
        one("a sync with more in it", vec![frame(b'S', b"more")]),
        one(
            "a flush with more in it",
            vec![frame(b'H', b"more"), sync()],
        ),
        one("a function call of no bytes", vec![frame(b'F', b"")]),
        one(
            "a function call that promises arguments",
            vec![frame(b'F', b"\0\0\0\xb1\0\0\0\x02\0\0")],
        ),
        script(
            "an encoding that the text is not in",
            vec![(
                vec![
                    query("SELECT '\u{e9}'"),
                    frame(b'Q', b"SELECT '\xff'\0"),
                    query("SELECT 1"),
                ],
                3,
            )],
        ),
    ]
}
