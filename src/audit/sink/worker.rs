//! One sink's worker: reads, sends, tries again, and only then moves the cursor.
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::batch::{Batch, Message, Place};
use super::cursor::Cursor;
use super::follow::Follower;
use super::pace::{Pace, Retry};
use super::progress::{Progress, add};
use super::target::{Delivered, Failure, Target};
use crate::config::SinkSettings;

pub struct Worker {
    pub settings: SinkSettings,
    pub chain: String,
    /// Away while it reads.
    pub follower: Option<Follower>,
    pub target: Target,
    pub pace: Pace,
    pub progress: Arc<Progress>,
    /// The cursor's file.
    pub path: PathBuf,
    pub stop: watch::Receiver<bool>,
}

/// The cursor, and how much of it is on the disk.
#[derive(Default)]
struct Stored {
    /// Not stored yet.
    waiting: Option<Place>,
    at: Option<Instant>,
}

impl Worker {
    /// Works until it is told to stop, and then once more.
    pub async fn run(mut self) {
        let mut batch = Batch::default();
        let mut retry = Retry::default();
        let mut stored = Stored::default();
        // Less than the settings say while the receiver finds batches too large.
        let mut most = self.settings.batch.records;
        loop {
            let stopping = *self.stop.borrow();
            let more = self.fill(&mut batch).await;
            if !self.is_due(&batch, stopping && !more) {
                if batch.is_empty()
                    && let Some(place) = batch.delivered(0)
                {
                    self.advance(&mut stored, place);
                }
                self.store(&mut stored, !more).await;
                if more {
                    continue;
                }
                if stopping {
                    return;
                }
                self.pause(self.pace.look).await;
                continue;
            }
            let count = batch.messages().len().min(most);
            let messages = batch.messages().get(..count).unwrap_or_default();
            match self.deliver(messages).await {
                Ok(()) => {
                    retry.reset();
                    most = most.saturating_mul(2).min(self.settings.batch.records);
                    self.taken(&mut batch, &mut stored, count);
                    self.store(&mut stored, false).await;
                }
                Err(failure) => {
                    add(&self.progress.failures, 1);
                    self.taken(&mut batch, &mut stored, failure.taken);
                    let wait = retry.wait(&self.pace).max(failure.wait.unwrap_or_default());
                    let (sink, reason) = (&self.settings.name, &failure.reason);
                    tracing::warn!(sink, reason, ?wait, "audit records are not delivered yet");
                    self.store(&mut stored, true).await;
                    if stopping {
                        return;
                    }
                    if failure.divide && count > 1 {
                        most = count / 2;
                    } else {
                        self.pause(wait).await;
                    }
                }
            }
        }
    }

    /// Reads on; whether there is more to be read at once.
    async fn fill(&mut self, batch: &mut Batch) -> bool {
        let Some(mut follower) = self.follower.take() else {
            return false;
        };
        let limits = self.settings.batch;
        let is_full = batch.messages().len() >= limits.records || batch.bytes() >= limits.bytes;
        if is_full || !follower.is_behind() {
            self.follower = Some(follower);
            return is_full;
        }
        let mut reading = std::mem::take(batch);
        let read = tokio::task::spawn_blocking(move || {
            let more = follower.fill(&mut reading, limits.records, limits.bytes);
            (follower, reading, more)
        });
        match read.await {
            Ok((follower, read, more)) => {
                self.follower = Some(follower);
                *batch = read;
                let first = batch.messages().first();
                self.progress
                    .waits_since(first.map(|message| message.entry.time.as_str()));
                more
            }
            Err(error) => {
                let sink = &self.settings.name;
                tracing::error!(sink, %error, "a sink ended; it goes on with the next start");
                false
            }
        }
    }

    fn is_due(&self, batch: &Batch, now: bool) -> bool {
        let limits = self.settings.batch;
        match batch.since() {
            None => false,
            Some(since) => {
                batch.messages().len() >= limits.records
                    || batch.bytes() >= limits.bytes
                    || now
                    || since.elapsed() >= limits.age
            }
        }
    }

    async fn deliver(&mut self, messages: &[Message]) -> Result<(), Failure> {
        let limit = self.settings.timeout;
        let delivered = match timeout(limit, self.target.deliver(messages)).await {
            Ok(delivered) => delivered?,
            Err(_) => return Err(Failure::new("no answer in time")),
        };
        self.set_aside(messages, &delivered).await
    }

    /// Keeps what the receiver will never have: it is told, counted, and not lost.
    async fn set_aside(
        &mut self,
        messages: &[Message],
        delivered: &Delivered,
    ) -> Result<(), Failure> {
        if delivered.rejected.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for (index, reason) in &delivered.rejected {
            let Some(message) = messages.get(*index) else {
                continue;
            };
            let (sink, id) = (&self.settings.name, &message.id);
            tracing::error!(
                sink,
                id,
                reason,
                "the receiver will not have an audit record"
            );
            lines.extend_from_slice(&message.line);
            lines.push(b'\n');
        }
        let path = self.path.with_extension("rejected.jsonl");
        let written = tokio::task::spawn_blocking(move || append(&path, &lines)).await;
        let failed = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = failed {
            return Err(Failure::new(format!(
                "a rejected record cannot be set aside: {reason}"
            )));
        }
        add(&self.progress.rejected, delivered.rejected.len() as u64);
        Ok(())
    }

    fn taken(&self, batch: &mut Batch, stored: &mut Stored, count: usize) {
        if count == 0 {
            return;
        }
        add(&self.progress.delivered, count as u64);
        if let Some(place) = batch.delivered(count) {
            self.advance(stored, place);
        }
        let first = batch.messages().first();
        self.progress
            .waits_since(first.map(|message| message.entry.time.as_str()));
    }

    fn advance(&self, stored: &mut Stored, place: Place) {
        self.progress.seq.store(place.seq, Ordering::Relaxed);
        stored.waiting = Some(place);
    }

    /// Stores the cursor, where that is due or has to be.
    async fn store(&mut self, stored: &mut Stored, now: bool) {
        let Some(place) = stored.waiting else { return };
        let is_due = stored.at.is_none_or(|at| at.elapsed() >= self.pace.store);
        if !now && !is_due {
            return;
        }
        let cursor = Cursor {
            chain: self.chain.clone(),
            seq: place.seq,
            hash: place.hash.to_string(),
            record: place.record,
            position: place.next,
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || cursor.store(&path)).await;
        stored.at = Some(Instant::now());
        match written {
            Ok(Ok(())) => {
                stored.waiting = None;
                // Not before it is stored: after a restart the sink begins there.
                self.progress
                    .segment
                    .store(place.next.segment, Ordering::Relaxed);
            }
            Ok(Err(error)) => {
                let sink = &self.settings.name;
                tracing::error!(sink, %error, "the cursor of a sink cannot be stored");
            }
            Err(error) => tracing::error!(%error, "the cursor of a sink cannot be stored"),
        }
    }

    /// Waits, unless it is told to stop.
    async fn pause(&mut self, wait: Duration) {
        if *self.stop.borrow() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = self.stop.changed() => {}
        }
    }
}

fn append(path: &Path, lines: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(lines)?;
    file.sync_data()
}
