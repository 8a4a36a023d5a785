//! Users' code that the server calls unasked: casts, checks of domains, functions and operators that shadow others.
use crate::support::message::{self, Client};
use crate::{agent, error, rows, start};

/// Functions, types and casts that read the protected table, as an owner may have made them.
const CODE: &str = "
CREATE FUNCTION crm.peek(int) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts WHERE id = $1';
CREATE FUNCTION crm.known(text) RETURNS bool LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT EXISTS (SELECT FROM crm.contacts WHERE phone = $1)';
CREATE DOMAIN crm.known_phone AS text CHECK (crm.known(VALUE));
CREATE DOMAIN crm.short AS text CHECK (length(VALUE) < 5);
CREATE TYPE crm.call AS (number crm.known_phone, at date);
CREATE TYPE crm.ref AS (id int);
CREATE FUNCTION crm.ref_phone(crm.ref) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts WHERE id = ($1).id';
CREATE CAST (crm.ref AS text) WITH FUNCTION crm.ref_phone(crm.ref) AS IMPLICIT;
CREATE TABLE crm.calls (id int, who crm.ref);
INSERT INTO crm.calls VALUES (1, ROW(1));
CREATE VIEW crm.call_lengths AS SELECT id, left(who, 20) AS who FROM crm.calls;
CREATE TABLE crm.call_lists (id int, whos crm.ref[]);
CREATE TYPE crm.tag AS ENUM ('1', '2');
CREATE FUNCTION crm.tag_number(crm.tag) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE CAST (crm.tag AS int) WITH FUNCTION crm.tag_number(crm.tag);
GRANT ALL ON ALL TABLES IN SCHEMA crm TO agent;
GRANT USAGE ON SCHEMA crm TO agent;
";

fn outcome(client: &mut Client, sql: &str) -> String {
    let frames = client.query(sql);
    error(&frames).unwrap_or_else(|| rows(&frames).join(";"))
}

#[test]
fn a_users_cast_takes_no_part_unless_the_policy_allows_its_function() {
    let (server, pgveil) = start(CODE);
    let mut direct = agent(server.port());
    // The casts do leak where nobody stops them.
    let raw = outcome(&mut direct, "SELECT length(who) FROM crm.calls");
    assert_eq!(raw, "11");
    let mut client = agent(pgveil.port());
    for sql in [
        "SELECT who::text FROM crm.calls",
        "SELECT length(who) FROM crm.calls",
        "SELECT upper(whos[1]) FROM crm.call_lists",
        "SELECT to_json(c) FROM crm.calls c",
        "SELECT (ROW(1)::crm.ref)::text",
        "SELECT length(ROW(1)::crm.ref)",
        "SELECT upper(('{\"(1)\"}'::crm.ref[])[1])",
        "SELECT length(NULL::crm.calls::text)",
        "PREPARE p(crm.ref) AS SELECT length($1)",
        "SELECT x.a || '' FROM json_to_record('{}') AS x(a crm.ref)",
        "SELECT '1'::crm.tag::int",
    ] {
        let said = outcome(&mut client, sql);
        assert!(
            said.starts_with("42501 pgveil: function crm."),
            "{sql}: {said}"
        );
    }
    // A view hides the cast, and what its column holds.
    let raw = outcome(&mut direct, "SELECT who FROM crm.call_lengths");
    assert!(raw.starts_with("138"), "{raw}");
    let shown = outcome(&mut client, "SELECT who FROM crm.call_lengths");
    assert!(!shown.contains(&raw), "{shown}");
    // A parameter's type is the client's to name, too.
    let oid: u32 = server.sql("crm", "SELECT 'crm.ref'::regtype::oid")[0][0]
        .as_deref()
        .and_then(|oid| oid.parse().ok())
        .expect("an OID");
    client.send_all(&[
        message::parse("", "SELECT length($1)", &[oid]),
        message::bind("", "", &[Some("(1)")], 0),
        message::execute("", 0),
        message::sync(),
    ]);
    let frames = client.read_until_ready();
    assert!(
        error(&frames).is_some_and(|error| error.starts_with("42501")),
        "{frames:?}"
    );
    // What has nothing to do with such types runs.
    for (sql, expected) in [
        ("SELECT 1::text || 'a'", "1a"),
        (
            "SELECT count(*) FROM crm.orders WHERE id::text LIKE '1%'",
            "111",
        ),
        ("SELECT 'x'::crm.short", "x"),
        ("SELECT 'glad'::crm.mood::text", "glad"),
        ("SELECT crm.span(1, 2) <@ '[0,3]'::crm.span", "t"),
        ("SELECT crm.twice(4)", "8"),
    ] {
        assert_eq!(outcome(&mut client, sql), expected, "{sql}");
    }
}

