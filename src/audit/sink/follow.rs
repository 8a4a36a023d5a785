//! A sink's way along the spool: from its cursor on, over whatever is wrong there.
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::SinkError;
use super::batch::{Batch, Message, Place};
use super::cursor::{self, Cursor};
use super::progress::{Progress, add};
use crate::audit::format::{Format, Recorded, render};
use crate::audit::read::ReadError;
use crate::audit::spool::Head;
use crate::audit::{Entry, Position, Reader, Spool};
use crate::config::{SinkSettings, SinkStart};

/// Records looked at in one go: between two of them others may use the thread, and the cursor moves on even where all
/// of them are passed over.
const GO: usize = 5000;

/// The spool that sinks follow.
#[derive(Debug, Clone)]
pub struct Source {
    pub dir: PathBuf,
    /// Id of the chain.
    pub chain: String,
    /// Records up to this number may be delivered.
    pub upto: Arc<AtomicU64>,
    /// Where the chain ended when this was made.
    pub head: Head,
    /// The segment that was being written then.
    pub segment: u64,
}

impl Source {
    /// Of a spool. What is delivered is on the disk: after a loss of power no number stands for another record than the
    /// one that a sink was given under it.
    pub fn of(spool: &Spool) -> Source {
        let segment = spool.segment();
        Source {
            dir: spool.dir().to_owned(),
            chain: spool.chain().to_owned(),
            upto: spool.durable(),
            head: spool.head(),
            segment,
        }
    }
}

/// Reads what one sink has not got yet.
pub struct Follower {
    source: Source,
    sink: String,
    format: Format,
    events: Option<std::collections::BTreeSet<String>>,
    reader: Reader,
    /// The last record that was read.
    last: Option<u64>,
    /// Where something unreadable was seen once.
    suspect: Option<Position>,
    progress: Arc<Progress>,
}

/// Where a sink begins.
struct Begin {
    position: Position,
    /// The record before it.
    last: Option<u64>,
}

impl Follower {
    /// Finds the sink's place.
    ///
    /// # Errors
    /// The cursor or the spool cannot be read.
    pub fn open(
        source: &Source,
        settings: &SinkSettings,
        format: Format,
        progress: Arc<Progress>,
    ) -> Result<Follower, SinkError> {
        let failed = |reason: String| SinkError {
            sink: settings.name.clone(),
            reason,
        };
        let folder = cursor::folder(&source.dir)
            .map_err(|error| failed(format!("the folder of cursors: {error}")))?;
        let path = path(&folder, &settings.name);
        let begin = begin(source, settings, &path).map_err(|error| failed(error.to_string()))?;
        let seq = begin.last.unwrap_or(0);
        progress.seq.store(seq, Ordering::Relaxed);
        progress
            .segment
            .store(begin.position.segment, Ordering::Relaxed);
        Ok(Follower {
            reader: reader(source, begin.position),
            source: source.clone(),
            sink: settings.name.clone(),
            format,
            events: settings.events.clone(),
            last: begin.last,
            suspect: None,
            progress,
        })
    }

    /// Whether there is something that was not read.
    pub fn is_behind(&self) -> bool {
        self.last.unwrap_or(0) < self.source.upto.load(Ordering::Acquire)
    }

