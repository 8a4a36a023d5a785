//! The spool: the chain as it grows. One directory, one process, one chain.
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::chain::{self, Hash};
use super::record::{Event, Record};
use super::recover::{self, RecoverError};
use super::segment::Segment;

/// A segment is not written on past this size unless one batch alone is larger.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Locked while a process writes the chain of the directory.
const LOCK_FILE: &str = "lock";
const CHAIN_ID_BYTES: usize = 16;

/// When a record counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// Handed to the operating system: survives the end of the process, however it comes.
    #[default]
    Written,
    /// On the disk: survives the loss of power. Appends that wait at the same time share one fsync.
    Synced,
}

#[derive(Debug, Clone)]
pub struct SpoolSettings {
    pub ack: Ack,
    /// Bytes after which a new segment is begun.
    pub segment_bytes: u64,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        SpoolSettings {
            ack: Ack::default(),
            segment_bytes: SEGMENT_BYTES,
        }
    }
}

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
    #[error("audit record cannot be put into JSON: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("no random bytes for the id of a new audit chain")]
    Random,
}

/// The writing end of a chain. Shared by all sessions.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    settings: SpoolSettings,
    end: Mutex<ChainEnd>,
    /// Sequence number up to which records are on the disk. Held during an fsync: who waits for it finds its record
    /// synced by the one before.
    synced: Mutex<u64>,
    stopped: AtomicBool,
    /// The last append failed.
    failing: AtomicBool,
    _lock: File,
}

#[derive(Debug)]
struct ChainEnd {
    segment: Segment,
    seq: u64,
    head: Hash,
}

impl Spool {
    /// Opens the chain of a directory, or begins one where there is none. The directory is made if need be.
    ///
    /// # Errors
    /// Another process holds the directory; its last record is damaged; the disk.
    pub fn open(dir: &Path, settings: SpoolSettings) -> Result<Spool, SpoolError> {
        let lock = lock(dir)?;
        let end = recover::recover(dir).map_err(|source| SpoolError::Recover {
            dir: dir.to_owned(),
            source,
        })?;
        let segment =
            Segment::open(dir, end.segment, end.len).map_err(|source| SpoolError::Directory {
                dir: dir.to_owned(),
                source,
            })?;
        let (seq, head, first) = match end.last {
            Some((seq, head)) => (seq, head, None),
            None => {
                let chain = chain_id()?;
                let head = Hash::genesis(&chain);
                let first = Record {
                    chain: Some(chain),
                    ..Record::new(Event::Chain, SystemTime::now())
                };
                (0, head, Some(first))
            }
        };
        let spool = Spool {
            dir: dir.to_owned(),
            settings,
            end: Mutex::new(ChainEnd { segment, seq, head }),
            synced: Mutex::new(seq),
            stopped: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            _lock: lock,
        };
        if let Some(first) = first {
            spool.append(&first)?;
        }
        if let Some(torn) = end.torn {
            spool.append(&Record {
                message: Some(format!(
                    "an unfinished record of {} bytes was moved to {}",
                    torn.bytes,
                    torn.moved_to.display()
                )),
                ..Record::new(Event::Recovered, SystemTime::now())
            })?;
        }
        Ok(spool)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends one record. When this returns, the record is kept as [`SpoolSettings::ack`] says.
    ///
    /// Blocks: for a write(2) into the page cache, and with [`Ack::Synced`] for an fsync. A multi-threaded runtime
    /// is told of the latter, so that its other tasks go on.
    ///
    /// # Errors
    /// The disk is full or fails. The record is not in the chain then, the chain stays sound, and the next append
    /// may succeed.
    pub fn append(&self, record: &Record) -> Result<Appended, SpoolError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records that follow each other, all or none, with one write(2). Returns the place of the last.
    pub fn append_all(&self, records: &[Record]) -> Result<Appended, SpoolError> {
        let bodies = records
            .iter()
            .map(serde_json::to_vec)
            .collect::<Result<Vec<_>, _>>()?;
        let result = self.write(&bodies).and_then(|appended| {
            if self.settings.ack == Ack::Synced {
                off_the_runtime(|| self.sync_to(appended.seq))?;
            }
            Ok(appended)
        });
        self.failing.store(result.is_err(), Ordering::Relaxed);
        result
    }

    /// Brings everything appended so far to the disk.
    pub fn sync(&self) -> Result<(), SpoolError> {
        let seq = self.end().seq;
        self.sync_to(seq)
    }

    /// Records appended but not known to be on the disk.
    pub fn unsynced(&self) -> u64 {
        let synced = *self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        self.end().seq.saturating_sub(synced)
    }

    /// The last append succeeded, and the segment is still where it was put.
    pub fn is_healthy(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
            && !self.failing.load(Ordering::Relaxed)
            && self.end().segment.is_in_place().unwrap_or(false)
    }

    fn end(&self) -> MutexGuard<'_, ChainEnd> {
        // Nothing between lock and unlock panics half-way through a change.
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, bodies: &[Vec<u8>]) -> Result<Appended, SpoolError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(SpoolError::Stopped);
        }
        let mut end = self.end();
        let (mut seq, mut head) = (end.seq, end.head);
        let mut lines = Vec::with_capacity(bodies.iter().map(|body| body.len() + 200).sum());
        for body in bodies {
            seq += 1;
            head = chain::seal(&mut lines, head, seq, body);
        }
        if !end.segment.is_empty()
            && end.segment.len() + lines.len() as u64 > self.settings.segment_bytes
        {
            self.rotate(&mut end)?;
        }
        end.segment
            .append(&lines)
            .map_err(|source| SpoolError::Write {
                path: end.segment.path.clone(),
                source,
            })?;
        end.seq = seq;
        end.head = head;
        Ok(Appended { seq, hash: head })
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
        Ok(())
    }

    fn sync_to(&self, seq: u64) -> Result<(), SpoolError> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stopped.load(Ordering::Relaxed) {
            return Err(SpoolError::Stopped);
        }
        if *synced >= seq {
            return Ok(());
        }
        // Taken after the wait: one fsync covers everybody who wrote meanwhile.
        let (file, path, written) = {
            let end = self.end();
            (end.segment.file(), end.segment.path.clone(), end.seq)
        };
        file.sync_data()
            .map_err(|source| self.stop(&path, source))?;
        *synced = written;
        Ok(())
    }

    fn stop(&self, path: &Path, source: io::Error) -> SpoolError {
        self.stopped.store(true, Ordering::Relaxed);
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

fn lock(dir: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Directory {
        dir: dir.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK_FILE))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::InUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
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
