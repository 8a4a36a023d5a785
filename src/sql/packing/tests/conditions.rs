//! What gathered values choose is what they are.
use super::*;

/// Of `q`, which has all codes in `x`, their list in `s` and nothing gathered in `k`; `plain` does not count.
fn over(columns: &str) -> Holding {
    let text = format!(
        "SELECT {columns} FROM (SELECT k, array_agg(code) AS x, string_agg(code, ',') AS s FROM t GROUP BY k) q"
    );
    let counts = |node: &Node| node.text("relname") != "plain";
    match counting(&text, &counts).columns {
        Some(columns) => columns.of(0, columns.before.len().max(1)).clone(),
        None => Own,
    }
}

#[test]
fn a_truth_about_a_gathered_value_is_one_of_a_row() {
    for text in [
        "x[1] < 'k5'",
        "NOT x[1] < 'k5'",
        "x[1] < 'k5' AND k",
        "(x[1] < 'k5') IS TRUE",
        "nullif(x[1], 'k5') IS NULL",
        "nullif(left(s, 5), 'k5') IS NULL",
        "x[1] IN ('a', 'b')",
        "x[1] LIKE 'k%'",
        "'k5' = ANY(x)",
        "s LIKE '%k5%'",
        "to_jsonb(x) @> '[\"k5\"]'",
        "CASE WHEN x[1] < 'k5' THEN 1 ELSE 0 END",
        "CASE substr(x[1], 2, 1) WHEN '0' THEN '0' WHEN '1' THEN '1' END",
        "(x[1] < 'k5')::int",
        "count(nullif(x[1] < 'k5', false))",
        "count(*) FILTER (WHERE x[1] < 'k5')",
        "cardinality(array_remove(x[1:1], NULL))",
        "array_length(x[1:1], 1)",
        "x[1] IN (SELECT v FROM plain)",
        "EXISTS (SELECT FROM plain p WHERE p.v = x[1])",
        "5 = (SELECT p.v FROM plain p WHERE p.v = x[1])",
    ] {
        assert_eq!(over(text), Element("".into()), "{text}");
    }
    for text in [
        "k < 5",
        "k IS NULL",
        "CASE WHEN k < 5 THEN 1 ELSE 0 END",
        "EXISTS (SELECT FROM plain p WHERE p.v = q.k)",
        "count(*) FILTER (WHERE k < 5)",
        "bool_or(k = 1)",
    ] {
        assert_eq!(over(text), Own, "{text}");
    }
    for (text, expected) in [
        ("sum(amount) > 1000", Own),
        (
            "CASE WHEN sum(amount) > 1000 THEN 'gold' ELSE 'silver' END",
            Own,
        ),
        (
            "CASE WHEN count(*) > 1 THEN string_agg(name, ', ') ELSE max(name) END",
            separated(&[", "]),
        ),
        (
            "CASE WHEN json_agg(name)::text = '[null]' THEN '[]'::json ELSE json_agg(name) END",
            document(false, 1, &[]),
        ),
        ("json_agg(name) IS NULL", Own),
        (
            "CASE WHEN json_agg(name) IS NULL THEN '[]' ELSE json_agg(name) END",
            document(false, 1, &[]),
        ),
        (
            "string_agg(name, ';') FILTER (WHERE name <> '')",
            separated(&[";"]),
        ),
        // A truth that chooses whether there is a list, which may be empty.
        (
            "CASE WHEN (array_agg(name))[1] < 'k5' THEN array_agg(name) END",
            Joined,
        ),
    ] {
        assert_eq!(first(&format!("SELECT {text} FROM t")), expected, "{text}");
    }
    let text = "CASE WHEN q.s = '' THEN '-' ELSE q.s END";
    assert_eq!(over(text), separated(&[","]));
    assert_eq!(over("CASE WHEN q.x IS NULL THEN '{}' ELSE q.x END"), Array);
}

