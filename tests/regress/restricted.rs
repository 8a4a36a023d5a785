//! As a restricted role whose policy matches none of the tables: each statement answers as it does directly, or is of a
//! kind that tests/regress/refused.txt lists with its reason.
//!
//! Three sessions: one directly on one server; one through pgveil on another of the same contents; and one directly on
//! that, for DDL that the restricted role may not run and later statements need.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use std::{env, fs};

use crate::description::without_new_oids;
use crate::script::{Item, items};
use crate::support::message::{self, Client, Frame};
use crate::{DATABASE, folder, server, tests, veil};

const REFUSED: &str = include_str!("refused.txt");
const DIFFERENT: &str = include_str!("differences.txt");
/// `FirstNormalObjectId - 1` (access/transam.h).
const LAST_SYSTEM_OID: u32 = 16_383;
/// Makes objects that later statements need, when a restricted role is refused it.
const DEFINING: &[&str] = &[
    "CREATE", "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE", "TRUNCATE", "ANALYZE", "VACUUM",
    "REINDEX", "REFRESH", "CLUSTER", "DO", "CALL", "SECURITY", "IMPORT", "REASSIGN",
];
/// What differs by nature between two servers or two moments.
const UNSETTLED: &[&str] = &[
    "pg_backend_pid",
    "now()",
    "current_timestamp",
    "localtimestamp",
    "clock_timestamp",
    "random",
    "txid",
    "pg_current_",
    "xmin",
    "ctid",
    "tableoid",
    "pg_relation_filenode",
    "pg_locks",
    "pg_stat",
    "EXPLAIN",
    "::oid",
    "regrole",
    "oid",
    "gen_random",
    "timeofday",
    "'now'",
    "'today'",
    "'tomorrow'",
    "'yesterday'",
    "CURRENT_",
    "LOCALTIME",
    "inet_",
];

/// undefined_function, undefined_table, undefined_column, undefined_object, invalid_schema_name.
const UNDEFINED: &[&str] = &["42883", "42P01", "42703", "42704", "3F000"];

struct Sessions {
    direct: Client,
    veiled: Client,
    beside: Client,
}

#[derive(Default)]
struct Counts {
    same: usize,
    psql: usize,
    refused: BTreeMap<String, (usize, String)>,
    different: Vec<String>,
}

/// What was printed of the counts already.
#[derive(Default)]
struct Told {
    refused: BTreeSet<String>,
    different: usize,
}

impl Counts {
    /// After each file: a run of all of them takes an hour, and may be cut short.
    fn tell_news(&self, told: &mut Told) {
        for (message, (_, example)) in &self.refused {
            if !listed(message) && told.refused.insert(message.clone()) {
                println!(
                    "NOT LISTED {message}\n        {}",
                    example.replace('\n', " ")
                );
            }
        }
        for different in self.different.iter().skip(told.different) {
            if !known_difference(different) {
                println!("DIFFERENT {different}");
            }
        }
        told.different = self.different.len();
        let refused: usize = self.refused.values().map(|kind| kind.0).sum();
        println!(
            "    {} alike so far, {refused} refused, {} different",
            self.same,
            self.different.len()
        );
    }
}

fn send(client: &mut Client, sql: &str, data: Option<&str>) -> Vec<Frame> {
    let mut bytes = message::query(sql);
    if let Some(data) = data {
        bytes.extend(message::frame(b'd', data.as_bytes()));
        bytes.extend(message::frame(b'c', b""));
    }
    client.send_raw(&bytes);
    client.read_until_ready()
}

/// What the server says to a statement that it parses only.
fn parsed(client: &mut Client, sql: &str) -> Vec<Frame> {
    client.send_all(&[message::parse("", sql, &[]), message::sync()]);
    client.read_until_ready()
}

fn in_transaction(frames: &[Frame]) -> bool {
    frames.last().is_some_and(|frame| frame.body == b"T")
}

/// Of several unknown names, which is missed first is nobody's promise.
fn both_undefined(ours: &[Frame], theirs: &[Frame]) -> bool {
    undefined(ours) && undefined(theirs)
}

fn undefined(frames: &[Frame]) -> bool {
    let error = frames.iter().find(|frame| frame.tag == b'E');
    error
        .and_then(|frame| frame.field(b'C'))
        .is_some_and(|sqlstate| UNDEFINED.contains(&sqlstate.as_str()))
}

/// How often, and how long apart, a statement is sent again that names what the catalog does not know yet.
const REREADS: usize = 15;
const REREAD: std::time::Duration = std::time::Duration::from_millis(300);

