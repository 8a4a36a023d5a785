//! Views of which it cannot be told where their values come from.
use crate::catalog::{Catalog, ColumnSource};
use crate::config::{Diagnostic, Diagnostics, Origin};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;
use crate::policy::pattern::is_system;

/// One finding for each view, where the classes of the policy begin: nothing in the policy names it.
pub fn not_attributed(
    policy: &PolicySet,
    catalog: &Catalog,
    flow: &Flow,
    findings: &mut Diagnostics,
) {
    let Some(first) = policy.classes.first() else {
        return;
    };
    let origin: &Origin = &first.origin;
    let mut found: Vec<String> = Vec::new();
    for relation in catalog.relations.values() {
        if is_system(&relation.schema) {
            continue;
        }
        let sources = relation.columns.iter().zip(&relation.sources);
        let mut unknown: Vec<String> = Vec::new();
        for (column, source) in sources {
            // One that the policy names has a class all the same.
            let named = flow.named.contains_key(&(relation.oid, column.num));
            if *source == ColumnSource::Unknown && !named {
                unknown.push(format!("`{}`", column.name));
            }
        }
        if !unknown.is_empty() {
            found.push(format!(
                "the view `{}` cannot be attributed: {} may show any classified column and is redacted",
                relation.full_name(),
                unknown.join(", ")
            ));
        }
    }
    found.sort();
    for message in found {
        findings.push(Diagnostic::warning(origin, message).suggest(
            "name its columns in a class, or write the view so that it names what it reads",
        ));
    }
}
