//! The words for a SQLSTATE whose own message cannot be kept.

/// What any function may raise.
pub(super) const RAISED: &str = "an error was raised by a function of the database";

/// PostgreSQL's condition names (Appendix A) in words.
const CONDITIONS: &[(&str, &str)] = &[
    ("21000", "cardinality violation"),
    ("22001", "value too long"),
    ("22003", "numeric value out of range"),
    ("22004", "null value not allowed"),
    ("22007", "invalid date or time format"),
    ("22008", "date or time field overflow"),
    ("22009", "invalid time zone displacement value"),
    ("2200B", "escape character conflict"),
    ("2200C", "invalid use of escape character"),
    ("2200G", "most specific type mismatch"),
    ("2200M", "invalid XML document"),
    ("2200N", "invalid XML content"),
    ("22011", "substring error"),
    ("22012", "division by zero"),
    (
        "22013",
        "invalid preceding or following size in window function",
    ),
    ("22019", "invalid escape character"),
    ("2201B", "invalid regular expression"),
    ("2201E", "invalid argument for logarithm"),
    ("2201F", "invalid argument for power function"),
    ("2201W", "invalid row count in LIMIT clause"),
    ("2201X", "invalid row count in OFFSET clause"),
    ("22021", "character not in repertoire"),
    ("22022", "indicator overflow"),
    ("22023", "invalid parameter value"),
    ("22024", "unterminated C string"),
    ("22025", "invalid escape sequence"),
    ("22026", "string data length mismatch"),
    ("22027", "trim error"),
    ("2202E", "array subscript error"),
    ("22030", "duplicate JSON object key value"),
    ("22032", "invalid JSON text"),
    ("22033", "invalid SQL/JSON subscript"),
    ("22P01", "floating point exception"),
    ("22P02", "invalid text representation"),
    ("22P03", "invalid binary representation"),
    ("22P04", "bad COPY file format"),
    ("22P05", "untranslatable character"),
    ("23000", "integrity constraint violation"),
    ("23001", "restrict violation"),
    ("42601", "syntax error"),
    ("44000", "new row violates check option of a view"),
    ("54000", "program limit exceeded"),
    ("54001", "stack depth limit exceeded"),
    ("58000", "system error"),
    ("58030", "input or output error"),
    ("F0000", "configuration file error"),
    ("P0001", RAISED),
    ("P0002", "query returned no rows"),
    ("P0003", "query returned more than one row"),
    ("P0004", "assertion failed"),
    ("XX000", "internal error"),
    ("XX001", "data corrupted"),
    ("XX002", "index corrupted"),
];

/// The condition's name in words, or the SQLSTATE itself.
pub(super) fn condition(sqlstate: &str) -> String {
    CONDITIONS
        .iter()
        .find(|(code, _)| *code == sqlstate)
        .map_or_else(
            || format!("the statement failed with SQLSTATE {sqlstate}"),
            |(_, text)| (*text).to_owned(),
        )
}
