//! What is sent before the answers to what was sent before: it may fail, and then a name stands for something else than what
//! was sent last, and the search path and the encoding are what they were. And settings that a statement changes by another
//! one that it runs.
use crate::circumstances::{CALL, FIRST, MORE, ROWS, SECRET, TYPE, direct, runs};
use crate::support::compare::{shows, values};
use crate::support::message::{Client, bind, close, execute, frame, parse, query, sync};
use crate::{agent, error, start};

/// To a server that reads SJIS the two bytes are one character, and the quote ends behind them; to one that reads UTF-8 the
/// backslash takes the quote's meaning away.
const TWO_WAYS: &[u8] =
    b"SELECT E'\xc3\x81\x5c' , (SELECT phone || '' FROM crm.contacts WHERE id = 1) --'\0";

fn two_ways() -> Vec<u8> {
    frame(b'Q', TWO_WAYS)
}

pub fn shows_secret(client: &mut Client, groups: &[Vec<Vec<u8>>]) -> bool {
    shows(&client.exchange(groups), SECRET)
}

fn prepared(name: &str, text: &str) -> Vec<Vec<u8>> {
    vec![parse(name, text, &[]), sync()]
}

/// Binds a prepared statement and runs it.
fn run(name: &str) -> Vec<Vec<u8>> {
    vec![bind("p", name, &[], 0), execute("p", 0)]
}

pub fn one(text: &str) -> Vec<Vec<u8>> {
    vec![query(text)]
}

/// Prepares a query in a transaction whose end fails.
fn late(prepared: &str) -> String {
    format!("INSERT INTO helpers.late VALUES (1); PREPARE s AS {prepared}")
}

pub type Groups = Vec<Vec<Vec<u8>>>;

fn names_that_fail() -> Vec<(&'static str, Groups)> {
    let call = || [runs(CALL), vec![sync()]].concat();
    let harmless = || prepared("s", "SELECT 1");
    let other = |name: &str| format!("PREPARE {name} AS SELECT 1");
    vec![
        (
            "a Parse of a name that is taken",
            vec![
                prepared("s", FIRST),
                [harmless(), run("s"), call()].concat(),
            ],
        ),
        (
            "the same with a temporary table",
            vec![
                prepared("s", TYPE),
                [harmless(), run("s"), runs(ROWS), vec![sync()]].concat(),
            ],
        ),
        (
            "the same with the encoding",
            vec![
                prepared("s", "SET client_encoding = 'SJIS'"),
                [harmless(), run("s"), vec![sync(), two_ways()]].concat(),
            ],
        ),
        (
            "a Parse of a name that is taken, and EXECUTE",
            vec![
                one(&format!("PREPARE s AS {CALL}")),
                one(FIRST),
                [harmless(), one("EXECUTE s")].concat(),
            ],
        ),
        (
            "PREPARE behind what fails",
            vec![
                one(&format!("PREPARE s AS {CALL}")),
                one(FIRST),
                [
                    one(&format!("SELECT 1/0; {}", other("s"))),
                    one("EXECUTE s"),
                ]
                .concat(),
            ],
        ),
        (
            "PREPARE that stays though its transaction fails at its end",
            vec![one(&late(CALL)), one(FIRST), one("EXECUTE s")],
        ),
        (
            "the same in one write",
            vec![[one(&late(CALL)), one(FIRST), one("EXECUTE s")].concat()],
        ),
        (
            "the same, bound",
            vec![
                one(&late(CALL)),
                one(FIRST),
                [run("s"), vec![sync()]].concat(),
            ],
        ),
        (
            "a Close that is skipped",
            vec![
                prepared("s", FIRST),
                [
                    runs("SELECT 1/0"),
                    vec![close(b'S', "s")],
                    harmless(),
                    run("s"),
                    call(),
                ]
                .concat(),
            ],
        ),
        (
            "a Bind that fails behind a savepoint",
            vec![
                one("BEGIN"),
                [
                    vec![parse("s", FIRST, &[]), bind("p", "s", &[], 0)],
                    prepared("safe", "SELECT 1"),
                ]
                .concat(),
                one("SAVEPOINT a"),
                [
                    vec![bind("p", "safe", &[], 0), sync(), query("ROLLBACK TO a")],
                    vec![execute("p", 0)],
                    call(),
                ]
                .concat(),
            ],
        ),
    ]
}

