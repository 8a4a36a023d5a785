//! What a statement may do to that which planning depends on: the search path, the client's encoding, the session's
//! temporary relations.
//!
//! Known harmless settings are told by name, because every doubt costs a round trip to the server; what is not
//! recognised counts as a change of both.
use crate::sql::plan::{Effect, SessionFacts, StatementPlan};
use crate::sql::temporary;

/// Which of them a statement may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Touched {
    pub search_path: bool,
    pub encoding: bool,
    pub temporary: bool,
    /// Settings that name who is asking.
    pub said: bool,
    /// Code of users' may run, now or, where a trigger is deferred, when the transaction ends.
    pub code: bool,
}

impl Touched {
    const SETTINGS: Touched = Touched {
        search_path: true,
        encoding: true,
        temporary: false,
        said: true,
        code: false,
    };

    pub fn any(self) -> bool {
        self.search_path || self.encoding || self.temporary || self.said || self.code
    }

    /// Names may mean something else afterwards.
    pub fn names(self) -> bool {
        self.search_path || self.temporary
    }

    pub fn merge(&mut self, other: Touched) {
        self.search_path |= other.search_path;
        self.encoding |= other.encoding;
        self.temporary |= other.temporary;
        self.said |= other.said;
        self.code |= other.code;
    }
}

/// What a statement may change when it runs, less what another one does that it runs. The end of a transaction is another
/// matter: [`ends_transaction`].
pub fn touched(plan: &StatementPlan) -> Touched {
    if ends_transaction(plan.kind) {
        return Touched::default();
    }
    Touched {
        temporary: plan
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::TemporaryMade(_) | Effect::TemporaryGone(_))),
        code: runs_code(plan),
        ..settings_touched(plan)
    }
}

/// What another statement may change by running this one; `None`: it is not known.
pub fn touched_by(inner: Option<&StatementPlan>) -> Touched {
    inner.map_or(Touched::SETTINGS, touched)
}

fn settings_touched(plan: &StatementPlan) -> Touched {
    let changes = plan
        .effects
        .iter()
        .any(|effect| matches!(effect, Effect::SettingsChanged));
    if !changes && !["SET", "RESET"].contains(&plan.kind) {
        return Touched::default();
    }
    match setting_name(plan) {
        Some("search_path") => Touched {
            search_path: true,
            ..Touched::default()
        },
        Some("client_encoding") => Touched {
            encoding: true,
            ..Touched::default()
        },
        Some("role" | "session_authorization" | "all") | None => Touched::SETTINGS,
        Some(CUSTOM) => Touched {
            said: true,
            ..Touched::default()
        },
        Some(_) => Touched::default(),
    }
}

/// Whether code of users' may have run that does something to the session's temporary relations.
pub fn runs_code(plan: &StatementPlan) -> bool {
    plan.effects.iter().any(|effect| {
        matches!(
            effect,
            Effect::RunsCode | Effect::Execute(_) | Effect::Fetch(_)
        )
    })
}

/// Whether code of users' has run with a statement. `inner`: what it ran by a name.
pub fn ran_code(plan: &StatementPlan, inner: Option<Option<&StatementPlan>>) -> bool {
    let runs = |plan: &StatementPlan| plan.effects.contains(&Effect::RunsCode);
    runs(plan) || inner.is_some_and(|inner| inner.is_none_or(runs))
}

/// Whether what names mean after a statement can be told before it has run, given what was changed before it in the
/// same transaction.
///
/// `within`: what another statement may change that it runs. `watches`: it matters what settings say of who is asking.
pub fn foreseeable(plan: &StatementPlan, within: Touched, before: Touched, watches: bool) -> bool {
    if ends_transaction(plan.kind) {
        // COMMIT drops tables that are made ON COMMIT DROP: to name one costs the error that it is gone. A deferred trigger
        // may put another one in the place of any.
        let kept = plan.kind.starts_with("COMMIT") && !before.code;
        let settled = !(before.search_path || before.said && watches);
        return settled && (kept || !before.temporary);
    }
    let touched = touched(plan);
    if within.names() || (touched.said || within.said) && watches {
        return false;
    }
    !touched.names() || temporary::after(&SessionFacts::default(), &plan.effects).is_some()
}

/// The end of a transaction, or of a part of it, takes back settings that were made in it: all of them if it fails,
/// those of SET LOCAL if not.
pub fn ends_transaction(kind: &str) -> bool {
    kind.starts_with("COMMIT") || kind.starts_with("ROLLBACK") || kind == "PREPARE TRANSACTION"
}

/// Names in such a statement are resolved along the search path when it runs.
pub fn resolves_names(kind: &str) -> bool {
    const NAMELESS: &[&str] = &[
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "SET",
        "RESET",
        "SHOW",
        "DISCARD",
        "LISTEN",
        "UNLISTEN",
        "NOTIFY",
        "DEALLOCATE",
        "CLOSE",
        "FETCH",
        "MOVE",
    ];
    !NAMELESS.contains(&kind)
}

