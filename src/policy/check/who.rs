//! Checks who a role is for: entries of `who`, and what they refer to.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::yaml::Spanned;
use ipnet::IpNet;

use super::Checker;
use crate::config::Diagnostic;
use crate::config::source::{Origin, Source};
use crate::config::yaml::OneOrMany;
use crate::policy::raw::{Leaf, RawRole, RawWhen, RawWho};
use crate::policy::rules::{ServerName, ServerObject};
use crate::policy::when::{self, Edge, When};
use crate::policy::who::WhoRule;

impl Checker {
    /// `complete`: all files could be read, so that a name which is not found is nowhere.
    pub(super) fn who(
        &mut self,
        source: &Arc<Source>,
        role: &Arc<str>,
        raw: &RawRole,
        complete: bool,
    ) -> Vec<WhoRule> {
        let mut entries = Vec::new();
        for who in raw.who.iter().flat_map(|list| &list.value) {
            let origin = Origin::new(source, who);
            let entry = self.entry(source, &origin, &who.value, complete);
            self.provable(&origin, &who.value);
            self.first_match(source, role, &who.value, &entry);
            entries.push(entry);
        }
        entries
    }

    fn entry(
        &mut self,
        source: &Arc<Source>,
        origin: &Origin,
        raw: &RawWho,
        complete: bool,
    ) -> WhoRule {
        let texts = |checker: &mut Self, value: &Option<Spanned<OneOrMany>>, what: &str| {
            value
                .as_ref()
                .map(|value| checker.texts(source, value, what))
        };
        let entry = WhoRule {
            db_users: texts(self, &raw.db_user, "database user"),
            databases: texts(self, &raw.database, "database"),
            subjects: texts(self, &raw.client_subject, "subject of a certificate"),
            common_names: texts(self, &raw.client_cn, "common name"),
            application_names: texts(self, &raw.application_name, "application name"),
            app_users: texts(self, &raw.app_user, "application's user"),
            groups: texts(self, &raw.app_user_in, "group"),
            networks: raw
                .network
                .as_ref()
                .map(|value| self.networks(source, value)),
            when: raw.when.as_ref().map(|raw| self.when(source, raw)),
        };
        self.at_server(source, &raw.db_user, ServerObject::User);
        self.at_server(source, &raw.database, ServerObject::Database);
        if complete {
            self.known_groups(source, raw);
            self.trusted(source, origin, raw, &entry);
        }
        entry
    }

    /// Remembers names of which the server knows whether they are right, with their places. What is no name is told
    /// elsewhere.
    fn at_server(
        &mut self,
        source: &Arc<Source>,
        names: &Option<Spanned<OneOrMany>>,
        kind: ServerObject,
    ) {
        let leaves: Vec<(Origin, Option<&str>)> = match names.as_ref().map(|n| (n, &n.value)) {
            Some((value, OneOrMany::One(scalar))) => {
                vec![(Origin::new(source, value), scalar.text())]
            }
            Some((_, OneOrMany::Many(list))) => list
                .iter()
                .map(|leaf| (Origin::new(source, leaf), leaf.value.text()))
                .collect(),
            None => Vec::new(),
        };
        for (origin, name) in leaves {
            if let Some(name) = name.filter(|name| !name.is_empty()) {
                self.server_names.push(ServerName {
                    kind,
                    name: name.to_owned(),
                    origin,
                });
            }
        }
    }

