//! What written rows are made of.
use super::*;
use crate::sql::parse;

/// `t` and `c` count, `plain` does not.
fn of(text: &str) -> u32 {
    joins(text).rows
}

fn joins(text: &str) -> Joined {
    let statement = parse::parse(text).expect("SQL").remove(0);
    let facts = Facts {
        counted: &|node| node.text("relname") != "plain",
        keys: &|_| Vec::new(),
        columns: &|_, _| true,
    };
    joined(statement.tree.node().expect("a statement"), facts)
}

#[test]
fn what_comes_from_other_rows_is_taken_over() {
    for (text, expected) in [
        ("UPDATE t SET note = c.name FROM c", true),
        (
            "UPDATE t a SET note = b.note FROM t b WHERE b.id = a.id + 1",
            true,
        ),
        (
            "UPDATE t SET note = (SELECT name FROM c WHERE id = 1)",
            true,
        ),
        (
            "UPDATE t SET (a, b) = (SELECT name, 1 FROM c WHERE id = 1)",
            true,
        ),
        ("UPDATE t SET note = coalesce(t.note, c.name) FROM c", true),
        (
            "UPDATE t SET note = CASE WHEN t.id = 1 THEN t.note ELSE c.name END FROM c",
            true,
        ),
        ("UPDATE t SET n = t.n + c.n FROM c", true),
        (
            "WITH q AS (SELECT name FROM c) UPDATE t SET note = q.name FROM q",
            true,
        ),
        (
            "UPDATE t SET note = q.name FROM (SELECT name FROM c) q",
            true,
        ),
        (
            "MERGE INTO t USING c ON c.id = t.id WHEN MATCHED THEN UPDATE SET note = c.name",
            true,
        ),
        (
            "MERGE INTO t USING c JOIN d ON true ON c.id = t.id WHEN NOT MATCHED THEN INSERT VALUES (c.a, d.b)",
            true,
        ),
        ("INSERT INTO t SELECT a.name, b.name FROM c a, c b", true),
        (
            "INSERT INTO t (a, b) VALUES ((SELECT name FROM c WHERE id = 1), (SELECT name FROM c WHERE id = 2))",
            true,
        ),
        (
            "INSERT INTO t SELECT id, name FROM c ON CONFLICT (id) DO UPDATE SET note = excluded.note",
            true,
        ),
        (
            "WITH w AS (UPDATE t SET note = c.name FROM c RETURNING 1) SELECT 1",
            true,
        ),
        ("UPDATE t SET note = first || last", false),
        ("UPDATE t SET note = t.code, code = t.note", false),
        ("UPDATE t SET note = $1 FROM c WHERE c.id = t.c", false),
        ("UPDATE t SET note = p.x FROM plain p", false),
        ("UPDATE t SET note = code || x FROM plain", false),
        (
            "UPDATE t SET note = note || 'x' WHERE EXISTS (SELECT 1 FROM c)",
            false,
        ),
        ("UPDATE t SET is_new = t.note <> c.name FROM c", false),
        (
            "UPDATE t SET note = CASE WHEN t.note = c.name THEN 'a' ELSE t.note END FROM c",
            false,
        ),
        (
            "MERGE INTO t USING c ON c.id = t.id WHEN MATCHED THEN UPDATE SET note = t.code",
            false,
        ),
        (
            "MERGE INTO t USING c ON c.id = t.id WHEN NOT MATCHED THEN INSERT (a, b) VALUES (c.a, c.b)",
            false,
        ),
        ("INSERT INTO t SELECT id, name, code FROM c", false),
        (
            "INSERT INTO t SELECT q.id, q.name FROM (SELECT * FROM c) q",
            false,
        ),
        (
            "INSERT INTO t VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET note = excluded.note",
            false,
        ),
        ("INSERT INTO t SELECT c.name, p.x FROM c, plain p", false),
        ("SELECT a.name, b.name FROM c a, c b", false),
    ] {
        assert_eq!(joins(text).takes_over, expected, "{text}");
    }
}

