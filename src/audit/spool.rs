//! The spool: the chain as it grows. One directory, one process, one chain.
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

mod batch;
mod folder;
mod group;
mod lines;
mod settings;
pub mod succession;

pub use self::batch::Ticket;
pub use self::folder::{KEY_FILE, PUBLIC_KEY_FILE};
pub use self::settings::{
    Ack, CHECKPOINT_INTERVAL, CHECKPOINT_RECORDS, MAX_CHECKPOINT_RECORDS, SEGMENT_AGE,
    SEGMENT_BYTES, SpoolSettings,
};

use self::batch::Queue;
use self::folder::{lock, signing_key};
use self::group::Group;
use self::lines::{Body, LINE_OVERHEAD, Lines};
use self::succession::{Successor, chain_end, torn_record};
use super::chain::Hash;
use super::checkpoint::{self, Removed};
use super::key::{KeyError, PublicKey, SigningKey};
use super::read::Position;
use super::record::{Event, Record};
use super::recover::RecoverError;
use super::segment::Segment;
use super::tail::{Follower, Tail};

const CHAIN_ID_BYTES: usize = 16;
/// Memory that is kept for the next lines at most.
const KEPT_BUFFER: usize = 64 * 1024;

/// Where a record stands in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: u64,
    pub hash: Hash,
}

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("audit directory {}: {source}", dir.display())]
    Directory { dir: PathBuf, source: io::Error },
    #[error(
        "audit directory {}: another pgveil writes there; give each process its own `audit.dir`",
        dir.display()
    )]
    InUse { dir: PathBuf },
    #[error(
        "audit chain cannot be continued: {source}; look at it with `pgveil audit verify --dir {}`, then move the directory aside and start with an empty one",
        dir.display()
    )]
    Recover { dir: PathBuf, source: RecoverError },
    #[error("audit record cannot be written to {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("audit segment {} cannot be synced: {source}", path.display())]
    Sync { path: PathBuf, source: io::Error },
    /// After a failed sync nobody knows what the disk holds, and another sync would claim success
    /// (the kernel reports a lost page once).
    #[error("audit spool stopped after a failed sync; restart pgveil once the disk is sound")]
    Stopped,
    #[error("audit record cannot be written by the process that has the chain now: {0}")]
    Successor(String),
    /// Somebody else has written it together with other records, and has the error itself.
    #[error("{0}")]
    Together(Arc<str>),
    #[error("audit record cannot be put into JSON: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("no random bytes for the id of a new audit chain")]
    Random,
    #[error("audit signing key: {0}")]
    Key(#[from] KeyError),
}

/// The writing end of a chain. Shared by all sessions.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    settings: SpoolSettings,
    key: SigningKey,
    /// Id of the chain.
    chain: String,
    /// What waits to be written.
    queue: Queue,
    /// Held by who writes, or has another process write. Taken before the end.
    turn: Mutex<()>,
    end: Mutex<ChainEnd>,
    /// The end has a successor; told without waiting for who writes.
    handed_over: AtomicBool,
    /// Sequence number up to which records stay.
    kept: Arc<AtomicU64>,
    /// Sequence number up to which records are on the disk.
    durable: Arc<AtomicU64>,
    /// Records lost since the process began.
    lost: AtomicU64,
    /// Held during an fsync: who waits for it finds its record synced by the one before.
    syncing: Mutex<()>,
    /// Who waits for the disk.
    group: Group,
    stopped: AtomicBool,
    /// The last append failed.
    failing: AtomicBool,
    /// What detection has not looked at.
    tail: Arc<Tail>,
    lock: File,
}

#[derive(Debug)]
struct ChainEnd {
    segment: Segment,
    seq: u64,
    head: Hash,
    /// When the segment was begun, or found at the start.
    since: Instant,
    /// Of the last checkpoint; 0 before the first.
    signed: u64,
    signed_at: Instant,
    /// Records that could not be written since the last that could.
    lost: u64,
    /// Empty; what is written next is put together there.
    buffer: Vec<u8>,
    /// Who has the chain, where this process has it no more: then the rest is what it was when it went.
    successor: Option<Arc<dyn Successor>>,
}

impl ChainEnd {
    fn place(&self) -> Appended {
        Appended {
            seq: self.seq,
            hash: self.head,
        }
    }
}

/// The chain's end as its last checkpoint gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: Hash,
}

