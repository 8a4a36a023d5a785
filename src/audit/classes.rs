//! Which classes of sensitive data a record is about: as it says itself, or as a policy's columns tell of records that
//! do not say.
use std::collections::BTreeSet;

use super::entry::Entry;
use super::glob::Glob;

/// The columns of one class, as a policy names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassColumns {
    pub class: String,
    /// A grade for reports.
    pub level: Option<u8>,
    /// Schema, table, column.
    pub columns: Vec<[Glob; 3]>,
}

/// The classes of a policy. Empty where none is at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes(Vec<ClassColumns>);

/// How the classes of a record were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The record names its columns or classes.
    Columns,
    /// By its relations alone: the statement may have left the classified columns out.
    Relations,
}

impl Classes {
    pub fn new(classes: Vec<ClassColumns>) -> Self {
        Classes(classes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, class: &str) -> bool {
        self.0.iter().any(|known| known.class == class)
    }

    /// The grade of a class.
    pub fn level(&self, class: &str) -> Option<u8> {
        self.0.iter().find(|known| known.class == class)?.level
    }

    /// The classes that a record is about.
    pub fn of(&self, entry: &Entry) -> (BTreeSet<String>, Known) {
        if !entry.classes.is_empty() {
            return (entry.classes.iter().cloned().collect(), Known::Columns);
        }
        let mut classes = BTreeSet::new();
        let mut named = entry.column_names().peekable();
        if named.peek().is_some() {
            for column in named {
                classes.extend(self.of_column(column).map(str::to_owned));
            }
            return (classes, Known::Columns);
        }
        for relation in entry.reads.iter().chain(&entry.writes) {
            classes.extend(self.of_relation(relation).map(str::to_owned));
        }
        (classes, Known::Relations)
    }

    /// The classes of `schema.table.column`.
    pub fn of_column<'c>(&'c self, column: &'c str) -> impl Iterator<Item = &'c str> {
        self.with(move |[schema, table, name]| {
            splits(column).any(|(relation, last)| {
                (last == "*" || name.matches(last))
                    && splits(relation)
                        .any(|(first, second)| schema.matches(first) && table.matches(second))
            })
        })
    }

    /// The classes of which `schema.table` may hold a column.
    pub fn of_relation<'c>(&'c self, relation: &'c str) -> impl Iterator<Item = &'c str> {
        self.with(move |[schema, table, _]| {
            splits(relation).any(|(first, second)| schema.matches(first) && table.matches(second))
        })
    }

    /// The classes that all columns of `schema.table` belong to, by `*`: whatever is done with it is about them.
    pub fn of_whole<'c>(&'c self, relation: &'c str) -> impl Iterator<Item = &'c str> {
        self.with(move |[schema, table, column]| {
            column.is_all()
                && splits(relation)
                    .any(|(first, second)| schema.matches(first) && table.matches(second))
        })
    }

    fn with<'c>(
        &'c self,
        matches: impl Fn(&'c [Glob; 3]) -> bool + 'c,
    ) -> impl Iterator<Item = &'c str> {
        self.0
            .iter()
            .filter(move |class| class.columns.iter().any(&matches))
            .map(|class| class.class.as_str())
    }
}

/// All ways to take a text apart at a dot: names may hold dots themselves.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('.').filter_map(|(at, _)| {
        let (first, rest) = text.split_at_checked(at)?;
        Some((first, rest.strip_prefix('.')?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::ColumnsEntry;

    fn classes() -> Classes {
        let columns = |names: &[[&str; 3]]| {
            names
                .iter()
                .map(|names| {
                    names.map(|name| {
                        let Ok(glob) = name.parse();
                        glob
                    })
                })
                .collect()
        };
        Classes::new(vec![
            ClassColumns {
                class: "phone".to_owned(),
                level: Some(3),
                columns: columns(&[["crm", "contacts", "phone"], ["crm", "leads", "*phone*"]]),
            },
            ClassColumns {
                class: "salary".to_owned(),
                level: Some(4),
                columns: columns(&[["hr", "*", "salary"]]),
            },
        ])
    }

    fn of(entry: &Entry) -> (Vec<String>, Known) {
        let (classes, known) = classes().of(entry);
        (classes.into_iter().collect(), known)
    }

    #[test]
    fn a_record_that_names_its_classes_is_believed() {
        let entry = Entry {
            classes: vec!["secret".to_owned()],
            masked: vec!["crm.contacts.phone".to_owned()],
            ..Entry::default()
        };
        assert_eq!(of(&entry), (vec!["secret".to_owned()], Known::Columns));
    }

    #[test]
    fn columns_tell_the_classes_of_one_that_does_not() {
        let entry = |column: &str| Entry {
            columns: ColumnsEntry {
                filtered: vec![column.to_owned()],
                ..ColumnsEntry::default()
            },
            reads: vec!["crm.contacts".to_owned()],
            ..Entry::default()
        };
        for (column, class) in [
            ("crm.contacts.phone", Some("phone")),
            ("crm.contacts.id", None),
            ("crm.leads.work_phone", Some("phone")),
            ("hr.old.staff.salary", Some("salary")),
            ("crm.contacts.*", Some("phone")),
            ("phone", None),
        ] {
            let expected = class.into_iter().map(str::to_owned).collect();
            assert_eq!(of(&entry(column)), (expected, Known::Columns), "{column}");
        }
    }

    #[test]
    fn relations_tell_what_may_have_been_read_where_columns_are_not_on_record() {
        let entry = Entry {
            reads: vec!["crm.contacts".to_owned(), "hr.staff".to_owned()],
            ..Entry::default()
        };
        let expected = vec!["phone".to_owned(), "salary".to_owned()];
        assert_eq!(of(&entry), (expected, Known::Relations));
    }
}
