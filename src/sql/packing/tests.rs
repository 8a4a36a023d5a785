use super::*;
use crate::sql::parse;

use Holding::{Anything, Array, Number, Own, Separated, Tags};

const ELEMENTS: Holding = Holding::Document { members: false };
const MEMBERS: Holding = Holding::Document { members: true };

fn of(text: &str) -> Packed {
    counting(text, &|_| true)
}

fn counting(text: &str, protected: Protected<'_>) -> Packed {
    let statement = parse::parse(text).expect("SQL").remove(0);
    packed(&statement.tree, protected)
}

/// What the first column of two holds.
fn first(text: &str) -> Holding {
    match of(text).columns {
        Some(columns) => columns.of(0, columns.before.len().max(1)).clone(),
        None => Own,
    }
}

#[test]
fn what_a_column_holds_is_told_by_what_made_it() {
    let separated = |separator: &str| Separated(separator.into());
    for (text, expected) in [
        ("SELECT id, phone FROM t", Own),
        ("SELECT count(*), max(phone) FROM t", Own),
        ("SELECT upper(phone) || 'x', id FROM t", Own),
        ("SELECT array_agg(phone) FROM t", Array),
        ("SELECT ARRAY(SELECT phone FROM t)", Array),
        ("SELECT array_agg(phone)::text FROM t", Array),
        ("SELECT (array_agg(phone ORDER BY id))[1] FROM t", Own),
        ("SELECT (array_agg(phone))[1:5] FROM t", Anything),
        (
            "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY phone) FROM t",
            Own,
        ),
        (
            "SELECT percentile_disc(ARRAY[0.1, 0.2]) WITHIN GROUP (ORDER BY phone) FROM t",
            Array,
        ),
        (
            "SELECT mode() WITHIN GROUP (ORDER BY s) FROM (SELECT string_agg(phone, '') s FROM t) x",
            Anything,
        ),
        (
            "SELECT pg_catalog.string_agg(phone, ', ') FROM t",
            separated(", "),
        ),
        (
            "SELECT string_agg(DISTINCT phone, ',' ORDER BY phone) FROM t",
            separated(","),
        ),
        (
            "SELECT string_agg(phone, ',') OVER () FROM t",
            separated(","),
        ),
        (
            "SELECT coalesce(string_agg(phone, ','), '-') || ';' FROM t",
            separated(","),
        ),
        (
            "SELECT array_to_string(array_agg(phone), '; ') FROM t",
            separated("; "),
        ),
        ("SELECT id, (SELECT 1) FROM t", Own),
        (
            "SELECT (SELECT string_agg(o.n, ', ') FROM o WHERE o.t = t.id) FROM t",
            separated(", "),
        ),
        (
            "SELECT s FROM (SELECT g, string_agg(phone, ',') AS s FROM t GROUP BY g) x",
            separated(","),
        ),
        (
            "SELECT x.s FROM (SELECT string_agg(phone, ',') FROM t GROUP BY g) x(s)",
            separated(","),
        ),
        (
            "WITH x AS (SELECT string_agg(phone, ',') AS s FROM t) SELECT s FROM x",
            separated(","),
        ),
        ("SELECT string_agg(phone, '') FROM t", Anything),
        ("SELECT string_agg(phone, sep) FROM t", Anything),
        (
            "SELECT replace(string_agg(phone, ','), ',', '') FROM t",
            Anything,
        ),
        (
            "SELECT left(s, 9) FROM (SELECT string_agg(phone, '') AS s FROM t) x",
            Anything,
        ),
        (
            "SELECT string_agg(s, ',') FROM (SELECT string_agg(phone, '') AS s FROM t GROUP BY g) x",
            Anything,
        ),
        (
            "SELECT json_agg(s) FROM (SELECT string_agg(phone, '') AS s FROM t GROUP BY g) x",
            Anything,
        ),
        ("SELECT (SELECT string_agg(t.phone, '')) FROM t", Anything),
        ("SELECT json_agg(t) FROM t", ELEMENTS),
        ("SELECT json_agg(t)::text FROM t", ELEMENTS),
        (
            "SELECT coalesce(json_agg(row_to_json(x)), '[]') FROM (SELECT id, phone FROM t) x",
            ELEMENTS,
        ),
        (
            "SELECT json_agg(json_build_object('n', c.n, 'o', (SELECT json_agg(o) FROM o WHERE o.c = c.id))) FROM c",
            ELEMENTS,
        ),
        (
            "SELECT json_agg(x.j::text) FROM (SELECT json_agg(t) AS j FROM t) x",
            Anything,
        ),
        (
            "SELECT array_agg(x.j) FROM (SELECT json_agg(t) AS j FROM t) x",
            Anything,
        ),
        ("SELECT '[\"' || json_agg(t)::text FROM t", Anything),
        ("SELECT x FROM (SELECT json_agg(t) AS j FROM t) x", Anything),
        (
            "SELECT row_to_json(x) FROM (SELECT json_agg(t) AS j FROM t) x",
            ELEMENTS,
        ),
        ("SELECT json_object_agg(id, phone) FROM t", MEMBERS),
        ("SELECT JSON_ARRAYAGG(phone) FROM t", ELEMENTS),
        (
            "SELECT JSON_ARRAYAGG(phone RETURNING bytea) FROM t",
            Anything,
        ),
        ("SELECT JSON_OBJECTAGG(id VALUE phone) FROM t", MEMBERS),
        ("SELECT JSON_ARRAY(SELECT phone FROM t)", ELEMENTS),
        ("SELECT xmlagg(xmlelement(name c, phone)) FROM t", Tags),
        ("SELECT xmlagg(xmlparse(content phone)) FROM t", Anything),
        ("SELECT sum(amount) FROM t", Number),
        (
            "SELECT round(sum(CASE WHEN won THEN amount * 100 ELSE 0 END), 2) FROM t",
            Number,
        ),
        (
            "SELECT sum(t.price * t.pieces) FROM t JOIN o ON o.t = t.id",
            Number,
        ),
        ("SELECT avg(amount) FROM t", Own),
        (
            "SELECT sum(t.amount * o.weight) FROM t JOIN o ON o.t = t.id",
            Anything,
        ),
        ("SELECT sum(phone::numeric * 10 ^ id) FROM t", Anything),
        ("SELECT sum(amount * 1000000) FROM t", Anything),
        ("COPY (SELECT array_agg(phone) FROM t) TO STDOUT", Array),
        (
            "COPY (SELECT string_agg(phone, E'\\t') FROM t) TO STDOUT",
            Anything,
        ),
        (
            "UPDATE t SET a = 1 RETURNING ARRAY(SELECT phone FROM t)",
            Array,
        ),
        (
            "DECLARE c CURSOR FOR SELECT string_agg(phone, ',') FROM t",
            separated(","),
        ),
        (
            "SELECT string_agg(phone, ',') FROM t UNION ALL SELECT phone FROM t",
            separated(","),
        ),
        (
            "SELECT string_agg(phone, ',') FROM t UNION ALL SELECT string_agg(phone, '') FROM t",
            Anything,
        ),
    ] {
        assert_eq!(first(text), expected, "{text}");
    }
}

