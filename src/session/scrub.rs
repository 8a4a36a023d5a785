//! Errors and notices of a restricted session, rebuilt so that they carry no data.
//!
//! What a value raises can quote the value: `invalid input syntax for type integer: "secret"`, DETAIL `Key
//! (phone)=(...) already exists`, a RAISE in a trigger. SQLSTATE, severity and object names stay; CONTEXT and the internal
//! query go, DETAIL nearly always (of a violated key its columns stay: [`detail_of_key`]); the message stays where its SQLSTATE class only ever names objects and the client's
//! own statement raised it, and is built anew elsewhere: a function may build SQL from stored values, and then even
//! `column "..." does not exist` quotes one. So does `relation "..." does not exist`, where a view takes a value for a name
//! ([`reach`]).
mod conditions;
mod reach;

use std::collections::HashSet;
use std::sync::OnceLock;

use conditions::{RAISED, condition};
pub use reach::Reach;
use reach::{found_by_analysis, speaks_of_names};

use crate::sql::plan::PositionMap;
use crate::wire::error::ErrorFields;

/// SQLSTATE classes whose messages name objects, settings and states, never values (PostgreSQL Appendix A).
const CLASSES_WITHOUT_DATA: &[&str] = &[
    "08", "0A", "0B", "24", "25", "26", "28", "2B", "2D", "34", "3B", "3D", "3F", "40", "42", "53",
    "55", "57",
];

/// SQLSTATEs of other classes whose hints are always the same ones: a backslash before a quote, the form of escapes.
const HINTED: &[&str] = &["22P06", "22025"];

/// Classes whose details name objects only: what depends on what, which form of a statement is not supported.
const CLASSES_WITH_DETAIL: &[&str] = &["0A", "25", "2B", "42"];

/// Routines that give any SQLSTATE to any message: RAISE and ASSERT of PL/pgSQL (pl_exec.c), `elog` of PL/Perl, PL/Python and
/// PL/Tcl.
const RAISING_ROUTINES: &[&str] = &[
    "exec_stmt_raise",
    "exec_stmt_assert",
    "plperl_util_elog",
    "do_util_elog",
    "PLy_elog_impl",
    "PLy_elog",
    "PLy_output",
    "pltcl_elog",
    "throw_pltcl_error",
    "croak_cstr",
    "plperl_call_perl_func",
    "plperl_call_perl_trigger_func",
];

/// Routines that pass on an error of another server, with any SQLSTATE and message (postgres_fdw, dblink).
const FORWARDING_ROUTINES: &[&str] = &["pgfdw_report_error", "pgfdw_report", "dblink_res_error"];

const SYNTAX_ERROR: &str = "42601";

pub const WITHHELD_NOTICE: &str = "a notice of the server was withheld";

/// name_too_long, of which the server only ever says that it cuts a name off.
const NAME_TOO_LONG: &str = "42622";
const NAME_CUT_OFF: &str = "an identifier will be truncated";

/// Messages of data-carrying classes that are complete sentences without a value, one in a line.
const SENTENCES: &str = include_str!("scrub/sentences.txt");

/// Heads of messages that are kept up to the value they go on with.
const HEADS: &[&str] = &[
    "invalid input syntax for type ",
    "value too long for type ",
    "invalid byte sequence for encoding ",
    "date/time field value out of range",
    "time zone displacement out of range",
    "invalid input value for enum ",
    "malformed array literal",
    "malformed record literal",
    "malformed range literal",
    "missing data for column ",
    "no operand in tsquery",
    "syntax error in hstore",
    "syntax error in tsquery",
    "syntax error in tsvector",
    "null value not allowed",
];

/// Notices whose text says nothing beyond names, by their ends.
const NOTICE_ENDS: &[&str] = &[
    "there is already a transaction in progress",
    "there is no transaction in progress",
    "already exists, skipping",
    "does not exist, skipping",
    "will be truncated to",
    "--- only table or database owner can analyze it",
    "--- only superuser or database owner can analyze it",
    "--- only superuser can analyze it",
    "\", skipping it",
    "you don't own a lock of type ExclusiveLock",
    "you don't own a lock of type ShareLock",
];

