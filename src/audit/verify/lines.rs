//! The lines of all segments, with the places they stand in.
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::{Fault, VerifyError};
use crate::audit::chain;
use crate::audit::read::MAX_LINE;
use crate::audit::segment;

/// The lines of all segments in order.
pub struct Lines {
    pub segments: Vec<(u64, PathBuf)>,
    /// Index of the segment being read.
    pub at: usize,
    reader: Option<Box<dyn BufRead + Send>>,
    line: Vec<u8>,
    number: u64,
}

/// A place in the chain.
pub struct Place {
    file: PathBuf,
    line: u64,
}

impl Place {
    pub fn with(self, fault: Fault, sound: u64) -> VerifyError {
        VerifyError::Broken {
            file: self.file,
            line: self.line,
            fault,
            sound,
        }
    }
}

impl Lines {
    /// From the segment of that number on, or the oldest.
    pub fn new(dir: &Path, from: Option<u64>) -> Result<Self, VerifyError> {
        let mut segments = segment::list(dir).map_err(|source| VerifyError::Io {
            path: dir.to_owned(),
            source,
        })?;
        segments.retain(|(number, _)| from.is_none_or(|from| *number >= from));
        Ok(Lines {
            segments,
            at: 0,
            reader: None,
            line: Vec::new(),
            number: 0,
        })
    }

    pub fn here(&self) -> Place {
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
    pub fn next(&mut self) -> Result<Option<&[u8]>, VerifyError> {
        while self.at < self.segments.len() {
            if self.reader.is_none() {
                self.number = 0;
                if let Some(number) = missing_before(&self.segments, self.at) {
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
            none => none.insert(segment::read(path, 0)?),
        };
        self.line.clear();
        reader.take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        Ok(!self.line.is_empty())
    }

    /// A sound record of that number stands further on.
    pub fn comes_later(&mut self, seq: u64) -> bool {
        while let Ok(Some(line)) = self.next() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if chain::unseal(line).is_ok_and(|link| link.seq == seq) {
                return true;
            }
        }
        false
    }
}

/// The number of the segment that should stand between the one at `index` and the one before it, and does not.
fn missing_before(segments: &[(u64, PathBuf)], index: usize) -> Option<u64> {
    let (number, _) = segments.get(index)?;
    let (before, _) = segments.get(index.checked_sub(1)?)?;
    (before + 1 != *number).then_some(before + 1)
}
