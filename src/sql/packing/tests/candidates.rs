//! What conditions say counts: which rows they choose, and what rows choose by them.
use super::*;

/// How many rows stand side by side; `numbers`, `plain` and `labels` are tables whose rows do not count.
fn beside(text: &str) -> u32 {
    let open = ["numbers", "plain", "labels"];
    counting(text, &|node| !open.contains(&node.text("relname"))).side_by_side
}

fn expect(cases: &[(&str, u32)]) {
    for (text, rows) in cases {
        assert_eq!(beside(text), *rows, "{text}");
    }
}

#[test]
fn statistics_show_the_row_that_they_are_of() {
    expect(&[
        (
            "SELECT regr_avgx(1, n) OVER (ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING), \
             regr_avgx(1, n) OVER (ORDER BY id ROWS BETWEEN 2 FOLLOWING AND 2 FOLLOWING) FROM t",
            3,
        ),
        (
            "SELECT count(*) OVER (ORDER BY id ROWS 1 PRECEDING), bool_or(n > 5) OVER (ORDER BY id ROWS 2 PRECEDING) FROM t",
            3,
        ),
        ("SELECT id, count(*) OVER () FROM t", 1),
        (
            "SELECT id, rank() OVER w, row_number() OVER w FROM t WINDOW w AS (ORDER BY n)",
            1,
        ),
        (
            "SELECT count(*) FILTER (WHERE id = 7 AND n > 5) OVER (), count(*) FILTER (WHERE id = 8 AND n > 5) OVER () FROM t",
            2,
        ),
        (
            "SELECT sum(n) FILTER (WHERE id = 7) OVER (), sum(n) FILTER (WHERE id = 8) OVER () FROM t",
            2,
        ),
        (
            "SELECT stddev(n) FILTER (WHERE id = 1), regr_avgx(1, n) FILTER (WHERE id = 2), var_pop(n) FILTER (WHERE id = 3) FROM t",
            3,
        ),
        (
            "SELECT owner, count(*), avg(n), stddev(n), corr(n, m) FROM t GROUP BY owner",
            1,
        ),
    ]);
}

#[test]
fn a_key_that_is_looked_at_without_a_comparison_chooses_a_row() {
    expect(&[
        (
            "SELECT count(NULLIF(id * 1000 + n, 7433)), count(NULLIF(id * 1000 + n, 7434)) FROM t",
            2,
        ),
        (
            "SELECT count(substring(id || ':' || code FROM '^7:k')), count(substring(id || ':' || code FROM '^8:k')) FROM t",
            2,
        ),
        (
            "SELECT bool_or(concat(id, code) ~ '^7k'), bool_or(concat(id, code) ~ '^8k') FROM t",
            2,
        ),
        (
            "SELECT sum(coalesce(NULLIF(id, 7) * 0, n)), sum(coalesce(NULLIF(id, 8) * 0, n)) FROM t",
            2,
        ),
        (
            "SELECT sum(greatest(n - abs(id - 7) * 1000, 0)), sum(greatest(n - abs(id - 8) * 1000, 0)) FROM t",
            2,
        ),
        // Reports name no key.
        (
            "SELECT count(DISTINCT owner), count(NULLIF(state, 'open')), count(coalesce(a, b)), sum(greatest(n, 0)) FROM t",
            1,
        ),
    ]);
}

#[test]
fn numbers_that_rows_are_held_against_choose_a_row() {
    expect(&[
        (
            "SELECT count(*) FILTER (WHERE k = 1 AND n > 5), count(*) FILTER (WHERE k = 2 AND n > 5) \
             FROM t JOIN generate_series(1, 2000) k ON k = id",
            2,
        ),
        (
            "SELECT sum(n) FILTER (WHERE g.k = 1), sum(n) FILTER (WHERE g.k = 2) FROM t, unnest($1::int[]) g(k) WHERE g.k = id",
            2,
        ),
        (
            "SELECT count(*) FILTER (WHERE e.v = 'a'), count(*) FILTER (WHERE e.v = 'b') FROM t, unnest(t.tags) e(v)",
            1,
        ),
        (
            "SELECT sum(n) FILTER (WHERE l.name = 'open'), sum(n) FILTER (WHERE l.name = 'won') FROM t JOIN labels l ON l.id = t.label",
            1,
        ),
    ]);
}

#[test]
fn candidates_that_rows_have_chosen_stand_for_them() {
    expect(&[
        (
            "SELECT (SELECT g FROM generate_series(0, 9) g WHERE EXISTS (SELECT FROM t WHERE id = 1 AND n = g)), \
             (SELECT g FROM generate_series(0, 9) g WHERE EXISTS (SELECT FROM t WHERE id = 2 AND n = g))",
            2,
        ),
        (
            "SELECT a, b FROM generate_series(0, 9) a, generate_series(0, 9) b \
             WHERE a = (SELECT n FROM t WHERE id = 1) AND b = (SELECT n FROM t WHERE id = 2)",
            2,
        ),
        (
            "SELECT g, lead(g, 1) OVER w, lead(g, 2) OVER w FROM generate_series(0, 9) g \
             WHERE EXISTS (SELECT FROM t WHERE n = g) WINDOW w AS (ORDER BY g)",
            3,
        ),
        (
            "SELECT x.v, y.v FROM numbers x JOIN numbers y ON y.v = (SELECT n FROM t WHERE id = 2) \
             WHERE x.v = (SELECT n FROM t WHERE id = 1)",
            2,
        ),
        // Lists and their filters.
        (
            "SELECT id FROM t WHERE EXISTS (SELECT FROM o WHERE o.t = t.id) OR EXISTS (SELECT FROM o WHERE o.u = t.id)",
            1,
        ),
        (
            "SELECT id FROM plain WHERE owner IN (SELECT id FROM t WHERE state = 'open')",
            1,
        ),
        (
            "SELECT t.id, l.name FROM t JOIN labels l ON l.id = t.label WHERE EXISTS (SELECT FROM o WHERE o.t = t.id)",
            1,
        ),
    ]);
}

#[test]
fn aggregates_of_the_query_around_count_there() {
    expect(&[
        (
            "SELECT (SELECT count(*) FILTER (WHERE t.id = 7 AND t.n > 5) FROM plain), (SELECT count(*) FILTER (WHERE t.id = 8 AND t.n > 5) FROM plain) FROM t",
            2,
        ),
        (
            "SELECT t.id, (SELECT max(p.x) FROM plain p), (SELECT count(*) FILTER (WHERE p.x > 5) FROM plain p) FROM t",
            1,
        ),
    ]);
}

#[test]
fn arms_of_a_sum_that_move_values_apart_count_four_to_a_row() {
    let arms = |result: &str| {
        let arms: Vec<String> = (1..=16)
            .map(|at| format!("WHEN 'n{at}' THEN {result}"))
            .collect();
        format!(
            "SELECT floor(s / 1e3) FROM (SELECT sum(CASE note {} END) AS s FROM t) q",
            arms.join(" ")
        )
    };
    expect(&[(&arms("n * 1e3"), 4), (&arms("n"), 1)]);
}
