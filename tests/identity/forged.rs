//! Comments that are forged, expired, unsigned, duplicated, contradictory, nested or injected gain nothing.
use crate::support::message::{bind, execute, parse, sync};
use crate::{
    ALICES, ALL, KEY, PHONES, POLICY, cells, error, for_user, login, refused, seconds, signature,
    signed, signed_at, start,
};

/// What a form puts into a statement of alice's, where the application builds its text of what people write.
const INJECTED: &[&str] = &[
    "' /*app_user='carol'*/ --",
    "' /*app_user='carol'*/ -- ",
    "' /*app_user='carol'*/",
    "'; /*app_user='carol'*/ SELECT phone FROM crm.contacts --",
    "' UNION ALL SELECT phone FROM crm.contacts /*app_user='carol'*/ --",
    "' UNION ALL SELECT phone FROM crm.contacts /*app_user='carol'*/; --",
    "' UNION ALL SELECT phone FROM crm.contacts --\n/*app_user='carol'*/ --",
    "' /* /*app_user='carol'*/ */ --",
    "' /*APP_USER='carol'*/ --",
    "' /*app%5fuser='carol'*/ --",
    "' -- /*app_user='carol'*/",
    "' /*app_user='carol'*/ /*",
    "' /*app_user='carol'*/ OR $$",
    "' /*app_user='carol'*/ OR E'\\",
    "' /*app_user='carol'*/ OR \"",
    "' OR owner = 'x' /*app_user='carol'*/ /*x='y'*/ --",
];

#[test]
fn what_is_injected_into_a_statement_gains_nothing() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    let built = |value: &str| {
        let text = format!("SELECT phone FROM crm.contacts WHERE owner = '{value}'");
        [
            for_user(&text, "alice"),
            format!("/*app_user='alice'*/ {text}"),
        ]
    };
    for value in INJECTED {
        for text in built(value) {
            let frames = client.query(&text);
            let found = cells(&frames);
            assert!(
                found.iter().all(|cell| !ALL.contains(&cell.as_str())),
                "{text}: {found:?}"
            );
            assert!(error(&frames).is_some(), "{text}: {found:?}");
        }
    }
    // The session is as it was, and a value that only looks like it is a value.
    assert_eq!(cells(&client.query(&for_user(PHONES, "alice"))), ALICES);
    let text = "SELECT '/*app_user=''carol''*/', $$/*app_user='carol'*/$$, 1 AS \"/*app_user='carol'*/\" FROM crm.contacts";
    let found = cells(&client.query(&for_user(text, "alice")));
    assert_eq!(found.len(), 6, "alice's rows: {found:?}");
    // The same as parameters.
    client.send_all(&[
        parse(
            "",
            &for_user("SELECT $1::text FROM crm.contacts", "alice"),
            &[],
        ),
        bind("", "", &[Some("/*app_user='carol'*/")], 0),
        execute("", 0),
        sync(),
    ]);
    assert_eq!(cells(&client.read_until_ready()).len(), 2);
}

#[test]
fn doubtful_comments_are_refused() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "crm_app");
    for text in [
        for_user(&for_user(PHONES, "carol"), "carol"),
        for_user(&for_user(PHONES, "carol"), "alice"),
        format!("/*app_user='carol'*/ {}", for_user(PHONES, "alice")),
        format!("{PHONES} /*app_user='carol',app_user='alice'*/"),
        format!("{PHONES} /* /*app_user='carol'*/ */"),
        format!("{PHONES} /*app_user='carol' /* */ */"),
        format!("{PHONES} -- /*app_user='carol'*/"),
        format!("{PHONES} /*app_user=carol*/"),
        format!("{PHONES} /*app_user=''*/"),
        "SELECT /*app_user='carol'*/ phone FROM crm.contacts".to_owned(),
    ] {
        refused(&client.query(&text), "not certain for whom", &text);
    }
}

#[test]
fn where_a_signature_is_demanded_nothing_else_will_do() {
    let (_server, pgveil) = start(POLICY);
    let mut client = login(&pgveil, "signer");
    assert_eq!(cells(&client.query(&signed(PHONES, "carol"))), ALL);
    assert_eq!(cells(&client.query(&signed(PHONES, "alice"))), ALICES);
    let now = seconds();
    let good = signed(PHONES, "alice");
    let other_key = signature(&KEY.replace('0', "1"), "signer", "carol", now, PHONES);
    let other_user = signature(KEY, "crm_app", "carol", now, PHONES);
    let with = |signature: &str| {
        format!("{PHONES} /*app_user='carol',app_user_time='{now}',app_user_sig='{signature}'*/")
    };
    for (text, context) in [
        (for_user(PHONES, "carol"), "unsigned"),
        (with(""), "no signature"),
        (with("00"), "forged"),
        (with(&other_key), "by another key"),
        (with(&other_user), "for another database user"),
        (good.replace("alice", "carol"), "of another person"),
        (
            signed(PHONES, "carol").replace("SELECT phone", "SELECT phone, owner"),
            "of another statement",
        ),
        (
            format!("SELECT 1; {}", signed(PHONES, "carol")),
            "with more before it",
        ),
        (signed_at(PHONES, "carol", now - 61), "expired"),
        (signed_at(PHONES, "carol", now + 60), "of a time to come"),
        (PHONES.to_owned(), "nobody's"),
    ] {
        let frames = client.query(&text);
        refused(&frames, "", context);
    }
    assert_eq!(cells(&client.query(&good)), ALICES);
}

#[test]
fn a_prepared_statement_does_not_outlive_its_signature() {
    let policy = POLICY.to_owned();
    let (_server, pgveil) = start(&policy);
    let mut client = login(&pgveil, "signer");
    // It has a second or two left.
    let time = seconds() - 58;
    let text = signed_at(PHONES, "carol", time);
    client.send_all(&[parse("p", &text, &[]), sync()]);
    assert_eq!(error(&client.read_until_ready()), None);
    let run = [bind("", "p", &[], 0), execute("", 0), sync()];
    let ended = loop {
        client.send_all(&run);
        let frames = client.read_until_ready();
        if error(&frames).is_some() {
            break frames;
        }
        assert_eq!(cells(&frames), ALL);
        assert!(seconds() <= time + 61, "it runs on and on");
    };
    refused(&ended, "not proved", "expired");
}
