//! What was prepared, opened or made for one person is not another's.
use crate::support::message::{bind, close, describe, execute, flush, parse, sync, tags};
use crate::{ALICES, ALL, PHONES, POLICY, cells, error, for_user, login, start};

const OTHERS: &str = "cached plan must not change result type";

#[test]
fn a_statement_prepared_for_one_is_not_run_for_another() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    client.query(&for_user(&format!("PREPARE p AS {PHONES}"), "carol"));
    client.query(&for_user(
        "PREPARE q AS SELECT word FROM crm.plain",
        "carol",
    ));
    for user in ["alice", "dave"] {
        let frames = client.query(&for_user("EXECUTE p", user));
        let said = error(&frames).expect("refused");
        assert!(said.contains(OTHERS), "{said}");
        // Of which nothing would be another's to see.
        assert_eq!(cells(&client.query(&for_user("EXECUTE q", user))), ["word"]);
    }
    assert!(error(&client.query("EXECUTE p")).is_some(), "nobody");
    assert_eq!(cells(&client.query(&for_user("EXECUTE p", "carol"))), ALL);

    let mut client = login(&pgveil, "erp");
    client.query("SET pgveil.app_user = 'carol'");
    client.send_all(&[parse("p", PHONES, &[]), sync()]);
    client.read_until_ready();
    client.query(&format!("PREPARE r AS {PHONES}"));
    let run = [bind("", "p", &[], 0), execute("", 0), sync()];
    client.send_all(&run);
    assert_eq!(cells(&client.read_until_ready()), ALL);
    client.query("SET pgveil.app_user = 'alice'");
    let frames = client.query("EXECUTE r");
    let said = error(&frames).expect("refused");
    assert!(said.contains(OTHERS), "{said}");
    assert!(cells(&frames).is_empty());
    client.send_all(&run);
    assert_eq!(cells(&client.read_until_ready()), ALICES);
    client.query("RESET pgveil.app_user");
    client.send_all(&run);
    for frames in [client.read_until_ready(), client.query("EXECUTE r")] {
        assert!(error(&frames).is_some() && cells(&frames).is_empty());
    }
    client.query("SET pgveil.app_user = 'carol'");
    client.send_all(&run);
    assert_eq!(cells(&client.read_until_ready()), ALL);
}

