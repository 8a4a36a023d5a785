//! Checks honeytoken rows.
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::Scalar;
use crate::policy::raw::RawTrap;
use crate::policy::rules::ClassRule;
use crate::policy::trap::Trap;

/// Shorter values stand in too many rows that are none of the trap's.
const SHORTEST: usize = 3;

impl Checker {
    pub(super) fn trap(&mut self, source: &Arc<Source>, name: &Spanned<String>, raw: &RawTrap) {
        let origin = Origin::new(source, name);
        self.name(&origin, "trap", &name.value);
        if self.traps.iter().any(|(rule, _)| *rule.name == name.value) {
            self.error(
                &origin,
                format!("the trap `{}` is defined twice", name.value),
            );
        }
        if self.classes.iter().any(|rule| *rule.name == name.value) {
            let message = format!("`{}` is the name of a class already", name.value);
            self.error(&origin, message);
        }
        let columns = match &raw.columns {
            Some(columns) => self.columns(source, columns),
            None => {
                self.error(
                    &origin,
                    format!("the trap `{}` names no `columns`", name.value),
                );
                Vec::new()
            }
        };
        let values = match &raw.values {
            Some(values) => self.leaves(source, values, "value"),
            None => {
                self.error(
                    &origin,
                    format!("the trap `{}` names no `values`", name.value),
                );
                Vec::new()
            }
        };
        let mut texts = Vec::new();
        for (origin, value) in values {
            let text = match value {
                Scalar::Text(text) if !text.contains('\0') => text,
                Scalar::Integer(number) => number.to_string(),
                // Whoever reads the finding need not know the value.
                _ => {
                    let message = "expected text or a whole number";
                    self.diagnostics
                        .push(Diagnostic::error(&origin, message).hide());
                    continue;
                }
            };
            if text.chars().count() < SHORTEST {
                let message = format!(
                    "a value of fewer than {SHORTEST} characters stands in other rows, too"
                );
                self.diagnostics
                    .push(Diagnostic::error(&origin, message).hide());
            }
            texts.push(text);
        }
        let missing = self.missing(source, &raw.missing);
        let rule = ClassRule {
            purposes: None,
            outside: None,
            name: name.value.as_str().into(),
            level: None,
            columns,
            missing,
            alarm: true,
            origin: Origin::new(source, name),
        };
        let trap = Trap::new(Arc::clone(&rule.name), texts);
        self.traps.push((rule, Arc::new(trap)));
    }
}
