//! Reads a spool record by record, from any position, also while it grows.
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::chain::{self, LineError, Link};
use super::entry::Entry;
use super::range::Bound;
use super::segment;

/// Bytes of one line; no record comes near it.
pub const MAX_LINE: u64 = 256 * 1024 * 1024;

/// Where a record begins, or the next one will.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes of records before it in the segment, uncompressed.
    pub offset: u64,
}

/// A record as it stands in the spool.
#[derive(Debug)]
pub struct Line<'a> {
    pub link: Link,
    /// The whole line, without its newline.
    pub bytes: &'a [u8],
    /// Where the next record begins.
    pub next: Position,
}

impl Line<'_> {
    /// # Errors
    /// The record is not one that this version understands.
    pub fn entry(&self) -> Result<Entry, serde_json::Error> {
        serde_json::from_slice(self.bytes)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} at byte {offset}: {fault}", path.display())]
    Damaged {
        path: PathBuf,
        offset: u64,
        fault: LineError,
    },
    /// The segment went away by retention or by hand; the oldest that is there is `first`.
    #[error(
        "audit segment {} is not there any more; the oldest is {}",
        segment::file_name(*segment),
        segment::file_name(*first)
    )]
    Removed { segment: u64, first: u64 },
}

/// A file of a segment, and what reads it.
type Open = (PathBuf, Box<dyn BufRead + Send>);

/// Walks over the records of a directory in their order.
///
/// Each record's bytes are checked against its own hash; that the records belong together is for
/// [`super::verify`] to say.
pub struct Reader {
    dir: PathBuf,
    at: Position,
    /// The segment that `at` names, read up to `at`.
    open: Option<Open>,
    line: Vec<u8>,
    /// Records beyond this number may still be taken back.
    kept: Option<Arc<AtomicU64>>,
}

impl Reader {
    /// Reads on from a position.
    pub fn new(dir: &Path, from: Position) -> Self {
        Reader {
            dir: dir.to_owned(),
            at: from,
            open: None,
            line: Vec::new(),
            kept: None,
        }
    }

    /// Reads from the oldest segment there is.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn from_start(dir: &Path) -> Result<Self, ReadError> {
        let segment = first_segment(dir)?.unwrap_or(1);
        Ok(Reader::new(dir, Position { segment, offset: 0 }))
    }

    /// Reads from the newest segment that begins before `from`, or the oldest: no record from there on is missed, and
    /// earlier ones may come first.
    ///
    /// # Errors
    /// The directory or the beginning of a segment cannot be read.
    pub fn since(dir: &Path, from: &Bound) -> Result<Self, ReadError> {
        let segments = segments(dir)?;
        let mut begin = segments.first().map_or(1, |(number, _)| *number);
        for (segment, _) in segments.iter().rev() {
            let start = Position {
                segment: *segment,
                offset: 0,
            };
            let first = match Reader::new(dir, start).next()? {
                Some(line) => line.entry().ok(),
                None => None,
            };
            if first.is_some_and(|entry| from.is_after(&entry)) {
                begin = *segment;
                break;
            }
        }
        let from = Position {
            segment: begin,
            offset: 0,
        };
        Ok(Reader::new(dir, from))
    }

    /// Stops before records whose number is above that in `kept`: what is written may still be taken back, as after a
    /// write that failed half-way ([`super::Spool::kept`]).
    pub fn up_to(mut self, kept: Arc<AtomicU64>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// Of the next record.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Goes on to a later record without reading those between.
    pub fn pass_to(&mut self, position: Position) {
        self.open = None;
        self.at = position;
    }

    /// The next record; `None` where there is none yet.
    ///
    /// # Errors
    /// After an error the position is what it was.
    #[expect(clippy::should_implement_trait, reason = "a line borrows the reader")]
    pub fn next(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        if !self.fill()? {
            // What comes may be written over what was read in part.
            self.open = None;
            return Ok(None);
        }
        let bytes = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let link = match chain::unseal(bytes) {
            Ok(link) => link,
            Err(fault) => {
                let path = self.open.take().map(|(path, _)| path).unwrap_or_default();
                let offset = self.at.offset;
                return Err(ReadError::Damaged {
                    path,
                    offset,
                    fault,
                });
            }
        };
        if let Some(kept) = &self.kept
            && link.seq > kept.load(Ordering::Acquire)
        {
            self.open = None;
            return Ok(None);
        }
        self.at.offset += self.line.len() as u64;
        Ok(Some(Line {
            link,
            bytes,
            next: self.at,
        }))
    }

    /// Goes past the line at hand without a look at it, after [`ReadError::Damaged`]; `false` where it has no end yet.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn pass_over(&mut self) -> Result<bool, ReadError> {
        let is_whole = self.fill()?;
        self.open = None;
        if is_whole {
            self.at.offset += self.line.len() as u64;
        }
        Ok(is_whole)
    }

    /// Reads a whole line; `false` where there is none. It stands in the file of `self.open`.
    fn fill(&mut self) -> Result<bool, ReadError> {
        loop {
            let Some((path, mut reader)) = self.open()? else {
                return Ok(false);
            };
            self.line.clear();
            let mut more = |line: &mut Vec<u8>| {
                let read = (&mut reader).take(MAX_LINE).read_until(b'\n', line);
                read.map_err(|source| ReadError::Io {
                    path: path.clone(),
                    source,
                })
            };
            more(&mut self.line)?;
            let mut followed = false;
            if !self.line.ends_with(b"\n") {
                // Looked at before the end of this one is, once more: a segment that has a successor does not grow any
                // more.
                followed = exists(&self.dir, self.at.segment + 1);
                if followed {
                    more(&mut self.line)?;
                }
            }
            self.open = Some((path, reader));
            if self.line.ends_with(b"\n") {
                return Ok(true);
            }
            if !followed || !self.line.is_empty() {
                return Ok(false);
            }
            self.at = Position {
                segment: self.at.segment + 1,
                offset: 0,
            };
            self.open = None;
        }
    }

    /// Takes the segment at hand, opening it where need be.
    fn open(&mut self) -> Result<Option<Open>, ReadError> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        let Some(path) = path(&self.dir, self.at.segment) else {
            return match first_segment(&self.dir)? {
                Some(first) if first > self.at.segment => Err(ReadError::Removed {
                    segment: self.at.segment,
                    first,
                }),
                _ => Ok(None),
            };
        };
        match segment::read(&path, self.at.offset) {
            Ok(reader) => Ok(Some((path, reader))),
            // Compressed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ReadError::Io { path, source }),
        }
    }
}

fn path(dir: &Path, segment: u64) -> Option<PathBuf> {
    [
        segment::file_name(segment),
        segment::compressed_name(segment),
    ]
    .into_iter()
    .map(|name| dir.join(name))
    .find(|path| path.exists())
}

fn exists(dir: &Path, segment: u64) -> bool {
    path(dir, segment).is_some()
}

fn segments(dir: &Path) -> Result<Vec<(u64, PathBuf)>, ReadError> {
    segment::list(dir).map_err(|source| ReadError::Io {
        path: dir.to_owned(),
        source,
    })
}

fn first_segment(dir: &Path) -> Result<Option<u64>, ReadError> {
    Ok(segments(dir)?.first().map(|(number, _)| *number))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
