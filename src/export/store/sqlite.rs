//! The embedded store: one SQLite file in WAL mode, written by one thread.
//!
//! Requests queue up and are answered in batches, one transaction and one `fsync` for all that are waiting
//! (`synchronous=FULL`): a change that was answered survives the loss of power. A file beside it is locked while it is
//! open, so a second proxy on the same file is refused at start. Only an upgrade ([`Store::hand_over`]) has two processes
//! on it for a time: every transaction takes SQLite's lock, so what they count they count together.
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};

use super::{
    Document, KEPT, Later, Put, Seconds, Store, StoreError, Taken, Window, beyond, bucket,
    first_bucket, free,
};

/// Statements that bring a file from one version to the next, in order. Never changed, only added to.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE documents (kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, \
     label TEXT NOT NULL, claim TEXT, body TEXT NOT NULL, expires INTEGER, PRIMARY KEY (kind, key)) WITHOUT ROWID; \
     CREATE INDEX documents_by_label ON documents (kind, label, key); \
     CREATE UNIQUE INDEX documents_by_claim ON documents (kind, claim) WHERE claim IS NOT NULL; \
     CREATE TABLE counters (counter TEXT NOT NULL, bucket INTEGER NOT NULL, amount INTEGER NOT NULL, \
     PRIMARY KEY (counter, bucket)) WITHOUT ROWID; \
     CREATE TABLE members (name TEXT NOT NULL, day INTEGER NOT NULL, member INTEGER NOT NULL, \
     PRIMARY KEY (name, day, member)) WITHOUT ROWID;",
];

/// Requests that wait for the thread at most; who comes then waits.
const QUEUE: usize = 1024;
/// Requests answered in one transaction.
const BATCH: usize = 256;
/// How long the lock of another process on the file is waited for.
const BUSY: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&Connection) -> Result<Reply, rusqlite::Error> + Send>;
/// Sends the answer, once it is on the disk.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct Sqlite {
    jobs: mpsc::Sender<Work>,
    path: PathBuf,
    /// Held by the process that the file belongs to.
    lock: Arc<File>,
}

struct Work(Job, Box<dyn FnOnce(StoreError) + Send>);

impl Sqlite {
    /// Opens a file, makes it where there is none, and brings it to the current version.
    ///
    /// # Errors
    /// The file cannot be opened or written, belongs to a newer pgveil, is damaged, or is in use.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError(format!("{}: {error}", folder.display())))?;
        }
        make(path).map_err(|error| StoreError(format!("{}: {error}", path.display())))?;
        let lock =
            lock(path).map_err(|error| StoreError(format!("{}: {error}", path.display())))?;
        try_lock(&lock).map_err(|reason| StoreError(format!("{}: {reason}", path.display())))?;
        let connection = prepare(path)
            .map_err(|error| StoreError(format!("{}: {}", path.display(), told(&error))))?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || work(connection, queue))
            .map_err(StoreError::of)?;
        Ok(Sqlite {
            jobs,
            path: path.to_owned(),
            lock: Arc::new(lock),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn ask<'a, T: Send + 'static>(
        &'a self,
        job: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Later<'a, T> {
        let (tell, told) = oneshot::channel::<Result<T, StoreError>>();
        // Whichever of the two comes to speak takes the sender along.
        let tell = std::sync::Arc::new(std::sync::Mutex::new(Some(tell)));
        let take = move |tell: &std::sync::Mutex<Option<oneshot::Sender<_>>>| {
            tell.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .take()
        };
        let failing = std::sync::Arc::clone(&tell);
        let job: Job = Box::new(move |connection| {
            let value = job(connection)?;
            let reply: Reply = Box::new(move |outcome| {
                if let Some(tell) = take(&tell) {
                    // Who does not wait any more does not need the answer.
                    let _ = tell.send(outcome.map(|()| value));
                }
            });
            Ok(reply)
        });
        let failed = Box::new(move |error: StoreError| {
            if let Some(tell) = take(&failing) {
                let _ = tell.send(Err(error));
            }
        });
        Box::pin(async move {
            let gone = || StoreError("its thread has ended".to_owned());
            self.jobs
                .send(Work(job, failed))
                .await
                .map_err(|_| gone())?;
            told.await.map_err(|_| gone())?
        })
    }
}

fn told(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(cause, _)
            if matches!(
                cause.code,
                rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked
            ) =>
        {
            IN_USE.to_owned()
        }
        other => other.to_string(),
    }
}

const IN_USE: &str =
    "another process uses this file; several proxies share a state by `state: postgres://...`";

/// The file that is locked, beside that of the database.
fn lock(path: &Path) -> std::io::Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(name)
}

fn try_lock(file: &File) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            // Another command may be about to end.
            Err(TryLockError::WouldBlock) if began.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(IN_USE.to_owned()),
            Err(TryLockError::Error(error)) => return Err(error.to_string()),
        }
    }
}

/// Makes the file, for its owner alone, where there is none: it holds keys and second factors.
fn make(path: &Path) -> std::io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn prepare(path: &Path) -> Result<Connection, rusqlite::Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(rusqlite::Error::InvalidParameterName(format!(
            "written by a newer pgveil (version {version} of the file, this one knows {})",
            MIGRATIONS.len()
        )));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(
            None,
            "user_version",
            i64::try_from(index + 1).unwrap_or(i64::MAX),
        )?;
        transaction.commit()?;
    }
    Ok(connection)
}

fn work(mut connection: Connection, mut queue: mpsc::Receiver<Work>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        run(&mut connection, &mut batch);
    }
}

/// Runs a batch in one transaction; a job that fails is undone by itself.
fn run(connection: &mut Connection, batch: &mut Vec<Work>) {
    let mut transaction =
        match connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate) {
            Ok(transaction) => transaction,
            Err(error) => {
                let error = StoreError(told(&error));
                batch
                    .drain(..)
                    .for_each(|Work(_, failed)| failed(error.clone()));
                return;
            }
        };
    let mut replies = Vec::with_capacity(batch.len());
    for Work(job, failed) in batch.drain(..) {
        let ran = (|| {
            let savepoint = transaction.savepoint()?;
            let reply = job(&savepoint)?;
            savepoint.commit()?;
            Ok::<_, rusqlite::Error>(reply)
        })();
        match ran {
            Ok(reply) => replies.push(reply),
            Err(error) => failed(StoreError(told(&error))),
        }
    }
    let outcome = transaction
        .commit()
        .map_err(|error| StoreError(told(&error)));
    for reply in replies {
        reply(outcome.clone());
    }
}

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