impl Spool {
    /// Opens the chain of a directory, or begins one where there is none. The directory is made if need be.
    ///
    /// # Errors
    /// Another process holds the directory; its last record is damaged; the disk.
    pub fn open(dir: &Path, settings: SpoolSettings) -> Result<Spool, SpoolError> {
        let lock = lock(dir)?;
        let (mut found, end) = chain_end(dir)?;
        let key = signing_key(dir, settings.key.as_deref())?;
        let (chain, is_new) = match end.last {
            Some(last) => (last.chain, false),
            None => (chain_id()?, true),
        };
        if is_new {
            found.head = Hash::genesis(&chain);
        }
        let seq = found.seq;
        let spool = Spool {
            dir: dir.to_owned(),
            settings,
            key,
            chain,
            queue: Queue::default(),
            turn: Mutex::default(),
            end: Mutex::new(found),
            handed_over: AtomicBool::new(false),
            kept: Arc::new(AtomicU64::new(seq)),
            durable: Arc::new(AtomicU64::new(seq)),
            lost: AtomicU64::new(0),
            syncing: Mutex::default(),
            group: Group::default(),
            stopped: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            tail: Arc::default(),
            lock,
        };
        if is_new {
            spool.append(&Record {
                chain: Some(spool.chain.clone()),
                ..Record::new(Event::Chain, SystemTime::now())
            })?;
        }
        if let Some(torn) = end.torn {
            spool.append(&torn_record(&torn))?;
        }
        Ok(spool)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends one record. When this returns, the record is kept as [`SpoolSettings::ack`] says.
    ///
    /// Blocks: for a write(2) into the page cache, and with [`Ack::Synced`] for an fsync. A multi-threaded runtime
    /// is told of the latter, so that its other tasks go on, on a thread more: for what happens often there is
    /// [`Spool::append_later`].
    ///
    /// # Errors
    /// The disk is full or fails. The record is not in the chain then, the chain stays sound, and the next append
    /// may succeed.
    pub fn append(&self, record: &Record) -> Result<Appended, SpoolError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records that follow each other, all or none, with one write(2). Returns the place of the last.
    pub fn append_all(&self, records: &[Record]) -> Result<Appended, SpoolError> {
        let is_followed = self.tail.is_followed();
        let bodies = records.iter().map(|record| Body::new(record, is_followed));
        self.append_bodies(bodies.collect::<Result<Vec<_>, _>>()?)
    }

    fn note_failure<T>(&self, result: Result<T, SpoolError>) -> Result<T, SpoolError> {
        self.failing.store(result.is_err(), Ordering::Relaxed);
        result
    }

    /// Does what is due without a record: signs what is not signed, begins a new segment where the old one is too old,
    /// and tries to write again after a failure. To be called every second or so.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn tend(&self) -> Result<(), SpoolError> {
        let is_due = {
            let end = self.end();
            let interval = self.settings.checkpoint_interval;
            end.successor.is_none()
                && (end.lost > 0
                    || (end.signed < end.seq && end.signed_at.elapsed() >= interval)
                    || self.is_too_old(&end))
        };
        match is_due {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    /// Signs the chain as it stands, where there is anything that is not signed yet.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn checkpoint(&self) -> Result<(), SpoolError> {
        self.write_waiting(None, true).map(drop)
    }

    /// Puts on record, signed, that a segment is about to be removed.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn bury(&self, removed: &Removed) -> Result<(), SpoolError> {
        let now = SystemTime::now();
        self.append(&checkpoint::tombstone(&self.key, &self.chain, removed, now))?;
        self.sync()
    }

    /// Brings everything appended so far to the disk.
    pub fn sync(&self) -> Result<(), SpoolError> {
        if !self.queue.is_empty() {
            self.write_waiting(None, false)?;
        }
        let seq = {
            let end = self.end();
            if end.successor.is_some() {
                return Ok(());
            }
            end.seq
        };
        self.sync_to(seq)
    }

