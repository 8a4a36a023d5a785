//! Functions in FROM: what they are called, and what their columns are.
//!
//! Follows `transformRangeFunction` in `src/backend/parser/parse_clause.c` and `addRangeTableEntryForFunction` in
//! `parse_relation.c`. A function of one composite value may be a column of that value in the notation of a call, and a
//! function that gives rows of a composite type has that type's columns: so the columns of few functions are known, and of
//! these only where their arguments are seen to be no rows.
use crate::catalog::TypeKind;
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use super::{Output, Reader};

/// Functions of pg_catalog that give rows of one value without a name of its own, in all versions and overloads. The
/// column is called as the item is (`chooseScalarFunctionAlias`).
const SCALAR_ROWS: &[&str] = &[
    "generate_series",
    "generate_subscripts",
    "json_object_keys",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_path_query_tz",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
];

/// Functions of pg_catalog whose results have names, in all versions and overloads.
const NAMED_ROWS: &[(&str, &[&str])] = &[
    ("json_array_elements", &["value"]),
    ("json_array_elements_text", &["value"]),
    ("json_each", &["key", "value"]),
    ("json_each_text", &["key", "value"]),
    ("jsonb_array_elements", &["value"]),
    ("jsonb_array_elements_text", &["value"]),
    ("jsonb_each", &["key", "value"]),
    ("jsonb_each_text", &["key", "value"]),
];

/// `AEXPR_OP` as libpg_query numbers it.
const OPERATOR: i64 = 1;

impl Reader<'_> {
    /// The columns of the functions of one item of FROM, where they can be told.
    pub(super) fn function_columns(&self, node: &Node) -> Option<Vec<Output>> {
        let functions = node.list("functions");
        let alias = node.child("alias").map(|alias| alias.text("aliasname"));
        let mut columns = Vec::new();
        for function in functions {
            let parts = function.node()?.list("items");
            let call = parts.first()?.node()?;
            let mut defined = definitions(parts.get(1))?;
            if functions.len() == 1 {
                defined.extend(definitions(node.get("coldeflist"))?);
            }
            if !defined.is_empty() {
                // Only what gives rows of no known type takes a definition, and it has those columns.
                columns.extend(defined);
                continue;
            }
            let alone = alias.filter(|_| functions.len() == 1);
            columns.extend(self.columns_of_call(call, alone)?);
        }
        if node.flag("ordinality") {
            columns.push("ordinality");
        }
        let output = |name: &str| Output {
            name: name.to_owned(),
            origin: None,
        };
        Some(columns.into_iter().map(output).collect())
    }

    /// `alias`: the name of the item, where the function is alone in it.
    fn columns_of_call<'n>(&self, call: &'n Node, alias: Option<&'n str>) -> Option<Vec<&'n str>> {
        let names = call.names("funcname").filter(|_| call.kind == "FuncCall")?;
        let (name, bare) = match names.as_slice() {
            [name] => (*name, true),
            ["pg_catalog", name] => (*name, false),
            _ => return None,
        };
        let mut overloads = self.rules.catalog.functions.get(name)?.iter();
        if !overloads.all(|one| one.built_in) || call.flag("func_variadic") {
            return None;
        }
        let arguments = call.list("args");
        let all = |holds: &dyn Fn(&Tree) -> bool| arguments.iter().all(holds);
        if name == "unnest" {
            if !all(&|argument| self.is_array(argument)) {
                return None;
            }
            // Of several arrays each is a function of its own.
            return match arguments.len() {
                1 => Some(vec![alias.unwrap_or(name)]),
                several if bare => Some(vec![name; several]),
                _ => None,
            };
        }
        if SCALAR_ROWS.contains(&name) && (arguments.len() > 1 || all(&|one| self.is_value(one))) {
            return Some(vec![alias.unwrap_or(name)]);
        }
        let (_, columns) = NAMED_ROWS.iter().find(|(known, _)| *known == name)?;
        all(&|argument| self.is_value(argument)).then(|| columns.to_vec())
    }

    /// Whether an expression is seen to be no row: a constant, a cast to a type of single values or to an array of them,
    /// what an operator of PostgreSQL's own gives.
    fn is_value(&self, tree: &Tree) -> bool {
        let Some(node) = tree.node() else {
            return false;
        };
        match node.kind {
            "AConst" => true,
            "TypeCast" => node
                .child("type_name")
                .is_some_and(|name| self.is_type_of_values(name)),
            "AExpr" if node.int("kind") == OPERATOR => {
                let own = |names: Vec<&str>| match names.as_slice() {
                    [name] => !self.rules.catalog.operators.contains_key(*name),
                    _ => false,
                };
                node.names("name").is_some_and(own)
            }
            _ => false,
        }
    }

    /// Whether an expression is seen to be an array of values that are no rows.
    fn is_array(&self, tree: &Tree) -> bool {
        let Some(node) = tree.node() else {
            return false;
        };
        match node.kind {
            "TypeCast" => node.child("type_name").is_some_and(|name| {
                !name.list("array_bounds").is_empty() && self.is_type_of_values(name)
            }),
            "AArrayExpr" => {
                let value = |element: &Tree| match element.node() {
                    Some(inner) if inner.kind == "AArrayExpr" => self.is_array(element),
                    _ => self.is_value(element),
                };
                let elements = node.list("elements");
                !elements.is_empty() && elements.iter().all(value)
            }
            _ => false,
        }
    }

    /// Whether a type's name means a type of single values, whichever of that name is found. A temporary relation's row
    /// type is found before all others.
    fn is_type_of_values(&self, name: &Node) -> bool {
        let names = name.names("names").unwrap_or_default();
        let (schema, name) = match names.as_slice() {
            [name] => (None, *name),
            [schema, name] => (Some(*schema), *name),
            _ => return false,
        };
        let catalog = self.rules.catalog;
        let reachable = |found: &str| match schema {
            Some(schema) => found == schema,
            None => self.rules.path.iter().any(|one| one == found),
        };
        let mut types = catalog
            .types_named(name)
            .filter(|found| reachable(&found.schema))
            .peekable();
        types.peek().is_some()
            && types.all(|found| {
                matches!(found.kind, TypeKind::Base | TypeKind::Enum) && found.category != 'A'
            })
    }
}

/// The names in a definition of columns; none where there is none, `None` where it is something else.
fn definitions(list: Option<&Tree>) -> Option<Vec<&str>> {
    let items = match list {
        None | Some(Tree::Nothing) => return Some(Vec::new()),
        Some(Tree::List(items)) => items.as_slice(),
        Some(Tree::Node(node)) if node.kind == "List" => node.list("items"),
        Some(_) => return None,
    };
    let definition = |item| Tree::node(item).filter(|node| node.kind == "ColumnDef");
    let names = items
        .iter()
        .map(|item| Some(definition(item)?.text("colname")));
    names.collect()
}

/// The name under which functions in FROM stand without an alias: that of the first
/// (`addRangeTableEntryForFunction` in `src/backend/parser/parse_relation.c`).
pub(super) fn alias(node: &Node, version: u32) -> Option<&str> {
    naming::known(first_call(node)?, version)
}

/// Each function stands in a list of its own, before its definition of columns.
fn first_call(node: &Node) -> Option<&Node> {
    let first = node.list("functions").first()?.node()?;
    first.list("items").first().and_then(Tree::node)
}
