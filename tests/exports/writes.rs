//! Writes to protected tables, and through them: what they say of rows goes nowhere without being counted.
use crate::support::compare::values;
use crate::support::message::Client;
use crate::support::{Pgveil, Postgres};
use crate::{BOTH, Taken, login, start_with, told};

/// Tables in no class that protected ones reach by a view and by foreign keys; roles write to all of them.
const AROUND: &str = "
    CREATE TABLE sink(v text); CREATE TABLE numbers(n int);
    INSERT INTO numbers SELECT generate_series(1, 5000);
    CREATE TABLE tasks(id serial PRIMARY KEY, contact int, title text);
    INSERT INTO tasks(contact, title) SELECT id, 'task' FROM contacts;
    CREATE VIEW list AS SELECT t.id, t.contact, t.title, (SELECT c.code FROM contacts c WHERE c.id = t.contact) AS code FROM tasks t;
    ALTER TABLE contacts ADD COLUMN note text, ADD UNIQUE (code);
    CREATE TABLE follows(code text REFERENCES contacts(code) ON UPDATE CASCADE);
    CREATE TABLE deals(contact int REFERENCES contacts(id) ON DELETE CASCADE, code text);
    CREATE TABLE parts(contact int);
    INSERT INTO follows SELECT code FROM contacts WHERE id <= 2500;
    INSERT INTO deals SELECT id, code FROM contacts;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC";

fn begin(export: &str) -> (Postgres, Pgveil) {
    start_with(export, AROUND)
}

/// Each is stopped or refused.
fn denied(client: &mut Client, texts: &[&str]) {
    for text in texts {
        let frames = client.query(text);
        let told = told(&frames).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(told.sqlstate, "42501", "{text}: {told:?}");
    }
}

/// Runs texts one after the other, whatever is said to them, and gives what came out.
fn taken(client: &mut Client, texts: &[&str]) -> usize {
    let mut taken = Taken::default();
    for text in texts {
        taken.add(&client.query(text));
    }
    taken.count()
}