#[test]
fn a_domain_whose_check_calls_a_users_function_is_no_oracle() {
    let (server, pgveil) = start(CODE);
    let known = server.sql("crm", "SELECT phone FROM crm.contacts WHERE id = 1")[0][0]
        .clone()
        .expect("a phone");
    let mut client = agent(pgveil.port());
    for sql in [
        format!("SELECT '{known}'::crm.known_phone"),
        format!("SELECT '{{{known}}}'::crm.known_phone[]"),
        format!("SELECT crm.known_phone('{known}')"),
        format!("SELECT '({known},)'::crm.call"),
        format!(
            "SELECT * FROM json_populate_record(NULL::crm.call, '{{\"number\": \"{known}\"}}')"
        ),
        format!("SELECT domain_in('{known}', 'crm.known_phone'::regtype, -1)"),
        format!("SELECT array_in('{{{known}}}', 'crm.known_phone'::regtype, -1)"),
        format!("SELECT pg_input_is_valid('{known}', 'crm.known_phone')"),
    ] {
        let said = outcome(&mut client, &sql);
        assert!(
            said.starts_with("42501 pgveil: ") || said.starts_with("42883"),
            "{sql}: {said}"
        );
    }
    assert_eq!(outcome(&mut client, "SELECT '138'::crm.phone"), "138");
}

#[test]
fn a_superusers_cast_between_built_in_types_takes_no_part() {
    let (_server, pgveil) = start(
        "CREATE FUNCTION crm.peek(macaddr) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts LIMIT 1'; \
         CREATE CAST (macaddr AS text) WITH FUNCTION crm.peek(macaddr) AS IMPLICIT",
    );
    let mut client = agent(pgveil.port());
    for sql in [
        "SELECT length('08:00:2b:01:02:03'::macaddr)",
        "SELECT '08:00:2b:01:02:03'::macaddr || ''",
        "SELECT id FROM crm.orders LIMIT 1",
    ] {
        let said = outcome(&mut client, sql);
        assert!(
            said.starts_with("42501 pgveil: function crm.peek"),
            "{sql}: {said}"
        );
    }
}

