//! Tables whose partitions tell between which bounds a classified value lies.
use crate::catalog::{Catalog, TieKind};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;

use super::masked_class;

/// One finding for each column of a partition key that is in a class which some role masks.
pub fn by_classified_columns(
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
        let keys = ties.iter().filter(|tie| tie.kind == TieKind::PartitionKey);
        for column in keys.flat_map(|key| relation.stored(&key.columns)) {
            let masked = masked_class(policy, flow, (*oid, column));
            if let (Some(class), Some(column)) = (masked, relation.column_number(column)) {
                found.push((relation.full_name(), column.name.clone(), class));
            }
        }
    }
    found.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    for (table, column, class) in found {
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
