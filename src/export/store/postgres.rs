//! The shared store: a schema `pgveil` in a PostgreSQL database, for several proxies that serve together.
//!
//! Two connections, one for documents and one for counters and sets, so that a list of requests keeps no statement
//! waiting for its rows. When the server is gone, whoever asks is told at once or after [`link`]'s time limits, and the
//! next who asks after a while connects again. A request that was sent and not answered counts as failed though it may
//! have been done: taken rows are spent then, and a document is read again before it is changed.
mod link;
mod schema;
mod text;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, SimpleQueryMessage};

use self::link::{Link, Repeat, Session, Target};
use super::{
    Document, KEPT, Later, Put, Seconds, Store, StoreError, Taken, Window, beyond, bucket,
    first_bucket,
};
use crate::config::StateServer;

/// How often a document is tried to be stored whose claim's holder goes away meanwhile.
const ATTEMPTS: usize = 4;

/// The shared store.
pub struct Postgres {
    documents: Link,
    counters: Link,
    target: Arc<Target>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Postgres({:?})", self.target)
    }
}

impl Postgres {
    /// Connects, and makes the schema where there is none.
    ///
    /// # Errors
    /// The server cannot be reached, its encoding is not UTF-8, the user may not make a schema, or it belongs to a newer
    /// pgveil.
    pub async fn open(server: &StateServer) -> Result<Self, StoreError> {
        let target = Arc::new(Target::new(server)?);
        let store = Postgres {
            documents: Link::new(Arc::clone(&target)),
            counters: Link::new(Arc::clone(&target)),
            target,
        };
        for link in [&store.documents, &store.counters] {
            link.run(Repeat::Harmless, move |session: Arc<Session>| async move {
                session.client.batch_execute("SELECT 1").await
            })
            .await?;
        }
        Ok(store)
    }

    async fn put(&self, document: &Document, now: Seconds) -> Result<Put, StoreError> {
        for _ in 0..ATTEMPTS {
            if self.write(document, now).await? {
                return Ok(Put::Stored(document.revision + 1));
            }
            let Document {
                kind, key, claim, ..
            } = document;
            let claim = &digest(claim);
            let (holder, gone) = self
                .documents
                .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                    let gone = session
                        .client
                        .execute(&session.forget, &[kind, &now, key, claim])
                        .await?;
                    let holder = session
                        .client
                        .query_opt(&session.holder, &[kind, claim, key, &now])
                        .await?;
                    let holder: Option<String> = holder.map(|row| row.try_get(0)).transpose()?;
                    Ok((holder, gone))
                })
                .await?;
            if let Some(holder) = holder {
                return Ok(Put::Claimed(holder));
            }
            // What stood in its way may have expired, or be there: an update is stale whichever it was.
            if gone == 0 || document.revision > 0 && !self.is_current(document, now).await? {
                return Ok(Put::Stale);
            }
        }
        Ok(Put::Stale)
    }

    async fn is_current(&self, document: &Document, now: Seconds) -> Result<bool, StoreError> {
        let stored = self.get(document.kind, &document.key, now).await?;
        Ok(stored.is_some_and(|stored| stored.revision == document.revision))
    }

    /// Whether the document was stored.
    async fn write(&self, document: &Document, now: Seconds) -> Result<bool, StoreError> {
        let Document {
            kind,
            key,
            revision,
            label,
            claim,
            body,
            expires,
        } = document;
        let digest = &digest(claim);
        self.documents
            .run(Repeat::Never, move |session: Arc<Session>| async move {
                let written = match revision {
                    0 => {
                        let values: [&(dyn ToSql + Sync); 7] =
                            [kind, key, label, claim, body, expires, digest];
                        session.client.execute(&session.insert, &values).await
                    }
                    _ => {
                        let values: [&(dyn ToSql + Sync); 9] = [
                            kind, key, label, claim, body, expires, digest, revision, &now,
                        ];
                        session.client.execute(&session.update, &values).await
                    }
                };
                match written {
                    Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(false),
                    written => written.map(|rows| rows > 0),
                }
            })
            .await
    }

    async fn take(
        &self,
        counter: &str,
        windows: &[Window],
        want: u64,
        now: Seconds,
    ) -> Result<Taken, StoreError> {
        let since: Vec<i64> = windows
            .iter()
            .map(|window| first_bucket(window.seconds, now))
            .collect();
        let most: Vec<i64> = windows.iter().map(|window| whole(window.limit)).collect();
        let bucket = bucket(now);
        let text = &text::take(counter, &since, &most, whole(want), bucket);
        let answer = self
            .counters
            .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                session.client.simple_query(text).await
            })
            .await?;
        let rows = answer.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        // The first row is that of the lock.
        let amount = rows.last().and_then(|amount| amount.parse().ok());
        let amount = amount.ok_or_else(|| StoreError("its answer is not understood".to_owned()))?;
        Ok(Taken { amount, bucket })
    }
}

/// Characters of a claim that an index of beginnings holds.
const CLAIM_INDEXED: usize = 200;

