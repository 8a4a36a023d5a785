//! A restricted session at the protocol's corners: binary results, swapped statements, FunctionCall, odd encodings,
//! portals under an export limit; and rows far larger than any buffer.
mod support;

use std::io::Read;

use support::message::{Client, Frame, bind, describe, execute, frame, parse, query, sync, tags};
use support::{Config, Options, Pgveil, Postgres};

const PHONE: &str = "13800138000";

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: { show: { first: 3, last: 4 } } }, export: { rows: 100 } }
  clear: { who: [{ db_user: clear }], unmasked: true }
unmatched: deny
";

fn start() -> (Postgres, Pgveil) {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        &format!(
            "CREATE ROLE agent LOGIN; CREATE ROLE clear LOGIN SUPERUSER; CREATE TABLE people(id int PRIMARY KEY, phone text); \
             INSERT INTO people SELECT g, '{PHONE}' FROM generate_series(1, 5000) g; CREATE TABLE plain(id int PRIMARY KEY, t text); \
             INSERT INTO plain SELECT g, 'x' FROM generate_series(1, 5000) g; GRANT ALL ON people, plain TO agent"
        ),
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    let pgveil = Pgveil::start(&config);
    (server, pgveil)
}

fn agent(pgveil: &Pgveil) -> Client {
    Client::login(pgveil.port(), "agent", "", "postgres")
}

fn shows(frames: &[Frame], text: &str) -> bool {
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::bytes).collect();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

fn rows(frames: &[Frame]) -> usize {
    frames
        .iter()
        .filter(|frame| matches!(frame.tag, b'D' | b'd'))
        .count()
}

fn error(frames: &[Frame]) -> Option<(String, String)> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    Some((frame.field(b'C')?, frame.field(b'M')?))
}

fn status(frames: &[Frame]) -> Option<u8> {
    frames.last().and_then(|frame| frame.body.first().copied())
}

#[test]
fn every_result_format_is_masked() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    for format in [0, 1] {
        client.send_all(&[
            parse("", "SELECT phone, id FROM people WHERE id = $1", &[]),
            bind("", "", &[Some("7")], format),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        let frames = client.read_until_ready();
        assert_eq!(tags(&frames), "12TDCZ");
        assert!(
            shows(&frames, "138****8000") && !shows(&frames, PHONE),
            "{frames:?}"
        );
    }
}

#[test]
fn a_portal_runs_the_statement_it_was_bound_to() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    client.send_all(&[
        parse("safe", "SELECT id FROM plain WHERE id = 1", &[]),
        describe(b'S', "safe"),
        parse("sneaky", "SELECT phone FROM people WHERE id = 1", &[]),
        bind("p1", "sneaky", &[], 0),
        execute("p1", 0),
        sync(),
    ]);
    let frames = client.read_until_ready();
    assert!(
        shows(&frames, "138****8000") && !shows(&frames, PHONE),
        "{frames:?}"
    );
}

#[test]
fn a_function_call_is_denied_and_the_session_goes_on() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    // query_to_xml is 2923 in every version.
    client.send(
        b'F',
        &[&2923u32.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat(),
    );
    let frames = client.read_until_ready();
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(error(&frames).expect("an error").0, "42501");
    assert_eq!(tags(&client.query("SELECT 1")), "TDCZ");
}

