//! An incident put together for somebody else: the evidence, what proves it, and how to check that without trusting
//! whoever hands it over.
//!
//! A record is proven by a run of the chain: the record, all that follow it, and the next checkpoint, which signs the
//! hash of the one before. Each run is a directory that `pgveil audit verify --partial` reads.
use std::io;
use std::path::Path;

use super::{Evidence, Incident, summary};
use crate::audit::chain::{Hash, Link};
use crate::audit::entry::Entry;
use crate::audit::key::PublicKey;
use crate::audit::read::{ReadError, Reader};
use crate::audit::segment;

/// Bytes of one run at most. Checkpoints come every few seconds: no run comes near it.
const MAX_RUN: usize = 1 << 30;

/// Where the files go.
pub trait Files {
    /// # Errors
    /// The disk.
    fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// A checkpoint that signs records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    pub seq: u64,
    pub time: String,
    pub hash: String,
    /// The signature is of the key that was given.
    pub signed: bool,
}

/// A run of the chain that proves pieces of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its directory in the bundle.
    pub name: String,
    pub first: u64,
    pub last: u64,
    /// `None`: the records are too young, none has been written yet.
    pub checkpoint: Option<Covering>,
}

#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the bundle cannot be written: {0}")]
    Write(#[from] io::Error),
    #[error("record {seq} is not in the record any more: retention has taken it, or somebody has")]
    Gone { seq: u64 },
    #[error("record {seq} is another than the one that raised the alarm: its hash was {expected}")]
    Other { seq: u64, expected: String },
    #[error("record {seq} does not continue the one before it (`pgveil audit verify` says more)")]
    Unlinked { seq: u64 },
    #[error("the records after {seq} without a checkpoint are too many")]
    TooLong { seq: u64 },
    #[error("the summary cannot be written: {0}")]
    Summary(#[from] askama::Error),
}

/// Writes the bundle. Gives the runs, each checked on the way.
///
/// # Errors
/// The evidence is not in the record as it was, or the disk.
pub fn write(
    dir: &Path,
    incident: &Incident,
    key: &PublicKey,
    files: &mut impl Files,
) -> Result<Vec<Run>, BundleError> {
    let mut evidence: Vec<&Evidence> = incident.evidence.iter().collect();
    evidence.sort_by_key(|one| one.seq);
    let mut lines = Vec::new();
    let mut runs = Vec::new();
    let mut rest = evidence.as_slice();
    while let Some(first) = rest.first() {
        let name = format!("proof/{:04}", runs.len() + 1);
        let (run, bytes, taken) = run(dir, name, rest, key, &mut lines)?;
        files.file(&format!("{}/{}", run.name, segment::file_name(1)), &bytes)?;
        runs.push(run);
        // At least the first is part of the run that begins with it.
        rest = rest.get(taken.max(1)..).unwrap_or_default();
        debug_assert!(taken > 0, "{}", first.seq);
    }
    files.file("evidence.jsonl", &lines)?;
    files.file("signing.pub", key.pem().as_bytes())?;
    let json = serde_json::to_vec_pretty(incident).map_err(io::Error::from)?;
    files.file("incident.json", &json)?;
    files.file("summary.html", summary::html(incident, &runs)?.as_bytes())?;
    files.file("VERIFY.txt", summary::how_to_verify(&runs).as_bytes())?;
    Ok(runs)
}

/// Reads from the first piece of evidence to the checkpoint that covers it and those after it. Gives the run's lines and
/// how many pieces are in it.
fn run(
    dir: &Path,
    name: String,
    evidence: &[&Evidence],
    key: &PublicKey,
    lines: &mut Vec<u8>,
) -> Result<(Run, Vec<u8>, usize), BundleError> {
    let mut wanted = evidence.iter().peekable();
    let start = wanted.peek().map(|first| first.position);
    let mut run = Run {
        name,
        first: wanted.peek().map_or(0, |first| first.seq),
        last: 0,
        checkpoint: None,
    };
    let (mut bytes, mut taken) = (Vec::new(), 0);
    let Some(start) = start else {
        return Ok((run, bytes, taken));
    };
    let mut reader = Reader::new(dir, start);
    let mut before: Option<Link> = None;
    loop {
        let line = match reader.next() {
            Ok(Some(line)) => line,
            Ok(None) => break,
            Err(ReadError::Removed { .. }) => return Err(BundleError::Gone { seq: run.first }),
            Err(error) => return Err(error.into()),
        };
        let link = line.link;
        if before.is_some_and(|before| before.hash != link.prev) {
            return Err(BundleError::Unlinked { seq: link.seq });
        }
        if before.is_none() && link.seq != run.first {
            return Err(BundleError::Gone { seq: run.first });
        }
        bytes.extend_from_slice(line.bytes);
        bytes.push(b'\n');
        if bytes.len() > MAX_RUN {
            return Err(BundleError::TooLong { seq: run.first });
        }
        run.last = link.seq;
        if let Some(piece) = wanted.next_if(|piece| piece.seq == link.seq) {
            if Hash::parse(piece.hash.as_bytes()) != Some(link.hash) {
                return Err(BundleError::Other {
                    seq: piece.seq,
                    expected: piece.hash.clone(),
                });
            }
            lines.extend_from_slice(line.bytes);
            lines.push(b'\n');
            taken += 1;
        }
        let covering = line
            .entry()
            .ok()
            .and_then(|entry| covering(&entry, link, key));
        before = Some(link);
        if covering.is_some() && link.seq > run.first {
            run.checkpoint = covering;
            break;
        }
    }
    match before {
        Some(_) => Ok((run, bytes, taken)),
        None => Err(BundleError::Gone { seq: run.first }),
    }
}

/// The checkpoint that a record is, if it vouches for the record before it.
fn covering(entry: &Entry, link: Link, key: &PublicKey) -> Option<Covering> {
    let checkpoint = entry.checkpoint.as_ref()?;
    if checkpoint.head != link.prev.to_string() || checkpoint.count + 1 != link.seq {
        return None;
    }
    Some(Covering {
        seq: link.seq,
        time: entry.time.clone(),
        hash: link.hash.to_string(),
        signed: checkpoint.is_signed(&entry.time, std::slice::from_ref(key)),
    })
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
