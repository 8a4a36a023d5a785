//! What a directory says of people: groups and attributes, by the name that the application gives them.
//!
//! A directory is a query that pgveil runs over a connection of its own, as it stands in the policy. What it gave serves
//! until it is too old; then nobody knows who is in which group, and what depends on it is refused.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the policy says that groups and attributes are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryRule {
    pub database: String,
    /// One statement that gives rows: a login, `groups`, attributes.
    pub query: String,
    pub refresh: Duration,
    /// From this age on what was read is not used.
    pub max_age: Duration,
}

/// One reading of a directory.
#[derive(Debug, Clone)]
pub struct Reading {
    pub of: DirectoryRule,
    pub at: Instant,
    pub snapshot: Arc<Snapshot>,
}

/// People that a directory may have at most.
pub const MAX_PEOPLE: usize = 200_000;
/// Bytes that all their names, groups and attributes may have at most.
pub const MAX_BYTES: usize = 64 << 20;
/// The column that holds groups.
const GROUPS: &str = "groups";

/// Why a row of a directory cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    #[error("it gives no column")]
    Empty,
    #[error("it gives a login that is NULL or empty")]
    Nameless,
    #[error("it gives the same login twice")]
    Twice,
    #[error("it gives more than {MAX_PEOPLE} people")]
    TooMany,
    #[error("it gives more than {MAX_BYTES} bytes")]
    TooLong,
    #[error("its column `groups` holds something that is neither an array nor a list with commas")]
    Groups,
}

impl Snapshot {
    /// Takes a row: names of columns and values as text.
    ///
    /// # Errors
    /// It is not of the form, or there is too much.
    pub fn take<'a>(
        &mut self,
        row: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), Unusable> {
        let mut row = row.into_iter();
        let (_, login) = row.next().ok_or(Unusable::Empty)?;
        let login = login
            .filter(|login| !login.is_empty())
            .ok_or(Unusable::Nameless)?;
        let mut listed = Listed::default();
        let mut bytes = login.len();
        for (name, value) in row {
            let Some(value) = value else {
                continue;
            };
            bytes += name.len() + value.len();
            match name {
                GROUPS => listed.groups = groups(value).ok_or(Unusable::Groups)?,
                _ => {
                    listed.attributes.insert(name.into(), value.to_owned());
                }
            }
        }
        self.bytes += bytes;
        if self.bytes > MAX_BYTES {
            return Err(Unusable::TooLong);
        }
        if self.people.len() >= MAX_PEOPLE {
            return Err(Unusable::TooMany);
        }
        // Of two rows nobody knows which is meant.
        match self.people.insert(login.to_owned(), listed) {
            Some(_) => Err(Unusable::Twice),
            None => Ok(()),
        }
    }
}

/// A text array of one dimension as PostgreSQL writes it (`array_out`), or names with commas between.
fn groups(text: &str) -> Option<BTreeSet<String>> {
    let Some(inside) = text.strip_prefix('{') else {
        let names = text.split(',').map(str::trim);
        return Some(
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        );
    };
    let inside = inside.strip_suffix('}')?;
    let mut groups = BTreeSet::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let mut name = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next()? {
                    (_, '\\') => name.push(chars.next()?.1),
                    (at, '"') => break at + 1,
                    (_, c) => name.push(c),
                }
            };
            rest = quoted.get(end..)?;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            name.push_str(rest.get(..end)?);
            if name.is_empty() || name.contains(['{', '}', '"', '\\']) {
                return None;
            }
            rest = rest.get(end..)?;
            if name.eq_ignore_ascii_case("null") {
                name.clear();
            }
        }
        if !name.is_empty() {
            groups.insert(name);
        }
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').filter(|rest| !rest.is_empty())?;
        }
    }
    Some(groups)
}

/// One person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    pub groups: BTreeSet<String>,
    pub attributes: BTreeMap<Box<str>, String>,
}

/// All people, as they were read last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub people: HashMap<String, Listed>,
    /// Of all that is in it.
    bytes: usize,
}

