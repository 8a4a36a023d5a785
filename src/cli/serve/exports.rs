//! The desk of exports: opened before the first session, kept in order while the proxy runs.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::super::CliError;
use super::journal::Journal;
use crate::admin::Metrics;
use crate::audit::Record;
use crate::config::Settings;
use crate::export::desk::RecordFn;
use crate::export::store;
use crate::export::{Desk, DeskError};

/// How often what has run out is given back and brought on record.
const SETTLE: Duration = Duration::from_secs(30);

/// Opens the state and the desk over it.
pub(super) async fn open_desk(
    settings: &Settings,
    journal: &Journal,
    version: &str,
) -> Result<Desk, CliError> {
    let store = store::open(&settings.state).await.map_err(state)?;
    let writer = journal.clone();
    let record: RecordFn =
        Arc::new(move |record: &Record| writer.write(record).map_err(|error| error.to_string()));
    let desk = Desk::new(store, record, version).await.map_err(state)?;
    desk.catch_up().await.map_err(state)?;
    Ok(desk)
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
            desk.catch_up().await?;
            Ok::<_, DeskError>(())
        };
        match settled.await {
            Ok(()) => metrics.state_available(true),
            Err(error) => {
                metrics.state_available(false);
                tracing::error!(%error, "the state of exports cannot be kept in order");
            }
        }
    }
}
