//! From raw policy files to checked rules.
mod application;
mod directory;
mod export;
mod mask;
mod people;
mod purpose;
mod region;
mod role;
mod rows;
mod traps;
mod who;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::directory::DirectoryRule;
use super::pattern::ColumnPattern;
use super::raw::{Leaf, NotYet, RawClass, RawPolicy};
use super::region::Region;
use super::rules::{ClassColumn, ClassRule, Missing, Person, RoleRule, ServerName, Unmatched};
use super::trap::{Trap, TrapRules};
use super::who::{Application, Groups, WhoRule};
use super::{Content, DERIVED, PolicySet, UNLISTED};
use crate::config::source::{Origin, Source};
use crate::config::yaml::{OneOrMany, Scalar};
use crate::config::{Diagnostic, Diagnostics};

/// The version of the language that this program reads.
const VERSION: i128 = 1;
/// Levels are grades, not measures.
const MAX_LEVEL: i128 = 9;

/// Collects rules and findings over all files of a policy.
pub struct Checker {
    pub diagnostics: Diagnostics,
    classes: Vec<ClassRule>,
    roles: Vec<RoleRule>,
    unmatched: Option<(Unmatched, Origin)>,
    people: Vec<Person>,
    /// Whose each name is, in its plain form.
    named: HashMap<String, String>,
    traps: Vec<(ClassRule, Arc<Trap>)>,
    groups: Groups,
    applications: BTreeMap<String, Application>,
    token_users: BTreeMap<String, Arc<str>>,
    directory: Option<DirectoryRule>,
    regions: Vec<Region>,
    server_names: Vec<ServerName>,
    /// Where each database user was named first.
    users: HashMap<String, Arc<str>>,
}

impl Checker {
    pub fn new(diagnostics: Diagnostics) -> Self {
        Self {
            diagnostics,
            classes: Vec::new(),
            roles: Vec::new(),
            unmatched: None,
            people: Vec::new(),
            named: HashMap::new(),
            traps: Vec::new(),
            groups: Groups::new(),
            applications: BTreeMap::new(),
            token_users: BTreeMap::new(),
            directory: None,
            regions: Vec::new(),
            server_names: Vec::new(),
            users: HashMap::new(),
        }
    }

    /// Checks all files. With files missing (`complete` is false) names that are not found may well stand in those, and
    /// are not reported.
    pub fn check(&mut self, files: &[(&Arc<Source>, RawPolicy)], complete: bool) {
        for (source, raw) in files {
            self.version(source, &raw.version);
            for (key, value) in [
                ("subject", &raw.subject),
                ("retention", &raw.retention),
                ("audit", &raw.audit),
            ] {
                self.not_yet(source, key, value);
            }
            for (name, class) in raw.data.iter().flat_map(|entries| &entries.0) {
                self.class(source, name, &class.value);
            }
            for (name, trap) in raw.traps.iter().flat_map(|entries| &entries.0) {
                self.trap(source, name, &trap.value);
            }
            for (name, person) in raw.people.iter().flat_map(|entries| &entries.0) {
                self.person(source, name, &person.value);
            }
            for (name, members) in raw.groups.iter().flat_map(|entries| &entries.0) {
                self.group(source, name, members);
            }
            for (user, application) in raw.applications.iter().flat_map(|entries| &entries.0) {
                self.application(source, user, application);
            }
            if let Some(raw) = &raw.directory {
                self.directory(source, raw);
            }
            for (name, region) in raw.regions.iter().flat_map(|entries| &entries.0) {
                self.region(source, name, region);
            }
        }
        for (source, raw) in files {
            for (name, role) in raw.roles.iter().flat_map(|entries| &entries.0) {
                self.role(source, name, &role.value, complete);
            }
        }
        for (source, raw) in files {
            self.unmatched(source, &raw.unmatched, complete);
        }
        if complete {
            self.reachable(files);
            self.analysed();
            self.residency();
            self.known_attributes();
        }
    }

