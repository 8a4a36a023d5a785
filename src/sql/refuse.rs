//! Refusals: one constructor per reason, so that every message says what was refused, by which rule, and the way out.
use std::panic::Location;

use super::marks;
use super::plan::{Reason, Refusal, TIED_DETAIL, TIED_HINT};

const ASK: &str = "ask the owner of the pgveil policy if your role needs this";

#[track_caller]
fn denial(reason: Reason, message: String, detail: &str, hint: String) -> Refusal {
    marks::reach(Location::caller());
    Refusal {
        reason,
        sqlstate: "42501",
        message,
        detail: detail.to_owned(),
        hint,
        position: None,
    }
}

#[track_caller]
pub fn statement(kind: &str) -> Refusal {
    denial(
        Reason::Statement,
        format!("{kind} is not allowed for this role"),
        "restricted roles run reads, plain writes, transactions, cursors and session settings",
        format!("run {kind} as an unrestricted role, or {ASK}"),
    )
}

/// A statement that is allowed on temporary relations only.
#[track_caller]
pub fn permanent(kind: &str) -> Refusal {
    denial(
        Reason::Statement,
        format!("{kind} of a permanent relation is not allowed for this role"),
        "restricted roles may define temporary relations only",
        format!("use a temporary table (CREATE TEMP TABLE), or {ASK}"),
    )
}

/// A temporary relation that was to hold rows of protected ones, and does not or not all.
#[track_caller]
pub fn spoiled(name: &str) -> Refusal {
    denial(
        Reason::Relation,
        format!("the temporary relation \"{name}\" is not read any more"),
        "a statement that was to write temporary relations by rows of protected ones was stopped or has failed, and what was taken back leaves traces",
        format!("DROP TABLE {name}, and make it anew"),
    )
}

/// A temporary table by the name of a permanent relation.
#[track_caller]
pub fn shadows(relation: &str) -> Refusal {
    denial(
        Reason::Relation,
        format!("a temporary table may not have the name of {relation}"),
        "triggers and functions that name the permanent relation would write stored values into the temporary one",
        "give the temporary table another name".to_owned(),
    )
}

#[track_caller]
pub fn construct(what: &str, hint: &str) -> Refusal {
    denial(
        Reason::Construct,
        format!("{what} is not supported over protected data"),
        "what cannot be masked with certainty is not run",
        hint.to_owned(),
    )
}

#[track_caller]
pub fn explain() -> Refusal {
    construct(
        "EXPLAIN",
        "estimates and row counts come from stored values; add `explain` to statements.allow of the role",
    )
}

#[track_caller]
pub fn relation(name: &str) -> Refusal {
    denial(
        Reason::Relation,
        format!("relation {name} is not readable for this role"),
        "system relations that hold stored values, activity or secrets are closed to restricted roles",
        ASK.to_owned(),
    )
}

#[track_caller]
pub fn closed(name: &str, why: &str) -> Refusal {
    denial(
        Reason::Relation,
        format!("relation {name} is closed to this role: {why}"),
        "what would show rows that a row rule hides is not read",
        format!("give {name} a row rule of its own, or {ASK}"),
    )
}

/// A write that sets a rule of the rewrite system off.
#[track_caller]
pub fn rule(name: &str, relation: &str, why: &str) -> Refusal {
    denial(
        Reason::Relation,
        format!("the rule {name} on {relation} may not take part in a write of this role: {why}"),
        "what a rule does besides or instead of a write is judged as though the role had sent it",
        format!("write to the relations behind it, or {ASK}"),
    )
}

#[track_caller]
pub fn column(name: &str) -> Refusal {
    denial(
        Reason::Relation,
        format!("column {name} is not open to this role"),
        "the policy denies the role columns that no class names",
        format!("leave the column out, or {ASK}"),
    )
}

/// A column would get another value, and what the schema checks would tell by it of one that is masked.
#[track_caller]
pub fn tied(columns: &str) -> Refusal {
    denial(
        Reason::Construct,
        format!("this role may not change {columns}"),
        TIED_DETAIL,
        TIED_HINT.to_owned(),
    )
}

/// New rows would be held against masked values.
#[track_caller]
pub fn probed(relation: &str, why: &str) -> Refusal {
    denial(
        Reason::Construct,
        format!(
            "this role may not add rows to {relation}: {why} holds them against masked values of others"
        ),
        "whether the write succeeds would tell between which bounds the stored values lie",
        format!("have a role do it that sees the masked column, or {ASK}"),
    )
}

