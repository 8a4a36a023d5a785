//! Telling approvers what happens to export requests, by signed webhook and by mail.
//!
//! The desk keeps with each request how many of its steps were told; a worker sends those that were not, oldest first, and
//! marks them once every channel has taken them. So a step is told at least once, whatever dies in between, and a
//! receiver that is away delays nobody: [`super::Desk`] never waits for the worker. What was delivered on one channel and
//! not on the other is remembered in memory; after a restart it may come again, under the same delivery identifier.
mod mail;
pub mod message;
mod webhook;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use self::mail::Mail;
use self::message::Notice;
use self::webhook::Webhook;
use self::worker::Worker;
use super::desk::Desk;
use crate::config::NotifySettings;

/// Why approvers cannot be told at all: found at the start.
#[derive(Debug, Clone, thiserror::Error)]
#[error("notify.{channel}: {reason}")]
pub struct NotifyError {
    pub channel: &'static str,
    pub reason: String,
}

/// How fast a worker tries.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between the first attempts at what failed; doubled each time, up to `last`.
    pub first: Duration,
    pub last: Duration,
    /// Between two looks for what other proxies have done.
    pub look: Duration,
    /// The longest that one delivery may take.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            first: Duration::from_secs(1),
            last: Duration::from_secs(300),
            look: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
        }
    }
}

/// What a channel has done since the start.
#[derive(Debug, Default)]
pub struct Deliveries {
    pub sent: AtomicU64,
    /// Attempts that failed and are made again.
    pub failed: AtomicU64,
}

/// What a worker has done, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    pub webhook: Deliveries,
    pub mail: Deliveries,
    /// Steps given up: of requests that ended more than a week ago.
    pub dropped: AtomicU64,
    /// Steps that approvers have not been told of.
    pub pending: AtomicU64,
    /// How long the oldest of these waits: seconds.
    pub oldest: AtomicU64,
}

/// A worker that runs until this value goes.
#[derive(Debug)]
pub struct Notifier {
    pub counters: Arc<Counters>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts telling approvers.
///
/// # Errors
/// A certificate authority file cannot be used.
pub fn start(desk: Arc<Desk>, settings: &NotifySettings) -> Result<Notifier, NotifyError> {
    start_at(desk, settings, Pace::default())
}

/// [`start`] at another pace.
///
/// # Errors
/// As [`start`].
pub fn start_at(
    desk: Arc<Desk>,
    settings: &NotifySettings,
    pace: Pace,
) -> Result<Notifier, NotifyError> {
    let mut channels = Vec::new();
    if let Some(webhook) = &settings.webhook {
        channels.push(Channel::Webhook(Webhook::new(webhook, pace.timeout)?));
    }
    if let Some(smtp) = &settings.smtp {
        channels.push(Channel::Mail(Box::new(Mail::new(smtp, pace.timeout)?)));
    }
    let counters = Arc::new(Counters::default());
    let worker = Worker::new(
        desk,
        channels,
        message::Writer {
            console_url: settings.console_url.clone(),
            language: settings.language,
        },
        pace,
        Arc::clone(&counters),
    );
    Ok(Notifier {
        counters,
        task: tokio::spawn(worker.run()),
    })
}

/// Why a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// The other side does not want this one; others may pass.
    Refused(String),
    /// The other side is away or broken.
    Unreachable(String),
}

enum Channel {
    Webhook(Webhook),
    Mail(Box<Mail>),
}

impl Channel {
    async fn send(&self, notice: &Notice) -> Result<(), Failure> {
        match self {
            Channel::Webhook(webhook) => webhook.send(notice).await,
            Channel::Mail(mail) => mail.send(notice).await,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Channel::Webhook(_) => "webhook",
            Channel::Mail(_) => "mail",
        }
    }

    fn count<'c>(&self, counters: &'c Counters) -> &'c Deliveries {
        match self {
            Channel::Webhook(_) => &counters.webhook,
            Channel::Mail(_) => &counters.mail,
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
