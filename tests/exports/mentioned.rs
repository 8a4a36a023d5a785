//! Ways to have many rows in one by what only mentions protected rows, or depends on them: aggregates of the query around,
//! candidates that stand beside them, counts of what was chosen elsewhere, and conditions that no comparison shows.
use crate::followed::{N, TABLES, between, code, counted_and_given, each};

fn ways() -> Vec<(&'static str, Vec<String>)> {
    let gathered = format!("(SELECT array_agg({N} ORDER BY id) x FROM contacts) q");
    let number = |at: usize| format!("(SELECT {N} FROM contacts WHERE id = {at})");
    let in_transaction = |text: String| vec!["BEGIN".to_owned(), text, "ROLLBACK".to_owned()];
    let candidates = |many: usize| each(many, |at| format!("numbers p{at}"));
    vec![
        (
            "an aggregate of the query around",
            vec![format!(
                "SELECT {} FROM contacts",
                each(300, |at| format!(
                    "(SELECT max(code) FILTER (WHERE id = {at}))"
                ))
            )],
        ),
        (
            "an aggregate of the query around that is copied out",
            vec![format!(
                "COPY (SELECT {} FROM contacts) TO STDOUT",
                each(300, |at| format!(
                    "(SELECT max(code) FILTER (WHERE id = {at}) FROM numbers LIMIT 1)"
                ))
            )],
        ),
        (
            "bits by NULLIF",
            vec![format!(
                "SELECT {} FROM {gathered}",
                each(200, |at| format!(
                    "(SELECT {} FROM generate_series(0, 13) b)",
                    code(&format!(
                        "(~ (string_agg(coalesce(nullif('1', ((x[{at}] >> b) & 1)::text), '0'), '' ORDER BY b DESC))::bit(14))::int"
                    ))
                ))
            )],
        ),
        (
            "candidates that mention a protected table",
            vec![format!(
                "WITH c AS NOT MATERIALIZED (SELECT n FROM numbers WHERE (SELECT count(*) FROM contacts) > 0) SELECT {} FROM {gathered}",
                each(200, |at| format!(
                    "(SELECT {} FROM c WHERE n = x[{at}])",
                    code("n")
                ))
            )],
        ),
        (
            "candidates in a subquery that mentions a protected table",
            vec![between(4, " UNION ALL ", |part| {
                let first = (part - 1) * 40;
                let each = |text: &dyn Fn(usize) -> String| each(40, text);
                format!(
                    "SELECT {} FROM (SELECT {} FROM {} WHERE EXISTS (SELECT FROM contacts)) c WHERE {}",
                    each(&|at| code(&format!("a{at}"))),
                    each(&|at| format!("p{at}.n a{at}")),
                    candidates(40),
                    between(40, " AND ", |at| format!("a{at} = {}", number(first + at)))
                )
            })],
        ),
        (
            "counts of common table expressions",
            vec![format!(
                "WITH {} SELECT {}",
                each(200, |at| format!(
                    "c{at} AS (SELECT FROM contacts, generate_series(1, 999) g WHERE id = {at} AND g <= {N})"
                )),
                each(200, |at| code(&format!("(SELECT count(*) FROM c{at})")))
            )],
        ),
        (
            "places of a row that is not there",
            vec![format!(
                "SELECT {} FROM contacts, generate_series(1, 200) g WHERE id <= 150",
                each(150, |at| code(&format!(
                    "(rank(0) WITHIN GROUP (ORDER BY -g) FILTER (WHERE id = {at} AND g <= {N}) - 1)"
                )))
            )],
        ),
        (
            "what is NULL by a key",
            vec![format!(
                "SELECT {} FROM contacts, generate_series(1, 200) g WHERE id <= 150",
                each(150, |at| code(&format!(
                    "count(*) FILTER (WHERE (CASE WHEN id = {at} AND g <= {N} THEN NULL ELSE 1 END) IS NULL)"
                )))
            )],
        ),
        (
            "candidates beside rows that are changed",
            in_transaction(format!(
                "UPDATE contacts SET note = note FROM {gathered}, {} WHERE contacts.id <= 20 AND {} RETURNING {}",
                candidates(8),
                between(8, " AND ", |at| format!(
                    "p{at}.n = x[contacts.id * 8 + {at}]"
                )),
                each(8, |at| code(&format!("p{at}.n")))
            )),
        ),
        (
            "candidates put together in one subquery",
            vec![format!(
                "SELECT {} FROM (SELECT {}, {} FROM {}) c, {gathered}, plain r WHERE r.id <= 30 AND {}",
                each(6, |at| format!("b{at}")),
                each(6, |at| format!("p{at}.n a{at}")),
                each(6, |at| format!("{} b{at}", code(&format!("p{at}.n")))),
                candidates(6),
                between(6, " AND ", |at| format!("a{at} = x[r.id * 6 + {at}]"))
            )],
        ),
        (
            "elements that only the condition reads",
            vec![format!(
                "SELECT {} FROM {} WHERE ({}) IN (SELECT {} FROM {gathered}, generate_series(1, 30) r)",
                each(6, |at| code(&format!("p{at}.n"))),
                candidates(6),
                each(6, |at| format!("p{at}.n")),
                each(6, |at| format!("x[r * 6 + {at}]"))
            )],
        ),
        (
            "turns that an element ends",
            vec![format!(
                "SELECT {} FROM {gathered}",
                each(200, |at| format!(
                    "(WITH RECURSIVE r{at}(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM r{at} WHERE i < x[{at}]) SELECT {} FROM r{at})",
                    code("max(i)")
                ))
            )],
        ),
        (
            "names of one expression in a write",
            in_transaction(format!(
                "WITH b AS (SELECT id, code FROM contacts), {} UPDATE contacts SET note = note WHERE id = 1 RETURNING {}",
                each(200, |at| match at {
                    1 => "m1 AS (SELECT * FROM b)".to_owned(),
                    _ => format!("m{at} AS (SELECT * FROM m{})", at - 1),
                }),
                each(200, |at| format!(
                    "(SELECT code FROM m{at} WHERE id = {at})"
                ))
            )),
        ),
        (
            "a condition that was made a column",
            vec![format!(
                "SELECT (SELECT string_agg({}, ',') FROM (SELECT n, n = ANY (q.x) AS o FROM numbers) s WHERE s.o) \
                 FROM (SELECT array_agg({N}) x FROM contacts WHERE id <= 300) q",
                code("s.n")
            )],
        ),
        (
            "an order that was made a column",
            vec![format!(
                "SELECT {} FROM {gathered}",
                each(200, |at| format!(
                    "(SELECT {} FROM (SELECT n, abs(n - q.x[{at}]) AS o FROM numbers) s ORDER BY s.o LIMIT 1)",
                    code("s.n")
                ))
            )],
        ),
        (
            "what is stored of candidates",
            vec![
                format!(
                    "INSERT INTO sink SELECT concat({}) FROM {} WHERE ({}) IN (SELECT {} FROM {gathered}, generate_series(1, 30) r)",
                    each(6, |at| code(&format!("p{at}.n"))),
                    candidates(6),
                    each(6, |at| format!("p{at}.n")),
                    each(6, |at| format!("x[r * 6 + {at}]"))
                ),
                "SELECT v FROM sink".to_owned(),
            ],
        ),
    ]
}

#[test]
fn what_only_mentions_protected_rows_is_counted() {
    counted_and_given(TABLES, &ways());
}