#[test]
fn a_recursive_query_keeps_what_comes_from_a_relation_and_stays_where_it_is() {
    let of = |turn: &str| {
        first(&format!(
            "WITH RECURSIVE r(a, b) AS (SELECT n, 0 FROM t UNION ALL SELECT {turn} FROM t JOIN r ON t.p = r.a) SELECT a, b FROM r"
        ))
    };
    assert_eq!(of("t.n, r.b + 1"), Own);
    assert_eq!(of("r.a, t.n"), Own);
    assert_eq!(of("r.a || t.n, r.b"), Anything);
    assert_eq!(of("r.b, t.n"), Anything, "it moves");
    assert_eq!(of("b, t.n"), Anything);
    assert_eq!(of("r.a * 10000 + t.n, 1"), Anything);
    assert_eq!(
        first(
            "WITH RECURSIVE r AS (SELECT * FROM t UNION ALL SELECT t.* FROM t JOIN r ON t.p = r.a) SELECT * FROM r"
        ),
        Anything
    );
    let text = "WITH RECURSIVE r(a) AS (SELECT n FROM t UNION ALL SELECT t.n FROM t JOIN r ON t.p = r.a) \
                SEARCH DEPTH FIRST BY a SET path SELECT path, a FROM r";
    assert_eq!(first(text), Anything);
}

#[test]
fn columns_are_counted_from_the_ends_where_a_star_stands_between() {
    let packed = of("SELECT array_agg(n), c.*, (SELECT string_agg(n, ',') FROM o) FROM c");
    let columns = packed.columns.expect("it gathers");
    let of = |index| columns.of(index, 5).clone();
    assert_eq!([of(0), of(1), of(3)], [Array, Own, Own]);
    assert_eq!(of(4), Separated(",".into()));
    assert_eq!(*columns.of(0, 1), Anything, "that is another result");
}

#[test]
fn what_gathers_rows_that_do_not_count_packs_nothing() {
    let text = "SELECT c.name, t.tags, (SELECT json_agg(l) FROM log l) FROM c JOIN \
                (SELECT c, array_agg(tag) AS tags FROM tags GROUP BY c) t ON t.c = c.id";
    let gathers = |name: &'static str| {
        let counts = move |node: &Node| node.text("relname") == name;
        counting(text, &counts).columns.is_some()
    };
    assert!(!gathers("c"));
    assert!(gathers("tags"));
    assert!(gathers("log"));
}

