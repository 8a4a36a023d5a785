//! Ways of asking.
use crate::support::Postgres;
use crate::support::message::{Client, Frame, bind, describe, execute, parse, sync};
use crate::{BOTH, CONTACTS, DAY, ROWS, Taken, login, start, stopped, told};

/// Each way of asking, as statements in order; what comes back in all stays within the day.
#[test]
fn no_way_of_asking_gets_more_than_a_day_allows() {
    let (_server, pgveil) = start(BOTH);
    let pages = |text: fn(usize) -> String| (0..CONTACTS / 50).map(text).collect::<Vec<_>>();
    let repeated = |before: &[&str], each: &str, times: usize| {
        let before = before.iter().map(|text| (*text).to_owned());
        before
            .chain((0..times).map(|_| each.to_owned()))
            .collect::<Vec<_>>()
    };
    let ways: Vec<(&str, Vec<String>, usize)> = vec![
        ("all at once", repeated(&[], "SELECT code FROM contacts", 1), ROWS),
        ("pages by OFFSET", pages(|page| format!("SELECT code FROM contacts ORDER BY id LIMIT 50 OFFSET {}", page * 50)), DAY),
        ("pages by key", pages(|page| format!("SELECT code FROM contacts WHERE id > {} ORDER BY id LIMIT 50", page * 50)), DAY),
        ("pages by ctid", pages(|page| format!("SELECT code FROM contacts WHERE ctid >= '({page},0)' AND ctid < '({},0)'", page + 1)), DAY),
        ("one by one", (1..CONTACTS).map(|id| format!("SELECT code FROM contacts WHERE id = {id}")).collect(), DAY),
        ("FETCH in portions", repeated(&["BEGIN", "DECLARE c CURSOR FOR SELECT code FROM contacts"], "FETCH 30 FROM c", 50), ROWS),
        ("many cursors", (0..20).flat_map(|page| [
            "BEGIN".to_owned(),
            format!("DECLARE c{page} CURSOR WITH HOLD FOR SELECT code FROM contacts WHERE id > {}", page * 90),
            format!("FETCH 90 FROM c{page}"), "COMMIT".to_owned(),
        ]).collect(), DAY),
        ("several statements in one message", vec![
            (0..40).map(|page| format!("SELECT code FROM contacts ORDER BY id LIMIT 90 OFFSET {}", page * 90)).collect::<Vec<_>>().join("; "),
        ], DAY),
        ("COPY", repeated(&[], "COPY contacts (code) TO STDOUT", 1), ROWS),
        ("COPY of a query in pages", pages(|page| format!("COPY (SELECT code FROM contacts ORDER BY id LIMIT 50 OFFSET {}) TO STDOUT", page * 50)), DAY),
        ("UPDATE RETURNING", repeated(&[], "UPDATE contacts SET code = code RETURNING code", 1), ROWS),
        ("DELETE RETURNING in a transaction", repeated(&["BEGIN"], "DELETE FROM contacts RETURNING code", 1), ROWS),
        ("a temporary table", vec![
            "CREATE TEMP TABLE mine AS SELECT code FROM contacts".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table in pages", [String::from("CREATE TEMP TABLE mine (code text)")].into_iter().chain(
            (0..50).map(|page| format!("INSERT INTO mine SELECT code FROM contacts WHERE id BETWEEN {} AND {}", page * 90 + 1, page * 90 + 90)))
            .chain([String::from("SELECT * FROM mine")]).collect(), DAY),
        ("a temporary table filled by UPDATE", vec![
            "CREATE TEMP TABLE mine AS SELECT n, ''::text AS code FROM generate_series(1, 5000) n".to_owned(),
            "UPDATE mine SET code = (SELECT code FROM contacts WHERE id = n)".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table filled by a prepared statement", vec![
            "CREATE TEMP TABLE mine (code text)".to_owned(), "PREPARE p AS INSERT INTO mine SELECT code FROM contacts".to_owned(),
            "EXECUTE p".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table with all in one value", vec![
            "CREATE TEMP TABLE mine AS SELECT array_agg(code) FROM contacts".to_owned(), "SELECT * FROM mine".to_owned(),
        ], 0),
        ("a temporary table made by a prepared statement that gathers", vec![
            "PREPARE p AS SELECT array_agg(code) FROM contacts".to_owned(), "CREATE TEMP TABLE mine AS EXECUTE p".to_owned(),
            "SELECT * FROM mine".to_owned(),
        ], 0),
        ("a temporary table that conditions leave rows in", vec![
            "CREATE TEMP TABLE mine AS SELECT 'k' || lpad(n::text, 4, '0') || 'x' AS code FROM generate_series(0, 9999) n".to_owned(),
            "DELETE FROM mine WHERE code NOT IN (SELECT code FROM contacts)".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("a temporary table that a join leaves rows in", vec![
            "CREATE TEMP TABLE mine AS SELECT 'k' || lpad(n::text, 4, '0') || 'x' AS code FROM generate_series(0, 9999) n".to_owned(),
            "DELETE FROM mine USING (SELECT max(code) AS most FROM contacts) c WHERE mine.code > c.most".to_owned(), "SELECT * FROM mine".to_owned(),
        ], ROWS),
        ("another table", vec!["INSERT INTO plain SELECT 10000 + id FROM contacts".to_owned()], 0),
        ("rows multiplied to hide", repeated(&[], "SELECT c.code FROM contacts c, generate_series(1, 2)", 1), ROWS),
        ("json_agg", repeated(&[], "SELECT json_agg(code) FROM contacts", 1), 0),
        ("json_agg of rows", repeated(&[], "SELECT json_agg(c) FROM contacts c", 1), 0),
        ("jsonb_agg by group", repeated(&[], "SELECT jsonb_agg(code) FROM contacts GROUP BY id % 500", 1), ROWS),
        ("json_object_agg", repeated(&[], "SELECT json_object_agg(id, code) FROM contacts GROUP BY id % 100", 1), ROWS),
        ("array_agg", repeated(&[], "SELECT array_agg(code) FROM contacts", 1), 0),
        ("array_agg by group", repeated(&[], "SELECT id / 10, array_agg(code) FROM contacts GROUP BY 1", 1), ROWS),
        ("ARRAY(...)", repeated(&[], "SELECT ARRAY(SELECT code FROM contacts)", 1), 0),
        ("array_agg in pairs with a colon", repeated(&[], "SELECT array_agg(code || ':') FROM contacts GROUP BY id / 50", 1), ROWS),
        ("array_agg, most of it constant", repeated(&[], "SELECT array_agg(code) FILTER (WHERE true) FROM contacts GROUP BY id / 50", 1), ROWS),
        ("percentile_disc of many fractions", repeated(&[], "SELECT percentile_disc(ARRAY(SELECT n / 1000.0 FROM generate_series(1, 1000) n)) \
            WITHIN GROUP (ORDER BY code) FROM contacts", 1), ROWS),
        ("a pivot by CASE", repeated(&[], &format!("SELECT {} FROM contacts GROUP BY id / 50",
            (0..50).map(|n| format!("max(CASE WHEN id % 50 = {n} THEN code END)")).collect::<Vec<_>>().join(", ")), 1), ROWS),
        ("a pivot by FILTER", repeated(&[], &format!("SELECT {} FROM contacts GROUP BY id / 50",
            (0..50).map(|n| format!("min(code) FILTER (WHERE id % 50 = {n})")).collect::<Vec<_>>().join(", ")), 1), ROWS),
        ("a pivot of made columns", repeated(&[], &format!("SELECT {} FROM (SELECT id, {} FROM contacts) x GROUP BY id / 50",
            (0..50).map(|n| format!("max(c{n})")).collect::<Vec<_>>().join(", "),
            (0..50).map(|n| format!("CASE WHEN id % 50 = {n} THEN code END AS c{n}")).collect::<Vec<_>>().join(", ")), 1), ROWS),
        ("a window's frame that is another row", repeated(&[], &format!("SELECT {} FROM contacts",
            (1..40).map(|n| format!("max(code) OVER (ORDER BY id ROWS BETWEEN {n} PRECEDING AND {n} PRECEDING)")).collect::<Vec<_>>().join(", ")), 1), ROWS),
        ("an aggregate that a subquery writes for the query around it", repeated(&[],
            "SELECT (SELECT string_agg(c.code, '')) FROM contacts c GROUP BY id / 50", 1), ROWS),
        ("string_agg", repeated(&[], "SELECT string_agg(code, ',') FROM contacts", 1), 0),
        ("string_agg by group", repeated(&[], "SELECT string_agg(code, ',') FROM contacts GROUP BY id / 50", 1), ROWS),
        ("string_agg by small groups", repeated(&[], "SELECT string_agg(code, '') FROM contacts GROUP BY id / 8", 1), ROWS),
        ("string_agg of pairs", repeated(&[], "SELECT string_agg(code, '') FROM contacts GROUP BY id / 2", 1), ROWS),
        ("string_agg without its separators", repeated(&[], "SELECT replace(string_agg(code, ','), ',', '') FROM contacts GROUP BY id / 8", 1), ROWS),
        ("string_agg of string_agg", repeated(&[], "SELECT string_agg(s, ',') FROM (SELECT id / 64 AS g, string_agg(code, '') AS s FROM contacts \
            GROUP BY id / 64, id / 8) x GROUP BY g", 1), ROWS),
        ("json_agg of string_agg", repeated(&[], "SELECT json_agg(s) FROM (SELECT id / 64 AS g, string_agg(code, '') AS s FROM contacts \
            GROUP BY id / 64, id / 8) x GROUP BY g", 1), ROWS),
        ("json in json, as text", repeated(&[], "SELECT json_agg(s::text) FROM (SELECT id / 64 AS g, json_agg(code) AS s FROM contacts \
            GROUP BY id / 64, id / 8) x GROUP BY g", 1), ROWS),
        ("json behind an opening quote", repeated(&[], "SELECT '[\"' || json_agg(code)::text FROM contacts GROUP BY id / 50", 1), ROWS),
        ("COPY of json with quotes in it", repeated(&[], "COPY (SELECT json_agg(code || '\"') FROM contacts GROUP BY id / 50) TO STDOUT", 1), ROWS),
        ("COPY of lists under another delimiter", repeated(&[], "COPY (SELECT string_agg(code, ''), E'\\tx' FROM contacts GROUP BY id / 50) TO STDOUT (FORMAT csv)", 1), ROWS),
        ("one list three times", repeated(&[], "WITH g AS (SELECT id / 50 AS g, string_agg(code, '') AS s FROM contacts GROUP BY id / 50) \
            SELECT a.s, b.s, c.s FROM g a JOIN g b ON b.g = a.g + 20 JOIN g c ON c.g = a.g + 40", 1), ROWS),
        ("string_agg cut up again", repeated(&[], &format!("SELECT {} FROM (SELECT string_agg(code, '') AS s FROM contacts GROUP BY id / 500) x",
            (0..250).map(|piece| format!("substr(s, {}, 12)", piece * 12 + 1)).collect::<Vec<_>>().join(", ")), 1), ROWS),
        ("array_to_string", repeated(&[], "SELECT array_to_string(array_agg(code), '') FROM contacts GROUP BY id / 50", 1), ROWS),
        ("array_to_string with commas", repeated(&[], "SELECT array_to_string(ARRAY(SELECT code FROM contacts WHERE id / 50 = n), ', ') FROM generate_series(0, 99) n", 1), ROWS),
        ("xmlagg by group", repeated(&[], "SELECT xmlagg(xmlelement(name c, code)) FROM contacts GROUP BY id / 50", 1), ROWS),
        ("xmlagg without elements", repeated(&[], "SELECT xmlagg(xmlparse(content code)) FROM contacts GROUP BY id / 8", 1), ROWS),
        ("a list that is shifted on", repeated(&[], &format!("WITH RECURSIVE r(n, {columns}) AS (SELECT 0, {empty} UNION ALL SELECT n + 1, c.code::text, {shifted} FROM r \
            JOIN contacts c ON c.id = n + 1 WHERE n < 2000) SELECT * FROM r WHERE n % 40 = 0",
            columns = (0..40).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", "),
            empty = ["''::text"; 40].join(", "),
            shifted = (0..39).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ")), 1), ROWS),
        ("the path of a search", repeated(&[], "WITH RECURSIVE r AS (SELECT id, code FROM contacts WHERE id = 1 UNION ALL SELECT c.id, c.code FROM contacts c \
            JOIN r ON c.id = r.id + 1 WHERE r.id < 1000) SEARCH DEPTH FIRST BY code SET path SELECT path FROM r WHERE id = 1000", 1), ROWS),
        ("xmlagg", repeated(&[], "SELECT xmlagg(xmlelement(name c, code)) FROM contacts", 1), 0),
        ("window ladder", repeated(&[], "SELECT string_agg(code, '') OVER (ORDER BY id) FROM contacts", 1), ROWS),
        ("lag ladder", repeated(&[], &format!("SELECT {} FROM contacts",
            (1..40).map(|step| format!("lag(code, {step}) OVER w")).collect::<Vec<_>>().join(", ") + " "
        ).replace(" FROM", " FROM").replace("contacts", "contacts WINDOW w AS (ORDER BY id)"), 1), ROWS),
        ("side by side", repeated(&[], "SELECT a.code, b.code, c.code, d.code FROM contacts a JOIN contacts b ON b.id = a.id + 1000 \
            JOIN contacts c ON c.id = a.id + 2000 JOIN contacts d ON d.id = a.id + 3000", 1), ROWS),
        ("a recursive text", repeated(&[], "WITH RECURSIVE r(n, s) AS (SELECT 0, ''::text UNION ALL SELECT n + 1, s || c.code FROM r JOIN \
            contacts c ON c.id = n + 1 WHERE n < 2000) SELECT max(s) FROM r", 1), 0),
    ];
    for (number, (name, texts, most)) in ways.into_iter().enumerate() {
        let user = format!("u{}", number + 3);
        let mut taken = Taken::default();
        let mut client = login(&pgveil, &user);
        let told = taken.run(&mut client, texts);
        assert!(stopped(&told), "{name}: {} codes, {told:?}", taken.count());
        eprintln!("{:>4} codes of at most {most}: {name}", taken.count());
        assert!(
            taken.count() <= most,
            "{name}: {} codes, {told:?}",
            taken.count()
        );
        // Nothing else brings more on the same day.
        if told.is_some_and(|told| told.message.contains("within a day")) {
            let mut again = login(&pgveil, &user);
            let more = again.query("SELECT code FROM contacts WHERE id > 4000 LIMIT 99");
            taken.add(&more);
            assert!(
                taken.count() <= DAY,
                "{name}: {} codes after a new login",
                taken.count()
            );
        }
    }
}

#[test]
fn portals_with_a_row_limit_are_one_result() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    let mut taken = Taken::default();
    client.send_all(&[
        parse("", "SELECT code FROM contacts", &[]),
        bind("p", "", &[], 0),
        describe(b'P', "p"),
    ]);
    for _ in 0..20 {
        client.send_all(&[execute("p", 30)]);
    }
    client.send_all(&[sync()]);
    let frames = client.read_until_ready();
    taken.add(&frames);
    assert!(stopped(&told(&frames)), "{:?}", told(&frames));
    assert_eq!(taken.count(), ROWS);
}

#[test]
fn rows_that_were_stored_are_on_record() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for text in [
        "CREATE TEMP TABLE mine AS SELECT code FROM contacts WHERE id <= 40",
        "INSERT INTO mine SELECT code FROM contacts WHERE id <= 30",
    ] {
        served(&mut client, text);
    }
    let lines = pgveil.audit_lines();
    for (kind, rows) in [("CREATE TABLE AS", 40), ("INSERT", 30)] {
        let kind = format!("\"kind\":\"{kind}\"");
        let line = lines.iter().find(|line| line.contains(&kind));
        let line = line.unwrap_or_else(|| panic!("no {kind}"));
        assert!(line.contains(&format!("\"rows\":{rows},")), "{line}");
    }
}

/// A row of a protected relation that holds many would be read as one.
#[test]
fn many_rows_that_go_into_one_of_a_protected_relation_are_an_export() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for text in [
        "UPDATE contacts SET code = (SELECT string_agg(c.code, ',') FROM contacts c) WHERE id = 1",
        "UPDATE contacts SET code = q.codes FROM (SELECT string_agg(c.code, ',') AS codes FROM contacts c) q WHERE id = 1",
        "INSERT INTO contacts (id, code) SELECT 9001, string_agg(code, ',') FROM contacts",
        "INSERT INTO contacts (id) VALUES (2) ON CONFLICT (id) DO UPDATE SET code = (SELECT string_agg(c.code, ',') FROM contacts c)",
    ] {
        assert!(stopped(&told(&client.query(text))), "{text}");
    }
    for text in [
        "UPDATE contacts SET code = (SELECT c.code FROM contacts c WHERE c.id = 2) WHERE id = 3",
        "INSERT INTO contacts SELECT id + 10000, code, phone FROM contacts WHERE id < 200",
    ] {
        served(&mut client, text);
    }
}

#[test]
fn what_nobody_could_count_is_refused() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    client.query("CREATE TEMP TABLE mine (code text)");
    let told = |client: &mut Client, text: &str| told(&client.query(text));
    for text in [
        "WITH w AS (INSERT INTO mine SELECT code FROM contacts RETURNING 1) SELECT count(*) FROM w",
        "WITH c AS (SELECT code FROM contacts), w AS (INSERT INTO mine SELECT * FROM c) SELECT 1",
        "WITH w AS (UPDATE mine SET code = c.code FROM contacts c RETURNING 1) SELECT 1 FROM w",
        "WITH w AS (UPDATE mine SET code = 'y' WHERE code IN (SELECT code FROM contacts) RETURNING code) SELECT * FROM w",
        "WITH w AS (DELETE FROM mine USING contacts c WHERE c.code > mine.code) SELECT 1",
        "WITH w AS (UPDATE contacts SET code = (SELECT string_agg(c.code, ',') FROM contacts c) WHERE id = 1 RETURNING 1) SELECT 1 FROM w",
        "WITH w AS (UPDATE contacts SET code = ARRAY(SELECT c.code FROM contacts c)::text WHERE id = 1 RETURNING 1) SELECT 1 FROM w",
        "WITH w AS (UPDATE contacts SET code = (SELECT percentile_cont(ARRAY[0.1, 0.2]) WITHIN GROUP (ORDER BY c.id) FROM contacts c)::text WHERE id = 1 RETURNING 1) SELECT 1 FROM w",
    ] {
        let told = told(&mut client, text).expect(text);
        assert!(
            told.message
                .contains("a WITH query or EXPLAIN ANALYZE that writes"),
            "{text}: {told:?}"
        );
    }
    for text in [
        "WITH w AS (INSERT INTO mine VALUES ('x') RETURNING code) SELECT w.code FROM w, contacts c WHERE c.id = 1",
        "WITH w AS (UPDATE contacts SET code = 'y' WHERE id = 1 RETURNING id) SELECT * FROM w",
        "UPDATE mine SET code = 'z' WHERE code IN (SELECT code FROM contacts)",
        "INSERT INTO contacts SELECT id + 10000, code, phone FROM contacts WHERE id = 9",
    ] {
        assert!(
            told(&mut client, text).is_none(),
            "{text}: {:?}",
            told(&mut client, text)
        );
    }
}

