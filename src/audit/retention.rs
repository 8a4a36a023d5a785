//! What becomes of closed segments: they are compressed, and the oldest go when the record grows beyond its size or its
//! age, each with a signed tombstone in the chain before it goes.
//!
//! Rotation by an outside program (logrotate) would break the chain and is not needed.
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::chain::{self, Hash, LineError};
use super::checkpoint::Removed;
use super::incident::{self, IncidentError};
use super::read::MAX_LINE;
use super::record::rfc3339;
use super::segment;
use super::spool::{Spool, SpoolError};

/// Of the trade between size and time that zstd offers: 3 is its own default.
const LEVEL: i32 = 3;

/// When segments go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// A segment whose last record is older goes; they stay for ever if absent.
    pub age: Option<Duration>,
    /// The oldest go while all of them are larger together; they may grow without bound if absent.
    pub bytes: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is damaged and stays: {fault}", path.display())]
    Damaged { path: PathBuf, fault: LineError },
    #[error("{} holds no record and stays", path.display())]
    Empty { path: PathBuf },
    #[error(transparent)]
    Incident(#[from] IncidentError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What a round did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Segments compressed in this round.
    pub compressed: u64,
    /// Segments removed in this round.
    pub removed: u64,
    /// Bytes of all segments afterwards.
    pub bytes: u64,
    /// Segments that are over the limits and stay because a sink has not got them yet.
    pub awaited: u64,
    /// Segments that are over the limits and stay because they hold or prove evidence of an open incident.
    pub held: u64,
}

/// Compresses what is closed and removes what is over. `delivered` is the number of the oldest segment that a sink still
/// needs; nothing from there on is removed, and nothing from the oldest evidence of an open incident on.
///
/// # Errors
/// The first file that cannot be read or written; what was done before stays done.
pub fn keep(
    spool: &Spool,
    retention: &Retention,
    delivered: u64,
    now: SystemTime,
) -> Result<Kept, RetentionError> {
    let mut kept = Kept::default();
    let current = spool.segment();
    let listed = |dir: &Path| segment::list(dir).map_err(failed(dir));
    for (number, path) in listed(spool.dir())? {
        if number < current && !segment::is_compressed(&path) {
            compress(spool.dir(), number, &path).map_err(failed(&path))?;
            kept.compressed += 1;
        }
    }
    let mut segments = Vec::new();
    for (number, path) in listed(spool.dir())? {
        let bytes = path.metadata().map_err(failed(&path))?.len();
        kept.bytes += bytes;
        segments.push((number, path, bytes));
    }
    let mut evidence = None;
    for (number, path, bytes) in segments {
        if number >= current || !retention.is_over(kept.bytes, &path, now)? {
            break;
        }
        if number >= delivered {
            kept.awaited += 1;
            continue;
        }
        let evidence = match evidence {
            Some(evidence) => evidence,
            None => *evidence.insert(incident::oldest_needed(spool.dir())?),
        };
        if number >= evidence {
            kept.held += 1;
            continue;
        }
        let ends = ends(&path)?;
        spool.bury(&Removed {
            segment: number,
            first: ends.first,
            last: ends.last,
            head: ends.head,
        })?;
        std::fs::remove_file(&path).map_err(failed(&path))?;
        kept.bytes -= bytes;
        kept.removed += 1;
    }
    Ok(kept)
}

