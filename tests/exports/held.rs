//! What the server holds for a name counts, and stands on record, as what it is, whatever the name is taken for.
use crate::grants::grant;
use crate::support::message::{Client, bind, execute, frame, parse, query, sync, tags};
use crate::{BOTH, CONTACTS, ROWS, Taken, login, request_of, start, stopped, told};

#[test]
fn a_suspended_portal_goes_on_under_the_limits_of_what_it_runs() {
    let (_server, pgveil) = start(BOTH);
    let ways = [
        (
            "PREPARE x AS SELECT code FROM contacts",
            "EXECUTE x",
            "DEALLOCATE x",
            "PREPARE x AS SELECT 'harmless'",
        ),
        (
            "DECLARE c CURSOR FOR SELECT code FROM contacts",
            "FETCH ALL FROM c",
            "CLOSE c",
            "DECLARE c CURSOR FOR SELECT 'harmless'",
        ),
    ];
    for (number, (gives, runs, takes, again)) in ways.into_iter().enumerate() {
        let user = format!("u{}", number + 3);
        let mut client = login(&pgveil, &user);
        let mut taken = Taken::default();
        client.query("BEGIN");
        assert!(told(&client.query(gives)).is_none());
        client.send_all(&[
            parse("", runs, &[]),
            bind("p", "", &[], 0),
            execute("p", 1),
            sync(),
        ]);
        let frames = client.read_until_ready();
        assert_eq!(tags(&frames), "12DsZ");
        taken.add(&frames);
        let mut stop = None;
        for _ in 0..5 {
            client.query(takes);
            client.query(again);
            client.send_all(&[execute("p", 40), sync()]);
            let frames = client.read_until_ready();
            taken.add(&frames);
            stop = stop.or(told(&frames));
        }
        assert!(stopped(&stop), "{runs}: {stop:?}");
        assert!(taken.count() <= ROWS, "{runs}: {}", taken.count());
        let lines = pgveil.audit_lines();
        let of_user = format!("\"db_user\":\"{user}\"");
        let is_stop = |line: &&String| line.contains(&of_user) && line.contains("export_stop");
        let stop = lines.iter().find(is_stop).expect("the stop is on record");
        assert!(stop.contains("public.contacts"), "{stop}");
    }
}

/// The commit that fails leaves what PREPARE has made, and does not bring back what DEALLOCATE has dropped.
#[test]
fn a_name_whose_prepare_or_deallocate_failed_runs_nothing() {
    let (server, pgveil) = start(BOTH);
    server.sql(
        "postgres",
        "CREATE TABLE late(id int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO late VALUES (1); GRANT ALL ON late TO PUBLIC",
    );
    let fails = |text: &str| format!("INSERT INTO late VALUES (1); {text}");
    let all = "PREPARE x AS SELECT code FROM contacts";
    let harmless = "PREPARE x AS SELECT 1".to_owned();
    let ways = [
        vec![harmless.clone(), fails("DEALLOCATE x"), fails(all)],
        vec![harmless.clone(), fails("DEALLOCATE ALL"), fails(all)],
        vec![
            "BEGIN".to_owned(),
            "SELECT 1/0".to_owned(),
            harmless.clone(),
            "ROLLBACK".to_owned(),
            fails(all),
        ],
    ];
    let left = [
        "BEGIN".to_owned(),
        "SELECT 1/0".to_owned(),
        format!("ROLLBACK; {}", fails("DEALLOCATE x")),
        fails(all),
    ];
    let ways = ways
        .into_iter()
        .chain([[vec![harmless], left.to_vec()].concat()]);
    for (number, texts) in ways.enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        for text in texts {
            client.query(&text);
        }
        let by_text = client.query("EXECUTE x");
        client.send_all(&[bind("", "x", &[], 0), execute("", 0), sync()]);
        let frames = [by_text, client.read_until_ready()].concat();
        let mut taken = Taken::default();
        taken.add(&frames);
        assert_eq!(taken.count(), 0, "{number}");
        let refused = told(&frames).expect("refused");
        assert!(
            refused.message.contains("it cannot be told whether"),
            "{refused:?}"
        );
        // A commit within a batch.
        let mut batched = login(&pgveil, &format!("u{}", number + 20));
        batched.query("PREPARE x AS SELECT 1");
        for text in ["DEALLOCATE x", all] {
            batched.send_all(&[
                parse("", "INSERT INTO late VALUES (1)", &[]),
                bind("", "", &[], 0),
                execute("", 0),
                query(text),
                sync(),
            ]);
            batched.read_until_ready();
            batched.read_until_ready();
        }
        let frames = batched.query("EXECUTE x");
        taken.add(&frames);
        assert_eq!(taken.count(), 0);
        // The way out that is told.
        client.query("DEALLOCATE x");
        assert!(told(&client.query("PREPARE x AS SELECT 7")).is_none());
        assert!(told(&client.query("EXECUTE x")).is_none());
    }
}