/// Values that a session can ask for again in bulk, other than rows.
#[test]
fn what_keeps_values_takes_none_of_protected_relations() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for text in [
        "SELECT count(set_config('app.all', coalesce(current_setting('app.all', true), '') || code, false)) FROM contacts",
        "SELECT count(pg_advisory_lock(id)) FROM contacts",
        "SELECT count((c.id::bigint).pg_advisory_lock) FROM contacts c",
        "SELECT count(pg_notify('all', code)) FROM contacts",
        "COPY (SELECT count(pg_try_advisory_lock(id)) FROM contacts) TO STDOUT",
        "SELECT count(nextval(('s_' || left(code, 1))::regclass)) FROM contacts",
        "SELECT id FROM contacts WHERE setseed(id / 1000000.0) IS NULL",
        // Whether it is called is a value, too.
        "SELECT count(*) FROM contacts WHERE CASE WHEN id = 1 AND code < 'l' THEN pg_try_advisory_lock(100) ELSE true END",
        "SELECT count(*) FILTER (WHERE set_config('app.bit', '1', false) = '1') FROM contacts WHERE id = 1",
        "SELECT 1 FROM (SELECT 1 FROM contacts WHERE code < 'l') c, (SELECT pg_notify('bits', '1')) n",
        "SELECT pg_try_advisory_lock(1) FROM contacts WHERE id = 1 UNION ALL SELECT pg_try_advisory_lock(2) FROM contacts WHERE id = 2",
        "SELECT nextval('seq') FROM contacts OFFSET 5000",
        "WITH c AS (SELECT nextval('seq') FROM contacts) SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT nextval('seq') FROM contacts",
    ] {
        refused(&mut client, text, "keeps values");
    }
    for text in [
        "SELECT pg_advisory_xact_lock(4711), code FROM contacts WHERE id = 1",
        "SELECT set_config('app.user', 'ann', false) FROM contacts LIMIT 1",
        "CREATE TEMP SEQUENCE seq START 90001",
        "SELECT nextval('seq'), code FROM contacts WHERE id = 2",
        "INSERT INTO plain SELECT nextval('seq') FROM contacts WHERE id < 3",
        "INSERT INTO plain VALUES (nextval('seq')), ((SELECT 80000 + id FROM contacts WHERE id = 1))",
        "UPDATE plain SET id = nextval('seq') FROM contacts c WHERE c.id = plain.id AND c.id = 5",
        "SELECT pg_try_advisory_lock(id), pg_advisory_unlock(id) FROM plain WHERE id < 5",
    ] {
        served(&mut client, text);
    }
}

