//! A spool changes hands: another process goes on with the chain, and what this one still has to say goes through it.
//!
//! There is one writer at every moment. The old process signs and syncs what it has written and lets go of the folder's
//! lock; from then on its records are sent to the successor, which appends them and answers, so that a record is still on
//! record before what it is about goes to the client. If the successor dies, the old process takes the chain back.
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use super::lines::Body;
use super::{Appended, ChainEnd, Spool, SpoolError, folder};
use crate::audit::record::{Event, Record};
use crate::audit::recover::{self, End};
use crate::audit::segment::Segment;

/// Why a successor has not appended records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuccessorError {
    /// It is there no more.
    Gone,
    /// It could not, and says why.
    Failed(String),
}

/// The process that has the chain now.
pub trait Successor: Send + Sync + Debug {
    /// Appends records, each as JSON without its place in the chain; blocks until they are kept.
    ///
    /// # Errors
    /// The records are not known to be in the chain.
    fn append(&self, bodies: &[Vec<u8>]) -> Result<Appended, SuccessorError>;
}

impl Spool {
    /// Lets go of the chain: signed, on the disk, and unlocked for another process. Records go to the successor from here
    /// on.
    ///
    /// # Errors
    /// The disk. This process keeps the chain then.
    pub fn hand_over(&self, successor: Arc<dyn Successor>) -> Result<(), SpoolError> {
        let _turn = self.turn();
        let mut end = self.end();
        self.write_taken(&mut end, &mut self.queue.take(), true)?;
        let path = &end.segment.path;
        let synced = end.segment.file().sync_data();
        synced.map_err(|source| self.stop(path, source))?;
        self.durable.store(end.seq, Ordering::Release);
        let unlocked = self.lock.unlock();
        unlocked.map_err(|source| SpoolError::Directory {
            dir: self.dir.clone(),
            source,
        })?;
        end.successor = Some(successor);
        self.handed_over.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether another process has the chain.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Goes on with the chain where the successor has left it.
    ///
    /// # Errors
    /// The successor, or another process, still has it; the chain is damaged; the disk.
    pub fn take_back(&self) -> Result<(), SpoolError> {
        match self.regain()? {
            Some(torn) => self.append(&torn).map(drop),
            None => Ok(()),
        }
    }

    /// Has the chain again; gives what is to be said in it first.
    fn regain(&self) -> Result<Option<Record>, SpoolError> {
        // In the order in which they are taken elsewhere.
        let syncing = self.syncing();
        let mut end = self.end();
        if end.successor.is_none() {
            return Ok(None);
        }
        folder::try_lock(&self.lock, &self.dir)?;
        let (found, recovered) = match chain_end(&self.dir) {
            Ok(found) => found,
            Err(error) => {
                let _ = self.lock.unlock();
                return Err(error);
            }
        };
        *end = found;
        self.handed_over.store(false, Ordering::Release);
        self.kept.store(end.seq, Ordering::Release);
        self.durable.store(end.seq, Ordering::Release);
        drop((end, syncing));
        Ok(recovered.torn.as_ref().map(torn_record))
    }

    /// Appends records of another process, as [`Successor::append`] gets them.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn append_for(&self, bodies: &[Vec<u8>]) -> Result<Appended, SpoolError> {
        self.append_bodies(bodies.iter().cloned().map(Body::passed))
    }

    /// As [`Spool::regain`], before these records are written.
    fn regain_for(&self, bodies: &mut Vec<Body>) -> Result<(), SpoolError> {
        if let Some(torn) = self.regain()? {
            bodies.insert(0, Body::new(&torn, false)?);
        }
        Ok(())
    }

    /// Sends records to whoever has the chain; `None`: it is gone, and this process has the chain again and is to write
    /// them.
    pub(super) fn pass_on(
        &self,
        successor: &dyn Successor,
        bodies: &mut Vec<Body>,
    ) -> Option<Result<Appended, SpoolError>> {
        let records: Vec<Vec<u8>> = bodies.iter().map(|body| body.json.clone()).collect();
        let passed = super::off_the_runtime(|| successor.append(&records));
        Some(match passed {
            Ok(appended) => Ok(appended),
            Err(SuccessorError::Gone) => match self.regain_for(bodies) {
                Ok(()) => {
                    tracing::warn!("the successor is gone: the audit chain is written here again");
                    return None;
                }
                Err(error) => Err(error),
            },
            Err(SuccessorError::Failed(reason)) => Err(SpoolError::Successor(reason)),
        })
    }
}

