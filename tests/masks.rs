//! Masks on a real server: what they give, and that they are total: no value of a type makes one raise, NULL stays NULL,
//! type and typmod stay, and no setting of the session changes the result.
mod support;

use std::fmt::Write as _;

use pgveil::catalog::{Catalog, Column, Relation};
use pgveil::policy::mask::{ColumnType, Constant, Mask, Misfit, Step, TimeUnit};
use support::{Options, Postgres};

/// Types with the values at their edges, as SQL expressions.
const EDGES: &[(&str, &[&str])] = &[
    ("text", TEXTS),
    ("varchar(20)", TEXTS),
    ("varchar(2)", TEXTS),
    ("varchar", TEXTS),
    ("char(10)", TEXTS),
    ("bpchar", TEXTS),
    ("name", TEXTS),
    ("citext", TEXTS),
    ("text COLLATE nocase", TEXTS),
    ("phone_number", &["'13812345678'", "'+4915112345678'"]),
    ("\"char\"", &["''", "'a'", "'\\377'"]),
    (
        "smallint",
        &["0", "1", "-1", "-32768", "32767", "499", "500", "-500"],
    ),
    ("integer", &["0", "1", "-1", "-2147483648", "2147483647"]),
    (
        "bigint",
        &[
            "0",
            "1",
            "-1",
            "-9223372036854775808",
            "9223372036854775807",
            "9223372036854775499",
        ],
    ),
    ("numeric", NUMERICS),
    (
        "numeric(12,2)",
        &[
            "0",
            "48763.21",
            "-0.01",
            "9999999999.99",
            "-9999999999.99",
            "'NaN'",
        ],
    ),
    ("numeric(3,3)", &["0.999", "-0.999", "0.001"]),
    (
        "numeric(1000,0)",
        &["repeat('9', 1000)::numeric", "-repeat('9', 1000)::numeric"],
    ),
    ("price", &["0", "19.90", "99999999.99"]),
    ("real", FLOATS4),
    ("double precision", FLOATS8),
    (
        "money",
        &["'0'", "'-92233720368547758.08'", "'92233720368547758.07'"],
    ),
    ("oid", &["0", "4294967295"]),
    ("regclass", &["'pg_class'"]),
    ("boolean", &["true", "false"]),
    (
        "date",
        &[
            "'1987-06-15'",
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'4714-11-24 BC'",
            "'5874897-12-31'",
        ],
    ),
    ("timestamp", TIMES),
    ("timestamp(0)", TIMES),
    ("timestamptz", TIMES),
    ("timestamptz(3)", TIMES),
    ("time", &["'00:00'", "'24:00:00'"]),
    ("interval", &["'0'", "'178000000 years'"]),
    ("uuid", &["'ffffffff-ffff-ffff-ffff-ffffffffffff'"]),
    ("json", &["'null'", "'{\"a\":[1]}'"]),
    ("jsonb", &["'null'", "'{\"a\":[1]}'"]),
    ("bytea", &["''", "'\\xdeadbeef'"]),
    ("inet", &["'10.0.0.1/8'", "'::1'"]),
    ("cidr", &["'10.0.0.0/8'", "'::1/128'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("xml", &["'<a/>'"]),
    ("bit(3)", &["B'101'"]),
    ("int4range", &["'empty'", "'(,)'"]),
    ("point", &["'(0,0)'"]),
    ("tsvector", &["'a:1'"]),
    ("text[]", &["'{}'", "'{a,NULL}'"]),
    ("varchar(5)[]", &["'{abcdefgh}'::varchar(5)[]"]),
    ("phone_number[]", &["ARRAY['13812345678'::phone_number]"]),
    ("oidvector", &["'1 2'"]),
    ("mood", &["'sad'"]),
    ("pair", &["ROW(1, 'x')", "ROW(NULL, NULL)"]),
    ("hstore", &["'a=>1'"]),
    ("never_null", &["'x'"]),
];

const TEXTS: &[&str] = &[
    "''",
    "' '",
    "'a'",
    "'ab'",
    "'13812345678'",
    "'张伟'",
    "'张伟伟伟伟伟伟伟伟'",
    "'a@b'",
    "'@'",
    "'@b.de'",
    "'a@'",
    "'a@@b.de'",
    "'\"a@b\"@c.de'",
    "'x@13812345678'",
    "E'\\n\\t''\"\\\\'",
    "'\u{1f600}\u{1f600}\u{1f600}'",
    "left(repeat('long', 1000), 2)",
    "'%_*.?'",
];
const NUMERICS: &[&str] = &[
    "0",
    "-0.5",
    "48763.21",
    "'NaN'",
    "'1e-16383'",
    "'1e100'",
    "'1e101'",
    "repeat('9', 131072)::numeric",
    "-repeat('9', 131072)::numeric",
    "'0.1234567890123456789012345678901234567890'",
];
const FLOATS4: &[&str] = &[
    "0",
    "'-0'",
    "1.5",
    "'NaN'",
    "'infinity'",
    "'-infinity'",
    "3.4028235e38",
    "-3.4028235e38",
    "1e-45",
];
const FLOATS8: &[&str] = &[
    "0",
    "'-0'",
    "1.5",
    "'NaN'",
    "'infinity'",
    "'-infinity'",
    "'1.7976931348623157e308'",
    "'-1.7976931348623157e308'",
    "'5e-324'",
];
const TIMES: &[&str] = &[
    "'1987-06-15 13:14:15.678901'",
    "'infinity'",
    "'-infinity'",
    "'4714-11-24 12:00:00 BC'",
    "'4713-01-02 00:00:00 BC'",
    "'294276-12-31 23:59:59.4'",
    "'1582-10-10 00:00:00'",
];

/// Every mask, with options at their own edges.
fn masks() -> Vec<Mask> {
    let mut masks = vec![Mask::Null, Mask::Redact];
    for (first, last, char) in [
        (3, 4, '*'),
        (0, 0, '*'),
        (0, 4, '#'),
        (1, 0, '\''),
        (1000, 1000, '\u{1f600}'),
        (1, 1, '张'),
    ] {
        masks.push(Mask::Show { first, last, char });
    }
    masks.extend([0, 1, 1000].map(|first| Mask::Email { first }));
    for step in [
        "0.000001",
        "0.05",
        "0.5",
        "2",
        "10",
        "1000",
        "999999999999999",
    ] {
        let step = Step::parse(step).expect("a step");
        masks.extend([Mask::Round(step), Mask::Bucket(step)]);
    }
    masks.extend(TimeUnit::ALL.map(|(_, unit)| Mask::Truncate(unit)));
    for text in [
        "x",
        "it's",
        "",
        "0",
        "0.5",
        "1970-01-01",
        "1970-01-01 10:20:30",
        "7c1f4c6e-0000-4000-8000-000000000000",
        "\\",
    ] {
        masks.push(Mask::Constant(Constant::Text(text.to_owned())));
    }
    masks.extend([0, 1, -5, 40_000].map(|number| Mask::Constant(Constant::Integer(number))));
    masks.extend([
        Mask::Constant(Constant::Bool(true)),
        Mask::Constant(Constant::Decimal(0.25)),
    ]);
    masks
}

const SCHEMA: &str = "
    CREATE EXTENSION citext; CREATE EXTENSION hstore;
    CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    CREATE DOMAIN phone_number AS varchar(20) CHECK (VALUE ~ '^[+]?[0-9]+$');
    CREATE DOMAIN price AS numeric(10,2) CHECK (VALUE >= 0);
    CREATE DOMAIN never_null AS text NOT NULL CHECK (VALUE <> '***');
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TYPE pair AS (a int, b text);
    CREATE SCHEMA masks;";

/// Functions, operators and types that a session could put in front of PostgreSQL's own.
const HOSTILE: &str = "
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.length(text) RETURNS int LANGUAGE sql AS 'SELECT 1/0';
    CREATE FUNCTION evil.left(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION evil.right(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION evil.repeat(text, int) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION evil.mod(numeric, numeric) RETURNS numeric LANGUAGE sql AS 'SELECT 0::numeric';
    CREATE FUNCTION evil.date_trunc(text, timestamp) RETURNS timestamp LANGUAGE sql AS 'SELECT $2';
    CREATE FUNCTION evil.yes(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
    CREATE FUNCTION evil.glue(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION evil.minus(numeric, numeric) RETURNS numeric LANGUAGE sql AS 'SELECT $1';
    CREATE OPERATOR evil.<= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.yes);
    CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.glue);
    CREATE OPERATOR evil.- (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = evil.minus);
    CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
    CREATE DOMAIN evil.numeric AS pg_catalog.numeric CHECK (false);
    CREATE DOMAIN evil.date AS pg_catalog.date CHECK (false);";

/// Settings with which dates, numbers and names read and print otherwise.
const UNUSUAL: &str = "SET search_path = evil, pg_catalog, public; SET datestyle = 'German, DMY'; \
    SET timezone = '<+13:37>-13:37'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = -15; \
    SET bytea_output = 'escape'; SET timezone_abbreviations = 'India';";

fn start() -> Postgres {
    let postgres = Postgres::start(Options::default());
    postgres.sql("postgres", SCHEMA);
    for (number, (data_type, values)) in EDGES.iter().enumerate() {
        let mut text = format!(
            "CREATE TABLE masks.t{number} (n int, v {data_type}, \"odd \"\"name\" {data_type});"
        );
        for (row, value) in values.iter().enumerate() {
            // An explicit cast cuts what is too long for the type.
            let plain = data_type.split(" COLLATE").next().unwrap_or(data_type);
            let _ = write!(
                text,
                "INSERT INTO masks.t{number} (n, v) VALUES ({row}, ({value})::{plain});"
            );
        }
        if *data_type != "never_null" {
            let _ = write!(text, "INSERT INTO masks.t{number} VALUES (-1, NULL);");
        }
        // Rows without the second column would break the domain.
        if *data_type == "never_null" {
            text = format!(
                "CREATE TABLE masks.t{number} (n int, v never_null); INSERT INTO masks.t{number} VALUES (0, 'x');"
            );
        }
        postgres.sql("postgres", &text);
    }
    postgres.sql("postgres", HOSTILE);
    postgres
}

fn catalog(postgres: &Postgres) -> Catalog {
    let port = postgres.port();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("no runtime");
    runtime.block_on(async move {
        let (client, connection) = tokio_postgres::Config::new()
            .host("127.0.0.1")
            .port(port)
            .user("postgres")
            .dbname("postgres")
            .connect(tokio_postgres::NoTls)
            .await
            .expect("cannot connect");
        tokio::spawn(connection);
        pgveil::catalog::load(&client).await.expect("no catalog")
    })
}

fn column<'a>(catalog: &'a Catalog, table: &str) -> (&'a Relation, &'a Column) {
    let relation = catalog.relation("masks", table).expect("the table");
    (relation, relation.column("v").expect("the column"))
}

#[test]
fn every_mask_is_total_keeps_null_type_and_typmod_and_heeds_no_setting() {
    let postgres = start();
    let catalog = catalog(&postgres);
    let mut tried = 0;
    for (number, (shown, _)) in EDGES.iter().enumerate() {
        let (_, column) = column(&catalog, &format!("t{number}"));
        let data_type = ColumnType::of(column, &catalog);
        let mut text = String::new();
        for (index, mask) in masks().iter().enumerate() {
            let sql = match mask.sql("v", &data_type) {
                Ok(sql) => sql,
                Err(misfit) => {
                    assert!(
                        misfit != Misfit::Type
                            || !Mask::fitting(data_type.family).any(|name| name == mask.name()),
                        "{mask:?} on {shown} is said to fit"
                    );
                    continue;
                }
            };
            tried += 1;
            let _ = write!(
                text,
                "CREATE TABLE masks.r{number}_{index}_a AS SELECT n, {sql} AS v FROM masks.t{number};
                 {UNUSUAL} CREATE TABLE masks.r{number}_{index}_b AS SELECT n, {sql} AS v FROM masks.t{number}; RESET ALL;"
            );
        }
        postgres.try_sql("postgres", &text).unwrap_or_else(|error| {
            let message = error
                .as_db_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            panic!("a mask on {shown} raises: {message}")
        });
    }
    assert!(tried > 300, "only {tried} pairings were tried");

    let results = postgres.sql(
        "postgres",
        "SELECT c.relname::text, a.atttypid::int8::text, a.atttypmod::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'masks'::regnamespace AND a.attname = 'v' AND c.relname LIKE 'r%\\_a' ORDER BY 1",
    );
    assert_eq!(results.len(), tried);
    for row in &results {
        let [Some(name), Some(oid), Some(typmod)] = &row[..] else {
            panic!("a row of NULLs")
        };
        let number = name
            .trim_start_matches('r')
            .split('_')
            .next()
            .expect("a number");
        let (_, column) = column(&catalog, &format!("t{number}"));
        let domain = catalog
            .types
            .get(&column.type_oid)
            .and_then(|found| found.base);
        let expected = match domain {
            Some(base) => (base, -1),
            None => (column.type_oid, column.typmod),
        };
        assert_eq!(
            (oid.parse(), typmod.parse()),
            (Ok(expected.0), Ok(expected.1)),
            "{name}: {}",
            column.type_sql
        );
        let other = name.replace("_a", "_b");
        let differences = postgres.sql(
            "postgres",
            &format!(
                "SELECT a.v::text, b.v::text FROM masks.{name} a JOIN masks.{other} b USING (n) WHERE a.v::text IS DISTINCT FROM b.v::text
                 UNION ALL SELECT 'not NULL', v::text FROM masks.{name} WHERE n = -1 AND v IS NOT NULL"
            ),
        );
        assert!(
            differences.is_empty(),
            "{name} ({}): {differences:?}",
            column.type_sql
        );
    }
}

fn step(text: &str) -> Step {
    Step::parse(text).expect("a step")
}

#[test]
fn masks_give_what_they_say() {
    let show = |first, last| Mask::Show {
        first,
        last,
        char: '*',
    };
    let email = |first| Mask::Email { first };
    let year = Mask::Truncate(TimeUnit::Year);
    let constant = |text: &str| Mask::Constant(Constant::Text(text.to_owned()));
    let cases: Vec<(Mask, &str, &str, Option<&str>)> = vec![
        (show(3, 4), "text", "13812345678", Some("138****5678")),
        (
            show(3, 4),
            "varchar(20)",
            "13812345678",
            Some("138****5678"),
        ),
        (show(3, 4), "text", "12345678", Some("123*5678")),
        // A value no longer than what is kept is wholly masked.
        (show(3, 4), "text", "1234567", Some("*******")),
        (show(3, 4), "text", "123", Some("***")),
        (show(3, 4), "text", "", Some("")),
        (show(1, 0), "text", "张伟", Some("张*")),
        (show(1, 0), "text", "张", Some("*")),
        (show(0, 0), "text", "secret", Some("******")),
        (show(1, 1), "char(10)", "abc", Some("a*c       ")),
        (
            Mask::Show {
                first: 1,
                last: 0,
                char: '#',
            },
            "citext",
            "Abc",
            Some("A##"),
        ),
        (
            Mask::Show {
                first: 0,
                last: 1,
                char: '\'',
            },
            "name",
            "abc",
            Some("''c"),
        ),
        (
            email(1),
            "text",
            "zhangwei@example.com",
            Some("z***@example.com"),
        ),
        (
            email(0),
            "text",
            "zhangwei@example.com",
            Some("***@example.com"),
        ),
        (email(3), "text", "abc@example.com", Some("***@example.com")),
        (
            email(3),
            "text",
            "abcd@example.com",
            Some("abc***@example.com"),
        ),
        (
            email(1),
            "text",
            "\"a@b\"@example.com",
            Some("\"***@example.com"),
        ),
        (email(1), "text", "zhangwei", Some("********")),
        (email(1), "text", "@example.com", Some("************")),
        (email(1), "text", "zhangwei@", Some("*********")),
        (
            email(1),
            "text",
            "wechat@138 1234 5678",
            Some("********************"),
        ),
        (
            email(1),
            "varchar(12)",
            "ab@cd.example",
            Some("a***@cd.exam"),
        ),
        (email(1), "text", "", Some("")),
        (Mask::Redact, "text", "x", Some("***")),
        (Mask::Redact, "varchar(2)", "x", Some("**")),
        (Mask::Redact, "integer", "7", Some("0")),
        (Mask::Redact, "numeric(12,2)", "7", Some("0.00")),
        (Mask::Redact, "boolean", "t", Some("f")),
        (Mask::Redact, "date", "1987-06-15", Some("1970-01-01")),
        (
            Mask::Redact,
            "timestamptz",
            "1987-06-15 00:00+00",
            Some("1970-01-01 00:00:00+00"),
        ),
        (
            Mask::Redact,
            "uuid",
            "7c1f4c6e-0000-4000-8000-000000000000",
            Some("00000000-0000-0000-0000-000000000000"),
        ),
        (Mask::Redact, "jsonb", "{}", Some("\"***\"")),
        (Mask::Redact, "bytea", "\\xff", Some("\\x")),
        (Mask::Redact, "inet", "10.1.2.3", Some("0.0.0.0")),
        (Mask::Redact, "text[]", "{a,b}", Some("{}")),
        (Mask::Redact, "interval", "1 day", None),
        (Mask::Null, "text", "x", None),
        (constant("it's"), "text", "x", Some("it's")),
        (constant("back\\slash"), "text", "x", Some("back\\slash")),
        (
            Mask::Constant(Constant::Integer(7)),
            "numeric(12,2)",
            "1",
            Some("7.00"),
        ),
        (
            constant("1970-01-01"),
            "timestamp",
            "2020-02-02",
            Some("1970-01-01 00:00:00"),
        ),
        (
            Mask::Constant(Constant::Bool(true)),
            "jsonb",
            "{}",
            Some("true"),
        ),
        (
            Mask::Round(step("1000")),
            "numeric(12,2)",
            "48763.21",
            Some("49000.00"),
        ),
        (Mask::Round(step("1000")), "integer", "48499", Some("48000")),
        (Mask::Round(step("1000")), "integer", "48500", Some("49000")),
        (
            Mask::Round(step("1000")),
            "integer",
            "-48763",
            Some("-49000"),
        ),
        (
            Mask::Round(step("1000")),
            "smallint",
            "32767",
            Some("32767"),
        ),
        (
            Mask::Round(step("10")),
            "bigint",
            "9223372036854775499",
            Some("9223372036854775500"),
        ),
        (
            Mask::Round(step("0.5")),
            "double precision",
            "1.3",
            Some("1.5"),
        ),
        (Mask::Round(step("0.05")), "real", "0.12", Some("0.1")),
        (
            Mask::Round(step("100")),
            "numeric(4,0)",
            "9999",
            Some("9999"),
        ),
        (
            Mask::Bucket(step("10000")),
            "numeric(14,2)",
            "178946.15",
            Some("170000.00"),
        ),
        (
            Mask::Bucket(step("1000")),
            "numeric",
            "48763.21",
            Some("48000"),
        ),
        (Mask::Bucket(step("1000")), "integer", "-1", Some("-1000")),
        (Mask::Bucket(step("1000")), "integer", "999", Some("0")),
        (Mask::Bucket(step("1000")), "double precision", "NaN", None),
        (Mask::Bucket(step("1000")), "numeric", "NaN", None),
        (year.clone(), "date", "1968-07-21", Some("1968-01-01")),
        (year.clone(), "date", "infinity", None),
        (
            Mask::Truncate(TimeUnit::Month),
            "date",
            "1968-07-21",
            Some("1968-07-01"),
        ),
        (
            Mask::Truncate(TimeUnit::Day),
            "timestamp",
            "1968-07-21 13:14:15",
            Some("1968-07-21 00:00:00"),
        ),
        (
            Mask::Truncate(TimeUnit::Day),
            "timestamptz",
            "1968-07-21 23:14:15-05",
            Some("1968-07-22 00:00:00+00"),
        ),
        (year, "timestamptz", "294276-12-31 23:59:59+00", None),
    ];
    let postgres = start();
    let mut text = String::new();
    for (index, (_, data_type, input, _)) in cases.iter().enumerate() {
        let input = input.replace('\'', "''");
        let _ = write!(
            text,
            "CREATE TABLE masks.c{index} (v {data_type}); INSERT INTO masks.c{index} VALUES ('{input}'::{data_type});"
        );
    }
    postgres.sql("postgres", &text);
    let catalog = catalog(&postgres);
    for (index, (mask, data_type, input, expected)) in cases.iter().enumerate() {
        let (_, column) = column(&catalog, &format!("c{index}"));
        let sql = mask
            .sql("v", &ColumnType::of(column, &catalog))
            .expect("the mask fits");
        let rows = postgres.sql("postgres", &format!("SELECT {sql} FROM masks.c{index}"));
        assert_eq!(
            rows[0][0].as_deref(),
            *expected,
            "{mask:?} on {data_type} {input}\n{sql}"
        );
    }
}

#[test]
fn very_long_values_are_masked_without_running_out_of_room() {
    let postgres = start();
    postgres.sql(
        "postgres",
        "CREATE TABLE masks.long (v text); INSERT INTO masks.long VALUES (repeat('x', 300000000) || '@example.com')",
    );
    let catalog = catalog(&postgres);
    let (_, column) = column(&catalog, "long");
    let data_type = ColumnType::of(column, &catalog);
    for mask in [
        Mask::Show {
            first: 3,
            last: 4,
            char: '\u{1f600}',
        },
        Mask::Email { first: 1 },
        Mask::Redact,
    ] {
        let sql = mask.sql("v", &data_type).expect("the mask fits");
        let rows = postgres.sql("postgres", &format!("SELECT length({sql}) FROM masks.long"));
        let length: u32 = rows[0][0]
            .as_deref()
            .and_then(|text| text.parse().ok())
            .expect("a length");
        assert!(length <= 1_000_007, "{mask:?}: {length}");
    }
}

#[test]
fn a_column_keeps_its_own_collation() {
    let postgres = start();
    postgres.sql(
        "postgres",
        "CREATE TABLE masks.nocase (v text COLLATE nocase)",
    );
    let catalog = catalog(&postgres);
    let (_, column) = column(&catalog, "nocase");
    let data_type = ColumnType::of(column, &catalog);
    for mask in [
        Mask::Show {
            first: 3,
            last: 4,
            char: '*',
        },
        Mask::Email { first: 1 },
    ] {
        let sql = mask.sql("v", &data_type).expect("the mask fits");
        let text = format!(
            "SELECT pg_collation_for(s.v) FROM (SELECT {sql} AS v FROM masks.nocase RIGHT JOIN (SELECT 1) one ON true) s"
        );
        let rows = postgres.sql("postgres", &text);
        assert_eq!(rows[0][0].as_deref(), Some("nocase"), "{mask:?}");
    }
}
