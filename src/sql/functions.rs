//! Which functions, operators and types a restricted role may use. An allowlist: what nobody has read is refused.
use std::collections::HashSet;
use std::sync::OnceLock;

use crate::catalog::lineage::purity::PURE_EXTENSIONS;
use crate::catalog::{
    Cast, CastContext, Catalog, FIRST_NORMAL_OID, Function, Oid, Type, TypeKind, Volatility,
};
use crate::policy::compiled::RolePolicy;
use crate::policy::system::closes_counters;

use super::plan::Refusal;
use super::refuse;

/// The reviewed table: functions that are stable or volatile and yet safe, each with its reason.
const REVIEWED: &str = include_str!("functions.tsv");
/// Functions that were read and stay out, immutable ones among them, each with its reason.
const REFUSED: &str = include_str!("refused.tsv");

fn names(table: &'static str) -> HashSet<&'static str> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split('\t').next())
        .collect()
}

fn reviewed() -> &'static HashSet<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| names(REVIEWED))
}

fn refused() -> &'static HashSet<&'static str> {
    static NAMES: OnceLock<HashSet<&'static str>> = OnceLock::new();
    NAMES.get_or_init(|| names(REFUSED))
}

/// Functions that are refused but for calls with so many arguments: another form of the name is what the reason is about.
/// No other function of the name takes as many, by defaults or VARIADIC either.
const SAFE_FORMS: &[(&str, usize)] = &[("ts_rewrite", 3)];

/// Counters that tell what plans have met; views above them do not show them to a role that does not see all rows (`any` in system.tsv).
const COUNT_HIDDEN_ROWS: &[&str] = &[
    // A page with dead rows is pruned when a plan visits it, and that is logged.
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_get_wal_summarizer_state",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_stat_get_lastscan",
    "pg_stat_get_numscans",
];

/// Functions that try the input of a type named by a text: they run what the input of any type runs.
const TRIES_INPUT: &[&str] = &["pg_input_is_valid", "pg_input_error_info"];

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
    /// A type's input or a cast calls this function (`schema.name`), which is outside the allowlist.
    Runs(String),
}

/// Whether every function that the name could mean may be called. Overloads are told apart by argument types, which
/// only the server knows, so all of them must be allowed. `arguments`: how many the call has; `None` where that cannot
/// be told.
pub fn check_function(
    catalog: &Catalog,
    role: &RolePolicy,
    path: &[String],
    schema: Option<&str>,
    name: &str,
    arguments: Option<usize>,
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
        let safe_form = function.built_in
            && arguments.is_some_and(|arguments| SAFE_FORMS.contains(&(name, arguments)));
        if !safe_form && !function_allowed(catalog, role, function, name) {
            return Err(Objection::NotAllowed(format!("{}.{name}", function.schema)));
        }
    }
    // The grammar's own name for it; PostgreSQL 13 knows the function as `date_part`.
    if found || (name == "extract" && schema == Some("pg_catalog")) {
        return Ok(());
    }
    // `name(row)` may be a column in functional notation, and `name(x)` a cast to a type of that name.
    if catalog.types_named(name).next().is_some() {
        return check_type(catalog, role, path, schema, name);
    }
    Err(Objection::Undefined)
}

/// Whether a function of that name is one of the database's own, and of no extension.
pub fn may_be_users(catalog: &Catalog, name: &str) -> bool {
    let overloads = catalog.functions.get(name).into_iter().flatten();
    overloads
        .into_iter()
        .any(|function| !function.built_in && function.extension.is_none())
}

/// Functions that nothing of a statement can be an argument of: they take `internal`, or nothing.
const TAKES_NO_VALUE: &[&str] = &["system", "bernoulli", "current_query"];

/// What the server calls for `value.name` where the value has no such column: a function of one argument, or a cast to a
/// type of that name. The value may be of any type, not only a row (`ParseFuncOrColumn` in
/// `src/backend/parser/parse_func.c`): `('...'::text).ts_stat` runs the text.
pub fn check_field(
    catalog: &Catalog,
    role: &RolePolicy,
    path: &[String],
    name: &str,
) -> Result<(), Objection> {
    if TAKES_NO_VALUE.contains(&name) && is_built_in(catalog, name) {
        return Ok(());
    }
    match check_function(catalog, role, path, None, name, Some(1)) {
        Err(Objection::Undefined) => Ok(()),
        decided => decided,
    }
}