/// Portals that a statement of the same batch opens, which is known when it is answered.
fn opened_in_a_batch() -> Vec<(&'static str, Groups)> {
    let path = "set_config('search_path', 'helpers, pg_catalog', false)";
    let declare = || runs(&format!("DECLARE c CURSOR FOR SELECT {path}"));
    let call = || [runs(CALL), vec![sync()]].concat();
    vec![
        (
            "DECLARE by a message, and Execute",
            vec![
                one("BEGIN"),
                [declare(), vec![execute("c", 0)], call()].concat(),
            ],
        ),
        (
            "the same, and the next batch",
            vec![
                one("BEGIN"),
                [declare(), vec![execute("c", 0), sync()], call()].concat(),
            ],
        ),
        (
            "DECLARE by a message, and FETCH",
            vec![one("BEGIN"), [declare(), runs("FETCH c"), call()].concat()],
        ),
        (
            "the same with the encoding",
            vec![
                one("BEGIN"),
                [
                    runs(
                        "DECLARE c CURSOR FOR SELECT set_config('client_encoding', 'SJIS', false)",
                    ),
                    vec![execute("c", 0), sync(), two_ways()],
                ]
                .concat(),
            ],
        ),
    ]
}

fn circumstances_that_fail() -> Vec<(&'static str, Groups)> {
    let call = || [runs(CALL), vec![sync()]].concat();
    let closes = || vec![close(b'S', "nowhere")];
    let undone = "SELECT 1/0; SET search_path = pg_catalog";
    vec![
        (
            "SET behind what fails",
            vec![one(FIRST), [one(undone), closes(), call()].concat()],
        ),
        (
            "the same, answered",
            vec![one(FIRST), one(undone), [closes(), call()].concat()],
        ),
        (
            "the same in a batch",
            vec![
                one(FIRST),
                [
                    runs("SELECT 1/0"),
                    runs("SET search_path = pg_catalog"),
                    vec![sync()],
                    closes(),
                    call(),
                ]
                .concat(),
            ],
        ),
        (
            "SET that is taken back",
            vec![
                one(FIRST),
                one("BEGIN; SAVEPOINT a; SET search_path = pg_catalog; ROLLBACK TO a"),
                [closes(), call()].concat(),
            ],
        ),
        (
            "a table that is still there",
            vec![
                one(TYPE),
                [
                    one("SELECT 1/0; DROP TABLE pg_temp.text"),
                    closes(),
                    runs(ROWS),
                    vec![sync()],
                ]
                .concat(),
            ],
        ),
    ]
}

/// A transaction that is sent before another one's end is answered: its own end takes back what it has set.
fn behind_another_end() -> Vec<(&'static str, Groups)> {
    let behind = |runs: Vec<Vec<u8>>| {
        let other = [one("SELECT 1"), one("BEGIN")].concat();
        [other, runs, vec![sync()]].concat()
    };
    let set = |text: &str| behind(runs(text));
    let call = || [runs(CALL), vec![sync()]].concat();
    let path = "SET LOCAL search_path = pg_catalog";
    let encoding = "SET LOCAL client_encoding = 'UTF8'";
    vec![
        (
            "a path",
            vec![one(FIRST), set(path), one("ROLLBACK"), call()],
        ),
        (
            "a path by a function",
            vec![
                one(FIRST),
                set("SELECT set_config('search_path', 'pg_catalog', true)"),
                one("ROLLBACK"),
                call(),
            ],
        ),
        (
            "a path, taken back by an error",
            vec![
                one(FIRST),
                set(path),
                one("SELECT 1/0"),
                one("COMMIT"),
                call(),
            ],
        ),
        (
            "a path, and Query",
            vec![
                one(FIRST),
                [one("SELECT 1"), one("BEGIN"), one(path)].concat(),
                one("ROLLBACK"),
                call(),
            ],
        ),
        (
            "a table that is dropped",
            vec![
                one(TYPE),
                set("DROP TABLE pg_temp.text"),
                one("ROLLBACK"),
                [runs(ROWS), vec![sync()]].concat(),
            ],
        ),
        (
            "an encoding",
            vec![
                one("SET client_encoding = 'SJIS'"),
                set(encoding),
                [one("ROLLBACK"), vec![two_ways()]].concat(),
            ],
        ),
        (
            "an encoding, taken back by an error",
            vec![
                one("SET client_encoding = 'SJIS'"),
                set(encoding),
                [one("SELECT 1/0"), one("ROLLBACK"), vec![two_ways()]].concat(),
            ],
        ),
    ]
}

