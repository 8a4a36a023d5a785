//! One file of the spool. Whatever a write's outcome, the file ends with a whole record afterwards, or is marked
//! so that the next write mends it first.
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";
/// After [`SUFFIX`] of a segment that is closed and compressed (RFC 8878).
pub const COMPRESSED: &str = ".zst";
/// Only the user that runs pgveil reads and writes records.
const MODE: u32 = 0o600;
const READ_BUFFER: usize = 256 * 1024;

/// `audit-000001.jsonl` for 1.
pub fn file_name(number: u64) -> String {
    format!("{PREFIX}{number:06}{SUFFIX}")
}

/// The number of a segment from its file name; `None` for every other file.
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// `audit-000001.jsonl.zst` for 1: the segment once it is closed and compressed.
pub fn compressed_name(number: u64) -> String {
    file_name(number) + COMPRESSED
}

/// The segments of a directory in their order. Other files are passed over. Where a segment stands there both
/// compressed and not (a crash came between), the file that was written first counts.
pub fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut segments = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(number) = number(name) {
            segments.insert(number, entry.path());
        } else if let Some(number) = name.strip_suffix(COMPRESSED).and_then(number) {
            segments.entry(number).or_insert_with(|| entry.path());
        }
    }
    Ok(segments.into_iter().collect())
}

/// Whether that file of a segment is the compressed one.
pub fn is_compressed(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(COMPRESSED))
}

/// Reads a segment from its byte `offset`, compressed or not. Offsets count bytes of records, uncompressed.
pub fn read(path: &Path, offset: u64) -> io::Result<Box<dyn BufRead + Send>> {
    let mut file = File::open(path)?;
    if !is_compressed(path) {
        file.seek(SeekFrom::Start(offset))?;
        return Ok(Box::new(BufReader::with_capacity(READ_BUFFER, file)));
    }
    let mut decoder = zstd::Decoder::new(file)?;
    io::copy(&mut (&mut decoder).take(offset), &mut io::sink())?;
    Ok(Box::new(BufReader::with_capacity(READ_BUFFER, decoder)))
}

/// A segment open for appending.
#[derive(Debug)]
pub struct Segment {
    pub number: u64,
    pub path: PathBuf,
    file: Arc<File>,
    /// Bytes of whole records.
    len: u64,
    /// A failed write left bytes after `len` that could not be cut off yet.
    torn: bool,
    /// Bytes that still fit before the imaginary disk is full.
    #[cfg(test)]
    pub room: Option<u64>,
    /// Writes so far.
    #[cfg(test)]
    pub writes: std::cell::Cell<u32>,
}

impl Segment {
    /// Opens or creates the segment of that number. `len` is the number of bytes of whole records in it.
    pub fn open(dir: &Path, number: u64, len: u64) -> io::Result<Self> {
        let path = dir.join(file_name(number));
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .open(&path)?;
        if file.metadata()?.len() != len {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the file holds other bytes than expected",
            ));
        }
        // A new name is durable once its directory is.
        File::open(dir)?.sync_all()?;
        Ok(Segment {
            number,
            path,
            file: Arc::new(file),
            len,
            torn: false,
            #[cfg(test)]
            room: None,
            #[cfg(test)]
            writes: std::cell::Cell::new(0),
        })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// For syncing without holding the segment.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Appends whole records with one write(2). On an error nothing of them stays in the file.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.torn {
            self.cut()?;
        }
        if let Err(error) = self.write(records) {
            self.torn = true;
            // Where cutting fails too, the next append tries again before it writes.
            let _ = self.cut();
            return Err(error);
        }
        self.len += records.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.torn = false;
        Ok(())
    }

    #[cfg(not(test))]
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&*self.file).write_all(bytes)
    }

    /// As a full disk does it: what fits is written, then the error comes.
    #[cfg(test)]
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.writes.set(self.writes.get() + 1);
        let room = self.room.map_or(usize::MAX, |room| room as usize);
        let fitting = &bytes[..room.min(bytes.len())];
        (&*self.file).write_all(fitting)?;
        if fitting.len() < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The file is still the one under its name, and as long as what was written to it.
    pub fn is_in_place(&self) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt;
        let ours = self.file.metadata()?;
        let named = std::fs::metadata(&self.path)?;
        Ok(ours.ino() == named.ino()
            && ours.dev() == named.dev()
            && (self.torn || ours.len() == self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(file_name(1), "audit-000001.jsonl");
        assert_eq!(number("audit-000001.jsonl"), Some(1));
        assert_eq!(number("audit-1234567.jsonl"), Some(1_234_567));
        for other in [
            "audit-1.jsonl",
            "audit-0000001.jsonl",
            "audit-000001.jsonl.torn-9",
            "audit-+00001.jsonl",
            "x",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
