//! Finds the end of the chain in a directory, and mends what a crash left behind it.
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::chain::{self, Hash, LineError, Link};
use super::entry::Entry;
use super::read::MAX_LINE;
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
    /// `None` where no chain has begun.
    pub last: Option<Last>,
    /// What was moved aside.
    pub torn: Option<Torn>,
}

/// The last record of a chain.
#[derive(Debug, PartialEq, Eq)]
pub struct Last {
    pub seq: u64,
    pub hash: Hash,
    /// Id of the chain.
    pub chain: String,
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
                let line = last_line(path).map_err(io_at(path))?;
                Some(last_record(
                    path,
                    &line.ok_or_else(|| damaged(path, "it does not end with a whole record"))?,
                )?)
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
    let last = match last {
        Some(link) => Some(Last {
            seq: link.seq,
            hash: link.hash,
            chain: chain_id(&segments)?,
        }),
        None => None,
    };
    Ok(End {
        segment: *number,
        len: tail.whole,
        last,
        torn,
    })
}

fn last_record(path: &Path, line: &[u8]) -> Result<Link, RecoverError> {
    chain::unseal(line)
        .map_err(|error: LineError| damaged(path, &format!("in its last line: {error}")))
}

/// The id that the first record of the newest segment with a record names.
fn chain_id(segments: &[(u64, PathBuf)]) -> Result<String, RecoverError> {
    for (_, path) in segments.iter().rev() {
        let mut line = Vec::new();
        segment::read(path, 0)
            .and_then(|reader| reader.take(MAX_LINE).read_until(b'\n', &mut line))
            .map_err(|source| RecoverError::Io {
                path: path.clone(),
                source,
            })?;
        if line.is_empty() {
            continue;
        }
        let entry: Option<Entry> = serde_json::from_slice(&line).ok();
        let named = entry.and_then(|entry| {
            let checkpoint = entry.checkpoint.map(|checkpoint| checkpoint.chain);
            entry.chain.or(checkpoint)
        });
        return named.ok_or_else(|| damaged(path, "its first record does not name its chain"));
    }
    Err(damaged(Path::new(""), "there is no record"))
}

/// The last line of a segment that is closed; `None` where it has none or is cut off.
fn last_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !segment::is_compressed(path) {
        let tail = Tail::read(path)?;
        return Ok(tail.line.filter(|_| tail.whole == tail.len));
    }
    let mut reader = segment::read(path, 0)?;
    let (mut last, mut line) = (None, Vec::new());
    while reader
        .by_ref()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)?
        > 0
    {
        last = line.strip_suffix(b"\n").map(<[u8]>::to_vec);
        line.clear();
    }
    Ok(last)
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
