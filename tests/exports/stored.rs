//! Rows that go into tables of the database: what was stopped must not be there to be read.
use crate::grants::grant;
use crate::support::Postgres;
use crate::support::compare::shows;
use crate::support::message::{
    Client, Frame, bind, close, describe, execute, flush, parse, query, sync, tags,
};
use crate::{BOTH, CONTACTS, DAY, Taken, login, request_of, start, start_with, stopped, told};

const ALL: &str = "INSERT INTO plain SELECT 10000 + id FROM contacts";
const FEW: &str = "INSERT INTO plain SELECT 20000 + id FROM contacts WHERE id <= 20";

/// Numbers in `plain` that came from `contacts`.
fn stored(server: &Postgres) -> usize {
    let rows = server.sql(
        "postgres",
        "SELECT count(*) FROM plain WHERE id > 10000 AND id < 90000",
    );
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

fn status(frames: &[Frame]) -> u8 {
    frames.last().expect("a frame").body[0]
}

#[test]
fn what_was_stopped_is_taken_back() {
    let (server, pgveil) = start(BOTH);
    let merge = "MERGE INTO plain USING contacts ON contacts.id = plain.id - 10000 \
                 WHEN NOT MATCHED THEN INSERT VALUES (contacts.id + 10000)";
    let mut ways = vec![
        ("INSERT", vec![ALL]),
        (
            "INSERT ... RETURNING",
            vec!["INSERT INTO plain SELECT 10000 + id FROM contacts RETURNING id"],
        ),
        (
            "with a conflict",
            vec![
                "INSERT INTO plain SELECT 10000 + id FROM contacts ON CONFLICT (id) DO UPDATE SET id = excluded.id + 50000",
            ],
        ),
        (
            "UPDATE",
            vec![
                "UPDATE plain SET id = 10000 + contacts.id FROM contacts WHERE contacts.id = plain.id",
            ],
        ),
        (
            "EXECUTE",
            vec![
                "PREPARE p AS INSERT INTO plain SELECT 10000 + id FROM contacts",
                "EXECUTE p",
            ],
        ),
        ("in a transaction", vec!["BEGIN", ALL, "COMMIT"]),
        (
            "in two steps",
            vec!["BEGIN", FEW, "SAVEPOINT s", ALL, "COMMIT"],
        ),
    ];
    if server.major() >= 15 {
        ways.push(("MERGE", vec![merge]));
    }
    for (number, (name, texts)) in ways.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let answers: Vec<_> = texts.iter().map(|text| client.query(text)).collect();
        let stop = answers.iter().find_map(|frames| told(frames));
        assert!(stopped(&stop), "{name}: {stop:?}");
        assert_eq!(stored(&server), 0, "{name}: rows stay");
        let last = answers.last().unwrap();
        assert_eq!(status(last), b'I', "{name}");
        if texts.last() == Some(&"COMMIT") {
            let stop = &answers[answers.len() - 2];
            assert_eq!(status(stop), b'E', "{name}: the transaction has failed");
            assert_eq!(tags(last), "CZ", "{name}");
            assert!(last[0].body.starts_with(b"ROLLBACK"), "{name}");
        }
        assert!(
            told(&client.query("SELECT 1")).is_none(),
            "{name}: it goes on"
        );
    }
    // Many rows in one of a protected relation, whose row would be read as one.
    let mut client = login(&pgveil, "u1");
    let text =
        "UPDATE contacts SET code = (SELECT string_agg(c.code, ',') FROM contacts c) WHERE id = 1";
    assert!(stopped(&told(&client.query(text))));
    let rows = server.sql("postgres", "SELECT max(length(code)) FROM contacts");
    assert_eq!(rows[0][0].as_deref(), Some("6"));
}

