//! Words and literals that versions of the grammar cut differently, and what divides words.
use super::Names;

/// What may stand between two words.
pub const GAPS: &[&str] = &[
    " /* a */ ",
    "/**/",
    "\n",
    "\t",
    " -- x\n",
    "/* /* nested */ ' */",
    " \r\n",
    "  ",
    "\u{c}",
    "/*'*/ ",
    "--'\n",
    "/*+*/",
];

/// Literals of texts.
const TEXTS: &[&str] = &[
    "'x'",
    "E'\\x41'",
    "E'a\\'b'",
    "E'\\u0070'",
    "$$a$$",
    "$q$ ' \" -- $q$",
    "U&'\\0041'",
    "U&'d!0061t' UESCAPE '!'",
    "'a'\n'b'",
    "'it''s'",
    "'\\'",
    "E'\\\\'",
    "B'1010'",
    "X'1F'",
    "N'x'",
    "date '2024-01-01'",
    "text 'x'",
    "varchar '138'",
    "int4 '1'",
    "interval '1' day",
    "interval '1 day'",
    "timestamp '2024-01-01'",
    "bool 'true'",
    "char 'x'",
    "name 'x'",
    "''",
    "' '",
    "numeric '1.5'",
    "'138****0001'",
    "json '{}'",
    "crm.pair '(a,1)'",
];

/// Numbers, and what looks like one.
const NUMBERS: &[&str] = &[
    "1",
    "0",
    "1.5",
    ".5",
    "1.",
    "1e3",
    "1.e1",
    "1e-3",
    "0x1f",
    "0x1F",
    "0b101",
    "0o17",
    "1_000",
    "1_0.0_1",
    "0_1",
    "123abc",
    "1x1f",
    "0x",
    "1e",
    "1.5e",
    "10y",
    "2147483648",
    "1..2",
    "$1",
    "$1abc",
    "$2",
    "- 1",
    "-1",
    "+1",
    "1::int",
    "00",
    "0b2",
];

/// Truth values, NULL and other words that stand for values.
const WORDS: &[&str] = &[
    "true",
    "false",
    "NULL",
    "current_user",
    "current_date",
    "session_user",
    "user",
    "current_schema",
    "current_catalog",
    "localtimestamp",
    "TRUE",
    "True",
    "current_role",
    "system_user",
];

/// Operators, some beside what could begin a comment.
pub const OPERATORS: &[&str] = &[
    "||",
    "||",
    "=",
    "<>",
    "||",
    "=/**/",
    "||/*x*/",
    "<>--\n",
    "= -",
    "OPERATOR(pg_catalog.||)",
    "OPERATOR(pg_catalog.=)",
    "IS DISTINCT FROM",
    "LIKE",
    "~",
    "!=",
    "||+",
    "+-",
    "*-",
    "<=",
    "-/**/",
    "+",
];

impl Names {
    pub fn constant(&mut self) -> String {
        match self.random.below(10) {
            0..=5 => *self.random.pick(TEXTS),
            6..=7 => *self.random.pick(NUMBERS),
            _ => *self.random.pick(WORDS),
        }
        .replace(' ', "\u{2}")
    }
}