    /// Every role can be somebody's.
    fn reachable(&mut self, files: &[(&Arc<Source>, RawPolicy)]) {
        if let (true, Some((source, _))) = (self.roles.is_empty(), files.first()) {
            let message = "no role is defined: every session would be denied";
            let diagnostic = Diagnostic::error(&Origin::start(source), message);
            self.diagnostics
                .push(diagnostic.suggest("add `roles:` with at least one role"));
        }
        for (place, role) in self.roles.iter().enumerate() {
            let earlier = self.roles.get(..place).unwrap_or_default();
            let fallback =
                matches!(&self.unmatched, Some((Unmatched::Role(name), _)) if *name == role.name);
            let entries = role.who.iter().filter(|entry| !entry.is_void());
            let taken: Option<Vec<&RoleRule>> =
                entries.map(|entry| entry.taken_by(earlier)).collect();
            if let (false, Some(first)) = (fallback, taken.as_deref().and_then(<[_]>::first)) {
                let message = format!(
                    "the rules of the role `{}` never hold: everyone it names has an earlier role",
                    role.name
                );
                let diagnostic = Diagnostic::warning(&role.origin, message);
                self.diagnostics.push(diagnostic.suggest(format!(
                    "put it above `{}`, or take it out: the first role from the top that matches is the session's",
                    first.name
                )));
            }
        }
        for role in self
            .roles
            .iter()
            .filter(|role| role.who.iter().all(WhoRule::is_void))
        {
            let fallback =
                matches!(&self.unmatched, Some((Unmatched::Role(name), _)) if *name == role.name);
            if !fallback {
                let message = format!("no session can get the role `{}`", role.name);
                let diagnostic = Diagnostic::warning(&role.origin, message);
                self.diagnostics
                    .push(diagnostic.suggest("say `who` it is, as in `who: [{ db_user: name }]`"));
            }
        }
    }

    pub fn finish(mut self, content: Content) -> Result<PolicySet, Diagnostics> {
        let version = content.version();
        self.diagnostics.sort();
        if self.diagnostics.has_errors() {
            return Err(self.diagnostics);
        }
        let traps = (!self.traps.is_empty()).then(|| TrapRules::new(version.clone(), self.traps));
        Ok(PolicySet {
            version,
            content: Arc::new(content),
            classes: self.classes,
            roles: self.roles,
            unmatched: self
                .unmatched
                .map_or(Unmatched::Deny, |(unmatched, _)| unmatched),
            people: self.people,
            named: Default::default(),
            groups: self.groups,
            applications: self.applications,
            token_users: self.token_users,
            directory: self.directory,
            regions: self.regions,
            server_names: self.server_names,
            traps,
            warnings: self.diagnostics,
        })
    }