/// As a pool does whose connection goes from one person to the next: what its driver has prepared goes on.
#[test]
fn what_a_message_prepared_for_one_is_prepared_anew_for_another() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "erp");
    client.query("SET pgveil.app_user = 'carol'");
    let text = "SELECT phone FROM crm.contacts WHERE id >= $1 ORDER BY id";
    let whose = |user: &str| format!("SELECT set_config('pgveil.app_user', '{user}', true)");
    for name in ["p", ""] {
        let run = |from: &str| {
            [
                bind("", name, &[Some(from)], 0),
                describe(b'P', ""),
                execute("", 0),
                sync(),
            ]
        };
        client.query("SET pgveil.app_user = 'carol'");
        client.send_all(&[
            parse(name, text, &[23]),
            describe(b'S', name),
            bind("", name, &[Some("2")], 0),
            execute("", 0),
            sync(),
        ]);
        let first = client.read_until_ready();
        assert_eq!(cells(&first), ALL[1..], "{:?}", error(&first));
        for (user, seen) in [
            ("alice", &ALICES[1..]),
            ("carol", &ALL[1..]),
            ("bob", &["*******5678"][..]),
        ] {
            // By a message: a Query would take the unnamed statement.
            let begins = [
                parse("begin", "BEGIN", &[]),
                bind("", "begin", &[], 0),
                execute("", 0),
                parse("whose", &whose(user), &[]),
                bind("", "whose", &[], 0),
                execute("", 0),
                sync(),
            ];
            let ends = [
                parse("end", "COMMIT", &[]),
                bind("", "end", &[], 0),
                execute("", 0),
                close(b'S', "begin"),
                close(b'S', "whose"),
                close(b'S', "end"),
                sync(),
            ];
            client.send_all(&begins);
            let begun = client.read_until_ready();
            assert_eq!(error(&begun), None, "{user}");
            for _ in 0..2 {
                client.send_all(&run("2"));
                let frames = client.read_until_ready();
                assert_eq!(cells(&frames), seen, "{user}: {:?}", error(&frames));
                let rows = "D".repeat(seen.len());
                assert_eq!(tags(&frames), format!("2T{rows}CZ"), "{user}");
            }
            client.send_all(&ends);
            assert_eq!(error(&client.read_until_ready()), None);
        }
    }

    // For nobody it is refused, and stays what it is; so it does in a transaction that has failed.
    let run = [bind("", "p", &[Some("2")], 0), execute("", 0), sync()];
    client.query("RESET pgveil.app_user");
    client.send_all(&run);
    assert!(cells(&client.read_until_ready()).is_empty());
    client.query("BEGIN");
    client.query("SET pgveil.app_user = 'alice'");
    client.query("SAVEPOINT s");
    assert!(error(&client.query("SELECT 1 / 0")).is_some());
    client.send_all(&run);
    let failed = error(&client.read_until_ready()).expect("the transaction has failed");
    assert!(failed.starts_with("25P02"), "{failed}");
    client.query("ROLLBACK TO s");
    client.send_all(&run);
    let frames = client.read_until_ready();
    assert_eq!(cells(&frames), ALICES[1..], "{:?}", error(&frames));
    client.query("ROLLBACK");
    client.finish();

    let records = crate::records(&pgveil);
    let people = |user: &str| {
        let told = |record: &&serde_json::Value| {
            let reads = record["reads"].to_string().contains("crm.contacts");
            record["app_user"] == user && record["sqlstate"].is_null() && reads
        };
        records.iter().filter(told).count()
    };
    // The Parse that carol ran at once, and her two runs; for each name. What is prepared anew runs nothing.
    assert_eq!(people("carol"), 6);
    assert_eq!(people("bob"), 4);
}

/// A client that reads values by the types it was told of once would misread them.
#[test]
fn what_would_have_other_types_for_another_is_not_prepared_anew() {
    let (server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "erp");
    client.query("SET pgveil.app_user = 'carol'");
    client.send_all(&[
        parse("p", "SELECT * FROM crm.contacts ORDER BY id", &[]),
        sync(),
    ]);
    client.read_until_ready();
    // The server itself says so of the statement, before anybody asks about the person.
    server.sql("postgres", "ALTER TABLE crm.contacts ADD COLUMN more int");
    client.query("SET pgveil.app_user = 'alice'");
    let run = [bind("", "p", &[], 0), execute("", 0), sync()];
    client.send_all(&run);
    let frames = client.read_until_ready();
    let said = error(&frames).expect("an error");
    assert!(said.starts_with("0A000") && said.contains(OTHERS), "{said}");
    assert!(cells(&frames).is_empty());
    // A whole row with a masked column is none of the table's.
    client.query("SET pgveil.app_user = 'carol'");
    let row = parse("row", "SELECT c FROM crm.contacts c ORDER BY id", &[]);
    client.send_all(&[row, sync()]);
    client.read_until_ready();
    client.query("SET pgveil.app_user = 'alice'");
    client.send_all(&[bind("", "row", &[], 0), execute("", 0), sync()]);
    let frames = client.read_until_ready();
    let said = error(&frames).expect("an error");
    assert!(said.starts_with("0A000") && said.contains(OTHERS), "{said}");
    // What goes by the name is what it was.
    server.sql("postgres", "ALTER TABLE crm.contacts DROP COLUMN more");
    client.send_all(&run);
    let frames = client.read_until_ready();
    assert_eq!(cells(&frames).len(), 6, "{:?}", error(&frames));
}

