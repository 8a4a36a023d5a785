//! Checks a chain from its first line to its last and names the first place that is not as it was written.
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{self, Hash, LineError, Link};
use super::checkpoint::{Checkpoint, Tombstone};
use super::key::PublicKey;
use super::range::Bound;
use super::segment;
use super::spool::MAX_CHECKPOINT_RECORDS;
use lines::Lines;

mod lines;

/// Records without a signature that stand at a chain's end at most: those since the last checkpoint, and what was
/// written together with the last of them.
pub const MAX_UNSIGNED: u64 = 2 * MAX_CHECKPOINT_RECORDS;
/// Records between two calls that tell of progress.
const PROGRESS: u64 = 50_000;

/// What to hold the chain against besides itself.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// A hash noted elsewhere: the chain must contain it. Shows that no end was cut off and that the chain was not
    /// computed anew.
    pub through: Option<Hash>,
    /// Older segments were taken away, whether a tombstone says so or not: the chain may begin in the middle.
    pub partial: bool,
    /// One of these signs every checkpoint and tombstone. Signatures are not looked at where there is none.
    pub keys: Vec<PublicKey>,
    /// Number of the segment to begin with.
    pub from_segment: Option<u64>,
    /// Records from there on are left out.
    pub to: Option<Bound>,
}

/// A chain without a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub segments: u64,
    pub records: u64,
    /// Sequence number of the first record that is there; 1 for a whole chain.
    pub first: u64,
    /// Sequence number and hash of the last record.
    pub last: u64,
    pub head: Hash,
    /// Id of the chain, where a record names it.
    pub chain: Option<String>,
    /// Checkpoints with a good signature, and the last of them.
    pub checkpoints: u64,
    pub signed: Option<u64>,
    /// Ids of the keys that signed.
    pub keys: Vec<String>,
    /// Records that went by retention, with a tombstone.
    pub removed: u64,
    /// Records that the proxy could not write and says so.
    pub lost: u64,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub records: u64,
    /// Of all `segments`, the one being read, from 1.
    pub segment: u64,
    pub segments: u64,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Line(#[from] LineError),
    #[error("the record is cut off: the file ends without a newline")]
    NoNewline,
    #[error("record {seq} stands here a second time")]
    Doubled { seq: u64 },
    #[error("records {from} to {to} are missing before this one")]
    Missing { from: u64, to: u64 },
    #[error(
        "record {found} stands here in place of record {expected}, which comes later: the records were reordered"
    )]
    Reordered { expected: u64, found: u64 },
    #[error(
        "record {seq} does not continue the one before it: that one was replaced together with its hash, or this one belongs to another chain"
    )]
    Unlinked { seq: u64 },
    #[error("the first record does not begin a chain: its `prev` does not follow from its `chain`")]
    Genesis,
    #[error("segment {} is missing before this one", segment::file_name(*number))]
    MissingSegment { number: u64 },
    #[error(
        "records 1 to {to} are missing before this one, and no tombstone says that they were removed (--partial takes that as it is)"
    )]
    MissingStart { to: u64 },
    #[error(
        "the chain ends here without the hash {hash}: records were cut off its end, or all of it was computed anew"
    )]
    NotReached { hash: Hash },
    #[error(
        "record {seq} is signed by key {key}, which is none of those given, or its signature is forged"
    )]
    Signature { seq: u64, key: String },
    #[error("checkpoint {seq} vouches for other records than those before it")]
    Checkpoint { seq: u64 },
    #[error(
        "records {from} to {to} carry no signature: the chain was computed anew from there without the key"
    )]
    Unsigned { from: u64, to: u64 },
    #[error("{event} record {seq} does not hold what its event asks for")]
    Content { seq: u64, event: &'static str },
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: there is no audit segment (audit-000001.jsonl, ...) in this directory", dir.display())]
    Empty { dir: PathBuf },
    #[error("{}:{line}: {fault}", file.display())]
    Broken {
        file: PathBuf,
        /// From 1.
        line: u64,
        fault: Fault,
        /// Records before it, all sound.
        sound: u64,
    },
}

impl VerifyError {
    fn after(mut self, records: u64) -> Self {
        if let VerifyError::Broken { sound, .. } = &mut self {
            *sound = records;
        }
        self
    }
}

