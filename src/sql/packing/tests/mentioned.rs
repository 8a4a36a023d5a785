//! What mentions protected rows, or depends on them, counts unless it is known to be harmless: each of these gave many rows in
//! one that counted for one.
use super::*;

/// `plain` and `settings` do not count; neither has a column `code`, and `settings` has `value` alone.
fn packs(text: &str) -> Packed {
    let open = ["plain", "settings"];
    counting(text, &|node| !open.contains(&node.text("relname")))
}

fn expect(cases: &[(&str, u32)]) {
    for (text, rows) in cases {
        assert_eq!(packs(text).side_by_side, *rows, "{text}");
    }
}

/// What so many columns hold.
fn holds(text: &str, columns: usize) -> Vec<Holding> {
    match packs(text).columns {
        Some(of) => (0..columns).map(|at| of.of(at, columns).clone()).collect(),
        None => vec![Own; columns],
    }
}

const Q: &str = "FROM (SELECT array_agg(n ORDER BY id) x FROM t) q";

#[test]
fn aggregates_of_the_query_around_are_shown_there() {
    expect(&[
        (
            "SELECT (SELECT max(code) FILTER (WHERE id = 1)), (SELECT max(code) FILTER (WHERE id = 2)) FROM t",
            2,
        ),
        (
            "SELECT (SELECT sum(n) FILTER (WHERE id = 1) FROM settings LIMIT 1), \
             (SELECT sum(n) FILTER (WHERE id = 2) FROM settings LIMIT 1) FROM t",
            2,
        ),
        (
            "SELECT (SELECT (SELECT max(t.code || 'x'))), (SELECT (SELECT max(t.code || 'y'))) FROM t",
            2,
        ),
        (
            "SELECT (SELECT max(code || (SELECT p.v FROM plain p LIMIT 1)) FROM settings), (SELECT min(code || '') FROM settings) FROM t",
            2,
        ),
        // Those of a table that does not count are its own.
        (
            "SELECT t.id, (SELECT max(p.v) FROM plain p), (SELECT max(v || '') FROM plain), (SELECT sum(w) FROM plain) FROM t",
            1,
        ),
    ]);
}

#[test]
fn conditions_are_read_wherever_candidates_may_be() {
    let two = "a = (SELECT n FROM t WHERE id = 1) AND b = (SELECT n FROM t WHERE id = 2)";
    for (from, rows) in [
        (
            "(SELECT a, b FROM generate_series(0, 9) a, generate_series(0, 9) b WHERE EXISTS (SELECT FROM t)) c",
            2,
        ),
        (
            "(SELECT a, b FROM generate_series(0, 9) a, generate_series(0, 9) b, (SELECT FROM t LIMIT 1) z) c",
            2,
        ),
        (
            "(SELECT generate_series(0, 9) a, generate_series(0, 9) b FROM t) c",
            2,
        ),
        ("t", 1),
    ] {
        let text = format!("SELECT a, b FROM {from} WHERE {two}");
        assert_eq!(packs(&text).side_by_side, rows, "{text}");
    }
    expect(&[
        (
            "SELECT (SELECT 1 WHERE EXISTS (SELECT FROM t WHERE id = 1 AND n > 5)), (SELECT 1 WHERE EXISTS (SELECT FROM t WHERE id = 2 AND n > 5))",
            2,
        ),
        (
            "SELECT a, b FROM plain a, plain b, t GROUP BY a, b \
             HAVING a = max(n) FILTER (WHERE id = 1) AND b = max(n) FILTER (WHERE id = 2)",
            2,
        ),
        (
            "DELETE FROM t USING plain a JOIN plain b ON a.n = (SELECT n FROM t WHERE id = 1) AND b.n = (SELECT n FROM t WHERE id = 2) \
             WHERE t.id = 1 RETURNING a.n, b.n",
            3,
        ),
    ]);
}

#[test]
fn counts_of_what_was_chosen_elsewhere_are_not_alone() {
    let counts = |from: &dyn Fn(usize) -> String| {
        let each: Vec<String> = (1..=8)
            .map(|at| format!("(SELECT count(*) FROM {})", from(at)))
            .collect();
        each.join(", ")
    };
    let with: Vec<String> = (1..=8)
        .map(|at| {
            format!("c{at} AS (SELECT FROM t, generate_series(1, 9) g WHERE id = {at} AND g <= n)")
        })
        .collect();
    let text = format!(
        "WITH {} SELECT {}",
        with.join(", "),
        counts(&|at| format!("c{at}"))
    );
    assert_eq!(packs(&text).side_by_side, 8);
    let text = format!(
        "SELECT {}",
        counts(&|at| format!("t, plain p WHERE t.note = 'n{at}' AND p.n <= t.n"))
    );
    assert_eq!(packs(&text).side_by_side, 8);
    // Of one table, by no key: four to a row, as beside rows.
    let text = format!(
        "SELECT {}",
        counts(&|at| format!("t WHERE state = 's{at}'"))
    );
    assert_eq!(packs(&text).side_by_side, 2);
}