#[test]
fn a_value_is_made_of_the_rows_that_it_puts_together() {
    for (text, expected) in [
        (
            "UPDATE t SET note = t.note || c.name FROM c WHERE c.id = t.c",
            2,
        ),
        (
            "UPDATE t SET note = note || (SELECT name FROM c WHERE id = 1)",
            2,
        ),
        (
            "UPDATE t SET note = concat(t.note, a.note, b.note) FROM t a, t b",
            3,
        ),
        ("UPDATE t SET note = a.name || b.name FROM c a, c b", 2),
        (
            "UPDATE t SET note = ARRAY[a.name, b.name]::text FROM c a JOIN c b ON true",
            2,
        ),
        (
            "UPDATE t SET note = q.v FROM (SELECT a.name || b.name AS v FROM c a, c b) q",
            2,
        ),
        (
            "UPDATE t SET note = q.v || t.note FROM (SELECT a.name || b.name AS v FROM c a, c b) q",
            3,
        ),
        (
            "WITH q AS (SELECT a.name || b.name AS v FROM c a, c b) UPDATE t SET note = x.v || y.v FROM q x, q y",
            4,
        ),
        (
            "UPDATE t SET (a, b) = (SELECT x.name || y.name, 1 FROM c x, c y)",
            2,
        ),
        (
            "UPDATE t SET note = CASE WHEN true THEN t.note || c.name ELSE c.name END FROM c",
            2,
        ),
        ("UPDATE t SET n = t.n * 1000 + c.n FROM c", 2),
        ("UPDATE t SET n = (t.n << 30) | c.n FROM c", 2),
        ("INSERT INTO t SELECT a.name || b.name FROM c a, c b", 2),
        (
            "INSERT INTO t (note) VALUES ((SELECT name FROM c WHERE id = 1) || (SELECT name FROM c WHERE id = 2))",
            2,
        ),
        (
            "INSERT INTO t SELECT id, name FROM c ON CONFLICT (id) DO UPDATE SET note = t.note || excluded.note",
            2,
        ),
        (
            "MERGE INTO t USING c ON c.id = t.id WHEN MATCHED THEN UPDATE SET note = t.note || c.name",
            2,
        ),
        (
            "PREPARE p AS UPDATE t SET note = t.note || c.name FROM c",
            2,
        ),
        (
            "WITH w AS (UPDATE t SET note = t.note || c.name FROM c RETURNING 1) SELECT 1",
            2,
        ),
        (
            "COPY (UPDATE t SET note = t.note || c.name FROM c RETURNING 1) TO STDOUT",
            2,
        ),
        (
            "WITH c AS (SELECT a.x || b.x AS v FROM t a, t b), w AS (UPDATE t SET x = c.v FROM c RETURNING 1) SELECT 1",
            2,
        ),
        (
            "INSERT INTO t SELECT x.v || y.v FROM (VALUES ('a')) x(v), c y",
            1,
        ),
        // A row's value, or one of several.
        ("UPDATE t SET note = c.name FROM c", 1),
        (
            "UPDATE t SET note = upper(c.first || ' ' || c.last) FROM c",
            1,
        ),
        ("UPDATE t SET note = first || last", 1),
        ("UPDATE t SET note = note || $1", 1),
        ("UPDATE t SET note = t.note || plain.x FROM plain", 1),
        ("UPDATE t SET note = coalesce(t.note, c.name) FROM c", 2),
        (
            "UPDATE t SET note = CASE WHEN t.note = c.name THEN c.name ELSE t.note END FROM c",
            2,
        ),
        ("UPDATE t SET total = total + c.price FROM c", 2),
        ("UPDATE t SET is_new = t.note <> c.name FROM c", 1),
        (
            "UPDATE t SET note = note || 'x' WHERE EXISTS (SELECT 1 FROM c a, c b WHERE a.name || b.name = 'x')",
            3,
        ),
        ("INSERT INTO t SELECT a.name, b.name FROM c a, c b", 2),
        (
            "INSERT INTO t VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET note = t.note || excluded.note",
            1,
        ),
        ("INSERT INTO t SELECT id, first || last FROM c", 1),
        ("DELETE FROM t USING c WHERE t.note || c.name = 'x'", 1),
        ("SELECT a.name || b.name FROM c a, c b", 1),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

/// What is read by conditions, and what they choose from, has its say in a value that is put together.
#[test]
fn what_conditions_look_at_has_its_say_in_what_is_written() {
    for (text, expected) in [
        (
            "INSERT INTO t (note) VALUES (concat(((SELECT n FROM c WHERE id = 1) > 5)::int, ((SELECT n FROM c WHERE id = 2) > 5)::int, \
             EXISTS (SELECT FROM c WHERE id = 3)))",
            3,
        ),
        (
            "INSERT INTO t SELECT ((SELECT n FROM c WHERE id = 1) * 1000::numeric ^ 0 + (SELECT n FROM c WHERE id = 2) * 1000::numeric ^ 1)::text",
            2,
        ),
        (
            "INSERT INTO t SELECT concat(lead(g, 1) OVER w, lead(g, 2) OVER w) FROM generate_series(0, 9) g \
             WHERE EXISTS (SELECT FROM c WHERE n = g) WINDOW w AS (ORDER BY g)",
            3,
        ),
        (
            "INSERT INTO t SELECT concat(x1, x2, x3) FROM (SELECT code x1 FROM c WHERE id = 1) b1, (SELECT code x2 FROM c WHERE id = 2) b2, \
             (SELECT code x3 FROM c WHERE id = 3) b3",
            3,
        ),
        (
            "INSERT INTO t SELECT concat(u1, u2) FROM c b1, LATERAL upper(b1.code) u1, c b2, LATERAL upper(b2.code) u2",
            2,
        ),
        (
            "UPDATE t SET note = concat(note, g1, g2) FROM generate_series(0, 9) g1, generate_series(0, 9) g2 \
             WHERE g1 = (SELECT b.n FROM t b WHERE b.id = t.id + 1) AND g2 = (SELECT b.n FROM t b WHERE b.id = t.id + 2)",
            3,
        ),
        (
            "UPDATE t SET note = CASE (SELECT n % 10 FROM t b WHERE b.id = t.id + 1) WHEN 0 THEN '0' WHEN 1 THEN '1' END || \
             CASE (SELECT n % 10 FROM t b WHERE b.id = t.id + 2) WHEN 0 THEN '0' END",
            3,
        ),
        (
            "UPDATE t SET note = note || '1' WHERE (SELECT (n >> 3) & 1 FROM t b WHERE b.id = t.id + 1) = 1",
            2,
        ),
        (
            "MERGE INTO t USING generate_series(0, 9) g ON g = (SELECT b.n FROM t b WHERE b.id = t.id + 1) \
             WHEN MATCHED THEN UPDATE SET note = note || ',' || g",
            2,
        ),
        // Constants and values that are brought say nothing of them.
        (
            "UPDATE t SET state = 'x' WHERE c IN (SELECT id FROM c WHERE a = 1)",
            1,
        ),
        (
            "UPDATE t SET at = now(), n = $1 WHERE c IN (SELECT id FROM c)",
            1,
        ),
        ("UPDATE t SET late = due < now(), first = last", 1),
        ("UPDATE t SET version = version + 1 WHERE id = 1", 1),
        (
            "UPDATE t SET open = EXISTS (SELECT FROM c WHERE c.t = t.id)",
            1,
        ),
        (
            "INSERT INTO t SELECT p.a || p.b FROM plain p WHERE NOT EXISTS (SELECT FROM t WHERE t.a = p.a)",
            1,
        ),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}
