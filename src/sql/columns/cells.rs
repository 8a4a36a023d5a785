//! Columns as they are collected: which relations a statement names, which of their columns, for what use.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{Catalog, Relation};
use crate::policy::compiled::RolePolicy;
use crate::sql::temporary;

use super::{Columns, MAX_NAMES, MAX_WORK, SourceColumn, TrapUse};

/// A column of a relation that the statement names: places in [`Found::relations`] and in the relation's own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub relation: usize,
    pub column: usize,
}

/// Where values come from.
pub type Cells = Vec<Cell>;

/// What a column is used for. Several uses of one column are all on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Projected,
    Filtered,
    Written,
    /// Named where no value of it need go anywhere: it counts as filtered unless it is used otherwise.
    Named,
}

impl Use {
    const fn bit(self) -> u8 {
        match self {
            Use::Projected => 1,
            Use::Filtered => 2,
            Use::Written => 4,
            Use::Named => 8,
        }
    }
}

/// The name of all columns of a relation whose columns are not known.
const ALL: &str = "*";

/// A relation that a statement names.
#[derive(Debug)]
struct Named<'a> {
    /// `schema.name`, or what the statement says where the catalog does not know it.
    name: String,
    known: Option<&'a Relation>,
    /// The columns named, where they are not known.
    columns: Vec<&'a str>,
}

/// All that was found in a statement.
#[derive(Debug)]
pub struct Found<'a> {
    catalog: &'a Catalog,
    path: &'a [String],
    relations: Vec<Named<'a>>,
    uses: BTreeMap<Cell, u8>,
    work: usize,
}

impl<'a> Found<'a> {
    pub fn new(catalog: &'a Catalog, path: &'a [String]) -> Self {
        Found {
            catalog,
            path,
            relations: Vec::new(),
            uses: BTreeMap::new(),
            work: 0,
        }
    }

    /// Takes up a relation under the name the statement gives it. Its place, and its columns where they are known.
    pub fn relation(&mut self, schema: &'a str, name: &'a str) -> (usize, Option<&'a Relation>) {
        let relation = match schema {
            "" => self.catalog.resolve(self.path, name),
            schema => self.catalog.relation(schema, name),
        };
        let full = match (relation, schema) {
            (Some(relation), _) => relation.full_name(),
            (None, "") => name.to_owned(),
            (None, schema) => format!("{schema}.{name}"),
        };
        // Of a temporary relation nothing but the name is known.
        let known = relation.map(Arc::as_ref).filter(|relation| {
            relation.schema != temporary::SCHEMA && !relation.columns.is_empty()
        });
        if let Some(place) = self.relations.iter().position(|named| named.name == full) {
            return (place, known);
        }
        self.relations.push(Named {
            name: full,
            known,
            columns: Vec::new(),
        });
        (self.relations.len() - 1, known)
    }

    /// The schema and name of a relation, where the catalog knows it.
    pub fn known(&self, relation: usize) -> Option<&'a Relation> {
        self.relations.get(relation)?.known
    }

    /// The column of that name in a relation whose columns are not known.
    pub fn unknown(&mut self, relation: usize, name: &'a str) -> Cell {
        let columns = match self.relations.get_mut(relation) {
            Some(named) => &mut named.columns,
            None => {
                return Cell {
                    relation,
                    column: 0,
                };
            }
        };
        let column = match columns.iter().position(|known| *known == name) {
            Some(place) => place,
            None => {
                columns.push(name);
                columns.len() - 1
            }
        };
        Cell { relation, column }
    }

    /// All columns of a relation.
    pub fn all(&mut self, relation: usize) -> Cells {
        match self.known(relation) {
            Some(known) => (0..known.columns.len())
                .map(|column| Cell { relation, column })
                .collect(),
            None => vec![self.unknown(relation, ALL)],
        }
    }

    pub fn mark(&mut self, cells: &[Cell], as_what: Use) {
        self.spend(cells.len());
        for cell in cells {
            *self.uses.entry(*cell).or_default() |= as_what.bit();
        }
    }

    /// Counts work done; false once it is too much, and the findings are incomplete.
    pub fn spend(&mut self, steps: usize) -> bool {
        self.work = self.work.saturating_add(steps.max(1));
        self.work <= MAX_WORK
    }

    pub fn exhausted(&self) -> bool {
        self.work > MAX_WORK
    }

    /// A column by its name; nothing where there is no such column.
    pub fn name(&self, cell: Cell) -> Option<SourceColumn> {
        let named = self.relations.get(cell.relation)?;
        let (column, known) = match named.known {
            Some(relation) => {
                let column = relation.columns.get(cell.column)?;
                (column.name.as_str(), Some((relation.oid, column.num)))
            }
            None => (*named.columns.get(cell.column)?, None),
        };
        Some(SourceColumn {
            name: format!("{}.{column}", named.name),
            cell: known,
        })
    }

    /// What goes on record.
    pub fn finish(self, role: &RolePolicy) -> Columns {
        let mut columns = Columns {
            truncated: self.exhausted(),
            ..Columns::default()
        };
        let mut lists: [Vec<Arc<str>>; 3] = Default::default();
        let mut classes: Vec<Arc<str>> = Vec::new();
        let mut traps: Vec<TrapUse> = Vec::new();
        for (cell, uses) in &self.uses {
            let Some(named) = self.relations.get(cell.relation) else {
                continue;
            };
            let (column, of) = match named.known {
                Some(relation) => match relation.columns.get(cell.column) {
                    Some(column) => {
                        for trap in role.traps_of(relation.oid, column.num) {
                            let shown = *uses & Use::Projected.bit() != 0;
                            let sought = *uses & (Use::Filtered.bit() | Use::Named.bit()) != 0;
                            TrapUse::add(&mut traps, trap, shown, sought);
                        }
                        (
                            column.name.as_str(),
                            role.classes_of(relation.oid, column.num),
                        )
                    }
                    None => continue,
                },
                None => match named.columns.get(cell.column) {
                    Some(column) => (*column, &[][..]),
                    None => continue,
                },
            };
            for class in of {
                if !classes.contains(class) {
                    classes.push(Arc::clone(class));
                }
            }
            if of.is_empty() && named.known.is_some_and(is_system) {
                continue;
            }
            let uses = match *uses {
                uses if uses == Use::Named.bit() => Use::Filtered.bit(),
                uses => uses,
            };
            let mut name: Option<Arc<str>> = None;
            for (list, kind) in lists
                .iter_mut()
                .zip([Use::Projected, Use::Filtered, Use::Written])
            {
                if uses & kind.bit() == 0 {
                    continue;
                }
                if list.len() == MAX_NAMES {
                    columns.truncated = true;
                    continue;
                }
                let name = name.get_or_insert_with(|| format!("{}.{column}", named.name).into());
                list.push(Arc::clone(name));
            }
        }
        classes.sort_unstable();
        let [projected, filtered, written] = lists;
        columns.projected = projected.into();
        columns.filtered = filtered.into();
        columns.written = written.into();
        columns.classes = classes.into();
        columns.traps = traps.into();
        columns
    }
}

fn is_system(relation: &Relation) -> bool {
    matches!(
        relation.schema.as_str(),
        "pg_catalog" | "information_schema"
    )
}

/// Each cell once.
pub fn settle(cells: &mut Cells) {
    if cells.len() > 1 {
        cells.sort_unstable();
        cells.dedup();
    }
}