    /// Texts of a value that may be one or a list.
    pub(super) fn texts(
        &mut self,
        source: &Arc<Source>,
        value: &Spanned<OneOrMany>,
        what: &str,
    ) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (origin, scalar) in self.leaves(source, value, what) {
            match scalar.text().filter(|text| !text.is_empty()) {
                Some(text) => {
                    found.insert(text.to_owned());
                }
                None => self.error(
                    &origin,
                    format!("expected a {what}, found {}", scalar.describe()),
                ),
            }
        }
        found
    }

    pub(super) fn networks(
        &mut self,
        source: &Arc<Source>,
        value: &Spanned<OneOrMany>,
    ) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (origin, scalar) in self.leaves(source, value, "network") {
            let text = scalar.text().unwrap_or_default();
            let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
            let Some(network) = text.parse::<IpNet>().ok().or_else(address) else {
                let message = format!("expected a network, found {}", scalar.describe());
                let diagnostic = Diagnostic::error(&origin, message);
                self.diagnostics
                    .push(diagnostic.suggest("write it as in `10.20.0.0/16` or `2001:db8::/32`"));
                continue;
            };
            if network != network.trunc() {
                let message = format!("`{text}` is an address within a network");
                let diagnostic = Diagnostic::warning(&origin, message);
                self.diagnostics
                    .push(diagnostic.suggest(format!("write the network: `{}`", network.trunc())));
            }
            networks.push(network.trunc());
        }
        networks
    }

    fn when(&mut self, source: &Arc<Source>, raw: &Spanned<RawWhen>) -> When {
        let keys = &raw.value;
        let zone = self.read(
            source,
            &keys.zone,
            "a time zone",
            "`Europe/Berlin` or `+02:00`",
            when::zone,
        );
        let zone = zone.unwrap_or(jiff::tz::TimeZone::UTC);
        let mut days: Option<[bool; 7]> = None;
        for (origin, scalar) in self.listed(source, &keys.days, "day") {
            let found = scalar.text().and_then(when::days);
            match found {
                Some(found) => {
                    let all = days.get_or_insert_default();
                    all.iter_mut().zip(found).for_each(|(flag, on)| *flag |= on);
                }
                None => self.not_read(
                    &origin,
                    "days of the week",
                    &scalar.describe(),
                    "`mon-fri` or `[sat, sun]`",
                ),
            }
        }
        let mut hours = Vec::new();
        for (origin, scalar) in self.listed(source, &keys.hours, "time of day") {
            match scalar.text().and_then(when::hours) {
                Some(found) => hours.push(found),
                None => self.not_read(&origin, "hours", &scalar.describe(), "`08:00-18:00`"),
            }
        }
        let moment = |edge| {
            let zone = zone.clone();
            move |text: &str| when::moment(text, &zone, edge)
        };
        let shown = "`2026-12-31` or `2026-12-31T18:00`";
        let (start, end) = (moment(Edge::Start), moment(Edge::End));
        let from = self.read(source, &keys.from, "a date or time", shown, start);
        let until = self.read(source, &keys.until, "a date or time", shown, end);
        let when = When {
            days,
            hours,
            zone,
            from,
            until,
        };
        let origin = Origin::new(source, raw);
        if keys.days.is_none()
            && keys.hours.is_none()
            && keys.from.is_none()
            && keys.until.is_none()
        {
            self.error(&origin, "`when` names no time");
        }
        if when
            .from
            .zip(when.until)
            .is_some_and(|(from, until)| from >= until)
        {
            self.error(
                &origin,
                "`until` is not after `from`: the entry never holds",
            );
        } else if !when.may_hold_after(SystemTime::now()) {
            let diagnostic = Diagnostic::warning(&origin, "the entry has expired");
            self.diagnostics.push(diagnostic.suggest("take it out"));
        }
        when
    }

    fn listed(
        &mut self,
        source: &Arc<Source>,
        value: &Option<Spanned<OneOrMany>>,
        what: &str,
    ) -> Vec<(Origin, crate::config::yaml::Scalar)> {
        match value {
            Some(value) => self.leaves(source, value, what),
            None => Vec::new(),
        }
    }

    /// A leaf that is a text of some form; `None` where it is absent or is not.
    pub(super) fn read<T>(
        &mut self,
        source: &Arc<Source>,
        leaf: &Leaf,
        what: &str,
        shown: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let leaf = leaf.as_ref()?;
        let found = leaf.value.text().and_then(read);
        if found.is_none() {
            self.not_read(
                &Origin::new(source, leaf),
                what,
                &leaf.value.describe(),
                shown,
            );
        }
        found
    }

    fn not_read(&mut self, origin: &Origin, what: &str, found: &str, shown: &str) {
        let diagnostic = Diagnostic::error(origin, format!("expected {what}, found {found}"));
        self.diagnostics
            .push(diagnostic.suggest(format!("write it as in {shown}")));
    }

    /// An entry names something that the session proves.
    fn provable(&mut self, origin: &Origin, raw: &RawWho) {
        let proved = raw.db_user.is_some()
            || raw.database.is_some()
            || raw.client_subject.is_some()
            || raw.client_cn.is_some()
            || raw.network.is_some()
            || raw.app_user.is_some()
            || raw.app_user_in.is_some();
        if proved {
            return;
        }
        let diagnostic = match (&raw.application_name, &raw.when) {
            (Some(_), _) => Diagnostic::error(
                origin,
                "`application_name` proves nothing: every client can say it",
            )
            .suggest("add what is known for certain, as in `db_user`, `network` or `client_cn`"),
            (None, Some(_)) => Diagnostic::error(origin, "`when` alone is everybody at that time")
                .suggest("add who it is, as in `db_user: name`"),
            (None, None) => {
                Diagnostic::error(origin, "expected `db_user`").suggest("write `{ db_user: name }`")
            }
        };
        self.diagnostics.push(diagnostic);
    }

    /// What entries say of an application's users holds for database users that are trusted to name them.
    fn trusted(&mut self, source: &Arc<Source>, origin: &Origin, raw: &RawWho, entry: &WhoRule) {
        if !entry.names_people() {
            return;
        }
        let key = match raw.app_user {
            Some(_) => "app_user",
            None => "app_user_in",
        };
        let Some(users) = &raw.db_user else {
            let message = format!("`{key}` needs `db_user`: whose word is it?");
            let diagnostic = Diagnostic::error(origin, message);
            self.diagnostics
                .push(diagnostic.suggest("name the database user that the application logs in as"));
            return;
        };
        for (origin, scalar) in self.leaves(source, users, "database user") {
            let Some(user) = scalar.text() else {
                continue;
            };
            if self.applications.contains_key(user) || self.token_users.contains_key(user) {
                continue;
            }
            let message = format!("the policy does not say how `{user}` names the user behind it");
            let diagnostic = Diagnostic::error(&origin, message);
            self.diagnostics.push(diagnostic.suggest(format!(
                "add `applications: {{ {user}: {{ comment: app_user }} }}`"
            )));
        }
    }

    fn known_groups(&mut self, source: &Arc<Source>, raw: &RawWho) {
        // Which groups a directory or a token has is known when it is read.
        if self.directory.is_some() || !self.token_users.is_empty() {
            return;
        }
        for (origin, scalar) in self.listed(source, &raw.app_user_in, "group") {
            let Some(group) = scalar.text() else {
                continue;
            };
            if self.groups.contains_key(group) {
                continue;
            }
            let names = self.groups.keys().map(AsRef::as_ref);
            let diagnostic = Diagnostic::error(&origin, format!("no group is called `{group}`"))
                .did_you_mean(group, names);
            self.diagnostics.push(match &diagnostic.suggestion {
                Some(_) => diagnostic,
                None => diagnostic.suggest(format!("add `groups: {{ {group}: [alice] }}`")),
            });
        }
    }

    /// A user named again below never gets there.
    fn first_match(
        &mut self,
        source: &Arc<Source>,
        role: &Arc<str>,
        raw: &RawWho,
        entry: &WhoRule,
    ) {
        let is_user_alone = entry.databases.is_none()
            && entry.subjects.is_none()
            && entry.common_names.is_none()
            && entry.networks.is_none()
            && entry.application_names.is_none()
            && entry.when.is_none()
            && !entry.names_people();
        let Some(users) = &raw.db_user else {
            return;
        };
        let leaves: Vec<_> = match &users.value {
            OneOrMany::One(scalar) => vec![(Origin::new(source, users), scalar)],
            OneOrMany::Many(list) => list
                .iter()
                .map(|leaf| (Origin::new(source, leaf), &leaf.value))
                .collect(),
        };
        for (origin, scalar) in leaves {
            let Some(user) = scalar.text().filter(|user| !user.is_empty()) else {
                continue;
            };
            match self.users.get(user) {
                Some(first) => {
                    let message =
                        format!("the user `{user}` is already matched by the role `{first}`");
                    self.diagnostics.push(Diagnostic::warning(&origin, message));
                }
                None if is_user_alone => {
                    self.users.insert(user.to_owned(), Arc::clone(role));
                }
                None => {}
            }
        }
    }
}
