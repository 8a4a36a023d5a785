//! Checks a chain from its first line to its last and names the first place that is not as it was written.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{self, Hash, LineError, Link};
use super::segment;

/// Bytes of one line; no record comes near it.
const MAX_LINE: u64 = 256 * 1024 * 1024;
const BUFFER: usize = 256 * 1024;

/// What to hold the chain against besides itself.
#[derive(Debug, Clone, Default)]
pub struct Expectation {
    /// A hash noted elsewhere: the chain must contain it. Shows that no end was cut off and that the chain was not
    /// computed anew.
    pub through: Option<Hash>,
    /// Older segments were taken away on purpose: the chain may begin in the middle.
    pub partial: bool,
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
        "the chain ends here without the hash {hash}: records were cut off its end, or all of it was computed anew"
    )]
    NotReached { hash: Hash },
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

/// Reads every segment of `dir` once, front to back, in memory bounded by the longest record.
///
/// # Errors
/// The first broken place, or a file that cannot be read.
pub fn verify(dir: &Path, expectation: &Expectation) -> Result<Report, VerifyError> {
    let mut lines = Lines::new(dir)?;
    let mut state: Option<(u64, Link)> = None;
    let mut reached = expectation.through.is_none();
    let mut records = 0;
    loop {
        let line = match lines.next(expectation.partial) {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(error) => return Err(error.after(records)),
        };
        let link = match check(line, state, expectation.partial) {
            Ok(link) => link,
            Err(Fault::Missing { from, to }) => {
                let broken = lines.here();
                let fault = match lines.comes_later(from) {
                    true => Fault::Reordered {
                        expected: from,
                        found: to + 1,
                    },
                    false => Fault::Missing { from, to },
                };
                return Err(broken.with(fault, records));
            }
            Err(fault) => return Err(lines.here().with(fault, records)),
        };
        reached |= expectation.through == Some(link.hash);
        state = Some((state.map_or(link.seq, |(first, _)| first), link));
        records += 1;
    }
    let Some((first, last)) = state else {
        return Err(VerifyError::Empty {
            dir: dir.to_owned(),
        });
    };
    if let (false, Some(hash)) = (reached, expectation.through) {
        return Err(lines.here().with(Fault::NotReached { hash }, records));
    }
    Ok(Report {
        segments: lines.segments.len() as u64,
        records,
        first,
        last: last.seq,
        head: last.hash,
    })
}

/// One line against the one before it.
fn check(line: &[u8], before: Option<(u64, Link)>, partial: bool) -> Result<Link, Fault> {
    let Some(line) = line.strip_suffix(b"\n") else {
        return Err(Fault::NoNewline);
    };
    let link = chain::unseal(line)?;
    let (expected, prev) = match before {
        Some((_, before)) => (before.seq + 1, before.hash),
        None if partial && link.seq > 1 => return Ok(link),
        None => (1, genesis_of(line).unwrap_or(link.hash)),
    };
    if link.seq < expected {
        return Err(Fault::Doubled { seq: link.seq });
    }
    if link.seq > expected {
        return Err(Fault::Missing {
            from: expected,
            to: link.seq - 1,
        });
    }
    match (link.prev == prev, before) {
        (true, _) => Ok(link),
        (false, Some(_)) => Err(Fault::Unlinked { seq: link.seq }),
        (false, None) => Err(Fault::Genesis),
    }
}

fn genesis_of(line: &[u8]) -> Option<Hash> {
    #[derive(Deserialize)]
    struct First {
        chain: String,
    }
    let first: First = serde_json::from_slice(line).ok()?;
    Some(Hash::genesis(&first.chain))
}

/// The lines of all segments in order.
struct Lines {
    segments: Vec<(u64, PathBuf)>,
    /// Index of the segment being read.
    at: usize,
    reader: Option<BufReader<File>>,
    line: Vec<u8>,
    number: u64,
}

/// A place in the chain.
struct Place {
    file: PathBuf,
    line: u64,
}

impl Place {
    fn with(self, fault: Fault, sound: u64) -> VerifyError {
        VerifyError::Broken {
            file: self.file,
            line: self.line,
            fault,
            sound,
        }
    }
}

impl VerifyError {
    fn after(mut self, records: u64) -> Self {
        if let VerifyError::Broken { sound, .. } = &mut self {
            *sound = records;
        }
        self
    }
}

impl Lines {
    fn new(dir: &Path) -> Result<Self, VerifyError> {
        let segments = segment::list(dir).map_err(|source| VerifyError::Io {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Lines {
            segments,
            at: 0,
            reader: None,
            line: Vec::new(),
            number: 0,
        })
    }

    fn here(&self) -> Place {
        let index = self.at.min(self.segments.len().saturating_sub(1));
        Place {
            file: self
                .segments
                .get(index)
                .map(|(_, path)| path.clone())
                .unwrap_or_default(),
            line: self.number.max(1),
        }
    }

    /// The next line with its newline, where it has one.
    fn next(&mut self, partial: bool) -> Result<Option<&[u8]>, VerifyError> {
        while self.at < self.segments.len() {
            if self.reader.is_none() {
                self.number = 0;
                if let Some(number) = missing_before(&self.segments, self.at, partial) {
                    return Err(self.here().with(Fault::MissingSegment { number }, 0));
                }
            }
            if self.read().map_err(|source| VerifyError::Io {
                path: self.here().file,
                source,
            })? {
                self.number += 1;
                return Ok(Some(&self.line));
            }
            if self.at + 1 == self.segments.len() {
                break;
            }
            self.at += 1;
            self.reader = None;
        }
        Ok(None)
    }

    /// Reads a line of the segment at hand, opening it where need be; `false` at its end.
    fn read(&mut self) -> io::Result<bool> {
        let Some((_, path)) = self.segments.get(self.at) else {
            return Ok(false);
        };
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(BufReader::with_capacity(BUFFER, File::open(path)?)),
        };
        self.line.clear();
        reader.take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        Ok(!self.line.is_empty())
    }

    /// A sound record of that number stands further on.
    fn comes_later(&mut self, seq: u64) -> bool {
        while let Ok(Some(line)) = self.next(true) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if chain::unseal(line).is_ok_and(|link| link.seq == seq) {
                return true;
            }
        }
        false
    }
}

/// The number of the segment that should stand before the one at `index` and does not.
fn missing_before(segments: &[(u64, PathBuf)], index: usize, partial: bool) -> Option<u64> {
    let (number, _) = segments.get(index)?;
    let expected = match index.checked_sub(1).and_then(|before| segments.get(before)) {
        Some((before, _)) => before + 1,
        None if partial => *number,
        None => 1,
    };
    (*number != expected).then_some(expected)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
