//! What is asked of the file, as SQL.
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{
    Document, KEPT, Later, Put, Seconds, Store, StoreError, Taken, Window, beyond, bucket,
    first_bucket, free,
};
use super::{Sqlite, try_lock};

fn document(kind: &'static str, row: &Row<'_>) -> Result<Document, rusqlite::Error> {
    Ok(Document {
        kind,
        key: row.get(0)?,
        revision: row.get(1)?,
        label: row.get(2)?,
        claim: row.get(3)?,
        body: row.get(4)?,
        expires: row.get(5)?,
    })
}

fn put(connection: &Connection, document: &Document, now: Seconds) -> Result<Put, rusqlite::Error> {
    let Document {
        kind,
        key,
        revision,
        label,
        claim,
        body,
        expires,
    } = document;
    connection
        .prepare_cached(
            "DELETE FROM documents WHERE kind = ?1 AND expires <= ?2 AND (key = ?3 OR claim = ?4)",
        )?
        .execute(params![kind, now, key, claim])?;
    if let Some(claim) = claim {
        let holder: Option<String> = connection
            .prepare_cached(
                "SELECT key FROM documents WHERE kind = ?1 AND claim = ?2 AND key <> ?3",
            )?
            .query_row(params![kind, claim, key], |row| row.get(0))
            .optional()?;
        if let Some(holder) = holder {
            return Ok(Put::Claimed(holder));
        }
    }
    let changed = match revision {
        0 => connection
            .prepare_cached(
                "INSERT INTO documents (kind, key, revision, label, claim, body, expires) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6) \
                 ON CONFLICT (kind, key) DO NOTHING",
            )?
            .execute(params![kind, key, label, claim, body, expires])?,
        _ => connection
            .prepare_cached(
                "UPDATE documents SET revision = revision + 1, label = ?3, claim = ?4, body = ?5, expires = ?6 \
                 WHERE kind = ?1 AND key = ?2 AND revision = ?7",
            )?
            .execute(params![kind, key, label, claim, body, expires, revision])?,
    };
    Ok(match changed {
        0 => Put::Stale,
        _ => Put::Stored(revision + 1),
    })
}

fn taken(
    connection: &Connection,
    counter: &str,
    seconds: u64,
    now: Seconds,
) -> Result<u64, rusqlite::Error> {
    let sum: i64 = connection
        .prepare_cached(
            "SELECT coalesce(sum(amount), 0) FROM counters WHERE counter = ?1 AND bucket >= ?2",
        )?
        .query_row(params![counter, first_bucket(seconds, now)], |row| {
            row.get(0)
        })?;
    Ok(u64::try_from(sum).unwrap_or(0))
}

fn take(
    connection: &Connection,
    counter: &str,
    windows: &[Window],
    want: u64,
    now: Seconds,
) -> Result<Taken, rusqlite::Error> {
    let mut measured = Vec::with_capacity(windows.len());
    for window in windows {
        measured.push((*window, taken(connection, counter, window.seconds, now)?));
    }
    let amount = free(&measured, want);
    if amount > 0 {
        connection
            .prepare_cached(
                "INSERT INTO counters (counter, bucket, amount) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (counter, bucket) DO UPDATE SET amount = amount + excluded.amount",
            )?
            .execute(params![
                counter,
                bucket(now),
                i64::try_from(amount).unwrap_or(i64::MAX)
            ])?;
    }
    Ok(Taken {
        amount,
        bucket: bucket(now),
    })
}

impl Store for Sqlite {
    fn hand_over(&self) -> Result<(), StoreError> {
        self.lock.unlock().map_err(StoreError::of)
    }

    fn take_back(&self) -> Result<(), StoreError> {
        try_lock(&self.lock).map_err(StoreError)
    }

