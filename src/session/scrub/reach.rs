//! Whether a message of the server can quote a value of a row: by what the statement computes with, and by who speaks.
//!
//! An error of the classes that only ever name objects quotes a value where the value was taken for a name: a view that casts a
//! column to `regclass`, a policy of row level security that asks `pg_has_role` about one. Whether the name also stands in the
//! client's text says nothing: a guess that is kept where others are withheld is a guess confirmed.
use crate::session::statements::Statement;
use crate::sql::plan::{Effect, StatementPlan};
use crate::wire::error::ErrorFields;

/// What a statement computes with while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What the client has sent, and what the system catalogs hold.
    Names,
    /// Rows of users' relations: views, policies, constraints and indexes see them as they are stored.
    Rows,
}

/// Statements that look at no value when they run. COMMIT is none of them: cursors WITH HOLD are computed then.
const WITHOUT_VALUES: &[&str] = &[
    "BEGIN",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "SET",
    "RESET",
    "SHOW",
    "DISCARD",
    "PREPARE",
    "DEALLOCATE",
    "CLOSE",
    "LOCK TABLE",
    "LISTEN",
    "UNLISTEN",
    "NOTIFY",
    "DROP",
    "TRUNCATE",
];

/// Statements that look at the values of relations, if they name any.
const OVER_RELATIONS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "MERGE",
    "COPY",
    "EXPLAIN",
    "CREATE TABLE",
    "CREATE TABLE AS",
    "CREATE INDEX",
    "ALTER TABLE",
    "SET CONSTRAINTS",
];

/// Source files of the server that report names from the statement or from the catalog, and that no function over values
/// calls. The functions over names (regproc.c, acl.c, namespace.c, guc.c, ...) are called by both.
const REPORTS_NAMES: &[&str] = &[
    "aclchk.c",
    "analyze.c",
    "copy.c",
    "copyfrom.c",
    // Its values are those that the client sends.
    "copyfromparse.c",
    "copyto.c",
    "createas.c",
    "dependency.c",
    "execMain.c",
    "heap.c",
    "heapam.c",
    "heapam_handler.c",
    "index.c",
    "indexcmds.c",
    "lockcmds.c",
    "nodeModifyTable.c",
    "parse_clause.c",
    "parse_relation.c",
    "parse_target.c",
    "parse_utilcmd.c",
    "plancache.c",
    "plancat.c",
    "portalcmds.c",
    "portalmem.c",
    "postgres.c",
    "pquery.c",
    "prepare.c",
    "rewriteHandler.c",
    "tablecmds.c",
    "trigger.c",
    "utility.c",
    "view.c",
    "xact.c",
];

/// Classes of conflicts and shortages, which no value brings about.
const CLASSES_OF_CONFLICTS: &[&str] = &["25", "40", "53", "57"];

/// Classes of what is not supported or not ready, whose messages put in quotes what they name.
const CLASSES_OF_STATES: &[&str] = &["0A", "24", "55"];

/// Heads of messages of other classes that go on with the name of a type, or of a sequence that is there.
const HEADS: &[&str] = &[
    "could not determine ",
    "could not identify a",
    "permission denied for sequence ",
];

impl Reach {
    /// Of a statement, with those before it in its text: what a cursor WITH HOLD holds is computed at the end of the text.
    pub fn of(statement: &Statement) -> Self {
        let before = statement.source.statements().get(..=statement.index);
        match before.is_some_and(|plans| plans.iter().all(without_values)) {
            true => Reach::Names,
            false => Reach::Rows,
        }
    }
}

fn without_values(plan: &StatementPlan) -> bool {
    if WITHOUT_VALUES.contains(&plan.kind) {
        return true;
    }
    let runs_others = |effect: &Effect| {
        matches!(
            effect,
            Effect::Execute(_)
                | Effect::Explain(_)
                | Effect::Fetch(_)
                | Effect::DeclareCursor { .. }
                | Effect::RunsCode
        )
    };
    OVER_RELATIONS.contains(&plan.kind)
        && !plan.protected
        && !plan.over_rows
        && !plan.effects.iter().any(runs_others)
}

/// Whether the words of a message, of its hint and of its detail are from the statement or the catalog.
pub(super) fn speaks_of_names(fields: &ErrorFields, reach: Reach) -> bool {
    reach == Reach::Names || found_by_analysis(fields) || reported_by_name(fields)
}

/// The place in the statement where analysis met what it complains of. A type by name in a value has one, too, which is
/// within the value; then there is a CONTEXT (`pts_error_callback` in parse_type.c).
pub(super) fn found_by_analysis(fields: &ErrorFields) -> bool {
    fields.position.is_some() && fields.context.is_none() && fields.internal_query.is_none()
}

fn reported_by_name(fields: &ErrorFields) -> bool {
    let file = fields.file.as_deref();
    // By an OID somebody asks for rights who has computed it.
    let by_oid = fields.message.contains(" with OID ");
    if file.is_some_and(|file| REPORTS_NAMES.contains(&file)) && !by_oid {
        return true;
    }
    let class = fields.sqlstate.get(..2).unwrap_or_default();
    if CLASSES_OF_CONFLICTS.contains(&class) {
        return true;
    }
    !by_oid
        && !fields.message.contains('"')
        && (CLASSES_OF_STATES.contains(&class)
            || HEADS.iter().any(|head| fields.message.starts_with(head)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::session::statements::Source;
    use crate::sql::plan::{Plan, PositionMap};

    fn reach(kinds: &[(&'static str, bool)]) -> Reach {
        let plan = |(kind, over_rows): &(&'static str, bool)| StatementPlan {
            over_rows: *over_rows,
            ..StatementPlan::passing(kind, Default::default(), (0, 0))
        };
        let plan = Plan::new(
            kinds.iter().map(plan).collect(),
            None,
            PositionMap::default(),
        );
        let mut source = Arc::try_unwrap(Source::unplanned()).expect("nobody else has it");
        source.plan = Some(Arc::new(plan));
        Reach::of(&Statement::new(Arc::new(source), kinds.len() - 1))
    }

    #[test]
    fn rows_are_computed_with_where_they_are_read_as_they_are_stored() {
        for (kinds, expected) in [
            (&[("SELECT", true)][..], Reach::Rows),
            (&[("SELECT", false)], Reach::Names),
            (&[("SET", false)], Reach::Names),
            (&[("LOCK TABLE", true)], Reach::Names),
            (&[("COMMIT", false)], Reach::Rows),
            // What was declared WITH HOLD before it is computed behind it.
            (&[("DECLARE CURSOR", false), ("SHOW", false)], Reach::Rows),
            (&[("UNPARSED", false)], Reach::Rows),
        ] {
            assert_eq!(reach(kinds), expected, "{kinds:?}");
        }
        let unknown = Statement::unknown();
        assert_eq!(Reach::of(&unknown), Reach::Rows);
    }
}
