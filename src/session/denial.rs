//! What a client is told when pgveil does not let something happen.
use crate::export::LimitKind;
use crate::session::statements::Source;
use crate::sql::plan::{
    MASKED_PARTS, POISON, Plan, PositionMap, ROW_RULE, Reason, Refusal, StatementPlan, TIED,
    TIED_DETAIL, TIED_HINT, Verdict,
};
use crate::wire::error::ErrorFields;

/// SQLSTATE of everything a policy does not allow.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// `invalid_sql_statement_name` and `invalid_cursor_name`: what names nothing that is there.
const UNDEFINED_STATEMENT: &str = "26000";
const UNDEFINED_CURSOR: &str = "34000";

/// The denial in place of the error that the poison raised.
///
/// A refusal without a rule says what PostgreSQL itself would say (a syntax error, a name that is not there), in
/// its words.
pub fn of_refusal(refusal: &Refusal) -> ErrorFields {
    if refusal.reason == Reason::Syntax || refusal.detail.is_empty() {
        let mut fields = ErrorFields::error(refusal.sqlstate, refusal.message.clone());
        fields.position = refusal.position;
        fields.hint = filled(&refusal.hint);
        if let Some((file, routine)) = raised_in(refusal) {
            fields.file = Some(file.to_owned());
            fields.routine = Some(routine.to_owned());
        }
        return fields;
    }
    let message = format!("pgveil: {}", refusal.message);
    let mut fields = ErrorFields::error(refusal.sqlstate, message);
    fields.detail = filled(&refusal.detail);
    fields.hint = filled(&refusal.hint);
    fields.position = refusal.position;
    fields
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether the server's error in a refused statement's place stays: it speaks of the transaction or the session and
/// not of the poison.
pub fn outranks(error: &ErrorFields, refusal: &Refusal) -> bool {
    match error.sqlstate.as_str() {
        // An aborted transaction refuses everything but syntax errors, which are found before.
        "25P02" => refusal.reason != Reason::Syntax,
        sqlstate => sqlstate.starts_with("57"),
    }
}

/// Whether the server's error is the one it would have raised without pgveil: for a text that the grammar rejects
/// the poison stands before the client's own text, so that the server's parser has the first word.
pub fn is_own_syntax_error(error: &ErrorFields, refusal: &Refusal) -> bool {
    let routine = error.routine.as_deref();
    let by_its_parser = match error.sqlstate.as_str() {
        // Syntax, escapes in strings, names.
        "42601" | "22025" | "22P06" | "42602" => routine != Some("exec_parse_message"),
        // What gram.y knows and does not take: features, frames of windows, precisions of types.
        "0A000" | "42P20" | "22023" => error.file.as_deref() == Some("gram.y"),
        _ => false,
    };
    refusal.reason == Reason::Syntax && by_its_parser
}

/// SQLSTATE of the errors by which pgveil's own checks end a statement.
const CHECK_RAISES: &str = "22P02";

/// What to say in the place of an error that one of pgveil's own checks raised; `None` for every other.
pub fn of_check(error: &ErrorFields, plan: Option<&StatementPlan>) -> Option<ErrorFields> {
    if error.sqlstate != CHECK_RAISES {
        return None;
    }
    if error.message.contains(MASKED_PARTS) {
        return Some(of_masked_parts());
    }
    if error.message.contains(TIED) {
        return Some(of_tied(plan));
    }
    error.message.contains(ROW_RULE).then(|| of_row_rule(plan))
}

/// A document or array that is stored would take masks along with what has changed in it.
fn of_masked_parts() -> ErrorFields {
    let mut words = ErrorFields::error(
        "42501",
        "pgveil: the value holds masks of the stored one among other things",
    );
    words.hint =
        Some("give new values for the masked parts, or leave the value as it is shown".to_owned());
    words
}

/// A column would get another value, and a constraint would tell by it of one that is masked.
fn of_tied(plan: Option<&StatementPlan>) -> ErrorFields {
    let columns = plan.map_or(String::new(), |plan| plan.tied.join("; "));
    ErrorFields::error(
        INSUFFICIENT_PRIVILEGE,
        format!("pgveil: this role may not change {columns}"),
    )
    .with_detail(TIED_DETAIL.to_owned())
    .with_hint(TIED_HINT)
}

/// A row that a write leaves behind is outside the row rule: as a view's CHECK OPTION says it.
fn of_row_rule(plan: Option<&StatementPlan>) -> ErrorFields {
    let relation = plan
        .and_then(|plan| plan.writes.first())
        .map_or(String::new(), |name| format!(" of relation \"{name}\""));
    let mut words = ErrorFields::error(
        "44000",
        format!("pgveil: new row violates the row rule{relation}"),
    );
    words.hint = Some("write rows that your role may read".to_owned());
    words
}

/// The end of a result that goes beyond a limit. `allowed` is the limit; `request` says who has to sign what, or why
/// nobody can.
pub fn of_export(limit: LimitKind, allowed: u64, role: &str, way_out: String) -> ErrorFields {
    let message = match limit {
        LimitKind::Rows => {
            format!("pgveil: export of more than {allowed} rows of protected data is not allowed")
        }
        LimitKind::Bytes => {
            format!("pgveil: export of more than {allowed} bytes of protected data is not allowed")
        }
        LimitKind::PerHour => format!(
            "pgveil: more than {allowed} rows of protected data within an hour are not allowed"
        ),
        LimitKind::PerDay => format!(
            "pgveil: more than {allowed} rows of protected data within a day are not allowed"
        ),
        LimitKind::SubjectsPerDay => {
            format!("pgveil: data of more than {allowed} people on one day is not allowed")
        }
    };
    ErrorFields::error(INSUFFICIENT_PRIVILEGE, message)
        .with_detail(format!(
            "Rule: role {role}, export.{}: {allowed}.",
            limit.label()
        ))
        .with_hint(way_out)
}

/// The end of a result that has more rows than were granted.
pub fn of_grant(request: &str, rows: u64) -> ErrorFields {
    ErrorFields::error(
        INSUFFICIENT_PRIVILEGE,
        format!("pgveil: export request {request} was granted for {rows} rows, and there are more"),
    )
    .with_detail("Its rows have been sent; this use of the grant is over.")
    .with_hint("Narrow the query, or ask again: the next run of the statement makes a new request.")
}

/// The way out where a request waits for its signatures.
pub fn request_waits(id: &str, missing: &[&str], reasoned: bool) -> String {
    let groups = missing.join(" and ");
    let reason = match reasoned {
        true => "",
        false => " Say what it is for: SET pgveil.reason = '...', then send the statement again.",
    };
    format!(
        "export request {id}: needs approval of {groups}. Run the same statement again once it is granted.{reason}"
    )
}

/// What a limit needs to know cannot be known.
pub fn of_missing_state() -> ErrorFields {
    ErrorFields::error(
        INSUFFICIENT_PRIVILEGE,
        "pgveil: exports cannot be counted at the moment, so no more than the result's own limit goes out",
    )
    .with_detail("The state store, which holds budgets and approvals, is unavailable.")
    .with_hint("Try again; if it stays so, ask the operator to look at pgveil's log.")
}

/// The way out where it is not known who asks.
pub fn nobody_asks() -> String {
    "The database user is shared, and exports are granted to a person: have the application name its user with the statement \
     (docs/identity.md), and run it again."
        .to_owned()
}

/// The way out where nobody can sign.
pub fn nobody_signs(limit: LimitKind, allowed: u64) -> String {
    match limit {
        LimitKind::Rows => format!(
            "Narrow the query to at most {allowed} rows (WHERE, LIMIT), or have an unrestricted role run the export."
        ),
        LimitKind::Bytes => {
            "Select fewer columns or rows, or have an unrestricted role run the export.".to_owned()
        }
        LimitKind::PerHour | LimitKind::PerDay | LimitKind::SubjectsPerDay => {
            "Wait until the window has moved on, or have an unrestricted role run the export."
                .to_owned()
        }
    }
}

/// What a statement is told whose record could not be written, before it runs.
pub fn unrecordable() -> Refusal {
    refusal(
        Reason::Audit,
        "the audit record cannot be written at present",
        "audit.on_full: refuse",
        "Ask the operator to free the disk of the audit spool, then send the statement again.",
    )
}

/// The end of a session whose audit record could not be written.
pub fn of_audit() -> ErrorFields {
    ErrorFields::fatal(
        "53100",
        "pgveil: the audit record of this statement could not be written",
    )
    .with_detail("No result is given out that is not on record; the session ends.")
    .with_hint("Ask the operator to free the disk of the audit spool, then connect again.")
}

/// The policy in force has another role for the session's user, or none.
pub fn of_dismissal() -> ErrorFields {
    ErrorFields::fatal(
        "57P01",
        "pgveil: terminating connection: the policy has changed what this user may do",
    )
    .with_detail("The session's role is not the user's any more, its person is another, or its time is over.")
    .with_hint("Connect again to work under the policy in force.")
}

/// What a statement is told that comes when the session is about to end for it.
pub fn dismissed() -> Refusal {
    refusal(
        Reason::Identity,
        "the session's user has another role by now, or none",
        "no entry of `who` holds for the session as it did when it was begun",
        "Connect again to work under the policy in force.",
    )
}

/// What a statement is told whose role cannot be found.
pub fn without_directory() -> Refusal {
    refusal(
        Reason::Identity,
        "who is in which group is not known at present",
        "the directory of the policy could not be read, or not lately",
        "Try again; if it stays so, ask the operator to look at pgveil's log.",
    )
}

/// The end of a session whose server's answers do not fit what was sent.
pub fn of_violation() -> ErrorFields {
    ErrorFields::fatal(
        "XX000",
        "pgveil: the result was stopped because it did not agree with the policy's plan",
    )
    .with_hint("This is on record as a violation; ask the operator to look into it.")
}

/// A refusal that the session itself decides on, before or instead of planning.
pub fn refusal(reason: Reason, message: &str, detail: &str, hint: &str) -> Refusal {
    Refusal {
        reason,
        sqlstate: match reason {
            Reason::Encoding => "22021",
            // disk_full
            Reason::Audit => "53100",
            _ => INSUFFICIENT_PRIVILEGE,
        },
        message: message.to_owned(),
        detail: detail.to_owned(),
        hint: hint.to_owned(),
        position: None,
    }
}

/// What the server says of a prepared statement that must be prepared anew (utils/cache/plancache.c). By this SQLSTATE and
/// routine drivers know it, and prepare it.
const CHANGED_PLAN: &str = "cached plan must not change result type";

/// Something else would be sent to the server for a prepared statement now than was when it was prepared: the policy, the
/// schema or the search_path has changed since.
pub fn of_changed_plan() -> Refusal {
    Refusal {
        sqlstate: "0A000",
        ..refusal(Reason::Setting, CHANGED_PLAN, "", "")
    }
}

/// What the server says of whatever does not end a transaction that has failed (tcop/postgres.c).
pub fn of_failed_transaction() -> Refusal {
    const WORDS: &str =
        "current transaction is aborted, commands ignored until end of transaction block";
    Refusal {
        sqlstate: "25P02",
        ..refusal(Reason::Construct, WORDS, "", "")
    }
}

/// A name that the session has given to no prepared statement, in the server's words for one that is not there. What pgveil
/// does not know it has not decided on, so nothing of that name may run.
pub fn no_statement(name: &str, by: ByName) -> Refusal {
    let message = match by {
        ByName::Message if name.is_empty() => {
            "unnamed prepared statement does not exist".to_owned()
        }
        _ => format!("prepared statement \"{name}\" does not exist"),
    };
    in_the_servers_words(UNDEFINED_STATEMENT, message)
}

/// As [`no_statement`], of a portal or cursor.
pub fn no_portal(name: &str, by: ByName) -> Refusal {
    let what = match by {
        ByName::Message => "portal",
        ByName::Statement => "cursor",
    };
    in_the_servers_words(
        UNDEFINED_CURSOR,
        format!("{what} \"{name}\" does not exist"),
    )
}

/// What names a prepared statement or portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByName {
    /// Bind or Execute.
    Message,
    /// EXECUTE, EXPLAIN EXECUTE, FETCH, MOVE.
    Statement,
}

