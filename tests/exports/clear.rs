//! Grants that take masks off.
use crate::grants::{grant_clear, may_unmask};
use crate::support::message::{Client, Frame, bind, describe, execute, parse, sync};
use crate::support::{Config, Pgveil};
use crate::{login, policy, request_of, server, start, told};

/// Values as they are stored, and masks of them.
fn shown(frames: &[Frame]) -> (usize, usize) {
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
}

#[test]
fn a_grant_can_take_masks_off_where_the_policy_lets_it() {
    let (_server, mut pgveil) =
        start("rows: 10, approvers: [legal, dpo], grants: { may_unmask: [phone], uses: 3 }");
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
        Some("0A000"),
        "it is to be prepared again"
    );
    assert_eq!(shown(&other), (0, 0));
    assert_eq!(shown(&bound(&mut client, "19")), (0, 10));
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

const CLEAR: &str = "rows: 10, approvers: [legal, dpo], grants: { may_unmask: [phone], uses: 1 }";

#[test]
fn with_other_values_a_statement_that_has_a_grant_runs_masked() {
    let (_server, mut pgveil) = start(CLEAR);
    let text = "SELECT phone FROM contacts WHERE id <= $1";
    let plain = "SELECT phone FROM contacts";
    let run = |name: &str, values: &[Option<&str>]| {
        [
            bind("", name, values, 0),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]
    };
    let again = |client: &mut Client, name: &str, values: &[Option<&str>]| {
        client.send_all(&run(name, values));
        let frames = client.read_until_ready();
        let state = told(&frames).map(|told| told.sqlstate);
        (state, shown(&frames))
    };
    let prepare = |client: &mut Client, name: &str, text: &str| {
        client.send_all(&[parse(name, text, &[]), sync()]);
        client.read_until_ready();
    };
    let mut client = login(&pgveil, "u0");
    prepare(&mut client, "s", text);
    client.send_all(&run("s", &[Some("20")]));
    let bound = request_of(&told(&client.read_until_ready()));
    let simple = request_of(&told(&client.query(plain)));
    pgveil.kill();
    grant_clear(&pgveil, &bound, 1000, &["phone"]);
    grant_clear(&pgveil, &simple, 6000, &["phone"]);
    let pgveil = pgveil.restart();

    let mut client = login(&pgveil, "u0");
    let changed = (Some("0A000".to_owned()), (0, 0));
    prepare(&mut client, "a", text);
    assert_eq!(again(&mut client, "a", &[Some("5")]), changed);
    // A driver prepares it again then, and goes on.
    prepare(&mut client, "b", text);
    for _ in 0..2 {
        assert_eq!(again(&mut client, "b", &[Some("5")]), (None, (0, 5)));
    }
    assert_eq!(again(&mut client, "a", &[Some("5")]), changed);
    assert_eq!(again(&mut client, "b", &[Some("20")]), changed);
    prepare(&mut client, "c", text);
    assert_eq!(again(&mut client, "c", &[Some("20")]), (None, (20, 0)));
    // Without parameters it is the statement that was asked for by a Query.
    prepare(&mut client, "p", plain);
    assert_eq!(again(&mut client, "p", &[]), (None, (5000, 0)));
}

#[test]
fn a_grant_is_not_used_by_what_does_not_run() {
    let (_server, mut pgveil) = start(CLEAR);
    let text = "SELECT phone FROM contacts WHERE id <= 20";
    let mut client = login(&pgveil, "u0");
    let id = request_of(&told(&client.query(text)));
    pgveil.kill();
    grant_clear(&pgveil, &id, 1000, &["phone"]);
    let pgveil = pgveil.restart();

    let mut client = login(&pgveil, "u0");
    let run = |text: &str| [parse("", text, &[]), bind("", "", &[], 0), execute("", 0)];
    let state = |frames: &[Frame]| told(frames).map(|told| told.sqlstate);
    client.query("BEGIN");
    client.query("SELECT 1/0");
    assert_eq!(state(&client.query(text)).as_deref(), Some("25P02"));
    let failed = [run(text).concat(), sync()].concat();
    client.send_raw(&failed);
    assert_eq!(
        state(&client.read_until_ready()).as_deref(),
        Some("25P02"),
        "in a failed transaction"
    );
    client.query("ROLLBACK");
    let skipped = [run("SELECT 1/0").concat(), run(text).concat(), sync()].concat();
    client.send_raw(&skipped);
    let frames = client.read_until_ready();
    assert_eq!(state(&frames).as_deref(), Some("22012"));
    assert_eq!(shown(&frames), (0, 0));
    assert_eq!(shown(&client.query(text)), (20, 0), "it is still there");
    assert_eq!(shown(&client.query(text)), (0, 10));
}

/// What a class is not for is redacted whatever anybody signs.
#[test]
fn no_signature_takes_off_what_is_redacted_for_its_purpose() {
    let server = server(&[]);
    let mut config = Config::new(&server);
    let columns = "columns: [public.contacts.phone]";
    let purposes = format!("{columns}, purposes: [support]");
    config.policy(&policy(CLEAR).replace(columns, &purposes));
    let mut pgveil = Pgveil::start(&config);
    let text = "SELECT phone FROM contacts WHERE id <= 20";
    let mut client = login(&pgveil, "u0");
    let mut requests = Vec::new();
    for purpose in ["ads", "support"] {
        client.query(&format!("SET pgveil.purpose = '{purpose}'"));
        requests.push(request_of(&told(&client.query(text))));
    }
    pgveil.kill();
    let may_unmask = requests.iter().map(|id| may_unmask(&pgveil, id));
    assert_eq!(may_unmask.collect::<Vec<_>>(), [vec![], vec!["phone"]]);
}

/// What two people have signed for one value says nothing of another.
#[test]
fn a_grant_of_rows_takes_no_masks_off_by_another_grant_of_the_same_statement() {
    let (_server, mut pgveil) = start(CLEAR);
    let text = |most: u32| format!("SELECT phone FROM contacts WHERE id <= {most}");
    let mut client = login(&pgveil, "u0");
    let clear = request_of(&told(&client.query(&text(20))));
    let rows = request_of(&told(&client.query(&text(19))));
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
    let clear_bound = request_of(&told(&bound(&mut client, "18")));
    let rows_bound = request_of(&told(&bound(&mut client, "17")));
    pgveil.kill();
    grant_clear(&pgveil, &clear, 1000, &["phone"]);
    grant_clear(&pgveil, &rows, 1000, &[]);
    grant_clear(&pgveil, &clear_bound, 1000, &["phone"]);
    grant_clear(&pgveil, &rows_bound, 1000, &[]);
    let pgveil = pgveil.restart();

    let mut client = login(&pgveil, "u0");
    assert_eq!(shown(&client.query(&text(19))), (0, 19));
    assert_eq!(shown(&client.query(&text(20))), (20, 0));
    assert_eq!(
        shown(&bound(&mut client, "17")),
        (0, 0),
        "to be prepared again"
    );
    assert_eq!(shown(&bound(&mut client, "17")), (0, 17));
}