/// Better matches of well-known names, in a schema that comes first.
const SHADOWS: &str = "
CREATE SCHEMA early;
GRANT USAGE ON SCHEMA early TO agent;
CREATE FUNCTION early.lower(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''shadow''';
CREATE FUNCTION early.length(integer) RETURNS int LANGUAGE sql AS 'SELECT 77';
CREATE FUNCTION early.same(varchar, varchar) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR early.= (LEFTARG = varchar, RIGHTARG = varchar, FUNCTION = early.same);
CREATE DOMAIN early.int4 AS int CHECK (VALUE < 0);
CREATE VIEW early.pg_class AS SELECT 'shadow'::text AS relname;
GRANT SELECT ON early.pg_class TO agent;
CREATE FUNCTION pg_catalog.touch_everything(int) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts WHERE id = $1';
CREATE FUNCTION pg_catalog.abs(text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts LIMIT 1';
CREATE FUNCTION pg_catalog.peek_at(int, text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER AS 'SELECT phone FROM crm.contacts LIMIT 1';
CREATE OPERATOR pg_catalog.@#@ (LEFTARG = int, RIGHTARG = text, FUNCTION = pg_catalog.peek_at);
";

#[test]
fn what_a_search_path_puts_first_changes_no_meaning() {
    let (server, pgveil) = start(SHADOWS);
    let mut direct = agent(server.port());
    direct.query("SET search_path = early, pg_catalog, crm");
    assert_eq!(outcome(&mut direct, "SELECT lower('A'::varchar)"), "shadow");
    let mut client = agent(pgveil.port());
    client.query("SET search_path = early, pg_catalog, crm");
    for sql in [
        "SELECT lower('A'::varchar)",
        "SELECT lower('A')",
        "SELECT length(5)",
        "SELECT 'a'::varchar = 'b'::varchar",
        "SELECT id FROM orders WHERE status = 'x'",
        "SELECT CASE status WHEN 'a' THEN 1 END FROM orders",
        "SELECT 1 WHERE 'a'::varchar IN ('b')",
    ] {
        let said = outcome(&mut client, sql);
        assert!(said.starts_with("42501 pgveil: "), "{sql}: {said}");
    }
    for (sql, expected) in [
        ("SELECT pg_catalog.lower('A'::varchar)", "a"),
        (
            "SELECT 'a'::varchar OPERATOR(pg_catalog.=) 'b'::varchar",
            "f",
        ),
        ("SELECT count(*) FROM pg_class", "1"),
        (
            "SELECT relname FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) 1259",
            "pg_class",
        ),
    ] {
        assert_eq!(outcome(&mut client, sql), expected, "{sql}");
    }
}

#[test]
fn what_a_superuser_adds_to_pg_catalog_is_not_postgresqls_own() {
    let (server, pgveil) = start(SHADOWS);
    let mut direct = agent(server.port());
    assert!(outcome(&mut direct, "SELECT touch_everything(1)").starts_with("138"));
    let mut client = agent(pgveil.port());
    for sql in [
        "SELECT touch_everything(1)",
        "SELECT pg_catalog.touch_everything(1)",
        "SELECT abs('x')",
        "SELECT 1 @#@ 'x'",
        "SELECT 1 OPERATOR(pg_catalog.@#@) 'x'",
    ] {
        let said = outcome(&mut client, sql);
        assert!(said.starts_with("42501 pgveil: "), "{sql}: {said}");
    }
}

/// The body of a function in SQL is read when it runs, by the search path of the session, where the extension's version has it as
/// a text (those of earthdistance before PostgreSQL 16).
#[test]
fn what_a_safe_extension_calls_by_the_search_path_may_be_a_users() {
    const EXTENSIONS: &str =
        "CREATE EXTENSION cube; CREATE EXTENSION earthdistance; CREATE EXTENSION citext;";
    const OWN: &str = "CREATE SCHEMA helpers; GRANT USAGE ON SCHEMA helpers TO agent; \
        CREATE FUNCTION helpers.earth() RETURNS float8 LANGUAGE sql STABLE AS 'SELECT phone::float8 FROM crm.contacts WHERE id = 1'; \
        CREATE FUNCTION helpers.joined(text, text) RETURNS text LANGUAGE sql STABLE AS 'SELECT $1'; \
        CREATE OPERATOR helpers.|| (leftarg = text, rightarg = text, procedure = helpers.joined);";
    const CALLS: [&str; 3] = [
        "SELECT public.gc_to_sec(1e30)",
        "SELECT public.regexp_replace('a'::citext, 'b'::citext, 'c', 'g')",
        "SELECT (1e30::float8).gc_to_sec",
    ];
    let (server, pgveil) = start(&format!("{EXTENSIONS} {OWN}"));
    let read_late = |name: &str| {
        let found = server.sql(
            "crm",
            &format!("SELECT bool_or(to_jsonb(p) ->> 'prosqlbody' IS NULL) FROM pg_proc p WHERE p.oid >= 16384 AND p.proname = '{name}'"),
        );
        found[0][0].as_deref() == Some("t")
    };
    let mut client = agent(pgveil.port());
    client.query("SET search_path = helpers, pg_catalog, public");
    for (sql, name) in CALLS
        .iter()
        .zip(["gc_to_sec", "regexp_replace", "gc_to_sec"])
    {
        let said = outcome(&mut client, sql);
        let refused = said.starts_with("42501 pgveil: ");
        assert_eq!(refused, read_late(name), "{sql}: {said}");
    }
    // Where nothing of the database's own has those names.
    let (_server, pgveil) = start(EXTENSIONS);
    let mut client = agent(pgveil.port());
    for sql in CALLS {
        let said = outcome(&mut client, sql);
        assert!(!said.starts_with("42501"), "{sql}: {said}");
    }
}
