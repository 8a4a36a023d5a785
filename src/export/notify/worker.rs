//! The worker: looks for steps that nobody was told of, and tells them.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Writer;
use super::{Channel, Counters, Failure, Pace, add};
use crate::export::desk::Desk;
use crate::export::request::Request;
use crate::export::store::{Document, Put, Seconds, StoreError};

/// Requests that are looked at in one round; others come when these are told.
const MAX_REQUESTS: usize = 5000;
/// How long a channel may send while others wait.
const TURN: Duration = Duration::from_secs(15);
/// Steps of requests that ended so long ago are not told any more: seconds.
const TOO_LATE: Seconds = 7 * 24 * 3600;
/// After so many missed looks the worker of another proxy takes over.
const MISSED: f64 = 3.0;
const KIND: &str = "notify";

/// When something that failed is tried again.
#[derive(Debug, Clone, Copy, Default)]
struct Retry {
    attempts: u32,
    not_before: Option<Instant>,
}

impl Retry {
    fn is_due(self, now: Instant) -> bool {
        self.not_before.is_none_or(|moment| now >= moment)
    }

    /// Doubles the wait, give or take a half: proxies and requests do not try in step.
    fn fail(&mut self, pace: &Pace) {
        let doubled = pace.first.saturating_mul(1 << self.attempts.min(16));
        let wait = doubled.min(pace.last).mul_f64(0.5 + chance());
        self.attempts = self.attempts.saturating_add(1);
        self.not_before = Some(Instant::now() + wait);
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness everybody waits for as long.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}

/// How far one request is on one channel.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    told: usize,
    retry: Retry,
}

pub struct Worker {
    desk: Arc<Desk>,
    channels: Vec<(Channel, Retry)>,
    /// By request: how far it is on each channel.
    progress: HashMap<String, Vec<Progress>>,
    writer: Writer,
    pace: Pace,
    counters: Arc<Counters>,
    /// Names this worker to those of other proxies.
    name: String,
}

impl Worker {
    pub fn new(
        desk: Arc<Desk>,
        channels: Vec<Channel>,
        writer: Writer,
        pace: Pace,
        counters: Arc<Counters>,
    ) -> Self {
        let mut name = [0; 8];
        let _ = getrandom::fill(&mut name);
        Worker {
            desk,
            channels: channels
                .into_iter()
                .map(|channel| (channel, Retry::default()))
                .collect(),
            progress: HashMap::new(),
            writer,
            pace,
            counters,
            name: format!("{:016x}", u64::from_ne_bytes(name)),
        }
    }

