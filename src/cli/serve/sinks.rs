//! The sinks of the audit record: started with the spool, counted while the proxy runs.
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::super::CliError;
use super::journal::Journal;
use crate::audit::sink::{Pace, Sinks, Source};
use crate::config::Settings;

/// How often what they did is counted for scrapers.
const COUNT: Duration = Duration::from_secs(1);
/// What the last records get at the end.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What a batch that is under way gets when another process goes on from its cursor.
pub(super) const BATCH_GRACE: Duration = Duration::from_secs(1);

/// Starts the sinks that the settings name.
pub(super) fn start(settings: &Settings, journal: &Journal) -> Result<Arc<Sinks>, CliError> {
    let source = Source::of(&journal.spool);
    let sinks = Sinks::start(source, &settings.audit.sinks, Pace::default());
    let sinks = sinks.map_err(|error| CliError::Configuration(error.to_string()))?;
    let sinks = Arc::new(sinks);
    tokio::spawn(keep_counted(Arc::clone(&sinks), journal.clone()));
    Ok(sinks)
}

async fn keep_counted(sinks: Arc<Sinks>, journal: Journal) {
    let mut ticks = interval(COUNT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = BTreeSet::new();
    loop {
        ticks.tick().await;
        let statuses = sinks.statuses();
        for status in &statuses {
            journal.metrics.audit_sink(status);
        }
        let names: BTreeSet<String> = statuses.into_iter().map(|status| status.name).collect();
        for gone in known.difference(&names) {
            journal.metrics.audit_sink_gone(gone);
        }
        known = names;
    }
}
