//! What a name says: of a column, of its table, of a key in a document, in a comment.
use std::sync::OnceLock;

use super::class::Class;
use super::table::{percent, rows};

const NAMES: &str = include_str!("data/names.tsv");
const QUALIFIERS: &str = include_str!("data/qualifiers.tsv");
const AGAINST: &str = include_str!("data/against.tsv");
const TABLES: &str = include_str!("data/tables.tsv");

/// Latin patterns of so many letters are found without a boundary before or behind them.
const JOINED: usize = 5;
/// What is left of a name's word where the words beside it turn its meaning.
const TURNED: f64 = 0.1;

/// A name as the words it is made of: lowercase, `idCardNo` and `id_card_no` alike, digits for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    words: Vec<String>,
    joined: String,
}

impl Name {
    pub fn new(text: &str) -> Self {
        let mut words: Vec<String> = Vec::new();
        let mut word = String::new();
        let letters: Vec<char> = text.chars().collect();
        for (place, letter) in letters.iter().enumerate() {
            let before = place.checked_sub(1).and_then(|at| letters.get(at));
            let after = letters.get(place + 1);
            let boundary = before.is_some_and(|before| {
                let hump = before.is_lowercase() && letter.is_uppercase();
                let acronym = before.is_uppercase()
                    && letter.is_uppercase()
                    && after.is_some_and(|after| after.is_lowercase());
                let digit = before.is_ascii_digit() != letter.is_ascii_digit();
                hump || acronym || digit || is_han(*before) != is_han(*letter)
            });
            if (boundary || !letter.is_alphanumeric()) && !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            if letter.is_alphanumeric() {
                word.extend(letter.to_lowercase());
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        let joined = words.concat();
        Self { words, joined }
    }

    /// The words outside of a range.
    fn without(&self, taken: &std::ops::Range<usize>) -> Name {
        let words: Vec<String> = self
            .words
            .iter()
            .enumerate()
            .filter(|(place, _)| !taken.contains(place))
            .map(|(_, word)| word.clone())
            .collect();
        let joined = words.concat();
        Name { words, joined }
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn has(&self, word: &str) -> bool {
        self.words
            .iter()
            .any(|own| own == word || singular(own) == word)
            || word.chars().any(is_han) && self.joined.contains(word)
    }
}

pub fn is_han(letter: char) -> bool {
    matches!(letter, '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{323af}')
}

fn singular(word: &str) -> &str {
    match word.strip_suffix("ies") {
        Some(_) => word,
        None => word.strip_suffix('s').unwrap_or(word),
    }
}

/// One class that a name speaks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    pub class: &'static Class,
    /// From 0 to 1: how sure the name alone makes.
    pub strength: f64,
    /// What was found, of the tables and not of the database.
    pub pattern: &'static str,
}

struct Rule {
    class: &'static Class,
    strength: f64,
    person: bool,
    patterns: Vec<Pattern>,
}

struct Pattern {
    written: &'static str,
    whole: bool,
    words: Vec<&'static str>,
    joined: String,
}

impl Pattern {
    fn read(written: &'static str) -> Self {
        let plain = written.strip_prefix('=').unwrap_or(written);
        Self {
            written,
            whole: plain.len() < written.len(),
            words: plain.split('_').collect(),
            joined: plain.replace('_', ""),
        }
    }

    /// The words of the name that the pattern takes, as a range.
    fn find(&self, name: &Name) -> Option<std::ops::Range<usize>> {
        let all = 0..name.words.len();
        if name.joined == self.joined {
            return Some(all);
        }
        if self.whole {
            return None;
        }
        if self.joined.chars().any(is_han) {
            return name.joined.contains(&self.joined).then_some(all);
        }
        let width = self.words.len();
        let same = |own: &[String]| {
            own.iter()
                .zip(&self.words)
                .all(|(own, word)| own == word || singular(own) == *word && own.len() > 3)
        };
        if let Some(start) = name.words.windows(width).position(same) {
            return Some(start..start + width);
        }
        // Several words written as one, also within a longer name.
        let place = name.words.iter().position(|own| {
            *own == self.joined
                || self.joined.len() >= JOINED
                    && (own.starts_with(&self.joined) || own.ends_with(&self.joined))
        })?;
        Some(place..place + 1)
    }
}

struct Qualifiers {
    first: Vec<&'static str>,
    last: Vec<&'static str>,
    any: Vec<&'static str>,
}

fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| rows(NAMES).filter_map(rule).collect())
}

fn rule([class, strength, context, patterns, _]: [&'static str; 5]) -> Option<Rule> {
    Some(Rule {
        class: Class::named(class)?,
        strength: percent(strength),
        person: context == "person",
        patterns: patterns.split(' ').map(Pattern::read).collect(),
    })
}

fn qualifiers() -> &'static Qualifiers {
    static ALL: OnceLock<Qualifiers> = OnceLock::new();
    ALL.get_or_init(|| {
        let of = |wanted: &str| {
            rows(QUALIFIERS)
                .filter(|[place, _, _]| *place == wanted)
                .flat_map(|[_, words, _]| words.split(' '))
                .collect()
        };
        Qualifiers {
            first: of("first"),
            last: of("last"),
            any: of("any"),
        }
    })
}

