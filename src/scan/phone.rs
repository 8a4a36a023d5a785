//! Phone numbers, by the numbering plans of all countries (libphonenumber's data).
use phonenumber::country::Id;
use phonenumber::metadata::DATABASE;
use phonenumber::{Type, parse};

/// Countries whose national forms are tried, where a number does not say its country: those of large numbering plans.
pub const HOMES: [Id; 12] = [
    Id::CN,
    Id::US,
    Id::GB,
    Id::DE,
    Id::FR,
    Id::ES,
    Id::IT,
    Id::PL,
    Id::NL,
    Id::SE,
    Id::IN,
    Id::JP,
];

/// How a number is written, which says how sure its being one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// With `+` and the country: hardly anything else looks so.
    International,
    /// Eleven digits of a Chinese mobile phone.
    ChineseMobile,
    /// In groups, or with the prefix that begins national calls.
    Grouped,
    /// Bare digits: half of all numbers of ten digits are somebody's phone number somewhere.
    Bare,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Mobile,
    Landline,
    Either,
}

/// A value that may be a phone number: digits and what people write between them. Everything else is kept from the parser.
fn is_candidate(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let written = |byte: u8| byte.is_ascii_digit() || b" +-().".contains(&byte);
    let plus = value.rfind('+').is_none_or(|at| at == 0);
    // Dates, times, amounts and addresses are no numbers to dial.
    let decimal = value.matches('.').count() == 1 || value.matches('.').count() > 4;
    (7..=15).contains(&digits)
        && value.len() <= 24
        && value.bytes().all(written)
        && plus
        && !decimal
        && !looks_like_date(value)
        && !value.starts_with("-")
}

/// `2024-01-31`, `31.01.2024`, `20240131`
fn looks_like_date(value: &str) -> bool {
    let parts: Vec<&str> = value.split(['-', '.', ' ']).collect();
    let year = |part: &&str| part.len() == 4 && (part.starts_with("19") || part.starts_with("20"));
    match parts.as_slice() {
        [one, month, other, ..] => {
            month.len() == 2
                && month.parse().is_ok_and(|month: u8| month <= 12)
                && (year(one) || year(other))
        }
        [one] => one.len() == 8 && (one.starts_with("19") || one.starts_with("20")),
        _ => false,
    }
}

/// The number in international form, or `None` if it has none that is valid.
pub fn international(value: &str) -> Option<Line> {
    let plain = match value.strip_prefix("00") {
        Some(rest) => format!("+{rest}"),
        None => value.to_owned(),
    };
    (is_candidate(value) && plain.starts_with('+')).then(|| line(None, &plain))?
}

/// The number as people of that country write it.
pub fn national(home: Id, value: &str) -> Option<(Form, Line)> {
    if !is_candidate(value) || value.starts_with('+') {
        return None;
    }
    let line = line(Some(home), value)?;
    let bare = value.bytes().all(|byte| byte.is_ascii_digit());
    let form = match (home, bare, line) {
        (Id::CN, _, Line::Mobile) => Form::ChineseMobile,
        (_, false, _) => Form::Grouped,
        (Id::US | Id::ES | Id::PL, true, _) => Form::Bare,
        (_, true, _) if value.starts_with('0') => Form::Grouped,
        _ => Form::Bare,
    };
    Some((form, line))
}

fn line(home: Option<Id>, value: &str) -> Option<Line> {
    let number = parse(home, value).ok()?;
    if !number.is_valid() {
        return None;
    }
    Some(match number.number_type(&DATABASE) {
        Type::Mobile => Line::Mobile,
        Type::FixedLine => Line::Landline,
        Type::FixedLineOrMobile => Line::Either,
        // Service numbers are nobody's.
        _ => return None,
    })
}

/// Whether digits are spread as those of numbers that were given out to people, and do not count upwards or share most of their
/// start, as numbers of things do.
pub fn spread(values: &[&str]) -> bool {
    let tails: std::collections::HashSet<String> = values
        .iter()
        .map(|value| {
            let digits: String = value.chars().filter(char::is_ascii_digit).collect();
            digits.chars().rev().skip(4).take(4).collect()
        })
        .collect();
    tails.len() * 2 > values.len().min(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_international_form_are_found() {
        for (value, line) in [
            ("+86 13812345678", Some(Line::Mobile)),
            ("+49 30 1234567", Some(Line::Landline)),
            ("0049 151 12345678", Some(Line::Mobile)),
            ("+1 (415) 555-2671", Some(Line::Either)),
            ("+49", None),
            ("+99912345678", None),
            ("12345+678901", None),
        ] {
            assert_eq!(international(value), line, "{value}");
        }
    }

    #[test]
    fn numbers_in_national_form_belong_to_a_country() {
        let form = |home, value| national(home, value).map(|(form, _)| form);
        assert_eq!(form(Id::CN, "13812345678"), Some(Form::ChineseMobile));
        assert_eq!(form(Id::CN, "12012345678"), None);
        assert_eq!(form(Id::CN, "010-65551234"), Some(Form::Grouped));
        assert_eq!(form(Id::US, "(415) 555-2671"), Some(Form::Grouped));
        assert_eq!(form(Id::FR, "06 12 34 56 78"), Some(Form::Grouped));
        assert_eq!(form(Id::CN, "2024-01-31"), None);
        assert_eq!(form(Id::DE, "178946.15"), None);
    }

    #[test]
    fn numbers_of_things_count_upwards() {
        let phones: Vec<String> = (0..40u64)
            .map(|i| format!("138{:08}", (i * 7_919_777) % 100_000_000))
            .collect();
        let orders: Vec<String> = (0..40).map(|i| format!("138000{:05}", 17 * i)).collect();
        let refs = |list: &'static [String]| -> Vec<&'static str> {
            list.iter().map(String::as_str).collect()
        };
        assert!(spread(&refs(Box::leak(phones.into_boxed_slice()))));
        assert!(!spread(&refs(Box::leak(orders.into_boxed_slice()))));
    }
}
