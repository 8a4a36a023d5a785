//! The desk of exports: opened before the first session, kept in order while the proxy runs.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::super::CliError;
use super::journal::Journal;
use crate::admin::Metrics;
use crate::config::Settings;
use crate::export::desk::Waiting;
use crate::export::notify::{self, Counters, Notifier};
use crate::export::{Desk, DeskError, store};

/// How often what has run out is given back and brought on record.
const SETTLE: Duration = Duration::from_secs(30);
/// How often deliveries are counted for scrapers.
const COUNT: Duration = Duration::from_secs(5);

/// Opens the state and the desk over it.
pub(super) async fn open_desk(
    settings: &Settings,
    journal: &Journal,
    version: &str,
) -> Result<Desk, CliError> {
    let store = store::open(&settings.state).await.map_err(state)?;
    let record = journal.writer();
    let desk = Desk::new(store, record, version).await.map_err(state)?;
    desk.catch_up().await.map_err(state)?;
    Ok(desk)
}

/// Starts telling approvers, where the settings say how.
pub(super) fn tell_approvers(
    settings: &Settings,
    desk: &Arc<Desk>,
) -> Result<Option<Notifier>, CliError> {
    let start = |settings| notify::start(Arc::clone(desk), settings);
    let notifier = settings.notify.as_ref().map(start).transpose();
    notifier.map_err(|error| CliError::Configuration(error.to_string()))
}

/// Shows what it does, as long as it does.
pub(super) fn count(notifier: &Notifier, metrics: &Arc<Metrics>) {
    let counters = Arc::downgrade(&notifier.counters);
    tokio::spawn(keep_counted(counters, Arc::clone(metrics)));
}

fn state(error: impl std::fmt::Display) -> CliError {
    CliError::Environment(format!("state: {error}"))
}

/// Gives back leases that have run out, ends requests whose time has come, records what is missing.
pub(super) async fn keep_settled(desk: Arc<Desk>, metrics: Arc<Metrics>) {
    let mut ticks = interval(SETTLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let settled = async {
            desk.budgets.settle(false).await?;
            desk.tidy().await?;
            Ok::<_, DeskError>(desk.waiting().await?)
        };
        match settled.await {
            Ok(Waiting { count, oldest }) => {
                metrics.state_available(true);
                metrics.requests_waiting(count, oldest);
            }
            Err(error) => {
                metrics.state_available(false);
                tracing::error!(%error, "the state of exports cannot be kept in order");
            }
        }
    }
}

/// Shows what the worker that tells approvers does.
async fn keep_counted(counters: Weak<Counters>, metrics: Arc<Metrics>) {
    let mut ticks = interval(COUNT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(counters) = counters.upgrade() else {
            return;
        };
        let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
        for (channel, deliveries) in [("webhook", &counters.webhook), ("mail", &counters.mail)] {
            metrics.notifications(channel, "sent", of(&deliveries.sent));
            metrics.notifications(channel, "failed", of(&deliveries.failed));
        }
        metrics.notifications_waiting(of(&counters.pending), of(&counters.oldest));
    }
}
