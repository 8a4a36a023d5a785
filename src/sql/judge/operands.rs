//! What stands in a comparison, by its type: whether the comparison can raise an error when it is evaluated row by row.
//!
//! Literals take their type before anything runs: what is wrong with one is an error whatever is stored. A parameter's
//! cast is another matter: in a generic plan it is evaluated when a row comes to it. Comparisons raise errors themselves where
//! the server casts a column (`numeric` beside `double precision`), where the elements of an array have no such operator,
//! and where two columns have collations that differ (`merge_collation_state` in parse_collate.c).
use crate::catalog::{Catalog, Column, ColumnSource, Oid, Relation, RelationKind, TypeKind};

/// Types whose comparisons go together without a cast that may fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Class {
    /// By itself; beside others there is an operator for both, or none at all.
    Other(Oid),
    Integer,
    /// `int8`: beside an `oid` it is cast.
    Big,
    Numeric,
    Float,
    /// `oid` and its aliases: an integer beside one is cast.
    Id,
    /// With a collation other than the database's.
    Text(Option<Oid>),
    Array(Box<Class>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    Of(Class),
    /// It takes the type of what it is compared with; alone it is of this one.
    Literal(Class),
    /// A parameter whose type the server takes from where it stands.
    Open,
    /// A parameter or a stored value of some type.
    Loose,
}

/// A type, or an array of it.
pub(super) type Kind = (Oid, bool);

pub(super) const TEXT: Oid = 25;
const NAME: Oid = 19;
pub(super) const INT2: Oid = 21;
pub(super) const INT4: Oid = 23;
pub(super) const INT8: Oid = 20;
pub(super) const NUMERIC: Oid = 1_700;
pub(super) const FLOAT4: Oid = 700;
pub(super) const FLOAT8: Oid = 701;
pub(super) const BOOL: Oid = 16;
pub(super) const VARCHAR: Oid = 1_043;
pub(super) const BPCHAR: Oid = 1_042;
/// `C` (catalog/pg_collation.dat).
const COLLATION_C: Oid = 950;
/// Of types that initdb made, those that compare without an error (catalog/pg_type.dat): `bytea`, `tid`, `xid`, `cid`,
/// `cidr`, `money`, `macaddr`, `inet`, dates and times, `bit`, `varbit`, `uuid`, `pg_lsn`, `tsvector`, `tsquery`, `jsonb`, ranges and
/// multiranges. The geometric ones compute areas.
const OTHERS: &[Oid] = &[
    16, 17, 27, 28, 29, 650, 790, 829, 869, 1_082, 1_083, 1_114, 1_184, 1_186, 1_266, 1_560, 1_562,
    2_950, 3_220, 3_614, 3_615, 3_802, 3_904, 3_906, 3_908, 3_910, 3_912, 3_926, 4_451, 4_532,
    4_533, 4_534, 4_535, 4_536,
];
/// Of these, those that compare with each other: dates and times of dates, times, addresses, bits.
const RELATED: &[&[Oid]] = &[
    &[1_082, 1_114, 1_184],
    &[1_083, 1_266],
    &[650, 869],
    &[1_560, 1_562],
];
const IDS: &[Oid] = &[
    24, 26, 2_202, 2_203, 2_204, 2_205, 2_206, 3_734, 3_769, 4_089, 4_096, 4_191,
];

/// The class of a type; `None`: its comparisons may raise an error, or there are none.
pub(super) fn class(catalog: &Catalog, oid: Oid) -> Option<Class> {
    Some(match oid {
        INT2 | INT4 => Class::Integer,
        INT8 => Class::Big,
        NUMERIC => Class::Numeric,
        FLOAT4 | FLOAT8 => Class::Float,
        TEXT | VARCHAR | BPCHAR | 18 => Class::Text(None),
        NAME => Class::Text(Some(COLLATION_C)),
        _ if OTHERS.contains(&oid) => Class::Other(oid),
        _ if IDS.contains(&oid) => Class::Id,
        _ => {
            if let Some(element) = catalog.elements.get(&oid) {
                return Some(Class::Array(Box::new(class(catalog, *element)?)));
            }
            let found = catalog.types.get(&oid)?;
            match found.kind {
                TypeKind::Enum => Class::Other(oid),
                TypeKind::Domain => class(catalog, found.base?)?,
                TypeKind::Base if found.extension.as_deref() == Some("citext") => Class::Text(None),
                _ => return None,
            }
        }
    })
}

pub(super) fn class_of((oid, array): Kind, catalog: &Catalog) -> Option<Class> {
    let own = class(catalog, oid)?;
    Some(match array {
        true => Class::Array(Box::new(own)),
        false => own,
    })
}

/// The first PostgreSQL in which a generated column may be computed when it is read.
pub(super) const VIRTUAL_COLUMNS: u32 = 180_000;
/// Views over views at most.
const DEPTH: usize = 32;

/// The class of a column, if reading it computes nothing.
pub(super) fn class_of_column(
    catalog: &Catalog,
    relation: &Relation,
    column: &Column,
) -> Option<Class> {
    if !is_stored(catalog, relation, column) {
        return None;
    }
    let collation = catalog.collations.get(&(relation.oid, column.num));
    Some(collated(
        class(catalog, column.type_oid)?,
        collation.copied(),
    ))
}

