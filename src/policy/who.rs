//! Who a role is for: what is known of a session and of the person behind it, held against the entries of `who`.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use ipnet::IpNet;

use super::PolicySet;
use super::directory::Directory;
use super::rules::{RoleRule, Unmatched};
use super::when::When;

/// What is known of a session from its login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub db_user: String,
    pub database: String,
    /// Where the client's connection comes from.
    pub address: IpAddr,
    /// Of the certificate that the client has proved to hold and that an authority of the listener's has signed.
    pub certificate: Option<Certificate>,
    /// What the client said in its startup packet; proved by nothing.
    pub application_name: String,
    /// The token that the client logged in with.
    pub token: Option<Arc<Token>>,
}

/// What a token says of the person that logged in with it, whose issuer has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What the policy calls who issued it.
    pub issuer: Arc<str>,
    pub person: Arc<str>,
    /// `None`: they are not known, where no token is there but a record of it.
    pub groups: Option<BTreeSet<String>>,
    pub attributes: BTreeMap<Box<str>, String>,
    /// From then on it is nobody's; `None`: a session that it has begun may go on.
    pub until: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    /// As RFC 4514 writes it.
    pub subject: String,
    /// The common name, where the subject has exactly one.
    pub common_name: Option<String>,
}

/// One entry of `who`: all of what it names has to hold.
#[derive(Debug, Clone, Default)]
pub struct WhoRule {
    pub db_users: Option<BTreeSet<String>>,
    pub databases: Option<BTreeSet<String>>,
    pub subjects: Option<BTreeSet<String>>,
    pub common_names: Option<BTreeSet<String>>,
    pub networks: Option<Vec<IpNet>>,
    pub application_names: Option<BTreeSet<String>>,
    pub when: Option<When>,
    pub app_users: Option<BTreeSet<String>>,
    /// Any of these groups.
    pub groups: Option<BTreeSet<String>>,
}

/// Groups by name, and who is in them.
pub type Groups = BTreeMap<Arc<str>, BTreeSet<String>>;

/// Where an application names its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NamedBy {
    /// Under this key in a comment of the statement.
    Comment(Arc<str>),
    /// In this setting of the session.
    Setting(Arc<str>),
}

/// A database user that an application shares among its own users.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Application {
    pub named_by: NamedBy,
    /// Name of the key by which the application signs.
    pub signed: Option<Arc<str>>,
}

/// Whether somebody is in a role cannot be told: the directory is not known, or too old, or the groups of a token are not
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the groups of people are not available")]
pub struct Unknown;

/// Who is asking, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    pub caller: &'a Caller,
    /// The application's user, from a source that the policy trusts for the database user.
    pub app_user: Option<&'a str>,
    pub now: SystemTime,
}

impl WhoRule {
    /// Whether the entry is about people behind a shared database user.
    pub const fn names_people(&self) -> bool {
        self.app_users.is_some() || self.groups.is_some()
    }

    /// Whether the entry names nobody at all.
    pub fn is_void(&self) -> bool {
        let sets = [
            &self.db_users,
            &self.databases,
            &self.subjects,
            &self.common_names,
            &self.application_names,
            &self.app_users,
            &self.groups,
        ];
        let says_nothing = self.networks.is_none() && self.when.is_none();
        sets.iter()
            .any(|set| matches!(set, Some(names) if names.is_empty()))
            || (says_nothing && sets.iter().all(|set| set.is_none()))
    }