/// As [`what_was_stopped_is_taken_back`], by messages; whatever is in flight behind the statement.
#[test]
fn what_was_stopped_is_taken_back_whatever_follows_it() {
    let (server, pgveil) = start(BOTH);
    let run = |text: &str| {
        vec![
            parse("", text, &[]),
            bind("", "", &[], 0),
            describe(b'P', ""),
            execute("", 0),
        ]
    };
    let batches = [
        ("a batch", [run(ALL), vec![sync()]].concat(), 1),
        (
            "its commit in the same batch",
            [
                run("BEGIN"),
                run(ALL),
                run("COMMIT"),
                vec![sync()],
                run("COMMIT"),
                vec![sync()],
            ]
            .concat(),
            2,
        ),
        (
            "its commit in flight",
            [vec![query("BEGIN"), query(ALL), query("COMMIT")]].concat(),
            3,
        ),
        (
            "behind its Flush",
            [run(ALL), vec![flush(), query("COMMIT"), sync()]].concat(),
            1,
        ),
        (
            "with a limit of rows",
            vec![
                parse(
                    "",
                    "INSERT INTO plain SELECT 10000 + id FROM contacts RETURNING id",
                    &[],
                ),
                bind("", "", &[], 0),
                execute("", 10),
                sync(),
            ],
            1,
        ),
        (
            "prepared by a message and run by its name",
            [vec![parse("s", ALL, &[]), sync(), query("EXECUTE s")]].concat(),
            2,
        ),
        (
            "prepared in flight",
            vec![
                query(&format!("PREPARE q AS {ALL}")),
                query("EXECUTE q"),
                query("COMMIT"),
            ],
            3,
        ),
    ];
    for (number, (name, messages, ready)) in batches.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        client.send_all(&messages);
        let answers: Vec<_> = (0..ready).map(|_| client.read_until_ready()).collect();
        let stop = answers.iter().find_map(|frames| told(frames));
        assert!(stopped(&stop), "{name}: {stop:?}");
        assert_eq!(status(answers.last().unwrap()), b'I', "{name}");
        assert_eq!(stored(&server), 0, "{name}: rows stay");
        assert!(
            told(&client.query("SELECT 1")).is_none(),
            "{name}: it goes on"
        );
    }
}

/// Within the limits it is as if it had not been waited for.
#[test]
fn what_may_be_stored_stays() {
    let (server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    let frames = client.query(FEW);
    assert_eq!(tags(&frames), "CZ", "as a Query is answered");
    assert_eq!(frames[0].body, b"INSERT 0 20\0");
    assert_eq!(stored(&server), 20);
    let frames = client.query("DELETE FROM plain USING contacts WHERE plain.id = 20000 + contacts.id AND contacts.id <= 20");
    assert_eq!(tags(&frames), "CZ");
    let frames = client
        .query("INSERT INTO plain SELECT 20000 + id FROM contacts WHERE id <= 2 RETURNING id");
    assert_eq!(tags(&frames), "TDDCZ");
    // An error of its own, and one at its end.
    let frames = client.query("INSERT INTO plain SELECT 20001 FROM contacts WHERE id <= 2");
    assert_eq!(told(&frames).unwrap().sqlstate, "23505");
    assert_eq!((tags(&frames).as_str(), status(&frames)), ("EZ", b'I'));
    server.sql("postgres", "ALTER TABLE plain DROP CONSTRAINT plain_pkey, ADD UNIQUE (id) DEFERRABLE INITIALLY DEFERRED");
    let frames = client.query("INSERT INTO plain SELECT 20001 FROM contacts WHERE id <= 2");
    assert_eq!(told(&frames).unwrap().sqlstate, "23505");
    assert_eq!(status(&frames), b'I');
    assert_eq!(stored(&server), 2);
    client.query("BEGIN");
    let frames = client.query("INSERT INTO plain SELECT 30000 + id FROM contacts WHERE id <= 3");
    assert_eq!((tags(&frames).as_str(), status(&frames)), ("CZ", b'T'));
    client.query("ROLLBACK");
    assert_eq!(stored(&server), 2);
    client.send_all(&[
        parse(
            "s",
            "INSERT INTO plain SELECT 30000 + id FROM contacts WHERE id <= $1",
            &[],
        ),
        bind("", "s", &[Some("3")], 0),
        execute("", 0),
        bind("", "s", &[Some("0")], 0),
        execute("", 0),
        close(b'S', "s"),
        sync(),
    ]);
    assert_eq!(tags(&client.read_until_ready()), "12C2C3Z");
    assert_eq!(stored(&server), 5);
    let lines = pgveil.audit_lines();
    let of = |rows: &str| {
        lines
            .iter()
            .filter(|line| line.contains("\"kind\":\"INSERT\"") && line.contains(rows))
            .count()
    };
    assert_eq!(of("\"rows\":20,"), 1, "on record once");
}

/// What comes back of a Query in parts, and what it leaves, is masked as everywhere.
#[test]
fn what_a_query_in_parts_returns_and_leaves_is_masked() {
    let (server, pgveil) = start_with(
        BOTH,
        "CREATE TABLE kept(phone text); GRANT ALL ON kept TO PUBLIC",
    );
    let text = "INSERT INTO kept SELECT phone FROM contacts WHERE id <= 3 RETURNING phone";
    let secret = "13800000002";
    let stored = || {
        let rows = server.sql("postgres", "SELECT max(phone) FROM kept");
        rows[0][0].clone().expect("a phone")
    };
    let mut client = login(&pgveil, "u0");
    client.send_all(&[
        query(text),
        parse("", text, &[]),
        bind("", "", &[], 0),
        describe(b'P', ""),
        execute("", 0),
        sync(),
    ]);
    for expected in ["TDDDCZ", "12TDDDCZ"] {
        let frames = client.read_until_ready();
        assert_eq!(tags(&frames), expected);
        assert!(!shows(&frames, secret));
    }
    assert!(stored().starts_with('*'), "{}", stored());
    // The poison control: without a mask both are there to be seen.
    let frames = login(&pgveil, "clear").query(text);
    assert!(shows(&frames, secret));
    server.sql("postgres", "DELETE FROM kept WHERE phone LIKE '*%'");
    assert_eq!(stored(), "13800000003");
}

/// As the server says it itself: the commit comes before the command tag.
#[test]
fn a_query_in_parts_whose_commit_fails_is_answered_by_an_error_alone() {
    let (server, pgveil) = start_with(
        BOTH,
        "CREATE TABLE late(id int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON late TO PUBLIC",
    );
    let text = "INSERT INTO late SELECT 1 FROM contacts WHERE id <= 2";
    let mut client = login(&pgveil, "u0");
    let mut direct = Client::login(server.port(), "u0", "", "postgres");
    for client in [&mut direct, &mut client] {
        let frames = client.query(text);
        assert_eq!(tags(&frames), "EZ");
        assert_eq!(told(&frames).expect("an error").sqlstate, "23505");
        let frames = client.query("INSERT INTO late SELECT 1 FROM contacts WHERE id <= 1");
        assert_eq!(tags(&frames), "CZ");
        client.query("DELETE FROM late");
    }
}

/// A Query leaves no unnamed statement and no unnamed portal, in parts too.
#[test]
fn a_query_in_parts_leaves_nothing_behind() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for (text, sqlstate) in [
        (FEW, None),
        (
            "INSERT INTO plain SELECT 1 FROM contacts WHERE id <= 1",
            Some("23505"),
        ),
    ] {
        client.send_all(&[parse("", "SELECT 1", &[]), sync()]);
        client.read_until_ready();
        client.query("BEGIN");
        let told_of = |frames: &[Frame]| told(frames).map(|told| told.sqlstate);
        assert_eq!(told_of(&client.query(text)).as_deref(), sqlstate);
        client.query("ROLLBACK");
        client.send_all(&[bind("", "", &[], 0), execute("", 0), sync()]);
        let frames = client.read_until_ready();
        let told = told(&frames).expect("an error");
        assert_eq!(told.sqlstate, "26000", "{told:?}");
        assert_eq!(told.message, "unnamed prepared statement does not exist");
    }
    client.query("BEGIN");
    client.query("INSERT INTO plain SELECT 40000 + id FROM contacts WHERE id <= 1");
    client.send_all(&[execute("", 0), sync()]);
    let told = told(&client.read_until_ready()).expect("an error");
    assert_eq!(
        (told.sqlstate.as_str(), told.message.as_str()),
        ("34000", "portal \"\" does not exist")
    );
}

