//! Rows that go into temporary tables: what was stopped is not there for what stands behind it.
use crate::support::message::{Client, bind, execute, parse, query, sync};
use crate::{BOTH, Taken, login, start, stopped, told};

const TOO_MANY: &str = "CREATE TEMP TABLE kept AS SELECT id, code FROM contacts";

/// What came back of groups that were sent in one write each, and whether there was an error.
fn taken(client: &mut Client, groups: &[Vec<Vec<u8>>]) -> (usize, bool) {
    let frames = client.exchange(groups);
    let mut taken = Taken::default();
    taken.add(&frames);
    (taken.count(), told(&frames).is_some())
}

#[test]
fn what_was_stopped_is_not_there_for_what_stands_behind_it() {
    let (server, pgveil) = start(BOTH);
    server.sql(
        "postgres",
        "CREATE TABLE sink(id int, code text); GRANT ALL ON sink TO PUBLIC",
    );
    let text = |text: &str| vec![query(text)];
    let run = |text: &str| vec![parse("", text, &[]), bind("", "", &[], 0), execute("", 0)];
    let also = "CREATE TEMP TABLE kept2 AS SELECT * FROM kept";
    let sink = "INSERT INTO sink SELECT id, code FROM kept";
    let cursor = "DECLARE c CURSOR WITH HOLD FOR SELECT code FROM kept";
    let together = |behind: &str| vec![text(&format!("{TOO_MANY}; {behind}"))];
    let ways = [
        ("in one text", together(also)),
        ("into another table", together(sink)),
        ("a cursor over it", together(cursor)),
        (
            "in one batch",
            vec![[run(TOO_MANY), run(also), vec![sync()]].concat()],
        ),
        ("in flight", vec![[text(TOO_MANY), text(also)].concat()]),
        (
            "in a transaction",
            vec![text("BEGIN"), text(TOO_MANY), text(sink), text("COMMIT")],
        ),
        (
            "by a portal that was bound before",
            vec![
                text("CREATE TEMP TABLE kept(id int, code text)"),
                text("BEGIN"),
                vec![parse("", sink, &[]), bind("p", "", &[], 0), sync()],
                text("INSERT INTO kept SELECT id, code FROM contacts"),
                vec![execute("p", 0), sync()],
                text("COMMIT"),
            ],
        ),
    ];
    let read = [
        text("SELECT code FROM kept2"),
        text("FETCH ALL FROM c"),
        text("SELECT code FROM sink"),
    ];
    for (number, (name, groups)) in ways.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let (_, stop) = taken(&mut client, &groups);
        assert!(stop, "{name}: nothing was refused or stopped");
        assert_eq!(taken(&mut client, &read).0, 0, "{name}");
        assert!(
            told(&client.query("SELECT 1")).is_none(),
            "{name}: it goes on"
        );
    }
}

#[test]
fn within_the_limits_it_is_as_if_it_had_not_been_waited_for() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for (text, tag) in [
        (
            "CREATE TEMP TABLE few AS SELECT code FROM contacts WHERE id <= 20",
            "SELECT 20",
        ),
        (
            "SELECT code INTO TEMP three FROM contacts WHERE id <= 3",
            "SELECT 3",
        ),
        (
            "CREATE TEMP TABLE one AS SELECT code FROM contacts WITH NO DATA",
            "CREATE TABLE AS",
        ),
        (
            "INSERT INTO one SELECT code FROM contacts WHERE id = 7",
            "INSERT 0 1",
        ),
    ] {
        let frames = client.query(text);
        assert_eq!(frames[0].body, [tag.as_bytes(), b"\0"].concat(), "{text}");
        assert_eq!(frames.len(), 2, "{text}");
    }
    let mut taken = Taken::default();
    let reads = ["few", "three", "one"].map(|name| format!("SELECT * FROM {name}"));
    assert!(taken.run(&mut client, reads).is_none());
    assert_eq!(taken.count(), 20);
    let pages = (0..20).map(|page| {
        let (from, to) = (page * 50, page * 50 + 49);
        format!("INSERT INTO one SELECT code FROM contacts WHERE id BETWEEN {from} AND {to}")
    });
    let told = taken.run(&mut client, pages);
    assert!(stopped(&told), "{told:?}");
}
