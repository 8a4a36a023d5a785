//! How many rows of protected data one row of a result can hold: what gathers many rows into one value (`outputs`), and
//! how often rows of the same relation stand side by side (`beside`). Pure; an estimate from above for counting, no
//! security boundary.
//!
//! Both ask `levels` where a column's value comes from: for what is summed up (`sums`), and for what chooses the rows of an
//! aggregate (`choices`).
mod beside;
mod calls;
mod choices;
mod joined;
mod levels;
mod outputs;
mod sums;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::calls::gathers;
pub use self::joined::{Joined, joined};
use super::tree::{Node, Tree};

/// What a value of an output column holds, as far as the statement tells.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Holding {
    /// Values of few rows, which are counted by what stands side by side.
    #[default]
    Own,
    /// A sum or the like: a number in which others can hide only where it is long.
    Number,
    /// A number that was divided, with digits behind the point that are nobody's.
    Quotient,
    /// A sum that is stored, whose terms factors may have moved beside each other.
    Scaled,
    /// A sum of products of columns of several relations: one of them may have been filled to keep values apart.
    Product,
    /// An element of an array of rows: one row's value. What has the same key shows the same row; no key, none.
    Element(Arc<str>),
    /// An array with an element for each row.
    Array,
    /// JSON with an element of an array for each row, where `members` is set a member of an object, and in its texts one of
    /// these between every two rows.
    Document {
        members: bool,
        /// So many arrays within each other hold rows. Those within them are a row's own.
        depth: u8,
        separators: Separators,
    },
    /// Text with one of these between every two rows.
    Separated(Separators),
    /// XML with an element for each row.
    Tags,
    /// Text in which each row that it tells of has a byte at least.
    Joined,
    /// Rows in a form that nothing is known about: it may have been made to hold more than a row in a byte.
    Anything,
}

/// Texts that stand between rows, in order, each once.
pub type Separators = Arc<[Arc<str>]>;

impl Holding {
    /// A value of one row, or a figure, that nothing else hides in.
    fn is_single(&self) -> bool {
        match self {
            Holding::Own | Holding::Number | Holding::Quotient => true,
            Holding::Element(key) => !key.is_empty(),
            Holding::Document {
                members,
                depth,
                separators,
            } => !members && *depth == 0 && separators.is_empty(),
            _ => false,
        }
    }
}

/// What the columns of a result hold: those before the first `*`, those that a `*` stands for, and those behind the last
/// one. Without a `*` all are `before`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Columns {
    before: Vec<Holding>,
    star: Option<Holding>,
    after: Vec<Holding>,
}

impl Columns {
    /// What the column of that index of so many holds.
    pub fn of(&self, index: usize, columns: usize) -> &Holding {
        const ANYTHING: &Holding = &Holding::Anything;
        let named = self.before.len() + self.after.len();
        let fits = match self.star {
            Some(_) => named <= columns,
            None => named == columns,
        };
        if !fits {
            return ANYTHING;
        }
        let from_end = columns.saturating_sub(index);
        if let Some(holding) = self.before.get(index) {
            return holding;
        }
        if from_end <= self.after.len() {
            let at = self.after.len() - from_end;
            return self.after.get(at).unwrap_or(ANYTHING);
        }
        self.star.as_ref().unwrap_or(ANYTHING)
    }

    fn all(&self) -> impl Iterator<Item = &Holding> {
        self.before.iter().chain(&self.after).chain(&self.star)
    }

    fn gather(&self) -> bool {
        self.all().any(|holding| *holding != Holding::Own)
    }

    fn hold_many(&self) -> bool {
        !self.all().all(Holding::is_single)
    }

    /// What stands between rows in their texts.
    pub fn separators(&self) -> impl Iterator<Item = &str> {
        let lists = self.all().map(|holding| match holding {
            Holding::Separated(separators) | Holding::Document { separators, .. } => {
                &separators[..]
            }
            _ => &[],
        });
        lists.flatten().map(|separator| &**separator)
    }

    /// Whether a byte of a value may hold more than a row.
    pub fn are_dense(&self) -> bool {
        self.all().any(|holding| *holding == Holding::Anything)
    }
}