#[test]
fn refusals_keep_the_transaction_as_the_server_has_it() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    let refused = "SELECT query_to_xml('SELECT 1', true, false, '')";
    assert_eq!(status(&client.query(refused)), Some(b'I'));
    assert_eq!(status(&client.query("BEGIN")), Some(b'T'));
    let frames = client.query(refused);
    assert_eq!(
        (tags(&frames).as_str(), status(&frames)),
        ("EZ", Some(b'E'))
    );
    let denial = &frames[0];
    assert_eq!(denial.field(b'C').as_deref(), Some("42501"));
    assert!(
        denial
            .field(b'M')
            .is_some_and(|message| message.starts_with("pgveil: "))
    );
    assert!(denial.field(b'D').is_some() && denial.field(b'H').is_some());
    assert_eq!(
        error(&client.query("SELECT 1")).expect("an error").0,
        "25P02"
    );
    assert_eq!(status(&client.query("ROLLBACK")), Some(b'I'));
    // In a pipeline, described before and after, the rest of the batch is skipped.
    client.send_all(&[
        parse("", "SELECT 1", &[]),
        bind("", "", &[], 0),
        execute("", 0),
        parse("bad", refused, &[]),
        describe(b'S', "bad"),
        bind("", "bad", &[], 0),
        execute("", 0),
        sync(),
        query("SELECT 2"),
    ]);
    assert_eq!(tags(&client.read_until_ready()), "12DCEZ");
    assert_eq!(tags(&client.read_until_ready()), "TDCZ");
}

#[test]
fn text_that_is_not_in_the_sessions_encoding_is_refused() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    client.send(b'Q', b"SELECT '\xc0'' || phone FROM people --'\0");
    let frames = client.read_until_ready();
    assert!(
        error(&frames).is_some() && !shows(&frames, PHONE),
        "{frames:?}"
    );
}

#[test]
fn startup_parameters_cannot_lift_a_role() {
    let (_server, pgveil) = start();
    for parameters in [
        vec![
            ("user", "agent"),
            ("database", "postgres"),
            ("replication", "database"),
        ],
        vec![
            ("user", "agent"),
            ("database", "postgres"),
            ("options", "-c role=clear"),
        ],
        vec![
            ("user", "agent"),
            ("database", "postgres"),
            ("options", "-c standard_conforming_strings=off"),
        ],
        vec![
            ("user", "agent"),
            ("database", "postgres"),
            ("options", "-c client_min_messages=debug5"),
        ],
        vec![
            ("user", "agent"),
            ("database", "postgres"),
            ("session_authorization", "clear"),
        ],
    ] {
        let refused = Client::try_login(pgveil.port(), "agent", "", &parameters);
        assert_eq!(
            refused.err().and_then(|frame| frame.field(b'C')).as_deref(),
            Some("42501"),
            "{parameters:?}"
        );
    }
    // Of two users the server takes the last, and so does pgveil.
    let mut client = Client::try_login(
        pgveil.port(),
        "agent",
        "",
        &[
            ("user", "clear"),
            ("user", "agent"),
            ("database", "postgres"),
        ],
    )
    .expect("login");
    let frames = client.query("SELECT current_user, phone FROM people WHERE id = 1");
    assert!(
        shows(&frames, "agent") && shows(&frames, "138****8000"),
        "{frames:?}"
    );
}

#[test]
fn copy_messages_out_of_place_change_nothing() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    client.send_all(&[
        frame(b'd', b"x"),
        frame(b'c', b""),
        frame(b'f', b"no\0"),
        query("SELECT phone FROM people WHERE id = 1"),
    ]);
    let frames = client.read_until_ready();
    assert_eq!(tags(&frames), "TDCZ");
    assert!(!shows(&frames, PHONE));
}

/// What is stopped at the limit: the rows up to it came, then the error with a way out, and the session goes on.
fn stopped(frames: &[Frame], what: &str) {
    assert_eq!(rows(frames), 100, "{what}: {}", tags(frames));
    let (sqlstate, message) = error(frames).expect("an error");
    assert_eq!(sqlstate, "42501", "{what}: {message}");
    assert!(!shows(frames, PHONE), "{what}");
}