#[test]
fn what_is_stored_and_holds_many_is_seen() {
    for (text, expected) in [
        ("INSERT INTO m SELECT phone FROM t", false),
        ("INSERT INTO m SELECT array_agg(phone) FROM t", true),
        (
            "INSERT INTO m SELECT sum(phone::numeric * 10 ^ id) FROM t",
            true,
        ),
        ("INSERT INTO m SELECT sum(amount) FROM t", false),
        (
            "INSERT INTO m VALUES ((SELECT string_agg(phone, ',') FROM t))",
            true,
        ),
        (
            "CREATE TEMP TABLE m AS SELECT string_agg(phone, '') FROM t",
            true,
        ),
        ("CREATE TEMP TABLE m AS SELECT * FROM t", false),
        ("SELECT json_agg(t) INTO TEMP m FROM t", true),
        ("PREPARE p AS SELECT string_agg(phone, '') FROM t", true),
        ("PREPARE p AS SELECT phone FROM t", false),
        (
            "PREPARE p AS INSERT INTO m SELECT array_agg(phone) FROM t",
            true,
        ),
        (
            "UPDATE m SET a = (SELECT string_agg(phone, ',') FROM t)",
            true,
        ),
        ("UPDATE m SET a = t.phone FROM t", false),
        (
            "UPDATE m SET a = s FROM (SELECT string_agg(phone, '') AS s FROM t) x",
            true,
        ),
        (
            "MERGE INTO m USING (SELECT array_agg(phone) AS a FROM t) x ON true WHEN NOT MATCHED THEN INSERT VALUES (x.a)",
            true,
        ),
        (
            "MERGE INTO m USING t ON m.id = t.id WHEN MATCHED THEN UPDATE SET a = t.phone",
            false,
        ),
    ] {
        assert_eq!(of(text).stores_many, expected, "{text}");
    }
}

#[test]
fn rows_side_by_side_are_counted() {
    for (text, expected) in [
        ("SELECT 1", 1),
        ("SELECT * FROM t", 1),
        ("SELECT * FROM t JOIN o ON o.t = t.id", 1),
        ("SELECT * FROM t a, t b, t c", 3),
        ("SELECT * FROM t a JOIN t b ON a.id = b.parent", 2),
        ("SELECT * FROM t UNION ALL SELECT * FROM t", 1),
        (
            "SELECT (SELECT phone FROM t LIMIT 1), (SELECT phone FROM t OFFSET 1 LIMIT 1)",
            2,
        ),
        (
            "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM t x WHERE x.id = t.parent)",
            1,
        ),
        (
            "WITH c AS (SELECT a.phone, b.phone AS p FROM t a, t b) SELECT * FROM c x, c y",
            4,
        ),
        (
            "SELECT lag(phone, 1) OVER w, lag(phone, 2) OVER w FROM t WINDOW w AS (ORDER BY id)",
            3,
        ),
        (
            "SELECT * FROM (SELECT lag(phone, 1) OVER w, lag(phone, 2) OVER w FROM t WINDOW w AS (ORDER BY id)) x, \
             (SELECT 1) y",
            3,
        ),
    ] {
        let statement = parse::parse(text).expect("SQL").remove(0);
        let named = |node: &Node| {
            !node.text("schemaname").is_empty() || !matches!(node.text("relname"), "c")
        };
        assert_eq!(
            packed(&statement.tree, &named).side_by_side,
            expected,
            "{text}"
        );
    }
}

#[test]
fn aggregates_that_show_a_row_are_counted() {
    for (text, expected) in [
        (
            "SELECT region, count(*), avg(amount) FROM s.t GROUP BY region",
            1,
        ),
        ("SELECT max(day), max(amount), max(id) FROM s.t", 1),
        (
            "SELECT min(day), max(day), sum(a), sum(b), sum(c), sum(d), sum(e) FROM s.t",
            2,
        ),
        (
            "SELECT max(CASE WHEN id = 1 THEN n END), max(CASE WHEN id = 2 THEN n END) FROM s.t",
            2,
        ),
        (
            "SELECT max(n) FILTER (WHERE id = 1), max(n) FILTER (WHERE id = 2), max(n) FILTER (WHERE id = 3) FROM s.t",
            3,
        ),
        (
            "SELECT max(a), max(b), max(c) FROM (SELECT a, b, c FROM s.t) x",
            3,
        ),
        ("SELECT max(a), max(b) FROM s.t x(a, b)", 2),
        (
            "SELECT max(n) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING) FROM s.t",
            2,
        ),
        (
            "SELECT sum(a) FILTER (WHERE m = 1), sum(a) FILTER (WHERE m = 2), sum(a) FILTER (WHERE m = 3), \
             sum(a) FILTER (WHERE m = 4), sum(a) FILTER (WHERE m = 5), sum(a) FILTER (WHERE m = 6), \
             sum(a) FILTER (WHERE m = 7), sum(a) FILTER (WHERE m = 8) FROM s.t",
            2,
        ),
        (
            "SELECT x.a FROM (SELECT max(n || '') AS a, max(n || 'x') AS b FROM s.t) x",
            2,
        ),
    ] {
        let statement = parse::parse(text).expect("SQL").remove(0);
        assert_eq!(
            packed(&statement.tree, &|_| true).side_by_side,
            expected,
            "{text}"
        );
    }
}
