//! Which columns of a database are looked at, and with which of them their values stand elsewhere. Pure.
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::class::Kind;
use super::look::Subject;
use super::name::{self, Name};
use crate::catalog::{
    AttNum, Catalog, Column, ColumnSource, Oid, Relation, RelationKind, TypeKind,
};
use crate::policy::mask::{ColumnType, Family};
use crate::policy::pattern::is_system;

/// What the catalog snapshot does not hold of a table.
#[derive(Debug, Clone, Default)]
pub struct TableDetails {
    pub comment: Option<String>,
    /// As of the last ANALYZE; negative or 0 where there was none.
    pub rows: f64,
    pub pages: i64,
}

/// ... and of a column.
#[derive(Debug, Clone, Default)]
pub struct ColumnDetails {
    pub comment: Option<String>,
    /// The user of the connection may SELECT it.
    pub readable: bool,
}

#[derive(Debug, Default)]
pub struct Details {
    pub tables: HashMap<Oid, TableDetails>,
    pub columns: HashMap<(Oid, AttNum), ColumnDetails>,
}

/// A table with the columns of it that are looked at.
#[derive(Debug)]
pub struct Table {
    pub relation: Arc<Relation>,
    pub columns: Vec<Target>,
    pub sampling: Sampling,
    pub rows: f64,
    pub pages: i64,
}

/// Whether values are read, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    Sampled,
    /// Its rows are on another server.
    Foreign,
    /// A view whose columns cannot be traced to tables: reading it may run anything.
    View,
}

/// One column that is looked at.
#[derive(Debug)]
pub struct Target {
    pub column: Column,
    pub data_type: ColumnType,
    pub subject: Subject,
    /// Its values are arrays: looked at element by element.
    pub array: bool,
    pub readable: bool,
    /// The type is one whose text form PostgreSQL's own code writes.
    pub printable: bool,
    /// `schema.view.column` that show its values.
    pub also: Vec<String>,
}

/// All columns to look at, by table, in the order of their names. Views are attributed to the tables they read,
/// partitions and children to their parents, as a policy does.
pub fn tables(catalog: &Catalog, details: &Details, this_year: i32) -> Vec<Table> {
    let shown = shown_by(catalog);
    let mut tables: Vec<Table> = catalog
        .relations
        .values()
        .filter(|relation| !is_system(&relation.schema) && relation.extension.is_none())
        .filter_map(|relation| table(catalog, relation, details, &shown, this_year))
        .collect();
    tables.sort_by(|one, other| {
        let name = |table: &Table| (table.relation.schema.clone(), table.relation.name.clone());
        name(one).cmp(&name(other))
    });
    tables
}

fn table(
    catalog: &Catalog,
    relation: &Arc<Relation>,
    details: &Details,
    shown: &HashMap<(Oid, AttNum), Vec<String>>,
    this_year: i32,
) -> Option<Table> {
    let sampling = match relation.kind {
        RelationKind::Table | RelationKind::PartitionedTable => Sampling::Sampled,
        RelationKind::ForeignTable => Sampling::Foreign,
        RelationKind::View | RelationKind::MaterializedView => Sampling::View,
        RelationKind::Sequence | RelationKind::Other => return None,
    };
    let found = details
        .tables
        .get(&relation.oid)
        .cloned()
        .unwrap_or_default();
    let name = Name::new(&relation.name);
    let people = name::is_of_people(&name)
        || found
            .comment
            .as_deref()
            .is_some_and(|comment| name::speaks_of_people(&Name::new(comment)));
    let inherited = inherited(catalog, relation);
    let columns: Vec<Target> = relation
        .columns
        .iter()
        .enumerate()
        .filter(|(index, column)| match sampling {
            Sampling::View => matches!(
                relation.sources.get(*index),
                Some(ColumnSource::Unknown) | None
            ),
            _ => !inherited.contains(column.name.as_str()),
        })
        .filter_map(|(_, column)| {
            let cell = (relation.oid, column.num);
            let data_type = ColumnType::of(column, catalog);
            let (kind, array, printable) = kind_of(column, &data_type, catalog);
            // Whole numbers that refer to rows are what they refer to.
            let refers = kind == Kind::Integer && catalog.foreign_keys.contains_key(&cell);
            if kind == Kind::Other || refers {
                return None;
            }
            let own = details.columns.get(&cell).cloned().unwrap_or_default();
            Some(Target {
                subject: Subject {
                    name: Name::new(&column.name),
                    comment: own.comment.as_deref().map(Name::new),
                    table: name.clone(),
                    people,
                    kind,
                    type_name: data_type.shown.clone(),
                    this_year,
                },
                column: column.clone(),
                data_type,
                array,
                readable: own.readable,
                printable,
                also: shown.get(&cell).cloned().unwrap_or_default(),
            })
        })
        .collect();
    (!columns.is_empty()).then(|| Table {
        relation: Arc::clone(relation),
        columns,
        sampling,
        rows: rows(catalog, relation.oid, details, 0),
        pages: pages(catalog, relation.oid, details, 0),
    })
}

