//! Columns as a policy names them: `crm.contacts.phone`, `crm.*.phone`, `crm.leads.*phone*`.
use std::fmt;

use crate::catalog::{Relation, RelationKind};

/// `schema.table.column`. Parts are compared exactly as the catalog stores names (unquoted SQL names are lowercase);
/// `*` stands for any run of characters, unless the part is in double quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ColumnPattern {
    pub schema: NamePattern,
    pub table: NamePattern,
    pub column: NamePattern,
}

/// `schema.name`, of one relation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelationName {
    pub schema: String,
    pub name: String,
}

impl RelationName {
    /// `None` if the text is not two names with a dot between, without wildcards.
    pub fn parse(text: &str) -> Option<Self> {
        match <[NamePattern; 2]>::try_from(parse_names(text)?).ok()? {
            [NamePattern::Exact(schema), NamePattern::Exact(name)] => Some(Self { schema, name }),
            _ => None,
        }
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [schema, name] =
            [&self.schema, &self.name].map(|part| NamePattern::Exact(part.clone()));
        write!(f, "{schema}.{name}")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NamePattern {
    Exact(String),
    /// The pieces between the asterisks; at least two.
    Glob(Vec<String>),
}

impl ColumnPattern {
    /// `None` if the text is not three non-empty names with dots between.
    pub fn parse(text: &str) -> Option<Self> {
        let [schema, table, column] = <[NamePattern; 3]>::try_from(parse_names(text)?).ok()?;
        Some(Self {
            schema,
            table,
            column,
        })
    }

    /// Whether relations of that name can hold columns of the pattern. A wildcard never reaches into the system's own
    /// schemas: whoever means those names them.
    pub fn matches_relation(&self, relation: &Relation) -> bool {
        let schema = match &self.schema {
            NamePattern::Glob(_) if is_system(&relation.schema) => false,
            schema => schema.matches(&relation.schema),
        };
        schema
            && self.table.matches(&relation.name)
            && !matches!(relation.kind, RelationKind::Sequence | RelationKind::Other)
    }

    pub fn is_exact(&self) -> bool {
        [&self.schema, &self.table, &self.column]
            .iter()
            .all(|part| matches!(part, NamePattern::Exact(_)))
    }
}

impl NamePattern {
    pub fn matches(&self, name: &str) -> bool {
        match self {
            NamePattern::Exact(exact) => exact == name,
            NamePattern::Glob(pieces) => glob(pieces, name),
        }
    }
}

impl fmt::Display for ColumnPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.schema, self.table, self.column)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamePattern::Exact(name) if name.contains(['.', '*', '"']) => {
                write!(f, "\"{}\"", name.replace('"', "\"\""))
            }
            NamePattern::Exact(name) => f.write_str(name),
            NamePattern::Glob(pieces) => f.write_str(&pieces.join("*")),
        }
    }
}

/// Whether a schema is PostgreSQL's own.
pub fn is_system(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// First and last piece are anchored; those between are taken leftmost first, which finds a match where there is one.
fn glob(pieces: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return false;
    };
    let Some(mut rest) = name
        .strip_prefix(first.as_str())
        .and_then(|rest| rest.strip_suffix(last.as_str()))
    else {
        return false;
    };
    for piece in middle {
        let Some((_, after)) = rest.split_once(piece.as_str()) else {
            return false;
        };
        rest = after;
    }
    true
}

fn parse_names(text: &str) -> Option<Vec<NamePattern>> {
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => plain_name(rest)?,
        };
        names.push(name);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(names),
            None => return None,
        }
    }
}

fn plain_name(text: &str) -> Option<(NamePattern, &str)> {
    let (name, after) = text.split_at_checked(text.find('.').unwrap_or(text.len()))?;
    if name.is_empty() || name.contains(|c: char| c == '"' || c.is_whitespace() || c.is_control()) {
        return None;
    }
    let pattern = match name.contains('*') {
        true => NamePattern::Glob(name.split('*').map(str::to_owned).collect()),
        false => NamePattern::Exact(name.to_owned()),
    };
    Some((pattern, after))
}

/// The name up to its closing quote; a doubled quote is one quote.
fn quoted_name(text: &str) -> Option<(NamePattern, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_once('"')?;
        name.push_str(piece);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                rest = next;
            }
            None if name.is_empty() || name.contains('\0') => return None,
            None => return Some((NamePattern::Exact(name), after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_three_names() {
        for text in [
            "phone",
            "contacts.phone",
            "db.crm.contacts.phone",
            "crm..phone",
            "crm.contacts.",
            ".a.b",
            "a.b.\"c",
            "a.b.c d",
            "",
        ] {
            assert_eq!(ColumnPattern::parse(text), None, "{text}");
        }
        let pattern = ColumnPattern::parse("crm.\"my.table\"\"s\".*phone*").unwrap();
        assert_eq!(pattern.table, NamePattern::Exact("my.table\"s".into()));
        assert_eq!(pattern.to_string(), "crm.\"my.table\"\"s\".*phone*");
    }

    #[test]
    fn wildcards_match_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("*phone*", "phone", true),
            ("*phone*", "work_phone_2", true),
            ("*phone*", "phon", false),
            ("phone*", "work_phone", false),
            ("*phone", "work_phone", true),
            ("*", "anything", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "axbxc", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("a*b*b", "ab", false),
            ("电*", "电话", true),
        ] {
            let pattern = ColumnPattern::parse(&format!("s.t.{pattern}")).unwrap();
            assert_eq!(pattern.column.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn an_asterisk_in_double_quotes_is_itself() {
        let pattern = ColumnPattern::parse("s.t.\"*\"").unwrap();
        assert!(pattern.column.matches("*") && !pattern.column.matches("phone"));
    }
}
