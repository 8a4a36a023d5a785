//! Checks what a role may take out.
use std::sync::Arc;
use std::time::Duration;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::units;
use crate::config::yaml::{OneOrMany, Scalar};
use crate::policy::raw::{Leaf, RawExport, RawGrants};
use crate::policy::rules::{ExportRule, GrantRule};

impl Checker {
    pub(super) fn export(&mut self, source: &Arc<Source>, raw: &Spanned<RawExport>) -> ExportRule {
        let origin = Origin::new(source, raw);
        let raw = &raw.value;
        let rule = ExportRule {
            rows: self.amount(source, &raw.rows, "a number of rows"),
            bytes: self.size(source, &raw.bytes),
            per_hour: self.amount(source, &raw.per_hour, "a number of rows"),
            per_day: self.amount(source, &raw.per_day, "a number of rows"),
            subjects_per_day: self.amount(source, &raw.subjects_per_day, "a number of people"),
            counts_all: self.counts(source, &raw.counts),
            approvers: self.groups(source, raw.approvers.as_ref(), "group of approvers"),
            grants: self.grants(source, raw.grants.as_ref().map(|grants| &grants.value)),
        };
        let named = [
            &raw.rows,
            &raw.bytes,
            &raw.per_hour,
            &raw.per_day,
            &raw.subjects_per_day,
        ];
        if named.iter().all(|leaf| leaf.is_none()) {
            let diagnostic = Diagnostic::error(&origin, "`export` names no limit");
            self.diagnostics.push(diagnostic.suggest(
                "give it one of `rows`, `bytes`, `per_hour`, `per_day`, `subjects_per_day`",
            ));
        }
        if let (Some(hour), Some(day)) = (rule.per_hour, rule.per_day)
            && day < hour
        {
            let message =
                format!("`per_day: {day}` is less than `per_hour: {hour}`, which is never reached");
            self.diagnostics.push(Diagnostic::warning(&origin, message));
        }
        if rule.approvers.len() == 1 {
            let message = "one group of approvers is one signature";
            let diagnostic = Diagnostic::warning(&origin, message);
            self.diagnostics
                .push(diagnostic.suggest("name two, as in `approvers: [legal, dpo]`"));
        }
        if let (true, Some(grants)) = (rule.approvers.is_empty(), &raw.grants) {
            let diagnostic = Diagnostic::error(
                &Origin::new(source, grants),
                "`grants` has no effect without `approvers`",
            );
            self.diagnostics.push(
                diagnostic.suggest("name the groups that sign, as in `approvers: [legal, dpo]`"),
            );
        }
        rule
    }

    fn grants(&mut self, source: &Arc<Source>, raw: Option<&RawGrants>) -> GrantRule {
        let mut rule = GrantRule::default();
        let Some(raw) = raw else {
            return rule;
        };
        if let Some(leaf) = &raw.expires {
            match leaf.value.text().and_then(units::duration) {
                Some(expires) if expires >= Duration::from_secs(1) => rule.expires = expires,
                _ => self.expected(source, leaf, units::DURATION_EXPECTED),
            }
        }
        if let Some(leaf) = &raw.uses {
            match leaf
                .value
                .integer()
                .and_then(|uses| u32::try_from(uses).ok())
            {
                Some(uses) if uses > 0 => rule.uses = uses,
                _ => self.expected(source, leaf, "how often a grant may be used"),
            }
        }
        if let Some(rows) = self.amount(source, &raw.max_rows, "a number of rows") {
            rule.max_rows = rows;
        }
        rule.may_unmask = self.groups(source, raw.may_unmask.as_ref(), "class");
        for class in &rule.may_unmask {
            if !self.classes.iter().any(|known| known.name == *class)
                && let Some(named) = &raw.may_unmask
            {
                let names = self.classes.iter().map(|class| &*class.name);
                let diagnostic = Diagnostic::error(
                    &Origin::new(source, named),
                    format!("no class is called `{class}`"),
                )
                .did_you_mean(class, names);
                self.diagnostics.push(diagnostic);
            }
        }
        rule
    }

    fn counts(&mut self, source: &Arc<Source>, leaf: &Leaf) -> bool {
        let Some(leaf) = leaf else {
            return false;
        };
        match leaf.value.text() {
            Some("all") => true,
            Some("protected") => false,
            _ => {
                self.expected(source, leaf, "`protected` or `all`");
                false
            }
        }
    }

    fn amount(&mut self, source: &Arc<Source>, leaf: &Leaf, what: &str) -> Option<u64> {
        let leaf = leaf.as_ref()?;
        let amount = leaf
            .value
            .integer()
            .and_then(|amount| u64::try_from(amount).ok());
        if amount.is_none() {
            self.expected(source, leaf, what);
        }
        amount
    }

    fn size(&mut self, source: &Arc<Source>, leaf: &Leaf) -> Option<u64> {
        let leaf = leaf.as_ref()?;
        let bytes = match leaf.value.integer() {
            Some(bytes) => u64::try_from(bytes).ok().filter(|bytes| *bytes > 0),
            None => leaf.value.text().and_then(units::size),
        };
        if bytes.is_none() {
            self.expected(source, leaf, units::SIZE_EXPECTED);
        }
        bytes
    }

    /// Names, each once.
    fn groups(
        &mut self,
        source: &Arc<Source>,
        raw: Option<&Spanned<OneOrMany>>,
        what: &str,
    ) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = Vec::new();
        let leaves = raw.map(|raw| self.leaves(source, raw, what));
        for (origin, scalar) in leaves.into_iter().flatten() {
            match scalar.text().map(str::trim).filter(|name| !name.is_empty()) {
                Some(name) if names.iter().any(|known| **known == *name) => {
                    self.error(&origin, format!("`{name}` stands here twice"));
                }
                Some(name) => names.push(name.into()),
                None => self.error(
                    &origin,
                    format!("expected a {what}, found {}", scalar.describe()),
                ),
            }
        }
        names
    }

    fn expected(&mut self, source: &Arc<Source>, leaf: &Spanned<Scalar>, what: &str) {
        let message = format!("expected {what}, found {}", leaf.value.describe());
        self.error(&Origin::new(source, leaf), message);
    }
}
