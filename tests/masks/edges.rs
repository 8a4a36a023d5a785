//! Types with the values at their edges, and masks with theirs.
use pgveil::policy::mask::{Constant, JsonMasks, JsonPath, Mask, Network, Step, TimeUnit};

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
    ("json", JSONS),
    (
        "json",
        &[
            r#"'"\u0000"'"#,
            r#"'{"a": "\ud800"}'"#,
            r#"'{"\u0000": 1}'"#,
            "'1e999999'",
            "'[1E-20000]'",
            "repeat('9', 140000)::json",
            r#"'{"a": "1e999999", "a": 2}'"#,
            r#"'{"a" : "quoted \" 1e999 \\" , "b": 1e99}'"#,
        ],
    ),
    ("jsonb", JSONS),
    ("json_document", JSONS),
    (
        "jsonb[]",
        &["ARRAY['{\"a\": \"x\"}', 'null', NULL]::jsonb[]"],
    ),
    ("bytea", &["''", "'\\xdeadbeef'"]),
    ("inet", ADDRESSES),
    (
        "cidr",
        &[
            "'10.0.0.0/8'",
            "'::1/128'",
            "'0.0.0.0/0'",
            "'::/0'",
            "'255.255.255.255/32'",
        ],
    ),
    ("inet[]", &["'{10.0.0.1/8,::1,NULL}'"]),
    ("macaddr", &["'08:00:2b:01:02:03'"]),
    ("xml", &["'<a/>'"]),
    ("bit(3)", &["B'101'"]),
    ("int4range", &["'empty'", "'(,)'"]),
    ("point", &["'(0,0)'"]),
    ("tsvector", &["'a:1'"]),
    (
        "text[]",
        &[
            "'{}'",
            "'{a,NULL}'",
            "'{13812345678,a@b.de,1e5}'",
            "'{{a,b},{c,d}}'",
            "'[5:6]={a,b}'",
            "'[0:0][0:0]={{a}}'",
        ],
    ),
    ("varchar(5)[]", &["'{abcdefgh}'::varchar(5)[]"]),
    ("char(5)[]", &["'{abc,NULL}'"]),
    ("name[]", &["'{abc}'"]),
    ("\"char\"[]", &["'{a}'"]),
    ("citext[]", &["'{aBc,a@b.de}'::citext[]"]),
    ("smallint[]", &["'{-32768,32767,NULL}'"]),
    ("numeric(12,2)[]", &["'{9999999999.99,NaN,NULL}'"]),
    (
        "double precision[]",
        &["'{1.7976931348623157e308,NaN,-infinity}'"],
    ),
    ("date[]", &["'{infinity,1987-06-15,4714-11-24 BC}'"]),
    (
        "timestamptz(3)[]",
        &["'{infinity,1987-06-15 13:14:15.678901+00}'"],
    ),
    ("phones", &["'{13812345678,NULL}'", "'{}'"]),
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
const JSONS: &[&str] = &[
    "'null'",
    "'true'",
    "'0'",
    "'1e100'",
    "'-12345.678e-10'",
    "'\"x\"'",
    "'\"\"'",
    "'{}'",
    "'[]'",
    "'{\"a\":[1]}'",
    "'{\"a\":{\"b\":\"13812345678\",\"c\":1},\"p\":[{\"n\":\"13812345678\"},{\"n\":138},{\"n\":null},{},[],1]}'",
    "'{\"a\":{\"b\":{\"b\":1}},\"p\":{\"n\":1}}'",
    "'{\"a\":null,\"p\":null}'",
    "'{\"a\":\"13812345678\",\"p\":\"x\"}'",
    "'[[{\"a\":\"x\"}],{\"a\":{\"b\":true}}]'",
    "'{\"\":1,\"it''s\":\"x\",\"a.b\":\"secret\"}'",
    "(repeat('[', 500) || repeat(']', 500))::json",
];
const ADDRESSES: &[&str] = &[
    "'10.0.0.1/8'",
    "'10.20.30.40'",
    "'0.0.0.0/0'",
    "'255.255.255.255'",
    "'::1'",
    "'::/0'",
    "'2001:db8:1:2:3:4:5:6/127'",
    "'::ffff:1.2.3.4'",
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

/// A mask of documents.
pub fn json(masks: &[(&str, Mask)]) -> Mask {
    let mut all = JsonMasks::default();
    for (path, mask) in masks {
        let path = JsonPath::parse(path).expect("a path");
        all.add(&path, mask.clone()).expect("a mask for it");
    }
    Mask::Json(all)
}

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
    let show = Mask::Show {
        first: 3,
        last: 4,
        char: '*',
    };
    let thousand = Step::parse("1000").expect("a step");
    let email = Mask::Email { first: 1 };
    masks.extend([
        json(&[("a", show.clone()), ("p[*]", Mask::Round(thousand))]),
        json(&[
            ("a.b", show.clone()),
            ("a.c", Mask::Bucket(thousand)),
            ("p[*].n", email),
            ("it's", Mask::Null),
            ("\"a.b\"", Mask::Redact),
        ]),
        json(&[
            ("[*][*].a", show),
            ("[*].a.b", Mask::Constant(Constant::Text("it's".to_owned()))),
            ("a[*]", Mask::Constant(Constant::Decimal(0.5))),
        ]),
    ]);
    for (ipv4, ipv6) in [(24, 48), (0, 0), (32, 127), (31, 128)] {
        masks.push(Mask::Network(Network::new(ipv4, ipv6).expect("bits")));
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