impl Retention {
    fn is_over(&self, bytes: u64, path: &Path, now: SystemTime) -> Result<bool, RetentionError> {
        if self.bytes.is_some_and(|most| bytes > most) {
            return Ok(true);
        }
        match self.age {
            // The time in the file and not that of the file, which a copy changes.
            Some(age) => match now.checked_sub(age) {
                Some(oldest) => Ok(ends(path)?.time < rfc3339(oldest)),
                None => Ok(false),
            },
            None => Ok(false),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RetentionError {
    let path = path.to_owned();
    move |source| RetentionError::Io { path, source }
}

/// Writes `audit-000001.jsonl.zst` beside the segment and takes that away. A crash leaves both, and then it is done
/// again.
fn compress(dir: &Path, number: u64, path: &Path) -> io::Result<()> {
    let target = dir.join(segment::compressed_name(number));
    let draft = dir.join(format!("{}.part", segment::compressed_name(number)));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(path)?, &mut encoder)?;
    let mut file = encoder.finish()?;
    file.flush()?;
    file.sync_all()?;
    std::fs::rename(&draft, &target)?;
    File::open(dir)?.sync_all()?;
    std::fs::remove_file(path)
}

/// The first and the last record of a segment.
struct Ends {
    first: u64,
    last: u64,
    head: Hash,
    /// Of the last record.
    time: String,
}

fn ends(path: &Path) -> Result<Ends, RetentionError> {
    let mut reader = segment::read(path, 0).map_err(failed(path))?;
    let (mut first, mut last, mut line) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(failed(path))? == 0 {
            break;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        std::mem::swap(&mut last, &mut line);
    }
    if last.is_empty() {
        return Err(RetentionError::Empty {
            path: path.to_owned(),
        });
    }
    let sealed = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        chain::unseal(line).map_err(|fault| RetentionError::Damaged {
            path: path.to_owned(),
            fault,
        })
    };
    let (begins, ends) = (sealed(&first)?, sealed(&last)?);
    let entry: Result<super::Entry, _> = serde_json::from_slice(&last);
    Ok(Ends {
        first: begins.seq,
        last: ends.seq,
        head: ends.hash,
        time: entry.map(|entry| entry.time).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::{Dir, record};
    use crate::audit::incident::{Closed, Evidence, Incident};
    use crate::audit::key::PublicKey;
    use crate::audit::spool::{PUBLIC_KEY_FILE, SpoolSettings};
    use crate::audit::verify::{Expectation, Report, VerifyError, verify};
    use crate::audit::{Position, Reader, segment};

    fn spool(dir: &Dir) -> Spool {
        let settings = SpoolSettings {
            segment_bytes: 3000,
            ..SpoolSettings::default()
        };
        Spool::open(dir.path(), settings).expect("the spool opens")
    }

    fn filled(dir: &Dir, records: usize) -> Spool {
        let spool = spool(dir);
        for count in 0..records {
            let mut record = record(&count.to_string());
            record.time = SystemTime::now();
            spool.append(&record).expect("appended");
        }
        spool
    }

    fn verified(dir: &Dir) -> Result<Report, VerifyError> {
        let key = PublicKey::read(&dir.path().join(PUBLIC_KEY_FILE)).expect("a key");
        let expectation = Expectation {
            keys: vec![key],
            ..Expectation::default()
        };
        verify(dir.path(), &expectation)
    }

    fn names(dir: &Dir) -> Vec<String> {
        let listed = segment::list(dir.path()).expect("listed");
        listed
            .into_iter()
            .map(|(_, path)| path.file_name().expect("a name").to_string_lossy().into())
            .collect()
    }

    const ALL: u64 = u64::MAX;

    #[test]
    fn closed_segments_are_compressed_and_read_as_before() {
        let dir = Dir::new();
        let spool = filled(&dir, 40);
        let before = verified(&dir).expect("sound");
        let mut half_way = Reader::from_start(dir.path()).expect("opened");
        half_way.next().expect("read").expect("a record");
        let kept = keep(&spool, &Retention::default(), ALL, SystemTime::now()).expect("kept");
        assert_eq!(kept.compressed, before.segments - 1);
        let names = names(&dir);
        let (last, closed) = names.split_last().expect("segments");
        assert!(closed.iter().all(|name| name.ends_with(".jsonl.zst")));
        assert!(last.ends_with(".jsonl"));
        assert_eq!(verified(&dir).expect("sound"), before);
        let mut seqs = vec![1];
        while let Some(line) = half_way.next().expect("read") {
            seqs.push(line.link.seq);
        }
        assert_eq!(seqs, (1..=before.last).collect::<Vec<_>>());
        let again = keep(&spool, &Retention::default(), ALL, SystemTime::now()).expect("kept");
        assert_eq!(again.compressed, 0);
    }

    #[test]
    fn a_crash_between_compressing_and_removing_is_mended() {
        let dir = Dir::new();
        let spool = filled(&dir, 40);
        let path = dir.path().join(segment::file_name(1));
        let bytes = std::fs::read(&path).expect("read");
        let before = verified(&dir).expect("sound");
        keep(&spool, &Retention::default(), ALL, SystemTime::now()).expect("kept");
        std::fs::write(&path, bytes).expect("written");
        assert_eq!(verified(&dir).expect("sound"), before);
        keep(&spool, &Retention::default(), ALL, SystemTime::now()).expect("kept");
        assert!(!path.exists());
        assert_eq!(verified(&dir).expect("sound"), before);
    }

    #[test]
    fn the_oldest_go_with_a_tombstone_that_verifies() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let most = Retention {
            bytes: Some(5000),
            ..Retention::default()
        };
        let kept = keep(&spool, &most, ALL, SystemTime::now()).expect("kept");
        assert!(kept.removed > 1, "{kept:?}");
        assert!(kept.bytes <= 5000, "{kept:?}");
        let report = verified(&dir).expect("sound");
        assert_eq!(report.removed, report.first - 1);
        assert!(report.removed > 0);
    }

    #[test]
    fn a_segment_removed_by_hand_is_told_from_one_that_was_due() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let most = Retention {
            bytes: Some(5000),
            ..Retention::default()
        };
        keep(&spool, &most, ALL, SystemTime::now()).expect("kept");
        let (_, oldest) = segment::list(dir.path()).expect("listed").remove(0);
        std::fs::remove_file(oldest).expect("removed");
        let error = verified(&dir).expect_err("told").to_string();
        assert!(error.contains("no tombstone"), "{error}");
    }

    #[test]
    fn a_crash_between_tombstone_and_removal_leaves_a_sound_chain() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let path = dir.path().join(segment::file_name(1));
        let bytes = std::fs::read(&path).expect("read");
        let old = Retention {
            age: Some(Duration::ZERO),
            ..Retention::default()
        };
        let later = SystemTime::now() + Duration::from_secs(60);
        let kept = keep(&spool, &old, 2, later).expect("kept");
        assert_eq!(kept.removed, 1);
        assert!(kept.awaited > 1, "{kept:?}");
        std::fs::write(&path, bytes).expect("written");
        verified(&dir).expect("sound");
        keep(&spool, &old, 3, later).expect("kept");
        assert_eq!(
            verified(&dir).expect("sound").removed,
            verified(&dir).expect("sound").first - 1
        );
    }

