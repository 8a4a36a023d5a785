//! Grants: two signatures, and what they hold for.
use std::sync::Arc;

use pgveil::audit::Record;
use pgveil::export::desk::RecordFn;
use pgveil::export::request::{Request, State, Terms};
use pgveil::export::store::Sqlite;
use pgveil::export::{Desk, DeskError};

use crate::support::Pgveil;
use crate::support::export_request::approver;
use crate::support::message::{Client, bind, describe, execute, parse, sync};
use crate::{BOTH, ROWS, Taken, login, policy, request_of, start, told};

/// The store as approvers have it, while pgveil is down: it locks the file.
async fn desk(pgveil: &Pgveil, policy_version: &str) -> Desk {
    let store = loop {
        match Sqlite::open(&pgveil.folder().join("var/state.db")) {
            Ok(store) => break store,
            Err(error) => assert!(error.0.contains("another process"), "{error}"),
        }
    };
    let record: RecordFn = Arc::new(|_: &Record| Ok(()));
    Desk::new(Arc::new(store), record, policy_version)
        .await
        .expect("a desk")
}

fn reason(pgveil: &Pgveil, id: &str) -> Option<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let request = desk(pgveil, "").await.get(id).await;
        request.expect("the request").reason
    })
}

/// Classes that a signature may take masks off.
pub fn may_unmask(pgveil: &Pgveil, id: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let request = desk(pgveil, "").await.get(id).await;
        request.expect("the request").asked.may_unmask
    })
}

/// Two people sign.
pub fn grant(pgveil: &Pgveil, id: &str, rows: u64) -> Request {
    grant_clear(pgveil, id, rows, &[])
}

pub fn grant_clear(pgveil: &Pgveil, id: &str, rows: u64, clear: &[&str]) -> Request {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let request = desk(pgveil, "").await;
        let read = request.get(id).await.expect("the request");
        let seen = read.history.len();
        request.policy_changed(&read.asked.policy_version);
        let terms = Terms {
            rows: Some(rows),
            clear: clear.iter().map(|class| (*class).to_owned()).collect(),
        };
        let half = request
            .approve(id, &approver("lea", "legal"), None, &terms, None, seen)
            .await
            .expect("signed");
        assert_eq!(half.state, State::Approved);
        let twice = request
            .approve(id, &approver("lea", "dpo"), None, &terms, None, seen + 1)
            .await;
        assert!(matches!(twice, Err(DeskError::Objection(_))), "{twice:?}");
        request
            .approve(id, &approver("dan", "dpo"), None, &terms, None, seen + 1)
            .await
            .expect("signed")
    })
}

#[test]
fn an_export_goes_on_after_two_signatures_and_only_that_one() {
    let (_server, mut pgveil) = start(BOTH);
    let text = "SELECT code FROM contacts WHERE id > 0 ORDER BY id LIMIT 1000";
    let mut taken = Taken::default();
    let mut client = login(&pgveil, "u0");
    client.query("SET pgveil.reason = 'yearly letter'");
    let first = taken.run(&mut client, [text.to_owned()]);
    let id = request_of(&first);
    // The same statement finds its request, whatever its comments and blanks.
    let again = taken.run(
        &mut client,
        [format!("{} -- again", text.replace(' ', "  "))],
    );
    assert_eq!(request_of(&again), id);
    let explained = " /*pgveil_reason='ticket%204711'*/";
    let other = taken.run(&mut client, [text.replace("id > 0", "id > 1") + explained]);
    let other = request_of(&other);
    assert_ne!(other, id);
    assert_eq!(taken.count(), ROWS + 1);

    pgveil.kill();
    let request = grant(&pgveil, &id, 400);
    assert_eq!(request.reason.as_deref(), Some("yearly letter"));
    assert_eq!(reason(&pgveil, &other).as_deref(), Some("ticket 4711"));
    let column = &request.asked.columns[0];
    assert_eq!(
        (column.name.as_str(), column.level, column.masked),
        ("public.contacts.code", Some(1), false)
    );
    let pgveil = pgveil.restart();

    // Somebody else's grant, and another statement's.
    let stranger = Taken::default().run(&mut login(&pgveil, "u5"), [text.to_owned()]);
    assert_ne!(request_of(&stranger), id);
    let mut client = login(&pgveil, "u0");
    let other = Taken::default().run(&mut client, [text.replace("id > 0", "id > 2")]);
    assert_ne!(request_of(&other), id);
    // The rows granted, once.
    let mut taken = Taken::default();
    let told = taken.run(&mut client, [text.to_owned()]);
    assert!(told.is_some(), "1,000 rows are more than 400");
    assert_eq!(taken.count(), 400);
    let mut taken = Taken::default();
    let told = taken.run(&mut client, [text.to_owned()]);
    assert_ne!(request_of(&told), id, "it was used");
    assert!(taken.count() <= ROWS);

    let lines = pgveil.audit_lines();
    let steps: Vec<&str> = ["open", "use"]
        .into_iter()
        .filter(|action| {
            lines.iter().any(|line| {
                line.contains(&format!("\"request\":\"{id}\""))
                    && line.contains(&format!("\"action\":\"{action}\""))
            })
        })
        .collect();
    assert_eq!(steps, ["open", "use"]);
    let ran = lines.iter().find(|line| {
        line.contains("\"event\":\"export_stop\"")
            && line.contains("\"rows\":400")
            && line.contains(&id)
    });
    let ran = ran.expect("the granted run is on record");
    for person in ["lea", "dan"] {
        assert!(ran.contains(person), "{ran}");
    }
    assert!(!lines.iter().any(|line| line.contains("k0001x")));
}