#[test]
fn an_export_of_protected_rows_stops_at_the_limit() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    stopped(&client.query("SELECT * FROM people"), "a query");
    stopped(&client.query("COPY people TO STDOUT"), "a copy");
    stopped(
        &client.query("SELECT p.id FROM plain CROSS JOIN people p, generate_series(1, 100000)"),
        "a long query",
    );
    assert_eq!(rows(&client.query("SELECT * FROM people LIMIT 100")), 100);
    assert_eq!(
        rows(&client.query("SELECT * FROM plain")),
        5000,
        "unprotected rows are not counted"
    );
    // A portal counts over all its executions.
    client.query("BEGIN");
    client.send_all(&[
        parse("", "SELECT id, phone FROM people", &[]),
        bind("c", "", &[], 0),
        execute("c", 60),
        sync(),
    ]);
    assert_eq!(rows(&client.read_until_ready()), 60);
    client.send_all(&[execute("c", 60), sync()]);
    let frames = client.read_until_ready();
    assert_eq!(rows(&frames), 40);
    assert_eq!(error(&frames).expect("an error").0, "42501");
    client.query("ROLLBACK");
    // A cursor counts over all its fetches.
    client.query("BEGIN");
    client.query("DECLARE k CURSOR FOR SELECT phone FROM people");
    assert_eq!(rows(&client.query("FETCH 60 FROM k")), 60);
    let frames = client.query("FETCH 60 FROM k");
    assert_eq!(rows(&frames), 40);
    assert_eq!(error(&frames).expect("an error").0, "42501");
    client.query("ROLLBACK");
    assert_eq!(tags(&client.query("SELECT 1")), "TDCZ");
    let stops = pgveil.http("/metrics");
    assert!(
        stops
            .lines()
            .any(|line| line.starts_with("pgveil_export_stops_total") && line.ends_with(" 5")),
        "{stops}"
    );
}

#[test]
fn a_row_of_many_megabytes_streams_in_bounded_memory() {
    let (_server, pgveil) = start();
    let mut client = Client::login(pgveil.port(), "clear", "", "postgres");
    let before = resident(pgveil.pid());
    // 256 MiB of text in one DataRow; its size on the way is what counts.
    client.send_raw(&query("SELECT repeat('x', 268435456)"));
    let mut seen = 0usize;
    let mut tail = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    let mut peak = before;
    while !tail.ends_with(&[b'Z', 0, 0, 0, 5, b'I']) {
        let read = client.stream.read(&mut chunk).expect("bytes");
        assert!(read > 0, "the connection closed");
        seen += read;
        tail.extend_from_slice(&chunk[..read]);
        let keep = tail.len().saturating_sub(16);
        tail.drain(..keep);
        if seen % (32 << 20) < read {
            peak = peak.max(resident(pgveil.pid()));
        }
    }
    assert!(seen > 256 << 20);
    assert!(peak - before < 32 << 20, "grew by {} bytes", peak - before);
}

/// The server keeps answers of a few bytes back; what was sent is kept in mind until they come.
#[test]
fn long_texts_in_flight_wait_for_answers_and_are_all_answered() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    let before = resident(pgveil.pid());
    let long = format!("SELECT 1 /*{}*/", "x".repeat(900_000));
    let mut sent: Vec<Vec<u8>> = (0..160).map(|_| parse("", &long, &[])).collect();
    sent.extend([bind("", "", &[], 0), execute("", 0), sync()]);
    client.send_all(&sent[..159]);
    let grown = resident(pgveil.pid()).saturating_sub(before);
    assert!(grown < 96 << 20, "{grown} bytes for 143 MB of texts");
    client.send_all(&sent[159..]);
    let frames = client.read_until_ready();
    let parsed = frames.iter().filter(|frame| frame.tag == b'1').count();
    assert_eq!((parsed, rows(&frames)), (160, 1));
}

/// Resident memory of a process in bytes.
fn resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .expect("VmRSS");
    let kilobytes: usize = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kilobytes * 1024
}

