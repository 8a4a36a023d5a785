//! Values that look like keys and tokens because they look like nothing else: long, without blanks, random.
use std::collections::HashMap;

/// Shorter ones are codes and references.
const MIN_CHARACTERS: usize = 20;
const MAX_CHARACTERS: usize = 512;
/// Bits per character of text over the alphabet of Base64; random text of 20 characters has above 3.8.
const MIN_ENTROPY: f64 = 3.5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Random {
    /// Upper and lower case and digits.
    Mixed,
    /// Hexadecimal digits: as likely the hash of a file.
    Hexadecimal,
}

/// What a value is if it looks random. UUIDs identify, and are no secrets.
pub fn random(value: &str) -> Option<Random> {
    if !(MIN_CHARACTERS..=MAX_CHARACTERS).contains(&value.len()) || is_uuid(value) {
        return None;
    }
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.".contains(&byte);
    if !value.bytes().all(letters) || entropy(value) < MIN_ENTROPY && !is_hexadecimal(value) {
        return None;
    }
    if is_hexadecimal(value) {
        return (entropy(value) > 3.0).then_some(Random::Hexadecimal);
    }
    let count = |of: fn(&u8) -> bool| value.bytes().filter(of).count();
    // Words with a number behind, file names and identifiers in camel case have few of one or the other.
    let mixed = [
        u8::is_ascii_uppercase,
        u8::is_ascii_lowercase,
        u8::is_ascii_digit,
    ]
    .into_iter()
    .all(|of| count(of) * 20 >= value.len());
    let separated = count(|byte| b"-_.".contains(byte)) * 6 > value.len();
    (mixed && !separated && !is_worded(value)).then_some(Random::Mixed)
}

/// Whether a third of a value is words: runs of five small letters and more, of which random text has few.
fn is_worded(value: &str) -> bool {
    const WORD: usize = 5;
    let runs = value.split(|c: char| !c.is_ascii_lowercase());
    let letters: usize = runs.map(str::len).filter(|length| *length >= WORD).sum();
    letters * 3 > value.len()
}

fn is_hexadecimal(value: &str) -> bool {
    let lower = value
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let upper = value
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    (lower || upper) && value.bytes().any(|byte| byte.is_ascii_alphabetic())
}

pub fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// Shannon's, over the characters of the value, in bits per character.
fn entropy(value: &str) -> f64 {
    let mut counts: HashMap<char, f64> = HashMap::new();
    let mut total = 0.0;
    for character in value.chars() {
        *counts.entry(character).or_default() += 1.0;
        total += 1.0;
    }
    counts
        .values()
        .map(|count| {
            let share: f64 = count / total;
            -share * share.log2()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_text_is_told_from_long_words() {
        for (value, expected) in [
            ("kX9vQ2mLr7TzB4nWc8YpHs3D", Some(Random::Mixed)),
            (
                "9f86d081884c7d659a2feaa0c55ad015",
                Some(Random::Hexadecimal),
            ),
            ("550e8400-e29b-41d4-a716-446655440000", None),
            ("ShippingNotificationTemplate2024", None),
            ("invoice-2024-000123-final.pdf", None),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", None),
            ("short1A", None),
            ("a long text that has blanks 1A", None),
        ] {
            assert_eq!(random(value), expected, "{value}");
        }
    }
}
