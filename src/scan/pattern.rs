//! Forms of values: `data/values.tsv`.
use std::sync::OnceLock;

use regex::Regex;

use super::checksum;
use super::class::Class;
use super::table::{percent, rows};

const VALUES: &str = include_str!("data/values.tsv");

/// A form that values of a class have.
pub struct Pattern {
    pub class: &'static Class,
    /// In a sentence: `Polish PESEL`.
    pub title: &'static str,
    /// How sure a column full of such values makes, from 0 to 1.
    pub specific: f64,
    /// Looked for within longer texts too.
    pub embedded: bool,
    regex: Regex,
    check: fn(&str) -> bool,
}

impl Pattern {
    pub fn all() -> &'static [Pattern] {
        static ALL: OnceLock<Vec<Pattern>> = OnceLock::new();
        ALL.get_or_init(|| rows(VALUES).filter_map(read).collect())
    }

    /// Whether the whole value, without blanks around it, has the form.
    pub fn matches(&self, value: &str) -> bool {
        self.regex.is_match(value) && (self.check)(value)
    }
}

fn read(fields: [&'static str; 7]) -> Option<Pattern> {
    let [class, title, specific, check, regex, embedded, _] = fields;
    Some(Pattern {
        class: Class::named(class)?,
        title,
        specific: percent(specific),
        embedded: embedded == "embedded",
        regex: Regex::new(regex).ok()?,
        check: checksum::named(check)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(value: &str) -> Vec<&'static str> {
        let patterns = Pattern::all().iter();
        let mut classes: Vec<&str> = patterns
            .filter(|pattern| pattern.matches(value))
            .map(|pattern| pattern.class.name)
            .collect();
        classes.dedup();
        classes
    }

    #[test]
    fn every_line_of_the_table_is_read_and_has_a_source() {
        assert_eq!(Pattern::all().len(), super::super::table::lines(VALUES));
        assert!(rows::<7>(VALUES).all(|[.., source]| source.len() >= 8));
    }

    #[test]
    fn values_have_the_form_of_their_class() {
        for (value, class) in [
            ("w.li@firma.example.de", "email"),
            ("11010519491231002X", "id_card"),
            ("4111 1111 1111 1111", "bank_card"),
            ("6212 3456 7890 1232", "bank_card"),
            ("DE89 3704 0044 0532 0130 00", "iban"),
            ("44051401359", "national_id"),
            ("AB 12 34 56 C", "national_id"),
            ("078-05-1120", "us_ssn"),
            ("京A12345", "plate"),
            ("10.20.30.40", "ip"),
            ("00:1a:2b:3c:4d:5e", "device"),
            ("52.5200, 13.4050", "geo"),
            ("12 Main Street", "address"),
            ("Goethestraße 12a", "address"),
            ("12 bis rue de la Paix", "address"),
            ("Calle Mayor 5", "address"),
            ("ul. Długa 12", "address"),
            ("北京市朝阳区建国路88号", "address"),
            (
                "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
                "secret",
            ),
            ("pbkdf2_sha256$600000$abc$def=", "secret"),
            ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "secret"),
            ("postgres://app:hunter2@db/app", "secret"),
        ] {
            assert!(
                classes(value).contains(&class),
                "{value}: {:?}",
                classes(value)
            );
        }
    }

    #[test]
    fn what_only_looks_alike_has_no_form() {
        for value in [
            "4111111111111112",
            "SKU-2024-0001",
            "2024-01-31 10:00:00",
            "550e8400-e29b-41d4-a716-446655440000",
            "Support contract 2024",
            "北京华信科技有限公司",
            "上海",
            "127.0.0.1",
            "1.2.3",
            "https://www.example.com/a",
            "Main menu 3",
        ] {
            assert!(classes(value).is_empty(), "{value}: {:?}", classes(value));
        }
    }
}
