//! Checks the directory: where groups and attributes of people are read.
use std::sync::Arc;
use std::time::Duration;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::units;
use crate::policy::directory::DirectoryRule;
use crate::policy::raw::RawDirectory;

/// How often a directory is read, where the policy does not say.
const REFRESH: Duration = Duration::from_secs(60);
/// What was read serves for so many readings more that fail.
const READINGS: u32 = 5;

impl Checker {
    pub(super) fn directory(&mut self, source: &Arc<Source>, raw: &Spanned<RawDirectory>) {
        let keys = &raw.value;
        let origin = Origin::new(source, raw);
        let some = |text: &str| {
            let text = text.trim().trim_end_matches(';');
            (!text.is_empty()).then(|| text.to_owned())
        };
        let duration = |text: &str| {
            units::duration(text).filter(|duration| *duration >= Duration::from_secs(1))
        };
        let shown = "`60s`, at least a second";
        let database = self.read(source, &keys.database, "a database", "`crm`", some);
        let query = self.read(
            source,
            &keys.query,
            "a query",
            "`SELECT login, groups, region FROM staff`",
            some,
        );
        let refresh = self.read(source, &keys.refresh, "a duration", shown, duration);
        let max_age = self.read(source, &keys.max_age, "a duration", shown, duration);
        for (key, leaf) in [("database", &keys.database), ("query", &keys.query)] {
            if leaf.is_none() {
                self.error(&origin, format!("missing key `{key}`"));
            }
        }
        let (Some(database), Some(query)) = (database, query) else {
            return;
        };
        let refresh = refresh.unwrap_or(REFRESH);
        let max_age = max_age.unwrap_or(refresh * READINGS);
        if max_age <= refresh {
            let message = "`max_age` is not longer than `refresh`: there would be gaps";
            let diagnostic = Diagnostic::error(&origin, message);
            self.diagnostics
                .push(diagnostic.suggest("let it be several times as long"));
        }
        let rule = DirectoryRule {
            database,
            query,
            refresh,
            max_age,
        };
        if self.directory.replace(rule).is_some() {
            self.error(
                &origin,
                "a policy has one directory: another file names one already",
            );
        }
    }
}
