//! Who sees what: YAML policies, checked and compiled against a catalog snapshot. Pure but for reading the files.
//!
//! The way of a policy: [`raw`] is what a file says, [`rules`] what holds after checking all files together (a
//! [`PolicySet`]), [`compiled`] what it means for one database. [`mask`] turns a mask and a column into SQL.
mod check;
pub mod compile;
pub mod compiled;
pub mod content;
pub mod directory;
mod flow;
mod load;
pub mod mask;
pub mod pattern;
pub mod person;
pub mod raw;
pub mod region;
mod review;
mod rows;
pub mod rules;
mod schema;
pub mod system;
pub mod trap;
pub mod when;
pub mod who;

pub use compile::{CompiledPolicy, Memory, Recompiled};
pub use content::Content;

pub use compiled::{ColumnMask, MaskSql, RolePolicy, RowRule, RulePart, SessionValue};
pub use directory::Directory;
pub use load::load;
pub use rows::ALIAS_PREFIX;
pub use rules::{ClassRule, ExportRule, GrantRule, Person, Regime, RoleRule, Unmatched};
pub use who::{Asking, Caller, Certificate, Token};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use self::person::plain;
use crate::config::Diagnostics;

/// Class of a masked column that computes something from classified data, or whose source is not known.
pub const DERIVED: &str = "derived";

/// Class of a masked column that no class names (`unlisted: redact`).
pub const UNLISTED: &str = "unlisted";

/// All policy files of a folder, checked together, not yet held against a database.
#[derive(Debug, Clone)]
pub struct PolicySet {
    version: String,
    content: Arc<Content>,
    pub classes: Vec<ClassRule>,
    /// In order: the first that matches a session is its role.
    pub roles: Vec<RoleRule>,
    pub unmatched: Unmatched,
    pub people: Vec<Person>,
    /// Where in `people` somebody is, by the plain form of each of their names; made when it is asked for.
    named: OnceLock<HashMap<String, usize>>,
    pub groups: who::Groups,
    /// Database users that applications share, by name.
    pub applications: BTreeMap<String, who::Application>,
    /// Database users whose people log in by tokens, and what the issuer of those is called.
    pub token_users: BTreeMap<String, Arc<str>>,
    /// Where groups and attributes are kept besides.
    pub directory: Option<directory::DirectoryRule>,
    pub regions: Vec<region::Region>,
    /// Users and databases of the server, wherever the policy names them.
    pub server_names: Vec<rules::ServerName>,
    /// Honeytoken rows.
    pub traps: Option<trap::TrapRules>,
    /// Findings that do not keep the policy from being used.
    pub warnings: Diagnostics,
}

impl PolicySet {
    /// 16 hexadecimal digits of a hash over names and texts of the files.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The files it was read from.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The person behind a database user: the one whose `db_user` names it, else the user itself.
    pub fn person<'a>(&'a self, db_user: &'a str) -> &'a str {
        let named = |person: &&Person| person.listed(Person::DB_USERS).any(|user| user == db_user);
        self.people
            .iter()
            .find(named)
            .map_or(db_user, |person| person.name.as_str())
    }

    /// The person whom an application, a token or an account means by a name: whoever `people` gives it to, however it is
    /// spelt, else nobody but the name itself.
    pub fn person_named<'a>(&'a self, name: &'a str) -> &'a str {
        self.entry(name).map_or(name, |person| person.name.as_str())
    }

    /// Whom one of the names of `people` stands for, however it is spelt.
    fn entry(&self, name: &str) -> Option<&Person> {
        let named = self.named.get_or_init(|| {
            let people = self.people.iter().enumerate();
            people
                .flat_map(|(index, person)| person.names().map(move |name| (plain(name), index)))
                .collect()
        });
        self.people.get(*named.get(&plain(name))?)
    }

    /// All names that `people` has for a person.
    pub fn names_of(&self, person: &str) -> BTreeSet<String> {
        let known = self.people.iter().filter(|known| known.name == person);
        known.flat_map(Person::names).map(str::to_owned).collect()
    }

    /// What row rules know of a person, by the name that `{app_user}` has.
    pub fn attribute(&self, person: &str, name: &str) -> Option<&str> {
        let person = self.people.iter().find(|known| known.name == person)?;
        person.attributes.get(name).map(String::as_str)
    }

    /// The values that row rules find in a session. Attributes are those of `app_user`, and of nobody else: what the
    /// application's own login may see is no measure for the person behind it.
    pub fn session_values(
        &self,
        db_user: &str,
        app_user: &str,
        token: Option<&Token>,
        directory: &Directory,
        address: Option<IpAddr>,
    ) -> BTreeMap<SessionValue, String> {
        let mut values = BTreeMap::from([
            (SessionValue::AppUser, app_user.to_owned()),
            (SessionValue::DbUser, db_user.to_owned()),
        ]);
        // Where no application names anybody, it is the person whom `people` has behind the database user.
        let known_as = match app_user == db_user {
            true => self.person(db_user),
            false => app_user,
        };
        if let Directory::Known(known) = directory
            && let Some(listed) = known.people.get(known_as)
        {
            for (name, value) in &listed.attributes {
                values.insert(SessionValue::Attribute(name.clone()), value.clone());
            }
        }
        for (name, value) in token.into_iter().flat_map(|token| &token.attributes) {
            values.insert(SessionValue::Attribute(name.clone()), value.clone());
        }
        // What the policy says of a person stands before what a token says, and that before what the directory says.
        let person = self.entry(known_as).filter(|known| {
            known.name == known_as || known.listed(Person::APP_USERS).any(|user| user == known_as)
        });
        for (name, value) in person.into_iter().flat_map(|person| &person.attributes) {
            values.insert(SessionValue::Attribute(name.clone()), value.clone());
        }
        for region in address.into_iter().flat_map(|address| self.inside(address)) {
            let name = SessionValue::Region(Box::from(&*region.name));
            values.insert(name, "inside".to_owned());
        }
        values
    }

    /// All purposes that a class names.
    pub fn purposes(&self) -> BTreeSet<&str> {
        let named = self
            .classes
            .iter()
            .filter_map(|class| class.purposes.as_ref());
        named.flatten().map(String::as_str).collect()
    }

    /// Whether it matters what a statement is for.
    pub fn knows_purposes(&self) -> bool {
        self.classes.iter().any(|class| class.purposes.is_some())
    }

    pub fn role(&self, name: &str) -> Option<&RoleRule> {
        self.roles.iter().find(|role| &*role.name == name)
    }

    pub fn class(&self, name: &str) -> Option<&ClassRule> {
        self.classes.iter().find(|class| &*class.name == name)
    }
}

#[cfg(test)]
mod tests;
