//! Grants that take masks off.
use crate::grants::grant_clear;
use crate::support::message::{Client, Frame, bind, describe, execute, parse, sync};
use crate::{login, request_of, start, told};

#[test]
fn a_grant_can_take_masks_off_where_the_policy_lets_it() {
    let (_server, mut pgveil) =
        start("rows: 10, approvers: [legal, dpo], grants: { may_unmask: [phone], uses: 3 }");
    let shown = |frames: &[Frame]| {
        let values: Vec<String> = frames
            .iter()
            .filter(|frame| frame.tag == b'D')
            .flat_map(Frame::columns)
            .flatten()
            .map(|value| String::from_utf8_lossy(&value).into_owned())
            .collect();
        let raw = values
            .iter()
            .filter(|value| value.starts_with("138"))
            .count();
        let masked = values.iter().filter(|value| value.contains('*')).count();
        (raw, masked)
    };
    let text = "SELECT phone FROM contacts WHERE id <= 20";
    let bound = |client: &mut Client, most: &str| {
        client.send_all(&[
            parse("", "SELECT phone FROM contacts WHERE id <= $1", &[]),
            bind("", "", &[Some(most)], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        client.read_until_ready()
    };
    let mut client = login(&pgveil, "u0");
    let simple = request_of(&told(&client.query(text)));
    let extended = request_of(&told(&bound(&mut client, "20")));
    pgveil.kill();
    let request = grant_clear(&pgveil, &simple, 1000, &["phone"]);
    let column = &request.asked.columns[0];
    assert_eq!(
        (
            column.name.as_str(),
            column.class.as_str(),
            column.level,
            column.masked
        ),
        ("public.contacts.phone", "phone", Some(3), true)
    );
    grant_clear(&pgveil, &extended, 15, &["phone"]);
    let pgveil = pgveil.restart();

    let mut client = login(&pgveil, "u0");
    assert_eq!(shown(&client.query(text)), (20, 0));
    // Another value, another statement, another person: masked.
    assert_eq!(
        shown(&client.query("SELECT phone FROM contacts WHERE id <= 5")),
        (0, 5)
    );
    assert_eq!(
        shown(&client.query("SELECT phone FROM contacts WHERE id < 5")),
        (0, 4)
    );
    assert_eq!(shown(&login(&pgveil, "u5").query(text)), (0, 10));
    // No condition on what is masked either.
    assert_eq!(
        shown(&client.query("SELECT phone FROM contacts WHERE phone = '13800000007'")),
        (0, 0)
    );
    // Through parameters: fifteen rows were granted.
    assert_eq!(shown(&bound(&mut client, "20")), (15, 0));
    let other = bound(&mut client, "19");
    assert_eq!(
        told(&other).map(|told| told.sqlstate).as_deref(),
        Some("42501")
    );
    assert_eq!(shown(&other), (0, 0));
    // Used as often as granted, then masked again.
    assert_eq!(shown(&client.query(text)), (20, 0));
    assert_eq!(shown(&client.query(text)), (20, 0));
    assert_eq!(shown(&client.query(text)), (0, 10));
    let ran = pgveil.audit_lines();
    let ran = ran.iter().filter(|line| {
        line.contains("\"event\":\"statement\"")
            && line.contains(&simple)
            && line.contains("\"clear\":[\"phone\"]")
    });
    assert_eq!(ran.count(), 3);
}

/// A statement that was planned without masks must not run but by the grant it was planned for.
#[test]
fn a_statement_planned_for_a_grant_runs_by_no_other_way() {
    let (_server, mut pgveil) =
        start("rows: 10, approvers: [legal, dpo], grants: { may_unmask: [phone], uses: 5 }");
    let text = "SELECT phone FROM contacts WHERE id <= $1";
    let asked = |name: &str| {
        [
            parse(name, text, &[]),
            bind("", name, &[Some("20")], 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]
    };
    let mut client = login(&pgveil, "u0");
    client.send_all(&asked(""));
    let id = request_of(&told(&client.read_until_ready()));
    pgveil.kill();
    grant_clear(&pgveil, &id, 1000, &["phone"]);
    let pgveil = pgveil.restart();
    let raw = |frames: &[Frame]| {
        frames.iter().any(|frame| {
            frame.tag == b'D' && String::from_utf8_lossy(&frame.body).contains("13800000")
        })
    };

    let mut client = login(&pgveil, "u0");
    client.send_all(&asked("s"));
    assert!(raw(&client.read_until_ready()), "the grant");
    for text in [
        "EXECUTE s(20)",
        "EXECUTE s(3)",
        "DECLARE c CURSOR FOR EXECUTE s(3)",
        "CREATE TEMP TABLE t AS EXECUTE s(20)",
    ] {
        let frames = client.query(text);
        assert!(
            !raw(&frames) && told(&frames).is_some(),
            "{text}: {frames:?}"
        );
    }
    // Another text under the name that is taken: the Parse fails, and the Bind would run the first one.
    let other = "SELECT phone FROM contacts WHERE id >= $1";
    client.send_all(&[
        parse("s", other, &[]),
        sync(),
        bind("", "s", &[Some("3")], 0),
        execute("", 0),
        sync(),
    ]);
    let mut frames = Vec::new();
    while let Some(frame) = client.read() {
        let ready = frame.tag == b'Z';
        frames.push(frame);
        if ready && frames.iter().filter(|frame| frame.tag == b'Z').count() == 2 {
            break;
        }
    }
    assert!(!raw(&frames), "{frames:?}");
}
