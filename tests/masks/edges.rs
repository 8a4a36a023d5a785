//! Types with the values at their edges, and masks with theirs.
use pgveil::policy::mask::{Constant, Mask, Step, TimeUnit};

/// Types with the values at their edges, as SQL expressions.
pub const EDGES: &[(&str, &[&str])] = &[
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
pub fn masks() -> Vec<Mask> {
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
