//! What stands in a comparison, by its type: whether the comparison can raise an error when it is evaluated row by row.
//!
//! Literals take their type before anything runs: what is wrong with one is an error whatever is stored. A parameter's
//! cast is another matter: in a generic plan it is evaluated when a row comes to it. Comparisons raise errors themselves where
//! the server casts a column (`numeric` beside `double precision`), where the elements of an array have no such operator,
//! and where two columns have collations that differ (`merge_collation_state` in parse_collate.c).
use crate::catalog::{Catalog, Column, ColumnSource, Oid, Relation, RelationKind, TypeKind};
use crate::sql::temporary;
use crate::sql::tree::{Node, Tree};

use super::parameters::{Declared, Parameters};

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

const TEXT: Oid = 25;
const NAME: Oid = 19;
const INT2: Oid = 21;
const INT4: Oid = 23;
const INT8: Oid = 20;
const NUMERIC: Oid = 1_700;
const FLOAT4: Oid = 700;
const FLOAT8: Oid = 701;
const BOOL: Oid = 16;
const VARCHAR: Oid = 1_043;
const BPCHAR: Oid = 1_042;
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
/// Of integers: from one to a wider one.
const WIDENINGS: &[(Oid, Oid)] = &[
    (INT2, INT4),
    (INT2, INT8),
    (INT4, INT8),
    (INT2, NUMERIC),
    (INT4, NUMERIC),
    (INT8, NUMERIC),
    (INT2, FLOAT8),
    (INT4, FLOAT8),
    (FLOAT4, FLOAT8),
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
fn takes(class: &Class, literal: &Class) -> bool {
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

/// Constants of a statement, by their types.
#[derive(Clone, Copy)]
pub(super) struct Constants<'a> {
    pub catalog: &'a Catalog,
    pub path: &'a [String],
    pub parameters: &'a Parameters,
}

impl Constants<'_> {
    /// A literal, a parameter, a cast or an array of such, if evaluating it raises no error; `None`: it may, or it is
    /// something else.
    pub fn operand(&self, tree: &Tree) -> Option<Operand> {
        let node = tree.node()?;
        match node.kind {
            "AConst" => Some(Operand::Literal(literal(node)?)),
            "ParamRef" => self.parameter(node),
            "AExpr" => Some(Operand::Literal(negative(node)?)),
            "TypeCast" => self.cast(node.get("arg")?, self.named(node)?),
            "AArrayExpr" => {
                let elements = node.list("elements").iter();
                let elements: Option<Vec<Operand>> =
                    elements.map(|element| self.operand(element)).collect();
                together(&elements?)
            }
            _ => None,
        }
    }

    pub fn named(&self, cast: &Node) -> Option<Kind> {
        named_type(self.catalog, self.path, cast.child("type_name")?)
    }

    fn parameter(&self, node: &Node) -> Option<Operand> {
        Some(match self.parameters.bare(node.int("number")) {
            Declared::Open => Operand::Open,
            Declared::Loose => Operand::Loose,
            Declared::As(oid) if self.is_domain(self.kind(oid).0) => Operand::Loose,
            Declared::As(oid) => Operand::Of(class(self.catalog, oid)?),
        })
    }

    /// Whether a constant is a truth as it stands.
    pub fn is_truth(operand: &Operand) -> bool {
        match operand {
            Operand::Of(class) => *class == Class::Other(BOOL),
            // A string is read as one at once.
            Operand::Literal(class) => matches!(class, Class::Other(BOOL) | Class::Text(_)),
            Operand::Open => true,
            Operand::Loose => false,
        }
    }

    pub fn is_domain(&self, oid: Oid) -> bool {
        let found = self.catalog.types.get(&oid);
        found.is_some_and(|found| found.kind == TypeKind::Domain)
    }

    /// What a constant is once it is cast.
    fn cast(&self, arg: &Tree, to: Kind) -> Option<Operand> {
        // A domain's constraints are checked when the cast is evaluated.
        if self.is_domain(to.0) {
            return None;
        }
        let becomes = class_of(to, self.catalog)?;
        let node = arg.node()?;
        let silent = match node.kind {
            "AConst" | "AExpr" => {
                let from = match node.kind {
                    "AConst" => literal(node)?,
                    _ => negative(node)?,
                };
                match from {
                    // Read by the type itself, at once.
                    Class::Text(_) => true,
                    Class::Integer | Class::Big | Class::Numeric => matches!(
                        becomes,
                        Class::Integer
                            | Class::Big
                            | Class::Numeric
                            | Class::Float
                            | Class::Id
                            | Class::Text(_)
                    ),
                    from => from == becomes || matches!(becomes, Class::Text(_)),
                }
            }
            "ParamRef" => match self.parameters.cast(node.int("number"), to) {
                Declared::Open => true,
                Declared::Loose => {
                    return (to == (TEXT, false) || to == (VARCHAR, false))
                        .then_some(Operand::Loose);
                }
                Declared::As(oid) if self.is_domain(self.kind(oid).0) => return None,
                Declared::As(oid) => silent(self.kind(oid), to),
            },
            "AArrayExpr" => {
                let each = |element: &Tree| {
                    let is_array = element.node().is_some_and(|node| node.kind == "AArrayExpr");
                    let to = (to.0, is_array);
                    matches!(self.cast(element, to), Some(Operand::Of(_)))
                };
                to.1 && node.list("elements").iter().all(each)
            }
            "TypeCast" => {
                let from = self.named(node)?;
                matches!(self.cast(node.get("arg")?, from), Some(Operand::Of(_)))
                    && silent(from, to)
            }
            _ => false,
        };
        silent.then_some(Operand::Of(becomes))
    }

    fn kind(&self, oid: Oid) -> Kind {
        match self.catalog.elements.get(&oid) {
            Some(element) => (*element, true),
            None => (oid, false),
        }
    }

    /// Whether a comparison of a column with these constants raises no error, whatever is stored.
    pub fn harmless(&self, relation: &Relation, column: &Column, values: &[Tree]) -> bool {
        let Some(own) = class_of_column(self.catalog, relation, column) else {
            return false;
        };
        let values: Option<Vec<Operand>> = values.iter().map(|value| self.operand(value)).collect();
        let Some(mut operands) = values else {
            return false;
        };
        let alike = together(&operands).is_some();
        operands.push(Operand::Of(own));
        alike && comparable(&operands)
    }

    /// Whether a column that equals a constant holds just that: nothing is rounded, folded or compared under a collation
    /// of the client's choice.
    pub fn exact(&self, column: &Column, values: &[Tree]) -> bool {
        let own = match self.catalog.types.get(&column.type_oid) {
            Some(found) => found.base.unwrap_or(column.type_oid),
            None => column.type_oid,
        };
        values.iter().all(|value| self.is_exactly(own, value))
    }

    fn is_exactly(&self, own: Oid, value: &Tree) -> bool {
        let Some(node) = value.node() else {
            return false;
        };
        let typed = |kind: Kind| alike(own, kind.0);
        match (node.kind, self.operand(value)) {
            (_, None | Some(Operand::Loose)) => false,
            ("TypeCast", Some(_)) => self.named(node).is_some_and(typed),
            ("ParamRef", Some(Operand::Of(_))) => match self.parameters.bare(node.int("number")) {
                Declared::As(oid) => typed(self.kind(oid)),
                _ => false,
            },
            ("AArrayExpr", Some(_)) => {
                let mut elements = node.list("elements").iter();
                elements.all(|element| self.is_exactly(own, element))
            }
            (_, Some(Operand::Literal(literal))) => {
                class(self.catalog, own).is_some_and(|own| takes(&own, &literal))
            }
            _ => true,
        }
    }
}