/// Whoever signs is told of every classified column that leaves, however the statement names it.
#[test]
fn approvers_are_told_of_every_classified_column_that_leaves() {
    let (server, mut pgveil) = start("rows: 10, approvers: [legal, dpo]");
    server.sql(
        "postgres",
        "CREATE VIEW book AS SELECT id, code AS word FROM contacts; GRANT SELECT ON book TO u0",
    );
    let aliases: Vec<String> = (0..300)
        .map(|number| format!("id AS {}{number}", "x".repeat(56)))
        .collect();
    let long = format!("SELECT {}, code FROM contacts", aliases.join(", "));
    let all = &["public.contacts.code", "public.contacts.phone"][..];
    let code = &["public.contacts.code"][..];
    let cases = [
        ("SELECT c.code FROM contacts c", code),
        ("SELECT c FROM contacts c", all),
        ("SELECT row_to_json(c) FROM contacts c", all),
        ("SELECT c.b FROM contacts AS c(a, b)", code),
        ("SELECT c.U&\"c\\006fde\" FROM contacts c", code),
        (
            "TABLE contacts UNION ALL SELECT id, 'a', 'b' FROM plain",
            all,
        ),
        ("SELECT word FROM book", &["public.book.word"]),
        (&long, code),
        ("SELECT id FROM contacts", &[]),
        ("SELECT id AS \"a\u{202e}\u{200b}b\" FROM contacts", &[]),
    ];
    let mut client = login(&pgveil, "u0");
    let ids: Vec<String> = cases
        .iter()
        .map(|(text, _)| request_of(&told(&client.query(text))))
        .collect();
    pgveil.kill();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let desk = desk(&pgveil, "").await;
        for ((text, expected), id) in cases.iter().zip(&ids) {
            let asked = desk.get(id).await.expect("the request").asked;
            let mut names: Vec<_> = asked.columns.iter().map(|it| it.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, *expected, "{}", text.get(..80).unwrap_or(text));
            assert!(
                !asked.text.contains(['\u{202e}', '\u{200b}']),
                "{}",
                asked.text
            );
        }
    });
}

#[test]
fn a_grant_holds_for_the_parameters_it_was_asked_for() {
    let (_server, mut pgveil) = start("rows: 10, approvers: [legal, dpo]");
    let run = |client: &mut Client, from: &str, portion: u32| {
        client.send_all(&[
            parse(
                "",
                "SELECT code FROM contacts WHERE id > $1 ORDER BY id LIMIT 50",
                &[],
            ),
            bind("", "", &[Some(from)], 0),
            describe(b'P', ""),
            execute("", portion),
            sync(),
        ]);
        let frames = client.read_until_ready();
        let mut taken = Taken::default();
        taken.add(&frames);
        (told(&frames), taken.count())
    };
    let (first, _) = run(&mut login(&pgveil, "u0"), "100", 0);
    let id = request_of(&first);
    pgveil.kill();
    grant(&pgveil, &id, 50);
    let pgveil = pgveil.restart();
    let mut client = login(&pgveil, "u0");
    let (other, count) = run(&mut client, "200", 0);
    assert_eq!((request_of(&other) == id, count), (false, 10));
    assert_eq!(run(&mut client, "100", 0).1, 50);
}

#[test]
fn a_policy_that_changed_since_voids_a_grant() {
    let (server, mut pgveil) = start(BOTH);
    let text = "SELECT code FROM contacts";
    let told = Taken::default().run(&mut login(&pgveil, "u0"), [text.to_owned()]);
    let id = request_of(&told);
    pgveil.kill();
    grant(&pgveil, &id, 4000);
    let file = pgveil.folder().join("policies/test.yaml");
    let changed = policy("rows: 50, per_day: 300, approvers: [legal, dpo]");
    std::fs::write(file, changed).expect("written");
    let pgveil = pgveil.restart();
    let mut taken = Taken::default();
    let told = taken.run(&mut login(&pgveil, "u0"), [text.to_owned()]);
    assert_ne!(request_of(&told), id);
    assert_eq!(taken.count(), 50);
    drop(server);
}