impl Snapshot {
    pub fn is_in(&self, person: &str, group: &str) -> bool {
        self.people
            .get(person)
            .is_some_and(|listed| listed.groups.contains(group))
    }
}

/// What is known of people beyond the policy.
#[derive(Debug, Clone, Default)]
pub enum Directory {
    /// The policy names none.
    #[default]
    None,
    /// It could not be read, or not lately.
    Unknown,
    Known(Arc<Snapshot>),
}

impl Directory {
    /// What is known by the policy's rule and what was read last.
    pub fn now(rule: Option<&DirectoryRule>, reading: Option<&Reading>) -> Directory {
        match (rule, reading) {
            (None, _) => Directory::None,
            (Some(rule), Some(reading))
                if reading.of == *rule && reading.at.elapsed() < rule.max_age =>
            {
                Directory::Known(Arc::clone(&reading.snapshot))
            }
            (Some(_), _) => Directory::Unknown,
        }
    }

    /// Whether the two are one reading.
    pub fn is_same(&self, other: &Directory) -> bool {
        match (self, other) {
            (Directory::None, Directory::None) | (Directory::Unknown, Directory::Unknown) => true,
            (Directory::Known(one), Directory::Known(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_an_array_or_a_list() {
        for (text, expected) in [
            (
                "{support,\"two words\",\"a\\\"b\",NULL}",
                Some(vec!["a\"b", "support", "two words"]),
            ),
            ("{}", Some(vec![])),
            ("support, audit", Some(vec!["audit", "support"])),
            ("", Some(vec![])),
            ("{{a},{b}}", None),
            ("{a", None),
            ("{a,}", None),
            ("{\"a}", None),
        ] {
            let found = groups(text);
            let found = found
                .as_ref()
                .map(|groups| groups.iter().map(String::as_str).collect());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_directory_that_is_in_doubt_about_somebody_is_none() {
        let mut snapshot = Snapshot::default();
        let row = [
            ("login", Some("ann")),
            ("groups", Some("{a}")),
            ("region", Some("eu")),
        ];
        assert_eq!(snapshot.take(row), Ok(()));
        assert!(snapshot.is_in("ann", "a") && !snapshot.is_in("ann", "b"));
        assert_eq!(snapshot.take(row), Err(Unusable::Twice));
        for (row, why) in [
            (vec![], Unusable::Empty),
            (vec![("login", None)], Unusable::Nameless),
            (vec![("login", Some(""))], Unusable::Nameless),
            (
                vec![("login", Some("b")), ("groups", Some("{{"))],
                Unusable::Groups,
            ),
        ] {
            assert_eq!(snapshot.take(row), Err(why));
        }
    }

    #[test]
    fn what_was_read_serves_until_it_is_too_old() {
        let rule = DirectoryRule {
            database: "crm".to_owned(),
            query: "SELECT 1".to_owned(),
            refresh: Duration::from_secs(1),
            max_age: Duration::from_secs(3600),
        };
        let reading = Reading {
            of: rule.clone(),
            at: Instant::now(),
            snapshot: Arc::default(),
        };
        let other = DirectoryRule {
            query: "SELECT 2".to_owned(),
            ..rule.clone()
        };
        let short = DirectoryRule {
            max_age: Duration::ZERO,
            ..rule.clone()
        };
        let aged = Reading {
            of: short.clone(),
            ..reading.clone()
        };
        let is = |rule, reading| match Directory::now(rule, reading) {
            Directory::None => "none",
            Directory::Unknown => "unknown",
            Directory::Known(_) => "known",
        };
        assert_eq!(is(None, Some(&reading)), "none");
        assert_eq!(is(Some(&rule), None), "unknown");
        assert_eq!(is(Some(&rule), Some(&reading)), "known");
        assert_eq!(is(Some(&other), Some(&reading)), "unknown");
        assert_eq!(is(Some(&short), Some(&aged)), "unknown");
    }
}
