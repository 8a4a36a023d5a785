//! Names and forms that hid gathered values: each of these gave all codes of a table in a row that counted for one or two.
use super::*;

fn holds(text: &str) -> Holding {
    first(text)
}

/// `settings`, with one column `value`, does not count.
fn beside_settings(text: &str) -> Holding {
    let counts = |node: &Node| node.text("relname") != "settings";
    match counting(text, &counts).columns {
        Some(columns) => columns.of(0, columns.before.len().max(1)).clone(),
        None => Own,
    }
}

#[test]
fn what_is_named_before_it_is_read_may_hold_anything() {
    let text =
        "WITH RECURSIVE d AS (SELECT x FROM c), c AS (SELECT string_agg(code, ',') x FROM t) ";
    assert_eq!(holds(&format!("{text} SELECT x FROM d")), Anything);
    assert!(of(&format!("{text} INSERT INTO m SELECT x FROM d")).stores_many);
    let text = "WITH RECURSIVE c AS (SELECT string_agg(code, ',') x FROM t), d AS (SELECT x FROM c) SELECT x FROM d";
    assert_eq!(holds(text), separated(&[","]), "in order it is read");
}

#[test]
fn the_alias_of_using_has_the_columns_of_both_sides() {
    let list = "(SELECT string_agg(code, ',' ORDER BY id) AS x FROM t)";
    assert_eq!(
        holds(&format!(
            "SELECT j.x FROM {list} a JOIN {list} b USING (x) AS j"
        )),
        separated(&[","])
    );
    assert_eq!(
        holds(&format!(
            "SELECT j FROM {list} a JOIN {list} b USING (x) AS j"
        )),
        Anything
    );
    assert_eq!(holds("SELECT o.name FROM t JOIN o USING (id) AS j"), Own);
}

#[test]
fn a_name_under_which_nothing_is_found_stands_for_anything() {
    for (text, expected) in [
        (
            "SELECT nobody.x FROM (SELECT array_agg(code) x FROM t) q",
            Anything,
        ),
        (
            "SELECT x FROM (SELECT array_agg(code) y FROM t) q",
            Anything,
        ),
        // A function in the notation of a column.
        (
            "SELECT q.to_json FROM (SELECT array_agg(code) y FROM t) q",
            Anything,
        ),
        (
            "SELECT e.value FROM t, jsonb_array_elements(t.items) e",
            Own,
        ),
        (
            "SELECT jsonb_array_elements.value FROM t, jsonb_array_elements(t.items)",
            Own,
        ),
        ("UPDATE t SET a = 1 RETURNING id", Own),
        ("UPDATE t u SET a = 1 RETURNING u.id", Own),
        ("UPDATE t SET a = 1 RETURNING old.id, new.id", Own),
        ("UPDATE t SET a = 1 RETURNING WITH (OLD AS o) o.id", Own),
        ("INSERT INTO t VALUES (1) RETURNING id, t.id", Own),
        ("SELECT s.t.id FROM s.t", Own),
        ("SELECT count(*) OVER () FROM t", Own),
    ] {
        assert_eq!(holds(text), expected, "{text}");
    }
    for text in [
        "INSERT INTO m SELECT a, b FROM t ON CONFLICT (a) DO UPDATE SET b = excluded.b, c = m.c",
        "UPDATE m SET a = m.b FROM t WHERE m.id = t.id",
        "MERGE INTO m USING t ON m.id = t.id WHEN MATCHED THEN UPDATE SET a = m.b || t.phone",
    ] {
        assert!(!of(text).stores_many, "{text}");
    }
}

#[test]
fn what_lag_and_lead_give_for_no_row_is_looked_at() {
    let list = "(SELECT string_agg(code, ',') FROM t)";
    let text = format!("SELECT lag(code, 1, {list}) OVER (ORDER BY id) FROM t");
    assert_eq!(holds(&text), separated(&[","]));
    assert!(
        of(&format!(
            "INSERT INTO m SELECT lag('', 1, {list}) OVER () FROM t"
        ))
        .stores_many
    );
    assert_eq!(
        holds("SELECT lag(code, 1, '-') OVER (ORDER BY id) FROM t"),
        Own
    );
}