fn settings_within() -> Vec<(&'static str, Groups)> {
    let path = "set_config('search_path', 'helpers, pg_catalog', false)";
    let prepare = || one(&format!("PREPARE e AS SELECT {path}"));
    let declare = || one(&format!("BEGIN; DECLARE c CURSOR FOR SELECT {path}"));
    let encoding = || one("PREPARE e AS SELECT set_config('client_encoding', 'SJIS', false)");
    vec![
        ("EXECUTE", vec![prepare(), one("EXECUTE e"), one(CALL)]),
        (
            "EXECUTE in the same text",
            vec![prepare(), one(&format!("EXECUTE e; {CALL}"))],
        ),
        (
            "EXECUTE in a batch",
            vec![
                prepare(),
                [runs("EXECUTE e"), runs(CALL), vec![sync()]].concat(),
            ],
        ),
        (
            "EXPLAIN ANALYZE EXECUTE",
            vec![prepare(), one("EXPLAIN ANALYZE EXECUTE e"), one(CALL)],
        ),
        (
            "CREATE TABLE AS EXECUTE",
            vec![
                prepare(),
                one("CREATE TEMP TABLE t AS EXECUTE e"),
                one(CALL),
            ],
        ),
        ("FETCH", vec![declare(), one("FETCH c"), one(CALL)]),
        (
            "FETCH in the same text",
            vec![declare(), one("SELECT 1"), one(&format!("FETCH c; {CALL}"))],
        ),
        ("MOVE", vec![declare(), one(&format!("MOVE c; {CALL}"))]),
        (
            "a message's statement by EXECUTE",
            vec![prepared("s", FIRST), one(&format!("EXECUTE s; {CALL}"))],
        ),
        (
            "a message's table by EXECUTE",
            vec![prepared("s", TYPE), one("EXECUTE s"), one(ROWS)],
        ),
        (
            "a message's EXECUTE by FETCH",
            vec![
                one("BEGIN"),
                one(&format!("PREPARE q AS {CALL}")),
                vec![parse("s", "EXECUTE q", &[]), bind("k", "s", &[], 0), sync()],
                one(FIRST),
                one("FETCH ALL FROM k"),
            ],
        ),
        (
            "the default of a temporary table",
            vec![
                one(&format!("CREATE TEMP TABLE t (a text DEFAULT {path})")),
                one("INSERT INTO t DEFAULT VALUES"),
                one(CALL),
            ],
        ),
        (
            "the default of a column that is added",
            vec![
                one("CREATE TEMP TABLE t (a int)"),
                one("INSERT INTO t VALUES (1)"),
                one(&format!("ALTER TABLE t ALTER a SET DEFAULT length({path})")),
                one("INSERT INTO t DEFAULT VALUES"),
                one(CALL),
            ],
        ),
        (
            "a check of a temporary table",
            vec![
                one(
                    "CREATE TEMP TABLE t (a text CHECK (set_config('search_path', a, false) IS NOT NULL))",
                ),
                one("INSERT INTO t VALUES ('helpers, pg_catalog')"),
                one(CALL),
            ],
        ),
        (
            "the encoding by EXECUTE",
            vec![encoding(), [one("EXECUTE e"), vec![two_ways()]].concat()],
        ),
    ]
}

