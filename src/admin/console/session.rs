//! Sessions of the console: documents under the fingerprint of a random name that only the browser's cookie has.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use serde::{Deserialize, Serialize};

use crate::admin::accounts::{Accounts, Identity, random};
use crate::export::desk::now;
use crate::export::store::{Document, Put, Seconds, Store, StoreError};

/// Kind of the documents that hold sessions.
const SESSION: &str = "console_session";
/// A session is not written more often than this only because it is in use, in seconds.
const TOUCH: Seconds = 60;
/// Bytes of a session's name in a cookie; longer ones are none.
const MAX_NAME: usize = 64;

#[derive(Serialize, Deserialize)]
struct Body {
    account: Option<String>,
    person: String,
    /// Of those whom an identity provider vouches for; of others the account's groups count.
    groups: BTreeSet<String>,
    epoch: u32,
    used: Seconds,
    /// When it ends however much it is used.
    ends: Seconds,
}

/// A session that holds.
#[derive(Debug, Clone)]
pub struct Session {
    pub identity: Identity,
    /// What the forms of this session carry.
    pub csrf: String,
}

/// All sessions of a store.
#[derive(Debug, Clone)]
pub struct Sessions {
    store: Arc<dyn Store>,
    idle: Seconds,
    lifetime: Seconds,
}

/// What a form of the session with this name has to carry: it follows from the name, which no other site can read.
pub fn csrf_of(name: &str) -> String {
    random::derived(name, "form")
}

impl Sessions {
    pub fn new(store: Arc<dyn Store>, idle: Duration, lifetime: Duration) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Sessions {
            store,
            idle: seconds(idle),
            lifetime: seconds(lifetime),
        }
    }

    /// Begins a session; its name, for the cookie.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn begin(&self, identity: &Identity) -> Result<String, StoreError> {
        let name = random::secret()?;
        let now = now();
        let body = Body {
            account: identity.account.clone(),
            person: identity.person.clone(),
            groups: identity.groups.clone(),
            epoch: identity.epoch,
            used: now,
            ends: now.saturating_add(self.lifetime),
        };
        let document = self.document(&random::fingerprint(&name), 0, &body)?;
        match self.store.put(&document, now).await? {
            Put::Stored(_) => Ok(name),
            Put::Stale | Put::Claimed(_) => Err(StoreError("no session could be made".to_owned())),
        }
    }

    /// The session of a name, if it holds. `touch`: it is in use, by a person.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn find(
        &self,
        accounts: &Accounts,
        name: &str,
        touch: bool,
    ) -> Result<Option<Session>, StoreError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Ok(None);
        }
        let now = now();
        let key = random::fingerprint(name);
        let Some(document) = self.store.get(SESSION, &key, now).await? else {
            return Ok(None);
        };
        let mut body: Body = parse(&document)?;
        if now >= body.ends || now >= body.used.saturating_add(self.idle) {
            return Ok(None);
        }
        let identity = match &body.account {
            Some(account) => accounts.identity(account, body.epoch).await?,
            None => Some(Identity {
                account: None,
                person: body.person.clone(),
                groups: body.groups.clone(),
                epoch: body.epoch,
            }),
        };
        let Some(identity) = identity else {
            self.end(name).await?;
            return Ok(None);
        };
        if touch && now >= body.used.saturating_add(TOUCH.min(self.idle / 2)) {
            body.used = now;
            let document = self.document(&key, document.revision, &body)?;
            // Another request of the same session may have been first.
            self.store.put(&document, now).await?;
        }
        Ok(Some(Session {
            identity,
            csrf: csrf_of(name),
        }))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn end(&self, name: &str) -> Result<(), StoreError> {
        let key = random::fingerprint(name);
        while let Some(document) = self.store.get(SESSION, &key, now()).await? {
            if self.store.delete(SESSION, &key, document.revision).await? {
                break;
            }
        }
        Ok(())
    }

    fn document(&self, key: &str, revision: i64, body: &Body) -> Result<Document, StoreError> {
        Ok(Document {
            kind: SESSION,
            key: key.to_owned(),
            revision,
            label: String::new(),
            claim: None,
            body: serde_json::to_string(body).map_err(StoreError::of)?,
            expires: Some(body.ends.min(body.used.saturating_add(self.idle))),
        })
    }
}

fn parse(document: &Document) -> Result<Body, StoreError> {
    serde_json::from_str(&document.body).map_err(|_| StoreError("a session is damaged".to_owned()))
}

/// How cookies are named and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// Browsers reach the console over TLS: `Secure`, and names that bind them to this host alone.
    Secure,
    /// Plain HTTP on loopback, where `Secure` would keep some browsers from sending them.
    Loopback,
}

/// A cookie of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// The session's name.
    Session,
    /// Binds the login form to the browser that it was given to.
    Login,
    /// Binds the answer of an identity provider to the browser that asked. `Lax`, for that answer comes from there.
    Provider,
    /// The language somebody chose.
    Language,
}

impl Cookie {
    const fn plain_name(self) -> &'static str {
        match self {
            Cookie::Session => "pgveil",
            Cookie::Login => "pgveil_login",
            Cookie::Provider => "pgveil_provider",
            Cookie::Language => "pgveil_language",
        }
    }

    const fn same_site(self) -> &'static str {
        match self {
            Cookie::Provider | Cookie::Language => "Lax",
            Cookie::Session | Cookie::Login => "Strict",
        }
    }
}

