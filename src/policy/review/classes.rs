//! Classes that nobody masks, and masks of classes that are nowhere.
use crate::catalog::Catalog;
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;
use crate::policy::rules::Regime;

/// Classes that every role sees as they are. Those that raise an alarm serve a purpose of their own.
pub fn without_masks(policy: &PolicySet, findings: &mut Diagnostics) {
    for class in policy.classes.iter().filter(|class| !class.alarm) {
        let mut roles = policy.roles.iter();
        if roles.any(|role| role.mask(&class.name).is_some()) {
            continue;
        }
        let message = format!("no role masks the class `{}`: everyone sees it", class.name);
        let enforced = policy
            .roles
            .iter()
            .find(|role| role.regime() == Regime::Enforced);
        let suggestion = match enforced {
            Some(role) => format!(
                "mask it where it is not needed, as in `{}: {{ mask: {{ {}: redact }} }}`",
                role.name, class.name
            ),
            None => "add a role that masks it".to_owned(),
        };
        findings.push(Diagnostic::warning(&class.origin, message).suggest(suggestion));
    }
}

/// Masks of classes that have a column in none of the databases (`missing: warn`).
pub fn without_columns(
    policy: &PolicySet,
    traced: &[(&Catalog, Flow)],
    findings: &mut Diagnostics,
) {
    let present = |index: usize| {
        let mut named = traced
            .iter()
            .flat_map(|(_, flow)| flow.named.values().flatten());
        named.any(|(class, _)| *class == index)
    };
    for (index, class) in policy.classes.iter().enumerate() {
        if present(index) {
            continue;
        }
        for role in &policy.roles {
            if let Some(rule) = role.mask(&class.name) {
                let message = format!(
                    "the role `{}` masks the class `{}`, which has no column in any database",
                    role.name, class.name
                );
                findings.push(
                    Diagnostic::warning(&rule.origin, message)
                        .suggest("name columns that are there, or take class and mask out"),
                );
            }
        }
    }
}
