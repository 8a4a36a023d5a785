//! What the server holds for a name counts, and stands on record, as what it is, whatever the name is taken for.
use crate::support::message::{bind, execute, parse, sync, tags};
use crate::{BOTH, ROWS, Taken, login, start, stopped, told};

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
            harmless,
            "ROLLBACK".to_owned(),
            fails(all),
        ],
    ];
    for (number, texts) in ways.into_iter().enumerate() {
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