/// A lock leaves its mark on a row (`xmax`), whether or not the row comes back.
#[test]
fn rows_that_are_only_locked_are_not_left_uncounted() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    for text in [
        "SELECT count(*) FROM (SELECT 1 FROM plain t WHERE EXISTS (SELECT 1 FROM contacts c WHERE c.id = t.id) FOR UPDATE OF t) q",
        "WITH q AS (SELECT t.id FROM plain t JOIN contacts c ON c.id = t.id FOR SHARE OF t) SELECT count(*) FROM q",
        "SELECT t.id FROM plain t, contacts c WHERE c.id = t.id FOR UPDATE OFFSET 100000",
        "DECLARE q CURSOR WITH HOLD FOR SELECT t.id FROM plain t, contacts c WHERE c.id = t.id FOR UPDATE OF t",
        "INSERT INTO plain SELECT id FROM contacts ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE false",
    ] {
        refused(&mut client, text, "locks rows");
    }
    for text in [
        "SELECT t.id FROM plain t JOIN contacts c ON c.id = t.id WHERE t.id < 5 FOR UPDATE OF t",
        "SELECT code FROM contacts WHERE id < 5 FOR UPDATE",
        "SELECT count(*) FROM (SELECT id FROM contacts WHERE id < 5 FOR UPDATE) q",
        "WITH j AS (SELECT id FROM plain WHERE id < 3 FOR UPDATE SKIP LOCKED) SELECT c.code FROM contacts c JOIN j USING (id)",
        "INSERT INTO plain SELECT id FROM contacts WHERE id < 5 ON CONFLICT (id) DO UPDATE SET id = excluded.id",
        "INSERT INTO plain VALUES (1) ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE plain.id < 5",
    ] {
        served(&mut client, text);
    }
}