#[test]
fn among_other_statements_it_is_refused() {
    let (server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for text in [
        format!("BEGIN; {ALL}; COMMIT"),
        format!("{FEW}; SELECT 1"),
        format!("PREPARE p AS {ALL}; EXECUTE p"),
    ] {
        let told = told(&client.query(&text)).expect(&text);
        assert!(
            told.message.contains("among other statements of one text"),
            "{told:?}"
        );
        assert_eq!(told.hint, "Send it as a statement of its own.");
    }
    assert_eq!(stored(&server), 0);
    // Behind messages without a Sync its end would be theirs, too.
    client.send_all(&[
        parse("", "SELECT 1", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        query(FEW),
        sync(),
    ]);
    let frames = [client.read_until_ready(), client.read_until_ready()].concat();
    let refused = told(&frames).expect("refused");
    assert!(refused.message.contains("without a Sync"), "{refused:?}");
    assert_eq!(stored(&server), 0);
}

/// The command tag of EXPLAIN tells of no rows.
#[test]
fn explained_it_is_refused() {
    let export = format!("{BOTH} }}\n    statements: {{ allow: [explain]");
    let (server, pgveil) = start(&export);
    let mut client = login(&pgveil, "u0");
    client.query(&format!("PREPARE p AS {ALL}"));
    for (text, said) in [
        (
            "EXPLAIN ANALYZE EXECUTE p".to_owned(),
            "EXECUTE is not allowed",
        ),
        (
            format!("EXPLAIN ANALYZE {ALL}"),
            "a WITH query or EXPLAIN ANALYZE that writes",
        ),
    ] {
        let told = told(&client.query(&text)).expect(&text);
        assert!(told.message.contains(said), "{text}: {told:?}");
    }
    assert_eq!(stored(&server), 0);
    assert!(told(&client.query("EXPLAIN ANALYZE SELECT code FROM contacts")).is_none());
}

/// What is granted is stored.
#[test]
fn under_a_grant_rows_are_stored() {
    let (server, mut pgveil) = start(BOTH);
    let request = request_of(&told(&login(&pgveil, "u0").query(ALL)));
    pgveil.kill();
    grant(&pgveil, &request, CONTACTS as u64);
    let pgveil = pgveil.restart();
    let mut client = login(&pgveil, "u0");
    assert_eq!(tags(&client.query(ALL)), "CZ");
    assert_eq!(stored(&server), CONTACTS);
    let mut taken = Taken::default();
    let again = taken.run(
        &mut client,
        [
            "DELETE FROM plain WHERE id > 5000".to_owned(),
            ALL.to_owned(),
        ],
    );
    assert!(stopped(&again), "a grant is used once: {again:?}");
    assert_eq!(stored(&server), 0);
}

/// A client that goes on while its statement runs gets its answers in order.
#[test]
fn messages_in_flight_behind_it_are_answered_in_order() {
    let (_server, pgveil) = start(BOTH);
    let mut client: Client = login(&pgveil, "u0");
    let few =
        |from: usize| format!("INSERT INTO plain SELECT {from} + id FROM contacts WHERE id <= 3");
    client.send_all(&[
        query(&few(20000)),
        query("SELECT 7"),
        parse("", &few(30000), &[]),
        bind("", "", &[], 0),
        execute("", 0),
        parse("", "SELECT 8", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        sync(),
        query(ALL),
        query("SELECT 9"),
    ]);
    let seen: Vec<String> = (0..5).map(|_| tags(&client.read_until_ready())).collect();
    assert_eq!(seen, ["CZ", "TDCZ", "12C12DCZ", "EZ", "TDCZ"]);
}

/// A row of a protected relation that takes up others' values is read as one: what is put into it counts.
#[test]
fn rows_that_are_put_together_in_one_count() {
    let (server, pgveil) = start(BOTH);
    // Each time a row takes up as many as it holds.
    let mut client = login(&pgveil, "u0");
    client.query("BEGIN");
    let double = "UPDATE contacts SET code = contacts.code || c.code FROM contacts c WHERE c.id = contacts.id % 5000 + 1";
    assert!(stopped(&told(&client.query(double))), "5,000 rows");
    client.query("ROLLBACK");
    // One after the other.
    let mut client = login(&pgveil, "u1");
    let mut taken = Taken::default();
    let one = (2..CONTACTS).map(|id| format!("UPDATE contacts SET code = code || (SELECT c.code FROM contacts c WHERE c.id = {id}) WHERE id = 1"));
    let told_of = taken.run(&mut client, one);
    assert!(stopped(&told_of), "{told_of:?}");
    let rows = server.sql(
        "postgres",
        "SELECT length(code) / 6 FROM contacts WHERE id = 1",
    );
    let held: usize = rows[0][0].as_deref().unwrap().parse().unwrap();
    assert!((DAY / 2..=DAY + 1).contains(&held), "{held} rows in one");
    let mut client = login(&pgveil, "u3");
    client.query("CREATE TEMP TABLE mine (note text)");
    for hidden in [
        "WITH w AS (UPDATE contacts SET code = contacts.code || c.code FROM contacts c WHERE c.id = 7 RETURNING 1) SELECT 1",
        "WITH c AS (SELECT a.code || b.code AS v FROM contacts a, contacts b WHERE a.id = 7 AND b.id = 8), \
         w AS (UPDATE contacts SET code = c.v FROM c WHERE contacts.id = 9 RETURNING 1) SELECT 1 FROM w",
    ] {
        let refused = told(&client.query(hidden)).expect("refused");
        assert!(
            refused
                .message
                .contains("a WITH query or EXPLAIN ANALYZE that writes"),
            "{refused:?}"
        );
    }
    // What takes a value from another row holds one, and counts as one.
    for text in [
        "UPDATE contacts SET code = c.code FROM contacts c WHERE c.id = 7 AND contacts.id <= 20",
        "UPDATE contacts SET code = code || '!'",
        "UPDATE contacts SET code = coalesce(contacts.code, c.code) FROM contacts c WHERE c.id = 7 AND contacts.id <= 20",
    ] {
        assert!(told(&client.query(text)).is_none(), "{text}");
    }
}
