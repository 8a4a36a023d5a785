//! Ways to have many rows in one that the form of a statement hides: names that mean another thing than they seem to, and
//! conditions that carry values.
use crate::{BOTH, Taken, login, start_with};

pub const TABLES: &str = "
    CREATE TABLE numbers(n int); INSERT INTO numbers SELECT generate_series(0, 5000);
    CREATE TABLE sink(v text);
    ALTER TABLE contacts ADD COLUMN note text;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC";

/// A number for each row, as the code has it.
pub const N: &str = "substr(code, 2, 4)::int";

/// What a text gives for each number up to so many.
pub fn between(many: usize, separator: &str, text: impl Fn(usize) -> String) -> String {
    let each: Vec<String> = (1..=many).map(text).collect();
    each.join(separator)
}

pub fn each(many: usize, text: impl Fn(usize) -> String) -> String {
    between(many, ", ", text)
}

/// The code of a number.
pub fn code(number: &str) -> String {
    format!("'k' || lpad({number}::text, 4, '0') || 'x'")
}

fn ways() -> Vec<(&'static str, Vec<String>)> {
    let one = |text: &str| vec![text.to_owned()];
    vec![
        (
            "a forward reference",
            one("WITH RECURSIVE d AS (SELECT x FROM c), c AS (SELECT string_agg(code, ',') x FROM contacts) SELECT x FROM d"),
        ),
        (
            "a forward reference that is stored",
            vec![
                "WITH RECURSIVE d AS (SELECT x FROM c), c AS (SELECT string_agg(code, ',') x FROM contacts) INSERT INTO sink SELECT x FROM d".to_owned(),
                "SELECT v FROM sink".to_owned(),
            ],
        ),
        (
            "an alias of merged columns",
            one("SELECT j.x FROM (SELECT string_agg(code, ',' ORDER BY id) AS x FROM contacts) a \
                 JOIN (SELECT string_agg(code, ',' ORDER BY id) AS x FROM contacts) b USING (x) AS j"),
        ),
        (
            "the default of lag",
            one("SELECT lag(code, 1, (SELECT string_agg(code, ',') FROM contacts)) OVER (ORDER BY id) FROM contacts LIMIT 1"),
        ),
        (
            "attributes of XML",
            one("SELECT xmlelement(name z, xmlattributes(xmlagg(xmlelement(name r, code)) AS a)) FROM contacts"),
        ),
        (
            "text within XML",
            one("SELECT xmlelement(name z, (xmlagg(xmlelement(name r, code)))::text) FROM contacts"),
        ),
        (
            "VARIADIC",
            one("SELECT json_build_object(VARIADIC x[1:128]), json_build_object(VARIADIC x[129:256]), json_build_object(VARIADIC x[257:384]) \
                 FROM (SELECT array_agg(code ORDER BY id) x FROM contacts) q"),
        ),
        (
            "elements of an order that changes",
            vec![format!(
                "SELECT {} FROM contacts",
                each(400, |_| "(array_agg(code ORDER BY random()))[1]".to_owned())
            )],
        ),
        (
            "elements at places that change",
            vec![format!(
                "SELECT {} FROM contacts",
                each(400, |_| "(array_agg(code ORDER BY id))[1 + floor(random() * 5000)::int]".to_owned())
            )],
        ),
        (
            "an alias by the name of an outer column",
            one("SELECT (SELECT string_agg(code, ',') FROM numbers code LIMIT 1) FROM contacts"),
        ),
        (
            "the average of a row",
            vec![format!(
                "SELECT {} FROM contacts ORDER BY id LIMIT 1",
                each(300, |at| code(&format!(
                    "(regr_avgx(1, {N}) OVER (ORDER BY id ROWS BETWEEN {at} FOLLOWING AND {at} FOLLOWING))::int"
                )))
            )],
        ),
        (
            "the average of a row that a key chooses by arithmetic",
            vec![format!(
                "SELECT {} FROM contacts",
                each(300, |at| code(&format!(
                    "(regr_avgx(1, {N} * 0.0 ^ abs(id - {at})) * 5000)::int"
                )))
            )],
        ),
        (
            "numbers that rows have chosen",
            vec![format!(
                "SELECT {}",
                each(150, |at| format!(
                    "(SELECT {} FROM numbers WHERE EXISTS (SELECT FROM contacts WHERE id = {at} AND {N} = n))",
                    code("n")
                ))
            )],
        ),
        (
            "numbers beside each other that rows have chosen",
            vec![format!(
                "SELECT {} FROM generate_series(0, 5000) g WHERE EXISTS (SELECT FROM contacts WHERE {N} = g) WINDOW w AS (ORDER BY g) LIMIT 1",
                each(300, |at| code(&format!("(lead(g, {at}) OVER w)")))
            )],
        ),
        (
            "numbers that elements have chosen",
            vec![format!(
                "SELECT {} FROM (SELECT array_agg({N} ORDER BY id) x FROM contacts) q",
                each(200, |at| format!("(SELECT {} FROM numbers WHERE n = x[{at}])", code("n")))
            )],
        ),
        (
            "numbers in an order that elements have chosen",
            vec![format!(
                "SELECT {} FROM (SELECT array_agg({N} ORDER BY id) x FROM contacts) q",
                each(200, |at| format!(
                    "(SELECT {} FROM numbers ORDER BY abs(n - x[{at}]) LIMIT 1)",
                    code("n")
                ))
            )],
        ),
        (
            "a count that elements have limited",
            vec![format!(
                "SELECT {} FROM (SELECT array_agg({N} ORDER BY id) x FROM contacts) q",
                each(200, |at| code(&format!(
                    "(SELECT count(*) FROM generate_series(1, x[{at}]) g)"
                )))
            )],
        ),
        (
            "a condition within an aggregate that elements decide",
            vec![format!(
                "SELECT {} FROM (SELECT array_agg({N} ORDER BY id) x FROM contacts) q",
                each(200, |at| code(&format!(
                    "(SELECT count(*) FILTER (WHERE n < x[{at}]) FROM numbers)"
                )))
            )],
        ),
        (
            "a list of candidates",
            vec![format!(
                "SELECT (SELECT string_agg({}, ',') FROM numbers WHERE n = ANY (q.x)) FROM (SELECT array_agg({N}) x FROM contacts) q",
                code("n")
            )],
        ),
        (
            "what is put into a protected row",
            vec![
                "BEGIN".to_owned(),
                format!(
                    "INSERT INTO contacts(id, note) SELECT 900001, {} FROM {}",
                    between(150, " || ", |at| format!("x{at}")),
                    each(150, |at| format!("(SELECT code x{at} FROM contacts WHERE id = {at}) b{at}"))
                ),
                "SELECT note FROM contacts WHERE id = 900001".to_owned(),
                "ROLLBACK".to_owned(),
            ],
        ),
        (
            "what conditions put into a protected row",
            vec![
                "BEGIN".to_owned(),
                format!(
                    "INSERT INTO contacts(id, note) SELECT 900001, {} FROM generate_series(0, 5000) g \
                     WHERE EXISTS (SELECT FROM contacts WHERE {N} = g) WINDOW w AS (ORDER BY g) LIMIT 1",
                    between(150, " || ", |at| code(&format!("(lead(g, {at}) OVER w)")))
                ),
                "SELECT note FROM contacts WHERE id = 900001".to_owned(),
                "ROLLBACK".to_owned(),
            ],
        ),
        (
            "a recursive column by way of a subquery",
            one("WITH RECURSIVE r(a, id) AS (SELECT code, id FROM contacts WHERE id = 1 UNION ALL \
                 SELECT a, id FROM (SELECT r.a || ',' || s.code AS a, s.id FROM r JOIN contacts s ON s.id = r.id + 1 WHERE s.id < 900) q) \
                 SELECT a FROM r ORDER BY id DESC LIMIT 1"),
        ),
        (
            "a column by the name of an aggregate",
            one("SELECT regr_count(q) FROM (SELECT string_agg(code, ',') AS regr_count FROM contacts) q"),
        ),
        (
            "an array within a document that is appended",
            one("SELECT jsonb_agg(id) FILTER (WHERE id < 3) || jsonb_build_object('a', jsonb_agg(code)) FROM contacts"),
        ),
        (
            "a neighbour that is not seen",
            one("SELECT (SELECT z.y FROM (SELECT 'a'::text AS x) q, (SELECT q.x AS y) z) FROM (SELECT string_agg(code, ',') AS x FROM contacts) q"),
        ),
    ]
}

#[test]
fn what_the_form_of_a_statement_hides_is_counted() {
    counted_and_given(TABLES, &ways());
}

/// Whoever has a limit does not get beyond it so, and whoever has none does.
pub fn counted_and_given(tables: &str, ways: &[(&str, Vec<String>)]) {
    let (_server, pgveil) = start_with(BOTH, tables);
    let taken = |user: &str, texts: &[String]| {
        let mut client = login(&pgveil, user);
        let mut taken = Taken::default();
        for text in texts {
            taken.add(&client.query(text));
        }
        taken.count()
    };
    let mut failures = Vec::new();
    for (number, (way, texts)) in ways.iter().enumerate() {
        // Each has a budget of its own.
        let count = taken(&format!("u{}", number + 3), texts);
        if count > crate::ROWS {
            failures.push(format!("{way}: {count}"));
        }
        // The poison control: whoever has no limits gets more than the limit so.
        let count = taken("clear", texts);
        if count <= crate::ROWS {
            failures.push(format!("{way} gives {count} to anybody"));
        }
        taken("clear", &["DELETE FROM sink".to_owned()]);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