/// Reads every segment of `dir` once, front to back, in memory bounded by the longest record.
///
/// # Errors
/// The first broken place, or a file that cannot be read.
pub fn verify(dir: &Path, expectation: &Expectation) -> Result<Report, VerifyError> {
    verify_with(dir, expectation, &mut |_| ())
}

/// [`verify`], telling how far it is.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    dir: &Path,
    expectation: &Expectation,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, VerifyError> {
    let mut lines = Lines::new(dir, expectation.from_segment)?;
    let mut state = State::new(expectation);
    loop {
        let line = match lines.next() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => return Err(error.after(state.records)),
        };
        if expectation.is_past(line) {
            break;
        }
        match state.take(line) {
            Ok(()) => {}
            Err(Fault::Missing { from, to }) => {
                let broken = lines.here();
                let fault = match lines.comes_later(from) {
                    true => Fault::Reordered {
                        expected: from,
                        found: to + 1,
                    },
                    false => Fault::Missing { from, to },
                };
                return Err(broken.with(fault, state.records));
            }
            Err(fault) => return Err(lines.here().with(fault, state.records)),
        }
        if state.records.is_multiple_of(PROGRESS) {
            progress(Progress {
                records: state.records,
                segment: lines.at as u64 + 1,
                segments: lines.segments.len() as u64,
            });
        }
    }
    let segments = (lines.at as u64 + 1).min(lines.segments.len() as u64);
    let place = match state.begins_unexplained() {
        // Of the first record, where it is what is missing.
        true => Lines::new(dir, expectation.from_segment)?.here(),
        false => lines.here(),
    };
    let sound = state.records;
    match state.end(segments) {
        Ok(Some(report)) => Ok(report),
        Ok(None) => Err(VerifyError::Empty {
            dir: dir.to_owned(),
        }),
        Err(fault) => Err(place.with(fault, sound)),
    }
}

impl Expectation {
    fn is_past(&self, line: &[u8]) -> bool {
        let Some(to) = &self.to else { return false };
        let entry = line.strip_suffix(b"\n").map(serde_json::from_slice);
        matches!(entry, Some(Ok(entry)) if !to.is_after(&entry))
    }
}

/// What the lines so far amount to.
struct State<'a> {
    expectation: &'a Expectation,
    first: Option<Link>,
    last: Option<Link>,
    records: u64,
    chain: Option<String>,
    checkpoints: u64,
    signed: Option<u64>,
    keys: Vec<String>,
    /// A tombstone explains why the chain begins where it does.
    explained: bool,
    reached: bool,
    lost: u64,
}

/// The records that the chain itself speaks by.
#[derive(Deserialize)]
struct Spoken {
    time: String,
    chain: Option<String>,
    checkpoint: Option<Checkpoint>,
    tombstone: Option<Tombstone>,
    lost: Option<u64>,
}

impl<'a> State<'a> {
    fn new(expectation: &'a Expectation) -> Self {
        State {
            expectation,
            first: None,
            last: None,
            records: 0,
            chain: None,
            checkpoints: 0,
            signed: None,
            keys: Vec::new(),
            explained: false,
            reached: expectation.through.is_none(),
            lost: 0,
        }
    }