#[test]
fn tags_are_counted_where_they_are_not_escaped() {
    let rows = "xmlagg(xmlelement(name r, code))";
    for (text, expected) in [
        ("xmlelement(name z, xmlattributes(ROWS as a))", Joined),
        ("xmlelement(name z, (ROWS)::text)", Joined),
        (
            "xmlelement(name z, xmlserialize(content ROWS as text))",
            Joined,
        ),
        (
            "xmlelement(name z, x.r) FROM (SELECT (ROWS)::text AS r FROM t) x",
            Joined,
        ),
        ("xmlelement(name z, ROWS)", Tags),
        ("xmlelement(name z, xmlattributes(g as a), ROWS)", Tags),
        ("(ROWS)::text", Tags),
        ("xmlserialize(content ROWS as text)", Tags),
        (
            "xmlelement(name z, x.r) FROM (SELECT ROWS AS r FROM t) x",
            Tags,
        ),
    ] {
        let text = text.replace("ROWS", rows);
        let from = if text.contains(" FROM t") {
            ""
        } else {
            " FROM t"
        };
        assert_eq!(holds(&format!("SELECT {text}{from}")), expected, "{text}");
    }
}

#[test]
fn an_array_of_rows_can_be_the_members_of_an_object() {
    for text in [
        "SELECT json_build_object(VARIADIC x[1:128]) FROM (SELECT array_agg(code ORDER BY id) x FROM t) q",
        "SELECT jsonb_build_object(VARIADIC array_agg(code)) FROM t",
    ] {
        assert_eq!(holds(text), document(true, u8::MAX, &[]), "{text}");
    }
    assert_eq!(
        holds("SELECT jsonb_build_object('a', array_agg(code)) FROM t"),
        document(false, u8::MAX, &[])
    );
    // The column of that name, in the notation of a call.
    for name in ["json_strip_nulls", "array_to_json", "md5"] {
        let text = format!("SELECT {name}(q) FROM (SELECT array_agg(code) AS {name} FROM t) q");
        assert_eq!(holds(&text), Anything, "{text}");
    }
}

#[test]
fn elements_are_of_one_row_where_the_order_is_the_same_each_time() {
    let none: Holding = Element("".into());
    for text in [
        "(array_agg(code ORDER BY id))[1 + floor(random() * 2000)::int]",
        "(array_agg(code ORDER BY random()))[1]",
        "(array_agg(code ORDER BY md5(code || clock_timestamp()::text)))[1]",
        "(array_agg(code ORDER BY (SELECT random())))[1]",
        "(array_agg(code ORDER BY id) FILTER (WHERE random() < 0.5))[1]",
    ] {
        assert_eq!(holds(&format!("SELECT {text} FROM t")), none, "{text}");
    }
    for order in [
        "day DESC NULLS LAST, id",
        "lower(name)",
        "date_trunc('day', day), -n",
        "day::date",
    ] {
        let text = format!("SELECT (array_agg(code ORDER BY {order}))[1] FROM t");
        assert_ne!(holds(&text), none, "{order}");
    }
    // Another one than its own row has.
    for text in [
        "SELECT lead(e, 1) OVER () FROM (SELECT g, (array_agg(code ORDER BY id))[1] e FROM t GROUP BY g) q",
        "SELECT max(e) FROM (SELECT g, (array_agg(code ORDER BY id))[1] e FROM t GROUP BY g) q",
    ] {
        assert_eq!(holds(text), none, "{text}");
    }
}

#[test]
fn an_aggregate_is_of_the_query_around_where_its_column_is() {
    for (inner, expected) in [
        (
            "(SELECT string_agg(code, ',') FROM settings code)",
            separated(&[","]),
        ),
        (
            "(SELECT string_agg(public.t.code, ',') FROM settings public)",
            separated(&[","]),
        ),
        ("(SELECT array_agg(l) FROM settings l)", Own),
        ("(SELECT array_agg(l.*) FROM settings l)", Own),
        ("(SELECT array_agg(s.value) FROM settings s)", Own),
        ("(SELECT array_agg(value) FROM settings)", Own),
    ] {
        let text = format!("SELECT {inner} FROM public.t");
        assert_eq!(beside_settings(&text), expected, "{text}");
    }
    // So is what it adds up.
    let text = "SELECT (SELECT sum(x) FROM settings), 1 FROM (SELECT n * 1000::numeric ^ id AS x FROM t) q";
    assert_eq!(beside_settings(text), Anything);
}

