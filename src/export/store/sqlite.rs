//! The embedded store: one SQLite file in WAL mode, written by one thread.
//!
//! Requests queue up and are answered in batches, one transaction and one `fsync` for all that are waiting
//! (`synchronous=FULL`): a change that was answered survives the loss of power. A file beside it is locked while it is
//! open, so a second proxy on the same file is refused at start. Only an upgrade ([`Store::hand_over`]) has two processes
//! on it for a time: every transaction takes SQLite's lock, so what they count they count together.
mod statements;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Later, StoreError};

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
        let file =
            Opened::of(path).map_err(|error| StoreError(format!("{}: {error}", path.display())))?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || work(connection, &file, queue))
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

/// The file that the database was opened in. What is written to one that has no name any more, or another file's, is lost with
/// the process.
struct Opened {
    path: PathBuf,
    id: (u64, u64),
}

impl Opened {
    fn of(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Opened {
            path: path.to_owned(),
            id: (file.dev(), file.ino()),
        })
    }

    /// # Errors
    /// It is not there any more.
    fn check(&self) -> Result<(), StoreError> {
        let why = match Opened::of(&self.path) {
            Ok(now) if now.id == self.id => return Ok(()),
            Ok(_) => "another file stands in its place".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(StoreError(format!(
            "{}: {why}; put the file back or restart pgveil, which then begins without requests, grants and budgets",
            self.path.display()
        )))
    }
}

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

fn work(mut connection: Connection, file: &Opened, mut queue: mpsc::Receiver<Work>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH {
            match queue.try_recv() {
                Ok(next) => batch.push(next),
                Err(_) => break,
            }
        }
        match file.check() {
            Ok(()) => run(&mut connection, &mut batch),
            Err(gone) => batch
                .drain(..)
                .for_each(|Work(_, failed)| failed(gone.clone())),
        }
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
