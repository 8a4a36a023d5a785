//! Masks that leave too much of a value for the type and length of the column, or all of it.
use crate::catalog::Catalog;
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;
use crate::policy::mask::{ColumnType, Family, Mask, TimeUnit};

/// One finding for a mask, about the first of its columns, by name, that it does not suit.
pub fn that_show_too_much(
    policy: &PolicySet,
    catalog: &Catalog,
    flow: &Flow,
    findings: &mut Diagnostics,
) {
    for role in &policy.roles {
        for rule in &role.masks {
            let class = policy
                .classes
                .iter()
                .position(|class| class.name == rule.class);
            let Some(class) = class else { continue };
            let mut found: Vec<(String, String)> = Vec::new();
            for (cell, named) in &flow.named {
                if !named.iter().any(|(index, _)| *index == class) {
                    continue;
                }
                let Some(relation) = catalog.relations.get(&cell.0) else {
                    continue;
                };
                let Some(column) = relation.column_number(cell.1) else {
                    continue;
                };
                if let Some(complaint) = complaint(&rule.mask, &ColumnType::of(column, catalog)) {
                    found.push((
                        format!("{}.{}", relation.full_name(), column.name),
                        complaint,
                    ));
                }
            }
            found.sort();
            if let Some((column, complaint)) = found.first() {
                let message = format!("of `{column}` the role `{}` {complaint}", role.name);
                let diagnostic = Diagnostic::warning(&rule.origin, message);
                findings.push(diagnostic.suggest("keep less of it, or use `redact`"));
            }
        }
    }
}

/// What is wrong with a mask on a type, as the end of a sentence about who sees what.
fn complaint(mask: &Mask, data_type: &ColumnType) -> Option<String> {
    let shown = &data_type.shown;
    match mask {
        Mask::Show { first, last, .. } => {
            let kept = u32::from(*first) + u32::from(*last);
            let length = length(data_type)?;
            if kept == 0 {
                None
            } else if kept >= length {
                Some(format!(
                    "never sees a part: `{shown}` is not longer than the {kept} characters that stay, so all of it is hidden"
                ))
            } else {
                // A third at least, and more than a few guesses.
                let hidden = length - kept;
                (hidden * 3 < length || hidden < 3)
                    .then(|| format!("sees {kept} of the at most {length} characters of `{shown}`"))
            }
        }
        Mask::Round(step) | Mask::Bucket(step) => {
            let decimals = decimals(data_type)?;
            step.is_within(decimals).then(|| {
                format!(
                    "sees every value as it is: `{}` of this step changes nothing of `{shown}`",
                    mask.name()
                )
            })
        }
        Mask::Truncate(TimeUnit::Day) if data_type.family == Family::Date => Some(format!(
            "sees every value as it is: `truncate: day` changes nothing of `{shown}`"
        )),
        Mask::Network(network) => network.untouched().map(|kind| {
            format!("sees every {kind} address as it is: `network` of as many bits changes nothing of it")
        }),
        _ => None,
    }
}

/// Most characters of a text type that says how many.
fn length(data_type: &ColumnType) -> Option<u32> {
    match data_type.family {
        // Behind the header's four bytes (`varchar_typmodin`, adt/varchar.c).
        Family::Varchar | Family::Bpchar => u32::try_from(data_type.typmod.checked_sub(4)?).ok(),
        _ => None,
    }
}

/// Digits after the point of a numeric type, where they are known.
fn decimals(data_type: &ColumnType) -> Option<u32> {
    match data_type.family {
        Family::Int2 | Family::Int4 | Family::Int8 => Some(0),
        // `numeric_typmod_scale` (adt/numeric.c) before negative scales, which hide digits of their own.
        Family::Numeric if data_type.typmod >= 4 => {
            let scale = u32::try_from((data_type.typmod - 4) & 0x7ff).ok()?;
            (scale < 1024).then_some(scale)
        }
        _ => None,
    }
}
