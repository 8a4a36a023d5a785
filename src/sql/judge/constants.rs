//! Constants of a statement, literals, parameters and casts of them: their types, and whether evaluating one can raise an error.
use crate::catalog::{Catalog, Column, Oid, Relation, TypeKind};
use crate::sql::temporary;
use crate::sql::tree::{Node, Tree};

use super::operands::{
    BOOL, BPCHAR, Class, FLOAT4, FLOAT8, INT2, INT4, INT8, Kind, NUMERIC, Operand, TEXT, VARCHAR,
    class, class_of, class_of_column, comparable, takes, together,
};
use super::parameters::{Declared, Parameters};

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
pub(in crate::sql) fn named_type(catalog: &Catalog, path: &[String], name: &Node) -> Option<Kind> {
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
