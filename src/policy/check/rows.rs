//! Checks the row rules of a role, as far as that goes without a database.
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::Scalar;
use crate::policy::pattern::RelationName;
use crate::policy::raw::RawRole;
use crate::policy::rows::Condition;
use crate::policy::rules::RowsRule;

impl Checker {
    pub(super) fn rows(&mut self, source: &Arc<Source>, raw: &RawRole) -> Vec<RowsRule> {
        let mut rules: Vec<RowsRule> = Vec::new();
        for (name, condition) in raw.rows.iter().flat_map(|entries| &entries.0) {
            let Some(rule) = self.row_rule(source, name, condition) else {
                continue;
            };
            if rules.iter().any(|other| other.relation == rule.relation) {
                self.error(
                    &rule.named,
                    format!("the relation `{}` has a row rule already", rule.relation),
                );
            }
            rules.push(rule);
        }
        rules
    }

    fn row_rule(
        &mut self,
        source: &Arc<Source>,
        name: &Spanned<String>,
        condition: &Spanned<Scalar>,
    ) -> Option<RowsRule> {
        let named = Origin::new(source, name);
        let relation = RelationName::parse(&name.value);
        if relation.is_none() {
            let message = format!("expected `schema.table`, found `{}`", name.value);
            let diagnostic = Diagnostic::error(&named, message);
            self.diagnostics.push(match name.value.contains('*') {
                true => diagnostic.suggest("a row rule is for one relation: it names columns"),
                false => diagnostic,
            });
        }
        let origin = Origin::new(source, condition);
        let Some(text) = condition.value.text() else {
            let message = format!("expected a condition, found {}", condition.value.describe());
            let diagnostic = Diagnostic::error(&origin, message);
            self.diagnostics.push(
                diagnostic.suggest("put it in double quotes, as in `\"owner = {app_user}\"`"),
            );
            return None;
        };
        match Condition::read(text) {
            Ok(condition) => Some(RowsRule {
                relation: relation?,
                named,
                condition,
                origin,
            }),
            Err(objection) => {
                self.diagnostics.push(objection.at(&origin));
                None
            }
        }
    }
}