#[test]
fn what_a_write_says_of_protected_rows_goes_nowhere_uncounted() {
    let (_server, pgveil) = begin(BOTH);
    let few = 100;
    let ways: &[(&str, &[&str])] = &[
        (
            "a setting, by DELETE",
            &[
                "DELETE FROM contacts WHERE set_config('a.b', coalesce(current_setting('a.b', true), '') || code, false) = 'x'",
                "SELECT current_setting('a.b', true)",
            ],
        ),
        (
            "a setting, by UPDATE",
            &[
                "UPDATE contacts SET note = note WHERE set_config('a.b', coalesce(current_setting('a.b', true), '') || code, false) = 'x'",
                "SELECT current_setting('a.b', true)",
            ],
        ),
        (
            "UPDATE in WITH",
            &[
                "WITH u AS (UPDATE contacts SET note = note RETURNING code), w AS (INSERT INTO sink SELECT code FROM u) SELECT 1",
                "SELECT v FROM sink",
            ],
        ),
        (
            "UPDATE in WITH, outermost",
            &[
                "WITH u AS (UPDATE contacts SET note = note RETURNING code) INSERT INTO sink SELECT code FROM u",
                "SELECT v FROM sink",
            ],
        ),
        (
            "RETURNING of what a view looks up",
            &["INSERT INTO list(contact) SELECT generate_series(1, 2000) RETURNING code"],
        ),
        (
            "UPDATE of a view",
            &[
                "BEGIN",
                "UPDATE list SET title = code",
                "SELECT title FROM tasks",
                "ROLLBACK",
            ],
        ),
        (
            "INSERT into a view",
            &[
                "BEGIN",
                "INSERT INTO list(title) SELECT code FROM contacts",
                "SELECT title FROM tasks",
                "ROLLBACK",
            ],
        ),
        (
            "ON UPDATE CASCADE",
            &[
                "BEGIN",
                "UPDATE contacts SET code = code || 'k' || substr(code, 2)",
                "SELECT code FROM follows WHERE code LIKE '%xk%'",
                "ROLLBACK",
            ],
        ),
        (
            "keys that were there",
            &[
                "BEGIN",
                "CREATE TEMP TABLE cand AS SELECT 'k' || lpad(g::text, 4, '0') || 'x' AS code, g FROM generate_series(1, 5100) g",
                "WITH i AS (INSERT INTO contacts(id, code) SELECT 300000 + g, code FROM cand ON CONFLICT DO NOTHING RETURNING code) \
                 SELECT string_agg(c.code, ',') FROM cand c WHERE c.code NOT IN (SELECT code FROM i)",
                "ROLLBACK",
            ],
        ),
        (
            "candidates that were there",
            &[
                "CREATE TEMP TABLE cand AS SELECT 'k' || lpad(g::text, 4, '0') || 'x' AS code FROM generate_series(1, 5000) g",
                "SELECT string_agg(c.code, ',') FROM cand c WHERE c.code IN (SELECT code FROM contacts)",
            ],
        ),
        (
            "window functions",
            &[
                "BEGIN",
                "INSERT INTO contacts(id, code, note) SELECT id + 100000, 'w' || id, concat_ws(',', code, lead(code, 1) OVER w, \
                 lead(code, 2) OVER w, lead(code, 3) OVER w) FROM contacts WHERE id <= 2000 WINDOW w AS (ORDER BY id)",
                "SELECT note FROM contacts WHERE id > 100000 AND id % 4 = 1",
                "ROLLBACK",
            ],
        ),
        (
            "min and max",
            &[
                "BEGIN",
                "INSERT INTO contacts(id, code, note) SELECT 200000 + min(id), 'm' || min(id), min(code) || max(code) FROM contacts \
                 WHERE id <= 2000 GROUP BY id / 2",
                "SELECT note FROM contacts WHERE id > 200000",
                "ROLLBACK",
            ],
        ),
    ];
    for (number, (way, texts)) in ways.iter().enumerate() {
        // Each has a budget of its own.
        let mut client = login(&pgveil, &format!("u{}", number + 3));
        let count = taken(&mut client, texts);
        assert!(count <= few, "{way}: {count}");
    }
    // The poison control: whoever has no limits gets all of them so.
    let mut client = login(&pgveil, "clear");
    assert_eq!(taken(&mut client, ways[0].1), 5000);
    assert_eq!(taken(&mut client, ways[7].1), 2500);
}

#[test]
fn which_rows_were_deleted_shows_in_no_other_table_uncounted() {
    let (_server, pgveil) = begin(BOTH);
    let mut client = login(&pgveil, "u3");
    client.query("BEGIN");
    let frames = client.query("DELETE FROM contacts WHERE id > 2500 AND code LIKE '%7x'");
    assert_eq!(told(&frames).expect("stopped").sqlstate, "42501");
    client.query("ROLLBACK");
    // One by its key, as frameworks delete it.
    for (id, text) in [
        (4711, "DELETE FROM contacts WHERE id = 4711"),
        (
            4712,
            "WITH d AS (DELETE FROM contacts c WHERE c.id = 4712 RETURNING *) SELECT d.id FROM d",
        ),
        (
            4713,
            "BEGIN; DELETE FROM contacts WHERE 4713::int = contacts.id; COMMIT",
        ),
    ] {
        let frames = client.query(text);
        assert!(told(&frames).is_none(), "{text}: {:?}", told(&frames));
        let frames = client.query(&format!("SELECT count(*) FROM contacts WHERE id = {id}"));
        assert_eq!(values(&frames), ["0"], "{text}");
    }
    // A key with a truth about its row, or another way to more than one.
    for text in [
        "WITH d AS (DELETE FROM contacts WHERE id = 4714 AND code LIKE '%7x' RETURNING id) SELECT id FROM d",
        "BEGIN; DELETE FROM contacts WHERE id > 4714; COMMIT",
        "BEGIN; DELETE FROM contacts USING deals WHERE id = 4714; COMMIT",
        "BEGIN; DELETE FROM contacts WHERE id = 4714 OR id = 4715; COMMIT",
        "BEGIN; DELETE FROM contacts WHERE id = 4714 AND id = 4714; COMMIT",
        "BEGIN; DELETE FROM contacts WHERE code = 'x'; COMMIT",
    ] {
        let frames = client.query(text);
        assert_eq!(told(&frames).expect(text).sqlstate, "42501", "{text}");
        client.query("ROLLBACK");
    }
}

