//! What is right in a policy and perhaps not what was meant: told by `pgveil check`, and by nothing that serves.
mod children;
mod classes;
mod likeness;
mod masks;
mod names;
mod partitions;
mod rows;
mod unproven;
mod views;

use super::PolicySet;
use super::flow::{Cell, Flow};
use super::rules::ClassRule;
use crate::catalog::{Catalog, Tie};
use crate::config::Diagnostics;

impl PolicySet {
    /// Warnings about the policy, held against the catalogs of all databases it serves; without any only what can be told
    /// from the policy itself.
    pub fn review<'a>(&self, catalogs: impl IntoIterator<Item = &'a Catalog>) -> Diagnostics {
        let mut findings = Diagnostics::default();
        classes::without_masks(self, &mut findings);
        let traced: Vec<(&Catalog, Flow)> = catalogs
            .into_iter()
            .map(|catalog| (catalog, Flow::trace(self, catalog, &[])))
            .collect();
        if !traced.is_empty() {
            classes::without_columns(self, &traced, &mut findings);
        }
        for (catalog, flow) in &traced {
            masks::that_show_too_much(self, catalog, flow, &mut findings);
            likeness::left_out(self, catalog, flow, &mut findings);
            children::behind_parents(self, catalog, &mut findings);
            partitions::by_classified_columns(self, catalog, flow, &mut findings);
            unproven::checks_of_classified_columns(self, catalog, flow, &mut findings);
            views::not_attributed(self, catalog, flow, &mut findings);
        }
        findings.sort();
        findings
    }
}

/// Columns that are tied by such a constraint and in a class that some role masks: the table's name, the constraint, the
/// column's name, the class; in the order of their names.
fn masked_ties<'a>(
    policy: &'a PolicySet,
    catalog: &'a Catalog,
    flow: &Flow,
    wanted: fn(&Tie) -> bool,
) -> Vec<(String, &'a Tie, &'a str, &'a ClassRule)> {
    let mut found = Vec::new();
    for (oid, ties) in &catalog.ties {
        let Some(relation) = catalog.relations.get(oid) else {
            continue;
        };
        for tie in ties.iter().filter(|tie| wanted(tie)) {
            for column in relation.stored(&tie.columns) {
                let masked = masked_class(policy, flow, (*oid, column));
                if let (Some(class), Some(column)) = (masked, relation.column_number(column)) {
                    found.push((relation.full_name(), tie, column.name.as_str(), class));
                }
            }
        }
    }
    found.sort_by(|one, other| {
        (&one.0, &one.1.name, one.2).cmp(&(&other.0, &other.1.name, other.2))
    });
    found
}

/// A class of the column that some role masks.
fn masked_class<'a>(policy: &'a PolicySet, flow: &Flow, cell: Cell) -> Option<&'a ClassRule> {
    let classes = flow.taints.get(&cell).into_iter();
    classes
        .flat_map(|taint| taint.all())
        .filter_map(|index| policy.classes.get(index))
        .find(|class| {
            let mut roles = policy.roles.iter();
            roles.any(|role| role.mask(&class.name).is_some())
        })
}
