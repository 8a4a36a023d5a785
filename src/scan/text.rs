//! Personal data within longer texts.
use std::collections::{BTreeSet, HashSet};
use std::sync::OnceLock;

use super::pattern::Pattern;
use super::table::words;
use super::{name, phone};

const HEALTH: &str = include_str!("data/health_words.txt");

/// The kinds of data that stand somewhere in a text, by their titles.
pub fn within(text: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for token in tokens(text) {
        for pattern in Pattern::all().iter().filter(|pattern| pattern.embedded) {
            if pattern.matches(token) {
                found.insert(pattern.title);
            }
        }
        if is_chinese_mobile(token) {
            found.insert("phone numbers");
        }
    }
    if dialled(text) {
        found.insert("phone numbers");
    }
    found
}

/// Runs of what identifiers are made of; punctuation at their ends belongs to the sentence.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let within = |c: char| {
        c.is_ascii_alphanumeric()
            || "@._%+-:/$=,".contains(c)
            || c.is_alphabetic() && !name::is_han(c)
    };
    text.split(move |c| !within(c))
        .map(|token| token.trim_matches(['.', ',', ':', '-', '/', '=']))
        // A label before it (`Tel:13812345678`) is no part of it.
        .flat_map(|token| {
            let value = token.rsplit_once([':', '=']).map(|(_, value)| value);
            std::iter::once(token).chain(value)
        })
        .filter(|token| token.len() > 5)
}

fn is_chinese_mobile(token: &str) -> bool {
    let national = token.strip_prefix("+86").unwrap_or(token);
    national.len() == 11
        && matches!(
            phone::national(phone::HOMES[0], national),
            Some((phone::Form::ChineseMobile, _))
        )
}

/// A number in international form, blanks and hyphens within it.
fn dialled(text: &str) -> bool {
    text.match_indices('+').any(|(at, _)| {
        let rest = text.get(at..).unwrap_or_default();
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| !c.is_ascii_digit() && !" -().".contains(*c))
            .map_or(rest.len(), |(at, _)| at);
        let number = rest.get(..end).unwrap_or_default();
        // What follows the number in the sentence may be a number, too.
        let ends = number.char_indices().map(|(at, c)| at + c.len_utf8());
        let lengths: Vec<usize> = ends.filter(|end| (10..=20).contains(end)).collect();
        lengths.into_iter().rev().any(|end| {
            phone::international(number.get(..end).unwrap_or_default().trim_end()).is_some()
        })
    })
}

/// Whether a word of health data stands in the text.
pub fn speaks_of_health(text: &str) -> bool {
    static TERMS: OnceLock<(HashSet<&str>, Vec<&str>)> = OnceLock::new();
    let (latin, han) = TERMS.get_or_init(|| {
        let all = || words(HEALTH);
        let han = |term: &&str| term.chars().any(name::is_han);
        (
            all().filter(|term| !han(term)).collect(),
            all().filter(han).collect(),
        )
    });
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .any(|word| latin.contains(word))
        || han.iter().any(|term| lower.contains(term))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_data_is_found_within_sentences() {
        for (text, title) in [
            (
                "Please write to Anna (anna@mail.example).",
                "e-mail addresses",
            ),
            ("请回电13812345678,谢谢", "phone numbers"),
            ("Call +49 151 12345678 before 10", "phone numbers"),
            ("Tel:13812345678", "phone numbers"),
            (
                "his id is 11010519491231002X, he says",
                "Chinese identity card numbers",
            ),
            ("paid with 4111111111111111 today", "payment card numbers"),
            ("IBAN DE89370400440532013000.", "IBANs"),
        ] {
            assert!(within(text).contains(title), "{text}: {:?}", within(text));
        }
        for text in [
            "Order 20240131000123 was sent with tracking 4111111111111112",
            "Version 1.2.3.4 since 2024-01-31 10:00",
            "No answer, +1 for the idea",
            "价格 12345678901 元",
        ] {
            assert!(within(text).is_empty(), "{text}: {:?}", within(text));
        }
    }

    #[test]
    fn words_of_health_are_whole_words() {
        assert!(speaks_of_health("Type 2 diabetes, metformin"));
        assert!(speaks_of_health("患者有高血压病史"));
        assert!(!speaks_of_health("a strokeless engine"));
    }
}