/// A foreign key of a masked column may refer to them; or one would change another row by it, and what the schema checks there
/// would tell of a masked column.
#[track_caller]
pub fn bound(relation: &str, why: &str) -> Refusal {
    denial(
        Reason::Construct,
        format!(
            "this role may not delete rows of {relation}: {why} compares them, or what a foreign key makes of them, with masked values"
        ),
        TIED_DETAIL,
        format!("have a role do it that sees the masked column, or {ASK}"),
    )
}

/// A foreign key would change another row by it, and move that row to where the role sees more of it.
#[track_caller]
pub fn left(relation: &str, why: &str) -> Refusal {
    denial(
        Reason::Construct,
        format!("this role may not delete rows of {relation}: from them {why}"),
        TIED_DETAIL,
        format!("have a role do it that sees all rows, or {ASK}"),
    )
}

#[track_caller]
pub fn function(name: &str) -> Refusal {
    denial(
        Reason::Function,
        format!("function {name} is not on the allowlist"),
        "functions outside the reviewed list can read what the masks hide",
        format!("add `{name}` to functions.allow of the role, or rewrite the statement without it"),
    )
}

#[track_caller]
pub fn operator(name: &str) -> Refusal {
    denial(
        Reason::Operator,
        format!("operator {name} is not on the allowlist"),
        "operators outside pg_catalog count as functions",
        format!(
            "write OPERATOR(pg_catalog.…) for PostgreSQL's own operator, or add `{name}` to functions.allow of the role"
        ),
    )
}

#[track_caller]
pub fn data_type(name: &str) -> Refusal {
    denial(
        Reason::Type,
        format!("type {name} is not on the allowlist"),
        "casts to base types outside pg_catalog count as functions",
        ASK.to_owned(),
    )
}

#[track_caller]
pub fn setting(name: &str, why: &str) -> Refusal {
    denial(
        Reason::Setting,
        format!("setting {name} may not be given this value by this role"),
        why,
        "leave the setting as it is".to_owned(),
    )
}

/// What a default or constraint of a temporary relation may not do.
#[track_caller]
pub fn stored_setting() -> Refusal {
    denial(
        Reason::Setting,
        "a default or constraint may not change a setting".to_owned(),
        "an expression that is stored runs with statements that do not show it",
        "change the setting in a statement of its own".to_owned(),
    )
}

#[track_caller]
pub fn judge(check: &str) -> Refusal {
    denial(
        Reason::Judge,
        "the masked form of the statement could not be verified".to_owned(),
        check,
        "write the statement in a simpler form, for instance with table aliases; if it looks plain already, report it"
            .to_owned(),
    )
}

#[track_caller]
pub fn limit(what: &str) -> Refusal {
    denial(
        Reason::Limit,
        format!("the statement is over a limit: {what}"),
        "statements are analysed within fixed bounds",
        "split the statement".to_owned(),
    )
}

/// What the grammar of PostgreSQL 16 and later rejects by another SQLSTATE than its own, and earlier servers in parse
/// analysis (`parsePartitionStrategy` in gram.y, `transformPartitionSpec` in tablecmds.c).
const INVALID_PARAMETER: &str = "unrecognized partitioning strategy ";

/// A text that PostgreSQL's grammar rejects: the server is asked for its own error.
#[track_caller]
pub fn syntax(message: &str) -> Refusal {
    marks::reach(Location::caller());
    Refusal {
        reason: Reason::Syntax,
        sqlstate: match message.starts_with(INVALID_PARAMETER) {
            true => "22023",
            false => "42601",
        },
        message: message.to_owned(),
        detail: "PostgreSQL 18's grammar does not accept the statement".to_owned(),
        hint: String::new(),
        position: None,
    }
}

#[track_caller]
pub fn undefined_function(name: &str) -> Refusal {
    undefined("42883", format!("function {name} does not exist"))
}

/// The same, with the types of its arguments.
#[track_caller]
pub fn undefined_overload(signature: &str) -> Refusal {
    let refusal = undefined("42883", format!("function {signature} does not exist"));
    Refusal {
        hint: "No function matches the given name and argument types. You might need to add explicit type casts.".to_owned(),
        ..refusal
    }
}

/// A relation, function or schema that is not there: PostgreSQL's own message.
#[track_caller]
pub fn undefined(sqlstate: &'static str, message: String) -> Refusal {
    marks::reach(Location::caller());
    Refusal {
        reason: Reason::Undefined,
        sqlstate,
        message,
        detail: String::new(),
        hint: String::new(),
        position: None,
    }
}