/// What an index of claims holds: a claim may be longer than an index entry.
fn digest(claim: &Option<String>) -> Option<Vec<u8>> {
    claim
        .as_ref()
        .map(|claim| Sha256::digest(claim.as_bytes()).to_vec())
}

/// A number as PostgreSQL's bigint.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn document(kind: &'static str, row: &Row) -> Result<Document, tokio_postgres::Error> {
    Ok(Document {
        kind,
        key: row.try_get(0)?,
        revision: row.try_get(1)?,
        label: row.try_get(2)?,
        claim: row.try_get(3)?,
        body: row.try_get(4)?,
        expires: row.try_get(5)?,
    })
}

impl Store for Postgres {
    fn get<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        now: Seconds,
    ) -> Later<'a, Option<Document>> {
        Box::pin(
            self.documents
                .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                    let row = session
                        .client
                        .query_opt(&session.get, &[&kind, &key, &now])
                        .await?;
                    row.map(|row| document(kind, &row)).transpose()
                }),
        )
    }

    fn put<'a>(&'a self, document: &'a Document, now: Seconds) -> Later<'a, Put> {
        Box::pin(self.put(document, now))
    }

    fn delete<'a>(&'a self, kind: &'static str, key: &'a str, revision: i64) -> Later<'a, bool> {
        Box::pin(
            self.documents
                .run(Repeat::Never, move |session: Arc<Session>| async move {
                    let gone = session
                        .client
                        .execute(&session.delete, &[&kind, &key, &revision])
                        .await?;
                    Ok(gone > 0)
                }),
        )
    }

    fn list<'a>(
        &'a self,
        kind: &'static str,
        labels: &'a [&'a str],
        after: &'a str,
        limit: u32,
        now: Seconds,
    ) -> Later<'a, Vec<Document>> {
        Box::pin(
            self.documents
                .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                    let rows = session
                        .client
                        .query(
                            &session.list,
                            &[&kind, &after, &labels, &now, &i64::from(limit)],
                        )
                        .await?;
                    rows.iter().map(|row| document(kind, row)).collect()
                }),
        )
    }

    fn claimed<'a>(
        &'a self,
        kind: &'static str,
        prefix: &'a str,
        limit: u32,
        now: Seconds,
    ) -> Later<'a, Vec<Document>> {
        let beginning: String = prefix.chars().take(CLAIM_INDEXED).collect();
        let end = beyond(&beginning);
        Box::pin(
            self.documents
                .run(Repeat::Harmless, move |session: Arc<Session>| {
                    let end = end.clone();
                    async move {
                        let values: [&(dyn ToSql + Sync); 5] =
                            [&kind, &prefix, &end, &now, &i64::from(limit)];
                        let rows = session.client.query(&session.claimed, &values).await?;
                        rows.iter().map(|row| document(kind, row)).collect()
                    }
                }),
        )
    }

    fn take<'a>(
        &'a self,
        counter: &'a str,
        windows: &'a [Window],
        want: u64,
        now: Seconds,
    ) -> Later<'a, Taken> {
        Box::pin(self.take(counter, windows, want, now))
    }

    fn give_back<'a>(&'a self, counter: &'a str, bucket: i64, amount: u64) -> Later<'a, ()> {
        Box::pin(
            self.counters
                .run(Repeat::Never, move |session: Arc<Session>| async move {
                    let values: [&(dyn ToSql + Sync); 3] = [&counter, &bucket, &whole(amount)];
                    session.client.execute(&session.give_back, &values).await?;
                    Ok(())
                }),
        )
    }

    fn taken<'a>(&'a self, counter: &'a str, seconds: u64, now: Seconds) -> Later<'a, u64> {
        Box::pin(
            self.counters
                .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                    let since = first_bucket(seconds, now);
                    let row = session
                        .client
                        .query_one(&session.taken, &[&counter, &since])
                        .await?;
                    let sum: i64 = row.try_get(0)?;
                    Ok(u64::try_from(sum).unwrap_or(0))
                }),
        )
    }

    fn see<'a>(&'a self, set: &'a str, day: i64, members: &'a [i64]) -> Later<'a, u64> {
        Box::pin(
            self.counters
                .run(Repeat::Never, move |session: Arc<Session>| async move {
                    session
                        .client
                        .execute(&session.see, &[&set, &day, &members])
                        .await
                }),
        )
    }

    fn seen<'a>(&'a self, set: &'a str, day: i64) -> Later<'a, Vec<i64>> {
        Box::pin(
            self.counters
                .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                    let rows = session.client.query(&session.seen, &[&set, &day]).await?;
                    rows.iter().map(|row| row.try_get(0)).collect()
                }),
        )
    }

    fn sweep<'a>(&'a self, now: Seconds) -> Later<'a, u64> {
        Box::pin(
            self.documents
                .run(Repeat::Harmless, move |session: Arc<Session>| async move {
                    let (oldest, day) = (bucket(now - KEPT), (now - KEPT).div_euclid(86_400));
                    let row = session
                        .client
                        .query_one(&session.sweep, &[&now, &oldest, &day])
                        .await?;
                    let gone: i64 = row.try_get(0)?;
                    Ok(u64::try_from(gone).unwrap_or(0))
                }),
        )
    }
}
