//! An issuer of tokens: where its keys are, and what is known of them.
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::keys::Keys;
use super::{Bearer, Refused, Rule, read};
use crate::config::is_loopback_url;
use crate::outbound;

/// Bytes of an issuer's answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// Between two times that an issuer is asked, whatever the reason: who sends tokens of unknown keys, without proving anything,
/// makes no more traffic than that.
const PAUSE: Duration = Duration::from_secs(2);
/// Where an issuer describes itself (OpenID Connect Discovery 1.0, section 4).
const DESCRIPTION: &str = "/.well-known/openid-configuration";

/// Where the keys of an issuer are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// It says so itself.
    Discovery,
    /// A JSON Web Key Set at this address.
    Url(String),
}

/// How long keys serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// From this age on they are asked for again. While the issuer does not answer, the old ones serve on ...
    pub refresh: Duration,
    /// ... up to this age.
    pub max_age: Duration,
}

struct Known {
    at: Instant,
    keys: Arc<Keys>,
}

/// An issuer whose tokens are taken.
pub struct Issuer {
    /// What policies call it.
    pub name: Arc<str>,
    rule: Rule,
    source: KeySource,
    lifetime: Lifetime,
    http: reqwest::Client,
    known: ArcSwapOption<Known>,
    /// When it was asked last. Whoever holds it asks; the others wait for the answer.
    asked: Mutex<Option<Instant>>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// Nothing is asked yet.
    pub fn new(
        name: Arc<str>,
        rule: Rule,
        source: KeySource,
        lifetime: Lifetime,
        http: reqwest::Client,
    ) -> Self {
        Issuer {
            name,
            rule,
            source,
            lifetime,
            http,
            known: ArcSwapOption::empty(),
            asked: Mutex::new(None),
        }
    }

    /// Goes on with the keys that the same issuer gave under other settings.
    pub fn inherit(&self, before: &Issuer) {
        if self.rule.issuer == before.rule.issuer && self.source == before.source {
            self.known.store(before.known.load_full());
        }
    }

    /// Who has this token.
    ///
    /// # Errors
    /// It is nobody's, or the issuer's keys are not known.
    pub async fn bearer(&self, token: &str, now: SystemTime) -> Result<Bearer, Refused> {
        let keys = self.keys().await?;
        match read(token, &keys, &self.rule, now) {
            Err(Refused::UnknownKey) => {
                let newer = self.newer_than(&keys).await?;
                read(token, &newer, &self.rule, now)
            }
            read => read,
        }
    }

    /// Keys that are not too old.
    async fn keys(&self) -> Result<Arc<Keys>, Refused> {
        if let Some(keys) = self.within(self.lifetime.refresh) {
            return Ok(keys);
        }
        // While somebody asks, what serves serves.
        let mut asked = match (self.asked.try_lock(), self.within(self.lifetime.max_age)) {
            (Ok(asked), _) => asked,
            (Err(_), Some(keys)) => return Ok(keys),
            (Err(_), None) => self.asked.lock().await,
        };
        if let Some(keys) = self.within(self.lifetime.refresh) {
            return Ok(keys);
        }
        let failed = match self.ask(&mut asked).await {
            Ok(keys) => return Ok(keys),
            Err(failed) => failed,
        };
        self.within(self.lifetime.max_age).ok_or(failed)
    }

    /// The keys as they are after these, which lack one.
    async fn newer_than(&self, keys: &Arc<Keys>) -> Result<Arc<Keys>, Refused> {
        let mut asked = self.asked.lock().await;
        if let Some(known) = self.within(self.lifetime.max_age)
            && !Arc::ptr_eq(&known, keys)
        {
            return Ok(known);
        }
        match self.ask(&mut asked).await {
            Ok(keys) => Ok(keys),
            // As far as is known it has no such key.
            Err(_) => Ok(Arc::clone(keys)),
        }
    }

    fn within(&self, age: Duration) -> Option<Arc<Keys>> {
        let known = self.known.load();
        let known = known.as_ref().filter(|known| known.at.elapsed() < age)?;
        Some(Arc::clone(&known.keys))
    }

    async fn ask(&self, asked: &mut Option<Instant>) -> Result<Arc<Keys>, Refused> {
        if asked.is_some_and(|asked| asked.elapsed() < PAUSE) {
            let message = "they were asked for a moment ago, in vain";
            return Err(Refused::NoKeys(message.to_owned()));
        }
        *asked = Some(Instant::now());
        let found = self.fetch().await;
        let keys = found.map_err(|cause| {
            tracing::warn!(issuer = %self.name, cause, "the keys of an issuer of tokens cannot be read");
            Refused::NoKeys(cause)
        })?;
        tracing::info!(issuer = %self.name, keys = keys.len(), "the keys of an issuer of tokens are read");
        let keys = Arc::new(keys);
        self.known.store(Some(Arc::new(Known {
            at: Instant::now(),
            keys: Arc::clone(&keys),
        })));
        Ok(keys)
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let address = match &self.source {
            KeySource::Url(url) => url.clone(),
            KeySource::Discovery => {
                let base = self.rule.issuer.trim_end_matches('/');
                let answer = self.get(&format!("{base}{DESCRIPTION}")).await?;
                let described: Description = serde_json::from_slice(&answer)
                    .map_err(|_| "the issuer's description cannot be read".to_owned())?;
                if described.issuer != self.rule.issuer {
                    return Err("the issuer describes itself under another name".to_owned());
                }
                described.jwks_uri
            }
        };
        let answer = self.get(&address).await?;
        // One without a key that can be used counts as well: its issuer takes no token of before any more.
        Keys::parse(&answer).ok_or_else(|| "the answer is no set of keys".to_owned())
    }

    async fn get(&self, address: &str) -> Result<Vec<u8>, String> {
        let url = Url::parse(address).map_err(|_| "the address of its keys is none".to_owned())?;
        if !is_private(&url) {
            return Err("the address of its keys is not `https`".to_owned());
        }
        let sent = self.http.get(url).send().await;
        let mut answer = sent.map_err(|error| outbound::told(&error))?;
        if !answer.status().is_success() {
            return Err(format!("the issuer answers {}", answer.status()));
        }
        outbound::body(&mut answer, MAX_ANSWER).await
    }
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// Who could put keys of their own in the place of the issuer's could be anybody: they come by TLS, or from this machine.
fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback_url(url))
}
