//! Tables whose partitions tell between which bounds a classified value lies.
use crate::catalog::{Catalog, TieKind};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;

use super::masked_ties;

/// One finding for each column of a partition key that is in a class which some role masks.
pub fn by_classified_columns(
    policy: &PolicySet,
    catalog: &Catalog,
    flow: &Flow,
    findings: &mut Diagnostics,
) {
    for (table, _, column, class) in masked_ties(policy, catalog, flow, |tie| {
        tie.kind == TieKind::PartitionKey
    }) {
        let message = format!(
            "`{table}` is partitioned by `{column}` of the class `{}`: which partition a row is in (`tableoid`, partitions \
             that are read by name) tells between which bounds the value lies",
            class.name
        );
        findings.push(
            Diagnostic::warning(&class.origin, message)
                .suggest("partition the table by a column that is not masked"),
        );
    }
}
