//! Checks one role: who it is, what it masks, what it may do.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::policy::raw::{Leaf, RawAllow, RawMask, RawRole, RawWho};
use crate::policy::rules::{MaskRule, RoleRule, Unlisted};

/// What `statements.allow` may name.
pub const STATEMENTS: [&str; 2] = ["explain", "notify_payload"];

impl Checker {
    pub(super) fn role(
        &mut self,
        source: &Arc<Source>,
        name: &Spanned<String>,
        raw: &RawRole,
        complete: bool,
    ) {
        let origin = Origin::new(source, name);
        self.name(&origin, "role", &name.value);
        if name.value == "deny" {
            self.error(
                &origin,
                "`deny` is what `unmatched` says to turn sessions away: no role can have that name",
            );
        }
        if self.roles.iter().any(|role| *role.name == name.value) {
            self.error(
                &origin,
                format!("the role `{}` is defined twice", name.value),
            );
        }
        for (key, value) in [("purpose", &raw.purpose), ("when", &raw.when)] {
            self.not_yet(source, key, value);
        }
        let name: Arc<str> = name.value.as_str().into();
        let users = self.users(source, &name, raw);
        let masks = self.masks(source, raw, complete);
        let rows = self.rows(source, raw);
        let role = RoleRule {
            users,
            unmasked: self.boolean(source, &raw.unmasked),
            trial: self.on_trial(source, &raw.enforce),
            masks,
            rows,
            unlisted: self.unlisted(source, raw),
            full_text: self.full_text(source, raw),
            export: raw
                .export
                .as_ref()
                .map(|raw| Arc::new(self.export(source, raw)))
                .unwrap_or_default(),
            functions: raw
                .functions
                .as_ref()
                .map(|raw| self.functions(source, raw))
                .unwrap_or_default(),
            statements: raw
                .statements
                .as_ref()
                .map(|raw| self.statements(source, raw))
                .unwrap_or_default(),
            name,
            origin,
        };
        self.coherent(source, raw, &role);
        self.roles.push(role);
    }

    fn coherent(&mut self, source: &Arc<Source>, raw: &RawRole, role: &RoleRule) {
        let rules = [
            (
                "mask",
                raw.mask
                    .as_ref()
                    .and_then(|entries| entries.0.first())
                    .map(|(name, _)| Origin::new(source, name)),
            ),
            (
                "rows",
                raw.rows
                    .as_ref()
                    .and_then(|entries| entries.0.first())
                    .map(|(name, _)| Origin::new(source, name)),
            ),
            (
                "unlisted",
                raw.unlisted.as_ref().map(|leaf| Origin::new(source, leaf)),
            ),
            (
                "enforce",
                raw.enforce.as_ref().map(|leaf| Origin::new(source, leaf)),
            ),
            (
                "export",
                raw.export.as_ref().map(|value| Origin::new(source, value)),
            ),
            (
                "functions",
                raw.functions
                    .as_ref()
                    .map(|value| Origin::new(source, value)),
            ),
            (
                "statements",
                raw.statements
                    .as_ref()
                    .map(|value| Origin::new(source, value)),
            ),
        ];
        if !role.unmasked {
            if let (true, Some(enforce)) = (role.trial, &raw.enforce) {
                let message = format!(
                    "the role `{}` is not enforced: its sessions see and do everything",
                    role.name
                );
                let diagnostic = Diagnostic::warning(&Origin::new(source, enforce), message);
                self.diagnostics.push(diagnostic.suggest(
                    "once the record shows what the rules would do, take `enforce: false` out",
                ));
            }
            let said = rules.iter().filter(|(key, _)| *key != "enforce");
            if said.map(|(_, origin)| origin).all(Option::is_none) {
                let message = format!("the role `{}` masks nothing and limits nothing", role.name);
                let diagnostic = Diagnostic::warning(&role.origin, message);
                self.diagnostics
                    .push(diagnostic.suggest("give it a `mask`, or say `unmasked: true`"));
            }
            return;
        }
        for (key, origin) in rules {
            if let Some(origin) = origin {
                let diagnostic = Diagnostic::error(
                    &origin,
                    format!("`{key}` has no effect with `unmasked: true`"),
                );
                self.diagnostics
                    .push(diagnostic.suggest(format!("take `{key}` or `unmasked` out")));
            }
        }
    }