    #[test]
    fn what_a_sink_has_not_got_yet_stays_whatever_its_age() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let old = Retention {
            age: Some(Duration::ZERO),
            bytes: Some(1),
        };
        let later = SystemTime::now() + Duration::from_secs(60);
        let kept = keep(&spool, &old, 1, later).expect("kept");
        assert_eq!(kept.removed, 0);
        assert_eq!(verified(&dir).expect("sound").first, 1);
    }

    #[test]
    fn evidence_of_an_open_incident_and_what_proves_it_stay_until_it_is_closed() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let old = Retention {
            age: Some(Duration::ZERO),
            bytes: Some(1),
        };
        let later = SystemTime::now() + Duration::from_secs(60);
        let evidence = |segment| Evidence {
            seq: 7,
            hash: String::new(),
            time: String::new(),
            position: Position { segment, offset: 0 },
        };
        let incident = |id: &str, segment| Incident {
            id: id.to_owned(),
            evidence: vec![evidence(segment), evidence(segment + 1)],
            ..Incident::default()
        };
        let (first, second) = (incident("20261122-7", 3), incident("20261122-9", 5));
        for incident in [&first, &second] {
            incident::save(dir.path(), incident).expect("saved");
        }
        let oldest = || segment::list(dir.path()).expect("listed")[0].0;
        let kept = keep(&spool, &old, ALL, later).expect("kept");
        assert_eq!((kept.removed, oldest()), (2, 3));
        assert!(kept.held > 2 && kept.awaited == 0, "{kept:?}");
        let report = verified(&dir).expect("sound");
        assert_eq!(report.removed, report.first - 1);

        let closed = Closed::default();
        incident::close(dir.path(), &first, &closed).expect("closed");
        incident::close(dir.path(), &first, &closed).expect_err("not twice");
        keep(&spool, &old, ALL, later).expect("kept");
        assert_eq!(oldest(), 5);
        incident::close(dir.path(), &second, &closed).expect("closed");
        let kept = keep(&spool, &old, ALL, later).expect("kept");
        assert!(kept.held == 0 && oldest() > 7, "{kept:?}");
        let report = verified(&dir).expect("sound");
        assert_eq!(report.removed, report.first - 1);
    }

    #[test]
    fn where_it_is_not_known_what_is_evidence_nothing_goes() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let old = Retention {
            age: Some(Duration::ZERO),
            bytes: Some(1),
        };
        let folder = dir.path().join(incident::FOLDER);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("20261122-7.json"), "rubbish").expect("written");
        let later = SystemTime::now() + Duration::from_secs(60);
        keep(&spool, &old, ALL, later).expect_err("not known");
        assert_eq!(verified(&dir).expect("sound").first, 1);
    }

    #[test]
    fn what_is_younger_stays() {
        let dir = Dir::new();
        let spool = filled(&dir, 60);
        let day = Retention {
            age: Some(Duration::from_secs(24 * 60 * 60)),
            ..Retention::default()
        };
        let kept = keep(&spool, &day, ALL, SystemTime::now()).expect("kept");
        assert_eq!(kept.removed, 0);
    }
}
