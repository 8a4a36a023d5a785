use super::holdings::{document, separated};
use super::*;
use crate::sql::parse;

use Holding::{Anything, Array, Element, Joined, Number, Own, Product, Quotient, Tags};

mod candidates;
mod conditions;
mod mentioned;
mod stored;
mod unfollowed;

fn of(text: &str) -> Packed {
    counting(text, &|_| true)
}

/// Rows are told apart by `id`, by `person` with `month`, and by `ssn`.
fn counting(text: &str, counted: Protected<'_>) -> Packed {
    let statement = parse::parse(text).expect("SQL").remove(0);
    let keys = |node: &Node| {
        let keys: &[&[&str]] = match counted(node) {
            true => &[&["id"], &["person", "month"], &["ssn"]],
            false => &[],
        };
        let key = |key: &&[&str]| key.iter().map(|name| (*name).to_owned()).collect();
        keys.iter().map(key).collect()
    };
    let facts = Facts {
        counted,
        keys: &keys,
        columns: &|relation, column| match relation.text("relname") {
            "settings" => column == "value",
            "plain" => matches!(column, "id" | "k" | "n" | "v" | "w"),
            // A name of relations alone.
            _ => column != "l",
        },
    };
    packed(&statement.tree, facts)
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
    let elements = || document(false, 1, &[]);
    for (text, expected) in [
        ("SELECT id, phone FROM t", Own),
        (
            "SELECT string_agg(phone, chr(10)) FROM t",
            separated(&["\n"]),
        ),
        ("SELECT string_agg(phone, chr(id)) FROM t", Joined),
        (
            "SELECT json_build_object('a', (array_agg(phone))[1], 'b', (array_agg(phone))[2]) FROM t",
            document(true, 0, &[]),
        ),
        ("SELECT json_build_array(sum(amount)) FROM t", elements()),
        (
            "SELECT json_build_object('n', count(*), 's', sum(amount)) FROM t",
            document(false, 0, &[]),
        ),
        (
            "SELECT to_json(array_agg(phone)) FROM t",
            document(false, u8::MAX, &[]),
        ),
        ("SELECT count(*), max(phone) FROM t", Own),
        ("SELECT upper(phone) || 'x', id FROM t", Own),
        ("SELECT array_agg(phone) FROM t", Array),
        ("SELECT ARRAY(SELECT phone FROM t)", Array),
        ("SELECT array_agg(phone)::text FROM t", Array),
        ("SELECT (array_agg(phone))[1:5] FROM t", Array),
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
            separated(&[", "]),
        ),
        (
            "SELECT string_agg(DISTINCT phone, ',' ORDER BY phone) FROM t",
            separated(&[","]),
        ),
        (
            "SELECT string_agg(phone, ',') OVER () FROM t",
            separated(&[","]),
        ),
        (
            "SELECT coalesce(string_agg(phone, ','), '-') || ';' FROM t",
            separated(&[","]),
        ),
        (
            "SELECT array_to_string(array_agg(phone), '; ') FROM t",
            separated(&["; "]),
        ),
        ("SELECT id, (SELECT 1) FROM t", Own),
        (
            "SELECT (SELECT string_agg(o.n, ', ') FROM o WHERE o.t = t.id) FROM t",
            separated(&[", "]),
        ),
        (
            "SELECT s FROM (SELECT g, string_agg(phone, ',') AS s FROM t GROUP BY g) x",
            separated(&[","]),
        ),
        (
            "SELECT x.s FROM (SELECT string_agg(phone, ',') FROM t GROUP BY g) x(s)",
            separated(&[","]),
        ),
        (
            "WITH x AS (SELECT string_agg(phone, ',') AS s FROM t) SELECT s FROM x",
            separated(&[","]),
        ),
        ("SELECT string_agg(phone, '') FROM t", Joined),
        ("SELECT string_agg(phone, sep) FROM t", Joined),
        (
            "SELECT replace(string_agg(phone, ','), ',', '') FROM t",
            Anything,
        ),
        (
            "SELECT left(s, 9) FROM (SELECT string_agg(phone, '') AS s FROM t) x",
            Joined,
        ),
        (
            "SELECT string_agg(s, ',') FROM (SELECT string_agg(phone, '') AS s FROM t GROUP BY g) x",
            Joined,
        ),
        (
            "SELECT json_agg(s) FROM (SELECT string_agg(phone, '') AS s FROM t GROUP BY g) x",
            Joined,
        ),
        ("SELECT (SELECT string_agg(t.phone, '')) FROM t", Joined),
        ("SELECT json_agg(t) FROM t", elements()),
        ("SELECT json_agg(t)::text FROM t", elements()),
        (
            "SELECT coalesce(json_agg(row_to_json(x)), '[]') FROM (SELECT id, phone FROM t) x",
            elements(),
        ),
        (
            "SELECT json_agg(json_build_object('n', c.n, 'o', (SELECT json_agg(o) FROM o WHERE o.c = c.id))) FROM c",
            document(false, 2, &[]),
        ),
        (
            "SELECT json_agg(x.j::text) FROM (SELECT json_agg(t) AS j FROM t) x",
            Joined,
        ),
        (
            "SELECT array_agg(x.j) FROM (SELECT json_agg(t) AS j FROM t) x",
            Joined,
        ),
        ("SELECT '[\"' || json_agg(t)::text FROM t", Joined),
        ("SELECT x FROM (SELECT json_agg(t) AS j FROM t) x", Anything),
        (
            "SELECT row_to_json(x) FROM (SELECT json_agg(t) AS j FROM t) x",
            elements(),
        ),
        (
            "SELECT row_to_json((SELECT r FROM (SELECT b.id, l.deals) AS r)) AS root FROM (SELECT * FROM c LIMIT 9) b \
             LEFT JOIN LATERAL (SELECT json_agg(o) AS deals FROM o WHERE o.c = b.id) l ON true",
            elements(),
        ),
        (
            "SELECT json_agg((SELECT r FROM (SELECT x.j) r)) FROM (SELECT json_agg(t) AS j FROM t) x",
            document(false, 2, &[]),
        ),
        (
            "SELECT row_to_json((SELECT r FROM (SELECT x.s) r)) FROM (SELECT string_agg(phone, '') AS s FROM t) x",
            Joined,
        ),
        (
            "SELECT row_to_json((SELECT r FROM (SELECT (SELECT x FROM (SELECT json_agg(t) AS j FROM t) x) AS y) r))",
            Anything,
        ),
        (
            "SELECT json_build_array((SELECT (SELECT x FROM (SELECT json_agg(t) AS j FROM t) x)::text))",
            Anything,
        ),
        (
            "SELECT json_object_agg(id, phone) FROM t",
            document(true, 0, &[]),
        ),
        ("SELECT JSON_ARRAYAGG(phone) FROM t", elements()),
        (
            "SELECT JSON_ARRAYAGG(phone RETURNING bytea) FROM t",
            Anything,
        ),
        (
            "SELECT JSON_OBJECTAGG(id VALUE phone) FROM t",
            document(true, 0, &[]),
        ),
        ("SELECT JSON_ARRAY(SELECT phone FROM t)", elements()),
        ("SELECT xmlagg(xmlelement(name c, phone)) FROM t", Tags),
        ("SELECT xmlagg(xmlparse(content phone)) FROM t", Joined),
        ("SELECT sum(amount) FROM t", Number),
        (
            "SELECT round(sum(CASE WHEN won THEN amount * 100 ELSE 0 END), 2) FROM t",
            Number,
        ),
        (
            "SELECT sum(t.price * t.pieces) FROM t JOIN o ON o.t = t.id",
            Number,
        ),
        ("SELECT avg(amount) FROM t", Quotient),
        (
            "SELECT sum(t.amount * o.weight) FROM t JOIN o ON o.t = t.id",
            Product,
        ),
        ("SELECT sum(phone::numeric * 10 ^ id) FROM t", Anything),
        ("SELECT sum(amount * 1000000) FROM t", Anything),
        ("COPY (SELECT array_agg(phone) FROM t) TO STDOUT", Array),
        (
            "COPY (SELECT string_agg(phone, E'\\t') FROM t) TO STDOUT",
            Joined,
        ),
        (
            "UPDATE t SET a = 1 RETURNING ARRAY(SELECT phone FROM t)",
            Array,
        ),
        (
            "DECLARE c CURSOR FOR SELECT string_agg(phone, ',') FROM t",
            separated(&[","]),
        ),
        (
            "SELECT string_agg(phone, ',') FROM t UNION ALL SELECT phone FROM t",
            separated(&[","]),
        ),
        (
            "SELECT string_agg(phone, ',') FROM t UNION ALL SELECT string_agg(phone, '') FROM t",
            Joined,
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
    let another = Element("".into());
    assert_eq!(of("r.a || t.n, r.b"), Joined);
    assert_eq!(of("r.b, t.n"), another, "it moves");
    assert_eq!(of("b, t.n"), another);
    assert_eq!(of("b, r.b || t.n"), Joined, "it moves what is appended to");
    assert_eq!(of("b, replace(r.b || t.n, '00', '0')"), Anything);
    // One truth about the row of the turn before: where columns pass them on, there are many.
    assert_eq!(of("CASE WHEN r.b = t.n THEN t.n END, t.n"), another);
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
    assert_eq!(of(4), separated(&[","]));
    assert_eq!(*columns.of(0, 1), Anything, "that is another result");
}

#[test]
fn what_gathers_rows_that_do_not_count_packs_nothing() {
    // PostGraphile's nested lists.
    let nested = counting(
        "SELECT t.id, (WITH l AS (SELECT p.id FROM plain p WHERE p.k = t.id), j AS (SELECT json_agg(to_json(l)) AS data FROM l) \
         SELECT json_build_object('data', (SELECT data FROM j))) FROM t",
        &|node| node.text("relname") == "t",
    );
    assert_eq!(nested, Packed::default());
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

/// Candidates that are gathered are those that are there.
#[test]
fn what_is_gathered_by_what_rows_say_is_gathered_of_them() {
    for (text, expected) in [
        (
            "SELECT string_agg(c.code, ',') FROM plain c WHERE c.code IN (SELECT code FROM t)",
            separated(&[","]),
        ),
        (
            "SELECT array_agg(c.code) FILTER (WHERE EXISTS (SELECT FROM t WHERE t.code = c.code)) FROM plain c",
            Array,
        ),
        (
            "SELECT array_agg(CASE WHEN c.code IN (SELECT code FROM t) THEN c.code END) FROM plain c",
            Array,
        ),
        (
            "WITH x AS (SELECT code FROM t) SELECT array_agg(c.code) FROM plain c WHERE c.code IN (SELECT code FROM x)",
            Array,
        ),
        (
            "WITH x AS (SELECT code FROM t) SELECT (SELECT array_agg(c.code) FROM plain c WHERE c.code IN (SELECT code FROM x))",
            Array,
        ),
        (
            "SELECT (SELECT array_agg(c.code) FROM plain c WHERE c.t = t.id) FROM t",
            Own,
        ),
    ] {
        let counts = |node: &Node| node.text("relname") != "plain";
        let columns = counting(text, &counts).columns;
        let found = columns.map_or(Own, |columns| columns.of(0, 1).clone());
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn aggregates_that_gather_are_known_under_every_name() {
    for (call, expected) in [
        ("jsonb_agg_strict(a)", true),
        ("pg_catalog.json_object_agg_unique(a, b)", true),
        (
            "percentile_cont(ARRAY[0.1, 0.2]) WITHIN GROUP (ORDER BY a)",
            true,
        ),
        ("percentile_disc(0.5) WITHIN GROUP (ORDER BY a)", true),
        ("somebodys(a ORDER BY b)", true),
        ("percentile_cont(0.5) WITHIN GROUP (ORDER BY a)", false),
        ("hstore(a, b)", false),
        ("max(a)", false),
        ("count(DISTINCT a)", false),
    ] {
        let statement = parse::parse(&format!("SELECT {call}"))
            .expect("SQL")
            .remove(0);
        let targets = statement.tree.node().expect("SELECT").list("target_list");
        let target = targets[0].node().expect("an output");
        assert_eq!(
            gathers(target.child("val").expect("a call")),
            expected,
            "{call}"
        );
    }
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
        (
            "INSERT INTO m SELECT jsonb_build_object('n', count(*), 's', sum(amount)) FROM t",
            false,
        ),
        (
            "INSERT INTO m SELECT jsonb_build_object('n', (array_agg(phone))[1]) FROM t",
            true,
        ),
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
            "WITH x AS (SELECT age * 100 ^ (id % 8) AS v FROM t) INSERT INTO m SELECT sum(v) FROM x",
            true,
        ),
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
        // How many pages there are.
        (
            "WITH p AS (SELECT * FROM s.t LIMIT 9), n AS (SELECT count(*) FROM s.t) SELECT p.*, n.count FROM p, n",
            1,
        ),
        (
            "SELECT *, (SELECT count(*) FROM s.t WHERE month = 7) FROM s.t",
            1,
        ),
        // Truths about single rows, and many figures.
        (
            "SELECT *, (SELECT count(*) FROM s.t WHERE id = 7) FROM s.t",
            2,
        ),
        (
            "SELECT *, (SELECT count(*) FROM s.t WHERE (SELECT true)) FROM s.t",
            2,
        ),
        (
            "SELECT *, (SELECT count(*) FROM s.t WHERE a), (SELECT count(*) FROM s.t WHERE b), \
             (SELECT count(*) FROM s.t WHERE c), (SELECT count(*) FROM s.t WHERE d), \
             (SELECT count(*) FROM s.t WHERE a), (SELECT count(*) FROM s.t WHERE b), \
             (SELECT count(*) FROM s.t WHERE c), (SELECT count(*) FROM s.t WHERE d) FROM s.t",
            2,
        ),
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
        let named = |node: &Node| {
            !node.text("schemaname").is_empty() || !matches!(node.text("relname"), "c")
        };
        assert_eq!(counting(text, &named).side_by_side, expected, "{text}");
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
        assert_eq!(of(text).side_by_side, expected, "{text}");
    }
}

#[test]
fn what_cannot_hide_a_value_keeps_the_form() {
    let list = "string_agg(phone, ', ')";
    for (text, expected) in [
        ("left(LIST, 200)", separated(&[", "])),
        ("substring(LIST from 1 for 200)", separated(&[", "])),
        ("trim(both ' ' from LIST)", separated(&[", "])),
        ("rtrim(LIST, ',')", separated(&[", "])),
        ("split_part(LIST, ', ', 2)", separated(&[", "])),
        ("upper(initcap(LIST))", separated(&[", "])),
        ("upper(string_agg(phone, ' and '))", Joined),
        ("concat('[', LIST, ']')", separated(&[", "])),
        ("format('%s: %s', region, LIST)", separated(&[", "])),
        ("region || ': ' || LIST || '.'", separated(&[", "])),
        ("LIST || LIST", Joined),
        ("coalesce(nullif(LIST, ''), 'none')", separated(&[", "])),
        (
            "CASE WHEN count(*) > 1 THEN LIST ELSE max(phone) END",
            separated(&[", "]),
        ),
        (
            "CASE WHEN count(*) > 1 THEN LIST ELSE string_agg(phone, '; ') END",
            separated(&[", ", "; "]),
        ),
        ("greatest(LIST, 'x')", separated(&[", "])),
        ("LIST::varchar(100)", separated(&[", "])),
        ("replace(LIST, ', ', ' / ')", separated(&[" / "])),
        ("replace(LIST, '-', '--')", Joined),
        ("replace(LIST, '00', '0')", Anything),
        ("regexp_replace(LIST, '.(.)', '\\1', 'g')", Anything),
        ("translate(LIST, 'abc', 'a')", Anything),
        ("decode(LIST, 'hex')", Anything),
        ("LIST::bytea", Anything),
        ("string_agg(flag::int::text, '')::bit varying", Anything),
        ("md5(LIST)", Joined),
        ("nullif(string_agg(phone, ''), 'x')", Joined),
        (
            "string_agg(x.l, '; ') FROM (SELECT LIST AS l FROM t GROUP BY g) x",
            separated(&[", ", "; "]),
        ),
        (
            "max(x.l) FROM (SELECT LIST AS l FROM t GROUP BY g) x",
            separated(&[", "]),
        ),
        (
            "string_agg(region || ': ' || x.n, ', ') FROM (SELECT region, sum(amount) AS n FROM t GROUP BY 1) x",
            separated(&[", "]),
        ),
        (
            "json_agg(json_build_object('n', x.n, 'l', x.l)) FROM (SELECT n, LIST AS l FROM t GROUP BY g) x",
            document(true, u8::MAX, &[", "]),
        ),
        (
            "json_agg(x.l) FROM (SELECT string_agg(phone, E'\n') AS l FROM t GROUP BY g) x",
            Joined,
        ),
        ("array_remove(array_agg(phone), NULL)", Array),
        ("array_agg(phone) || array_agg(name)", Array),
        ("cardinality(array_agg(DISTINCT phone))", Own),
        ("jsonb_array_length(jsonb_agg(phone))", Own),
        ("json_agg(phone) -> 0", Joined),
        // The separator as bytes.
        (r"string_agg(convert_to(phone, 'UTF8'), '\x')", Joined),
        (r"string_agg(convert_to(phone, 'UTF8'), '\054')", Joined),
    ] {
        let text = text.replace("LIST", list);
        let text = match text.contains(" FROM ") {
            true => format!("SELECT {text}"),
            false => format!("SELECT {text} FROM t"),
        };
        assert_eq!(first(&text), expected, "{text}");
    }
}

#[test]
fn elements_of_one_order_are_of_one_row() {
    let latest = |what: &str| first(&format!("SELECT (array_agg({what}))[1] FROM t"));
    assert_eq!(latest("phone ORDER BY day"), latest("name ORDER BY day"));
    assert_ne!(
        latest("phone ORDER BY day"),
        latest("phone ORDER BY day DESC")
    );
    assert_ne!(
        first("SELECT (array_agg(phone ORDER BY day))[1] FROM t"),
        first("SELECT (array_agg(phone ORDER BY day))[2] FROM t")
    );
    let several = "(array_agg(phone))[1] || (array_agg(phone))[2]";
    assert_eq!(first(&format!("SELECT {several} FROM t")), Joined);
    assert_eq!(
        first("SELECT a[2] FROM (SELECT array_agg(phone) AS a FROM t) x"),
        Element("".into())
    );
}

/// Whether values may have been moved beside each other in a sum.
#[test]
fn sums_are_told_by_what_is_summed_up() {
    for (text, expected) in [
        ("sum(amount::numeric)", Number),
        ("sum(price * quantity)", Number),
        (
            "sum(l.price * l.quantity * (1 - l.discount)) FROM t l JOIN o ON o.t = l.t",
            Number,
        ),
        ("sum((state = 'won')::int)", Number),
        ("sum(amount * (state = 'won')::int)", Number),
        ("sum(coalesce((data ->> 'amount')::numeric, 0))", Number),
        ("sum(extract(epoch FROM ended - started) / 3600)", Number),
        (
            "sum(x.total) FROM (SELECT sum(price * quantity) AS total FROM t GROUP BY g) x",
            Number,
        ),
        (
            "sum(n) FROM (SELECT count(*) AS n FROM t GROUP BY g) x",
            Number,
        ),
        (
            "sum((SELECT count(*) FROM o WHERE o.t = t.a)) FROM t",
            Number,
        ),
        (
            "sum((i ->> 'qty')::int) FROM t, jsonb_array_elements(t.items) i",
            Number,
        ),
        (
            "sum(t.amount * r.rate) FROM t JOIN rates r ON r.currency = t.currency",
            Product,
        ),
        (
            "sum(x.total) FROM (SELECT t.amount * r.rate AS total FROM t JOIN r ON r.c = t.c) x",
            Product,
        ),
        // Factors of the statement's own making.
        ("sum(t.age * g) FROM t, generate_series(1, 10) g", Anything),
        (
            "sum(t.age * v.f) FROM t JOIN (VALUES (0, 1), (1, 100)) v(k, f) ON v.k = t.id % 2",
            Anything,
        ),
        (
            "sum(t.age * w.f) FROM t JOIN (SELECT 1 AS f UNION ALL SELECT 100) w ON true",
            Anything,
        ),
        (
            "sum(v) FROM (SELECT age * 100 ^ (id % 8) AS v, id / 8 AS g FROM t) x GROUP BY g",
            Anything,
        ),
        (
            "sum(y.v) FROM (SELECT * FROM (SELECT age * power(100, id % 8) AS v FROM t) x) y",
            Anything,
        ),
        (
            "WITH x AS (SELECT age * 100 ^ (id % 8) AS v FROM t) SELECT sum(v) FROM x UNION ALL SELECT sum(v) FROM x",
            Anything,
        ),
        (
            "WITH x AS (SELECT age * 100 ^ (id % 8) AS v FROM t) SELECT (SELECT sum(v) FROM x) FROM t",
            Anything,
        ),
        ("sum((age || repeat('0', id))::numeric)", Anything),
        ("sum(t.age * t.id)", Anything),
        ("sum(age * '1000000')", Anything),
        ("sum(age << id)", Anything),
        (
            "sum(u) FROM t, unnest(ARRAY[t.age * 100 ^ t.id]) u",
            Anything,
        ),
    ] {
        let whole = text.starts_with("WITH");
        let text = match text.contains(" FROM t") || text.contains(" FROM (") {
            _ if whole => text.to_owned(),
            true => format!("SELECT {text}"),
            false => format!("SELECT {text} FROM t"),
        };
        assert_eq!(first(&text), expected, "{text}");
    }
}

#[test]
fn aggregates_that_can_be_of_one_row_are_counted() {
    let months = |what: &str| {
        (1..=12)
            .map(|month| what.replace('#', &month.to_string()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (text, expected) in [
        // Pivot tables.
        (format!("SELECT state, {} FROM t GROUP BY state", months("sum(amount) FILTER (WHERE month = #)")), 3),
        (format!("SELECT state, {} FROM t GROUP BY state", months("count(*) FILTER (WHERE month = #)")), 1),
        (format!("SELECT owner, {} FROM t GROUP BY owner", months("count(DISTINCT CASE WHEN month = # THEN id END)")), 1),
        (format!("WITH x AS (SELECT *, date_trunc('month', day) AS m FROM t) SELECT owner, {} FROM x GROUP BY 1", months("sum(amount) FILTER (WHERE m = #)")), 3),
        (format!("SELECT c.id, {} FROM t c LEFT JOIN o ON o.c = c.id GROUP BY c.id", months("sum(CASE WHEN o.number = # THEN o.amount END)")), 3),
        ("SELECT c.id, count(*) FILTER (WHERE o.id IS NOT NULL) FROM t c LEFT JOIN o ON o.c = c.id GROUP BY c.id".to_owned(), 1),
        // Of one row each.
        (format!("SELECT {} FROM t", months("sum(age) FILTER (WHERE id = #)")), 12),
        (format!("SELECT {} FROM t", months("count(*) FILTER (WHERE id = # AND sex = 'm')")), 12),
        (format!("SELECT {} FROM t", months("bool_or(id = # AND sex = 'm')")), 12),
        (format!("SELECT {} FROM t GROUP BY id / 12", months("sum(CASE WHEN id % 12 = # THEN age ELSE 0 END)")), 12),
        (format!("SELECT {} FROM t GROUP BY id / 12", months("sum(CASE id % 12 WHEN # THEN age END)")), 12),
        (format!("SELECT {} FROM t", months("sum(age * (id = #)::int)")), 12),
        (format!("SELECT {} FROM t", months("sum(age) FILTER (WHERE ctid = '(0,#)')")), 12),
        (format!("SELECT {} FROM t", months("avg(age) FILTER (WHERE ssn LIKE '%#')")), 12),
        (format!("SELECT {} FROM t", months("sum(age) FILTER (WHERE t::text LIKE '%#%')")), 12),
        (format!("SELECT {} FROM (SELECT age, row_number() OVER () AS rn FROM t) x", months("sum(age) FILTER (WHERE rn = #)")), 12),
        (format!("SELECT {} FROM (SELECT id % 12 AS k, id / 12 AS g, age FROM t) x GROUP BY g", months("sum(age) FILTER (WHERE k = #)")), 12),
        (format!("SELECT {} FROM (SELECT {} FROM t) x", months("sum(c#)"), months("CASE WHEN id = # THEN age END AS c#")), 12),
        (format!("WITH y AS (SELECT id AS k, age FROM t) SELECT {} FROM (SELECT * FROM y) x", months("sum(age) FILTER (WHERE k = #)")), 12),
        // A key of two columns is in what is grouped by and what is chosen.
        (format!("SELECT person, {} FROM t GROUP BY person", months("sum(amount) FILTER (WHERE month = #)")), 12),
        (format!("SELECT person, month, {} FROM t GROUP BY person, month", months("sum(amount) FILTER (WHERE month = #)")), 3),
        // Several in one sum, each at another place.
        ("SELECT sum(CASE WHEN id % 3 = 0 THEN age WHEN id % 3 = 1 THEN age * 1000 ELSE age * 1000 * 1000 END) FROM t GROUP BY id / 3".to_owned(), 3),
        ("SELECT sum(age * (id % 2 = 0)::int + age * 1000 * (id % 2 = 1)::int) FROM t GROUP BY id / 2".to_owned(), 2),
    ] {
        assert_eq!(of(&text).side_by_side, expected, "{text}");
    }
}

/// Each common table expression doubles what the one before it holds.
#[test]
fn what_could_be_followed_without_end_ends() {
    let mut text = "WITH c0 AS (SELECT * FROM t)".to_owned();
    for n in 1..40 {
        let before = n - 1;
        text += &format!(", c{n} AS (SELECT * FROM c{before} x, c{before} y, c{before} z)");
    }
    text += " SELECT sum(a * b) FILTER (WHERE c = 1) FROM c39";
    let began = std::time::Instant::now();
    assert_eq!(first(&text), Anything);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}