/// The classes that a name speaks for, the strongest first, each once. `people`: the name stands in a table of people.
pub fn hints(name: &Name, people: bool) -> Vec<Hint> {
    let mut hints: Vec<Hint> = Vec::new();
    for rule in rules().iter().filter(|rule| people || !rule.person) {
        let found = rule
            .patterns
            .iter()
            .filter_map(|pattern| Some((pattern.find(name)?, pattern)))
            // The longest match knows best what the words beside it are.
            .max_by_key(|(range, _)| range.len());
        let Some((range, pattern)) = found else {
            continue;
        };
        let mut strength = rule.strength;
        if turned(name, &range) {
            strength *= TURNED;
        }
        if against(rule.class, &name.without(&range)) {
            strength *= 0.5;
        }
        match hints.iter_mut().find(|hint| hint.class == rule.class) {
            Some(hint) if hint.strength >= strength => {}
            Some(hint) => {
                hint.strength = strength;
                hint.pattern = pattern.written.trim_start_matches('=');
            }
            None => hints.push(Hint {
                class: rule.class,
                strength,
                pattern: pattern.written.trim_start_matches('='),
            }),
        }
    }
    hints.sort_by(|one, other| other.strength.total_cmp(&one.strength));
    hints
}

/// Whether the words that a pattern did not take turn its meaning.
fn turned(name: &Name, taken: &std::ops::Range<usize>) -> bool {
    let listed = qualifiers();
    name.words.iter().enumerate().any(|(place, word)| {
        let word = word.as_str();
        let first = place == 0 && listed.first.contains(&word);
        let last = place + 1 == name.words.len() && listed.last.contains(&word);
        !taken.contains(&place) && (first || last || listed.any.contains(&word))
    })
}

/// Whether the name says that values are numbers or codes of things, which may look like those of a class.
pub fn against(class: &Class, name: &Name) -> bool {
    rows(AGAINST).any(|[classes, words, _]| {
        classes.split(' ').any(|own| own == class.name)
            && words.split(' ').any(|word| name.has(word))
    })
}

/// Whether the rows of a table of that name are people. The last word says what they are: `customer_category` is none of people.
pub fn is_of_people(table: &Name) -> bool {
    let last = Name {
        words: table.words.last().cloned().into_iter().collect(),
        joined: table.joined.clone(),
    };
    speaks_of_people(&last)
}

/// Whether one of the words of a comment or key is of people.
pub fn speaks_of_people(name: &Name) -> bool {
    rows(TABLES).any(|[words, _]| words.split(' ').any(|word| name.has(word)))
}

/// Words that say nothing without the table they stand in: `authtoken_token.key`.
const GENERAL: [&str; 4] = ["key", "value", "hash", "data"];

impl Name {
    /// The name with the last word of its table before it, where it says nothing alone.
    pub fn in_table(&self, table: &Name) -> Name {
        match (self.words.as_slice(), table.words.last()) {
            ([word], Some(last)) if GENERAL.contains(&word.as_str()) => {
                Name::new(&format!("{} {word}", singular(last)))
            }
            _ => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::lines;
    use super::*;

    fn best(name: &str, people: bool) -> Option<(&'static str, bool)> {
        let hint = hints(&Name::new(name), people).into_iter().next()?;
        Some((hint.class.name, hint.strength >= 0.6))
    }

    #[test]
    fn names_are_taken_apart_at_every_usual_boundary() {
        for (text, words) in [
            ("id_card_no", "id card no"),
            ("idCardNo", "id card no"),
            ("IDCard2", "id card 2"),
            ("Customer E-Mail", "customer e mail"),
            ("客户手机号", "客户手机号"),
            ("user手机", "user 手机"),
            ("", ""),
        ] {
            assert_eq!(Name::new(text).words.join(" "), words, "{text}");
        }
    }

    #[test]
    fn names_speak_for_classes() {
        for (name, people, class) in [
            ("mobile", false, "phone"),
            ("MobilePhone", false, "phone"),
            ("phones", false, "phone"),
            ("shouji_hao", false, "phone"),
            ("联系电话", false, "phone"),
            ("useremail", false, "email"),
            ("email_2", false, "email"),
            ("shenfenzhenghao", false, "id_card"),
            ("idCardNo", false, "id_card"),
            ("xingming", false, "person_name"),
            ("name", true, "person_name"),
            ("password_hash", false, "secret"),
            ("last_login_ip", false, "ip"),
            ("date_of_birth", false, "birth_date"),
            ("salary", false, "salary"),
            ("billing_address", false, "address"),
        ] {
            assert_eq!(best(name, people), Some((class, true)), "{name}");
        }
    }

    #[test]
    fn words_beside_a_match_turn_its_meaning() {
        for name in [
            "phone_type",
            "email_verified",
            "has_phone",
            "address_id",
            "password_changed_at",
            "email_template",
            "token_count",
            "name",
            "description",
            "session_length",
        ] {
            let found = best(name, false);
            assert!(!matches!(found, Some((_, true))), "{name}: {found:?}");
        }
    }

    #[test]
    fn every_line_of_the_tables_is_read() {
        assert_eq!(rules().len(), lines(NAMES));
        assert_eq!(rows::<3>(QUALIFIERS).count(), lines(QUALIFIERS));
        assert_eq!(rows::<2>(TABLES).count(), lines(TABLES));
        for [classes, words, source] in rows(AGAINST) {
            assert!(classes.split(' ').all(|name| Class::named(name).is_some()));
            assert!(!words.is_empty() && source.len() > 8);
        }
        assert_eq!(rows::<3>(AGAINST).count(), lines(AGAINST));
    }
}
