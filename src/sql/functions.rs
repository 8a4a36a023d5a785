//! Which functions, operators and types a restricted role may use. An allowlist: what nobody has read is refused.
use std::collections::HashSet;
use std::sync::OnceLock;

use crate::catalog::lineage::purity::PURE_EXTENSIONS;
use crate::catalog::{Catalog, Function, TypeKind, Volatility};
use crate::policy::compiled::RolePolicy;

/// The reviewed table: functions of `pg_catalog` that are stable or volatile and yet safe, each with its reason.
const REVIEWED: &str = include_str!("functions.tsv");

fn reviewed() -> &'static HashSet<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        REVIEWED
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split('\t').next())
            .collect()
    })
}

/// Whether objects of that extension are safe for restricted roles.
pub fn safe_extension(extension: Option<&str>) -> bool {
    extension.is_some_and(|name| PURE_EXTENSIONS.contains(&name))
}

/// Why a name may not be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Objection {
    /// No such function in any schema where the name is looked up.
    Undefined,
    /// `schema.name` is outside the allowlist.
    NotAllowed(String),
}

/// Whether every function that the name could mean may be called. Overloads are told apart by argument types, which
/// only the server knows, so all of them must be allowed.
pub fn check_function(
    catalog: &Catalog,
    role: &RolePolicy,
    path: &[String],
    schema: Option<&str>,
    name: &str,
) -> Result<(), Objection> {
    let overloads = catalog.functions.get(name).map_or(&[][..], Vec::as_slice);
    let mut found = false;
    for function in overloads {
        let reachable = match schema {
            Some(schema) => function.schema == schema,
            None => path.contains(&function.schema),
        };
        if !reachable {
            continue;
        }
        found = true;
        if !function_allowed(role, function, name) {
            return Err(Objection::NotAllowed(format!("{}.{name}", function.schema)));
        }
    }
    if found {
        return Ok(());
    }
    // `name(row)` may be a column in functional notation, and `name(x)` a cast to a type of that name.
    if catalog.types_named(name).next().is_some() {
        return Ok(());
    }
    Err(Objection::Undefined)
}

fn function_allowed(role: &RolePolicy, function: &Function, name: &str) -> bool {
    let built_in = matches!(
        function.schema.as_str(),
        "pg_catalog" | "information_schema"
    );
    if built_in && function.extension.is_none() {
        return function.volatility == Volatility::Immutable
            || (function.schema == "pg_catalog" && reviewed().contains(name));
    }
    safe_extension(function.extension.as_deref())
        || role
            .functions
            .contains(&format!("{}.{name}", function.schema))
}

/// Whether every operator that the name could mean is PostgreSQL's own or a safe extension's.
pub fn check_operator(
    catalog: &Catalog,
    role: &RolePolicy,
    path: &[String],
    schema: Option<&str>,
    name: &str,
) -> Result<(), Objection> {
    if schema == Some("pg_catalog") {
        return Ok(());
    }
    let candidates = catalog.operators.get(name).map_or(&[][..], Vec::as_slice);
    for operator in candidates {
        let reachable = match schema {
            Some(schema) => operator.schema == schema,
            None => path.contains(&operator.schema),
        };
        let full_name = format!("{}.{name}", operator.schema);
        if reachable
            && !safe_extension(operator.extension.as_deref())
            && !role.functions.contains(&full_name)
        {
            return Err(Objection::NotAllowed(full_name));
        }
    }
    Ok(())
}

/// Whether a cast to the type runs no code but PostgreSQL's own. Enums, composites, domains and ranges in any schema
/// are data; a base type brings input functions with it.
pub fn check_type(
    catalog: &Catalog,
    path: &[String],
    schema: Option<&str>,
    name: &str,
) -> Result<(), Objection> {
    for candidate in catalog.types_named(name) {
        let reachable = match schema {
            Some(schema) => candidate.schema == schema,
            None => path.contains(&candidate.schema),
        };
        if reachable
            && candidate.kind == TypeKind::Base
            && candidate.category != 'A'
            && candidate.schema != "pg_catalog"
            && !safe_extension(candidate.extension.as_deref())
        {
            return Err(Objection::NotAllowed(format!(
                "{}.{name}",
                candidate.schema
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reviewed_function_has_a_reason_and_stands_once() {
        let mut seen = HashSet::new();
        for line in REVIEWED.lines().filter(|line| !line.starts_with('#')) {
            let (name, reason) = line.split_once('\t').expect("a tab");
            assert!(reason.len() > 5, "{name} has no reason");
            assert!(seen.insert(name), "{name} stands twice");
        }
    }

    #[test]
    fn functions_that_run_sql_or_read_storage_are_not_reviewed_in() {
        for name in [
            "query_to_xml",
            "table_to_xml",
            "cursor_to_xml",
            "database_to_xml",
            "ts_stat",
            "ts_rewrite",
            "pg_read_file",
            "pg_read_binary_file",
            "lo_get",
            "lo_from_bytea",
            "pg_stat_get_activity",
            "pg_logical_slot_get_changes",
            "pg_export_snapshot",
            "current_query",
        ] {
            assert!(!reviewed().contains(name), "{name}");
        }
    }
}