#[test]
fn what_was_sent_and_fails_has_not_changed_what_comes_after() {
    let (server, pgveil) = start(MORE);
    let cases = [
        names_that_fail(),
        opened_in_a_batch(),
        circumstances_that_fail(),
        behind_another_end(),
        settings_within(),
    ];
    for (what, groups) in cases.concat() {
        let shown = shows_secret(&mut agent(pgveil.port()), &groups);
        assert!(!shown, "{what}");
        // The poison control: this is what the server makes of it.
        assert!(shows_secret(&mut direct(&server), &groups), "{what}");
    }
}

/// The other way round: an encoding that goes back.
#[test]
fn an_encoding_that_is_taken_back_is_known() {
    let (server, pgveil) = start(MORE);
    // As SJIS the second backslash takes the quote's meaning away; as UTF-8 it is the first that the second is meant by.
    let text: &[u8] =
        b"SELECT E'\xc3\x81\x5c\x5c' , (SELECT phone || '' FROM crm.contacts WHERE id = 1) --'\0";
    let groups = vec![
        one("PREPARE e AS SELECT set_config('client_encoding', 'SJIS', false)"),
        one("BEGIN"),
        one("EXECUTE e"),
        vec![query("ROLLBACK"), frame(b'Q', text)],
    ];
    assert!(!shows_secret(&mut agent(pgveil.port()), &groups));
    assert!(shows_secret(&mut direct(&server), &groups));
}

/// An error takes it back before ROLLBACK comes: the text that begins with that is read in the encoding of before.
#[test]
fn an_encoding_that_an_error_takes_back_is_known() {
    let (server, pgveil) = start(MORE);
    let text: &[u8] = b"ROLLBACK; SELECT E'\xc3\x81\x5c\x5c' , (SELECT phone || '' FROM crm.contacts WHERE id = 1) --'\0";
    let began = || vec![one("BEGIN"), one("SET client_encoding = 'SJIS'")];
    let fails = vec![query("SELECT 1/0"), frame(b'Q', text)];
    let in_a_batch = [runs("SELECT 1/0"), vec![sync(), frame(b'Q', text)]].concat();
    for fails in [fails, in_a_batch] {
        let groups = [began(), vec![fails]].concat();
        assert!(!shows_secret(&mut agent(pgveil.port()), &groups));
        assert!(shows_secret(&mut direct(&server), &groups));
    }
}

/// What a transaction takes along is not what it was: the answer is the server's, whenever its other answers come.
#[test]
fn what_ends_with_a_transaction_that_is_under_way_is_not_there() {
    let (_server, pgveil) = start(MORE);
    for _ in 0..20 {
        let mut client = agent(pgveil.port());
        client.send_all(&[
            parse("", "COMMIT", &[]),
            bind("p", "", &[], 0),
            execute("p", 0),
            sync(),
            query("FETCH ALL FROM p"),
        ]);
        client.read_until_ready();
        let answer = error(&client.read_until_ready());
        assert_eq!(answer.as_deref(), Some("34000 cursor \"p\" does not exist"));
    }
}

#[test]
fn what_was_prepared_though_its_transaction_failed_is_not_known() {
    let (_server, pgveil) = start(MORE);
    let mut client = agent(pgveil.port());
    let failed = error(&client.query(&late("SELECT 'late'")));
    assert!(failed.is_some_and(|error| error.starts_with("23505")));
    client.send_all(&[run("s"), vec![sync()]].concat());
    for frames in [client.read_until_ready(), client.query("EXECUTE s")] {
        let refused = error(&frames).expect("refused");
        assert!(refused.contains("it cannot be told whether"), "{refused}");
    }
    client.query("DEALLOCATE s");
    client.query("PREPARE s AS SELECT 'again'");
    assert_eq!(values(&client.query("EXECUTE s")), ["again"]);
    // And what was never there is missed.
    let missed = error(&client.query("EXECUTE t"));
    assert!(missed.is_some_and(|error| error.starts_with("26000")));
}

