//! What a policy names and a database does not have.
use std::collections::BTreeMap;

use crate::catalog::{Catalog, Relation};
use crate::config::diagnostics::closest;
use crate::config::{Diagnostic, Origin};
use crate::policy::PolicySet;
use crate::policy::flow::ClassIndex;
use crate::policy::pattern::{ColumnPattern, NamePattern, RelationName};
use crate::policy::rules::{ClassColumn, Missing};

/// What is missing: a column of a class, or a function of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Absent {
    Column(ClassIndex, usize),
    /// What honeytoken rows are known by, by trap and column.
    Trap(ClassIndex, usize),
    Function(String),
    /// The relation of a row rule, by role and rule.
    Relation(usize, usize),
    /// The relation of a region's rows that are masked.
    Region(String),
}

impl PolicySet {
    pub(super) fn missing(&self, catalog: &Catalog) -> BTreeMap<Absent, Diagnostic> {
        let mut missing = BTreeMap::new();
        for (class, rule) in self.classes.iter().enumerate() {
            for (index, column) in rule.columns.iter().enumerate() {
                if !present(catalog, &column.pattern) {
                    missing.insert(
                        Absent::Column(class, index),
                        report(catalog, column, rule.missing),
                    );
                }
            }
        }
        if let Some(traps) = &self.traps {
            for (absent, finding) in traps.columns().missing(catalog) {
                if let Absent::Column(trap, index) = absent {
                    missing.insert(Absent::Trap(trap, index), finding);
                }
            }
        }
        for rows in self.masked_rows(u32::MAX) {
            let name = &rows.relation;
            if catalog.relation(&name.schema, &name.name).is_none() {
                missing.insert(
                    Absent::Region(name.to_string()),
                    no_relation(catalog, name, &rows.origin),
                );
            }
        }
        for (index, role) in self.roles.iter().enumerate() {
            for (rule, found) in role.rows.iter().enumerate() {
                let name = &found.relation;
                if catalog.relation(&name.schema, &name.name).is_none() {
                    let finding = no_relation(catalog, name, &found.named);
                    missing.insert(Absent::Relation(index, rule), finding);
                }
            }
            for function in role
                .functions
                .iter()
                .filter(|function| !has_function(catalog, function))
            {
                let message = format!(
                    "the function `{function}`, which `{}` may call, does not exist",
                    role.name
                );
                missing
                    .entry(Absent::Function(function.clone()))
                    .or_insert_with(|| Diagnostic::warning(&role.origin, message));
            }
        }
        missing
    }
}

fn no_relation(catalog: &Catalog, relation: &RelationName, named: &Origin) -> Diagnostic {
    let RelationName { schema, name } = relation;
    let message = format!("the relation `{relation}` does not exist");
    let diagnostic = Diagnostic::error(named, message);
    let relations = catalog.relations.values();
    let near = closest(
        name,
        sorted(relations.filter(|relation| relation.schema == *schema)),
    );
    match near {
        Some(found) => diagnostic.suggest(format!("did you mean `{schema}.{found}`?")),
        None => diagnostic,
    }
}

fn has_function(catalog: &Catalog, full_name: &str) -> bool {
    full_name.split_once('.').is_some_and(|(schema, name)| {
        catalog
            .functions
            .get(name)
            .is_some_and(|overloads| overloads.iter().any(|function| function.schema == schema))
    })
}

fn present(catalog: &Catalog, pattern: &ColumnPattern) -> bool {
    catalog
        .relations
        .values()
        .filter(|relation| pattern.matches_relation(relation))
        .any(|relation| {
            relation
                .columns
                .iter()
                .any(|column| pattern.column.matches(&column.name))
        })
}

fn report(catalog: &Catalog, column: &ClassColumn, missing: Missing) -> Diagnostic {
    let pattern = &column.pattern;
    let message = match pattern.is_exact() {
        true => format!("the column `{pattern}` does not exist"),
        false => format!("no column matches `{pattern}`"),
    };
    let diagnostic = match missing {
        Missing::Error => Diagnostic::error(&column.origin, message),
        Missing::Warn => Diagnostic::warning(&column.origin, message),
    };
    match nearest(catalog, pattern) {
        Some(suggestion) => diagnostic.suggest(suggestion),
        None if missing == Missing::Error => {
            diagnostic.suggest("if the column comes and goes, give the class `missing: warn`")
        }
        None => diagnostic,
    }
}

/// Tables that are named where none has a name that is close.
const SHOWN: usize = 3;

/// The name that was most likely meant: a column of the right table, else a table of the right schema, else a schema.
fn nearest(catalog: &Catalog, pattern: &ColumnPattern) -> Option<String> {
    let (NamePattern::Exact(schema), NamePattern::Exact(table)) = (&pattern.schema, &pattern.table)
    else {
        return None;
    };
    if let Some(relation) = catalog.relation(schema, table) {
        let NamePattern::Exact(column) = &pattern.column else {
            return None;
        };
        let found = closest(
            column,
            relation.columns.iter().map(|column| column.name.as_str()),
        )?;
        return Some(format!("did you mean `{schema}.{table}.{found}`?"));
    }
    if catalog.schemas.contains(schema) {
        let tables = sorted(
            catalog
                .relations
                .values()
                .filter(|relation| relation.schema == *schema),
        );
        // A table that has the column is meant sooner than one with a name that is closer still.
        let having: Vec<&str> = sorted(catalog.relations.values().filter(|relation| {
            relation.schema == *schema
                && relation
                    .columns
                    .iter()
                    .any(|column| pattern.column.matches(&column.name))
        }));
        if let Some(found) = closest(table, having.iter().copied()) {
            return Some(format!(
                "did you mean `{schema}.{found}.{}`?",
                pattern.column
            ));
        }
        return match having.as_slice() {
            [] => closest(table, tables).map(|found| {
                format!("the table may be `{schema}.{found}`, which has no such column")
            }),
            few => {
                let few: Vec<String> = few
                    .iter()
                    .take(SHOWN)
                    .map(|table| format!("`{schema}.{table}`"))
                    .collect();
                Some(format!("a column of that name is in {}", few.join(", ")))
            }
        };
    }
    let mut schemas: Vec<&str> = catalog.schemas.iter().map(String::as_str).collect();
    schemas.sort_unstable();
    closest(schema, schemas)
        .map(|found| format!("did you mean `{found}.{table}.{}`?", pattern.column))
}

fn sorted<'a>(relations: impl Iterator<Item = &'a std::sync::Arc<Relation>>) -> Vec<&'a str> {
    let mut names: Vec<&str> = relations.map(|relation| relation.name.as_str()).collect();
    names.sort_unstable();
    names
}
