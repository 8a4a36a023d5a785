//! Each statement is for whom its comment says.
use crate::support::message::{bind, execute, parse, sync};
use crate::{ALICES, ALL, PHONES, POLICY, cells, for_user, login, records, refused, start};

#[test]
fn a_comment_says_for_whom_each_statement_of_a_shared_session_is() {
    let (server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    let redacted = ["***", "***", "***"];
    for _ in 0..2 {
        assert_eq!(cells(&client.query(&for_user(PHONES, "carol"))), ALL);
        assert_eq!(cells(&client.query(&for_user(PHONES, "alice"))), ALICES);
        let bobs = client.query(&format!("/*app_user='bob'*/ {PHONES}"));
        assert_eq!(cells(&bobs), ["*******5678"]);
        // In no group, and nobody at all: the role that matches without.
        assert_eq!(cells(&client.query(&for_user(PHONES, "dave"))), redacted);
        assert_eq!(cells(&client.query(PHONES)), redacted);
    }
    // What the server was sent says nothing of it.
    client.query(&for_user("SELECT word FROM crm.plain", "alice"));
    let seen = server.sql(
        "postgres",
        "SELECT query FROM pg_stat_activity WHERE usename = 'crm_app'",
    );
    assert_eq!(
        seen[0][0].as_deref().map(str::trim),
        Some("SELECT word FROM crm.plain")
    );
    // An error stands where the client's text has it.
    let frames = client.query("/*app_user='alice'*/ SELECT nothing FROM crm.plain");
    let failed = frames
        .iter()
        .find(|frame| frame.tag == b'E')
        .expect("fails");
    assert_eq!(failed.field(b'P').as_deref(), Some("29"));
    client.finish();

    let all = records(&pgveil);
    let of = |user: &str, role: &str| {
        let wanted = |record: &&serde_json::Value| {
            record["app_user"] == user && record["role"] == role && record["person"] == user
        };
        all.iter().filter(wanted).count()
    };
    assert_eq!((of("carol", "audit"), of("bob", "support")), (2, 2));
    assert_eq!((of("alice", "support"), of("dave", "rest")), (4, 2));
    let nobodys = all
        .iter()
        .filter(|record| record["kind"] == "SELECT" && record.get("app_user").is_none());
    assert!(nobodys.clone().all(|record| record["person"] == "crm_app"));
    assert_eq!(nobodys.count(), 2);
}

#[test]
fn without_a_user_and_a_role_for_none_nothing_runs_that_names_anything() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "erp");
    for text in [
        PHONES,
        "SELECT 1 FROM crm.plain",
        "SELECT 'crm.plain'::regclass",
        "SELECT 1; TABLE crm.plain",
        "SELECT word FROM crm.plain",
        "COPY crm.plain TO STDOUT",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DECLARE c CURSOR FOR SELECT 1",
        "LISTEN x",
        "CREATE TEMP TABLE t (a int)",
    ] {
        let frames = client.query(text);
        refused(&frames, "does not say for which user", text);
    }
    // What a driver says before and between.
    for text in [
        "BEGIN",
        "SET statement_timeout = '60s'",
        "SHOW server_version",
        "SELECT 1",
        "SELECT pg_catalog.version()",
        "select current_schema()",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
        "SAVEPOINT a",
        "ROLLBACK TO a",
        "COMMIT",
        "DISCARD ALL",
        "RESET ALL",
    ] {
        assert_eq!(crate::error(&client.query(text)), None, "{text}");
    }
    client.query("SET pgveil.app_user = 'nobody we know'");
    refused(
        &client.query("SELECT word FROM crm.plain"),
        "no role for this user",
        "unknown",
    );
}

/// pgjdbc appends RETURNING behind a comment that Hibernate has put at the end.
#[test]
fn a_driver_may_append_returning_behind_the_comment() {
    let (server, pgveil) = start(POLICY);
    server.sql("postgres", "GRANT INSERT ON crm.contacts TO crm_app");
    let mut client = login(&pgveil, "crm_app");
    for (id, tail) in [("7", "RETURNING *"), ("8", "RETURNING \"id\",\"owner\"")] {
        let insert = "INSERT INTO crm.contacts VALUES ($1, 'alice', '13800000000')";
        client.send_all(&[
            parse("", &format!("{}\n{tail}", for_user(insert, "alice")), &[]),
            bind("", "", &[Some(id)], 0),
            execute("", 0),
            sync(),
        ]);
        let frames = client.read_until_ready();
        assert_eq!(crate::error(&frames), None, "{tail}");
        assert_eq!(cells(&frames)[..2], [id, "alice"], "{tail}");
    }
    client.finish();
    let records = records(&pgveil);
    let mut inserts = records.iter().filter(|record| record["kind"] == "INSERT");
    assert!(inserts.all(|record| record["app_user"] == "alice"));
}

