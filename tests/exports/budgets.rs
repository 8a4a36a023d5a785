//! What a person may take, over sessions, database users, restarts and interrupted statements.
use std::thread;

use crate::support::message::{Client, bind, describe, execute, parse, sync};
use crate::{BOTH, DAY, Taken, login, start, stopped, together, told};

#[test]
fn what_is_not_protected_is_not_counted_unless_the_policy_says_so() {
    let (_server, pgveil) = start(BOTH);
    let frames = login(&pgveil, "u0").query("SELECT * FROM plain");
    assert!(told(&frames).is_none());
    let (_server, pgveil) = start("rows: 100, counts: all, approvers: [legal, dpo]");
    let frames = login(&pgveil, "u0").query("SELECT * FROM plain");
    assert!(stopped(&told(&frames)), "{:?}", told(&frames));
}

#[test]
fn a_person_is_one_whatever_the_database_user() {
    let (_server, pgveil) = start(BOTH);
    let mut taken = Taken::default();
    for (user, from) in [("u1", 0), ("u2", 90), ("u1", 180), ("u2", 270), ("u1", 360)] {
        let text = format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 90");
        taken.run(&mut login(&pgveil, user), [text]);
    }
    assert!(taken.count() <= DAY, "{}", taken.count());
    assert!(taken.count() > DAY - 90, "{}", taken.count());
}

#[test]
fn parallel_sessions_share_one_budget() {
    let (_server, pgveil) = start(BOTH);
    let port = pgveil.port();
    let sessions: Vec<_> = (0..30)
        .map(|number| {
            thread::spawn(move || {
                let mut taken = Taken::default();
                let mut client = Client::login(port, "u0", "", "postgres");
                let texts = (0..10).map(|page| {
                    let from = number * 100 + page * 10;
                    format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 10")
                });
                taken.run(&mut client, texts);
                taken.0
            })
        })
        .collect();
    let all = together(sessions);
    assert!(all.len() <= DAY, "{}", all.len());
    assert!(all.len() > DAY - 10, "{}: needlessly refused", all.len());
}

#[test]
fn a_killed_proxy_gives_nothing_back() {
    let (_server, mut pgveil) = start(BOTH);
    let mut taken = Taken::default();
    let page =
        |from: usize| format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 20");
    for round in 0..30 {
        taken.run(&mut login(&pgveil, "u0"), [page(round * 20)]);
        if round % 3 == 0 {
            pgveil.kill();
            pgveil = pgveil.restart();
        }
    }
    assert!(taken.count() <= DAY, "{}", taken.count());
}

#[test]
fn people_seen_are_counted_once_a_day() {
    let (_server, pgveil) = start("subjects_per_day: 25, approvers: [legal, dpo]");
    let mut client = login(&pgveil, "u0");
    // The same twenty customers all day.
    for round in 0..30 {
        for text in [
            "SELECT id, code FROM contacts WHERE id <= 20",
            "SELECT code, id FROM contacts WHERE id <= 20 ORDER BY id",
        ] {
            let frames = client.query(text);
            assert!(
                told(&frames).is_none(),
                "round {round}: {:?}",
                told(&frames)
            );
        }
        client.send_all(&[
            parse("", "SELECT id, code FROM contacts WHERE id <= $1", &[]),
            bind("", "", &[Some("20")], 1),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        assert!(told(&client.read_until_ready()).is_none(), "round {round}");
    }
    // Ten more, of which five fit.
    let mut taken = Taken::default();
    let told = taken.run(
        &mut client,
        ["SELECT id, code FROM contacts WHERE id BETWEEN 21 AND 30".to_owned()],
    );
    assert!(stopped(&told), "{told:?}");
    assert!(told.expect("told").message.contains("people on one day"));
    assert_eq!(taken.count(), 5);
}

#[test]
fn the_server_stops_working_on_a_stopped_export() {
    let (server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    let frames =
        client.query("BEGIN; SELECT c.code, g FROM contacts c, generate_series(1, 10000000) g");
    assert!(stopped(&told(&frames)), "{:?}", told(&frames));
    let running = server.sql(
        "postgres",
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'u0' AND state = 'active'",
    );
    assert_eq!(running, [[Some("0".to_owned())]]);
    // The transaction has failed, as after any error.
    assert_eq!(
        frames.last().and_then(|frame| frame.body.first()),
        Some(&b'E')
    );
    assert_eq!(
        told(&client.query("SELECT 1")).expect("aborted").sqlstate,
        "25P02"
    );
    client.query("ROLLBACK");
    assert!(told(&client.query("SELECT count(*) FROM contacts")).is_none());
}

#[test]
fn cancelled_before_its_end_a_result_still_counts() {
    let (_server, pgveil) = start("rows: 1000, per_day: 300, approvers: [legal, dpo]");
    let mut taken = Taken::default();
    for page in 0..10 {
        // An error of the client's own making, after ninety rows.
        let text = format!(
            "SELECT code, 1 / (id - {}) FROM contacts WHERE id > {} ORDER BY id",
            page * 90 + 91,
            page * 90
        );
        let frames = login(&pgveil, "u0").query(&text);
        taken.add(&frames);
    }
    assert!(taken.count() <= DAY, "{}", taken.count());
}
