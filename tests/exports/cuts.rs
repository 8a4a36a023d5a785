//! Results that end early: by the person's own cancel request, and by their bytes.
use crate::support::message::{bind, execute, parse, query, sync, tags};
use crate::{BOTH, DAY, Taken, login, start, stopped, told};

#[test]
fn cancelled_by_its_client_before_its_end_a_result_still_counts() {
    let (_server, pgveil) = start("rows: 1000, per_day: 300, approvers: [legal, dpo]");
    let mut taken = Taken::default();
    for page in 0..10 {
        let from = page * 90;
        // Ninety rows, more than the server keeps back, and then work without end and without a row.
        let text = format!(
            "SELECT code, repeat('x', 400) FROM contacts WHERE id > {from} AND id <= {} UNION ALL \
             SELECT NULL, NULL FROM plain a, plain b, plain c WHERE a.id + b.id + c.id < 0",
            from + 90
        );
        let mut client = login(&pgveil, "u0");
        client.send_raw(&crate::support::message::query(&text));
        let mut first = Vec::new();
        while first.len() < 10
            && let Some(frame) = client.read()
        {
            first.push(frame);
            if first.last().is_some_and(|frame| frame.tag == b'Z') {
                break;
            }
        }
        taken.add(&first);
        if told(&first).is_none() {
            client.cancel(pgveil.port());
            let rest = client.read_until_ready();
            taken.add(&rest);
            let told = told(&rest).expect("an error");
            assert!(
                ["57014", "42501"].contains(&told.sqlstate.as_str()),
                "{told:?}"
            );
        }
        assert!(taken.count() <= DAY, "{} on page {page}", taken.count());
    }
    assert!(taken.count() > 200, "{}: too few to tell", taken.count());
    let told = taken.run(
        &mut login(&pgveil, "u0"),
        ["SELECT code FROM contacts WHERE id > 4900".to_owned()],
    );
    assert!(stopped(&told), "{told:?}");
    assert!(taken.count() <= DAY, "{}", taken.count());
}

#[test]
fn the_bytes_of_a_result_are_limited_however_few_its_rows_are() {
    const LIMIT: usize = 16_384;
    let (_server, pgveil) = start("bytes: 16KiB, approvers: [legal, dpo]");
    for (way, text) in [
        ("rows", "SELECT code, repeat(code, 100) FROM contacts"),
        (
            "one value",
            "SELECT repeat(code, 5000) FROM contacts WHERE id = 7",
        ),
        ("gathered", "SELECT string_agg(code, ',') FROM contacts"),
        ("copied", "COPY contacts TO STDOUT"),
    ] {
        let frames = login(&pgveil, "u0").query(text);
        let told = told(&frames);
        assert!(stopped(&told), "{way}: {told:?}");
        assert!(told.expect("told").message.contains("bytes"), "{way}");
        let data = frames
            .iter()
            .filter(|frame| matches!(frame.tag, b'D' | b'd'));
        let sent: usize = data.map(|frame| frame.bytes().len()).sum();
        assert!(sent <= LIMIT, "{way}: {sent} bytes");
    }
    let frames = login(&pgveil, "u0").query("SELECT code FROM contacts WHERE id <= 100");
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
}

/// The cancel of a stopped result must not hit what the client has sent behind it.
#[test]
fn what_is_sent_behind_a_stopped_result_runs() {
    let (_server, pgveil) = start(BOTH);
    let behind = "SELECT pg_sleep(0.2), 'behind'";
    let run = |text: &str| {
        [
            parse("", text, &[]),
            bind("", "", &[], 0),
            execute("", 0),
            sync(),
        ]
    };
    let both = |first: &str| {
        let queries = [query(first), query(behind)];
        let batches = [run(first), run(behind)].concat();
        [queries.to_vec(), batches]
    };
    for number in 3..7 {
        let mut client = login(&pgveil, &format!("u{number}"));
        for messages in both("SELECT code FROM contacts") {
            client.send_all(&messages);
            let stopped = client.read_until_ready();
            assert_eq!(told(&stopped).expect("stopped").sqlstate, "42501");
            let frames = client.read_until_ready();
            let said = told(&frames).map(|told| told.message);
            assert_eq!(said, None);
            assert!(tags(&frames).ends_with("DCZ"), "{}", tags(&frames));
        }
        // What comes a moment later waits for the cancel.
        client.send_all(&[query("SELECT code FROM contacts")]);
        while client.read().expect("an answer").tag != b'D' {}
        client.send_all(&[query(behind)]);
        client.read_until_ready();
        assert!(tags(&client.read_until_ready()).ends_with("DCZ"));
    }
}