/// Whoever signs is told no other person's words for those of who asks.
#[test]
fn a_reason_is_of_who_has_said_it() {
    let limited = POLICY.replace(
        "    rows: { crm.contacts: \"owner = {app_user}\" }",
        "    export: { rows: 1, approvers: [dpo] }",
    );
    let (_server, pgveil) = start(&limited);
    let mut client = login(&pgveil, "crm_app");
    let set = "SET pgveil.reason = 'the board has approved it'";
    client.query(&for_user(set, "alice"));
    for user in ["bob", "alice"] {
        let said = crate::error(&client.query(&for_user(PHONES, user))).expect("a limit");
        assert!(said.contains("export request "), "{said}");
    }
    client.query("SET pgveil.reason = 'nobody says so'");
    client.query(&for_user("SELECT phone FROM crm.contacts", "alice"));
    client.finish();
    let reasons: Vec<_> = records(&pgveil)
        .into_iter()
        .filter(|record| record["event"] == "export_stop")
        .map(|record| record["export"]["reason"].clone())
        .collect();
    let none = serde_json::Value::Null;
    assert_eq!(
        reasons,
        [none.clone(), "the board has approved it".into(), none]
    );
}

#[test]
fn the_extended_protocol_runs_a_statement_for_whom_it_was_prepared() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    for (name, user) in [("c", "carol"), ("a", "alice")] {
        client.send_all(&[parse(name, &for_user(PHONES, user), &[]), sync()]);
        assert_eq!(crate::error(&client.read_until_ready()), None);
    }
    for (name, expected) in [("c", &ALL[..]), ("a", &ALICES[..]), ("c", &ALL[..])] {
        client.send_all(&[bind("", name, &[], 0), execute("", 0), sync()]);
        assert_eq!(cells(&client.read_until_ready()), expected, "{name}");
    }
    // In one batch.
    client.send_all(&[
        bind("", "a", &[], 0),
        execute("", 0),
        bind("", "c", &[], 0),
        execute("", 0),
        parse("", &for_user(PHONES, "bob"), &[]),
        bind("", "", &[], 0),
        execute("", 0),
        sync(),
    ]);
    let expected = [&ALICES[..], &ALL[..], &["*******5678"][..]].concat();
    assert_eq!(cells(&client.read_until_ready()), expected);
}

#[test]
fn each_person_has_a_budget_of_their_own() {
    let limited = POLICY.replace(
        "    rows: { crm.contacts: \"owner = {app_user}\" }",
        "    rows: { crm.contacts: \"owner = {app_user}\" }\n    export: { per_hour: 6 }",
    );
    assert_ne!(limited, POLICY);
    let (_server, pgveil) = start(&limited);
    let mut client = login(&pgveil, "crm_app");
    let mut other = login(&pgveil, "erp");
    other.query("SET pgveil.app_user = 'alice'");
    for _ in 0..3 {
        // Each counts for who sees it: three of bob's, and three times two of alice's, through two applications.
        client.query(&for_user(PHONES, "bob"));
    }
    assert_eq!(cells(&client.query(&for_user(PHONES, "alice"))), ALICES);
    assert_eq!(cells(&other.query(PHONES)), ALICES);
    assert_eq!(cells(&client.query(&for_user(PHONES, "alice"))), ALICES);
    for frames in [
        client.query(&for_user(PHONES, "alice")),
        other.query(PHONES),
    ] {
        let said = crate::error(&frames).expect("the budget is used up");
        assert!(said.contains("within an hour"), "{said}");
    }
    assert_eq!(cells(&client.query(&for_user(PHONES, "bob"))).len(), 1);
    // Who has no limit is not stopped, in the same session.
    for _ in 0..4 {
        assert_eq!(cells(&client.query(&for_user(PHONES, "carol"))), ALL);
    }
    other.finish();
    client.finish();
    let stops: Vec<_> = records(&pgveil)
        .into_iter()
        .filter(|record| record["event"] == "export_stop")
        .map(|record| record["person"].clone())
        .collect();
    assert_eq!(stops, ["alice", "alice"]);
}
