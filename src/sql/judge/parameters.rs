//! Of which types a statement's parameters are: as the client declares them, or as the server finds them.
use std::collections::HashMap;

use crate::catalog::{Catalog, Oid};
use crate::sql::tree::{Node, Tree};

use super::Rules;
use super::constants::named_type;
use super::operands::Kind;

/// The parameters of a statement of the client's.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    found: HashMap<i64, Parameter>,
    /// By number from 1; `None`: not known.
    declared: Option<Vec<Oid>>,
}

#[derive(Debug, Clone, Default)]
struct Parameter {
    /// How often it stands somewhere that gives it its type.
    bare: usize,
    /// What it is cast to, wherever it stands behind a cast.
    casts: Vec<Option<Kind>>,
}

/// The type of a parameter where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// That of what it stands beside.
    Open,
    /// One of several.
    Loose,
    As(Oid),
}

impl Parameters {
    pub(super) fn read(rules: &Rules<'_>, statement: &Tree) -> Parameters {
        let mut parameters = Parameters {
            found: HashMap::new(),
            declared: rules.declared.map(<[Oid]>::to_vec),
        };
        if let Some(prepare) = prepare(statement) {
            parameters.declared = prepared(rules.catalog, rules.path, prepare);
        }
        parameters.note(rules, statement);
        parameters
    }

    /// Where it stands by itself.
    pub(super) fn bare(&self, number: i64) -> Declared {
        match (self.declared(number), self.found.get(&number)) {
            (Some(0), Some(found)) if found.bare <= 1 && found.casts.is_empty() => Declared::Open,
            (Some(0) | None, _) => Declared::Loose,
            (Some(oid), _) => Declared::As(oid),
        }
    }

    /// Where it is cast: `Open`: it is of that type from the start.
    pub(super) fn cast(&self, number: i64, to: Kind) -> Declared {
        match (self.declared(number), self.found.get(&number)) {
            (Some(0), Some(found))
                if found.bare == 0 && found.casts.iter().all(|cast| *cast == Some(to)) =>
            {
                Declared::Open
            }
            (Some(0) | None, _) => Declared::Loose,
            (Some(oid), _) => Declared::As(oid),
        }
    }

    /// The type that the client gives it, 0 where it leaves that open; `None`: not known.
    fn declared(&self, number: i64) -> Option<Oid> {
        let declared = self.declared.as_ref()?;
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        Some(declared.get(at).copied().unwrap_or(0))
    }

    fn note(&mut self, rules: &Rules<'_>, tree: &Tree) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.note(rules, item)),
            Tree::Node(node) => {
                let arg = node.child("arg");
                match (node.kind, arg) {
                    // Says nothing of its type.
                    ("NullTest", Some(arg)) if number(arg).is_some() => {}
                    ("TypeCast", Some(arg)) => {
                        let to = node.child("type_name");
                        let to = to.and_then(|to| named_type(rules.catalog, rules.path, to));
                        self.note_cast(rules, arg, to);
                    }
                    _ => {
                        if let Some(parameter) = number(node) {
                            self.found.entry(parameter).or_default().bare += 1;
                        }
                        let fields = node.fields.iter();
                        fields.for_each(|(_, value)| self.note(rules, value));
                    }
                }
            }
            _ => {}
        }
    }
}

impl Parameters {
    /// What stands behind a cast; a cast of an array is one of its elements.
    fn note_cast(&mut self, rules: &Rules<'_>, arg: &Node, to: Option<Kind>) {
        match (number(arg), arg.kind) {
            (Some(parameter), _) => {
                self.found.entry(parameter).or_default().casts.push(to);
            }
            (None, "AArrayExpr") => {
                let each = to.map(|(of, _)| (of, false));
                for element in arg.list("elements") {
                    match element.node() {
                        Some(inner) if inner.kind == "AArrayExpr" => {
                            self.note_cast(rules, inner, to);
                        }
                        Some(inner) if number(inner).is_some() => {
                            self.note_cast(rules, inner, each);
                        }
                        _ => self.note(rules, element),
                    }
                }
            }
            (None, _) => {
                let fields = arg.fields.iter();
                fields.for_each(|(_, value)| self.note(rules, value));
            }
        }
    }
}

fn number(node: &Node) -> Option<i64> {
    (node.kind == "ParamRef").then(|| node.int("number"))
}

/// The PREPARE that a statement is.
fn prepare(statement: &Tree) -> Option<&Node> {
    statement.node().filter(|node| node.kind == "PrepareStmt")
}

/// The types in a PREPARE; those it leaves out are open.
fn prepared(catalog: &Catalog, path: &[String], prepare: &Node) -> Option<Vec<Oid>> {
    let types = prepare.list("argtypes").iter();
    types
        .map(|name| match named_type(catalog, path, name.node()?)? {
            (oid, false) => Some(oid),
            (element, true) => {
                let mut arrays = catalog.elements.iter();
                let found = arrays.find(|(_, of)| **of == element);
                found.map(|(array, _)| *array)
            }
        })
        .collect()
}
