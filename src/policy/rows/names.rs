//! Gives functions, operators, types and collations their schema.
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, String as Name, TypeName};

use super::Objection;
use crate::catalog::{Catalog, Function, Volatility};

const SYSTEM: &str = "pg_catalog";
/// Names of the operators of `pg_catalog` (pg_operator.dat, the same in PostgreSQL 13 to 18).
const OPERATORS: &[&str] = &[
    "!!", "!~", "!~*", "!~~", "!~~*", "##", "#", "#-", "#>", "#>>", "%", "&&", "&", "&<", "&<|",
    "&>", "*", "*<", "*<=", "*<>", "*=", "*>", "*>=", "+", "->", "->>", "-|-", "/", "<", "<->",
    "<<", "<<=", "<<|", "<=", "<>", "<@", "<^", "=", ">", ">=", ">>", ">>=", ">^", "?#", "?&", "?",
    "?-", "?-|", "?|", "?||", "@", "@-@", "@>", "@?", "@@", "@@@", "^", "^@", "|&>", "|", "|/",
    "|>>", "||", "||/", "~", "~*", "~<=~", "~<~", "~=", "~>=~", "~>~", "~~", "~~*", "-",
];
/// Collations that initdb makes under these names on every platform (pg_collation.dat).
const COLLATIONS: [&str; 4] = ["C", "POSIX", "default", "ucs_basic"];

pub fn name(text: &str) -> Node {
    Node {
        node: Some(NodeEnum::String(Name {
            sval: text.to_owned(),
        })),
    }
}

pub fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}

/// Schema, if there is one, and name.
fn parts(names: &[Node]) -> Option<(Option<&str>, &str)> {
    match names {
        [only] => Some((None, string(only)?)),
        [schema, last] => Some((Some(string(schema)?), string(last)?)),
        _ => None,
    }
}

pub fn operator(names: &mut Vec<Node>, catalog: &Catalog) -> Result<(), Objection> {
    let (schema, operator) = parts(names).ok_or_else(|| Objection::new("expected an operator"))?;
    let own = OPERATORS.contains(&operator);
    match schema {
        Some(SYSTEM) if own => Ok(()),
        Some(schema) => {
            let known = catalog.operators.get(operator).is_some_and(|overloads| {
                overloads.iter().any(|overload| overload.schema == schema)
            });
            match known {
                true => Ok(()),
                false => Err(Objection::new(format!(
                    "the operator `{schema}.{operator}` does not exist"
                ))),
            }
        }
        None if own => {
            *names = vec![name(SYSTEM), name(operator)];
            Ok(())
        }
        None => {
            let schema = catalog
                .operators
                .get(operator)
                .and_then(|overloads| overloads.first())
                .map_or("schema", |found| &found.schema);
            Err(
                Objection::new(format!("`{operator}` is no operator of PostgreSQL's own")).suggest(
                    format!("say which one is meant: `OPERATOR({schema}.{operator})`"),
                ),
            )
        }
    }
}

pub fn function(names: &mut Vec<Node>, catalog: &Catalog) -> Result<(), Objection> {
    let (schema, function) = parts(names).ok_or_else(|| Objection::new("expected a function"))?;
    // Made by the grammar itself; before PostgreSQL 14 the server knew it as `date_part`.
    if schema == Some(SYSTEM) && function == "extract" {
        return Ok(());
    }
    let overloads = catalog
        .functions
        .get(function)
        .map_or(&[][..], Vec::as_slice);
    let found: Vec<&Function> = overloads
        .iter()
        .filter(|overload| overload.schema == schema.unwrap_or(SYSTEM))
        .collect();
    if found.is_empty() {
        return Err(match (schema, overloads.first()) {
            (Some(schema), _) => {
                Objection::new(format!("the function `{schema}.{function}` does not exist"))
            }
            (None, Some(other)) => {
                Objection::new(format!("`{function}` is no function of PostgreSQL's own"))
                    .suggest(format!("did you mean `{}.{function}`?", other.schema))
            }
            (None, None) => Objection::new(format!("the function `{function}` does not exist")),
        });
    }
    if found
        .iter()
        .any(|overload| overload.volatility == Volatility::Volatile)
    {
        return Err(Objection::new(format!(
            "`{function}` is volatile: a row must be visible or not by what it holds"
        ))
        .suggest("use functions that are declared STABLE or IMMUTABLE"));
    }
    if schema.is_none() {
        *names = vec![name(SYSTEM), name(function)];
    }
    Ok(())
}

pub fn data_type(data_type: &mut TypeName, catalog: &Catalog) -> Result<(), Objection> {
    if data_type.pct_type || data_type.setof {
        return Err(Objection::new("expected the name of a type"));
    }
    let (schema, found) =
        parts(&data_type.names).ok_or_else(|| Objection::new("expected a type"))?;
    let mut known = catalog.types_named(found);
    match schema {
        Some(schema) => match known.any(|known| known.schema == schema) {
            true => Ok(()),
            false => Err(Objection::new(format!(
                "the type `{schema}.{found}` does not exist"
            ))),
        },
        None => {
            let schemas: Vec<&str> = known.map(|known| known.schema.as_str()).collect();
            if schemas.contains(&SYSTEM) {
                data_type.names = vec![name(SYSTEM), name(found)];
                return Ok(());
            }
            let objection = Objection::new(format!("`{found}` is no type of PostgreSQL's own"));
            Err(match schemas.first() {
                Some(schema) => objection.suggest(format!("did you mean `{schema}.{found}`?")),
                None => objection,
            })
        }
    }
}

pub fn collation(names: &mut Vec<Node>) -> Result<(), Objection> {
    match parts(names) {
        Some((Some(_), _)) => Ok(()),
        Some((None, collation)) if COLLATIONS.contains(&collation) => {
            *names = vec![name(SYSTEM), name(collation)];
            Ok(())
        }
        _ => Err(Objection::new("a collation needs its schema")
            .suggest("write `COLLATE pg_catalog.\"C\"` or `COLLATE schema.name`")),
    }
}
