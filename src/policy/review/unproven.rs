//! CHECK constraints that not every row has been held against.
use crate::catalog::{Catalog, TieKind};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;

use super::masked_class;

/// One finding for each column that such a CHECK reads and that is in a class which some role masks.
pub fn checks_of_classified_columns(
    policy: &PolicySet,
    catalog: &Catalog,
    flow: &Flow,
    findings: &mut Diagnostics,
) {
    let mut found = Vec::new();
    for (oid, ties) in &catalog.ties {
        let Some(relation) = catalog.relations.get(oid) else {
            continue;
        };
        let checks = ties
            .iter()
            .filter(|tie| tie.kind == TieKind::Check && !tie.proven);
        for check in checks {
            for column in relation.stored(&check.columns) {
                let masked = masked_class(policy, flow, (*oid, column));
                if let (Some(class), Some(column)) = (masked, relation.column_number(column)) {
                    found.push((relation.full_name(), &check.name, &column.name, class));
                }
            }
        }
    }
    found.sort_by(|one, other| (&one.0, one.1, one.2).cmp(&(&other.0, other.1, other.2)));
    for (table, check, column, class) in found {
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