#[test]
fn a_turn_keeps_a_column_where_it_is_the_column_itself() {
    let of = |turn: &str| {
        first(&format!(
            "WITH RECURSIVE r(a, id) AS (SELECT code, id FROM t WHERE id = 1 UNION ALL SELECT {turn}) SELECT a, id FROM r"
        ))
    };
    let inner = "(SELECT r.a || ',' || t.code AS a, t.id FROM r JOIN t ON t.id = r.id + 1)";
    for (turn, expected) in [
        (format!("a, id FROM {inner} q"), Joined),
        (format!("r.a, r.id FROM {inner} r"), Joined),
        (
            "q.a, q.id FROM (SELECT r.a * 1000 + t.n AS a, t.id FROM r, t) q".to_owned(),
            Anything,
        ),
        ("q.a, q.id FROM r AS q(id, a)".to_owned(), Joined),
        (
            "a, id FROM (WITH r AS (SELECT 1) SELECT 1) x, r".to_owned(),
            Own,
        ),
        ("r.a, t.id FROM t JOIN r ON t.p = r.id".to_owned(), Own),
        ("a, t.id FROM t, r WHERE t.p = r.id".to_owned(), Own),
        ("q.a, t.id FROM t JOIN r AS q ON t.p = q.id".to_owned(), Own),
    ] {
        assert_eq!(of(&turn), expected, "{turn}");
    }
    // What moves is what was there, too.
    let text = "WITH RECURSIVE r(a, b, k) AS (SELECT 'x', string_agg(code, ','), 1 FROM t \
                UNION ALL SELECT b, a, k + 1 FROM r WHERE k < 2) SELECT a, k FROM r";
    assert_eq!(first(text), Joined);
}

#[test]
fn a_count_of_one_argument_may_be_a_column() {
    let text = "SELECT regr_count(q) FROM (SELECT string_agg(code, ',') AS regr_count FROM t) q";
    assert_eq!(holds(text), Anything);
    assert_eq!(holds("SELECT regr_count(a, b) FROM t"), Own);
}

/// Documents go into an array of the other side as they are.
#[test]
fn what_is_put_into_an_array_is_one_deeper() {
    let inner = "jsonb_build_object('a', jsonb_agg(code))";
    for (text, expected) in [
        (format!("jsonb_agg(n) || {inner}"), 2),
        (format!("{inner} || jsonb_agg(n)"), 2),
        (format!("{inner} || {inner}"), 1),
        (
            format!("({inner} || {inner}) || jsonb_build_object('b', sum(n))"),
            1,
        ),
    ] {
        let text = format!("SELECT {text} FROM t");
        assert_eq!(holds(&text), document(false, expected, &[]), "{text}");
    }
}

#[test]
fn a_common_table_expression_is_what_it_was_where_it_was_named() {
    let text = "WITH a AS (SELECT n * 1000::numeric ^ id AS x FROM t) \
                SELECT sum(x), avg(x) FROM (WITH q AS (SELECT x FROM a), a AS (SELECT 1 AS x) SELECT x FROM q) z";
    assert_eq!(holds(text), Anything);
    let text = "WITH a AS (SELECT id AS x, n FROM t) SELECT count(*) FILTER (WHERE x = 7 AND n > 5), \
                count(*) FILTER (WHERE x = 8 AND n > 5) FROM \
                (WITH q AS (SELECT x, n FROM a), a AS (SELECT 1 AS x, 2 AS n) SELECT x, n FROM q) z";
    assert_eq!(of(text).side_by_side, 2);
}

#[test]
fn a_subquery_sees_what_stands_beside_it_where_it_is_lateral() {
    let around = |inner: &str| {
        first(&format!(
            "SELECT (SELECT z.y FROM {inner}) FROM (SELECT string_agg(code, ',') AS x FROM t) q"
        ))
    };
    let list = separated(&[","]);
    for (inner, expected) in [
        ("(SELECT 'a'::text AS x) q, (SELECT q.x AS y) z", &list),
        ("(SELECT 'a'::text AS x) q, (SELECT x AS y) z", &list),
        (
            "((SELECT 'a'::text AS x) q CROSS JOIN (SELECT 1) o) j, LATERAL (SELECT q.x AS y) z",
            &list,
        ),
        (
            "(SELECT 'a'::text AS x) q, LATERAL (SELECT q.x AS y) z",
            &Own,
        ),
        (
            "(SELECT 'a'::text AS x) q JOIN LATERAL (SELECT q.x AS y) z ON true",
            &Own,
        ),
    ] {
        assert_eq!(around(inner), *expected, "{inner}");
    }
    let text = "SELECT sum(z.y), 1 FROM (SELECT n * 1000::numeric ^ id AS x FROM t) q, \
                LATERAL (SELECT z.y FROM (SELECT 1 AS x) q, (SELECT q.x AS y) z) z";
    assert_eq!(first(text), Anything);
}
