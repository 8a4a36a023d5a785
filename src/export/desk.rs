//! The desk where exports are asked for and granted: the rules of [`super::request`] over a [`Store`], each change on
//! the audit record.
//!
//! A change is stored first and recorded then; what was stored and not recorded when the process died is recorded at
//! its next start ([`Desk::catch_up`]), under the same request and step, so that a reader can tell a repetition.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

mod clear;
mod decisions;
mod document;
mod entry;
mod key;
mod pulse;
mod told;
mod waiting;

pub use self::entry::signatures;
pub use self::key::digest;
pub use self::waiting::Waiting;
pub use super::clock::now;

use self::document::{Left, claim, claims_of, label, parse};
use self::entry::record;
use self::key::{key, new_id};

use super::budget::Budgets;
use super::clock::Clock;
use super::request::{Asked, Objection, Request, State};
use super::store::{Put, Seconds, Store, StoreError};
use crate::audit::Record;

/// Kind of the documents that hold requests.
pub const REQUEST: &str = "request";

/// Requests of one person that may be open at the same time.
pub const MAX_OPEN: usize = 20;
/// How long requests are kept that have ended: seconds.
const KEPT: Seconds = 400 * 24 * 3600;
/// Attempts at a change that somebody else's came before.
const ATTEMPTS: usize = 16;
/// Requests read at once.
const PAGE: u32 = 500;

/// Why nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeskError {
    #[error("there is no export request {0}")]
    Unknown(String),
    #[error(transparent)]
    Objection(#[from] Objection),
    #[error(
        "{person} has {count} open export requests already; withdraw one, or wait for an answer"
    )]
    TooMany { person: String, count: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the audit record could not be written: {0}")]
    Unrecorded(String),
}

/// What a statement that goes beyond a limit meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Met {
    /// A grant, which is one use shorter now.
    Grant(Box<Request>),
    /// A request that waits; the second: it was made just now.
    Waiting(Box<Request>, bool),
}

/// Writes a record to the spool, or says why it could not.
pub type RecordFn = Arc<dyn Fn(&Record) -> Result<(), String> + Send + Sync>;

/// Where exports are asked for and granted.
pub struct Desk {
    store: Arc<dyn Store>,
    record: RecordFn,
    key: [u8; 32],
    policy: ArcSwap<String>,
    clock: Clock,
    pub budgets: Budgets,
    /// Grants that take masks off, as last seen.
    clear: ArcSwap<Vec<Request>>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk over a store, whose key for digests is made where there is none.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn new(
        store: Arc<dyn Store>,
        record: RecordFn,
        policy_version: &str,
    ) -> Result<Self, StoreError> {
        Desk::with_clock(store, record, policy_version, Clock::system()).await
    }

    /// [`Desk::new`] by another clock.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn with_clock(
        store: Arc<dyn Store>,
        record: RecordFn,
        policy_version: &str,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let key = key(&*store, clock.now()).await?;
        Ok(Desk {
            budgets: Budgets::with_clock(Arc::clone(&store), clock.clone()),
            clock,
            store,
            record,
            key,
            policy: ArcSwap::from_pointee(policy_version.to_owned()),
            clear: ArcSwap::default(),
            changes: watch::Sender::new(0),
        })
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The key of digests, which whoever shares the store shares.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Now, by the clock that requests go by.
    pub fn now(&self) -> Seconds {
        self.clock.now()
    }

    /// Counts up whenever a request has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The policy in force; grants under another one are void.
    pub fn policy_changed(&self, version: &str) {
        self.policy.store(Arc::new(version.to_owned()));
    }

    /// Hexadecimal digits that stand for a statement's values and reveal nothing about them.
    pub fn digest(&self, values: &[u8]) -> String {
        digest(&self.key, values)
    }

