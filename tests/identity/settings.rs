//! A setting says for whom the statements of a session are, as PostgreSQL has it: with transactions and savepoints.
use crate::support::message::{bind, execute, parse, sync};
use crate::{
    ALICES, ALL, KEY, PHONES, POLICY, cells, error, for_user, login, refused, seconds, signature,
    start,
};

#[test]
fn a_setting_names_the_user_with_the_semantics_of_transactions() {
    let (_server, pgveil) = start(POLICY);
    for (user, setting) in [("erp", "pgveil.app_user"), ("old", "app.username")] {
        let mut client = login(&pgveil, user);
        let mut sees = |script: &[&str], expected: &[&str]| {
            for text in script {
                assert_eq!(
                    error(&client.query(&text.replace("$S", setting))),
                    None,
                    "{text}"
                );
            }
            let frames = client.query("SELECT phone FROM crm.contacts WHERE id < 4 ORDER BY id");
            match expected {
                [] => refused(
                    &frames,
                    "does not say for which user",
                    &format!("{script:?}"),
                ),
                _ => assert_eq!(cells(&frames), expected, "{script:?}"),
            }
        };
        sees(&[], &[]);
        sees(&["SET $S = 'carol'"], &ALL);
        sees(&["SET $S TO bob"], &["*******5678"]);
        sees(&["BEGIN", "SET LOCAL $S = 'carol'"], &ALL);
        sees(&["COMMIT"], &["*******5678"]);
        sees(&["BEGIN", "SET $S = 'carol'"], &ALL);
        sees(&["ROLLBACK"], &["*******5678"]);
        sees(&["BEGIN", "SAVEPOINT a", "SET $S = 'carol'"], &ALL);
        sees(&["ROLLBACK TO a"], &["*******5678"]);
        sees(&["SET $S = 'carol'", "COMMIT"], &ALL);
        sees(&["SELECT set_config('$S', 'bob', false)"], &["*******5678"]);
        sees(&["BEGIN", "SELECT set_config('$S', 'carol', true)"], &ALL);
        sees(&["COMMIT"], &["*******5678"]);
        sees(&["RESET $S"], &[]);
        sees(&["SET $S = 'carol'"], &ALL);
        sees(&["DISCARD ALL"], &[]);
        sees(&["SET $S = 'carol'", "RESET ALL"], &[]);
        sees(&["SET SESSION $S = 'carol'", "SET $S = ''"], &[]);
        sees(&["SELECT set_config('$S', 'carol', false)"], &ALL);
        // An error takes it back with the transaction.
        sees(&["SET $S = 'bob'"], &["*******5678"]);
        client.query("BEGIN");
        client.query(&format!("SET {setting} = 'carol'"));
        client.query("SELECT 1/0");
        client.query("COMMIT");
        let frames = client.query(PHONES);
        assert_eq!(cells(&frames), ["*******5678"], "{:?}", error(&frames));
    }
}

#[test]
fn what_is_sent_before_the_setting_is_known_is_refused() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "erp");
    client.query("SET pgveil.app_user = 'bob'");
    for text in [
        format!("SET pgveil.app_user = 'carol'; {PHONES}"),
        format!("BEGIN; SET LOCAL pgveil.app_user = 'carol'; {PHONES}; COMMIT"),
        format!("SELECT set_config('pgveil.app_user', 'carol', false); {PHONES}"),
        format!("RESET ALL; {PHONES}"),
    ] {
        let frames = client.query(&text);
        let said = error(&frames).unwrap_or_default();
        assert!(said.contains("not known before"), "{text}: {said}");
        let raw = cells(&frames)
            .into_iter()
            .any(|cell| ALL.contains(&cell.as_str()));
        assert!(!raw, "{text}");
        client.query("ROLLBACK");
        client.query("SET pgveil.app_user = 'bob'");
    }
    client.query("BEGIN");
    client.query("DECLARE c CURSOR FOR SELECT phone FROM crm.contacts");
    let frames = client.query("SET pgveil.app_user = 'carol'; FETCH 1 FROM c");
    assert!(error(&frames).is_some() && cells(&frames).is_empty());
    client.query("ROLLBACK");
    // In one batch of the extended protocol.
    client.send_all(&[
        parse("", "SET pgveil.app_user = 'carol'", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        parse("", PHONES, &[]),
        bind("", "", &[], 0),
        execute("", 0),
        sync(),
    ]);
    let frames = client.read_until_ready();
    assert!(error(&frames).is_some() && cells(&frames).is_empty());
    assert_eq!(
        cells(&client.query(PHONES)),
        ["*******5678"],
        "it was undone"
    );
}

#[test]
fn a_signed_setting_holds_as_long_as_its_signature() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "sealer");
    let text = "SET pgveil.app_user";
    let value = |user: &str, time: u64| {
        let signature = signature(KEY, "sealer", user, time, text);
        format!("{text} = 'v1 {time} {signature} {user}'")
    };
    let now = seconds();
    assert_eq!(error(&client.query(&value("alice", now))), None);
    assert_eq!(cells(&client.query(PHONES)), ALICES);
    for (wrong, context) in [
        ("SET pgveil.app_user = 'carol'".to_owned(), "unsigned"),
        (value("alice", now).replace("alice", "carol"), "of another"),
        (value("carol", now - 61), "expired"),
    ] {
        assert_eq!(error(&client.query(&wrong)), None, "{context}");
        refused(&client.query(PHONES), "not proved", context);
        // It can be made good.
        assert_eq!(error(&client.query(&value("carol", now))), None);
        assert_eq!(cells(&client.query(PHONES)), ALL);
    }
    client.query(&value("carol", seconds() - 58));
    let began = seconds();
    let ended = loop {
        let frames = client.query(PHONES);
        if error(&frames).is_some() {
            break frames;
        }
        assert!(seconds() <= began + 5, "it runs on and on");
    };
    refused(&ended, "not proved", "expired by time");
}

/// Whether a serializable transaction fails would tell of rows that are hidden from who comes next in the session, or in it.
#[test]
fn a_shared_session_is_not_made_serializable_by_anybody() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    for text in [
        "BEGIN ISOLATION LEVEL SERIALIZABLE".to_owned(),
        "SET default_transaction_isolation = 'serializable'".to_owned(),
        for_user("BEGIN ISOLATION LEVEL SERIALIZABLE", "carol"),
        for_user(
            "SET default_transaction_isolation = 'serializable'",
            "carol",
        ),
    ] {
        let frames = client.query(&text);
        let said = error(&frames).unwrap_or_else(|| panic!("{text}"));
        assert!(said.starts_with("42501"), "{text}: {said}");
    }
    assert_eq!(
        error(&client.query("BEGIN ISOLATION LEVEL REPEATABLE READ")),
        None
    );
}
