//! Tables whose own row rule does not hold where their rows are read through a parent.
use crate::catalog::{Catalog, Oid};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;

/// One finding for each rule of a table, and each other rule of one of its parents or theirs: who reads the parent sees the
/// table's rows by the parent's rule alone.
pub fn behind_parents(policy: &PolicySet, catalog: &Catalog, findings: &mut Diagnostics) {
    for role in policy.roles.iter().filter(|role| !role.unmasked) {
        for rule in &role.rows {
            let name = &rule.relation;
            let Some(child) = catalog.relation(&name.schema, &name.name) else {
                continue;
            };
            for parent in above(catalog, &child.parents) {
                let own = |relation| {
                    role.rows_of(relation)
                        .is_some_and(|by| by.text != rule.text)
                };
                let parent = catalog.relations.get(&parent);
                let Some(parent) = parent.filter(|parent| own(parent)) else {
                    continue;
                };
                let parent = parent.full_name();
                let message = format!(
                    "role `{}` reads rows of `{}` through `{parent}`, too, where the rule of `{parent}` holds and this one does not",
                    role.name,
                    child.full_name(),
                );
                findings.push(Diagnostic::warning(&rule.named, message).suggest(format!(
                    "have the rule of `{parent}` say it for all of its tables, or take SELECT on `{parent}` from the role's database users"
                )));
            }
        }
    }
}

/// All that rows with these parents are read through, each once.
fn above(catalog: &Catalog, parents: &[Oid]) -> Vec<Oid> {
    let mut found: Vec<Oid> = Vec::new();
    let mut next = parents.to_vec();
    while let Some(parent) = next.pop() {
        if !found.contains(&parent) {
            found.push(parent);
            let relation = catalog.relations.get(&parent);
            next.extend(relation.map_or(&[][..], |relation| &relation.parents));
        }
    }
    found.sort_unstable();
    found
}