/// Whether names in the statement are resolved when it runs, and not already when it is bound: what is in COPY, PREPARE or
/// the parameters of EXECUTE, expressions of a table that is made (`stmt_requires_parse_analysis` in
/// `src/backend/parser/analyze.c` names the others).
pub fn resolves_names_late(plan: &StatementPlan) -> bool {
    const WHEN_BOUND: &[&str] = &[
        "SELECT",
        "SELECT INTO",
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "DECLARE CURSOR",
        "EXPLAIN",
        "CREATE TABLE AS",
    ];
    let runs_another = || {
        let mut effects = plan.effects.iter();
        effects.any(|effect| matches!(effect, Effect::Execute(_) | Effect::Explain(_)))
    };
    resolves_names(plan.kind) && (!WHEN_BOUND.contains(&plan.kind) || runs_another())
}

/// Whether EXECUTE may run such a statement, which it does under names of SQL and of the protocol alike. No application makes
/// one of any other kind by a message and runs it by a text.
pub fn runs_by_name(kind: &str) -> bool {
    matches!(kind, "SELECT" | "INSERT" | "UPDATE" | "DELETE" | "MERGE")
}

/// Any setting that is none of PostgreSQL's own.
const CUSTOM: &str = ".";

/// Rows come back for such a statement that were decided on before.
pub fn continues(kind: &str) -> bool {
    matches!(kind, "FETCH" | "MOVE")
}

/// The setting of `SET [LOCAL | SESSION] name {= | TO} ...`, of `SET TIME ZONE` and its like, and of `RESET name`; `None`
/// for every other form.
fn setting_name(plan: &StatementPlan) -> Option<&'static str> {
    let words = |text: &str| -> Vec<String> {
        text.to_ascii_lowercase()
            .replace('=', " = ")
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let words = words(&plan.normalised);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = match words.as_slice() {
        ["set", name, "=" | "to", ..]
        | ["set", "local" | "session", name, "=" | "to", ..]
        | ["reset", name] => *name,
        ["set", "time", "zone", ..]
        | ["set", "local" | "session", "time", "zone", ..]
        | ["set", "session", "characteristics", ..]
        | ["set", "local" | "session", "transaction", ..]
        | ["set", "transaction", ..] => "",
        ["set", "names", ..] | ["set", "local" | "session", "names", ..] => "client_encoding",
        ["set", "schema", ..] | ["set", "local" | "session", "schema", ..] => "search_path",
        _ => return None,
    };
    let is_plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.');
    if !is_plain {
        return None;
    }
    // The names that matter, as constants; any other is harmless.
    Some(match name {
        "search_path" => "search_path",
        "client_encoding" => "client_encoding",
        "role" => "role",
        "session_authorization" => "session_authorization",
        "all" => "all",
        _ if name.contains('.') => CUSTOM,
        _ => "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixtures;

    #[test]
    fn a_setting_is_told_by_name_and_doubt_counts_as_both() {
        for (text, search_path, encoding) in [
            ("SET search_path TO $1", true, false),
            ("SET LOCAL search_path=$1", true, false),
            ("SET client_encoding = $1", false, true),
            ("SET statement_timeout = $1", false, false),
            ("SET session app.user TO $1", false, false),
            ("SET NAMES $1", false, true),
            ("SET LOCAL SCHEMA $1", true, false),
            ("SET TIME ZONE $1", false, false),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                false,
                false,
            ),
            ("SET \"time\" zone", true, true),
            ("SET \"search_path\" TO $1", true, true),
            ("SET role TO $1", true, true),
            ("RESET statement_timeout", false, false),
            ("RESET ALL", true, true),
            ("DISCARD ALL", true, true),
            ("SELECT 1", false, false),
            ("ROLLBACK", false, false),
        ] {
            let kind = match text.split(' ').next() {
                Some("SET") => "SET",
                Some("RESET") => "RESET",
                Some("DISCARD") => "DISCARD",
                Some("ROLLBACK") => "ROLLBACK",
                _ => "SELECT",
            };
            let plan = StatementPlan {
                kind,
                normalised: text.to_owned(),
                effects: match kind {
                    "DISCARD" => vec![Effect::SettingsChanged],
                    _ => Vec::new(),
                },
                ..fixtures::statement("SELECT")
            };
            let expected = Touched {
                search_path,
                encoding,
                temporary: false,
                said: text.contains("app.user") || (search_path && encoding),
                code: false,
            };
            assert_eq!(touched(&plan), expected, "{text}");
        }
        let mut plan = fixtures::statement("SELECT set_config");
        plan.effects = vec![Effect::SettingsChanged];
        assert_eq!(touched(&plan), Touched::SETTINGS);
    }
}