    /// One line against those before it.
    fn take(&mut self, line: &[u8]) -> Result<(), Fault> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(Fault::NoNewline);
        };
        let link = chain::unseal(line)?;
        self.follows(line, &link)?;
        match event(line) {
            Some(b"checkpoint") => self.checkpoint(line, &link)?,
            Some(b"retention") => self.tombstone(line, &link)?,
            Some(b"lost") => self.lost += spoken(line).and_then(|spoken| spoken.lost).unwrap_or(0),
            _ => {}
        }
        let unsigned_from = self
            .signed
            .map_or(link.seq.min(self.first_seq(&link)), |seq| seq + 1);
        if !self.expectation.keys.is_empty() && link.seq >= unsigned_from + MAX_UNSIGNED {
            return Err(Fault::Unsigned {
                from: unsigned_from,
                to: link.seq,
            });
        }
        self.reached |= self.expectation.through == Some(link.hash);
        self.first.get_or_insert(link);
        self.last = Some(link);
        self.records += 1;
        Ok(())
    }

    fn first_seq(&self, link: &Link) -> u64 {
        self.first.map_or(link.seq, |first| first.seq)
    }

    fn follows(&mut self, line: &[u8], link: &Link) -> Result<(), Fault> {
        let Some(before) = self.last else {
            if link.seq > 1 {
                return Ok(());
            }
            let id = spoken(line).and_then(|spoken| spoken.chain);
            let begins = id.as_deref().map(Hash::genesis) == Some(link.prev);
            self.chain = id;
            return match begins {
                true => Ok(()),
                false => Err(Fault::Genesis),
            };
        };
        let expected = before.seq + 1;
        if link.seq < expected {
            return Err(Fault::Doubled { seq: link.seq });
        }
        if link.seq > expected {
            return Err(Fault::Missing {
                from: expected,
                to: link.seq - 1,
            });
        }
        match link.prev == before.hash {
            true => Ok(()),
            false => Err(Fault::Unlinked { seq: link.seq }),
        }
    }

    fn checkpoint(&mut self, line: &[u8], link: &Link) -> Result<(), Fault> {
        let content = Fault::Content {
            seq: link.seq,
            event: "checkpoint",
        };
        let spoken = spoken(line).ok_or(content.clone())?;
        let checkpoint = spoken.checkpoint.ok_or(content)?;
        let chain = self.chain.get_or_insert_with(|| checkpoint.chain.clone());
        if checkpoint.count + 1 != link.seq
            || checkpoint.head != link.prev.to_string()
            || checkpoint.chain != *chain
        {
            return Err(Fault::Checkpoint { seq: link.seq });
        }
        let keys = &self.expectation.keys;
        if keys.is_empty() {
            return Ok(());
        }
        if !checkpoint.is_signed(&spoken.time, keys) {
            return Err(Fault::Signature {
                seq: link.seq,
                key: checkpoint.key,
            });
        }
        self.checkpoints += 1;
        self.signed = Some(link.seq);
        if !self.keys.contains(&checkpoint.key) {
            self.keys.push(checkpoint.key);
        }
        Ok(())
    }

    fn tombstone(&mut self, line: &[u8], link: &Link) -> Result<(), Fault> {
        let content = Fault::Content {
            seq: link.seq,
            event: "retention",
        };
        let spoken = spoken(line).ok_or(content.clone())?;
        let tombstone = spoken.tombstone.ok_or(content)?;
        let keys = &self.expectation.keys;
        if !keys.is_empty() && !tombstone.is_signed(&spoken.time, keys) {
            return Err(Fault::Signature {
                seq: link.seq,
                key: tombstone.key,
            });
        }
        self.explained |= self.first.is_some_and(|first| {
            tombstone.last + 1 == first.seq
                && tombstone.head == first.prev.to_string()
                && self
                    .chain
                    .as_ref()
                    .is_none_or(|chain| *chain == tombstone.chain)
        });
        Ok(())
    }

    /// The chain begins in the middle, and nothing says why.
    fn begins_unexplained(&self) -> bool {
        let expectation = self.expectation;
        self.first.is_some_and(|first| first.seq > 1)
            && !self.explained
            && !expectation.partial
            && expectation.from_segment.is_none()
    }

    /// `None` where there was no line.
    fn end(self, segments: u64) -> Result<Option<Report>, Fault> {
        let (Some(first), Some(last)) = (self.first, self.last) else {
            return Ok(None);
        };
        if self.begins_unexplained() {
            return Err(Fault::MissingStart { to: first.seq - 1 });
        }
        if let (false, Some(hash)) = (self.reached, self.expectation.through) {
            return Err(Fault::NotReached { hash });
        }
        Ok(Some(Report {
            segments,
            records: self.records,
            first: first.seq,
            last: last.seq,
            head: last.hash,
            chain: self.chain,
            checkpoints: self.checkpoints,
            signed: self.signed,
            keys: self.keys,
            removed: if self.explained { first.seq - 1 } else { 0 },
            lost: self.lost,
        }))
    }
}

fn spoken(line: &[u8]) -> Option<Spoken> {
    serde_json::from_slice(line).ok()
}

/// The event of a record, without taking all of it apart: it stands after two members of known form.
fn event(line: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = b"\"event\":\"";
    /// Hash, prev, seq, schema version and time come before it.
    const WITHIN: usize = 300;
    let start = line.get(..line.len().min(WITHIN))?;
    let place = start
        .windows(BEFORE.len())
        .skip(chain::SEALED)
        .position(|window| window == BEFORE)?;
    let rest = line.get(chain::SEALED + place + BEFORE.len()..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    rest.get(..end)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