/// What people ask for in their daily work, and for how many rows it counts: by what it leaves of the day.
#[test]
fn reports_count_for_the_rows_that_they_show() {
    let reports = [
        (
            "three names for each of five groups",
            "SELECT id % 5, string_agg(code, ', ' ORDER BY id) FROM contacts WHERE id <= 15 GROUP BY 1",
            15,
        ),
        (
            "the same in a subquery of a tool",
            "SELECT * FROM (SELECT id % 5 AS g, coalesce(string_agg(code, ', '), '') AS codes FROM contacts WHERE id <= 15 GROUP BY 1) q LIMIT 100",
            15,
        ),
        (
            "a list in JSON with lists in it",
            "SELECT coalesce(json_agg(x), '[]') FROM (SELECT id, code, (SELECT json_agg(p.id) FROM plain p WHERE p.id = c.id) AS p FROM contacts c WHERE id <= 10) x",
            // The lists in it are of another table, whose rows do not count.
            10,
        ),
        (
            "figures for each of eight groups",
            "SELECT id % 8, count(*), sum(id), avg(id), round(sum(id) / 3.0, 2), max(id) FROM contacts GROUP BY 1",
            8,
        ),
        (
            "two more of rows that are chosen by their key",
            "SELECT id % 8, sum(CASE WHEN id < 100 THEN id ELSE 0 END), count(*) FILTER (WHERE id < 50) FROM contacts GROUP BY 1",
            16,
        ),
        (
            "the latest of each group",
            "SELECT id % 20, (array_agg(code ORDER BY id DESC))[1], max(id) FROM contacts GROUP BY 1",
            20,
        ),
        (
            "a tree",
            "WITH RECURSIVE t(id, parent, name, depth) AS (SELECT id, 0, code, 0 FROM contacts WHERE id = 1 UNION ALL \
             SELECT c.id, t.id, c.code, t.depth + 1 FROM contacts c JOIN t ON c.id = t.id * 2 WHERE c.id < 3000) SELECT * FROM t",
            12,
        ),
    ];
    let (_server, pgveil) = start(&format!("per_day: {DAY}, approvers: [legal, dpo]"));
    for (number, (name, text, rows)) in reports.into_iter().enumerate() {
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let frames = client.query(text);
        assert!(told(&frames).is_none(), "{name}: {:?}", told(&frames));
        let mut rest = Taken::default();
        rest.run(&mut client, ["SELECT code FROM contacts".to_owned()]);
        let counted = DAY - rest.count();
        eprintln!("{counted} rows: {name}");
        assert_eq!(counted, rows, "{name}");
    }
}