#[test]
fn locks_of_rows_elsewhere_do_not_tell_what_a_write_has_met() {
    let (_server, pgveil) = begin(BOTH);
    let mut client = login(&pgveil, "u3");
    let texts = [
        "DELETE FROM contacts WHERE (SELECT n.n FROM numbers n WHERE n.n = contacts.id FOR UPDATE) < 0",
        "SELECT id FROM contacts WHERE (SELECT n.n FROM numbers n WHERE n.n = id FOR UPDATE) < 0",
        "SELECT id FROM contacts c WHERE (SELECT n.n FROM numbers n WHERE n.n = c.id FOR UPDATE) < 0",
    ];
    denied(&mut client, &texts);
    // A queue that looks at nothing of them.
    let frames = client.query(
        "SELECT id FROM contacts WHERE id IN (SELECT n FROM numbers WHERE n > 7 LIMIT 3 FOR UPDATE SKIP LOCKED)",
    );
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
}

/// Those that do not come back are there.
#[test]
fn keys_that_are_tried_count_whether_they_were_there_or_not() {
    let (_server, pgveil) = begin(BOTH);
    let mut client = login(&pgveil, "u3");
    let candidates = |from: u32, to: u32| {
        let values: Vec<String> = (from..=to).map(|id| format!("({id}, 'x{id}')")).collect();
        let values = values.join(", ");
        format!(
            "INSERT INTO contacts(id, code) VALUES {values} ON CONFLICT DO NOTHING RETURNING id"
        )
    };
    let frames = client.query(&candidates(4900, 5090));
    assert_eq!(told(&frames).expect("stopped").sqlstate, "42501");
    // As many as the limit allows may be tried.
    let frames = client.query(&candidates(4970, 5010));
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
    let frames = client.query(
        "INSERT INTO contacts(id, code) SELECT g, 'y' || g FROM generate_series(4990, 5020) g ON CONFLICT DO NOTHING RETURNING id",
    );
    assert_eq!(told(&frames).expect("stopped").sqlstate, "42501");
    let frames = client.query(
        "INSERT INTO contacts(id, code) SELECT g, 'y' || g FROM generate_series(4990, 5020) g ON CONFLICT DO NOTHING",
    );
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
}

/// What is stored has no bytes that anybody has seen.
#[test]
fn a_limit_of_bytes_alone_lets_nothing_be_stored_elsewhere() {
    let (server, pgveil) = begin("bytes: 4KiB, approvers: [legal, dpo]");
    let mut client = login(&pgveil, "u3");
    let texts = [
        "INSERT INTO sink SELECT code FROM contacts",
        "CREATE TEMP TABLE mine AS SELECT code FROM contacts",
        "INSERT INTO sink SELECT string_agg(code, ',') FROM contacts",
    ];
    denied(&mut client, &texts);
    assert!(server.sql("postgres", "SELECT v FROM sink").is_empty());
    for text in [
        "INSERT INTO sink VALUES ('x')",
        "UPDATE contacts SET note = 'x' WHERE id = 1",
    ] {
        let frames = client.query(text);
        assert!(told(&frames).is_none(), "{text}: {:?}", told(&frames));
    }
}

/// What a form or an import brings is no export, and its errors are those of the server.
#[test]
fn what_an_insert_brings_costs_nothing() {
    let (_server, pgveil) = begin("rows: 10, per_hour: 10, approvers: [legal, dpo]");
    let mut client = login(&pgveil, "u3");
    client.query(
        "CREATE TEMP TABLE stage AS SELECT 'n' || g AS code, g AS id FROM generate_series(1, 50) g",
    );
    let frames = client
        .query("INSERT INTO contacts(id, code) SELECT 10000 + id, code FROM stage RETURNING id");
    assert!(told(&frames).is_none(), "{:?}", told(&frames));
    for _ in 0..20 {
        let frames = client.query("INSERT INTO contacts(id, code) VALUES (2, 'dup')");
        assert_eq!(told(&frames).expect("an error").sqlstate, "23505");
    }
    assert!(told(&client.query("SELECT code FROM contacts WHERE id < 6")).is_none());
}