    pub async fn run(mut self) {
        let mut changes = self.desk.changes();
        let mut store = Retry::default();
        loop {
            changes.mark_unchanged();
            let next = match self.round().await {
                Ok(more) => {
                    store = Retry::default();
                    if more {
                        Some(Instant::now())
                    } else {
                        self.next()
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "approvers cannot be told");
                    store.fail(&self.pace);
                    store.not_before
                }
            };
            let look = Instant::now() + self.pace.look;
            let wake = next.map_or(look, |next| next.min(look));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                changed = changes.changed(), if store.attempts == 0 => if changed.is_err() { return },
            }
        }
    }

    /// The next moment at which something is due that failed.
    fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        let channels = self.channels.iter().map(|(_, retry)| retry.not_before);
        let requests = self
            .progress
            .values()
            .flatten()
            .map(|progress| progress.retry.not_before);
        let moments = channels.chain(requests).flatten();
        moments.filter(|moment| *moment > now).min()
    }

    /// Whether there is more to send at once.
    async fn round(&mut self) -> Result<bool, StoreError> {
        let untold = self.desk.untold(MAX_REQUESTS).await?;
        self.measure(&untold);
        let open: HashSet<&str> = untold.iter().map(|request| request.id.as_str()).collect();
        self.progress.retain(|id, _| open.contains(id.as_str()));
        if untold.is_empty() || !self.leads().await? {
            return Ok(false);
        }
        let now = self.desk.now();
        let (late, untold): (Vec<Request>, Vec<Request>) =
            untold.into_iter().partition(|request| {
                let last = request.history.last().map_or(0, |step| step.at);
                request.state.has_ended() && now.saturating_sub(last) > TOO_LATE
            });
        for request in late {
            let steps = request.history.len();
            self.desk.told(&request.id, steps).await?;
            let given_up = steps.saturating_sub(request.notified);
            add(&self.counters.dropped, given_up as u64);
            tracing::warn!(
                request = request.id,
                steps = given_up,
                "too late to tell approvers"
            );
        }
        let mut more = false;
        for index in 0..self.channels.len() {
            if !self.leads().await? {
                return Ok(false);
            }
            more |= self.turn(index, &untold).await?;
        }
        let left = self.desk.untold(MAX_REQUESTS).await?;
        self.measure(&left);
        Ok(more)
    }

    /// One channel's turn; whether it had to end before all was sent.
    async fn turn(&mut self, index: usize, untold: &[Request]) -> Result<bool, StoreError> {
        let until = Instant::now() + TURN;
        let count = self.channels.len();
        for request in untold {
            let Some((channel, retry)) = self.channels.get_mut(index) else {
                return Ok(false);
            };
            if !retry.is_due(Instant::now()) {
                return Ok(false);
            }
            if Instant::now() >= until {
                return Ok(true);
            }
            let start = Progress {
                told: request.notified,
                retry: Retry::default(),
            };
            let all = self
                .progress
                .entry(request.id.clone())
                .or_insert_with(|| vec![start; count]);
            let Some(progress) = all.get_mut(index) else {
                return Ok(false);
            };
            let before = progress.told.max(request.notified);
            progress.told = before;
            while progress.told < request.history.len() && progress.retry.is_due(Instant::now()) {
                let notice = self.writer.notice(request, progress.told);
                match channel.send(&notice).await {
                    Ok(()) => {
                        progress.told += 1;
                        progress.retry = Retry::default();
                        *retry = Retry::default();
                        add(&channel.count(&self.counters).sent, 1);
                    }
                    Err(failure) => {
                        add(&channel.count(&self.counters).failed, 1);
                        let reason = match failure {
                            Failure::Refused(reason) => {
                                progress.retry.fail(&self.pace);
                                reason
                            }
                            Failure::Unreachable(reason) => {
                                retry.fail(&self.pace);
                                reason
                            }
                        };
                        let (channel, delivery) = (channel.name(), &notice.delivery);
                        tracing::warn!(channel, delivery, reason, "approvers were not told yet");
                        break;
                    }
                }
            }
            let told = all.iter().map(|progress| progress.told).min();
            if let Some(told) = told.filter(|told| *told > request.notified) {
                self.desk.told(&request.id, told).await?;
            }
        }
        Ok(false)
    }

    fn measure(&self, untold: &[Request]) {
        let steps = untold.iter().map(|request| {
            let untold = request.history.len().saturating_sub(request.notified);
            untold as u64
        });
        self.counters.pending.store(steps.sum(), Ordering::Relaxed);
        let oldest = untold
            .iter()
            .filter_map(|request| request.history.get(request.notified))
            .map(|step| self.desk.now().saturating_sub(step.at))
            .max();
        let oldest = u64::try_from(oldest.unwrap_or(0)).unwrap_or(0);
        self.counters.oldest.store(oldest, Ordering::Relaxed);
    }

    /// Whether it is this worker that tells: of several proxies over one store one does.
    async fn leads(&self) -> Result<bool, StoreError> {
        let (store, now) = (self.desk.store(), self.desk.now());
        // Whole seconds, at least one; longer than a turn of everybody here.
        let turns = TURN.min(self.pace.timeout * 2).as_secs_f64();
        let holds = (MISSED * self.pace.look.as_secs_f64()).max(turns).ceil() as Seconds;
        let lead = store.get(KIND, "lead", now).await?;
        let revision = match &lead {
            None => 0,
            Some(lead) if lead.body != self.name => return Ok(false),
            Some(lead) if lead.expires.is_none_or(|end| end - now > holds / 2) => return Ok(true),
            Some(lead) => lead.revision,
        };
        let lead = Document {
            kind: KIND,
            key: "lead".to_owned(),
            revision,
            label: String::new(),
            claim: None,
            body: self.name.clone(),
            expires: Some(now.saturating_add(holds)),
        };
        Ok(matches!(store.put(&lead, now).await?, Put::Stored(_)))
    }
}