/// A row that was to be changed, deleted or locked says so, though it was taken back; and a constraint sees what is stored.
#[test]
fn what_is_taken_back_leaves_nothing_to_be_read() {
    let (_server, pgveil) = start(BOTH);
    let mut client = login(&pgveil, "u0");
    client.query("CREATE TEMP TABLE tmp (v text)");
    client.query("INSERT INTO tmp SELECT 'k' || lpad(g::text, 4, '0') || 'x' FROM generate_series(1, 9999) g");
    for text in [
        "SELECT v FROM tmp WHERE xmax::text <> '0'",
        "SELECT t.cmax, v FROM tmp t",
        "INSERT INTO tmp VALUES ('a') RETURNING (SELECT max(v) FROM tmp t WHERE t.xmax::text <> '0')",
        "CREATE TEMP TABLE q (v text CHECK (pg_try_advisory_lock(substr(v, 2, 4)::int)))",
        "ALTER TABLE tmp ADD CHECK (pg_notify('all', v) IS NULL)",
    ] {
        let told = told(&client.query(text)).expect(text);
        assert!(told.message.starts_with("pgveil: "), "{text}: {told:?}");
    }
    let delete = "DELETE FROM tmp WHERE v IN (SELECT code FROM contacts)";
    assert!(stopped(&told(&client.query(delete))));
    refused(&mut client, "SELECT v FROM tmp", "is not read any more");
    for text in [
        "SELECT xmin FROM plain WHERE id = 1",
        "INSERT INTO plain VALUES (1) ON CONFLICT (id) DO UPDATE SET id = excluded.id RETURNING (xmax = 0)",
        "CREATE TEMP SEQUENCE seq",
        "CREATE TEMP TABLE r (id int DEFAULT nextval('seq') CHECK (id > 0), at serial)",
    ] {
        served(&mut client, text);
    }
}