fn is_built_in(catalog: &Catalog, name: &str) -> bool {
    let overloads = catalog.functions.get(name).into_iter().flatten();
    let mut overloads = overloads.peekable();
    overloads.peek().is_some() && overloads.all(|function| function.built_in)
}

fn function_allowed(catalog: &Catalog, role: &RolePolicy, function: &Function, name: &str) -> bool {
    if function.built_in {
        if TRIES_INPUT.contains(&name) && !inputs_are_safe(catalog) {
            return false;
        }
        if COUNT_HIDDEN_ROWS.contains(&name) && closes_counters(role) {
            return false;
        }
        return reviewed().contains(name)
            || (function.volatility == Volatility::Immutable && !refused().contains(name));
    }
    (safe_extension(function.extension.as_deref()) && !function.security_definer)
        || allows(role, &format!("{}.{name}", function.schema))
}

fn allows(role: &RolePolicy, function: &str) -> bool {
    role.functions.contains(function)
}

/// Whether the input of no type in the database runs code that nobody has read.
fn inputs_are_safe(catalog: &Catalog) -> bool {
    catalog
        .checked_types
        .values()
        .flatten()
        .all(|checker| safe_extension(checker.extension.as_deref()))
        && catalog
            .types
            .iter()
            .all(|(oid, data_type)| !has_foreign_input(*oid, data_type))
}