fn in_the_servers_words(sqlstate: &'static str, message: String) -> Refusal {
    Refusal {
        sqlstate,
        ..refusal(Reason::Undefined, &message, "", "")
    }
}

/// The source file and function of an error that is told in the server's words.
fn raised_in(refusal: &Refusal) -> Option<(&'static str, &'static str)> {
    let message = refusal.message.as_str();
    Some(match refusal.sqlstate {
        _ if message == CHANGED_PLAN => ("plancache.c", "RevalidateCachedQuery"),
        UNDEFINED_STATEMENT if message.starts_with("unnamed") => {
            ("postgres.c", "exec_bind_message")
        }
        UNDEFINED_STATEMENT => ("prepare.c", "FetchPreparedStatement"),
        UNDEFINED_CURSOR if message.starts_with("cursor") => ("portalcmds.c", "PerformPortalFetch"),
        UNDEFINED_CURSOR => ("postgres.c", "exec_execute_message"),
        _ => return None,
    })
}

/// A text that fails in parse analysis: no relation is in scope, so no column can be found.
pub fn poison() -> String {
    format!("SELECT {POISON}")
}

/// The plan of a text that is refused as a whole. What is known of its statement stays on record.
pub fn refused_plan(known: Option<&StatementPlan>, refusal: Refusal) -> Plan {
    let statement = StatementPlan {
        kind: known.map_or("UNPARSED", |known| known.kind),
        verdict: Verdict::Refuse(refusal),
        would: None,
        normalised: known.map(|k| k.normalised.clone()).unwrap_or_default(),
        fingerprint: known.map(|k| k.fingerprint.clone()).unwrap_or_default(),
        reads: known.map(|k| k.reads.clone()).unwrap_or_default(),
        writes: known.map(|k| k.writes.clone()).unwrap_or_default(),
        masked: known.map(|k| k.masked.clone()).unwrap_or_default(),
        lookups: Vec::new(),
        columns: known.map(|k| k.columns.clone()).unwrap_or_default(),
        hidden_rows: false,
        tied: Vec::new(),
        protected: true,
        over_rows: true,
        open_targets: Vec::new(),
        pathless: false,
        packed: Default::default(),
        origins: Vec::new(),
        effects: Vec::new(),
        span: (0, 0),
        companion: Default::default(),
    };
    Plan::new(
        vec![statement],
        Some(poison().into()),
        PositionMap::default(),
    )
}