/// Whether a column holds its values: no expression is evaluated where it is read.
pub(super) fn is_stored(catalog: &Catalog, relation: &Relation, column: &Column) -> bool {
    let (mut of, mut num) = (relation, column.num);
    for _ in 0..DEPTH {
        if of.kind != RelationKind::View {
            let computed = |column: &Column| {
                catalog.server_version >= VIRTUAL_COLUMNS && !column.generated_from.is_empty()
            };
            return of
                .column_number(num)
                .is_some_and(|column| !computed(column));
        }
        let at = of.columns.iter().position(|found| found.num == num);
        let source = at.and_then(|at| of.sources.get(at));
        let Some(ColumnSource::Same { relation, column }) = source else {
            return false;
        };
        let Some(below) = catalog.relations.get(relation) else {
            return false;
        };
        (of, num) = (below, *column);
    }
    false
}

fn collated(class: Class, collation: Option<Oid>) -> Class {
    match (class, collation) {
        (Class::Text(_), Some(collation)) => Class::Text(Some(collation)),
        (Class::Array(element), collation) => Class::Array(Box::new(collated(*element, collation))),
        (class, _) => class,
    }
}

/// Classes that PostgreSQL's own operators and casts compare. Between others only a cast of somebody's own could (CREATE
/// CAST, WITH INOUT too), and what that does with a stored value is not known.
fn is_related(one: &Class, other: &Class) -> bool {
    const NUMBERS: &[Class] = &[Class::Integer, Class::Big, Class::Numeric, Class::Float];
    match (element(one), element(other)) {
        (Class::Text(_), Class::Text(_)) => true,
        (Class::Other(one), Class::Other(other)) => {
            let both = |family: &&[Oid]| family.contains(one) && family.contains(other);
            one == other || RELATED.iter().any(both)
        }
        (one, other) => one == other || NUMBERS.contains(one) && NUMBERS.contains(other),
    }
}

/// Whether a constant beside such values becomes one of them before anything runs.
pub(super) fn takes(class: &Class, literal: &Class) -> bool {
    const XID: Oid = 28;
    match (element(class), literal) {
        (_, Class::Text(_)) => true,
        (Class::Id | Class::Other(XID), Class::Integer | Class::Big) => true,
        (class, literal) => is_related(class, literal),
    }
}

fn are_related(operands: &[Operand]) -> bool {
    let mut classes = operands.iter().filter_map(|operand| match operand {
        Operand::Of(class) => Some(class),
        _ => None,
    });
    let mut literals = operands.iter().filter_map(|operand| match operand {
        Operand::Literal(class) => Some(class),
        _ => None,
    });
    match classes.next() {
        Some(first) => {
            classes.all(|class| is_related(first, class))
                && literals.all(|literal| takes(first, literal))
        }
        None => true,
    }
}

/// Whether these can be compared, each with each, whatever they hold. What of them is a list on its own was asked before.
pub(super) fn comparable(operands: &[Operand]) -> bool {
    let classes: Vec<&Class> = operands
        .iter()
        .filter_map(|operand| match operand {
            Operand::Of(class) => Some(element(class)),
            _ => None,
        })
        .collect();
    let has = |wanted: &Class| classes.contains(&wanted);
    let mut collations: Vec<Oid> = classes
        .iter()
        .filter_map(|class| match class {
            Class::Text(collation) => *collation,
            _ => None,
        })
        .collect();
    collations.sort_unstable();
    collations.dedup();
    let numbers = [&Class::Integer, &Class::Big, &Class::Numeric, &Class::Float];
    let apart = !(has(&Class::Numeric) && has(&Class::Float)
        || has(&Class::Id) && numbers.into_iter().any(has))
        && collations.len() <= 1;
    let casts = has(&Class::Big)
        || has(&Class::Numeric)
        || has(&Class::Float)
        || has(&Class::Id)
        || !collations.is_empty();
    let loose = operands
        .iter()
        .filter(|operand| **operand == Operand::Loose)
        .count();
    apart
        && are_related(operands)
        && match loose {
            0 => true,
            1 => !casts,
            _ => !casts && !classes.is_empty(),
        }
}

fn element(class: &Class) -> &Class {
    match class {
        Class::Array(inner) => element(inner),
        other => other,
    }
}

/// What the elements of a list are together (`select_common_type`): nothing of it is cast but literals.
pub(super) fn together(elements: &[Operand]) -> Option<Operand> {
    let mut found: Option<&Operand> = None;
    for operand in elements {
        found = Some(match (found, operand) {
            (None, other) => other,
            (Some(Operand::Literal(first)), Operand::Literal(second)) => match (first, second) {
                // A string takes the type of the others, an integer the wider one.
                (Class::Text(_), _)
                | (Class::Integer, Class::Big)
                | (Class::Integer | Class::Big, Class::Numeric) => operand,
                _ => found?,
            },
            (Some(Operand::Literal(literal)), other) | (Some(other), Operand::Literal(literal)) => {
                match other {
                    Operand::Of(class) if !takes(class, literal) => return None,
                    _ => other,
                }
            }
            (Some(Operand::Of(first)), Operand::Of(second)) if first == second => operand,
            (Some(Operand::Of(Class::Big)), Operand::Of(Class::Integer)) => found?,
            (Some(Operand::Of(Class::Integer)), Operand::Of(Class::Big)) => operand,
            (Some(Operand::Of(_)), Operand::Open) | (Some(Operand::Open), Operand::Open) => found?,
            (Some(Operand::Open), Operand::Of(_)) => operand,
            _ => return None,
        });
    }
    Some(
        found
            .cloned()
            .unwrap_or(Operand::Literal(Class::Text(None))),
    )
}