/// Only what PostgreSQL reads as a header is one.
#[test]
fn the_first_line_of_a_copy_counts_unless_it_is_a_header() {
    let (_server, pgveil) = start(BOTH);
    let ways = [
        ("FORMAT csv, HEADER \"off\"", ROWS),
        ("FORMAT csv, HEADER 'false'", ROWS),
        ("FORMAT csv, HEADER 0", ROWS),
        ("FORMAT csv, FORCE_QUOTE (header)", ROWS),
        ("FORMAT csv, HEADER", ROWS + 1),
        ("FORMAT csv, HEADER on", ROWS + 1),
        ("FORMAT csv, HEADER \"true\"", ROWS + 1),
        ("FORMAT csv, HEADER 1", ROWS + 1),
    ];
    for (number, (options, lines)) in ways.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let query = "SELECT code AS header FROM contacts";
        let frames = client.query(&format!("COPY ({query}) TO STDOUT ({options})"));
        assert!(stopped(&told(&frames)), "{options}");
        let got = frames.iter().filter(|frame| frame.tag == b'd').count();
        assert_eq!(got, lines, "{options}");
    }
    let mut client = login(&pgveil, "u1");
    let all = "COPY (SELECT array_agg(c) FROM contacts c) TO STDOUT (FORMAT csv, HEADER \"off\")";
    let frames = client.query(all);
    assert!(stopped(&told(&frames)));
    let mut taken = Taken::default();
    taken.add(&frames);
    assert_eq!(taken.count(), 0);
}

/// The number that MOVE answers tells of rows, as a count does.
#[test]
fn each_move_counts_as_a_row() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    client.query("BEGIN");
    let sizes = "SELECT 1 FROM contacts, generate_series(1, id) WHERE id = 7";
    client.query(&format!("DECLARE c SCROLL CURSOR FOR {sizes}"));
    let mut taken = Taken::default();
    let moves = (0..2 * ROWS).map(|number| match number % 2 {
        0 => "MOVE ALL FROM c".to_owned(),
        _ => "MOVE BACKWARD ALL FROM c".to_owned(),
    });
    assert!(stopped(&taken.run(&mut client, moves)));
}

/// To a server of another encoding, or for a client of one, other names are the same.
#[test]
fn names_that_the_server_tells_apart_otherwise_give_nothing() {
    let (server, pgveil) = start(BOTH);
    let all = "SELECT code FROM contacts";
    let mut client = login(&pgveil, "u3");
    client.query("SET client_encoding = 'LATIN1'");
    client.query("BEGIN");
    client.send_all(&[frame(
        b'Q',
        b"DECLARE \"\xe9\" CURSOR FOR SELECT code FROM contacts\0",
    )]);
    client.read_until_ready();
    let other = frame(b'B', b"\xc3\xa9\0\0\0\0\0\0\0\0");
    client.send_all(&[parse("", "SELECT 1", &[]), other, sync()]);
    let refused = told(&client.read_until_ready()).expect("refused");
    assert!(refused.message.contains("client_encoding"), "{refused:?}");
    server.sql(
        "postgres",
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    server.sql(
        "latin",
        "CREATE TABLE contacts(id int, code text, phone text); GRANT SELECT ON contacts TO PUBLIC; \
         INSERT INTO contacts SELECT g, 'k' || lpad(g::text, 4, '0') || 'x', '' FROM generate_series(1, 900) g",
    );
    let mut client = Client::login(pgveil.port(), "u4", "", "latin");
    client.query("SET client_encoding = 'UTF8'");
    let long = "é".repeat(40);
    let (one, two) = (format!("{long}a"), format!("{long}b"));
    client.send_all(&[
        parse(&one, all, &[]),
        sync(),
        parse(&two, "SELECT 1", &[]),
        sync(),
    ]);
    client.send_all(&[bind("", &one, &[], 0), execute("", 0), sync()]);
    let mut taken = Taken::default();
    for _ in 0..3 {
        let frames = client.read_until_ready();
        assert!(told(&frames).is_some());
        taken.add(&frames);
    }
    assert_eq!(taken.count(), 0);
}

/// What is granted for a cursor is not for another of its name.
#[test]
fn a_grant_of_a_cursor_is_not_one_of_its_name() {
    let (_server, mut pgveil) = start(BOTH);
    let granted = "DECLARE c CURSOR FOR SELECT id, code FROM contacts";
    let ask = |client: &mut Client| {
        client.query("BEGIN");
        client.query(granted);
        client.query("FETCH ALL FROM c")
    };
    let request = request_of(&told(&ask(&mut login(&pgveil, "u0"))));
    pgveil.kill();
    grant(&pgveil, &request, CONTACTS as u64);
    let pgveil = pgveil.restart();
    let mut client = login(&pgveil, "u0");
    client.query("BEGIN");
    client.query(granted);
    client.send_all(&[
        parse("", "FETCH ALL FROM c", &[]),
        bind("p", "", &[], 0),
        execute("p", 5),
        sync(),
    ]);
    assert!(told(&client.read_until_ready()).is_none());
    client.query("CLOSE c");
    client.query("DECLARE c CURSOR FOR SELECT phone, code FROM contacts");
    client.send_all(&[execute("p", 200), sync()]);
    assert!(told(&client.read_until_ready()).is_none(), "it was granted");
    assert!(stopped(&told(&client.query("FETCH ALL FROM c"))));
}
