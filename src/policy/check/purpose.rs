//! Checks what data may be used for, and what a role uses it for.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::OneOrMany;
use crate::policy::raw::RawRole;

impl Checker {
    pub(super) fn purposes(
        &mut self,
        source: &Arc<Source>,
        list: &Spanned<OneOrMany>,
    ) -> BTreeSet<String> {
        let purposes = self.texts(source, list, "purpose");
        for purpose in &purposes {
            self.name(&Origin::new(source, list), "purpose", purpose);
        }
        purposes
    }

    pub(super) fn purpose(
        &mut self,
        source: &Arc<Source>,
        raw: &RawRole,
        complete: bool,
    ) -> Option<Arc<str>> {
        let leaf = raw.purpose.as_ref()?;
        let origin = Origin::new(source, leaf);
        let Some(purpose) = leaf.value.text() else {
            let message = format!("expected a purpose, found {}", leaf.value.describe());
            self.error(&origin, message);
            return None;
        };
        self.name(&origin, "purpose", purpose);
        let known: Vec<&str> = self
            .classes
            .iter()
            .flat_map(|class| class.purposes.iter().flatten())
            .map(String::as_str)
            .collect();
        if complete && !known.contains(&purpose) {
            let message = format!("no class may be used for `{purpose}`");
            let diagnostic = Diagnostic::warning(&origin, message).did_you_mean(purpose, known);
            self.diagnostics.push(match &diagnostic.suggestion {
                Some(_) => diagnostic,
                None => {
                    diagnostic.suggest(format!("let a class say so, as in `purposes: [{purpose}]`"))
                }
            });
        }
        Some(purpose.into())
    }
}