/// An error of the server as a restricted session may see it. `positions` maps from the text that ran.
pub fn error(fields: &ErrorFields, positions: Option<&PositionMap>, reach: Reach) -> ErrorFields {
    let class = fields.sqlstate.get(..2).unwrap_or_default();
    let in_statement = !raised(fields) && !quotes_input(fields) && speaks_of_names(fields, reach);
    let names_only_in = |classes: &[&str]| classes.contains(&class) && in_statement;
    let kept = |text: &Option<String>, keeps: bool| {
        text.as_ref()
            .filter(|_| keeps)
            .map(|text| without_added_schema(text))
    };
    ErrorFields {
        message: message(fields, reach),
        hint: kept(
            &fields.hint,
            names_only_in(CLASSES_WITHOUT_DATA) || HINTED.contains(&fields.sqlstate.as_str()),
        ),
        detail: kept(&fields.detail, names_only_in(CLASSES_WITH_DETAIL)),
        position: position(fields, positions, reach),
        ..names_only(fields)
    }
}

/// DETAIL of a constraint that a row of such a relation (`schema.name`) violates: its values are the client's to see, as they
/// would be if they had been stored.
pub fn detail_of_own_row(fields: &ErrorFields, relations: &[String]) -> Option<String> {
    let (schema, table) = (fields.schema.as_deref()?, fields.table.as_deref()?);
    let is_own = relations.iter().any(|name| {
        name.strip_prefix(schema)
            .and_then(|name| name.strip_prefix('.'))
            == Some(table)
    });
    let violates = fields.sqlstate.starts_with("23") && constraint_message(fields).is_some();
    // An expression of an index or a partition key may have been made of anything.
    let detail = fields.detail.as_deref().unwrap_or_default();
    let between = match fields.sqlstate.as_str() {
        "23505" | "23P01" => Some(")=("),
        "23514" if fields.message.starts_with(NO_PARTITION) => Some(") = ("),
        _ => None,
    };
    let of_expression = between.is_some_and(|between| {
        let key = detail.split_once(between);
        let key = key.and_then(|(key, _)| key.split_once('('));
        key.is_none_or(|(_, columns)| columns.contains('('))
    });
    fields.detail.clone().filter(|_| {
        is_own
            && violates
            && !of_expression
            && !raised(fields)
            && !reported_by(fields, RAISING_ROUTINES)
    })
}

/// DETAIL of a violated key without its values: which columns it has, and which table refers or is referred to, programs read
/// from there and people want to know.
pub fn detail_of_key(fields: &ErrorFields) -> Option<String> {
    let ends: &[&str] = match fields.sqlstate.as_str() {
        "23503" => &[
            ") is not present in table ",
            ") is still referenced from table ",
        ],
        "23505" => &[") already exists."],
        _ => return None,
    };
    if raised(fields) || constraint_message(fields).is_none() {
        return None;
    }
    let detail = fields.detail.as_deref()?;
    // A value may hold any of these, but not before the first one or behind the last.
    let (columns, rest) = detail.strip_prefix("Key (")?.split_once(")=(")?;
    let end = ends.iter().filter_map(|end| rest.rfind(end)).max()?;
    let end = rest.get(end..)?;
    Some(format!("Key ({columns})=(...{end}"))
}

/// Whether it may be a value of a row that raised it: neither the statement's analysis nor a shortage.
pub fn may_be_of_rows(fields: &ErrorFields) -> bool {
    let class = fields.sqlstate.get(..2).unwrap_or_default();
    raised(fields) || !CLASSES_WITHOUT_DATA.contains(&class)
}