#[test]
fn places_and_windows_are_chosen_by_what_they_are_sorted_by() {
    expect(&[
        (
            "SELECT rank(0) WITHIN GROUP (ORDER BY -g) FILTER (WHERE id = 1 AND g <= n), \
             rank(0) WITHIN GROUP (ORDER BY -g) FILTER (WHERE id = 2 AND g <= n) FROM t, generate_series(1, 9) g",
            2,
        ),
        (
            "SELECT cume_dist(5) WITHIN GROUP (ORDER BY id * 1000 + n), cume_dist(6) WITHIN GROUP (ORDER BY id * 1000 + n) FROM t",
            2,
        ),
        (
            "SELECT rank() OVER (ORDER BY (id = 1 AND n > 5) DESC), rank() OVER w FROM t WINDOW w AS (ORDER BY (id = 2 AND n > 5))",
            2,
        ),
        (
            "SELECT count(*) OVER (PARTITION BY (id = 1 AND n > 5)), sum(n) OVER (PARTITION BY id IN (1, 2)) FROM t",
            2,
        ),
        (
            "SELECT id, rank() OVER (ORDER BY (id = 1 AND max(n) > 5)), rank() OVER (ORDER BY (id = 2 AND max(n) > 5)) FROM s.t GROUP BY id",
            3,
        ),
        // Reports.
        (
            "SELECT owner, rank() OVER (ORDER BY sum(n) DESC), row_number() OVER (PARTITION BY state ORDER BY day DESC), \
             dense_rank() OVER (ORDER BY count(DISTINCT id)) FROM t GROUP BY owner, state, day",
            1,
        ),
    ]);
}

#[test]
fn it_is_a_truth_that_something_made_is_null() {
    expect(&[
        (
            "SELECT count(*) FILTER (WHERE (CASE WHEN id = 1 AND n > 5 THEN NULL ELSE 1 END) IS NULL), \
             count(*) FILTER (WHERE NULLIF(id, 2) IS NULL) FROM t",
            2,
        ),
        (
            "SELECT count(c1), count(c2) FROM (SELECT substring(id || code from '^1:k') c1, substring(id || code from '^2:k') c2 FROM t) q",
            2,
        ),
        (
            "SELECT sum(substring(id || code from '^1:k(.)')::int), sum(substring(id || code from '^2:k(.)')::int) FROM t",
            2,
        ),
        (
            "SELECT sum((SELECT t.n WHERE t.id = 1)), sum((SELECT t.n WHERE t.id = 2)) FROM t",
            2,
        ),
        // That there is a row, and of which kind, is none.
        (
            "SELECT c.owner, count(*) FILTER (WHERE o.id IS NOT NULL), count(*) FILTER (WHERE o.id IS NOT NULL AND o.state = 'won'), \
             count(q.found) FROM t c LEFT JOIN o ON o.c = c.id LEFT JOIN (SELECT c, true AS found FROM p) q ON q.c = c.id GROUP BY c.owner",
            1,
        ),
    ]);
    let text = "SELECT cardinality(array_agg(DISTINCT c1)), string_agg(c1, ',') IS NULL FROM \
                (SELECT CASE WHEN id = 1 AND n > 5 THEN 'x' END c1 FROM t) q";
    assert_eq!(holds(text, 2), [Element("".into()), Element("".into())]);
}