    fn unlisted(&mut self, source: &Arc<Source>, raw: &RawRole) -> Unlisted {
        const WORDS: [(&str, Unlisted); 3] = [
            ("pass", Unlisted::Pass),
            ("redact", Unlisted::Redact),
            ("deny", Unlisted::Deny),
        ];
        self.keyword(source, &raw.unlisted, &WORDS)
            .unwrap_or_default()
    }

    fn full_text(&mut self, source: &Arc<Source>, raw: &RawRole) -> bool {
        const WORDS: [(&str, bool); 2] = [("normalised", false), ("full", true)];
        let text = raw.audit.as_ref().map_or(&None, |audit| &audit.value.text);
        self.keyword(source, text, &WORDS).unwrap_or_default()
    }

    /// `None` where nothing is said, and where what is said is none of the words.
    fn keyword<T: Copy>(
        &mut self,
        source: &Arc<Source>,
        leaf: &Leaf,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let leaf = leaf.as_ref()?;
        let word = leaf.value.text().unwrap_or_default();
        let found = words.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let quoted: Vec<_> = words.iter().map(|(name, _)| format!("`{name}`")).collect();
            let listed = match quoted.split_last() {
                Some((last, before)) => format!("{} or {last}", before.join(", ")),
                None => String::new(),
            };
            let message = format!("expected {listed}, found {}", leaf.value.describe());
            let diagnostic = Diagnostic::error(&Origin::new(source, leaf), message);
            self.diagnostics
                .push(diagnostic.did_you_mean(word, words.iter().map(|(name, _)| *name)));
        }
        found.map(|(_, value)| *value)
    }

    /// `enforce: false`; what is neither true nor false is told.
    fn on_trial(&mut self, source: &Arc<Source>, enforce: &Leaf) -> bool {
        self.boolean(source, enforce);
        let said = enforce.as_ref().and_then(|leaf| leaf.value.boolean());
        said == Some(false)
    }

    pub(super) fn boolean(&mut self, source: &Arc<Source>, leaf: &Leaf) -> bool {
        let Some(leaf) = leaf else {
            return false;
        };
        let value = leaf.value.boolean();
        if value.is_none() {
            let message = format!(
                "expected `true` or `false`, found {}",
                leaf.value.describe()
            );
            self.error(&Origin::new(source, leaf), message);
        }
        value.unwrap_or(false)
    }

    fn users(&mut self, source: &Arc<Source>, role: &Arc<str>, raw: &RawRole) -> BTreeSet<String> {
        let mut users = BTreeSet::new();
        for who in raw.who.iter().flat_map(|list| &list.value) {
            self.unsupported_who(source, &who.value);
            let Some(db_user) = &who.value.db_user else {
                let known_only = Diagnostic::error(&Origin::new(source, who), "expected `db_user`");
                self.diagnostics
                    .push(known_only.suggest("write `{ db_user: name }`"));
                continue;
            };
            for (origin, scalar) in self.leaves(source, db_user, "database user") {
                let Some(user) = scalar.text().filter(|user| !user.is_empty()) else {
                    self.error(
                        &origin,
                        format!("expected a database user, found {}", scalar.describe()),
                    );
                    continue;
                };
                self.first_match(&origin, role, user);
                users.insert(user.to_owned());
            }
        }
        users
    }

    /// A user named again below never gets there.
    fn first_match(&mut self, origin: &Origin, role: &Arc<str>, user: &str) {
        match self.users.get(user) {
            Some(first) => {
                let message = format!("the user `{user}` is already matched by the role `{first}`");
                self.diagnostics.push(Diagnostic::warning(origin, message));
            }
            None => {
                self.users.insert(user.to_owned(), Arc::clone(role));
            }
        }
    }

    fn unsupported_who(&mut self, source: &Arc<Source>, who: &RawWho) {
        for (key, value) in [
            ("app_user", &who.app_user),
            ("app_user_in", &who.app_user_in),
            ("application_name", &who.application_name),
            ("database", &who.database),
            ("network", &who.network),
        ] {
            self.not_yet(source, key, value);
        }
    }

    fn masks(&mut self, source: &Arc<Source>, raw: &RawRole, complete: bool) -> Vec<MaskRule> {
        let mut masks = Vec::new();
        for (class, mask) in raw.mask.iter().flat_map(|entries| &entries.0) {
            let origin = Origin::new(source, class);
            if complete && !self.classes.iter().any(|rule| *rule.name == class.value) {
                let names = self.classes.iter().map(|class| &*class.name);
                let diagnostic =
                    Diagnostic::error(&origin, format!("no class is called `{}`", class.value))
                        .did_you_mean(&class.value, names);
                self.diagnostics.push(diagnostic);
            }
            if let Some(rule) = self.mask_rule(source, class, mask) {
                masks.push(rule);
            }
        }
        masks
    }

    fn mask_rule(
        &mut self,
        source: &Arc<Source>,
        class: &Spanned<String>,
        raw: &Spanned<RawMask>,
    ) -> Option<MaskRule> {
        let origin = Origin::new(source, raw);
        let lookup = self.lookup(source, &raw.value);
        let mask = self.mask(source, &origin, &raw.value)?;
        Some(MaskRule {
            class: class.value.as_str().into(),
            mask,
            lookup,
            origin,
        })
    }

    fn functions(&mut self, source: &Arc<Source>, raw: &Spanned<RawAllow>) -> BTreeSet<String> {
        let mut functions = BTreeSet::new();
        for (origin, name) in self.allowed(source, raw, "function") {
            let qualified = name.split_once('.').is_some_and(|(schema, name)| {
                !schema.is_empty()
                    && !name.is_empty()
                    && !name.contains(['.', '(', '*'])
                    && !schema.contains('*')
            });
            match qualified {
                true => {
                    functions.insert(name);
                }
                false => {
                    let diagnostic = Diagnostic::error(
                        &origin,
                        format!("expected `schema.function`, found `{name}`"),
                    );
                    self.diagnostics
                        .push(diagnostic.suggest("name the schema and leave the arguments out"));
                }
            }
        }
        functions
    }

    fn statements(&mut self, source: &Arc<Source>, raw: &Spanned<RawAllow>) -> BTreeSet<String> {
        let mut statements = BTreeSet::new();
        for (origin, name) in self.allowed(source, raw, "statement") {
            let word = name.to_lowercase();
            if STATEMENTS.contains(&word.as_str()) {
                statements.insert(word);
                continue;
            }
            let diagnostic = Diagnostic::error(
                &origin,
                format!("`{name}` is no statement that can be allowed"),
            );
            let known: Vec<String> = STATEMENTS.iter().map(|word| format!("`{word}`")).collect();
            self.diagnostics.push(
                match crate::config::diagnostics::closest(&name, STATEMENTS) {
                    Some(word) => diagnostic.suggest(format!("did you mean `{word}`?")),
                    None => diagnostic.suggest(format!("allowed can be: {}", known.join(", "))),
                },
            );
        }
        statements
    }

    fn allowed(
        &mut self,
        source: &Arc<Source>,
        raw: &Spanned<RawAllow>,
        what: &str,
    ) -> Vec<(Origin, String)> {
        let Some(allow) = &raw.value.allow else {
            self.error(&Origin::new(source, raw), "missing key `allow`");
            return Vec::new();
        };
        let mut names = Vec::new();
        for (origin, scalar) in self.leaves(source, allow, what) {
            match scalar.text() {
                Some(name) => names.push((origin, name.to_owned())),
                None => self.error(
                    &origin,
                    format!("expected a {what}, found {}", scalar.describe()),
                ),
            }
        }
        names
    }
}