fn refusal(frames: &[Frame]) -> Option<String> {
    let error = frames.iter().find(|frame| frame.tag == b'E')?;
    error
        .field(b'M')?
        .strip_prefix("pgveil: ")
        .map(str::to_owned)
}

/// Says at which statement a test ended that waited in vain.
struct Waiting<'a>(&'a str, &'a str);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}: no answer to {}", self.0, self.1);
        }
    }
}

/// Frames as compared: errors and notices by their SQLSTATE, for pgveil builds their texts anew. Notices that only one
/// side sends are none of a result.
fn gist(frames: &[Frame]) -> Vec<Vec<u8>> {
    let seen = frames
        .iter()
        .filter(|frame| !matches!(frame.tag, b'N' | b'S' | b'Z' | b'A'));
    let mut gist: Vec<Vec<u8>> = seen
        .map(|frame| match frame.tag {
            b'E' => frame.field(b'C').unwrap_or_default().into_bytes(),
            b'T' => without_new_oids(&frame.body, LAST_SYSTEM_OID),
            _ => frame.bytes(),
        })
        .collect();
    gist.sort();
    gist
}

impl Sessions {
    fn run(
        &mut self,
        test: &str,
        statement: &str,
        data: Option<&str>,
        counts: &mut Counts,
        open: &mut bool,
    ) {
        let _waiting = Waiting(test, statement);
        // It ends even an aborted transaction, which a refusal does not.
        if statement
            .to_ascii_uppercase()
            .starts_with("PREPARE TRANSACTION")
        {
            self.veiled.query("ROLLBACK");
            self.direct.query("ROLLBACK");
            *open = false;
            return;
        }
        let mut ours = send(&mut self.veiled, statement, data);
        // What was made beside pgveil a moment ago is known when the catalog is read again.
        for _ in 0..REREADS {
            if *open || !undefined(&ours) || undefined(&parsed(&mut self.beside, statement)) {
                break;
            }
            std::thread::sleep(REREAD);
            ours = send(&mut self.veiled, statement, data);
        }
        if let Some(message) = refusal(&ours) {
            let entry = counts
                .refused
                .entry(message)
                .or_insert((0, statement.to_owned()));
            entry.0 += 1;
            if *open {
                // Its transaction is aborted: so is the other, up to the same end.
                self.direct.query("SELECT pgveil_regress_abort");
                return;
            }
            let upper = statement.to_ascii_uppercase();
            let defines = DEFINING.iter().any(|word| upper.starts_with(word));
            if defines && !upper.contains("TEMP") && !upper.contains("DATABASE") {
                // What is about temporary tables fails in a session that has none: then it is done on neither side.
                let made = send(&mut self.beside, statement, data);
                // CREATE INDEX CONCURRENTLY leaves an invalid index where it fails.
                let stays = upper.contains("CONCURRENTLY");
                if stays || !made.iter().any(|frame| frame.tag == b'E') {
                    send(&mut self.direct, statement, data);
                }
            }
            return;
        }
        let theirs = send(&mut self.direct, statement, data);
        let upper = statement.to_ascii_uppercase();
        if (upper.starts_with("SET") || upper.starts_with("RESET"))
            && !upper.starts_with("SET LOCAL")
        {
            self.beside.query(statement);
        }
        *open = in_transaction(&ours);
        let unsettled = UNSETTLED.iter().any(|word| {
            statement
                .to_ascii_lowercase()
                .contains(&word.to_ascii_lowercase())
        });
        if unsettled || gist(&ours) == gist(&theirs) || both_undefined(&ours, &theirs) {
            counts.same += 1;
            return;
        }
        let shown = |frames: &[Frame]| -> String {
            let frames: Vec<String> = frames
                .iter()
                .filter(|frame| !matches!(frame.tag, b'N' | b'Z' | b'S'))
                .take(3)
                .map(|frame| match frame.tag {
                    b'E' => format!(
                        "{} {}",
                        frame.field(b'C').unwrap_or_default(),
                        frame.field(b'M').unwrap_or_default()
                    ),
                    _ => format!("{frame:?}"),
                })
                .collect();
            frames.join(" ").chars().take(300).collect()
        };
        counts.different.push(format!(
            "{test}: {statement}\n    {}\n    {}",
            shown(&ours),
            shown(&theirs)
        ));
    }
}

