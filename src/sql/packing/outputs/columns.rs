//! The columns that a query gives, and what each holds.
use super::super::{Columns, Holding};
use super::forms::either;
use crate::sql::tree::Tree;

use Holding::Own;

/// An output column of a query: its name, if known.
pub(super) type Output = (Option<String>, Holding);

/// The outputs of a query, in order; what a `*` stands for is one with a name of none.
#[derive(Debug, Clone, Default)]
pub(super) struct Outputs {
    pub columns: Vec<Output>,
    /// Where in `columns` a `*` stands.
    pub stars: Vec<usize>,
}

impl Outputs {
    pub fn all(holding: Holding) -> Self {
        Outputs {
            columns: vec![(None, holding)],
            stars: vec![0],
        }
    }

    pub fn worst(&self) -> Holding {
        let all = self.columns.iter().map(|(_, holding)| holding.clone());
        all.fold(Own, either)
    }

    /// The column of that name, and whether it is there for sure; what has no known name may have it.
    pub fn named(&self, name: &str) -> Option<(Holding, bool)> {
        let known = self
            .columns
            .iter()
            .filter(|(known, _)| known.as_deref() == Some(name));
        let found: Vec<Holding> = known.map(|(_, holding)| holding.clone()).collect();
        if !found.is_empty() {
            return Some((found.into_iter().fold(Own, either), true));
        }
        let unnamed = self.columns.iter().filter(|(known, _)| known.is_none());
        unnamed
            .map(|(_, holding)| holding.clone())
            .reduce(either)
            .map(|may_be| (may_be, false))
    }

    /// Under the column names of an alias.
    pub fn renamed(mut self, names: &[Tree]) -> Self {
        if names.is_empty() {
            return self;
        }
        if !self.stars.is_empty() {
            return Outputs::all(self.worst());
        }
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0 = name.string().map(str::to_owned);
        }
        self
    }

    pub fn into_columns(self) -> Columns {
        let (Some(first), Some(last)) = (self.stars.first(), self.stars.last()) else {
            return Columns {
                before: self
                    .columns
                    .into_iter()
                    .map(|(_, holding)| holding)
                    .collect(),
                ..Columns::default()
            };
        };
        let (first, last) = (*first, *last);
        let mut columns = Columns::default();
        let mut star = Own;
        for (at, (_, holding)) in self.columns.into_iter().enumerate() {
            match at {
                _ if at < first => columns.before.push(holding),
                _ if at > last => columns.after.push(holding),
                _ => star = either(star, holding),
            }
        }
        columns.star = Some(star);
        columns
    }
}

/// What arms of a set operation, or rows of VALUES, give together.
pub(super) fn arms(left: Outputs, right: Outputs) -> Outputs {
    let told = left.stars.is_empty()
        && right.stars.is_empty()
        && left.columns.len() == right.columns.len();
    if !told {
        return Outputs::all(either(left.worst(), right.worst()));
    }
    let columns = left.columns.into_iter().zip(right.columns);
    Outputs {
        columns: columns
            .map(|((name, one), (_, other))| (name, either(one, other)))
            .collect(),
        stars: Vec::new(),
    }
}
