//! The approvals console, where the settings ask for one.
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;

use super::super::CliError;
use super::journal::Journal;
use crate::admin::console::{self, Parts, PeopleSource, Person, Served};
use crate::config::Settings;
use crate::export::Desk;
use crate::export::budget::Allowed;
use crate::policy::PolicySet;
use crate::session::proxy::Proxy;

/// Starts it; its address, if there is one.
pub(super) async fn start(
    settings: &Settings,
    inherited: Option<TcpListener>,
    journal: &Journal,
    desk: &Arc<Desk>,
    proxy: &Arc<Proxy>,
) -> Result<Option<Served>, CliError> {
    let Some(console) = &settings.console else {
        return Ok(None);
    };
    let parts = Parts {
        desk: Arc::clone(desk),
        record: journal.writer(),
        recent: Arc::clone(&journal.metrics.recent),
        people: Arc::new(PolicyPeople(Arc::clone(proxy))),
    };
    let served = console::start(console, inherited, parts)
        .await
        .map_err(CliError::environment)?;
    Ok(Some(served))
}

/// The people of the policy in force, whichever that is when somebody looks.
struct PolicyPeople(Arc<Proxy>);

impl PeopleSource for PolicyPeople {
    fn people(&self) -> Vec<Person> {
        people(&self.0.policy.load())
    }

    fn person(&self, name: &str) -> String {
        self.0.policy.load().person_named(name).to_owned()
    }

    fn names(&self, person: &str) -> BTreeSet<String> {
        self.0.policy.load().names_of(person)
    }
}

/// Everybody whose rows a role counts: each person once for each role.
fn people(policy: &PolicySet) -> Vec<Person> {
    let mut people: Vec<Person> = policy
        .roles
        .iter()
        .flat_map(|role| {
            let allowed = Allowed::from(&*role.export);
            // Who shares a user by tokens is not known before they come.
            let users = role
                .db_users()
                .filter(|user| !policy.token_users.contains_key(*user));
            let people = users.map(|user| policy.person(user).to_owned());
            let named = policy.app_users(role);
            let named = named.map(|user| policy.person_named(&user).to_owned());
            people.chain(named).map(move |person| Person {
                person,
                role: role.name.to_string(),
                allowed,
            })
        })
        .collect();
    people.sort_by(|one, other| (&one.person, &one.role).cmp(&(&other.person, &other.role)));
    people.dedup();
    people
}
