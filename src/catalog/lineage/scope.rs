//! Which names mean what at a place in a query.
use std::rc::Rc;

use super::source::{Named, Reads, Source};

/// What a query yields, and everything it reads on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    pub columns: Vec<Named>,
    /// The columns could not be listed: any name may be one, and its value may come from anywhere.
    pub open: bool,
    /// What decides which rows there are: WHERE, join conditions, GROUP BY, HAVING, here and in queries below FROM.
    pub conditions: Reads,
    /// All of it.
    pub reads: Reads,
}

impl Output {
    pub fn unknown() -> Output {
        Output {
            open: true,
            conditions: Reads::unknown(),
            reads: Reads::unknown(),
            ..Output::default()
        }
    }

    /// Gives the first columns other names, as an alias list does.
    pub fn rename(&mut self, names: &[String]) {
        for (column, name) in self.columns.iter_mut().zip(names) {
            column.0.clone_from(name);
        }
        // More names than columns: an error, or something that was not understood.
        self.open |= names.len() > self.columns.len();
    }
}

/// A name of FROM that can stand in front of a column.
#[derive(Debug, Clone)]
pub struct Alias {
    pub name: String,
    pub columns: Vec<Named>,
    /// Where columns that are not listed come from; `None` where all are listed.
    pub open: Option<Source>,
    /// A relation, not a query: it has system columns (`ctid`, `tableoid`), which hold no values of users.
    pub relation: bool,
}

/// One item of FROM: joins and all below them.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub aliases: Vec<Alias>,
    /// The columns that an unqualified name or `*` sees: those of USING once.
    pub columns: Vec<Named>,
    pub open: Option<Source>,
}

impl Table {
    pub fn single(alias: Alias) -> Table {
        Table {
            columns: alias.columns.clone(),
            open: alias.open.clone(),
            aliases: vec![alias],
        }
    }
}

/// The names in force: the items of FROM so far and common table expressions, then those of the queries around.
#[derive(Default)]
pub struct Scope<'a> {
    pub parent: Option<&'a Scope<'a>>,
    pub tables: Vec<Table>,
    pub ctes: Vec<(String, Rc<Output>)>,
}

const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl<'a> Scope<'a> {
    pub fn below(parent: Option<&'a Scope<'a>>) -> Scope<'a> {
        Scope {
            parent,
            ..Scope::default()
        }
    }

    pub fn cte(&self, name: &str) -> Option<&Rc<Output>> {
        // The last of a name: a recursive one is bound anew as more is known of it.
        let own = self.ctes.iter().rev().find(|(known, _)| known == name);
        match own {
            Some((_, output)) => Some(output),
            None => self.parent?.cte(name),
        }
    }

    /// `alias`, in this scope or the nearest around it.
    pub fn alias(&self, name: &str) -> Option<&Alias> {
        let mut found = self
            .tables
            .iter()
            .flat_map(|table| &table.aliases)
            .filter(|alias| alias.name == name);
        match (found.next(), found.next()) {
            (Some(alias), None) => Some(alias),
            (Some(_), Some(_)) => None,
            (None, _) => self.parent?.alias(name),
        }
    }

    /// A column given without its table's name.
    pub fn column(&self, name: &str) -> Source {
        self.plain_column(name)
            // `SELECT c FROM contacts c`: the whole row.
            .or_else(|| {
                self.alias(name)
                    .map(|alias| Source::Computed(whole_row(alias)))
            })
            .unwrap_or_else(Source::unknown)
    }

    /// `None` where no scope has such a column.
    pub fn plain_column(&self, name: &str) -> Option<Source> {
        let mut found = self
            .tables
            .iter()
            .flat_map(|table| &table.columns)
            .filter(|(known, _)| known == name);
        match (found.next(), found.next()) {
            (Some((_, source)), None) => return Some(source.clone()),
            (Some(_), Some(_)) => return Some(Source::unknown()),
            (None, _) => {}
        }
        // It may be one of the columns that could not be listed.
        match self.tables.as_slice() {
            [
                Table {
                    open: Some(source), ..
                },
            ] => return Some(source.clone()),
            tables if tables.iter().any(|table| table.open.is_some()) => {
                return Some(Source::unknown());
            }
            [Table { aliases, .. }]
                if aliases.iter().any(|alias| alias.relation) && is_system_column(name) =>
            {
                return Some(Source::Computed(Reads::default()));
            }
            _ => {}
        }
        self.parent?.plain_column(name)
    }

    /// `alias.column`.
    pub fn qualified(&self, alias: &str, name: &str) -> Source {
        let Some(alias) = self.alias(alias) else {
            return Source::unknown();
        };
        let mut found = alias.columns.iter().filter(|(known, _)| known == name);
        match (found.next(), found.next(), &alias.open) {
            (Some((_, source)), None, _) => source.clone(),
            (None, None, Some(source)) => source.clone(),
            (None, None, None) if alias.relation && is_system_column(name) => {
                Source::Computed(Reads::default())
            }
            _ => Source::unknown(),
        }
    }
}

fn is_system_column(name: &str) -> bool {
    SYSTEM_COLUMNS.contains(&name)
}

/// Every column of a name of FROM.
pub fn whole_row(alias: &Alias) -> Reads {
    let mut reads = Reads::default();
    for (_, source) in &alias.columns {
        reads.add_source(source);
    }
    if let Some(source) = &alias.open {
        reads.add_source(source);
    }
    reads
}