#[test]
fn references_to_one_expression_are_different_rows() {
    expect(&[
        (
            "WITH c AS (SELECT id, n FROM t) SELECT count(*) FILTER (WHERE b.id = 1 AND b.n > 5), count(*) FILTER (WHERE b.id = 2 AND b.n > 5), \
             count(*) FILTER (WHERE b.id = 3 AND b.n > 5) FROM c a, c b WHERE a.id = 1 GROUP BY a.id",
            6,
        ),
        (
            "WITH b AS (SELECT id, code FROM t), m1 AS (SELECT * FROM b), m2 AS (SELECT * FROM m1) UPDATE t SET n = n WHERE id = 1 \
             RETURNING (SELECT code FROM m1 WHERE id = 1), (SELECT code FROM m2 WHERE id = 2)",
            3,
        ),
        (
            "WITH RECURSIVE d AS (SELECT p.n FROM plain p WHERE p.n = (SELECT n FROM c1 WHERE id = 1) AND p.v = (SELECT n FROM c2 WHERE id = 2)), \
             c1 AS (SELECT id, n FROM t), c2 AS (SELECT * FROM c1) SELECT n FROM d",
            2,
        ),
        (
            "WITH RECURSIVE r AS (SELECT id, p FROM t WHERE p IS NULL UNION ALL SELECT t.id, t.p FROM t JOIN r ON t.p = r.id) SELECT * FROM r",
            1,
        ),
    ]);
    let text = "WITH c AS (SELECT * FROM t) SELECT sum(a.x * b.y), 1 FROM c a, c b";
    assert_eq!(holds(text, 2)[0], Product);
}

#[test]
fn what_gathered_values_choose_is_them_wherever_they_are_named() {
    for text in [
        // NULLIF by a truth.
        "nullif('1', (x[1] > 5)::int::text)",
        // Candidates in what mentions a protected table.
        "(SELECT c.g FROM (SELECT g FROM generate_series(0, 9) g WHERE (SELECT count(*) FROM t) > 0) c WHERE c.g = x[1])",
        "(SELECT count(*) FROM (SELECT g FROM generate_series(0, 9) g, (SELECT FROM t LIMIT 1) z) c WHERE c.g < x[1])",
        "(SELECT c.g FROM (SELECT generate_series(0, 9) g FROM t) c WHERE c.g = x[1])",
        "(SELECT count(*) FROM t s WHERE s.n <= q.x[1])",
        // A condition or order that was made a column.
        "(SELECT s.g FROM (SELECT g, g = q.x[1] AS o FROM generate_series(0, 9) g) s WHERE s.o)",
        "(SELECT s.g FROM (SELECT g, abs(g - q.x[1]) AS o FROM generate_series(0, 9) g) s ORDER BY s.o LIMIT 1)",
        "(SELECT z.g FROM (SELECT g, abs(g - q.x[1]) AS o FROM generate_series(0, 9) g ORDER BY o LIMIT 1) z)",
        "(SELECT z.g FROM (SELECT g, abs(g - q.x[1]) AS o FROM generate_series(0, 9) g ORDER BY 2 LIMIT 1) z)",
        // Looked at within the condition.
        "(SELECT p.n FROM plain p WHERE EXISTS (SELECT FROM (SELECT q.x[1] y) z WHERE z.y = p.n))",
        "(SELECT p.n FROM plain p WHERE (p.n, p.v) IN (SELECT q.x[1], q.x[2]))",
        // Turns that a value ends.
        "(WITH RECURSIVE r(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i < x[1]) SELECT max(i) FROM r)",
        "(WITH RECURSIVE r(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r WHERE i < x[1]) SELECT count(*) FROM r)",
    ] {
        let text = format!("SELECT {text}, 1 {Q}");
        let held = holds(&text, 2);
        assert!(matches!(held[0], Element(_)), "{text}: {held:?}");
    }
    // Several in a row are several.
    for text in [
        format!(
            "SELECT a, b FROM (SELECT p.n a, o.n b FROM plain p, plain o) c, {} WHERE a = x[1] AND b = x[2]",
            &Q[5..]
        ),
        format!(
            "SELECT p.n, o.n FROM plain p, plain o WHERE (p.n, o.n) IN (SELECT x[1], x[2] {Q})"
        ),
        format!(
            "WITH q AS (SELECT * {Q}) SELECT p.n, o.n FROM plain p, plain o WHERE EXISTS (SELECT FROM q WHERE p.n = x[1] AND o.n = x[2])"
        ),
        format!(
            "DELETE FROM t USING {}, plain p, plain o WHERE t.id = 1 AND p.n = x[1] AND o.n = x[2] RETURNING p.n, o.n",
            &Q[5..]
        ),
        format!(
            "UPDATE t SET n = n FROM {} JOIN plain p ON p.n = x[1] JOIN plain o ON o.n = x[2] WHERE t.id = 1 RETURNING p.n, o.n",
            &Q[5..]
        ),
    ] {
        let held = holds(&text, 2);
        let different = match (&held[0], &held[1]) {
            (Element(one), Element(other)) => one != other || one.is_empty(),
            _ => false,
        };
        assert!(different, "{text}: {held:?}");
    }
    for text in [
        "(SELECT string_agg(s.g::text, ',') FROM (SELECT g, g = ANY (q.x) AS o FROM generate_series(0, 9) g) s WHERE s.o)",
        "(SELECT string_agg(s.g::text, ',') FILTER (WHERE s.o) FROM (SELECT g, g = ANY (q.x) AS o FROM generate_series(0, 9) g) s)",
        "(SELECT string_agg(coalesce(nullif('1', ((x[g] >> b) & 1)::text), '0'), '' ORDER BY g, b) FROM generate_series(1, 9) g, generate_series(0, 13) b)",
    ] {
        let text = format!("SELECT {text}, 1 {Q}");
        let held = holds(&text, 2);
        assert!(
            matches!(held[0], Joined | Anything | Holding::Separated(_)),
            "{text}: {held:?}"
        );
        let insert = format!("INSERT INTO plain {text}");
        assert!(packs(&insert).stores_many, "{insert}");
    }
    let text = format!(
        "UPDATE t SET note = concat(p.n, o.n) FROM {}, plain p, plain o WHERE t.id = 1 AND p.n = x[1] AND o.n = x[2]",
        &Q[5..]
    );
    assert!(packs(&text).stores_many);
    // Rows that count are themselves.
    let text = "SELECT c.id, c.name, lower(c.mail) FROM c JOIN (SELECT c, array_agg(tag) AS tags FROM t GROUP BY c) q ON q.c = c.id \
                WHERE 'vip' = ANY (q.tags) ORDER BY q.tags";
    assert_eq!(holds(text, 3), [Own, Own, Own]);
    let text = "SELECT owner, count(*), sum(n), string_agg(name, ', ') AS names FROM t GROUP BY owner HAVING count(*) > 1 ORDER BY names, 2 DESC LIMIT 5";
    assert_eq!(holds(text, 4), [Own, Own, Number, separated(&[", "])]);
    let text = "SELECT p.v, p.w FROM plain p WHERE p.id = ANY (ARRAY(SELECT c FROM t WHERE state = 'open')) ORDER BY p.v";
    assert_eq!(holds(text, 2), [Own, Own]);
    assert_eq!(
        holds(
            "SELECT owner, count(*) AS n FROM t GROUP BY owner ORDER BY n DESC",
            2
        ),
        [Own, Own]
    );
}

