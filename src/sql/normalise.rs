//! The form of a statement that goes on record: literals removed, white space folded.
use sha2::{Digest, Sha256};

use super::lex::{Gap, Kind, Token};

/// Longest normalised text on record, in bytes; the fingerprint is of the whole.
const MAX_RECORDED: usize = 8 * 1024;

/// The text with each literal replaced by `$n`, numbered behind the statement's own parameters. Values that need no
/// quotes (`SET x TO secret`) are removed too.
pub fn normalised(text: &str, tokens: &[Token]) -> String {
    let mut next = 1 + tokens
        .iter()
        .filter(|token| token.kind == Kind::Param)
        .filter_map(|token| token.text(text).get(1..)?.parse::<u32>().ok())
        .max()
        .unwrap_or(0);
    let mut out = String::with_capacity(text.len());
    let mut value_follows = false;
    let sets = tokens
        .first()
        .is_some_and(|token| token.is_word(text, "set"));
    for (index, token) in tokens.iter().enumerate() {
        if index > 0 && token.gap != Gap::None {
            out.push(' ');
        }
        let raw = token.text(text);
        let literal = match token.kind {
            Kind::String | Kind::Dollar | Kind::Number => true,
            // U&"name" is an identifier.
            Kind::Prefixed => raw.ends_with('\''),
            Kind::Word | Kind::Quoted => value_follows,
            Kind::Param | Kind::Operator | Kind::Punct => false,
        };
        if literal {
            out.push_str(&format!("${next}"));
            next += 1;
        } else {
            out.push_str(raw);
        }
        value_follows =
            value_follows || (sets && (token.is(text, "=") || token.is_word(text, "to")));
    }
    out
}

/// The literals of a text in order: what [`normalised`] leaves out, and the values of settings besides.
pub fn literals<'a>(text: &'a str, tokens: &[Token]) -> Vec<&'a str> {
    let sets = tokens
        .first()
        .is_some_and(|token| token.is_word(text, "set"));
    let is_literal = |token: &&Token| match token.kind {
        Kind::String | Kind::Dollar | Kind::Number | Kind::Prefixed => true,
        Kind::Word | Kind::Quoted => sets,
        Kind::Param | Kind::Operator | Kind::Punct => false,
    };
    tokens
        .iter()
        .filter(is_literal)
        .map(|token| token.text(text))
        .collect()
}

/// The normalised text as it is recorded, cut at a character boundary, and the fingerprint of the whole: 16 hexadecimal
/// digits of its SHA-256.
pub fn recorded(mut normalised: String) -> (String, String) {
    let digest = Sha256::digest(normalised.as_bytes());
    let fingerprint = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if normalised.len() > MAX_RECORDED {
        let mut end = MAX_RECORDED;
        while !normalised.is_char_boundary(end) {
            end -= 1;
        }
        normalised.truncate(end);
        normalised.push('…');
    }
    (normalised, fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::lex::tokens;

    #[test]
    fn no_literal_survives() {
        for (text, expected) in [
            ("SELECT 'x', 1  -- c\n FROM t", "SELECT $1, $2 FROM t"),
            (
                "SELECT * FROM t WHERE a=$2 AND b = E'\\'' ",
                "SELECT * FROM t WHERE a=$2 AND b = $3",
            ),
            ("SET app.user TO bob", "SET app.user TO $1"),
            ("SET x = a, 'b'", "SET x = $1, $2"),
            ("SELECT U&\"n\", $$s$$", "SELECT U&\"n\", $1"),
        ] {
            assert_eq!(normalised(text, &tokens(text).unwrap()), expected);
        }
    }
}