/// The file that `\set filename :abs_srcdir '/data/x.data'` names: the one psql variable that much depends on.
fn file_named(text: &str) -> Option<String> {
    let rest = text.strip_prefix("\\set filename :abs_srcdir '")?;
    Some(format!(
        "{}{}",
        folder().display(),
        rest.strip_suffix('\'')?
    ))
}

/// Lines of differences.txt: `test: beginning of the statement | reason`.
fn known_difference(different: &str) -> bool {
    DIFFERENT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(" | "))
        .any(|(beginning, _)| different.starts_with(beginning))
}

/// Patterns of refused.txt: `message with * | reason`.
fn listed(message: &str) -> bool {
    REFUSED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .any(|line| {
            let pattern = line.split(" | ").next().unwrap_or_default().trim();
            let mut rest = message;
            let mut parts = pattern.split('*');
            let first = parts.next().unwrap_or_default();
            if pattern.is_empty() || !rest.starts_with(first) {
                return false;
            }
            rest = &rest[first.len()..];
            parts.all(|part| match rest.find(part) {
                Some(at) => {
                    rest = &rest[at + part.len()..];
                    true
                }
                None => false,
            })
        })
}

/// Of the vendored files, those that ask for little DDL: a debug build takes a second to read the catalog again.
const SAMPLE: &[&str] = &[
    "test_setup",
    "boolean",
    "case",
    "delete",
    "select_having",
    "text",
];

/// All files where a folder of them, or some by name, are asked for.
fn wanted(name: &str) -> bool {
    let asked = ["PGVEIL_REGRESS", "PGVEIL_REGRESS_ONLY"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    asked || SAMPLE.contains(&name)
}

#[test]
fn statements_over_unprotected_tables_answer_a_restricted_role_as_directly() {
    let (direct, behind) = (server(), server());
    let pgveil = veil(&behind);
    let mut counts = Counts::default();
    let mut told = Told::default();
    for test in tests().into_iter().filter(|test| wanted(test)) {
        let began = Instant::now();
        let text = fs::read(folder().join(format!("sql/{test}.sql"))).expect("a file");
        let text = String::from_utf8_lossy(&text);
        let mut sessions = Sessions {
            direct: Client::login(direct.port(), "regress_agent", "", DATABASE),
            veiled: Client::login(pgveil.port(), "regress_agent", "", DATABASE),
            beside: Client::login(behind.port(), "regress_agent", "", DATABASE),
        };
        sessions.beside.query("SET lock_timeout = '300ms'");
        for session in [&mut sessions.direct, &mut sessions.veiled] {
            session.query("SET statement_timeout = '20s'");
        }
        let mut open = false;
        let mut file = String::new();
        for item in items(&text) {
            match item {
                Item::Statement(statement) => {
                    sessions.run(&test, &statement, None, &mut counts, &mut open)
                }
                Item::CopyIn(statement, data) => {
                    sessions.run(&test, &statement, Some(&data), &mut counts, &mut open)
                }
                Item::Psql(text) => match file_named(&text) {
                    Some(path) => file = path,
                    None if text.starts_with("COPY") && text.contains(":'filename'") => {
                        let statement = text.replace(":'filename'", &format!("'{file}'"));
                        sessions.run(&test, &statement, None, &mut counts, &mut open);
                    }
                    None => counts.psql += 1,
                },
            }
        }
        println!("{test}: {:.1?}", began.elapsed());
        counts.tell_news(&mut told);
    }
    let refused: usize = counts.refused.values().map(|kind| kind.0).sum();
    println!(
        "{} statements alike, {refused} refused, {} different, {} of psql's own left out",
        counts.same,
        counts.different.len(),
        counts.psql
    );
    let mut kinds: Vec<_> = counts.refused.iter().collect();
    kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for (message, (count, example)) in &kinds {
        let mark = if listed(message) { " " } else { "!" };
        println!(
            "{mark}{count:6} {message}\n        {}",
            example
                .replace('\n', " ")
                .chars()
                .take(200)
                .collect::<String>()
        );
    }
    let (known, new): (Vec<&String>, Vec<&String>) = counts
        .different
        .iter()
        .partition(|different| known_difference(different));
    for different in &known {
        println!("listed in differences.txt: {different}");
    }
    assert!(counts.same > 150, "too few statements ran");
    let unlisted = kinds.iter().filter(|(message, _)| !listed(message)).count();
    assert_eq!(
        unlisted, 0,
        "kinds of refusals that tests/regress/refused.txt does not list"
    );
    assert!(
        new.is_empty(),
        "{} statements answer differently",
        new.len()
    );
}