/// A notice of the server as a restricted session may see it.
pub fn notice(fields: &ErrorFields, positions: Option<&PositionMap>, reach: Reach) -> ErrorFields {
    let class = fields.sqlstate.get(..2).unwrap_or_default();
    let known = !raised(fields)
        && (CLASSES_WITHOUT_DATA.contains(&class) && speaks_of_names(fields, reach)
            || NOTICE_ENDS.iter().any(|end| fields.message.ends_with(end)));
    ErrorFields {
        message: if known {
            without_added_schema(&fields.message)
        } else if fields.sqlstate == NAME_TOO_LONG {
            NAME_CUT_OFF.to_owned()
        } else {
            WITHHELD_NOTICE.to_owned()
        },
        position: position(fields, positions, reach),
        ..names_only(fields)
    }
}

/// Where in the client's text; not where in a value that was read as a statement is.
fn position(fields: &ErrorFields, positions: Option<&PositionMap>, reach: Reach) -> Option<u32> {
    fields
        .position
        .filter(|_| reach == Reach::Names || found_by_analysis(fields))
        .map(|position| positions.map_or(position, |positions| positions.to_client(position)))
}

/// The routine of the server that reported it is among these.
fn reported_by(fields: &ErrorFields, routines: &[&str]) -> bool {
    let routine = fields.routine.as_deref();
    routine.is_some_and(|routine| routines.contains(&routine))
}

/// A function of the database made the message, or the SQL that failed.
fn raised(fields: &ErrorFields) -> bool {
    reported_by(fields, RAISING_ROUTINES)
        || reported_by(fields, FORWARDING_ROUTINES)
        || fields.internal_query.is_some()
        || fields.context.as_deref().is_some_and(in_function)
}

/// Whether a CONTEXT tells of a function: `PL/pgSQL function f() line 3 at SQL statement`, `SQL function "f" statement
/// 1`, `SQL statement "..."`, `PL/Perl function "f"`. Those of COPY and of the parser do not.
fn in_function(context: &str) -> bool {
    context.contains(" function ")
        || context.contains("SQL statement \"")
        || context.contains("PL/")
}

/// What whoever calls RAISE puts into the fields for names (`USING CONSTRAINT = ...`) need not be names.
fn names_only(fields: &ErrorFields) -> ErrorFields {
    let is_named = !reported_by(fields, RAISING_ROUTINES);
    let name = |field: &Option<String>| field.clone().filter(|_| is_named);
    ErrorFields {
        severity: fields.severity.clone(),
        sqlstate: fields.sqlstate.clone(),
        schema: name(&fields.schema),
        table: name(&fields.table),
        column: name(&fields.column),
        data_type: name(&fields.data_type),
        constraint: name(&fields.constraint),
        file: fields.file.clone(),
        line: fields.line.clone(),
        routine: fields.routine.clone(),
        ..ErrorFields::default()
    }
}

fn message(fields: &ErrorFields, reach: Reach) -> String {
    if reported_by(fields, RAISING_ROUTINES) {
        return RAISED.to_owned();
    }
    if reported_by(fields, FORWARDING_ROUTINES) {
        return condition(&fields.sqlstate);
    }
    let class = fields.sqlstate.get(..2).unwrap_or_default();
    // Cancels, conflicts and shortages read the same wherever they happen.
    let independent = ["23", "25", "40", "53", "57"].contains(&class);
    if raised(fields) && !independent {
        return condition(&fields.sqlstate);
    }
    let names_alone = !quotes_input(fields) && speaks_of_names(fields, reach);
    if CLASSES_WITHOUT_DATA.contains(&class) && names_alone {
        return without_added_schema(&fields.message);
    }
    constraint_message(fields)
        .or_else(|| kept_part(&fields.message))
        .unwrap_or_else(|| condition(&fields.sqlstate))
}

/// A syntax error in a value: of a `tsquery`, `jsonpath`, `hstore` or `ltree`, which say so with the SQLSTATE of an error in
/// the statement. That has a position; so has one in a literal of the statement.
fn quotes_input(fields: &ErrorFields) -> bool {
    fields.sqlstate == SYNTAX_ERROR && fields.position.is_none() && fields.message.contains('"')
}

