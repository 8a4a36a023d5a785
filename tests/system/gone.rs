//! Names that the session has given and that stand for nothing any more: triggers may have opened, prepared or made under
//! them what a role may not see.
use crate::circumstances::runs;
use crate::in_flight::{Groups, one, shows_secret};
use crate::support::message::{bind, execute, frame, parse, query, sync};
use crate::{agent, error, start};

/// Triggers that leave behind what reads the protected table.
const TRIGGERS: &str = "
CREATE SCHEMA helpers;
GRANT USAGE ON SCHEMA helpers TO agent;
CREATE TABLE helpers.opens (id int);
CREATE TABLE helpers.prepares (id int);
CREATE TABLE helpers.makes (id int);
GRANT INSERT ON helpers.opens, helpers.prepares, helpers.makes TO agent;
CREATE FUNCTION helpers.opening() RETURNS trigger LANGUAGE plpgsql AS $$
  DECLARE mine refcursor := 'mine';
  BEGIN OPEN mine FOR SELECT phone || '' FROM crm.contacts WHERE id = 1; RETURN NEW; END $$;
CREATE FUNCTION helpers.preparing() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN EXECUTE 'PREPARE mine AS SELECT phone || '''' FROM crm.contacts WHERE id = 1'; RETURN NEW; END $$;
CREATE FUNCTION helpers.making() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    DROP TABLE IF EXISTS pg_temp.mine;
    CREATE TEMP TABLE mine AS SELECT phone || '' AS x FROM crm.contacts WHERE id = 1;
    RETURN NEW;
  END $$;
CREATE TRIGGER opening AFTER INSERT ON helpers.opens FOR EACH ROW EXECUTE FUNCTION helpers.opening();
CREATE TRIGGER preparing AFTER INSERT ON helpers.prepares FOR EACH ROW EXECUTE FUNCTION helpers.preparing();
CREATE CONSTRAINT TRIGGER making AFTER INSERT ON helpers.makes DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION helpers.making();
";

const OPENS: &str = "INSERT INTO helpers.opens VALUES (1)";
const PREPARES: &str = "INSERT INTO helpers.prepares VALUES (1)";
const MAKES: &str = "INSERT INTO helpers.makes VALUES (1)";
const CURSOR: &str = "DECLARE mine CURSOR FOR SELECT 'x'";
const HELD: &str = "DECLARE mine CURSOR WITH HOLD FOR SELECT 'x'";
const FETCH: &str = "FETCH ALL FROM mine";
const PREPARE: &str = "PREPARE mine AS SELECT 1";
const TABLE: &str = "CREATE TEMP TABLE mine (x text)";
const READ: &str = "SELECT x FROM mine";

fn texts(texts: &[&str]) -> Groups {
    texts.iter().map(|text| one(text)).collect()
}

fn in_one_write(texts: &[&str]) -> Groups {
    vec![texts.iter().map(|text| query(text)).collect()]
}

fn batch(texts: &[&str]) -> Vec<Vec<u8>> {
    let mut messages: Vec<_> = texts.iter().flat_map(|text| runs(text)).collect();
    messages.push(sync());
    messages
}

fn cursors_that_are_gone() -> Vec<(&'static str, Groups)> {
    let failing = format!("{HELD}; SELECT 1/0");
    let by_message = |mut groups: Groups| {
        groups.push(vec![execute("mine", 0), sync()]);
        groups
    };
    let chained = ["BEGIN", CURSOR, "COMMIT AND CHAIN", OPENS, FETCH];
    let taken_back = [
        "BEGIN",
        "SAVEPOINT a",
        CURSOR,
        "ROLLBACK TO a",
        OPENS,
        FETCH,
    ];
    let open = || texts(&["BEGIN", CURSOR]);
    let then = |batch: Vec<Vec<u8>>| [open(), vec![batch]].concat();
    vec![
        ("COMMIT AND CHAIN", texts(&chained)),
        ("the same, by a message", by_message(texts(&chained[..4]))),
        ("the same, in flight", in_one_write(&chained)),
        ("ROLLBACK TO", texts(&taken_back)),
        ("ROLLBACK TO, in flight", in_one_write(&taken_back)),
        (
            "WITH HOLD and ROLLBACK",
            texts(&["BEGIN", HELD, "ROLLBACK", "BEGIN", OPENS, FETCH]),
        ),
        (
            "WITH HOLD and a failure",
            texts(&[&failing, "BEGIN", OPENS, FETCH]),
        ),
        (
            "CLOSE in flight",
            in_one_write(&["BEGIN", CURSOR, "CLOSE mine", OPENS, FETCH]),
        ),
        (
            "CLOSE in the batch",
            then(batch(&["CLOSE mine", OPENS, FETCH])),
        ),
        (
            "COMMIT in the batch",
            then(batch(&["COMMIT", "BEGIN", OPENS, FETCH])),
        ),
    ]
}

fn others_that_are_gone() -> Vec<(&'static str, Groups)> {
    let with_table = format!("{MAKES}; {TABLE}");
    let with_commit = format!("BEGIN; {MAKES}; COMMIT; {READ}");
    let failed = [
        "BEGIN",
        "SELECT 1/0",
        PREPARE,
        "ROLLBACK",
        PREPARES,
        "EXECUTE mine",
    ];
    vec![
        ("PREPARE in a failed transaction", texts(&failed)),
        (
            "DEALLOCATE in flight",
            in_one_write(&[PREPARE, "DEALLOCATE mine", PREPARES, "EXECUTE mine"]),
        ),
        (
            "DEALLOCATE in the batch",
            vec![
                one(PREPARE),
                batch(&["DEALLOCATE mine", PREPARES, "EXECUTE mine"]),
            ],
        ),
        (
            "made behind a deferred trigger",
            texts(&[&with_table, READ]),
        ),
        (
            "made behind it in a batch",
            vec![batch(&[MAKES, TABLE]), one(READ)],
        ),
        (
            "made behind it, committed in the batch",
            vec![
                one("BEGIN"),
                batch(&[MAKES, TABLE, "COMMIT", READ]),
                one(READ),
            ],
        ),
        (
            "committed in one text",
            texts(&[TABLE, READ, &with_commit, READ]),
        ),
        (
            "SET CONSTRAINTS",
            vec![
                one("BEGIN"),
                one(MAKES),
                batch(&[TABLE, "SET CONSTRAINTS ALL IMMEDIATE", READ]),
                one(READ),
            ],
        ),
    ]
}

#[test]
fn what_code_of_users_leaves_under_a_name_that_is_gone_shows_nothing() {
    let (server, pgveil) = start(TRIGGERS);
    for (name, groups) in [cursors_that_are_gone(), others_that_are_gone()].concat() {
        assert!(
            !shows_secret(&mut agent(pgveil.port()), &groups),
            "{name} shows the secret"
        );
        // The poison control.
        assert!(
            shows_secret(&mut agent(server.port()), &groups),
            "{name}: there is nothing to be seen"
        );
    }
}

/// Those that are there are served.
#[test]
fn cursors_outlive_what_does_not_end_them() {
    let (_server, pgveil) = start(TRIGGERS);
    let mut client = agent(pgveil.port());
    for texts in [
        vec!["BEGIN", CURSOR, "SAVEPOINT a", "ROLLBACK TO a"],
        vec![
            "BEGIN",
            CURSOR,
            "SAVEPOINT a",
            "SELECT 1/0",
            "ROLLBACK TO a",
        ],
        vec![
            "BEGIN",
            "SAVEPOINT a",
            CURSOR,
            "RELEASE a",
            "SAVEPOINT b",
            "ROLLBACK TO b",
        ],
        vec!["BEGIN", HELD, "COMMIT", "BEGIN", "ROLLBACK"],
        vec!["BEGIN", HELD, "COMMIT AND CHAIN"],
    ] {
        for text in &texts {
            client.query(text);
        }
        let fetched = client.query(FETCH);
        assert_eq!(error(&fetched), None, "{texts:?}");
        client.query("CLOSE mine");
        client.query("ROLLBACK");
    }
    // By messages, before anything of it has been answered.
    client.query("BEGIN");
    client.send_all(&batch(&[CURSOR, FETCH]));
    assert_eq!(error(&client.read_until_ready()), None);
}

/// A COPY FROM STDIN passes over Syncs, as many as are in flight; and what a COPY has failed in may wait for another one.
/// Nothing of that keeps a session waiting for what does not come.
#[test]
fn nothing_waits_for_what_a_copy_has_passed_over() {
    let (_server, pgveil) = start(TRIGGERS);
    let mut client = agent(pgveil.port());
    client.query("CREATE TEMP TABLE few (id int)");
    let mut messages = vec![query("SELECT pg_sleep(0.3); COPY few FROM STDIN")];
    messages.extend((0..17_000).map(|_| sync()));
    messages.push(frame(b'd', b"7\n"));
    messages.push(frame(b'c', b""));
    client.send_all(&messages);
    assert_eq!(error(&client.read_until_ready()), None);
    // Behind a failure, where it cannot be told what the server reads, the session is ended.
    let mut client = agent(pgveil.port());
    client.query("CREATE TEMP TABLE few (id int)");
    client.send_all(&[
        parse("", "COPY few FROM STDIN", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        frame(b'd', b"7\n"),
        sync(),
        frame(b'd', b"bad\n"),
    ]);
    while client.read().expect("an error").tag != b'E' {}
    client.send_all(&[
        query("SET search_path = helpers"),
        query("SELECT 1"),
        sync(),
    ]);
    while client.read().is_some_and(|frame| frame.tag != b'Z') {}
}
