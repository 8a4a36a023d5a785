//! CHECK constraints that not every row has been held against.
use crate::catalog::{Catalog, TieKind};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;

use super::masked_ties;

/// One finding for each column that such a CHECK reads and that is in a class which some role masks.
pub fn checks_of_classified_columns(
    policy: &PolicySet,
    catalog: &Catalog,
    flow: &Flow,
    findings: &mut Diagnostics,
) {
    for (table, check, column, class) in masked_ties(policy, catalog, flow, |tie| {
        tie.kind == TieKind::Check && !tie.proven
    }) {
        let check = &check.name;
        let message = format!(
            "the CHECK `{check}` of `{table}` is NOT VALID and reads `{column}` of the class `{}`: an UPDATE of an old row fails \
             where it does not hold, and so tells whether it does",
            class.name
        );
        findings.push(
            Diagnostic::warning(&class.origin, message)
                .suggest(format!("ALTER TABLE {table} VALIDATE CONSTRAINT {check}")),
        );
    }
}