/// Whether equality of the two types is of the values themselves.
fn alike(own: Oid, other: Oid) -> bool {
    const STRINGS: &[Oid] = &[TEXT, VARCHAR, BPCHAR];
    const INTEGERS: &[Oid] = &[INT2, INT4, INT8];
    own == other
        || [STRINGS, INTEGERS]
            .iter()
            .any(|family| family.contains(&own) && family.contains(&other))
}

/// Whether a cast of values raises no error.
fn silent(from: Kind, to: Kind) -> bool {
    const STRINGS: &[Oid] = &[TEXT, VARCHAR];
    let (from_oid, to_oid) = (from.0, to.0);
    from == to
        || (from.1 == to.1
            && (WIDENINGS.contains(&(from_oid, to_oid))
                || (STRINGS.contains(&to_oid)
                    && (STRINGS.contains(&from_oid)
                        || [INT2, INT4, INT8, NUMERIC, BOOL, BPCHAR].contains(&from_oid)))))
}

/// The class of a literal on its own.
fn literal(node: &Node) -> Option<Class> {
    let Some(value) = node.child("val") else {
        // NULL, and the integer 0 that a default is left out for.
        return Some(match node.flag("isnull") {
            true => Class::Text(None),
            false => Class::Integer,
        });
    };
    Some(match value.kind {
        "Integer" => Class::Integer,
        // Digits beyond `int4`.
        "Float" if value.text("fval").bytes().all(|byte| byte.is_ascii_digit()) => Class::Big,
        "Float" => Class::Numeric,
        "String" => Class::Text(None),
        "Boolean" => Class::Other(BOOL),
        "BitString" => Class::Other(1_560),
        _ => return None,
    })
}

/// A number with its sign.
fn negative(node: &Node) -> Option<Class> {
    let is_minus = node.get("lexpr").is_none() && node.names("name").as_deref() == Some(&["-"][..]);
    let number = node.child("rexpr").filter(|arg| arg.kind == "AConst")?;
    let numbers = [Class::Integer, Class::Big, Class::Numeric];
    literal(number).filter(|class| is_minus && numbers.contains(class))
}

/// The type that a `TypeName` means.
pub(super) fn named_type(catalog: &Catalog, path: &[String], name: &Node) -> Option<Kind> {
    if name.flag("setof") || name.flag("pct_type") {
        return None;
    }
    let array = !name.list("array_bounds").is_empty();
    let names = name.names("names")?;
    let within = |schema: &str, wanted: &str| {
        let mut found = catalog.numbered_types_named(wanted);
        found.find(|(_, found)| found.schema == schema)
    };
    let (oid, _) = match names.as_slice() {
        [wanted] => {
            // A row type of the session's own may come first.
            if catalog.relation(temporary::SCHEMA, wanted).is_some() {
                return None;
            }
            path.iter().find_map(|schema| within(schema, wanted))?
        }
        [schema, wanted] => within(schema, wanted)?,
        _ => return None,
    };
    match catalog.elements.get(&oid) {
        // `_int4`, by its own name.
        Some(element) => (!array).then_some((*element, true)),
        None => Some((oid, array)),
    }
}