/// Neither by what is said about rows nor by counters of what was done for them.
#[test]
fn neither_notices_nor_counters_stand_for_rows() {
    let (server, pgveil) = start(BOTH);
    let noisy = "SELECT count(*) FROM contacts WHERE CASE WHEN code < 'k0100x' THEN plainto_tsquery('english', left('the' || code, 3)) IS NOT NULL ELSE true END";
    let notices = |frames: &[Frame]| frames.iter().filter(|frame| frame.tag == b'N').count();
    let mut direct = login_directly(&server, "u0");
    assert!(
        notices(&direct.query(noisy)) > 50,
        "there is nothing to be seen"
    );
    let mut client = login(&pgveil, "u0");
    let frames = client.query(noisy);
    assert!(told(&frames).is_none());
    assert_eq!(notices(&frames), 0);
    client.query("CREATE TEMP TABLE t7 (id int)");
    client.query("INSERT INTO t7 VALUES (1)");
    let scans = "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname = 't7'";
    for text in ["BEGIN", "SELECT count(*) FROM t7", scans] {
        let frames = client.query(text);
        assert!(told(&frames).is_none(), "{text}");
        let row = frames
            .iter()
            .find(|frame| frame.tag == b'D' && text == scans);
        assert!(row.is_none_or(|row| {
            row.columns()[1]
                .as_deref()
                .is_none_or(|scans| scans == b"0")
        }));
    }
}

fn login_directly(server: &Postgres, user: &str) -> Client {
    Client::login(server.port(), user, "", "postgres")
}

fn refused(client: &mut Client, text: &str, words: &str) {
    let told = told(&client.query(text)).expect(text);
    assert!(told.message.contains(words), "{text}: {told:?}");
}

fn served(client: &mut Client, text: &str) {
    let told = told(&client.query(text));
    assert!(told.is_none(), "{text}: {told:?}");
}
