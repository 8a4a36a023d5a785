//! `value.name`: a column, or else a function of one argument called by that notation, or a cast (`ParseFuncOrColumn` in
//! `src/backend/parser/parse_func.c`).
use std::collections::{HashMap, HashSet};

use crate::catalog::Oid;
use crate::sql::functions::{self, Objection};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::walk::{Walk, at};

/// The names by which a statement knows rows, at any level of it.
#[derive(Default)]
pub(super) struct Rows {
    relations: HashMap<String, HashSet<Oid>>,
    /// Subqueries, functions, common table expressions and joins: what columns they have is not asked.
    others: HashSet<String>,
    /// Names that the statement itself gives to columns.
    columns: HashSet<String>,
    /// Fields that are functions the role may not call, unless they are columns.
    suspects: Vec<Suspect>,
    /// Calls with one argument of functions that do not exist.
    calls: Vec<Missing>,
}

/// A call of a function that does not exist.
struct Missing {
    name: String,
    /// With its arguments, where their types are known.
    signature: Option<String>,
    location: i32,
}

struct Suspect {
    /// The name before the dot; `None` for a row that is computed.
    row: Option<String>,
    field: String,
    function: String,
    location: i32,
}

impl Rows {
    pub fn relation(&mut self, alias: &str, relation: Oid) {
        let named = self.relations.entry(alias.to_owned()).or_default();
        named.insert(relation);
    }

    pub fn other(&mut self, alias: &str) {
        self.others.insert(alias.to_owned());
    }

    pub fn column(&mut self, name: &str) {
        if !name.is_empty() {
            self.columns.insert(name.to_owned());
        }
    }

    pub fn columns(&mut self, names: &[Tree]) {
        let names = names.iter().filter_map(Tree::string).map(str::to_owned);
        self.columns.extend(names);
    }

    pub fn call(&mut self, name: &str, signature: Option<String>, location: i32) {
        self.calls.push(Missing {
            name: name.to_owned(),
            signature,
            location,
        });
    }
}

impl Walk<'_> {
    /// Notes the field of a row, if it is the name of a function that the role may not call.
    pub(super) fn field_of_row(&mut self, row: Option<&str>, field: &str, location: i32) {
        let rules = self.rules;
        // A type's refusal comes in the words of a function's: such a cast is written as a call.
        if let Err(Objection::NotAllowed(function) | Objection::Runs(function)) =
            functions::check_field(rules.catalog, rules.role, rules.path, field)
        {
            self.rows.suspects.push(Suspect {
                row: row.map(str::to_owned),
                field: field.to_owned(),
                function,
                location,
            });
        }
    }

    /// `(row).name`
    pub(super) fn fields_of_expression(&mut self, node: &Node) {
        for field in node.list("indirection").iter().filter_map(Tree::string) {
            self.field_of_row(None, field, node.location);
        }
    }

    /// Whether each noted field is a column, whichever of the rows of that name is meant, and each noted call may be one
    /// written as `column(row)`.
    ///
    /// # Errors
    /// It may be a call of the function; there is no such function.
    pub(super) fn fields_are_columns(&self) -> Result<(), Refusal> {
        let mut calls = self.rows.calls.iter();
        if let Some(call) = calls.find(|call| !self.rows.columns.contains(&call.name)) {
            let refusal = match &call.signature {
                Some(signature) => refuse::undefined_overload(signature),
                None => refuse::undefined_function(&call.name),
            };
            return Err(at(refusal, call.location));
        }
        let is_column = |suspect: &Suspect| {
            let Some(row) = &suspect.row else {
                return false;
            };
            let named = self.rows.relations.get(row);
            !self.rows.others.contains(row)
                && named.is_some_and(|relations| {
                    relations.iter().all(|oid| {
                        let relation = self.rules.catalog.relations.get(oid);
                        relation.is_some_and(|relation| relation.column(&suspect.field).is_some())
                    })
                })
        };
        match self.rows.suspects.iter().find(|field| !is_column(field)) {
            Some(suspect) => Err(at(refuse::function(&suspect.function), suspect.location)),
            None => Ok(()),
        }
    }
}