impl Cookies {
    fn name(self, cookie: Cookie) -> String {
        match self {
            Cookies::Secure => format!("__Host-{}", cookie.plain_name()),
            Cookies::Loopback => cookie.plain_name().to_owned(),
        }
    }

    /// The header that sets a cookie. `seconds`: how long it is kept; `None`: as long as the browser runs.
    pub fn set(self, cookie: Cookie, value: &str, seconds: Option<Seconds>) -> String {
        let name = self.name(cookie);
        let secure = match self {
            Cookies::Secure => "; Secure",
            Cookies::Loopback => "",
        };
        let age = seconds.map_or(String::new(), |seconds| format!("; Max-Age={seconds}"));
        let site = cookie.same_site();
        format!("{name}={value}; Path=/; HttpOnly; SameSite={site}{secure}{age}")
    }

    /// The header that takes a cookie away.
    pub fn remove(self, cookie: Cookie) -> String {
        self.set(cookie, "", Some(0))
    }

    /// The value of a cookie; the first, where a browser sends several of a name.
    pub fn get(self, headers: &HeaderMap, cookie: Cookie) -> Option<String> {
        let name = self.name(cookie);
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::store::Sqlite;

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("pgveil-sessions-{}-{name}", std::process::id()))
    }

    fn person() -> Identity {
        Identity {
            account: None,
            person: "lena".to_owned(),
            groups: BTreeSet::from(["legal".to_owned()]),
            epoch: 0,
        }
    }

    fn open(name: &str, idle: u64, lifetime: u64) -> (Sessions, Accounts, Arc<dyn Store>) {
        let store: Arc<dyn Store> =
            Arc::new(Sqlite::open(&folder(name).join("state.db")).expect("opened"));
        let second = Duration::from_secs;
        (
            Sessions::new(Arc::clone(&store), second(idle), second(lifetime)),
            Accounts::new(Arc::clone(&store)),
            store,
        )
    }

    #[tokio::test]
    async fn a_session_holds_until_it_is_ended_and_its_name_is_not_stored() {
        let (sessions, accounts, store) = open("ends", 900, 900);
        let name = sessions.begin(&person()).await.expect("begun");
        let found = sessions.find(&accounts, &name, true).await.expect("read");
        assert_eq!(found.expect("holds").identity, person());
        let stored = store.list(SESSION, &[], "", 9, now()).await;
        assert!(!format!("{stored:?}").contains(&name));
        let other = format!("{}x", &name[1..]);
        assert!(
            sessions
                .find(&accounts, &other, true)
                .await
                .expect("read")
                .is_none()
        );
        sessions.end(&name).await.expect("ended");
        assert!(
            sessions
                .find(&accounts, &name, true)
                .await
                .expect("read")
                .is_none()
        );
        let _ = std::fs::remove_dir_all(folder("ends"));
    }

    #[tokio::test]
    async fn a_session_ends_by_itself_idle_or_old() {
        for (name, idle, lifetime) in [("idle", 0, 900), ("old", 900, 0)] {
            let (sessions, accounts, _) = open(name, idle, lifetime);
            let session = sessions.begin(&person()).await.expect("begun");
            let found = sessions.find(&accounts, &session, true).await;
            assert!(found.expect("read").is_none(), "{name}");
            let _ = std::fs::remove_dir_all(folder(name));
        }
    }

    #[tokio::test]
    async fn a_session_ends_with_the_password_it_was_begun_with() {
        let (sessions, accounts, _) = open("password", 900, 900);
        let password = "correct horse battery";
        accounts
            .add("lena", "lena", &[], password)
            .await
            .expect("added");
        let identity = accounts.login("lena", password, "").await.expect("in");
        let name = sessions.begin(&identity).await.expect("begun");
        accounts
            .set_groups("lena", &["legal".to_owned()])
            .await
            .expect("set");
        let found = sessions.find(&accounts, &name, true).await.expect("read");
        assert!(found.expect("holds").identity.groups.contains("legal"));
        accounts
            .set_password("lena", "another good password")
            .await
            .expect("set");
        let found = sessions.find(&accounts, &name, true).await.expect("read");
        assert!(found.is_none());
        let _ = std::fs::remove_dir_all(folder("password"));
    }

    #[test]
    fn cookies_are_for_this_site_and_no_script() {
        let set = Cookies::Secure.set(Cookie::Session, "abc", None);
        assert_eq!(
            set,
            "__Host-pgveil=abc; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        let set = Cookies::Loopback.set(Cookie::Session, "abc", None);
        assert_eq!(set, "pgveil=abc; Path=/; HttpOnly; SameSite=Strict");
        let mut headers = HeaderMap::new();
        headers.insert(
            COOKIE,
            "a=1; pgveil_login=x; pgveil=abc".parse().expect("a header"),
        );
        let get = |cookie| Cookies::Loopback.get(&headers, cookie);
        assert_eq!(get(Cookie::Session).as_deref(), Some("abc"));
        assert_eq!(get(Cookie::Login).as_deref(), Some("x"));
        assert_eq!(get(Cookie::Provider), None);
        assert_eq!(Cookies::Secure.get(&headers, Cookie::Session), None);
    }

    #[test]
    fn what_forms_carry_follows_from_the_session_and_is_another_for_another() {
        assert_eq!(csrf_of("one"), csrf_of("one"));
        assert_ne!(csrf_of("one"), csrf_of("two"));
        assert!(!csrf_of("one").contains("one"));
    }
}
