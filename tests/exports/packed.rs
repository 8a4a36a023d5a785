//! Many rows in one, by values that are shorter than a row's own, or by figures of a single row.
use crate::support::message::{Client, Frame, bind, describe, execute, parse, sync};
use crate::{BOTH, DAY, ROWS, Taken, login, start, stopped, told};

/// A truth about each contact, in a letter.
const FLAG: &str = "CASE WHEN id % 3 = 0 THEN '1' ELSE '0' END";

/// One expression for each of so many, with its number in the place of `#`.
fn each(numbers: std::ops::Range<usize>, what: &str, between: &str) -> String {
    let all: Vec<String> = numbers.map(|n| what.replace('#', &n.to_string())).collect();
    all.join(between)
}

/// What a row of each tells of so many contacts: those of all rows that came back stay within the limit of a result.
#[test]
fn no_row_tells_of_more_than_it_counts_for() {
    let ways: Vec<(&str, String, usize)> = vec![
        ("letters", "SELECT string_agg(FLAG, '') FROM contacts GROUP BY id / 40".to_owned(), 40),
        ("two digits each", "SELECT string_agg(lpad((id % 90)::text, 2, '0'), '') FROM contacts GROUP BY id / 40".to_owned(), 40),
        ("letters behind nullif", "SELECT nullif(string_agg(FLAG, ''), '') FROM contacts GROUP BY id / 40".to_owned(), 40),
        ("a string of bits", "SELECT string_agg(FLAG, '')::bit varying FROM contacts GROUP BY id / 40".to_owned(), 40),
        ("bits as a number", "SELECT ('1' || string_agg(FLAG, ''))::bit(31)::int FROM contacts GROUP BY id / 30".to_owned(), 30),
        ("bits in hexadecimal", "SELECT to_hex(('1' || string_agg(FLAG, ''))::bit(31)::int) FROM contacts GROUP BY id / 30".to_owned(), 30),
        ("an ideograph", "SELECT chr(19968 + string_agg(FLAG, '')::bit(14)::int) FROM contacts GROUP BY id / 14".to_owned(), 14),
        ("shorter words for longer ones", "SELECT replace(replace(replace(string_agg(FLAG, ''), '000', 'a'), '010', 'b'), '100', 'c') FROM contacts GROUP BY id / 40".to_owned(), 40),
        ("powers of two", "SELECT sum(FLAG::int * 2 ^ (id % 40)) FROM contacts GROUP BY id / 40".to_owned(), 40),
        ("powers of two from a subquery", "SELECT sum(v) FROM (SELECT id / 40 AS g, FLAG::int * 2 ^ (id % 40) AS v FROM contacts) x GROUP BY g".to_owned(), 40),
        ("factors from a list", format!("SELECT sum(FLAG::int * f) FROM contacts JOIN (VALUES {}) v(k, f) ON k = id % 16 GROUP BY id / 16",
            (0..16).map(|n| format!("({n}, {})", 1_u64 << n)).collect::<Vec<_>>().join(", ")), 16),
        ("sums of one row each", format!("SELECT {} FROM contacts GROUP BY id / 40", each(0..40, "sum(id) FILTER (WHERE id % 40 = #)", ", ")), 40),
        ("sums of one row each by CASE", format!("SELECT {} FROM contacts GROUP BY id / 40", each(0..40, "sum(CASE id % 40 WHEN # THEN id END)", ", ")), 40),
        ("counts of one row each", format!("SELECT {} FROM contacts GROUP BY id / 40", each(0..40, "count(*) FILTER (WHERE id % 40 = # AND code LIKE '%5x')", ", ")), 40),
        ("truths of one row each", format!("SELECT {} FROM contacts GROUP BY id / 40", each(0..40, "bool_or(id % 40 = # AND code LIKE '%5x')", ", ")), 40),
        ("sums over a row's number", format!("SELECT {} FROM (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM contacts) x GROUP BY n / 40",
            each(0..40, "sum(id) FILTER (WHERE n % 40 = #)", ", ")), 40),
        ("three in a sum", "SELECT sum(CASE id % 3 WHEN 0 THEN id % 90 WHEN 1 THEN id % 90 * 1000 ELSE id % 90 * 1000 * 1000 END) FROM contacts GROUP BY id / 3".to_owned(), 3),
        ("elements of an array", format!("SELECT {} FROM contacts GROUP BY id / 40", each(1..41, "(array_agg(code))[#]", ", ")), 40),
        ("elements put together", format!("SELECT {} FROM contacts GROUP BY id / 40", each(1..41, "coalesce((array_agg(code))[#], '')", " || ")), 40),
        ("elements of an array from a subquery", format!("SELECT {} FROM (SELECT array_agg(code) AS a FROM contacts GROUP BY id / 40) x", each(1..41, "a[#]", ", ")), 40),
    ];
    let (_server, pgveil) = start(BOTH);
    let mut over = Vec::new();
    for (number, (name, text, told_of)) in ways.into_iter().enumerate() {
        let text = text.replace("FLAG", FLAG);
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let frames = client.query(&text);
        let told = told(&frames);
        let rows = frames.iter().filter(|frame| frame.tag == b'D').count();
        eprintln!("{:>4} contacts: {name}", rows * told_of);
        match stopped(&told) {
            true if rows * told_of <= ROWS => {}
            _ => over.push((name, rows * told_of, told)),
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

/// Lists of which the session says in which form they come.
#[test]
fn no_form_of_a_value_hides_what_it_holds() {
    let (_server, pgveil) = start(BOTH);
    let binary = |client: &mut Client, text: &str| {
        client.send_all(&[
            parse("", text, &[]),
            bind("", "", &[], 1),
            describe(b'P', ""),
            execute("", 0),
            sync(),
        ]);
        client.read_until_ready()
    };
    let text = |client: &mut Client, text: &str| client.query(text);
    type Asked = fn(&mut Client, &str) -> Vec<Frame>;
    let ways: [(&str, &str, &str, Asked); 8] = [
        (
            "a letter that ends in a backslash, in JSON",
            "SET client_encoding TO 'GBK'",
            "SELECT json_agg(code || chr(32279)) FROM contacts GROUP BY id / 40",
            text,
        ),
        (
            "... in an array",
            "SET client_encoding TO 'GBK'",
            "SELECT array_agg(code || chr(32279)) FROM contacts GROUP BY id / 40",
            text,
        ),
        (
            "... by COPY",
            "SET client_encoding TO 'GBK'",
            "COPY (SELECT array_agg(code || chr(32279)) FROM contacts GROUP BY id / 40) TO STDOUT",
            text,
        ),
        (
            "bytes that take the separator for their second half",
            "SET client_encoding TO 'GBK'",
            "SELECT string_agg(convert_to(code, 'UTF8') || '\\xa5', '|') FROM contacts GROUP BY id / 40",
            binary,
        ),
        (
            "bytes without a separator",
            "SELECT 1",
            "SELECT string_agg(convert_to(code, 'UTF8'), '\\x') FROM contacts GROUP BY id / 40",
            binary,
        ),
        (
            "bytes with a separator that is written in digits",
            "SELECT 1",
            "SELECT string_agg(convert_to(code, 'UTF8'), '\\x2c') FROM contacts GROUP BY id / 40",
            binary,
        ),
        (
            "bytes with a separator that is escaped",
            "SET bytea_output = 'escape'",
            "SELECT string_agg(convert_to(code, 'UTF8'), E'\\n') FROM contacts GROUP BY id / 40",
            text,
        ),
        (
            "bits in binary form",
            "SELECT 1",
            "SELECT string_agg(code, '')::bytea FROM contacts GROUP BY id / 40",
            binary,
        ),
    ];
    let mut over = Vec::new();
    for (number, (name, setting, query, ask)) in ways.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        assert!(told(&client.query(setting)).is_none(), "{setting}");
        let frames = ask(&mut client, query);
        let mut taken = Taken::default();
        taken.add(&frames);
        let told = told(&frames);
        eprintln!("{:>4} codes: {name}", taken.count());
        if !stopped(&told) || taken.count() > ROWS {
            over.push((name, taken.count(), told));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

/// What people ask for in their daily work, and for how many rows it counts: by what it leaves of the day.
#[test]
fn what_hides_nothing_counts_for_no_more_than_it_shows() {
    let reports = [
        (
            "a list that is cut, trimmed and named",
            "SELECT format('%s: %s', id % 5, left(rtrim(string_agg(code, ', '), ', '), 200)) FROM contacts WHERE id <= 15 GROUP BY id % 5".to_owned(),
            15,
        ),
        (
            "a list that is nothing, or in capitals",
            "SELECT id % 5, coalesce(nullif(upper(string_agg(code, ', ')), ''), 'none') FROM contacts WHERE id <= 15 GROUP BY 1".to_owned(),
            15,
        ),
        (
            "lists in a list",
            "SELECT string_agg(g || ': ' || codes, '; ') FROM (SELECT id % 5 AS g, string_agg(code, ', ') AS codes FROM contacts WHERE id <= 15 GROUP BY 1) x".to_owned(),
            15,
        ),
        (
            "an array without its gaps",
            "SELECT id % 5, array_remove(array_agg(code), NULL), cardinality(array_agg(code)) FROM contacts WHERE id <= 15 GROUP BY 1".to_owned(),
            15,
        ),
        (
            "the latest of each group, in three columns",
            "SELECT id % 20, (array_agg(code ORDER BY id DESC))[1], (array_agg(id ORDER BY id DESC))[1], (array_agg(phone ORDER BY id DESC))[1] \
             FROM contacts GROUP BY 1".to_owned(),
            20,
        ),
        (
            "a pivot table",
            format!("SELECT substr(code, 2, 1), {} FROM contacts GROUP BY 1", each(0..12, "count(*) FILTER (WHERE right(code, 2) = '#x')", ", ")),
            6,
        ),
        (
            "a pivot table of sums",
            format!("SELECT substr(code, 2, 1), {} FROM contacts GROUP BY 1", each(0..12, "sum(id) FILTER (WHERE right(code, 2) = '#x')", ", ")),
            // Four sums are a row.
            18,
        ),
        (
            "revenues and the like",
            "SELECT c.code, sum((c.id * 2)::numeric), sum((c.code LIKE 'k1%')::int), sum(p.id * 3) FROM contacts c JOIN plain p ON p.id = c.id \
             WHERE c.id <= 10 GROUP BY 1".to_owned(),
            10,
        ),
        (
            "a tree with its parents",
            "WITH RECURSIVE t(id, parent, name, depth) AS (SELECT id, 0, code, 0 FROM contacts WHERE id = 1 UNION ALL \
             SELECT c.id, t.id, c.code, t.depth + 1 FROM contacts c JOIN t ON c.id = t.id * 2 WHERE c.id < 3000) SELECT * FROM t".to_owned(),
            12,
        ),
    ];
    let (_server, pgveil) = start(&format!("per_day: {DAY}, approvers: [legal, dpo]"));
    for (number, (name, text, rows)) in reports.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let frames = client.query(&text);
        assert!(told(&frames).is_none(), "{name}: {:?}", told(&frames));
        let mut rest = Taken::default();
        rest.run(&mut client, ["SELECT code FROM contacts".to_owned()]);
        let counted = DAY - rest.count();
        eprintln!("{counted} rows: {name}");
        assert_eq!(counted, rows, "{name}");
    }
}

/// In an encoding of Chinese a list with a Chinese comma counts for its names.
#[test]
fn a_separator_is_looked_for_in_the_clients_encoding() {
    let (_server, pgveil) = start(&format!("per_day: {DAY}, approvers: [legal, dpo]"));
    let mut client = login(&pgveil, "u3");
    assert!(told(&client.query("SET client_encoding TO 'GBK'")).is_none());
    // `、` in GBK.
    let list =
        [&b"SELECT string_agg(code, '\xa1\xa2') FROM contacts WHERE id <= 15\0"[..]].concat();
    client.send_all(&[crate::support::message::frame(b'Q', &list)]);
    assert!(told(&client.read_until_ready()).is_none());
    let mut rest = Taken::default();
    rest.run(&mut client, ["SELECT code FROM contacts".to_owned()]);
    assert_eq!(DAY - rest.count(), 15);
}
