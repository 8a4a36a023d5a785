//! What a value is made of.
use std::collections::BTreeSet;

use crate::catalog::{AttNum, ColumnSource, Oid};

/// The columns that something reads, directly or on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    pub columns: BTreeSet<(Oid, AttNum)>,
    /// Something in it was not understood, or can read anything.
    pub unknown: bool,
}

impl Reads {
    pub fn unknown() -> Reads {
        Reads {
            columns: BTreeSet::new(),
            unknown: true,
        }
    }

    pub fn add(&mut self, other: &Reads) {
        self.columns.extend(&other.columns);
        self.unknown |= other.unknown;
    }

    pub fn add_source(&mut self, source: &Source) {
        match source {
            Source::Same(relation, column) => {
                self.columns.insert((*relation, *column));
            }
            Source::Computed(reads) => self.add(reads),
        }
    }
}

/// Where one column takes its value from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Same(Oid, AttNum),
    Computed(Reads),
}

impl Source {
    pub fn unknown() -> Source {
        Source::Computed(Reads::unknown())
    }

    /// A column that shows the one or the other, as in a set operation.
    pub fn or(self, other: &Source) -> Source {
        if self == *other {
            return self;
        }
        let mut reads = Reads::default();
        reads.add_source(&self);
        reads.add_source(other);
        Source::Computed(reads)
    }

    pub fn into_column_source(self) -> ColumnSource {
        match self {
            Source::Same(relation, column) => ColumnSource::Same { relation, column },
            Source::Computed(reads) if reads.unknown => ColumnSource::Unknown,
            Source::Computed(reads) => ColumnSource::Computed {
                from: reads.columns.into_iter().collect(),
            },
        }
    }
}

/// A named output column.
pub type Named = (String, Source);