/// Names of columns that a parent has, too: a policy that names the parent's covers them.
fn inherited<'a>(catalog: &'a Catalog, relation: &Relation) -> HashSet<&'a str> {
    relation
        .parents
        .iter()
        .filter_map(|parent| catalog.relations.get(parent))
        .flat_map(|parent| parent.columns.iter().map(|column| column.name.as_str()))
        .collect()
}

/// Inheritance trees are not deeper than this.
const MAX_TREE: usize = 16;

fn pages(catalog: &Catalog, oid: Oid, details: &Details, depth: usize) -> i64 {
    let own = details
        .tables
        .get(&oid)
        .map_or(0, |table| table.pages.max(0));
    match depth < MAX_TREE {
        true => catalog.children(oid).iter().fold(own, |sum, child| {
            sum.saturating_add(pages(catalog, *child, details, depth + 1))
        }),
        false => own,
    }
}

fn rows(catalog: &Catalog, oid: Oid, details: &Details, depth: usize) -> f64 {
    let children = match depth < MAX_TREE {
        true => catalog.children(oid),
        false => &[],
    };
    let below: f64 = children
        .iter()
        .map(|child| rows(catalog, *child, details, depth + 1))
        .sum();
    // A partitioned table's own estimate is the sum of its partitions' since PostgreSQL 14.
    let own = details
        .tables
        .get(&oid)
        .map_or(0.0, |table| table.rows.max(0.0));
    own.max(below)
}

/// Columns of views by the column whose values they show, at any remove.
fn shown_by(catalog: &Catalog) -> HashMap<(Oid, AttNum), Vec<String>> {
    let mut shown: BTreeMap<(Oid, AttNum), Vec<String>> = BTreeMap::new();
    for view in catalog
        .relations
        .values()
        .filter(|view| !is_system(&view.schema))
    {
        for (column, source) in view.columns.iter().zip(&view.sources) {
            let mut source = source;
            // Views do not read each other in circles; the count holds for a damaged catalog.
            for _ in 0..MAX_TREE {
                let ColumnSource::Same {
                    relation,
                    column: number,
                } = source
                else {
                    break;
                };
                let name = format!("{}.{}", view.full_name(), column.name);
                shown.entry((*relation, *number)).or_default().push(name);
                let next = catalog.relations.get(relation).and_then(|below| {
                    let index = below
                        .columns
                        .iter()
                        .position(|column| column.num == *number)?;
                    below.sources.get(index)
                });
                match next {
                    Some(next) => source = next,
                    None => break,
                }
            }
        }
    }
    let mut shown: HashMap<(Oid, AttNum), Vec<String>> = shown.into_iter().collect();
    shown.values_mut().for_each(|names| names.sort());
    shown
}

fn kind_of(column: &Column, data_type: &ColumnType, catalog: &Catalog) -> (Kind, bool, bool) {
    if let Some(element) = &data_type.element {
        let (kind, printable) = kind_of_family(element.family);
        return (kind, true, printable);
    }
    let (kind, printable) = kind_of_family(data_type.family);
    if kind != Kind::Other {
        return (kind, false, printable);
    }
    let Some(found) = catalog.types.get(&column.type_oid) else {
        return (Kind::Other, false, false);
    };
    let own = found.schema == "pg_catalog";
    let kind = match (found.name.as_str(), found.kind) {
        ("macaddr" | "macaddr8", _) if own => Kind::Hardware,
        ("point", _) if own => Kind::Place,
        ("geometry" | "geography", _) if found.extension.as_deref() == Some("postgis") => {
            Kind::Place
        }
        ("xml", _) if own => return (Kind::Text, false, true),
        (_, TypeKind::Enum) => Kind::Enum,
        _ => Kind::Other,
    };
    (kind, false, false)
}

/// With the kind, whether values are read.
fn kind_of_family(family: Family) -> (Kind, bool) {
    match family {
        Family::Text | Family::Citext | Family::Varchar | Family::Bpchar | Family::Name => {
            (Kind::Text, true)
        }
        Family::Int8 | Family::Int4 => (Kind::Integer, true),
        Family::Numeric | Family::Float4 | Family::Float8 | Family::Money => (Kind::Decimal, true),
        Family::Date => (Kind::Date, true),
        Family::Timestamp | Family::TimestampTz => (Kind::Time, true),
        Family::Json => (Kind::Document, true),
        Family::Uuid => (Kind::Uuid, false),
        Family::Bytea => (Kind::Bytes, false),
        Family::Inet | Family::Cidr => (Kind::Address, false),
        Family::Char
        | Family::Int2
        | Family::OidNumber
        | Family::Bool
        | Family::Array
        | Family::Other => (Kind::Other, false),
    }
}