const NO_PARTITION: &str = "no partition of relation ";

/// PostgreSQL's own wording, from the object names alone.
fn constraint_message(fields: &ErrorFields) -> Option<String> {
    let table = fields.table.as_deref();
    let constraint = fields.constraint.as_deref();
    let column = fields.column.as_deref();
    match fields.sqlstate.as_str() {
        "23502" if fields.data_type.is_some() => Some(format!(
            "domain {} does not allow null values",
            domain(fields, "domain ", " does not allow null values")?
        )),
        "23514" if fields.data_type.is_some() => {
            let end = format!(" violates check constraint \"{}\"", constraint?);
            let domain = domain(fields, "value for domain ", &end)?;
            Some(format!("value for domain {domain}{end}"))
        }
        "23502" => Some(format!(
            "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
            column?, table?
        )),
        "23503" if fields.message.starts_with("insert or update") => Some(format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            table?, constraint?
        )),
        "23503" => Some(format!(
            "update or delete violates foreign key constraint \"{}\"",
            constraint?
        )),
        "23505" => Some(format!(
            "duplicate key value violates unique constraint \"{}\"",
            constraint?
        )),
        "23514" if fields.message.starts_with(NO_PARTITION) => {
            Some(format!("{NO_PARTITION}\"{}\" found for row", table?))
        }
        "23514" => Some(format!(
            "new row for relation \"{}\" violates check constraint \"{}\"",
            table?, constraint?
        )),
        "23P01" => Some(format!(
            "conflicting key value violates exclusion constraint \"{}\"",
            constraint?
        )),
        _ => None,
    }
}

/// A domain's name as the message spells it between these (`format_type_be`), with or without its schema and quotes.
fn domain<'a>(fields: &'a ErrorFields, head: &str, end: &str) -> Option<&'a str> {
    let spelled = fields.message.strip_prefix(head)?.strip_suffix(end)?;
    let quoted = |name: &str| {
        [
            name.to_owned(),
            format!("\"{}\"", name.replace('"', "\"\"")),
        ]
    };
    let (name, schema) = (fields.data_type.as_deref()?, fields.schema.as_deref()?);
    let is_spelled = quoted(name).iter().any(|name| {
        let mut schemas = quoted(schema).into_iter();
        spelled == name || schemas.any(|schema| spelled == format!("{schema}.{name}"))
    });
    is_spelled.then_some(spelled)
}

/// The message, or its head, if it is one of those whose wording is known.
fn kept_part(message: &str) -> Option<String> {
    if is_sentence(message) {
        return Some(message.to_owned());
    }
    // `value "99999999999" is out of range for type integer`: the type stands behind the value.
    if let Some((_, data_type)) = message.rsplit_once(" is out of range for type ")
        && is_type_name(data_type)
    {
        return Some(format!("value out of range for type {data_type}"));
    }
    let known = HEADS.iter().find(|head| message.starts_with(**head))?;
    let head = message.split(": ").next().unwrap_or_default();
    let named = head.get(known.len()..)?;
    is_type_name(named).then(|| head.to_owned())
}

fn is_sentence(message: &str) -> bool {
    static KNOWN: OnceLock<HashSet<&'static str>> = OnceLock::new();
    let known = || {
        SENTENCES
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect()
    };
    KNOWN.get_or_init(known).contains(message)
}

/// A type or object name as the server puts it after a fixed head: `character varying(20)`, `"UTF8"`.
fn is_type_name(text: &str) -> bool {
    const LONGEST: usize = 160;
    text.len() <= LONGEST
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || " _.,\"[]()".contains(c))
}

/// The planner puts `pg_temp.` before names that the catalog does not know; the client did not write it.
fn without_added_schema(text: &str) -> String {
    text.replace("pg_temp.", "")
}

#[cfg(test)]
mod tests;