    /// Whether everybody of the other entry is of this one, too, as far as the two entries tell.
    pub fn covers(&self, other: &WhoRule) -> bool {
        if self.is_void() {
            return false;
        }
        let within = |ours: &Option<BTreeSet<String>>, theirs: &Option<BTreeSet<String>>| {
            ours.as_ref()
                .is_none_or(|ours| theirs.as_ref().is_some_and(|theirs| theirs.is_subset(ours)))
        };
        let networks = self.networks.as_ref().is_none_or(|ours| {
            let held = |network: &IpNet| ours.iter().any(|own| own.contains(network));
            other
                .networks
                .as_ref()
                .is_some_and(|theirs| theirs.iter().all(held))
        });
        networks
            && within(&self.db_users, &other.db_users)
            && within(&self.databases, &other.databases)
            && within(&self.subjects, &other.subjects)
            && within(&self.common_names, &other.common_names)
            && within(&self.application_names, &other.application_names)
            && within(&self.app_users, &other.app_users)
            && within(&self.groups, &other.groups)
            && (self.when.is_none() || self.when == other.when)
    }

    /// The entry once for each database user that it names.
    fn by_user(&self) -> Vec<WhoRule> {
        let Some(users) = &self.db_users else {
            return vec![self.clone()];
        };
        let alone = |user: &String| WhoRule {
            db_users: Some(BTreeSet::from([user.clone()])),
            ..self.clone()
        };
        users.iter().map(alone).collect()
    }

    /// The first of the roles that has all of the entry's sessions to itself; `None`: some are left.
    pub fn taken_by<'a>(&self, roles: &'a [RoleRule]) -> Option<&'a RoleRule> {
        let mut first = None;
        for part in self.by_user() {
            let covers = |role: &&RoleRule| role.who.iter().any(|entry| entry.covers(&part));
            let taken = roles.iter().find(covers)?;
            first.get_or_insert(taken);
        }
        first
    }

    /// Whether a session can be of the entry at some time and for some user of its application.
    fn admits(&self, caller: &Caller) -> bool {
        let holds = |set: &Option<BTreeSet<String>>, value: Option<&str>| {
            set.as_ref()
                .is_none_or(|set| value.is_some_and(|value| set.contains(value)))
        };
        let certificate = caller.certificate.as_ref();
        // An IPv4 address that came over an IPv6 socket is the IPv4 address.
        let address = caller.address.to_canonical();
        holds(&self.db_users, Some(&caller.db_user))
            && holds(&self.databases, Some(&caller.database))
            && holds(
                &self.subjects,
                certificate.map(|certificate| certificate.subject.as_str()),
            )
            && holds(
                &self.common_names,
                certificate.and_then(|certificate| certificate.common_name.as_deref()),
            )
            && holds(&self.application_names, Some(&caller.application_name))
            && self
                .networks
                .as_ref()
                .is_none_or(|networks| networks.iter().any(|network| network.contains(&address)))
    }
}

impl PolicySet {
    /// The role of who asks, or `None` where nobody of the kind has one.
    ///
    /// # Errors
    /// Whether an entry holds that comes before any other cannot be told.
    pub fn match_role(
        &self,
        asking: Asking<'_>,
        directory: &Directory,
    ) -> Result<Option<&RoleRule>, Unknown> {
        let token = asking.caller.token.as_ref();
        let is_over = token
            .and_then(|token| token.until)
            .is_some_and(|until| asking.now >= until);
        if is_over || !self.came_as_told(asking.caller) {
            return Ok(None);
        }
        for role in &self.roles {
            for entry in &role.who {
                if self.matches(entry, asking, directory)? {
                    return Ok(Some(role));
                }
            }
        }
        Ok(match &self.unmatched {
            Unmatched::Role(name) => self.role(name),
            Unmatched::Deny => None,
        })
    }

    fn matches(
        &self,
        entry: &WhoRule,
        asking: Asking<'_>,
        directory: &Directory,
    ) -> Result<bool, Unknown> {
        let holds = entry.admits(asking.caller)
            && entry
                .when
                .as_ref()
                .is_none_or(|when| when.admits(asking.now));
        if !holds || !entry.names_people() {
            return Ok(holds);
        }
        let token = asking.caller.token.as_deref();
        let by_token = token.map(|token| &*token.person);
        let Some(app_user) = by_token.or(asking.app_user) else {
            return Ok(false);
        };
        if entry
            .app_users
            .as_ref()
            .is_some_and(|users| !users.contains(app_user))
        {
            return Ok(false);
        }
        match &entry.groups {
            Some(groups) => self.is_in(app_user, groups, token, directory),
            None => Ok(true),
        }
    }