#[test]
fn candidates_are_what_they_were_chosen_by() {
    let one = "substr(x[1], 2, 4)::int";
    let given = |text: &str| over(&text.replace("ONE", one));
    for text in [
        "(SELECT g FROM generate_series(0, 999) g WHERE g = ONE)",
        "(SELECT p.v FROM plain p WHERE p.v = ONE)",
        "(SELECT p.v FROM plain p JOIN plain o ON o.v = ONE)",
        "(SELECT g FROM generate_series(0, 999) g ORDER BY abs(g - ONE) LIMIT 1)",
        "(SELECT g FROM generate_series(0, 999) g OFFSET ONE LIMIT 1)",
        "(SELECT count(*) FROM (SELECT FROM generate_series(1, 999) g LIMIT ONE) z)",
        "(SELECT count(*) FROM generate_series(1, ONE) g)",
        "(SELECT count(*) FILTER (WHERE g < ONE) FROM generate_series(0, 999) g)",
        "(SELECT count(*) FROM generate_series(0, 999) g HAVING max(g) > ONE)",
        "(WITH c AS (SELECT g FROM generate_series(0, 999) g WHERE g < ONE) SELECT count(*) FROM c)",
        "(SELECT 1 WHERE x[1] < 'k5')",
        "(SELECT 1 WHERE x[1] < 'k5' UNION ALL SELECT 2 WHERE x[1] >= 'k5')",
        "(SELECT first_value(g) OVER (ORDER BY abs(g - ONE)) FROM generate_series(0, 999) g LIMIT 1)",
    ] {
        assert!(
            matches!(given(text), Element(key) if key.is_empty() || key.starts_with("candidate")),
            "{text}: {:?}",
            given(text)
        );
    }
    // Two of them in a row are two.
    let text = "SELECT a, b FROM generate_series(0, 9) a, generate_series(0, 9) b, (SELECT array_agg(n) x FROM t) q \
                WHERE a = x[1] AND b = x[2]";
    let columns = of(text).columns.expect("they count");
    let none: Holding = Element("".into());
    assert_eq!([columns.of(0, 2), columns.of(1, 2)], [&none; 2]);
    // And what gathers them gathers rows.
    for (text, expected) in [
        (
            "(SELECT string_agg(g.g::text, ',') FROM generate_series(0, 9999) g(g) WHERE g.g = ANY(q.x))",
            Joined,
        ),
        (
            "(SELECT string_agg(g.g::text, ',') FILTER (WHERE g.g = ANY(q.x)) FROM generate_series(0, 9999) g(g))",
            Joined,
        ),
        (
            "(SELECT array_agg(p.v) FROM plain p WHERE p.n = ANY(q.x))",
            Joined,
        ),
        (
            "(SELECT (array_agg(p.v ORDER BY abs(p.v - ONE)))[1] FROM plain p)",
            Element("".into()),
        ),
        (
            "(SELECT string_agg(p.v, ',') FROM plain p WHERE p.k = q.k)",
            Own,
        ),
        ("(SELECT p.v FROM plain p WHERE p.k = q.k)", Own),
        (
            "(SELECT p.v FROM plain p WHERE p.k = q.k ORDER BY p.v LIMIT 1)",
            Own,
        ),
    ] {
        let found = given(text);
        match (&found, &expected) {
            (Element(_), Element(_)) => {}
            _ => assert_eq!(found, expected, "{text}"),
        }
    }
}

/// A page of contacts with what belongs to them.
#[test]
fn rows_with_lists_of_their_own_count_as_they_did() {
    let counts = |node: &Node| node.text("relname") != "plain";
    for text in [
        "SELECT p.v, p.w, c.name, q.tags FROM c JOIN plain p ON p.id = c.stage \
         LEFT JOIN (SELECT c, array_agg(tag) AS tags FROM t GROUP BY c) q ON q.c = c.id ORDER BY q.tags, c.name LIMIT 20",
        "SELECT p.v, p.w, c.name, q.tags FROM c JOIN plain p ON p.id = c.stage \
         LEFT JOIN (SELECT id, array_agg(tag) AS tags FROM t GROUP BY id) q USING (id) WHERE c.owner = 5",
        "SELECT p.v, p.w, c.name, q.tags FROM c JOIN plain p ON p.id = c.stage LEFT JOIN LATERAL \
         (SELECT json_agg(t) AS tags FROM t WHERE t.c = c.id) q ON true WHERE c.owner = 5",
    ] {
        let columns = counting(text, &counts).columns.expect("they count");
        assert_eq!(
            [columns.of(0, 4), columns.of(1, 4), columns.of(2, 4)],
            [&Own; 3],
            "{text}"
        );
    }
    let text = "SELECT c.name, c.phone, q.tags FROM c JOIN (SELECT c, array_agg(tag) AS tags FROM t GROUP BY c) q \
                ON q.c = c.id WHERE 'vip' = ANY(q.tags)";
    let columns = of(text).columns.expect("they count");
    assert_eq!([columns.of(0, 3), columns.of(1, 3)], [&Own; 2]);
}