    fn error(&mut self, origin: &Origin, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(origin, message));
    }

    /// A key that the language has and this version does not enforce.
    fn not_yet(&mut self, source: &Arc<Source>, key: &str, value: &NotYet) {
        if let Some(value) = value {
            let diagnostic = Diagnostic::error(
                &Origin::new(source, value),
                format!("the key `{key}` is part of the language but not supported yet"),
            );
            self.diagnostics
                .push(diagnostic.suggest(format!("take `{key}` out: it would not be enforced")));
        }
    }

    fn version(&mut self, source: &Arc<Source>, version: &Leaf) {
        match version {
            Some(leaf) if leaf.value.integer() == Some(VERSION) => {}
            Some(leaf) => self.error(
                &Origin::new(source, leaf),
                format!(
                    "expected `version: {VERSION}`, found {}",
                    leaf.value.describe()
                ),
            ),
            None => {
                let diagnostic = Diagnostic::error(&Origin::start(source), "missing key `version`");
                self.diagnostics
                    .push(diagnostic.suggest(format!("start the file with `version: {VERSION}`")));
            }
        }
    }

    fn class(&mut self, source: &Arc<Source>, name: &Spanned<String>, raw: &RawClass) {
        let origin = Origin::new(source, name);
        self.name(&origin, "class", &name.value);
        if name.value == DERIVED {
            self.error(
                &origin,
                format!("`{DERIVED}` is the class of columns computed from classified ones"),
            );
        }
        if name.value == UNLISTED {
            self.error(
                &origin,
                format!("`{UNLISTED}` is the class of columns that no class names"),
            );
        }
        if self.classes.iter().any(|class| *class.name == name.value) {
            self.error(
                &origin,
                format!("the class `{}` is defined twice", name.value),
            );
        }
        if self.traps.iter().any(|(rule, _)| *rule.name == name.value) {
            let message = format!("`{}` is the name of a trap already", name.value);
            self.error(&origin, message);
        }
        let level = raw.level.as_ref().and_then(|leaf| {
            let level = leaf
                .value
                .integer()
                .filter(|level| (0..=MAX_LEVEL).contains(level));
            if level.is_none() {
                let message = format!(
                    "expected a level from 0 to {MAX_LEVEL}, found {}",
                    leaf.value.describe()
                );
                self.error(&Origin::new(source, leaf), message);
            }
            level.and_then(|level| u8::try_from(level).ok())
        });
        let missing = self.missing(source, &raw.missing);
        let columns = match &raw.columns {
            Some(columns) => self.columns(source, columns),
            None => {
                self.error(
                    &origin,
                    format!("the class `{}` names no `columns`", name.value),
                );
                Vec::new()
            }
        };
        let alarm = self.boolean(source, &raw.alarm);
        let purposes = raw
            .purposes
            .as_ref()
            .map(|list| self.purposes(source, list));
        let outside = raw
            .outside
            .as_ref()
            .and_then(|raw| self.outside(source, raw));
        self.classes.push(ClassRule {
            name: name.value.as_str().into(),
            level,
            columns,
            missing,
            alarm,
            purposes,
            outside,
            origin,
        });
    }

    /// What a column is that matches nothing.
    fn missing(&mut self, source: &Arc<Source>, leaf: &Leaf) -> Missing {
        match leaf {
            None => Missing::Error,
            Some(leaf) => match leaf.value.text() {
                Some("warn") => Missing::Warn,
                Some("error") => Missing::Error,
                _ => {
                    let message = format!(
                        "expected `warn` or `error`, found {}",
                        leaf.value.describe()
                    );
                    self.error(&Origin::new(source, leaf), message);
                    Missing::Error
                }
            },
        }
    }

    fn columns(&mut self, source: &Arc<Source>, columns: &Spanned<OneOrMany>) -> Vec<ClassColumn> {
        let mut found: Vec<ClassColumn> = Vec::new();
        for (origin, scalar) in self.leaves(source, columns, "column") {
            let pattern = scalar.text().and_then(ColumnPattern::parse);
            let Some(pattern) = pattern else {
                let message = format!(
                    "expected `schema.table.column`, found {}",
                    scalar.describe()
                );
                self.error(&origin, message);
                continue;
            };
            if found.iter().any(|column| column.pattern == pattern) {
                self.error(&origin, format!("the column `{pattern}` stands here twice"));
            }
            found.push(ClassColumn { pattern, origin });
        }
        found
    }

    /// The leaves of a value that may be one or a list, which must not be empty.
    fn leaves(
        &mut self,
        source: &Arc<Source>,
        value: &Spanned<OneOrMany>,
        what: &str,
    ) -> Vec<(Origin, Scalar)> {
        let leaves: Vec<(Origin, Scalar)> = match &value.value {
            OneOrMany::One(scalar) => vec![(Origin::new(source, value), scalar.clone())],
            OneOrMany::Many(list) => list
                .iter()
                .map(|leaf| (Origin::new(source, leaf), leaf.value.clone()))
                .collect(),
        };
        if leaves.is_empty() {
            self.error(
                &Origin::new(source, value),
                format!("expected at least one {what}"),
            );
        }
        leaves
    }

    fn unmatched(&mut self, source: &Arc<Source>, leaf: &Leaf, complete: bool) {
        let Some(leaf) = leaf else {
            return;
        };
        let origin = Origin::new(source, leaf);
        let unmatched = match leaf.value.text() {
            Some("deny") => Unmatched::Deny,
            Some(name) if self.roles.iter().any(|role| &*role.name == name) => {
                Unmatched::Role(name.into())
            }
            Some(name) if complete => {
                let names = self.roles.iter().map(|role| &*role.name).chain(["deny"]);
                let message = format!("expected `deny` or the name of a role, found `{name}`");
                let diagnostic = Diagnostic::error(&origin, message).did_you_mean(name, names);
                self.diagnostics.push(diagnostic);
                return;
            }
            Some(_) => return,
            None => {
                let message = format!(
                    "expected `deny` or the name of a role, found {}",
                    leaf.value.describe()
                );
                self.error(&origin, message);
                return;
            }
        };
        match &self.unmatched {
            Some((first, at)) if *first != unmatched => {
                let message = format!(
                    "`unmatched` says something else in `{}`",
                    at.source.path.display()
                );
                self.error(&origin, message);
            }
            _ => self.unmatched = Some((unmatched, origin)),
        }
    }

    /// Names end up in metric labels and records.
    fn name(&mut self, origin: &Origin, what: &str, name: &str) {
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            let diagnostic = Diagnostic::error(origin, format!("`{name}` is no name of a {what}"));
            self.diagnostics
                .push(diagnostic.suggest("use letters, digits, `_` and `-`, at most 63 bytes"));
        }
    }
}
