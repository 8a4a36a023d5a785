//! What people may take out within an hour or a day, over all their sessions.
//!
//! A person's rows are taken from the store in leases and spent from memory: a row needs no round trip, and a process
//! that dies takes what it had leased along. What was spent never exceeds a window: it was taken before. So over any
//! number of proxies nothing is served beyond a limit (`tests/state/shared.rs`), as long as their clocks differ by less
//! than [`LEASE`] and a bucket, by which every window is longer than it says.
//!
//! What is leased and not spent is missing for other proxies until it is given back, after [`LEASE`] seconds: at most a
//! 32nd of the tightest limit and 1024 rows (of limits beyond a million rows a 1024th) for each proxy, or what one result
//! asked for at once where that is more.
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

use super::clock::Clock;
use super::request::LimitKind;
use super::store::{LEASE, Seconds, Store, StoreError, Taken, Window};
use crate::policy::ExportRule;
use crate::policy::person::plain;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// A lease is this share of the tightest limit.
const SHARE: u64 = 32;
/// ... and no more than so many rows, or than one of so many parts where that is more.
const MAX_LEASE: u64 = 1024;

/// Rows that are leased at a time under a limit.
const fn lease(limit: u64) -> u64 {
    let most = if limit / MAX_LEASE > MAX_LEASE {
        limit / MAX_LEASE
    } else {
        MAX_LEASE
    };
    let share = limit / SHARE;
    if share < most { share } else { most }
}

/// How much a person may take out, from the role's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    pub per_hour: Option<u64>,
    pub per_day: Option<u64>,
    pub subjects_per_day: Option<u64>,
}

impl From<&ExportRule> for Allowed {
    fn from(rule: &ExportRule) -> Self {
        Allowed {
            per_hour: rule.per_hour,
            per_day: rule.per_day,
            subjects_per_day: rule.subjects_per_day,
        }
    }
}

