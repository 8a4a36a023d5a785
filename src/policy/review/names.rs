//! Users and databases that the policy names and the server does not have.
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::rules::ServerObject;

/// Roles that every server has begin so, and nobody logs in as one of them.
const BUILT_IN: &str = "pg_";

impl PolicySet {
    /// Warnings about names that the server does not have; given all of its users and databases. Whom they mean may come later.
    pub fn strangers(&self, users: &[String], databases: &[String]) -> Diagnostics {
        let mut findings = Diagnostics::default();
        for named in &self.server_names {
            let (noun, known) = match named.kind {
                ServerObject::User => ("user", users),
                ServerObject::Database => ("database", databases),
            };
            if known.contains(&named.name) {
                continue;
            }
            let message = format!("the server has no {noun} `{}`", named.name);
            let likely = known
                .iter()
                .map(String::as_str)
                .filter(|name| !name.starts_with(BUILT_IN));
            let finding =
                Diagnostic::warning(&named.origin, message).did_you_mean(&named.name, likely);
            findings.push(match finding.suggestion {
                Some(_) => finding,
                None => finding.suggest(format!(
                    "put the name of a {noun} here; nothing holds for `{}` as long as there is none",
                    named.name
                )),
            });
        }
        findings.sort();
        findings
    }
}
