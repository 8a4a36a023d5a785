//! Finds the end of the chain in a directory, and mends what a crash left behind it.
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::chain::{self, Hash, LineError};
use super::segment;

/// Bytes read at a time while looking backwards for the last record.
const CHUNK: u64 = 64 * 1024;

/// The end of a chain, ready to be continued.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// Of the segment to write on; 1 in an empty directory.
    pub segment: u64,
    /// Bytes of whole records in that segment.
    pub len: u64,
    /// Sequence number and hash of the last record; `None` where no chain has begun.
    pub last: Option<(u64, Hash)>,
    /// What was moved aside.
    pub torn: Option<Torn>,
}

/// An unfinished record that was moved out of its segment.
#[derive(Debug, PartialEq, Eq)]
pub struct Torn {
    pub bytes: u64,
    pub moved_to: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// More than a torn tail: somebody or something changed the files.
    #[error("{}: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
}

/// Looks at the last segment of `dir`. An unfinished record at its end is moved to a file next to it.
///
/// Only the end is read; that the rest is sound is for [`super::verify`] to say.
pub fn recover(dir: &Path) -> Result<End, RecoverError> {
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |source| RecoverError::Io { path, source }
    };
    let segments = segment::list(dir).map_err(io_at(dir))?;
    let Some((number, path)) = segments.last() else {
        return Ok(End {
            segment: 1,
            len: 0,
            last: None,
            torn: None,
        });
    };
    let tail = Tail::read(path).map_err(io_at(path))?;
    let torn = tail.move_aside(path).map_err(io_at(path))?;
    let last = match &tail.line {
        Some(line) => Some(last_record(path, line)?),
        // A segment without a record: the one before it holds the end, which was whole when this one was made.
        None => match segments.iter().rev().nth(1) {
            Some((before, path)) if before + 1 == *number => {
                let tail = Tail::read(path).map_err(io_at(path))?;
                match &tail.line {
                    Some(line) if tail.whole == tail.len => Some(last_record(path, line)?),
                    _ => return Err(damaged(path, "it does not end with a whole record")),
                }
            }
            None if *number == 1 => None,
            _ => {
                return Err(damaged(
                    path,
                    "it is empty and the segment before it is missing",
                ));
            }
        },
    };
    Ok(End {
        segment: *number,
        len: tail.whole,
        last,
        torn,
    })
}

fn last_record(path: &Path, line: &[u8]) -> Result<(u64, Hash), RecoverError> {
    let link = chain::unseal(line)
        .map_err(|error: LineError| damaged(path, &format!("in its last line: {error}")))?;
    Ok((link.seq, link.hash))
}

fn damaged(path: &Path, what: &str) -> RecoverError {
    RecoverError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

/// The end of one segment.
struct Tail {
    len: u64,
    /// Bytes up to and with the last newline.
    whole: u64,
    /// The last line that has its newline, without it.
    line: Option<Vec<u8>>,
}

impl Tail {
    fn read(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        let Some(newline) = newline_before(&file, len)? else {
            return Ok(Tail {
                len,
                whole: 0,
                line: None,
            });
        };
        let start = newline_before(&file, newline)?.map_or(0, |before| before + 1);
        let mut line = Vec::new();
        let mut reader = &file;
        reader.seek(SeekFrom::Start(start))?;
        reader.take(newline - start).read_to_end(&mut line)?;
        Ok(Tail {
            len,
            whole: newline + 1,
            line: Some(line),
        })
    }

    fn move_aside(&self, path: &Path) -> io::Result<Option<Torn>> {
        if self.whole == self.len {
            return Ok(None);
        }
        let moved_to = free_name(path, self.whole);
        let mut source = File::open(path)?;
        source.seek(SeekFrom::Start(self.whole))?;
        let mut aside = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&moved_to)?;
        let bytes = io::copy(&mut source, &mut aside)?;
        aside.flush()?;
        aside.sync_all()?;
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(self.whole)?;
        file.sync_all()?;
        Ok(Some(Torn { bytes, moved_to }))
    }
}

/// `audit-000001.jsonl.torn-<offset>`, and `-2`, `-3`, ... where an earlier crash took that name.
fn free_name(path: &Path, offset: u64) -> PathBuf {
    let named = |ending: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let mut candidate = named(format!(".torn-{offset}"));
    let mut count = 1;
    while candidate.exists() {
        count += 1;
        candidate = named(format!(".torn-{offset}-{count}"));
    }
    candidate
}

/// Position of the last newline before `end`.
fn newline_before(file: &File, end: u64) -> io::Result<Option<u64>> {
    let mut end = end;
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        chunk.resize((end - start) as usize, 0);
        file.read_exact_at(&mut chunk, start)?;
        if let Some(place) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(start + place as u64));
        }
        end = start;
    }
    Ok(None)
}