#[test]
fn what_is_held_against_a_key_stands_for_it() {
    let two = |of: &str, from: &str| {
        let text = format!(
            "SELECT count(*) FILTER (WHERE {of} = 1 AND t.n > 5), count(*) FILTER (WHERE {of} = 2 AND t.n > 5) FROM {from}"
        );
        (packs(&text).side_by_side, text)
    };
    for (of, from, rows) in [
        ("p.n", "t JOIN plain p ON p.n = t.id", 2),
        ("p.n", "t, plain p WHERE t.owner = 3 AND p.n - t.id = 0", 2),
        ("p.id", "t JOIN plain p USING (id)", 2),
        (
            "z.k",
            "t JOIN plain p ON p.n = t.id JOIN (SELECT v AS k FROM plain) z ON z.k = p.n",
            2,
        ),
        ("v.k", "t JOIN (VALUES (1), (2)) v(k) ON v.k = t.id", 2),
        (
            "z.k",
            "t JOIN (SELECT generate_series(1, 9) k) z ON z.k = t.id",
            2,
        ),
        (
            "k",
            "t, LATERAL generate_series(1, 9 + 0 * t.n) k WHERE k = t.id",
            2,
        ),
        // Names of stages, items of an order.
        ("p.n", "t JOIN plain p ON p.id = t.stage", 1),
        ("p.w", "t JOIN plain p ON p.n = t.id", 1),
        (
            "v.k",
            "t JOIN (VALUES (1, 'open'), (2, 'won')) v(k, state) ON v.state = t.state",
            1,
        ),
        (
            "p.n",
            "t JOIN plain p ON p.n = (SELECT max(v) FROM plain)",
            1,
        ),
    ] {
        let (found, text) = two(of, from);
        assert_eq!(found, rows, "{text}");
    }
    let text = "SELECT p.n, count(*) FILTER (WHERE t.id = 1 AND t.n > 5), count(*) FILTER (WHERE t.id = 2 AND t.n > 5) \
                FROM t JOIN plain p ON p.n < t.id GROUP BY p.n";
    assert_eq!(packs(text).side_by_side, 2);
}