impl Allowed {
    fn windows(self) -> Vec<Window> {
        let window = |seconds, limit: Option<u64>| limit.map(|limit| Window { seconds, limit });
        [window(HOUR, self.per_hour), window(DAY, self.per_day)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether rows that were taken under these limits may be spent under those: none of them is tighter.
    const fn is_within(self, other: Allowed) -> bool {
        const fn most(limit: Option<u64>) -> u64 {
            match limit {
                Some(limit) => limit,
                None => u64::MAX,
            }
        }
        most(self.per_hour) <= most(other.per_hour) && most(self.per_day) <= most(other.per_day)
    }

    pub const fn limits_rows(self) -> bool {
        self.per_hour.is_some() || self.per_day.is_some()
    }

    pub const fn any(self) -> bool {
        self.limits_rows() || self.subjects_per_day.is_some()
    }
}

/// Rows that were taken from the store and may be spent until a moment.
#[derive(Debug)]
struct Lease {
    left: u64,
    /// Where the store put them down, and where they are given back.
    bucket: i64,
    until: Seconds,
    /// The limits under which they were taken. A person with several roles has several.
    under: Allowed,
}

impl Lease {
    fn serves(&self, allowed: Allowed, now: Seconds) -> bool {
        now < self.until && self.under.is_within(allowed)
    }
}

/// People seen on one day.
#[derive(Debug, Default)]
struct Subjects {
    day: i64,
    /// What the store has of the day is in `known`.
    loaded: bool,
    known: HashSet<i64>,
    /// Known here and not stored yet.
    pending: Vec<i64>,
    /// Perhaps stored: the store was asked and did not answer. That it knows them says nothing about another proxy.
    unsure: Vec<i64>,
    left: u64,
}

/// What one person has in hand.
#[derive(Debug)]
pub struct Purse {
    person: String,
    /// The oldest first. A lease lasts as long as a bucket, so there are hardly more than two.
    rows: Mutex<Vec<Lease>>,
    subjects: Mutex<Subjects>,
    /// Held by who asks the store: others of the same person wait and find what was taken, so that nobody is refused for
    /// rows that are on their way.
    asking: tokio::sync::Mutex<()>,
}

/// What has become of rows or subjects that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refill {
    /// There is more to spend now.
    Ready,
    /// A limit is reached: which, and how much it is.
    Full(LimitKind, u64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Purse {
    /// Spends rows from what is in hand under these limits; `false`: there is not enough, and nothing was spent.
    pub fn spend(&self, rows: u64, allowed: Allowed, now: Seconds) -> bool {
        let mut leases = lock(&self.rows);
        if in_hand(&leases, allowed, now) < rows {
            return false;
        }
        let mut wanted = rows;
        for lease in leases.iter_mut().filter(|lease| lease.serves(allowed, now)) {
            let spent = wanted.min(lease.left);
            lease.left -= spent;
            wanted -= spent;
        }
        leases.retain(|lease| lease.left > 0);
        true
    }

    /// Takes out what is not to be kept.
    fn ended(&self, keeps: impl Fn(&Lease) -> bool) -> Vec<Taken> {
        let mut leases = lock(&self.rows);
        let (kept, ended) = std::mem::take(&mut *leases).into_iter().partition(keeps);
        *leases = kept;
        let ended: Vec<Lease> = ended;
        let taken = ended.into_iter().map(|lease| Taken {
            amount: lease.left,
            bucket: lease.bucket,
        });
        taken.collect()
    }

    /// There is nothing in it that the store does not know, or that is asked for often.
    fn is_empty(&self, now: Seconds) -> bool {
        let subjects = lock(&self.subjects);
        let is_of_today = subjects.day == day(now);
        lock(&self.rows).is_empty()
            && subjects.pending.is_empty()
            && subjects.unsure.is_empty()
            && !(is_of_today && (subjects.left > 0 || !subjects.known.is_empty()))
    }

    fn put(&self, taken: Taken, under: Allowed, now: Seconds) {
        if taken.amount == 0 {
            return;
        }
        let until = now.saturating_add(LEASE);
        let mut leases = lock(&self.rows);
        let same = |lease: &&mut Lease| lease.bucket == taken.bucket && lease.under == under;
        match leases.iter_mut().find(same) {
            // The window's length allows for a lease that was taken at the end of its bucket.
            Some(lease) => {
                lease.left += taken.amount;
                lease.until = lease.until.max(until);
            }
            None => leases.push(Lease {
                left: taken.amount,
                bucket: taken.bucket,
                until,
                under,
            }),
        }
    }

    /// Whether a subject may be shown: it was seen today, or is one of those that may still be.
    pub fn see(&self, subject: i64, now: Seconds) -> bool {
        let mut subjects = lock(&self.subjects);
        if subjects.day != day(now) || !subjects.loaded {
            return false;
        }
        if subjects.known.contains(&subject) {
            return true;
        }
        if subjects.left == 0 {
            return false;
        }
        subjects.left -= 1;
        subjects.known.insert(subject);
        subjects.pending.push(subject);
        true
    }
}

fn in_hand(leases: &[Lease], allowed: Allowed, now: Seconds) -> u64 {
    leases
        .iter()
        .filter(|lease| lease.serves(allowed, now))
        .map(|lease| lease.left)
        .fold(0, u64::saturating_add)
}

/// What a person has used of a limit, for people to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub kind: LimitKind,
    pub used: u64,
    pub limit: u64,
}

/// The purses of all people.
#[derive(Debug)]
pub struct Budgets {
    store: Arc<dyn Store>,
    purses: DashMap<String, Arc<Purse>>,
    clock: Clock,
}

impl Budgets {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Budgets::with_clock(store, Clock::system())
    }

    /// [`Budgets::new`] by another clock.
    pub fn with_clock(store: Arc<dyn Store>, clock: Clock) -> Self {
        Budgets {
            store,
            purses: DashMap::new(),
            clock,
        }
    }

    /// A person's, however the name is spelt.
    pub fn purse(&self, person: &str) -> Arc<Purse> {
        let person = plain(person);
        if let Some(purse) = self.purses.get(&person) {
            return Arc::clone(&purse);
        }
        let purse = self.purses.entry(person.clone()).or_insert_with(|| {
            Arc::new(Purse {
                person,
                rows: Mutex::default(),
                subjects: Mutex::default(),
                asking: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(&purse)
    }

    /// Takes more rows for a person, at least `rows`.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn refill(
        &self,
        purse: &Purse,
        rows: u64,
        allowed: Allowed,
    ) -> Result<Refill, StoreError> {
        let counter = rows_of(&purse.person);
        let windows = allowed.windows();
        let _asking = purse.asking.lock().await;
        let now = self.clock.now();
        if in_hand(&lock(&purse.rows), allowed, now) >= rows {
            return Ok(Refill::Ready);
        }
        if windows.iter().any(|window| rows > window.limit) {
            return self.full(&counter, allowed, rows, now).await;
        }
        // What another role of the person has leased under looser limits is missing in the tighter ones.
        self.give_back(purse, |lease| lease.serves(allowed, now))
            .await?;
        let share = windows
            .iter()
            .map(|window| lease(window.limit))
            .min()
            .unwrap_or(MAX_LEASE);
        // What is in hand counts: somebody who asks for the last row is not refused for want of one more.
        let missing = rows.saturating_sub(in_hand(&lock(&purse.rows), allowed, now));
        let taken = self
            .store
            .take(&counter, &windows, missing.max(share), now)
            .await?;
        purse.put(taken, allowed, now);
        if taken.amount >= missing {
            return Ok(Refill::Ready);
        }
        self.full(&counter, allowed, missing, now).await
    }

    /// Gives leases back that are not to be kept. One that the store does not take is lost, which is to the safe side.
    async fn give_back(
        &self,
        purse: &Purse,
        keeps: impl Fn(&Lease) -> bool,
    ) -> Result<(), StoreError> {
        for old in purse.ended(keeps) {
            self.store
                .give_back(&rows_of(&purse.person), old.bucket, old.amount)
                .await?;
        }
        Ok(())
    }

    async fn full(
        &self,
        counter: &str,
        allowed: Allowed,
        rows: u64,
        now: Seconds,
    ) -> Result<Refill, StoreError> {
        if let Some(limit) = allowed.per_hour
            && self
                .store
                .taken(counter, HOUR, now)
                .await?
                .saturating_add(rows)
                > limit
        {
            return Ok(Refill::Full(LimitKind::PerHour, limit));
        }
        Ok(Refill::Full(
            LimitKind::PerDay,
            allowed.per_day.unwrap_or(0),
        ))
    }

    /// Makes room for a subject that was not seen today.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn admit(&self, purse: &Purse, limit: u64) -> Result<Refill, StoreError> {
        let _asking = purse.asking.lock().await;
        let now = self.clock.now();
        let today = day(now);
        let set = subjects_of(&purse.person);
        let counter = format!("{set}:{today}");
        self.flush_subjects(purse).await?;
        let known = {
            let subjects = lock(&purse.subjects);
            subjects.day == today && subjects.loaded
        };
        if !known {
            let seen = self.store.seen(&set, today).await?;
            let mut subjects = lock(&purse.subjects);
            if subjects.day != today {
                *subjects = Subjects {
                    day: today,
                    ..Subjects::default()
                };
            }
            subjects.known.extend(seen);
            subjects.loaded = true;
            return Ok(Refill::Ready);
        }
        // Somebody else of the same person may have made room meanwhile.
        if lock(&purse.subjects).left > 0 {
            return Ok(Refill::Ready);
        }
        let window = Window {
            seconds: DAY,
            limit,
        };
        let want = (limit / SHARE).clamp(1, MAX_LEASE);
        let taken = self.store.take(&counter, &[window], want, now).await?;
        lock(&purse.subjects).left += taken.amount;
        Ok(match taken.amount {
            0 => Refill::Full(LimitKind::SubjectsPerDay, limit),
            _ => Refill::Ready,
        })
    }

    /// Stores the subjects that are known here alone. Those that another proxy had stored are given back.
    async fn flush_subjects(&self, purse: &Purse) -> Result<(), StoreError> {
        let (day, pending, unsure) = {
            let mut subjects = lock(&purse.subjects);
            let pending = std::mem::take(&mut subjects.pending);
            (subjects.day, pending, subjects.unsure.clone())
        };
        let set = subjects_of(&purse.person);
        let stored = async {
            if !unsure.is_empty() {
                self.store.see(&set, day, &unsure).await?;
            }
            match pending.is_empty() {
                true => Ok(0),
                false => self.store.see(&set, day, &pending).await,
            }
        };
        let stored = stored.await;
        let mut subjects = lock(&purse.subjects);
        if subjects.day != day {
            return stored.map(drop);
        }
        match stored {
            Ok(new) => {
                subjects.unsure.clear();
                subjects.left += (pending.len() as u64).saturating_sub(new);
                Ok(())
            }
            Err(error) => {
                subjects.unsure.extend(pending);
                Err(error)
            }
        }
    }

    /// Gives back leases that have run out, and stores what is known here alone. `all`: leases that have not run out too.
    /// Purses with nothing left in them are forgotten.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn settle(&self, all: bool) -> Result<(), StoreError> {
        let purses: Vec<Arc<Purse>> = self
            .purses
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .collect();
        for purse in purses {
            let _asking = purse.asking.lock().await;
            let now = self.clock.now();
            self.give_back(&purse, |lease| !all && now < lease.until)
                .await?;
            self.flush_subjects(&purse).await?;
        }
        let now = self.clock.now();
        self.purses
            .retain(|_, purse| Arc::strong_count(purse) > 1 || !purse.is_empty(now));
        Ok(())
    }

    /// What a person has used of each limit; leased rows count as used.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn used(&self, person: &str, allowed: Allowed) -> Result<Vec<Used>, StoreError> {
        let (now, person) = (self.clock.now(), &plain(person));
        let mut used = Vec::new();
        let rows = rows_of(person);
        for (kind, seconds, limit) in [
            (LimitKind::PerHour, HOUR, allowed.per_hour),
            (LimitKind::PerDay, DAY, allowed.per_day),
        ] {
            if let Some(limit) = limit {
                used.push(Used {
                    kind,
                    used: self.store.taken(&rows, seconds, now).await?,
                    limit,
                });
            }
        }
        if let Some(limit) = allowed.subjects_per_day {
            let counter = format!("{}:{}", subjects_of(person), day(now));
            used.push(Used {
                kind: LimitKind::SubjectsPerDay,
                used: self.store.taken(&counter, DAY, now).await?,
                limit,
            });
        }
        Ok(used)
    }
}

fn rows_of(person: &str) -> String {
    format!("rows:{person}")
}

fn subjects_of(person: &str) -> String {
    format!("subjects:{person}")
}

/// The day of subjects: UTC.
pub const fn day(now: Seconds) -> i64 {
    now.div_euclid(86_400)
}

#[cfg(test)]
mod tests;