/// Whether every operator that the name could mean is PostgreSQL's own or a safe extension's.
pub fn check_operator(
    catalog: &Catalog,
    role: &RolePolicy,
    path: &[String],
    schema: Option<&str>,
    name: &str,
) -> Result<(), Objection> {
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

/// Whether a cast to the type runs no code but PostgreSQL's own and that of functions the policy allows: neither its
/// input (a base type's, or what the CHECK of a domain in it calls) nor a user's cast.
pub fn check_type(
    catalog: &Catalog,
    role: &RolePolicy,
    path: &[String],
    schema: Option<&str>,
    name: &str,
) -> Result<(), Objection> {
    for (oid, candidate) in catalog.numbered_types_named(name) {
        let reachable = match schema {
            Some(schema) => candidate.schema == schema,
            None => path.contains(&candidate.schema),
        };
        if reachable {
            check_numbered_type(catalog, role, oid, candidate)?;
        }
    }
    Ok(())
}

/// Why a parameter may not have a type given by its OID. One that the catalog does not know is the server's to judge: it
/// is dropped, or of another session.
pub fn parameter_refusal(catalog: &Catalog, role: &RolePolicy, oid: Oid) -> Option<Refusal> {
    let data_type = catalog.types.get(&oid)?;
    match check_numbered_type(catalog, role, oid, data_type) {
        Err(Objection::NotAllowed(full)) => Some(refuse::data_type(&full)),
        Err(Objection::Runs(full)) => Some(refuse::function(&full)),
        Ok(()) | Err(Objection::Undefined) => None,
    }
}

fn check_numbered_type(
    catalog: &Catalog,
    role: &RolePolicy,
    oid: Oid,
    data_type: &Type,
) -> Result<(), Objection> {
    if has_foreign_input(oid, data_type) {
        let name = format!("{}.{}", data_type.schema, data_type.name);
        return Err(Objection::NotAllowed(name));
    }
    let checkers = catalog.checked_types.get(&oid).into_iter().flatten();
    for checker in checkers {
        if !safe_extension(checker.extension.as_deref()) && !allows(role, &checker.name) {
            return Err(Objection::Runs(checker.name.clone()));
        }
    }
    match unread_casts(catalog, role).find(|cast| cast.types.contains(&oid)) {
        Some(cast) => Err(Objection::Runs(cast.function.clone())),
        None => Ok(()),
    }
}

/// Enums, composites, domains and ranges in any schema are data; a base type brings input functions with it.
fn has_foreign_input(oid: Oid, data_type: &Type) -> bool {
    data_type.kind == TypeKind::Base
        && data_type.category != 'A'
        && oid >= FIRST_NORMAL_OID
        && !safe_extension(data_type.extension.as_deref())
}

/// `json` and `jsonb`: functions that build JSON look for a cast to `json` themselves (`json_categorize_type` in
/// utils/adt/jsonfuncs.c).
const JSON: [Oid; 2] = [114, 3_802];

/// Casts by functions that nobody has read. A cast function is called by the server itself wherever a value of its
/// source type meets a demand for its target type, and types are not worked out here: so a statement that can have such
/// a value is refused, by [`check_relation`], [`check_type`], [`parameter_refusal`] and [`check_casts`].
fn unread_casts<'a>(catalog: &'a Catalog, role: &'a RolePolicy) -> impl Iterator<Item = &'a Cast> {
    catalog
        .casts
        .iter()
        .filter(|cast| !safe_extension(cast.extension.as_deref()) && !allows(role, &cast.function))
}

/// Whether reading or writing the relation can bring a value that a user's cast applies to.
pub fn check_relation(
    catalog: &Catalog,
    role: &RolePolicy,
    relation: Oid,
) -> Result<(), Objection> {
    match unread_casts(catalog, role).find(|cast| cast.relations.contains(&relation)) {
        Some(cast) => Err(Objection::Runs(cast.function.clone())),
        None => Ok(()),
    }
}

/// Whether a superuser's cast between PostgreSQL's own types takes part in any statement, or in any that writes.
pub fn check_casts(catalog: &Catalog, role: &RolePolicy, writes: bool) -> Result<(), Objection> {
    let applies = |cast: &&Cast| {
        cast.source < FIRST_NORMAL_OID
            && cast.target < FIRST_NORMAL_OID
            && (cast.context == CastContext::Implicit
                || JSON.contains(&cast.target)
                || (writes && cast.context == CastContext::Assignment))
    };
    match unread_casts(catalog, role).find(applies) {
        Some(cast) => Err(Objection::Runs(cast.function.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions of PostgreSQL 13 to 18: name, volatilities of its overloads, versions.
    const KNOWN: &str = include_str!("../../tests/functions/names.txt");

    fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
        KNOWN
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, rest) = line.split_once(' ').expect("a name and volatilities");
                let (volatilities, _) = rest.split_once(' ').expect("volatilities and versions");
                (
                    name.strip_prefix("information_schema.").unwrap_or(name),
                    volatilities,
                )
            })
    }

    #[test]
    fn every_line_has_a_reason_and_stands_once() {
        let mut seen = HashSet::new();
        let lines = REVIEWED.lines().chain(REFUSED.lines());
        for line in lines.filter(|line| !line.starts_with('#')) {
            let (name, reason) = line.split_once('\t').expect("a tab");
            assert!(reason.len() > 5, "{name} has no reason");
            assert!(seen.insert(name), "{name} stands twice");
        }
    }

    #[test]
    fn every_function_of_postgresql_13_to_18_is_immutable_reviewed_or_refused() {
        let unread: Vec<&str> = known()
            .filter(|(name, volatilities)| {
                *volatilities != "i" && !reviewed().contains(name) && !refused().contains(name)
            })
            .map(|(name, _)| name)
            .collect();
        assert!(unread.is_empty(), "nobody has read {unread:?}");
        assert!(known().count() > 2_700);
    }

    #[test]
    fn every_line_is_about_a_function_that_some_version_has() {
        let known: HashSet<&str> = known().map(|(name, _)| name).collect();
        for name in reviewed().iter().chain(refused()) {
            assert!(known.contains(name) || *name == "extract", "{name}");
        }
    }

    #[test]
    fn functions_that_run_sql_or_read_storage_are_refused() {
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
            "domain_in",
            "array_in",
        ] {
            assert!(
                refused().contains(name) && !reviewed().contains(name),
                "{name}"
            );
        }
    }
}