    /// Reads on until the batch is full or there is no more for now. Whether there may be more at once.
    pub fn fill(&mut self, batch: &mut Batch, records: usize, bytes: u64) -> bool {
        for _ in 0..GO {
            if batch.messages().len() >= records || batch.bytes() >= bytes {
                return false;
            }
            match self.step(batch) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    if !self.get_over(&error) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Reads one record; `false` where there is none.
    fn step(&mut self, batch: &mut Batch) -> Result<bool, ReadError> {
        let Some(line) = self.reader.next()? else {
            return Ok(false);
        };
        let length = line.bytes.len() as u64 + 1;
        let place = Place {
            seq: line.link.seq,
            hash: line.link.hash,
            record: Position {
                segment: line.next.segment,
                offset: line.next.offset.saturating_sub(length),
            },
            next: line.next,
        };
        let entry = line.entry().unwrap_or_else(|error| {
            let (sink, seq) = (&self.sink, place.seq);
            tracing::error!(sink, seq, %error, "an audit record is of a kind that this pgveil does not know");
            unknown(place.seq)
        });
        let is_wanted = match &self.events {
            Some(events) => events.contains(&entry.event),
            None => true,
        };
        if is_wanted {
            let id = format!("{}-{}", self.source.chain, place.seq);
            let recorded = Recorded {
                id: &id,
                entry: &entry,
                line: line.bytes,
            };
            batch.push(Message {
                body: render(self.format, &recorded),
                line: line.bytes.to_vec(),
                id,
                place,
                entry,
            });
        } else {
            batch.pass_over(place);
        }
        self.suspect = None;
        self.follow(place.seq);
        Ok(true)
    }

    /// Notes a record, and those that should have come before it.
    fn follow(&mut self, seq: u64) {
        if let Some(last) = self.last {
            let missing = seq.saturating_sub(last).saturating_sub(1);
            let sink = &self.sink;
            if missing > 0 {
                add(&self.progress.missing, missing);
                tracing::error!(
                    sink,
                    from = last + 1,
                    to = seq - 1,
                    "audit records are not there and were not delivered"
                );
            } else if seq <= last {
                tracing::error!(sink, seq, last, "an audit record stands in the wrong place");
            }
        }
        self.last = Some(self.last.unwrap_or(0).max(seq));
    }

    /// Goes on after an error; `false` where it is better to wait.
    fn get_over(&mut self, error: &ReadError) -> bool {
        let sink = &self.sink;
        match error {
            ReadError::Removed { first, .. } => {
                tracing::error!(sink, %error, "a sink goes on with the oldest audit segment");
                let position = Position {
                    segment: *first,
                    offset: 0,
                };
                self.reader = reader(&self.source, position);
                true
            }
            // What is written anew after a failed write may look damaged in the middle of it, and not a moment later.
            ReadError::Damaged { .. } if self.suspect != Some(self.reader.position()) => {
                self.suspect = Some(self.reader.position());
                false
            }
            ReadError::Damaged { .. } => {
                tracing::error!(sink, %error, "a damaged audit record is passed over");
                match self.reader.pass_over() {
                    Ok(passed) => passed,
                    Err(error) => {
                        tracing::error!(sink, %error, "the audit record cannot be read");
                        false
                    }
                }
            }
            ReadError::Io { .. } => {
                tracing::error!(sink, %error, "the audit record cannot be read");
                false
            }
        }
    }
}

/// Of a line that cannot be understood.
fn unknown(seq: u64) -> Entry {
    Entry {
        seq,
        event: "unknown".to_owned(),
        time: "1970-01-01T00:00:00.000000Z".to_owned(),
        message: Some("a record of a kind that this pgveil does not know".to_owned()),
        ..Entry::default()
    }
}

pub fn path(folder: &Path, sink: &str) -> PathBuf {
    folder.join(format!("{sink}.json"))
}

fn reader(source: &Source, position: Position) -> Reader {
    Reader::new(&source.dir, position).up_to(Arc::clone(&source.upto))
}

fn begin(source: &Source, settings: &SinkSettings, path: &Path) -> Result<Begin, ReadError> {
    let sink = &settings.name;
    let oldest = || -> Result<Begin, ReadError> {
        let position = Reader::from_start(&source.dir)?.position();
        Ok(Begin {
            position,
            last: None,
        })
    };
    let cursor = match Cursor::load(path) {
        Ok(Some(cursor)) => cursor,
        Ok(None) => match settings.start {
            SinkStart::Oldest => return oldest(),
            SinkStart::Now => return now(source, path),
        },
        Err(error) => {
            tracing::error!(sink, %error, "the cursor of a sink cannot be read; all records are delivered again");
            return oldest();
        }
    };
    if cursor.chain != source.chain {
        tracing::error!(
            sink,
            was = cursor.chain,
            is = source.chain,
            "the cursor of a sink is of another audit chain; this one is delivered from its beginning"
        );
        return oldest();
    }
    match Reader::new(&source.dir, cursor.record).next() {
        Ok(Some(line))
            if line.link.seq == cursor.seq && line.link.hash.to_string() == cursor.hash => {}
        // What was before the cursor went as it should; where what comes next is gone too, the reader finds out.
        Err(ReadError::Removed { .. }) => {}
        _ => {
            tracing::error!(
                sink,
                seq = cursor.seq,
                "the audit record that a sink was given last is not where it was; all records are delivered again"
            );
            return oldest();
        }
    }
    Ok(Begin {
        position: cursor.position,
        last: Some(cursor.seq),
    })
}

/// The place after the last record there is, kept at once: what comes while nobody listens is not forgotten.
fn now(source: &Source, path: &Path) -> Result<Begin, ReadError> {
    let start = Position {
        segment: source.segment,
        offset: 0,
    };
    // A sink may come long after the others began: with other settings.
    let head = source.upto.load(Ordering::Acquire).max(source.head.seq);
    let mut reader = Reader::new(&source.dir, start);
    let mut last = None;
    loop {
        let line = match reader.next() {
            Ok(Some(line)) if line.link.seq <= head => line,
            Ok(_) => break,
            // The segment of the beginning is gone by now.
            Err(ReadError::Removed { .. }) if last.is_none() => {
                reader = Reader::from_start(&source.dir)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let length = line.bytes.len() as u64 + 1;
        last = Some(Cursor {
            chain: source.chain.clone(),
            seq: line.link.seq,
            hash: line.link.hash.to_string(),
            record: Position {
                segment: line.next.segment,
                offset: line.next.offset.saturating_sub(length),
            },
            position: line.next,
        });
    }
    let Some(cursor) = last else {
        return Ok(Begin {
            position: start,
            last: None,
        });
    };
    cursor.store(path).map_err(|error| ReadError::Io {
        path: path.to_owned(),
        source: error,
    })?;
    Ok(Begin {
        position: cursor.position,
        last: Some(cursor.seq),
    })
}
