//! The classes of data that a scan can propose: `data/classes.tsv`.
use std::sync::OnceLock;

use super::table::rows;

const CLASSES: &str = include_str!("data/classes.tsv");

/// A kind of sensitive data.
#[derive(Debug, PartialEq, Eq)]
pub struct Class {
    /// As the policy calls it.
    pub name: &'static str,
    /// 1 to 4.
    pub level: u8,
    /// Values have a form, so that values without it speak against the class.
    pub formed: bool,
    kinds: Vec<Kind>,
    /// In a sentence: `phone numbers`.
    pub title: &'static str,
    /// Why it is sensitive.
    pub source: &'static str,
}

/// What a column can hold, as far as classes tell types apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Text,
    Integer,
    Decimal,
    Date,
    Time,
    /// `inet`, `cidr`.
    Address,
    /// `macaddr`, `macaddr8`.
    Hardware,
    Uuid,
    Bytes,
    /// `point`, `geometry`, `geography`.
    Place,
    Enum,
    /// `json`, `jsonb`: looked into path by path.
    Document,
    /// Booleans, ranges and what is not known.
    Other,
}

impl Class {
    pub fn all() -> &'static [Class] {
        static ALL: OnceLock<Vec<Class>> = OnceLock::new();
        ALL.get_or_init(|| rows(CLASSES).filter_map(read).collect())
    }

    pub fn named(name: &str) -> Option<&'static Class> {
        Self::all().iter().find(|class| class.name == name)
    }

    pub fn holds(&self, kind: Kind) -> bool {
        self.kinds.contains(&kind)
    }
}

fn read(fields: [&'static str; 6]) -> Option<Class> {
    let [name, level, form, kinds, title, source] = fields;
    Some(Class {
        name,
        level: level.parse().ok()?,
        formed: form == "form",
        kinds: kinds.split(' ').map(kind).collect::<Option<_>>()?,
        title,
        source,
    })
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "text" => Kind::Text,
        "integer" => Kind::Integer,
        "decimal" => Kind::Decimal,
        "date" => Kind::Date,
        "time" => Kind::Time,
        "address" => Kind::Address,
        "hardware" => Kind::Hardware,
        "uuid" => Kind::Uuid,
        "bytes" => Kind::Bytes,
        "place" => Kind::Place,
        "enum" => Kind::Enum,
        "document" => Kind::Document,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_class_with_a_source() {
        assert_eq!(Class::all().len(), super::super::table::lines(CLASSES));
        for class in Class::all() {
            assert!((1..=4).contains(&class.level) && class.source.len() > 8);
            assert_eq!(Class::named(class.name), Some(class), "{} once", class.name);
        }
    }
}
