//! Where records go beyond the spool. Each sink has a worker of its own that follows the spool from its own cursor: a
//! sink that is dead, slow or answers rubbish delays neither statements nor other sinks, and is delivered what it missed
//! once it is back. Every record is delivered at least once, under an identifier that is the same for every attempt.
//!
//! * [`follow`], [`cursor`]: the way along the spool, and how far it is.
//! * [`batch`], [`worker`], [`pace`]: what is sent at once, and when again.
//! * [`target`]: the types of sinks: [`lines`], [`syslog`], [`web`], [`nats`], [`otlp`], `kafka`.
//! * [`progress`]: what others see of it.
pub mod batch;
pub mod cursor;
mod follow;
#[cfg(feature = "kafka")]
mod kafka;
mod lines;
mod nats;
mod otlp;
mod pace;
mod progress;
mod syslog;
mod target;
mod tls;
mod web;
mod worker;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::follow::Source;
pub use self::pace::Pace;
pub use self::progress::{Progress, Status};

use self::follow::Follower;
use self::target::Target;
use self::worker::Worker;
use super::format::Format;
use crate::config::{SinkFormat, SinkSettings};

/// Why a sink cannot begin: found at the start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("audit.sinks.{sink}: {reason}")]
pub struct SinkError {
    pub sink: String,
    pub reason: String,
}

/// All sinks of a spool. They end when this goes.
#[derive(Debug)]
pub struct Sinks {
    source: Source,
    pace: Pace,
    sinks: Mutex<Vec<Sink>>,
}

#[derive(Debug)]
struct Sink {
    settings: SinkSettings,
    /// What its files held when it began.
    stamp: Vec<u8>,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    /// Closed when the worker has ended.
    ended: watch::Receiver<()>,
}

/// Other sinks, of which everything is ready that can be without ending the old ones.
pub struct Prepared {
    /// In the order of the settings; without a target where the sink stays as it is.
    sinks: Vec<(SinkSettings, Vec<u8>, Option<Target>)>,
}

impl Sinks {
    /// Starts a worker for each sink. Receivers need not be there.
    ///
    /// # Errors
    /// A certificate authority file or a cursor cannot be used.
    pub fn start(
        source: Source,
        settings: &[SinkSettings],
        pace: Pace,
    ) -> Result<Sinks, SinkError> {
        let sinks = Sinks {
            source,
            pace,
            sinks: Mutex::default(),
        };
        let mut begun = Vec::new();
        for settings in settings {
            let target = Target::new(settings)?;
            begun.push(sinks.worker(settings, target)?);
        }
        let started = begun.into_iter().map(start).collect();
        *sinks.lock() = started;
        Ok(sinks)
    }

    fn worker(&self, settings: &SinkSettings, target: Target) -> Result<Begun, SinkError> {
        let progress = Arc::new(Progress::default());
        let follower = Follower::open(
            &self.source,
            settings,
            format(settings.format),
            Arc::clone(&progress),
        )?;
        let (stop, stopping) = watch::channel(false);
        let worker = Worker {
            follower: Some(follower),
            target,
            chain: self.source.chain.clone(),
            pace: self.pace,
            progress,
            path: follow::path(&self.source.dir.join(cursor::FOLDER), &settings.name),
            stop: stopping,
            settings: settings.clone(),
        };
        Ok((worker, stop, stamp(settings)))
    }

    /// Gets other sinks ready; nothing changes yet. A sink whose settings and files are as they were stays as it is.
    ///
    /// # Errors
    /// A file that the settings name cannot be used.
    pub fn prepare(&self, settings: &[SinkSettings]) -> Result<Prepared, SinkError> {
        let mut sinks = Vec::new();
        for settings in settings {
            let stamp = stamp(settings);
            let stays = self.lock().iter().any(|sink| {
                sink.settings == *settings && sink.stamp == stamp && !sink.task.is_finished()
            });
            let target = match stays {
                true => None,
                false => Some(Target::new(settings)?),
            };
            sinks.push((settings.clone(), stamp, target));
        }
        Ok(Prepared { sinks })
    }