/// The unnamed statement outlives what drops all others, and the session goes on.
#[test]
fn the_unnamed_statement_is_there_after_all_others_were_dropped() {
    let (_server, pgveil) = start(MORE);
    for drops in ["DISCARD ALL", "DEALLOCATE ALL"] {
        let mut client = agent(pgveil.port());
        client.send_all(
            &[
                vec![parse("s", "SELECT 1", &[])],
                runs(drops),
                vec![sync(), bind("", "", &[], 0), execute("", 0), sync()],
                vec![bind("", "s", &[], 0), sync(), query("SELECT 'goes on'")],
            ]
            .concat(),
        );
        let answers: Vec<_> = (0..4).map(|_| client.read_until_ready()).collect();
        assert_eq!(error(&answers[0]), None, "{drops}");
        assert_eq!(error(&answers[1]), None, "{drops}");
        let gone = error(&answers[2]);
        assert!(
            gone.is_some_and(|error| error.starts_with("26000")),
            "{drops}"
        );
        assert_eq!(values(&answers[3]), ["goes on"], "{drops}");
    }
}

/// As a driver sends ROLLBACK that has statements to close.
#[test]
fn a_transaction_that_has_failed_is_ended_by_a_batch_that_begins_otherwise() {
    let (_server, pgveil) = start(MORE);
    let mut client = agent(pgveil.port());
    client.query("BEGIN; SAVEPOINT a");
    client.query("SET search_path = crm");
    client.query("SELECT 1/0");
    for ends in ["ROLLBACK TO a", "ROLLBACK"] {
        client.query("SELECT 1/0");
        client.send_all(&[vec![close(b'S', "s")], runs(ends), vec![sync()]].concat());
        assert_eq!(error(&client.read_until_ready()), None, "{ends}");
    }
    // What comes behind the end is not known before.
    client.query("BEGIN; SET search_path = helpers, pg_catalog");
    client.query("SELECT 1/0");
    client.send_all(
        &[
            vec![close(b'S', "s")],
            runs("ROLLBACK"),
            runs(CALL),
            vec![sync()],
        ]
        .concat(),
    );
    let frames = client.read_until_ready();
    assert!(!shows(&frames, SECRET));
    assert!(error(&frames).is_some_and(|error| error.starts_with("42501 pgveil: the search_path")));
}

#[test]
fn a_copy_that_the_client_breaks_off_has_set_nothing() {
    let (server, pgveil) = start(MORE);
    let answers = |mut client: Client| {
        client.query("CREATE TEMP TABLE t (a int)");
        client.query(FIRST);
        client.send_all(&one(
            "SET search_path = pg_catalog; COPY pg_temp.t FROM STDIN",
        ));
        while client.read().expect("a message").tag != b'G' {}
        client.send_all(&[frame(b'f', b"\0"), query(CALL)]);
        let mut frames = client.read_until_ready();
        frames.extend(client.read_until_ready());
        frames
    };
    assert!(!shows(&answers(agent(pgveil.port())), SECRET));
    assert!(shows(&answers(direct(&server)), SECRET));
}

/// What programs send without waiting is served.
#[test]
fn batches_that_follow_on_one_another_are_served() {
    let (_server, pgveil) = start(MORE);
    let mut client = agent(pgveil.port());
    client.send_all(
        &[
            prepared("s", "SELECT 'one'"),
            run("s"),
            vec![sync(), close(b'S', "s")],
            prepared("s", "SELECT 'two'"),
            run("s"),
            vec![sync()],
            one("PREPARE e AS SELECT 'three'"),
            one("EXECUTE e"),
            one("SET search_path = crm"),
            vec![close(b'S', "s")],
            runs("SELECT 'four'"),
            runs("SET search_path = public"),
            runs("SELECT 'five'"),
            vec![sync()],
            one("BEGIN; DECLARE c CURSOR FOR SELECT 'six'"),
            one("FETCH c"),
            vec![execute("c", 0), sync()],
            one("COMMIT"),
        ]
        .concat(),
    );
    let mut frames = Vec::new();
    for _ in 0..12 {
        frames.extend(client.read_until_ready());
    }
    assert_eq!(error(&frames), None);
    assert_eq!(
        values(&frames),
        ["one", "two", "three", "four", "five", "six"]
    );
}