    /// A statement goes beyond a limit: uses the grant for it, or finds or makes a request.
    ///
    /// # Errors
    /// The store or the record cannot be written, or the person has too many open requests.
    pub async fn exceeded(&self, asked: &Asked, reason: Option<&str>) -> Result<Met, DeskError> {
        let claim = claim(asked);
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let Some((found, revision)) = self.holder(&claim, now).await? else {
                match self.open(asked, reason, &claim, now).await? {
                    Some(request) => return Ok(Met::Waiting(Box::new(request), true)),
                    None => continue,
                }
            };
            if let Some(lapsed) = found.lapse(Some(&asked.policy_version), now) {
                self.replace(lapsed, revision).await?;
                continue;
            }
            if found.state != State::Granted {
                let Some(reason) =
                    reason.filter(|reason| found.takes_explanations() && !found.has_reason(reason))
                else {
                    return Ok(Met::Waiting(Box::new(found), false));
                };
                let explained = found.explain(&asked.person, reason.to_owned(), now)?;
                if let Some(request) = self.replace(explained, revision).await? {
                    return Ok(Met::Waiting(Box::new(request), false));
                }
                continue;
            }
            let used = found.spend(asked, now)?;
            if let Some(request) = self.replace(used, revision).await? {
                return Ok(Met::Grant(Box::new(request)));
            }
        }
        Err(busy().into())
    }

    /// The open request of a claim. Found by its index, however many others are open.
    async fn holder(
        &self,
        claim: &str,
        now: Seconds,
    ) -> Result<Option<(Request, i64)>, StoreError> {
        // No claim is the beginning of another: each ends with its bracket.
        let found = self.store.claimed(REQUEST, claim, 1, now).await?;
        found
            .first()
            .map(|document| Ok((parse(document)?, document.revision)))
            .transpose()
    }

    /// Stores a new request; `None`: another one came first.
    async fn open(
        &self,
        asked: &Asked,
        reason: Option<&str>,
        claim: &str,
        now: Seconds,
    ) -> Result<Option<Request>, DeskError> {
        // Looked at before anything is stored; two that ask at the same time may exceed it by one.
        let own = self
            .store
            .claimed(REQUEST, &claims_of(&asked.person), PAGE, now)
            .await?;
        let mut count = 0;
        for document in &own {
            count += usize::from(parse(document)?.state.is_pending());
        }
        if count >= MAX_OPEN {
            return Err(DeskError::TooMany {
                person: asked.person.clone(),
                count,
            });
        }
        let waits = i64::try_from(REQUEST_WAITS.as_secs()).unwrap_or(i64::MAX);
        let request = Request::open(
            new_id(),
            asked.clone(),
            reason.map(str::to_owned),
            now,
            now.saturating_add(waits),
        );
        let draft = self.document(&request, 0, Some(claim))?;
        match self.store.put(&draft, now).await? {
            Put::Stored(revision) => self.recorded(request, revision).await.map(Some),
            // Or an identifier that exists already: the next attempt has another.
            Put::Claimed(_) | Put::Stale => Ok(None),
        }
    }

    /// A request as it stands.
    ///
    /// # Errors
    /// There is none, or the store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Request, DeskError> {
        match self.read(id).await? {
            Some((request, _)) => Ok(request),
            None => Err(DeskError::Unknown(id.to_owned())),
        }
    }

    /// Requests in these states, all if none is named, the latest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, states: &[State]) -> Result<Vec<Request>, StoreError> {
        let wanted = states
            .iter()
            .flat_map(|state| Left::ALL.map(|left| label(*state, left)));
        let mut requests = self
            .labelled(&wanted.collect::<Vec<_>>(), usize::MAX)
            .await?;
        requests.sort_by(|one, other| (other.opened, &other.id).cmp(&(one.opened, &one.id)));
        Ok(requests)
    }

    /// Requests with these labels, all if none is named; no more pages than it takes to have so many.
    async fn labelled(&self, labels: &[String], limit: usize) -> Result<Vec<Request>, StoreError> {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let mut requests: Vec<Request> = Vec::new();
        let mut after = String::new();
        loop {
            let page = self
                .store
                .list(REQUEST, &labels, &after, PAGE, self.clock.now())
                .await?;
            let full = page.len() >= PAGE as usize;
            if let Some(last) = page.last() {
                after.clone_from(&last.key);
            }
            for document in page {
                requests.push(parse(&document)?);
            }
            if !full || requests.len() >= limit {
                return Ok(requests);
            }
        }
    }

    /// Ends what time or the policy has ended, and brings on record what a process that died had left.
    ///
    /// # Errors
    /// The store or the record cannot be written.
    pub async fn catch_up(&self) -> Result<(), DeskError> {
        self.settle(Some(self.policy.load().as_str())).await
    }

    /// As [`Desk::catch_up`], of time alone: while proxies that share a store take up a new policy one after the other, none
    /// voids what was asked for under another's. What is under an old policy is void when somebody touches it. Fails where the
    /// store cannot be written, even if there was nothing to do.
    ///
    /// # Errors
    /// The store or the record cannot be written.
    pub async fn tidy(&self) -> Result<(), DeskError> {
        self.settle(None).await?;
        Ok(self.pulse().await?)
    }

    async fn settle(&self, policy_version: Option<&str>) -> Result<(), DeskError> {
        // What has ended and is on record is not read: there is a year of it.
        let wanted = State::ALL
            .into_iter()
            .flat_map(|state| Left::ALL.map(|left| (state, left)))
            .filter(|(state, left)| !state.has_ended() || *left == Left::Unrecorded)
            .map(|(state, left)| label(state, left));
        for request in self
            .labelled(&wanted.collect::<Vec<_>>(), usize::MAX)
            .await?
        {
            let Some((found, revision)) = self.read(&request.id).await? else {
                continue;
            };
            match found.lapse(policy_version, self.clock.now()) {
                Some(lapsed) => {
                    self.replace(lapsed, revision).await?;
                }
                None if found.recorded < found.history.len() => {
                    self.recorded(found, revision).await?;
                }
                None => {}
            }
        }
        self.look_for_clear().await?;
        self.store.sweep(self.clock.now()).await?;
        Ok(())
    }

    async fn read(&self, id: &str) -> Result<Option<(Request, i64)>, StoreError> {
        match self.store.get(REQUEST, id, self.clock.now()).await? {
            Some(document) => Ok(Some((parse(&document)?, document.revision))),
            None => Ok(None),
        }
    }

    /// `None`: somebody else's change came first.
    async fn replace(&self, request: Request, revision: i64) -> Result<Option<Request>, DeskError> {
        let document = self.document(&request, revision, None)?;
        match self.store.put(&document, self.clock.now()).await? {
            Put::Stored(revision) => self.recorded(request, revision).await.map(Some),
            Put::Stale | Put::Claimed(_) => Ok(None),
        }
    }

    /// Brings a request's steps on record that are not.
    async fn recorded(&self, mut request: Request, revision: i64) -> Result<Request, DeskError> {
        let steps = request.history.len();
        let recorded = (request.recorded..steps)
            .try_for_each(|index| (self.record)(&record(&request, index)))
            .map_err(DeskError::Unrecorded);
        let noted = match recorded {
            Ok(()) => {
                request.recorded = steps;
                self.note_recorded(&request, revision).await
            }
            Err(error) => Err(error),
        };
        if !request.asked.may_unmask.is_empty()
            && let Err(error) = self.look_for_clear().await
        {
            // It is stored and on record all the same; a grant is looked up again when it is used.
            tracing::warn!(%error, "grants that take masks off are not known yet");
        }
        // After it is noted, so that who waits for it does not come in between.
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
        noted.map(|()| request)
    }

    /// Stores that steps are on record. Who has changed the request meanwhile has recorded what was missing, at worst
    /// once more, and knows nothing of it only if told of it alone.
    async fn note_recorded(&self, request: &Request, revision: i64) -> Result<(), DeskError> {
        let (mut next, mut revision) = (request.clone(), revision);
        for _ in 0..ATTEMPTS {
            let document = self.document(&next, revision, None)?;
            if let Put::Stored(_) = self.store.put(&document, self.clock.now()).await? {
                return Ok(());
            }
            match self.read(&request.id).await? {
                Some((found, found_revision)) if found.recorded < request.recorded => {
                    next = Request {
                        recorded: request.recorded,
                        ..found
                    };
                    revision = found_revision;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

/// How long a request waits for its signatures.
pub const REQUEST_WAITS: Duration = Duration::from_secs(7 * 24 * 3600);

fn busy() -> StoreError {
    StoreError("too many changes at the same time; try again".to_owned())
}

/// Groups of people who may sign for exports, by the group's name.
pub type Groups = BTreeSet<String>;

#[cfg(test)]
mod tests;
