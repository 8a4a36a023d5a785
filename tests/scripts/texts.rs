//! What scripts say. A script draws on a few texts of each kind alone, so that those that have to do with each other meet.

/// What changes the meaning of names and bytes by a statement of its own.
pub const SETTERS: &[&[u8]] = &[
    b"SET search_path = one, public",
    b"SET search_path = two, public",
    b"SET search_path = helpers, pg_catalog, one, public",
    b"SET LOCAL search_path = two, public",
    b"SET LOCAL search_path = helpers, pg_catalog, one, public",
    b"SET SCHEMA 'two'",
    b"RESET search_path",
    b"RESET ALL",
    b"DISCARD ALL",
    b"DISCARD TEMP",
    // No temporary table may be called as a permanent one, but as a system relation.
    b"CREATE TEMP TABLE pg_stats (tablename text, histogram_bounds text)",
    b"CREATE TEMP TABLE pg_stats (tablename text, histogram_bounds text) ON COMMIT DROP",
    b"CREATE TEMP TABLE IF NOT EXISTS pg_stats (tablename text, histogram_bounds text)",
    b"CREATE TEMP TABLE pg_stats AS SELECT 'people' AS tablename, 'mine' AS histogram_bounds",
    b"CREATE TEMP TABLE people (id int)",
    b"DROP TABLE IF EXISTS pg_temp.pg_stats",
    b"DROP TABLE IF EXISTS pg_stats",
    b"CREATE TEMP TABLE text (a int)",
    b"DROP TABLE IF EXISTS pg_temp.text",
    b"SET client_encoding = 'SJIS'",
    b"SET NAMES 'GBK'",
    b"SET client_encoding = 'LATIN1'",
    b"SET client_encoding = 'UTF8'",
    b"SET LOCAL client_encoding = 'SJIS'",
    b"RESET client_encoding",
];

/// The same as queries, which can be prepared and opened.
pub const QUERIES_THAT_SET: &[&[u8]] = &[
    b"SELECT set_config('search_path', 'helpers, pg_catalog, one, public', false)",
    b"SELECT set_config('search_path', 'two, public', false)",
    b"SELECT set_config('search_path', 'two, public', true)",
    b"SELECT set_config('search_path', 'one, public', false)",
    b"SELECT set_config('client_encoding', 'SJIS', false)",
    b"SELECT set_config('client_encoding', 'UTF8', false)",
];

/// What tells whether the names and bytes mean what they were taken for.
pub const PROBES: &[&[u8]] = &[
    b"SELECT phone FROM people ORDER BY id",
    b"SELECT phone || '' FROM people ORDER BY id",
    b"SELECT phone || '' FROM items ORDER BY id",
    b"SELECT * FROM items ORDER BY id",
    b"SELECT people FROM people ORDER BY id",
    b"SELECT id FROM items WHERE phone LIKE '138%' ORDER BY id",
    b"SELECT count(*) FROM people WHERE phone > '138m'",
    b"SELECT initcap('x')",
    b"SELECT initcap('x') FROM items",
    b"SELECT tablename, histogram_bounds::text FROM pg_stats WHERE tablename LIKE '%e%'",
    // A column of the function where `text` is a type of single values, and where it is not one of the table.
    b"UPDATE people SET mood = mood WHERE id = 1 RETURNING (SELECT hotline::varchar FROM unnest('{\"(1)\"}'::text[]) AS hotline LIMIT 1)",
];

/// Of these bytes a server that reads SJIS or GBK makes another text than one that reads UTF-8.
pub const TWO_WAYS: &[&[u8]] = &[
    b"SELECT E'\xc3\x81\x5c' , (SELECT phone || '' FROM one.people WHERE id = 1) --'",
    b"SELECT E'\xc3\x81\x5c\x5c' , (SELECT phone || '' FROM one.people WHERE id = 1) --'",
];

/// Queries that are there to be served.
pub const QUERIES: &[&[u8]] = &[
    b"SELECT 1",
    b"SELECT 'two' AS y",
    b"VALUES (1), (2), (3)",
    b"SELECT g FROM generate_series(1, 5) g",
    b"SELECT id, name FROM people ORDER BY id",
    b"SELECT label FROM items ORDER BY id",
    b"SELECT name, phone FROM one.people ORDER BY id",
    b"SELECT current_setting('search_path')",
    b"SELECT body FROM notes ORDER BY id",
    b"SELECT $1::text",
    b"SELECT name, phone FROM people WHERE id = $1",
    b"UPDATE people SET mood = 'calm' WHERE id = 1",
    b"UPDATE people SET phone = '13800000000' WHERE id = 2",
    b"INSERT INTO notes VALUES (7, 'seven')",
    // Fails when the transaction ends.
    b"INSERT INTO notes VALUES (1, 'again')",
    b"DELETE FROM notes WHERE id > 2",
    b"INSERT INTO people VALUES (9, 'nine', '13899990009', 'x', 'new') ON CONFLICT DO NOTHING",
];

/// Other statements.
pub const OTHERS: &[&[u8]] = &[
    b"SHOW search_path",
    b"SHOW client_encoding",
    b"SET statement_timeout = '1min'",
    b"SET application_name = 'script'",
    b"LISTEN channel",
    b"DISCARD PLANS",
    b"COPY people (id, phone) TO STDOUT",
    b"COPY (SELECT phone FROM items ORDER BY id) TO STDOUT",
    b"CREATE TEMP TABLE kept AS SELECT id, phone FROM people ORDER BY id",
    b"SELECT * FROM kept",
    b"INSERT INTO people (id, name) VALUES (10, 'ten')",
];

/// What fails, at one stage or another.
pub const FAILING: &[&[u8]] = &[
    b"SELECT 1/0",
    b"SELECT 10/(3 - g) FROM generate_series(1, 5) g",
    b"SELEC 1",
    b"SELECT nope FROM people",
    b"SELECT * FROM nowhere",
    b"EXECUTE nowhere",
    b"CLOSE nowhere",
    b"SELECT 'x'::int",
    b"SET client_encoding = 'nonsense'",
    b"SET search_path = ",
];

pub const TRANSACTIONS: &[&[u8]] = &[
    b"BEGIN",
    b"BEGIN",
    b"COMMIT",
    b"ROLLBACK",
    b"SAVEPOINT a",
    b"ROLLBACK TO a",
    b"RELEASE a",
    b"SAVEPOINT b",
    b"ROLLBACK TO b",
];

pub const PREPARED: &[&str] = &["", "s", "t", "t"];
pub const PORTALS: &[&str] = &["", "p", "p", "c"];

/// Those that SQL can name.
pub const NAMES: &[&str] = &["s", "t", "t"];
pub const CURSORS: &[&str] = &["c", "c", "p"];
