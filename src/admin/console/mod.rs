//! The approvals console: server-rendered pages for approvers, requesters and auditors, on a listener of its own; it also
//! carries the API ([`crate::admin::api`]).
//!
//! It decides nothing about exports: every rule is the desk's ([`crate::export`]). What it adds is who somebody is.
mod assets;
#[cfg(test)]
pub mod bench;
mod guard;
mod listen;
pub mod oidc;
mod pages;
pub mod session;
#[cfg(test)]
mod tests;
pub mod words;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::DefaultBodyLimit;

use self::oidc::Provider;
use self::session::{Cookies, Sessions};
use super::accounts::{Accounts, Identity};
use super::recent::Recent;
use crate::audit::{Event, Record};
use crate::config::ConsoleSettings;
use crate::export::Desk;
use crate::export::budget::Allowed;
use crate::export::desk::RecordFn;
use crate::export::request::Approver;

pub use self::guard::{Peer, Site};
pub use self::listen::{Certificate, ListenError};
pub use self::pages::{may_see, rfc3339};

/// Bytes of a form or of an API call's body.
const MAX_BODY: usize = 64 * 1024;

/// Somebody the policy limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub person: String,
    pub role: String,
    pub allowed: Allowed,
}

/// Where the console has the people from whose budgets it shows: the policy in force.
pub trait PeopleSource: Send + Sync {
    /// By name; a person of several roles stands there several times.
    fn people(&self) -> Vec<Person>;

    /// The person whom the policy knows by a name: somebody whose account is named after a database user of theirs is no
    /// second person.
    fn person(&self, name: &str) -> String;

    /// All names that the policy has for a person.
    fn names(&self, person: &str) -> BTreeSet<String>;
}

/// What the console shows and works on.
pub struct Parts {
    pub desk: Arc<Desk>,
    /// Writes to the audit record.
    pub record: RecordFn,
    pub recent: Arc<Recent>,
    pub people: Arc<dyn PeopleSource>,
}

/// Everything that requests share.
pub struct Console {
    pub desk: Arc<Desk>,
    pub accounts: Accounts,
    pub sessions: Sessions,
    pub recent: Arc<Recent>,
    pub people: Arc<dyn PeopleSource>,
    pub site: Site,
    pub provider: Option<Provider>,
    record: RecordFn,
}

/// What handlers have.
pub type App = Arc<Console>;

/// What was done could not be brought on the audit record.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit record could not be written: {0}")]
pub struct Unrecorded(pub String);

impl Console {
    /// A console that serves at `address`.
    ///
    /// # Errors
    /// The identity provider's settings cannot be used.
    pub fn new(
        settings: &ConsoleSettings,
        address: SocketAddr,
        parts: Parts,
    ) -> Result<Self, oidc::OidcError> {
        let site = Site::new(address, settings.tls.is_some(), settings.url.as_deref());
        let provider = settings
            .oidc
            .as_ref()
            .map(|oidc| Provider::new(oidc.clone(), site.base()))
            .transpose()?;
        let store = parts.desk.store();
        Ok(Console {
            accounts: Accounts::new(Arc::clone(store)),
            sessions: Sessions::new(
                Arc::clone(store),
                settings.idle_timeout,
                settings.session_lifetime,
            ),
            desk: parts.desk,
            recent: parts.recent,
            people: parts.people,
            site,
            provider,
            record: parts.record,
        })
    }

    /// Who somebody is, as the policy in force has it.
    pub fn known(&self, identity: Identity) -> Identity {
        Identity {
            person: self.people.person(&identity.person),
            ..identity
        }
    }

    /// Somebody as an approver: whatever name the one who asked has come by, it must not be the approver's.
    pub fn approver(&self, identity: &Identity) -> Approver {
        let mut approver = identity.approver();
        let account = identity.account.as_deref();
        let people = account.map(|account| self.people.person(account));
        for person in people.into_iter().chain([identity.person.clone()]) {
            approver.also.extend(self.people.names(&person));
            approver.also.insert(person);
        }
        approver
    }

    pub fn cookies(&self) -> Cookies {
        self.site.cookies()
    }

    /// Brings on record what somebody did here. `person`: nobody, if it is not known who it was.
    ///
    /// # Errors
    /// The record cannot be written.
    pub fn note(
        &self,
        person: Option<&str>,
        peer: Option<SocketAddr>,
        message: String,
    ) -> Result<(), Unrecorded> {
        let record = Record {
            person: person.map(Into::into),
            client_addr: peer,
            message: Some(message),
            ..Record::new(Event::Console, SystemTime::now())
        };
        (self.record)(&record).map_err(|error| {
            tracing::error!(%error, "an action at the console is not on the audit record");
            Unrecorded(error)
        })
    }
}

/// The pages and the API.
pub fn router(app: App) -> Router {
    Router::new()
        .merge(pages::routes())
        .merge(assets::routes())
        .merge(super::api::routes())
        .fallback(pages::missing)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&app),
            guard::guard,
        ))
        .with_state(app)
}

/// A console that serves.
pub struct Served {
    /// Its port may be one that the system chose.
    pub address: SocketAddr,
    pub certificate: Option<Certificate>,
    /// The socket once more, for another process.
    pub socket: Option<std::os::fd::OwnedFd>,
    pub task: tokio::task::JoinHandle<()>,
}

/// Starts to serve.
///
/// # Errors
/// The address is in use, or the certificate or the identity provider's settings cannot be used.
pub async fn start(
    settings: &ConsoleSettings,
    inherited: Option<std::net::TcpListener>,
    parts: Parts,
) -> Result<Served, ListenError> {
    let listener = listen::Listener::bind(settings, inherited).await?;
    let address = listener.address();
    let app = Arc::new(Console::new(settings, address, parts)?);
    Ok(Served {
        address,
        certificate: listener.certificate(),
        socket: listener.socket().ok(),
        task: tokio::spawn(listener.serve(router(app))),
    })
}