    fn get<'a>(
        &'a self,
        kind: &'static str,
        key: &'a str,
        now: Seconds,
    ) -> Later<'a, Option<Document>> {
        let key = key.to_owned();
        self.ask(move |connection| {
            connection
                .prepare_cached(
                    "SELECT key, revision, label, claim, body, expires FROM documents \
                     WHERE kind = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)",
                )?
                .query_row(params![kind, key, now], |row| document(kind, row))
                .optional()
        })
    }

    fn put<'a>(&'a self, document: &'a Document, now: Seconds) -> Later<'a, Put> {
        let document = document.clone();
        self.ask(move |connection| put(connection, &document, now))
    }

    fn delete<'a>(&'a self, kind: &'static str, key: &'a str, revision: i64) -> Later<'a, bool> {
        let key = key.to_owned();
        self.ask(move |connection| {
            let gone = connection
                .prepare_cached(
                    "DELETE FROM documents WHERE kind = ?1 AND key = ?2 AND revision = ?3",
                )?
                .execute(params![kind, key, revision])?;
            Ok(gone > 0)
        })
    }

    fn list<'a>(
        &'a self,
        kind: &'static str,
        labels: &'a [&'a str],
        after: &'a str,
        limit: u32,
        now: Seconds,
    ) -> Later<'a, Vec<Document>> {
        let labels = serde_json::to_string(labels).unwrap_or_default();
        let after = after.to_owned();
        self.ask(move |connection| {
            connection
                .prepare_cached(
                    "SELECT key, revision, label, claim, body, expires FROM documents WHERE kind = ?1 AND key > ?2 \
                     AND (?3 = '[]' OR label IN (SELECT value FROM json_each(?3))) AND (expires IS NULL OR expires > ?4) \
                     ORDER BY key LIMIT ?5",
                )?
                .query_map(params![kind, after, labels, now, limit], |row| document(kind, row))?
                .collect()
        })
    }

    fn claimed<'a>(
        &'a self,
        kind: &'static str,
        prefix: &'a str,
        limit: u32,
        now: Seconds,
    ) -> Later<'a, Vec<Document>> {
        let (prefix, end) = (prefix.to_owned(), beyond(prefix));
        self.ask(move |connection| {
            connection
                .prepare_cached(
                    "SELECT key, revision, label, claim, body, expires FROM documents WHERE kind = ?1 AND claim >= ?2 \
                     AND (?3 IS NULL OR claim < ?3) AND (expires IS NULL OR expires > ?4) ORDER BY claim LIMIT ?5",
                )?
                .query_map(params![kind, prefix, end, now, limit], |row| document(kind, row))?
                .collect()
        })
    }

    fn take<'a>(
        &'a self,
        counter: &'a str,
        windows: &'a [Window],
        want: u64,
        now: Seconds,
    ) -> Later<'a, Taken> {
        let (counter, windows) = (counter.to_owned(), windows.to_vec());
        self.ask(move |connection| take(connection, &counter, &windows, want, now))
    }

    fn give_back<'a>(&'a self, counter: &'a str, bucket: i64, amount: u64) -> Later<'a, ()> {
        let counter = counter.to_owned();
        self.ask(move |connection| {
            connection
                .prepare_cached("UPDATE counters SET amount = max(0, amount - ?3) WHERE counter = ?1 AND bucket = ?2")?
                .execute(params![counter, bucket, i64::try_from(amount).unwrap_or(i64::MAX)])?;
            Ok(())
        })
    }

    fn taken<'a>(&'a self, counter: &'a str, seconds: u64, now: Seconds) -> Later<'a, u64> {
        let counter = counter.to_owned();
        self.ask(move |connection| taken(connection, &counter, seconds, now))
    }

    fn see<'a>(&'a self, set: &'a str, day: i64, members: &'a [i64]) -> Later<'a, u64> {
        let (set, members) = (set.to_owned(), members.to_vec());
        self.ask(move |connection| {
            let mut insert = connection
                .prepare_cached("INSERT INTO members (name, day, member) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?;
            let mut new = 0;
            for member in members {
                new += insert.execute(params![set, day, member])? as u64;
            }
            Ok(new)
        })
    }

    fn seen<'a>(&'a self, set: &'a str, day: i64) -> Later<'a, Vec<i64>> {
        let set = set.to_owned();
        self.ask(move |connection| {
            connection
                .prepare_cached("SELECT member FROM members WHERE name = ?1 AND day = ?2")?
                .query_map(params![set, day], |row| row.get(0))?
                .collect()
        })
    }

    fn sweep<'a>(&'a self, now: Seconds) -> Later<'a, u64> {
        self.ask(move |connection| {
            let mut gone =
                connection.execute("DELETE FROM documents WHERE expires <= ?1", [now])?;
            gone += connection.execute(
                "DELETE FROM counters WHERE bucket < ?1",
                [bucket(now - KEPT)],
            )?;
            gone += connection.execute(
                "DELETE FROM members WHERE day < ?1",
                [(now - KEPT).div_euclid(86_400)],
            )?;
            Ok(gone as u64)
        })
    }
}