    /// Ends the sinks that are not among the others, or are among them with a change, and starts those that are new. Each
    /// goes on from its cursor; that of a sink that went stays where it is.
    ///
    /// # Errors
    /// The cursor of a sink cannot be used: it is not there then. The others are.
    pub async fn take(&self, prepared: Prepared, grace: Duration) -> Result<(), SinkError> {
        let stays = |sink: &Sink| {
            let same = |(settings, _, target): &(SinkSettings, Vec<u8>, Option<Target>)| {
                target.is_none() && settings.name == sink.settings.name
            };
            prepared.sinks.iter().any(same)
        };
        let (kept, leaving): (Vec<Sink>, Vec<Sink>) = std::mem::take(&mut *self.lock())
            .into_iter()
            .partition(stays);
        end(&leaving, grace).await;
        let mut kept: HashMap<String, Sink> = kept
            .into_iter()
            .map(|sink| (sink.settings.name.clone(), sink))
            .collect();
        let mut result = Ok(());
        for (settings, _, target) in prepared.sinks {
            let sink = match target {
                None => kept.remove(&settings.name),
                Some(target) => match self.worker(&settings, target) {
                    Ok(begun) => Some(start(begun)),
                    Err(error) => {
                        result = Err(error);
                        None
                    }
                },
            };
            self.lock().extend(sink);
        }
        result
    }

    /// How far each sink is.
    pub fn statuses(&self) -> Vec<Status> {
        let (head, now) = (self.source.upto.load(Ordering::Acquire), SystemTime::now());
        let status = |sink: &Sink| sink.progress.status(&sink.settings.name, head, now);
        self.lock().iter().map(status).collect()
    }

    /// Number of the oldest segment that a sink still needs: for [`super::retention::keep`]. Beyond every number where
    /// there are no sinks.
    pub fn oldest_needed(&self) -> u64 {
        let segment = |sink: &Sink| sink.progress.segment.load(Ordering::Relaxed);
        self.lock().iter().map(segment).min().unwrap_or(u64::MAX)
    }

    /// Lets every sink deliver what it can within that time, and ends them. What is not delivered then is after the next
    /// start.
    pub async fn stop(&self, grace: Duration) {
        let sinks = std::mem::take(&mut *self.lock());
        end(&sinks, grace).await;
        // They are still asked how far they are.
        self.lock().extend(sinks);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Sink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that does not run yet, what stops it, and what its files hold.
type Begun = (Worker, watch::Sender<bool>, Vec<u8>);

fn start((worker, stop, stamp): Begun) -> Sink {
    let (running, ended) = watch::channel(());
    Sink {
        settings: worker.settings.clone(),
        stamp,
        progress: Arc::clone(&worker.progress),
        task: tokio::spawn(async move {
            let _running = running;
            worker.run().await;
        }),
        stop,
        ended,
    }
}

async fn end(sinks: &[Sink], grace: Duration) {
    for sink in sinks {
        sink.stop.send_replace(true);
    }
    let end = tokio::time::Instant::now() + grace;
    for sink in sinks {
        let mut ended = sink.ended.clone();
        // The sender is the worker's: it goes when that ends.
        let wait = async { while ended.changed().await.is_ok() {} };
        if tokio::time::timeout_at(end, wait).await.is_err() {
            let name = &sink.settings.name;
            tracing::warn!(sink = name, "a sink did not get all audit records in time");
        }
        sink.task.abort();
        // Two workers of one cursor are one too many.
        let mut ended = sink.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

/// What tells files apart from what they were.
fn stamp(settings: &SinkSettings) -> Vec<u8> {
    let mut digest = Sha256::new();
    for path in settings.files() {
        // One that cannot be read is found out by who uses it.
        let content = std::fs::read(path).unwrap_or_default();
        digest.update((content.len() as u64).to_be_bytes());
        digest.update(content);
    }
    digest.finalize().to_vec()
}

impl Drop for Sinks {
    fn drop(&mut self) {
        for sink in self.lock().iter() {
            sink.task.abort();
        }
    }
}

fn format(format: SinkFormat) -> Format {
    match format {
        SinkFormat::Json => Format::Json,
        SinkFormat::Ocsf => Format::Ocsf,
        SinkFormat::Ecs => Format::Ecs,
        SinkFormat::Cef => Format::Cef,
    }
}