    /// The sequence number up to which records stay where they are, whatever happens to the process: what a
    /// [`super::read::Reader`] of this process may go up to.
    pub fn kept(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.kept)
    }

    /// The sequence number up to which records are on the disk: they stay whatever happens to the machine.
    pub fn durable(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.durable)
    }

    /// Keeps the newest lines for who looks at each, from now on.
    pub fn follow(&self) -> Follower {
        Follower::new(Arc::clone(&self.tail))
    }

    /// Records that could not be written since the process began.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The last append failed.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) || self.stopped.load(Ordering::Relaxed)
    }

    /// Id of the chain, as its first record and each checkpoint name it.
    pub fn chain(&self) -> &str {
        &self.chain
    }

    /// The key that signs.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public()
    }

    /// Number of the segment that is being written.
    pub fn segment(&self) -> u64 {
        self.end().segment.number
    }

    /// Where the chain ends now.
    pub fn head(&self) -> Head {
        let end = self.end();
        Head {
            seq: end.seq,
            hash: end.head,
        }
    }

    /// Records appended but not known to be on the disk.
    pub fn unsynced(&self) -> u64 {
        let end = self.end();
        match end.successor {
            Some(_) => 0,
            None => end.seq.saturating_sub(self.durable.load(Ordering::Acquire)),
        }
    }

    /// The last append succeeded, and the segment is still where it was put.
    pub fn is_healthy(&self) -> bool {
        if self.is_failing() {
            return false;
        }
        let end = self.end();
        end.successor.is_some() || end.segment.is_in_place().unwrap_or(false)
    }

    fn end(&self) -> MutexGuard<'_, ChainEnd> {
        // Nothing between lock and unlock panics half-way through a change.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(
        &self,
        end: &mut ChainEnd,
        bodies: &mut [Body],
        sign: bool,
    ) -> Result<Appended, SpoolError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(SpoolError::Stopped);
        }
        let expected = bodies
            .iter()
            .map(|body| body.json.len() + LINE_OVERHEAD)
            .sum::<usize>();
        if !end.segment.is_empty()
            && (end.segment.len() + expected as u64 > self.settings.segment_bytes
                || self.is_too_old(end))
        {
            self.rotate(end)?;
        }
        let begin = Position {
            segment: end.segment.number,
            offset: end.segment.len(),
        };
        let mut buffer = std::mem::take(&mut end.buffer);
        buffer.reserve(expected + 2 * LINE_OVERHEAD);
        let mut lines = Lines::after((end.seq, end.head), begin, buffer);
        lines.shorts = self.tail.is_followed().then(Vec::new);
        // Few batches need the time.
        let now = SystemTime::now;
        // Every segment but the first begins with a signature over all before it, which names the chain, too.
        let begins = end.segment.is_empty() && end.seq > 0;
        if begins {
            lines.sign(&self.key, &self.chain, now())?;
        }
        if end.lost > 0 {
            lines.push(&serde_json::to_vec(&Record {
                lost: Some(end.lost),
                message: Some("records could not be written and are not there".to_owned()),
                ..Record::new(Event::Lost, now())
            })?);
        }
        let signed = end.signed;
        let unsigned = |lines: &Lines| lines.seq.saturating_sub(lines.signed.unwrap_or(signed));
        for body in bodies {
            lines.push_body(body);
            if unsigned(&lines) >= self.settings.checkpoint_records {
                lines.sign(&self.key, &self.chain, now())?;
            }
        }
        if sign && unsigned(&lines) > 0 {
            lines.sign(&self.key, &self.chain, now())?;
        }
        end.segment
            .append(&lines.bytes)
            .map_err(|source| SpoolError::Write {
                path: end.segment.path.clone(),
                source,
            })?;
        if lines.bytes.capacity() <= KEPT_BUFFER {
            end.buffer = std::mem::take(&mut lines.bytes);
            end.buffer.clear();
        }
        end.seq = lines.seq;
        end.head = lines.head;
        end.lost = 0;
        if let Some(signed) = lines.signed {
            end.signed = signed;
            end.signed_at = Instant::now();
        }
        if let Some(shorts) = lines.shorts {
            self.tail.extend(shorts);
        }
        self.kept.store(end.seq, Ordering::Release);
        Ok(end.place())
    }

    fn is_too_old(&self, end: &ChainEnd) -> bool {
        !end.segment.is_empty() && end.since.elapsed() >= self.settings.segment_age
    }

    /// A segment that is left is on the disk, so that an fsync of the newest one is enough ever after.
    fn rotate(&self, end: &mut ChainEnd) -> Result<(), SpoolError> {
        let path = &end.segment.path;
        end.segment
            .file()
            .sync_data()
            .map_err(|source| self.stop(path, source))?;
        let next = end.segment.number + 1;
        end.segment =
            Segment::open(&self.dir, next, 0).map_err(|source| SpoolError::Directory {
                dir: self.dir.clone(),
                source,
            })?;
        end.since = Instant::now();
        Ok(())
    }

    fn syncing(&self) -> MutexGuard<'_, ()> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_to(&self, seq: u64) -> Result<(), SpoolError> {
        let _syncing = self.syncing();
        if self.stopped.load(Ordering::Relaxed) {
            return Err(SpoolError::Stopped);
        }
        if self.durable.load(Ordering::Acquire) >= seq {
            return Ok(());
        }
        // Taken after the wait: one fsync covers everybody who wrote meanwhile.
        let (file, path, written) = {
            let end = self.end();
            (end.segment.file(), end.segment.path.clone(), end.seq)
        };
        file.sync_data()
            .map_err(|source| self.stop(&path, source))?;
        self.durable.store(written, Ordering::Release);
        Ok(())
    }

    fn stop(&self, path: &Path, source: io::Error) -> SpoolError {
        self.stopped.store(true, Ordering::Release);
        SpoolError::Sync {
            path: path.to_owned(),
            source,
        }
    }
}

/// Runs what waits for a disk without holding up the tasks of the runtime's thread, where there is one.
fn off_the_runtime<T>(wait: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

fn chain_id() -> Result<String, SpoolError> {
    let mut bytes = [0; CHAIN_ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|_| SpoolError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
