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

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

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
    sinks: Vec<Sink>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Sink {
    name: String,
    progress: Arc<Progress>,
    task: JoinHandle<()>,
    /// Closed when the worker has ended.
    ended: watch::Receiver<()>,
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
        let (stop, stopping) = watch::channel(false);
        let mut workers = Vec::new();
        for settings in settings {
            let progress = Arc::new(Progress::default());
            let follower = Follower::open(
                &source,
                settings,
                format(settings.format),
                Arc::clone(&progress),
            )?;
            workers.push(Worker {
                follower: Some(follower),
                target: Target::new(settings)?,
                chain: source.chain.clone(),
                pace,
                progress,
                path: follow::path(&source.dir.join(cursor::FOLDER), &settings.name),
                stop: stopping.clone(),
                settings: settings.clone(),
            });
        }
        let sinks = workers.into_iter().map(|worker| {
            let (running, ended) = watch::channel(());
            Sink {
                name: worker.settings.name.clone(),
                progress: Arc::clone(&worker.progress),
                task: tokio::spawn(async move {
                    let _running = running;
                    worker.run().await;
                }),
                ended,
            }
        });
        Ok(Sinks {
            sinks: sinks.collect(),
            source,
            stop,
        })
    }

    /// How far each sink is.
    pub fn statuses(&self) -> Vec<Status> {
        let (head, now) = (self.source.upto.load(Ordering::Acquire), SystemTime::now());
        let status = |sink: &Sink| sink.progress.status(&sink.name, head, now);
        self.sinks.iter().map(status).collect()
    }

    /// Number of the oldest segment that a sink still needs: for [`super::retention::keep`]. Beyond every number where
    /// there are no sinks.
    pub fn oldest_needed(&self) -> u64 {
        let segment = |sink: &Sink| sink.progress.segment.load(Ordering::Relaxed);
        self.sinks.iter().map(segment).min().unwrap_or(u64::MAX)
    }

    /// Lets every sink deliver what it can within that time, and ends them. What is not delivered then is after the next
    /// start.
    pub async fn stop(&self, grace: Duration) {
        self.stop.send_replace(true);
        let end = tokio::time::Instant::now() + grace;
        for sink in &self.sinks {
            let mut ended = sink.ended.clone();
            // The sender is the worker's: it goes when that ends.
            let wait = async { while ended.changed().await.is_ok() {} };
            if tokio::time::timeout_at(end, wait).await.is_err() {
                let name = &sink.name;
                tracing::warn!(sink = name, "a sink did not get all audit records in time");
            }
            sink.task.abort();
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        for sink in &self.sinks {
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
