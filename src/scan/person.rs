//! Names of people, Chinese and Latin.
use std::collections::HashSet;
use std::sync::OnceLock;

use super::name::is_han;
use super::table::words;

const GIVEN: &str = include_str!("data/given_names.txt");
const FAMILY: &str = include_str!("data/surnames.txt");
const CHINESE: &str = include_str!("data/surnames_cn.txt");
const LEGAL_FORMS: &str = include_str!("data/legal_forms.txt");

/// Most words of a name, titles and particles included.
const MAX_WORDS: usize = 5;

/// What a value is as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Two to four Han characters, the first of which are a surname.
    Chinese,
    /// Several capitalised words, a name that is frequent among them.
    Latin,
    /// Several capitalised words, none of them known.
    Shape,
    /// One word that is a frequent name.
    Single,
    None,
}

struct Lists {
    names: HashSet<&'static str>,
    chinese: HashSet<&'static str>,
    legal_forms: HashSet<&'static str>,
    organisations: Vec<&'static str>,
}

fn lists() -> &'static Lists {
    static LISTS: OnceLock<Lists> = OnceLock::new();
    LISTS.get_or_init(|| Lists {
        // Particles of names are no names.
        names: words(GIVEN)
            .chain(words(FAMILY))
            .filter(|name| !matches!(*name, "de" | "van"))
            .collect(),
        chinese: words(CHINESE).collect(),
        legal_forms: words(LEGAL_FORMS).collect(),
        organisations: words(LEGAL_FORMS)
            .filter(|word| word.chars().all(is_han))
            .collect(),
    })
}

pub fn likeness(value: &str) -> Likeness {
    let value = value.trim();
    if !value.is_empty() && value.chars().all(|c| is_han(c) || matches!(c, '·' | '•')) {
        return chinese(value);
    }
    latin(value)
}

fn chinese(value: &str) -> Likeness {
    let lists = lists();
    let start = |count: usize| value.chars().take(count).collect::<String>();
    let compound = lists.chinese.contains(start(2).as_str());
    let simple = lists.chinese.contains(start(1).as_str());
    let organisation = lists.organisations.iter().any(|word| value.contains(word));
    let fits = match value.chars().count() {
        2 | 3 => simple || compound,
        4 => compound,
        _ => false,
    };
    match fits && !organisation {
        true => Likeness::Chinese,
        false => Likeness::None,
    }
}

fn latin(value: &str) -> Likeness {
    if value.len() > 80 {
        return Likeness::None;
    }
    let lists = lists();
    // `Miller, John` and `John Miller` alike.
    let words: Vec<&str> = value
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .collect();
    let lower = |word: &str| word.trim_end_matches('.').to_lowercase();
    let organisation = words
        .iter()
        .any(|word| lists.legal_forms.contains(lower(word).as_str()));
    if organisation || words.is_empty() || words.len() > MAX_WORDS {
        return Likeness::None;
    }
    if !words.iter().all(|word| is_part(word)) {
        return Likeness::None;
    }
    let known = words.iter().any(|word| {
        let word = lower(word);
        lists.names.contains(word.as_str())
            || word
                .split(['-', '\'', '’'])
                .any(|part| part.len() > 2 && lists.names.contains(part))
    });
    match (words.len(), known) {
        (1, true) => Likeness::Single,
        (1, false) => Likeness::None,
        (_, true) => Likeness::Latin,
        (_, false) => Likeness::Shape,
    }
}

/// A capitalised word, an initial, or a particle.
fn is_part(word: &str) -> bool {
    const PARTICLES: [&str; 14] = [
        "de", "del", "della", "di", "da", "do", "dos", "van", "von", "der", "den", "la", "le", "y",
    ];
    let mut letters = word.chars();
    let capital = letters.next().is_some_and(char::is_uppercase);
    let rest =
        letters.all(|c| c.is_alphabetic() && !is_han(c) || matches!(c, '\'' | '’' | '-' | '.'));
    PARTICLES.contains(&word) || capital && rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_words() {
        for (value, expected) in [
            ("王伟", Likeness::Chinese),
            ("欧阳文博", Likeness::Chinese),
            ("吴文博", Likeness::Chinese),
            ("手机壳", Likeness::None),
            ("北京华信科技有限公司", Likeness::None),
            ("Anna Müller", Likeness::Latin),
            ("Müller, Anna", Likeness::Latin),
            ("J. K. Rowling-Smith", Likeness::Latin),
            ("Daan van den Berg", Likeness::Latin),
            ("Aino Räsänen", Likeness::Shape),
            ("Chiara", Likeness::Single),
            ("Berlin", Likeness::None),
            ("Müller Trading GmbH", Likeness::None),
            ("Support contract", Likeness::None),
            ("USB-C Cable 2m", Likeness::None),
            ("", Likeness::None),
        ] {
            assert_eq!(likeness(value), expected, "{value}");
        }
    }
}