#[test]
fn a_cursor_opened_for_one_gives_another_nothing() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    client.query("BEGIN");
    client.query(&for_user(
        &format!("DECLARE c CURSOR WITH HOLD FOR {PHONES}"),
        "carol",
    ));
    client.query("COMMIT");
    let first = client.query(&for_user("FETCH 1 FROM c", "carol"));
    assert_eq!(cells(&first), ["13812345678"], "{:?}", error(&first));
    for text in [
        for_user("FETCH 1 FROM c", "alice"),
        "FETCH 1 FROM c".to_owned(),
    ] {
        let frames = client.query(&text);
        assert!(
            error(&frames).is_some() && cells(&frames).is_empty(),
            "{text}"
        );
    }
    let next = client.query(&for_user("FETCH 1 FROM c", "carol"));
    assert_eq!(cells(&next), ["13912345678"]);

    let mut client = login(&pgveil, "erp");
    client.query("SET pgveil.app_user = 'carol'");
    client.query("BEGIN");
    client.query(&format!("DECLARE c CURSOR FOR {PHONES}"));
    client.send_all(&[
        parse("", PHONES, &[]),
        bind("open", "", &[], 0),
        execute("open", 1),
        flush(),
    ]);
    while client.read().expect("an answer").tag != b's' {}
    client.send_all(&[sync()]);
    client.read_until_ready();
    client.query("SET pgveil.app_user = 'alice'");
    client.query("SAVEPOINT s");
    let frames = client.query("FETCH 1 FROM c");
    assert!(error(&frames).is_some() && cells(&frames).is_empty());
    client.query("ROLLBACK TO s");
    client.send_all(&[execute("open", 1), sync()]);
    let frames = client.read_until_ready();
    assert!(error(&frames).is_some() && cells(&frames).is_empty());
    client.query("ROLLBACK TO s");
    // Set within the batch in which the portal goes on.
    client.query("SET pgveil.app_user = 'carol'");
    client.send_all(&[
        parse("", "SET pgveil.app_user = 'alice'", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        execute("open", 1),
        sync(),
    ]);
    let frames = client.read_until_ready();
    assert!(error(&frames).is_some() && cells(&frames).is_empty());
}

/// As psycopg, Django and SQLAlchemy send it for their server-side cursors: nothing can add a comment to it.
#[test]
fn fetch_that_names_nobody_goes_on_for_whom_the_cursor_was_declared() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    let prepared = |name: &str| [bind("", name, &[], 0), execute("", 0), sync()];
    for (user, seen) in [("carol", &ALL[..]), ("alice", &crate::ALICES[..])] {
        client.query("BEGIN");
        client.query(&for_user(
            &format!("DECLARE \"c\" CURSOR FOR {PHONES}"),
            user,
        ));
        client.query("SAVEPOINT s");
        let first = client.query("FETCH FORWARD 1 FROM \"c\"");
        assert_eq!(cells(&first), [seen[0]], "{:?}", error(&first));
        // Prepared once, it is for whoever has a cursor of that name open when it runs.
        if user == "carol" {
            client.send_all(&[parse("f", "FETCH 1 FROM \"c\"", &[]), sync()]);
            client.read_until_ready();
        }
        client.send_all(&prepared("f"));
        let next = client.read_until_ready();
        assert_eq!(cells(&next), [seen[1]], "{:?}", error(&next));
        // It is somebody else's for whoever says so.
        let other = client.query(&for_user("FETCH 1 FROM c", "bob"));
        let said = error(&other).expect("refused");
        assert!(
            said.contains("cursor or portal") && cells(&other).is_empty(),
            "{said}"
        );
        client.query("ROLLBACK TO s");
        assert_eq!(error(&client.query("MOVE ABSOLUTE 0 FROM c")), None);
        assert_eq!(error(&client.query("CLOSE c")), None);
        client.query("COMMIT");
    }
    // Nobody's cursor is nobody's.
    client.query("BEGIN");
    client.query(&format!("DECLARE c CURSOR FOR {PHONES}"));
    assert_eq!(cells(&client.query("FETCH 1 FROM c")), ["***"]);
    client.query("COMMIT");
    // Neither is one together with something else.
    client.query("BEGIN");
    client.query(&for_user(
        &format!("DECLARE c CURSOR FOR {PHONES}"),
        "carol",
    ));
    let both = client.query(&format!("FETCH 1 FROM c; {PHONES}"));
    assert!(
        cells(&both)
            .iter()
            .all(|cell| !ALL.contains(&cell.as_str()))
    );
    client.query("ROLLBACK");
    client.finish();

    let records = crate::records(&pgveil);
    let fetched: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "FETCH" && record["event"] == "statement")
        .map(|record| (record["app_user"].clone(), record["role"].clone()))
        .collect();
    let of = |user: &str, role: &str| (user.into(), role.into());
    let none = (serde_json::Value::Null, "rest".into());
    let (carol, alice) = (of("carol", "audit"), of("alice", "support"));
    assert_eq!(fetched, [carol.clone(), carol, alice.clone(), alice, none]);
}

