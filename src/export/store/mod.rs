//! Where export requests, grants, budgets and accounts are kept: what has to outlive the process.
//!
//! A store knows three things. *Documents*: JSON under a kind and a key, replaced only by who has read their last
//! revision. *Counters*: amounts by minute, taken out in leases before they are spent, so that what a killed process had
//! taken counts as spent. *Sets*: what was seen on a day. What they mean is decided elsewhere
//! ([`super::desk`], [`super::request`]); one suite of tests (`tests/state`) holds every store to the same behaviour.
pub mod postgres;
pub mod sqlite;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use postgres::Postgres;
pub use sqlite::Sqlite;

use crate::config::StateSettings;

/// Opens the store that the settings name.
///
/// # Errors
/// It cannot be reached, read or written, is in use by another process (a file), or belongs to a newer pgveil.
pub async fn open(settings: &StateSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings {
        StateSettings::File(path) => Arc::new(Sqlite::open(path)?),
        StateSettings::Postgres(server) => Arc::new(Postgres::open(server).await?),
    })
}

/// An answer that takes a while.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The store cannot be asked. What needs it is refused until it can.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the state store is unavailable: {0}")]
pub struct StoreError(pub String);

impl StoreError {
    pub fn of(error: impl std::fmt::Display) -> Self {
        StoreError(error.to_string())
    }
}

/// Seconds since 1970, UTC.
pub type Seconds = i64;

/// Length of a counter's bucket in seconds.
pub const BUCKET: Seconds = 60;

/// How long what was taken from a counter may be spent, in seconds. A rolling window is longer by this and a bucket, so
/// that nothing leaves it early.
pub const LEASE: Seconds = 60;

/// JSON under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it is: `request`, `account`, ...
    pub kind: &'static str,
    pub key: String,
    /// Counts its changes, from 1; 0: not stored yet.
    pub revision: i64,
    /// What lists are filtered by: the state of a request.
    pub label: String,
    /// No two documents of a kind have the same claim.
    pub claim: Option<String>,
    pub body: String,
    /// From then on it is not there any more.
    pub expires: Option<Seconds>,
}

/// What became of a document that was to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Stored, durably; its revision now.
    Stored(i64),
    /// Somebody else has stored another revision since: read again.
    Stale,
    /// The claim is that of the document with this key.
    Claimed(String),
}

/// At most this much within so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub seconds: u64,
    pub limit: u64,
}

/// What was taken from a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// May be less than was asked for, and nothing.
    pub amount: u64,
    /// Where it was put down, for giving back what was not spent.
    pub bucket: i64,
}

/// State that outlives the process. Every change is on the disk when its answer comes.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Lets a successor of this process open the state; both work on it from then on. Nothing to do where several
    /// processes may anyway.
    ///
    /// # Errors
    /// The state cannot be let go of.
    fn hand_over(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Undoes [`Store::hand_over`].
    ///
    /// # Errors
    /// The successor still has it.
    fn take_back(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn get<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        now: Seconds,
    ) -> Later<'a, Option<Document>>;

    /// Stores a document whose revision is the one stored, or 0 and none is.
    fn put<'a>(&'a self, document: &'a Document, now: Seconds) -> Later<'a, Put>;

    /// Whether there was such a document of such a revision.
    fn delete<'a>(&'a self, kind: &'static str, key: &'a str, revision: i64) -> Later<'a, bool>;

    /// Documents of a kind, by key; `labels`: with one of these only, all if empty. At most `limit` behind the key `after`.
    fn list<'a>(
        &'a self,
        kind: &'static str,
        labels: &'a [&'a str],
        after: &'a str,
        limit: u32,
        now: Seconds,
    ) -> Later<'a, Vec<Document>>;

    /// Documents of a kind whose claims begin with `prefix`, by claim; at most `limit`.
    fn claimed<'a>(
        &'a self,
        kind: &'static str,
        prefix: &'a str,
        limit: u32,
        now: Seconds,
    ) -> Later<'a, Vec<Document>>;

    /// Takes up to `want` from a counter, so that what was taken in each window stays within its limit.
    fn take<'a>(
        &'a self,
        counter: &'a str,
        windows: &'a [Window],
        want: u64,
        now: Seconds,
    ) -> Later<'a, Taken>;

    /// Gives back what was taken and not spent.
    fn give_back<'a>(&'a self, counter: &'a str, bucket: i64, amount: u64) -> Later<'a, ()>;

    /// What was taken within a window that ends now.
    fn taken<'a>(&'a self, counter: &'a str, seconds: u64, now: Seconds) -> Later<'a, u64>;

    /// Adds members to a set of a day; says how many were not in it.
    fn see<'a>(&'a self, set: &'a str, day: i64, members: &'a [i64]) -> Later<'a, u64>;

    /// The members of a set of a day.
    fn seen<'a>(&'a self, set: &'a str, day: i64) -> Later<'a, Vec<i64>>;

    /// Forgets what no window reaches any more, expired documents, and sets before a day. Returns how many rows went.
    fn sweep<'a>(&'a self, now: Seconds) -> Later<'a, u64>;
}

/// The bucket of a moment.
pub const fn bucket(now: Seconds) -> i64 {
    now.div_euclid(BUCKET)
}

/// The first bucket that a window of so many seconds still sees.
pub fn first_bucket(seconds: u64, now: Seconds) -> i64 {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    bucket(now.saturating_sub(seconds).saturating_sub(LEASE)).saturating_sub(1)
}

/// How much of `want` may be taken where `taken(window)` was.
pub fn free(windows: &[(Window, u64)], want: u64) -> u64 {
    windows
        .iter()
        .map(|(window, taken)| window.limit.saturating_sub(*taken))
        .fold(want, u64::min)
}

/// The first text behind all that begin with `prefix`, by bytes of UTF-8; `None`: there is nothing behind them.
pub fn beyond(prefix: &str) -> Option<String> {
    let mut text: Vec<char> = prefix.chars().collect();
    while let Some(last) = text.pop() {
        // Characters are in the order of their bytes; surrogates are none.
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return Some(text.into_iter().collect());
        }
    }
    None
}

/// The longest a counter is kept: two days cover every window and the clocks of several proxies.
pub const KEPT: Seconds = 2 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::beyond;

    #[test]
    fn what_begins_so_ends_where_the_next_beginning_is() {
        for (prefix, end) in [
            ("[\"ann\",", Some("[\"ann\"-")),
            ("a\u{d7ff}", Some("a\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}", None),
            ("", None),
        ] {
            assert_eq!(beyond(prefix).as_deref(), end, "{prefix:?}");
            if let Some(end) = end {
                assert!(format!("{prefix}\u{10ffff}zz").as_str() < end);
            }
        }
    }
}
