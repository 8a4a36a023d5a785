//! Masks for kinds of data that many people keep, by name (`cn_phone`). What each keeps is data: `presets.tsv`.
//!
//! A value that does not look like its kind (too short, too long) is wholly masked: what is known of phone numbers says
//! nothing about it.
use std::sync::OnceLock;

use super::column_type::ColumnType;
use super::sql::{call, operator, quote_literal, typed, unless_null};
use super::text;

const PRESETS: &str = include_str!("presets.tsv");

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Preset {
    pub name: &'static str,
    rule: Rule,
    /// Where the form of the data is laid down, and what is kept comes from.
    pub source: &'static str,
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// By length: from, to, characters kept at the start, at the end.
    Show(Vec<[u16; 4]>),
    /// Characters kept of the local part.
    Email(u16),
    /// The surname is kept: two characters for those listed, else one.
    Surname(Vec<&'static str>),
    /// What the regular expression finds at the start is kept.
    Start(&'static str),
}

impl Preset {
    /// All of the table.
    pub fn all() -> &'static [Preset] {
        static ALL: OnceLock<Vec<Preset>> = OnceLock::new();
        ALL.get_or_init(|| PRESETS.lines().filter_map(read).collect())
    }

    pub fn named(name: &str) -> Option<&'static Preset> {
        Self::all().iter().find(|preset| preset.name == name)
    }

    /// See [`super::Mask::Preset`].
    pub(super) fn sql(&self, column: &str, data_type: &ColumnType) -> String {
        let hidden = || text::show(column, data_type, 0, 0, '*');
        let value = format!("{column}::pg_catalog.text");
        let length = call("length", &[&value]);
        match &self.rule {
            Rule::Email(first) => text::email(column, data_type, *first),
            Rule::Show(cases) => {
                let cases: String = cases
                    .iter()
                    .map(|[from, to, first, last]| {
                        format!(
                            " WHEN {} AND {} THEN {}",
                            operator(&length, ">=", &from.to_string()),
                            operator(&length, "<=", &to.to_string()),
                            text::show(column, data_type, *first, *last, '*')
                        )
                    })
                    .collect();
                format!("(CASE{cases} ELSE {} END)", hidden())
            }
            Rule::Surname(listed) => {
                let listed: Vec<String> = listed.iter().map(|name| quote_literal(name)).collect();
                let compound = format!(
                    "{} OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.text[])",
                    call("left", &[&value, "2"]),
                    listed.join(", ")
                );
                format!(
                    "(CASE WHEN {compound} AND {} THEN {} ELSE {} END)",
                    operator(&length, ">", "2"),
                    text::show(column, data_type, 2, 0, '*'),
                    text::show(column, data_type, 1, 0, '*')
                )
            }
            Rule::Start(pattern) => {
                let start = call(
                    "substring",
                    &[
                        &format!("{value} COLLATE pg_catalog.\"C\""),
                        &typed(pattern, "text"),
                    ],
                );
                let kept = format!("COALESCE({}, 0)", call("length", &[&start]));
                let shown = operator(
                    &call("left", &[&value, &kept]),
                    "||",
                    &text::stars(&operator(&length, "-", &kept), '*'),
                );
                unless_null(column, &shown, &data_type.sql)
            }
        }
    }
}

/// A line `name`, tab, rule, tab, source. Lines that begin with `#` are comments. A line that cannot be read is left
/// out; a test sees to it that there is none.
fn read(line: &'static str) -> Option<Preset> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split('\t');
    let (name, rule, source) = (fields.next()?, fields.next()?, fields.next()?);
    let (kind, rest) = rule.split_once(' ')?;
    let rule = match kind {
        "show" => Rule::Show(rest.split(' ').map(show_case).collect::<Option<_>>()?),
        "email" => Rule::Email(rest.parse().ok()?),
        "surname" => Rule::Surname(rest.split(' ').collect()),
        "start" => Rule::Start(rest),
        _ => return None,
    };
    Some(Preset { name, rule, source })
}

/// `11-20:3,4`
fn show_case(text: &str) -> Option<[u16; 4]> {
    let (lengths, kept) = text.split_once(':')?;
    let (from, to) = lengths.split_once('-')?;
    let (first, last) = kept.split_once(',')?;
    let case = [from, to, first, last].map(|number| number.parse().ok());
    let [Some(from), Some(to), Some(first), Some(last)] = case else {
        return None;
    };
    (from > first + last && to >= from).then_some([from, to, first, last])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_preset_with_a_source() {
        let lines = PRESETS.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), Preset::all().len());
        for preset in Preset::all() {
            assert!(preset.source.len() > 10, "{}", preset.name);
            assert_eq!(
                Preset::named(preset.name),
                Some(preset),
                "{} is there once",
                preset.name
            );
        }
    }
}