#[test]
fn a_temporary_table_is_its_makers() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    let made = client.query(&for_user(
        "CREATE TEMP TABLE mine AS SELECT phone FROM crm.contacts",
        "carol",
    ));
    assert_eq!(error(&made), None);
    let text = "SELECT phone FROM mine ORDER BY phone";
    assert_eq!(cells(&client.query(&for_user(text, "carol"))).len(), 3);
    let mut refused = |text: &str, user: &str| {
        let frames = client.query(&for_user(text, user));
        assert!(
            error(&frames).is_some() && cells(&frames).is_empty(),
            "{text}"
        );
    };
    for text in [
        text,
        "SELECT phone FROM pg_temp.mine",
        "COPY mine TO STDOUT",
        "CREATE TEMP TABLE mine (phone text)",
        "INSERT INTO mine VALUES ('x') RETURNING phone",
        "ALTER TABLE mine RENAME TO theirs",
        "DROP TABLE mine",
    ] {
        refused(text, "alice");
    }
    // What comes of trying to take the name changes nothing.
    refused(text, "alice");
    assert_eq!(cells(&client.query(&for_user(text, "carol"))).len(), 3);
    // Her own, once the name is free.
    client.query(&for_user("DROP TABLE mine", "carol"));
    client.query(&for_user(
        "CREATE TEMP TABLE mine AS SELECT phone FROM crm.contacts",
        "alice",
    ));
    let own = cells(&client.query(&for_user(text, "alice")));
    assert_eq!(own, ["*******0000", "*******5678"]);
}

/// Who made the one that is there cannot be told from who made another of the name before.
#[test]
fn a_temporary_table_is_not_that_of_whoever_used_its_name_before() {
    let (_server, pgveil) = start(POLICY);
    let make = "CREATE TEMP TABLE mine AS SELECT phone FROM crm.contacts";
    let anew = "DISCARD TEMP; CREATE TEMP TABLE mine AS SELECT phone FROM crm.contacts";
    let empty = "CREATE TEMP TABLE mine (phone text)";
    for steps in [
        vec![
            ("BEGIN", "alice"),
            (empty, "alice"),
            ("DROP TABLE mine", "alice"),
            (make, "carol"),
            ("COMMIT", "carol"),
        ],
        vec![
            ("BEGIN", "alice"),
            ("SAVEPOINT s", "alice"),
            ("CREATE TEMP TABLE mine AS SELECT 1/0 AS phone", "alice"),
            ("ROLLBACK TO s", "alice"),
            (make, "carol"),
            ("COMMIT", "carol"),
        ],
        vec![(empty, "alice"), (anew, "carol")],
    ] {
        let mut client = login(&pgveil, "crm_app");
        for (step, user) in &steps {
            client.query(&for_user(step, user));
        }
        let seen = client.query(&for_user("SELECT phone FROM mine", "alice"));
        assert!(cells(&seen).is_empty(), "{steps:?}");
    }
}
