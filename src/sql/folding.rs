//! Identifiers of which a server whose encoding is not UTF-8 may make others than PostgreSQL's parser does here.
//!
//! The server cuts an identifier off at 63 bytes of its own encoding (`truncate_identifier` in
//! `src/backend/parser/scansup.c`), and where a character is a byte, it makes capital letters of the locale small ones
//! (`downcase_identifier`). Here texts are UTF-8, in which a name has other bytes and only ASCII is made small. Two names
//! that are one here could be two there, or the reverse: a name that was judged would not be the one that runs.
use super::lex::{self, Kind};

/// Bytes of an identifier that are kept (`NAMEDATALEN` in `src/include/pg_config_manual.h`, less its end).
const KEPT: usize = 63;
/// Encodings of servers in which a character may have several bytes.
const WIDE: &[&str] = &[
    "EUC_CN",
    "EUC_JIS_2004",
    "EUC_JP",
    "EUC_KR",
    "EUC_TW",
    "MULE_INTERNAL",
];

/// Whether a server of that encoding makes the same names of a text.
pub fn names_are_alike(text: &str, server_encoding: &str) -> bool {
    if server_encoding == "UTF8" || (text.is_ascii() && !text.contains("&\"")) {
        return true;
    }
    // What cannot be read is refused elsewhere.
    let tokens = lex::tokens(text).unwrap_or_default();
    let folds = !WIDE.contains(&server_encoding);
    let small = |c: char| c.is_ascii() || c.to_lowercase().eq([c]);
    tokens.iter().all(|token| {
        let raw = token.text(text);
        match token.kind {
            Kind::Word if raw.is_ascii() => true,
            Kind::Word => raw.len() <= KEPT && (!folds || raw.chars().all(small)),
            Kind::Quoted => raw.is_ascii() || raw.len() <= KEPT + 2,
            // `U&"..."`: escapes are longer than what they stand for.
            Kind::Prefixed => !raw.ends_with('"') || raw.len() <= KEPT,
            _ => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_another_encoding_reads_otherwise_are_found() {
        let long = "é".repeat(32);
        for (text, encoding, alike) in [
            ("SELECT É.x FROM t é", "LATIN1", false),
            ("SELECT É.x FROM t é", "UTF8", true),
            ("SELECT É.x FROM t é", "EUC_JP", true),
            ("SELECT \"É\".x FROM t é WHERE y = 'É'", "LATIN1", true),
            ("SELECT 1 AS имя", "WIN1251", true),
            ("SELECT 1 AS Имя", "WIN1251", false),
            (&format!("SELECT 1 AS {long}"), "LATIN1", false),
            (&format!("SELECT 1 AS {long}"), "SQL_ASCII", false),
            (&format!("SELECT 1 AS \"{long}\""), "EUC_CN", false),
            (&format!("SELECT '{long}'"), "LATIN1", true),
            (&format!("SELECT 1 AS {}", "a".repeat(70)), "LATIN1", true),
            (
                &format!("SELECT 1 AS U&\"{}\"", "\\00e9".repeat(40)),
                "LATIN1",
                false,
            ),
        ] {
            assert_eq!(names_are_alike(text, encoding), alike, "{text} {encoding}");
        }
    }
}
