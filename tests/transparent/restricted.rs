//! A restricted role whose statements touch nothing protected gets what the server sends, but for the text of errors.
use crate::script::{difference, one, played};
use crate::support::message::{Client, Frame, query};
use crate::{Bench, all, compare};

const MASKED: &str = "its rows are protected";
const WORDS: &str = "messages lose what could be a value";
const CALLS: &str = "FunctionCall is refused: its result cannot be masked";
const ENDED: &str = "a restricted session ends where a message cannot be read";
const LENGTHS: &str = "the server closes without a word, pgveil says why";

/// Scripts that a restricted session answers otherwise, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("notice", "DO is refused"),
    ("binary results", MASKED),
    ("copy out", MASKED),
    ("bad parameter value", WORDS),
    ("copy in with bad data, late data follows", WORDS),
    ("copy in by a batch: an error, late data, then sync", WORDS),
    ("a bind with a format nobody knows", WORDS),
    ("an encoding that the text is not in", WORDS),
    ("notifications", "payloads are withheld"),
    (
        "notifications wait for the end of the transaction",
        "payloads are withheld",
    ),
    ("function call", CALLS),
    ("function call that fails", CALLS),
    ("a function call with arguments", CALLS),
    ("a function call with NULL", CALLS),
    ("a function call with too few arguments", CALLS),
    ("a function call with an argument of the wrong size", CALLS),
    ("a function call with empty texts", CALLS),
    ("a function call behind a batch", CALLS),
    ("a function call of no bytes", CALLS),
    ("a function call that promises arguments", CALLS),
    ("a length below four", LENGTHS),
    ("a length of zero", LENGTHS),
    ("a length beyond what may be", LENGTHS),
    ("a negative length", LENGTHS),
    ("a sync longer than a sync", LENGTHS),
    (
        "an unknown message in a copy",
        "ended by good-bye, which the server names instead",
    ),
    ("a query without its zero", ENDED),
    ("a query with more behind its zero", ENDED),
    ("a query of no bytes", ENDED),
    ("a parse of no bytes", ENDED),
    ("a parse that breaks off", ENDED),
    ("a parse that promises types", ENDED),
    ("a parse with more behind it", ENDED),
    ("a bind of no bytes", ENDED),
    ("a describe of neither kind", ENDED),
    ("a describe of no bytes", ENDED),
    ("a close of neither kind", ENDED),
    ("an execute of no bytes", ENDED),
    ("an execute without its count", ENDED),
    ("a sync with more in it", ENDED),
    ("a flush with more in it", ENDED),
];

/// Of an error or a notice what does not depend on values: severity, SQLSTATE, message, position, names.
pub fn kept(frames: Vec<Frame>) -> Vec<Frame> {
    let settled = |mut frame: Frame| {
        if matches!(frame.tag, b'E' | b'N') {
            let fields = b"SVCMPstcdn".iter();
            let text: Vec<String> = fields
                .filter_map(|code| Some(format!("{}={}", char::from(*code), frame.field(*code)?)))
                .collect();
            frame.body = text.join("\n").into_bytes();
        }
        frame
    };
    frames.into_iter().map(settled).collect()
}

#[test]
fn a_restricted_session_over_unprotected_data_is_the_direct_one() {
    let bench = Bench::start();
    let through = bench.pgveil.port();
    let failures = compare(&bench, through, "blind", 0, &all(), OTHERWISE, kept);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// One statement each: the shortest way to see which one differs.
#[test]
fn single_statements_over_unprotected_data_are_answered_as_directly() {
    let bench = Bench::start();
    let texts = [
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
    ];
    let mut failures = Vec::new();
    for text in texts {
        let script = one(text, vec![query(text)]);
        let [direct, through] = bench.ports().map(|port| {
            let mut client = Client::login(port, "blind", "", "postgres");
            kept(played(&mut client, &script, 0))
        });
        failures.extend(difference(text, &direct, &through));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