/// What a statement packs into its rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Packed {
    /// What the output columns hold; `None`: each row holds values of few rows.
    pub columns: Option<Arc<Columns>>,
    /// How many rows of one relation stand side by side in a row, at least 1.
    pub side_by_side: u32,
    /// What it writes into a relation holds more rows than the command tag tells.
    pub stores_many: bool,
    /// What rows that it writes are made of.
    pub joined: Joined,
    /// Lines of COPY can be cut into values.
    pub lines: bool,
}

impl Default for Packed {
    fn default() -> Self {
        Packed {
            columns: None,
            side_by_side: 1,
            stores_many: false,
            joined: Joined::NOTHING,
            lines: true,
        }
    }
}

impl Packed {
    /// A row that it writes holds more than one.
    pub fn packs(&self) -> bool {
        self.stores_many || self.joined.of_several()
    }

    /// Two output columns, of which the first one holds this.
    pub fn pair(holding: Holding) -> Self {
        Packed::of([holding, Holding::Own])
    }

    /// Output columns that hold these.
    pub fn of(columns: impl IntoIterator<Item = Holding>) -> Self {
        Packed {
            columns: Some(Arc::new(Columns {
                before: columns.into_iter().collect(),
                ..Columns::default()
            })),
            ..Packed::default()
        }
    }
}

/// Fields of queries and writes in which their FROM stands, also where it is called USING.
const FROM: [&str; 3] = ["from_clause", "using_clause", "source_relation"];

/// More than this is as much as there is to say; keeps products of nested queries small.
const MOST: u32 = 100_000;

/// Whether a reference to a relation is to one whose rows count; a common table expression may be.
pub type Protected<'a> = &'a dyn Fn(&Node) -> bool;

/// What is to be known of the relations that a statement names.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub counted: Protected<'a>,
    /// Sets of columns of such a relation that tell its rows apart.
    pub keys: &'a dyn Fn(&Node) -> Vec<Vec<String>>,
    /// Whether a relation may have a column of that name.
    pub columns: &'a dyn Fn(&Node, &str) -> bool,
}

/// Whether the column belongs to what tells the relation's rows apart.
fn is_in_key(facts: Facts<'_>, relation: &Node, column: &str) -> bool {
    let keys = (facts.keys)(relation);
    keys.iter().flatten().any(|name| name == column)
}

/// What a statement packs.
pub fn packed(statement: &Tree, facts: Facts<'_>) -> Packed {
    let Some(node) = statement.node() else {
        return Packed::default();
    };
    let mut reader = outputs::Reader::new(facts);
    let columns = reader.statement(node);
    // CREATE TABLE AS EXECUTE stores what the prepared statement gives.
    let executed = node.kind == "PrepareStmt" && columns.hold_many();
    let lines = node.kind != "CopyStmt" || plain_lines(node);
    Packed {
        columns: columns.gather().then(|| Arc::new(columns)),
        side_by_side: beside::side_by_side(statement, facts).clamp(1, MOST),
        stores_many: executed || outputs::Reader::new(facts).stores_many(node),
        joined: joined(node, facts),
        lines,
    }
}

/// COPY in text format, as it is without options.
fn plain_lines(copy: &Node) -> bool {
    copy.list("options").iter().all(|option| {
        option.node().is_some_and(|option| {
            let value = option.get("arg").and_then(Tree::string);
            match option.text("defname") {
                "header" => true,
                "format" => matches!(value, Some("text" | "binary")),
                _ => false,
            }
        })
    })
}

/// Whether a node mentions a relation whose rows count.
fn mentioned_in(node: &Node, protected: Protected<'_>) -> bool {
    node.anywhere(&|node| node.kind == "RangeVar" && protected(node))
}

/// Holdings as tests write them.
#[cfg(test)]
pub mod holdings {
    use std::sync::Arc;

    use super::Holding;

    pub fn document(members: bool, depth: u8, separators: &[&str]) -> Holding {
        Holding::Document {
            members,
            depth,
            separators: separators.iter().map(|text| Arc::from(*text)).collect(),
        }
    }

    pub fn separated(separators: &[&str]) -> Holding {
        Holding::Separated(separators.iter().map(|text| Arc::from(*text)).collect())
    }
}