    fn is_in(
        &self,
        person: &str,
        groups: &BTreeSet<String>,
        token: Option<&Token>,
        directory: &Directory,
    ) -> Result<bool, Unknown> {
        let listed = |group: &String| {
            self.groups
                .get(group.as_str())
                .is_some_and(|members| members.contains(person))
        };
        if groups.iter().any(listed) {
            return Ok(true);
        }
        match token.map(|token| &token.groups) {
            Some(Some(own)) if !own.is_disjoint(groups) => return Ok(true),
            Some(None) => return Err(Unknown),
            Some(Some(_)) | None => {}
        }
        match directory {
            Directory::None => Ok(false),
            Directory::Unknown => Err(Unknown),
            Directory::Known(known) => Ok(groups.iter().any(|group| known.is_in(person, group))),
        }
    }

    /// Whether somebody behind a session could have a role, now or later: what its entries say of times, groups and the
    /// application's users left out.
    pub fn could_match(&self, caller: &Caller) -> bool {
        if !self.came_as_told(caller) {
            return false;
        }
        let admits = |role: &RoleRule| role.who.iter().any(|entry| entry.admits(caller));
        self.unmatched != Unmatched::Deny || self.roles.iter().any(admits)
    }

    /// The application's users that a role names, by themselves or by a group of the policy's.
    pub fn app_users<'a>(&'a self, role: &'a RoleRule) -> impl Iterator<Item = String> + 'a {
        role.who.iter().flat_map(|entry| {
            let listed = entry.groups.iter().flatten();
            let members = listed.filter_map(|group| self.groups.get(group.as_str()));
            let named = entry.app_users.iter().flatten();
            named.chain(members.flatten()).cloned().collect::<Vec<_>>()
        })
    }

    /// How the application says who is behind a database user that it shares; `None`: the user is one person's.
    pub fn application(&self, db_user: &str) -> Option<&Application> {
        self.applications.get(db_user)
    }

    /// Whether the session was begun as the policy says that its user's are: by a token of the issuer that it names, or
    /// without one. Otherwise nobody knows whose it is.
    fn came_as_told(&self, caller: &Caller) -> bool {
        let told = self.token_users.get(&caller.db_user);
        told == caller.token.as_ref().map(|token| &token.issuer)
    }

    /// The person that a session is: the bearer of its token, or the one behind its database user.
    pub fn bearer<'a>(&'a self, caller: &'a Caller) -> &'a str {
        match &caller.token {
            Some(token) => self.person_named(&token.person),
            None => self.person(&caller.db_user),
        }
    }

    /// A session that a person began by a token; `groups` are those in it.
    pub fn token_of(
        &self,
        db_user: &str,
        person: Option<&str>,
        groups: Option<BTreeSet<String>>,
    ) -> Option<Arc<Token>> {
        let issuer = self.token_users.get(db_user)?;
        Some(Arc::new(Token {
            issuer: Arc::clone(issuer),
            person: person?.into(),
            groups,
            attributes: BTreeMap::new(),
            until: None,
        }))
    }

    /// When the roles of a session may change by time alone; `None`: never.
    pub fn next_look(&self, caller: &Caller, now: SystemTime) -> Option<SystemTime> {
        let entries = self.roles.iter().flat_map(|role| &role.who);
        let token = caller.token.as_ref().and_then(|token| token.until);
        entries
            .filter(|entry| entry.admits(caller))
            .filter_map(|entry| entry.when.as_ref()?.next_look(now))
            .chain(token.filter(|until| now < *until))
            .min()
    }
}

#[cfg(test)]
mod tests;