/// How positions in the text that ran map to the client's, for errors of a planned text.
pub fn positions(source: &Source) -> Option<&PositionMap> {
    let plan = source.plan.as_deref()?;
    plan.text.as_ref().map(|_| &plan.positions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixtures;

    #[test]
    fn a_denial_names_the_rule_and_the_way_out() {
        let fields = of_refusal(&fixtures::refusal("not this"));
        assert_eq!(fields.sqlstate, "42501");
        assert_eq!(fields.message, "pgveil: not this");
        assert_eq!(fields.detail.as_deref(), Some("rule"));
        assert_eq!(fields.hint.as_deref(), Some("way out"));
    }

    #[test]
    fn a_syntax_error_reads_like_the_servers_own() {
        let refusal = Refusal {
            reason: Reason::Syntax,
            sqlstate: "42601",
            message: "syntax error at or near \"SELCT\"".to_owned(),
            position: Some(1),
            hint: Default::default(),
            ..fixtures::refusal("")
        };
        let fields = of_refusal(&refusal);
        assert_eq!(fields.message, "syntax error at or near \"SELCT\"");
        assert_eq!(
            (fields.position, fields.detail, fields.hint),
            (Some(1), None, None)
        );
    }

    #[test]
    fn what_the_servers_grammar_says_is_its_own() {
        let syntax = Refusal {
            reason: Reason::Syntax,
            ..fixtures::refusal("")
        };
        for (file, own) in [("gram.y", true), ("parse_relation.c", false)] {
            let error = ErrorFields {
                file: Some(file.to_owned()),
                routine: Some("processCASbits".to_owned()),
                ..ErrorFields::error(
                    "0A000",
                    "FOREIGN KEY constraints cannot be marked NOT VALID",
                )
            };
            assert_eq!(is_own_syntax_error(&error, &syntax), own, "{file}");
        }
    }

    #[test]
    fn an_aborted_transaction_and_a_cancel_are_told_as_such() {
        let refused = fixtures::refusal("not this");
        let syntax = Refusal {
            reason: Reason::Syntax,
            ..refused.clone()
        };
        for (sqlstate, refusal, stays) in [
            ("25P02", &refused, true),
            ("25P02", &syntax, false),
            ("57014", &refused, true),
            ("42703", &refused, false),
            ("26000", &refused, false),
        ] {
            let error = ErrorFields::error(sqlstate, "x");
            assert_eq!(outranks(&error, refusal), stays, "{sqlstate}");
        }
    }
}