#[test]
fn the_client_is_told_when_the_server_dies() {
    let (mut server, pgveil) = start();
    let mut idle = agent(&pgveil);
    let mut busy = agent(&pgveil);
    busy.send_raw(&query("SELECT pg_sleep(60)"));
    server.crash();
    for client in [&mut idle, &mut busy] {
        let mut last = None;
        while let Some(frame) = client.read() {
            last = Some(frame);
        }
        let last = last.expect("a last word");
        assert_eq!(last.tag, b'E');
        assert!(
            last.field(b'C')
                .is_some_and(|code| code.starts_with("57P") || code.starts_with("08")),
            "{last:?}"
        );
    }
    server.restart();
    assert_eq!(tags(&agent(&pgveil).query("SELECT 1")), "TDCZ");
}

#[test]
fn errors_over_protected_data_quote_no_value() {
    let (_server, pgveil) = start();
    let mut client = agent(&pgveil);
    for text in [
        "SELECT phone::int FROM people WHERE id = 1",
        "SELECT phone::date FROM people WHERE id = 1",
        "SELECT phone::json FROM people WHERE id = 1",
        "INSERT INTO plain SELECT id, phone FROM people WHERE id = 1",
    ] {
        let frames = client.query(text);
        let error = frames
            .iter()
            .find(|frame| frame.tag == b'E')
            .unwrap_or_else(|| panic!("{text} ran"));
        let detail = error.field(b'D');
        assert!(
            detail.is_none_or(|detail| detail == "Key (id)=(...) already exists.")
                && !shows(&frames, "138"),
            "{text}: {error:?}"
        );
    }
}

#[test]
fn a_table_made_a_moment_ago_by_somebody_else_is_found() {
    let (server, pgveil) = start();
    let mut client = agent(&pgveil);
    for round in 0..3 {
        let name = format!("young_{round}");
        assert_eq!(
            error(&client.query(&format!("SELECT * FROM {name}")))
                .expect("an error")
                .0,
            "42P01"
        );
        server.sql(
            "postgres",
            &format!("CREATE TABLE {name}(id int); GRANT SELECT ON {name} TO agent"),
        );
        assert_eq!(tags(&client.query(&format!("SELECT * FROM {name}"))), "TCZ");
    }
}

/// The parser of the server has the first word, whatever it calls its error.
#[test]
fn what_the_grammar_does_not_take_is_told_as_the_server_tells_it() {
    let (server, pgveil) = start();
    let mut direct = Client::login(server.port(), "agent", "", "postgres");
    let mut client = agent(&pgveil);
    for text in [
        "SELECT 1 FROM FROM",
        "CREATE SCHEMA IF NOT EXISTS a CREATE TABLE b (c int)",
        "SELECT sum(1) OVER (ROWS UNBOUNDED FOLLOWING)",
        "SELECT 1::float(0)",
        r"SELECT U&'\00'",
    ] {
        let (ours, theirs) = (client.query(text), direct.query(text));
        let (ours, theirs) = (error(&ours), error(&theirs).expect(text));
        // Errors of class 22 quote values elsewhere: they say what they are, and no more.
        match theirs.0.starts_with("22") {
            true => assert_eq!(ours.map(|error| error.0), Some(theirs.0), "{text}"),
            false => assert_eq!(ours, Some(theirs), "{text}"),
        }
    }
}

#[test]
fn what_is_executed_or_fetched_is_described_as_directly() {
    let (server, pgveil) = start();
    let mut direct = Client::login(server.port(), "agent", "", "postgres");
    let mut client = agent(&pgveil);
    for text in [
        "PREPARE p AS SELECT id, phone FROM people WHERE id = 1",
        "EXECUTE p",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT phone, id FROM people ORDER BY id",
        "FETCH 2 FROM c",
        "COMMIT",
    ] {
        let described = |frames: Vec<Frame>| -> Vec<Vec<u8>> {
            let described = frames.iter().filter(|frame| frame.tag == b'T');
            described.map(Frame::bytes).collect()
        };
        let (ours, theirs) = (client.query(text), direct.query(text));
        assert_eq!(rows(&ours), rows(&theirs), "{text}");
        assert!(!shows(&ours, PHONE), "{text}");
        assert_eq!(described(ours), described(theirs), "{text}");
    }
}
