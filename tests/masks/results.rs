//! What masks give, case by case.
use std::fmt::Write as _;

use pgveil::policy::mask::{ColumnType, Constant, Mask, Step, TimeUnit};

use crate::server::{catalog, column, start};

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
    let cases: Vec<Case> = vec![
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
        // What stands beside an address is none of it.
        (
            email(1),
            "text",
            "wu@b.de 13812345678",
            Some("*******************"),
        ),
        (email(1), "text", "wu@b.de，吴文博", Some("***********")),
        (
            email(1),
            "text",
            "<wu@b.de> Wu Wenbo",
            Some("******************"),
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
    each_gives(&cases);
}

/// A mask, the type it stands on, a value, and what becomes of it.
pub type Case<'a> = (Mask, &'a str, &'a str, Option<&'a str>);

pub fn each_gives(cases: &[Case]) {
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
        let column = column(&catalog, &format!("c{index}"));
        let sql = mask
            .sql("\"v\"", &ColumnType::of(column, &catalog))
            .expect("the mask fits");
        let rows = postgres.sql("postgres", &format!("SELECT {sql} FROM masks.c{index}"));
        assert_eq!(
            rows[0][0].as_deref(),
            *expected,
            "{mask:?} on {data_type} {input}\n{sql}"
        );
    }
}