/// The end of the chain in a folder whose lock is held, ready to be written on.
pub(super) fn chain_end(dir: &std::path::Path) -> Result<(ChainEnd, End), SpoolError> {
    let end = recover::recover(dir).map_err(|source| SpoolError::Recover {
        dir: dir.to_owned(),
        source,
    })?;
    let segment =
        Segment::open(dir, end.segment, end.len).map_err(|source| SpoolError::Directory {
            dir: dir.to_owned(),
            source,
        })?;
    // A process that was killed may have left records that are not on the disk yet.
    segment
        .file()
        .sync_data()
        .map_err(|source| SpoolError::Sync {
            path: segment.path.clone(),
            source,
        })?;
    let last = end.last.as_ref();
    let found = ChainEnd {
        segment,
        seq: last.map_or(0, |last| last.seq),
        head: last.map_or(super::Hash::genesis(""), |last| last.hash),
        since: Instant::now(),
        signed: 0,
        signed_at: Instant::now(),
        lost: 0,
        buffer: Vec::new(),
        successor: None,
    };
    Ok((found, end))
}

pub(super) fn torn_record(torn: &recover::Torn) -> Record {
    Record {
        message: Some(format!(
            "an unfinished record of {} bytes was moved to {}",
            torn.bytes,
            torn.moved_to.display()
        )),
        ..Record::new(Event::Recovered, SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::SpoolSettings;
    use super::*;
    use crate::audit::fixture::Dir;
    use crate::audit::verify::{Expectation, verify};

    /// Another spool in the same folder, as long as it is there.
    #[derive(Debug)]
    struct Other(Mutex<Option<Spool>>);

    impl Successor for Other {
        fn append(&self, bodies: &[Vec<u8>]) -> Result<Appended, SuccessorError> {
            match &*self.0.lock().expect("sound") {
                Some(spool) => spool
                    .append_for(bodies)
                    .map_err(|error| SuccessorError::Failed(error.to_string())),
                None => Err(SuccessorError::Gone),
            }
        }
    }

    fn record(message: &str) -> Record {
        Record {
            message: Some(message.to_owned()),
            ..Record::new(Event::Console, SystemTime::now())
        }
    }

    #[test]
    fn one_chain_goes_on_through_hands_and_back() {
        let dir = Dir::new();
        let open = || Spool::open(dir.path(), SpoolSettings::default());
        let old = open().expect("opened");
        old.append(&record("first")).expect("written");
        assert!(matches!(open(), Err(SpoolError::InUse { .. })));
        let other = Arc::new(Other(Mutex::new(None)));
        old.hand_over(other.clone()).expect("handed over");
        let new = open().expect("free");
        new.append(&record("of the new one")).expect("written");
        *other.0.lock().expect("sound") = Some(new);
        let through = old.append(&record("of the old one")).expect("passed on");
        assert!(through.seq > 3, "{through:?}");
        old.tend().expect("nothing to do");
        old.sync().expect("nothing to do");
        assert!(old.is_healthy());

        // The new one dies.
        *other.0.lock().expect("sound") = None;
        old.append(&record("alone again")).expect("taken back");
        assert!(!old.is_handed_over());
        assert!(matches!(open(), Err(SpoolError::InUse { .. })));
        old.checkpoint().expect("signed");
        drop(old);
        let report = verify(dir.path(), &Expectation::default()).expect("one sound chain");
        let said = std::fs::read_to_string(dir.path().join("audit-000001.jsonl")).expect("read");
        let mut last = 0;
        for message in ["first", "of the new one", "of the old one", "alone again"] {
            let place = said.find(&format!("\"{message}\"")).expect("on record");
            assert!(place > last, "{message}");
            last = place;
        }
        assert_eq!(report.lost, 0);
    }

    #[test]
    fn what_the_successor_cannot_write_is_an_error_here() {
        #[derive(Debug)]
        struct Full;
        impl Successor for Full {
            fn append(&self, _: &[Vec<u8>]) -> Result<Appended, SuccessorError> {
                Err(SuccessorError::Failed("no space".to_owned()))
            }
        }
        let dir = Dir::new();
        let spool = Spool::open(dir.path(), SpoolSettings::default()).expect("opened");
        spool.hand_over(Arc::new(Full)).expect("handed over");
        let error = spool.append(&record("lost")).expect_err("full");
        assert!(error.to_string().contains("no space"), "{error}");
        assert!(spool.is_failing());
        assert_eq!(spool.lost(), 1);
    }
}
