//! How a process ends: its sessions first, then everything that they need.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::signals::Signals;
use super::succession::successor::{Heir, Program, Stage};
use super::supervisor::Supervisor;
use super::upgrade::{self, Over};
use super::{Running, sinks};
use crate::audit::Event;
use crate::cli::CliError;
use crate::session::drain::{Leaving, passed};
use crate::session::listener::Phase;

/// After limits.drain_timeout, in which sessions end themselves with a word to their clients, until they are cut off.
const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// Between two tries to replace a successor that has died.
const RETRY: Duration = Duration::from_secs(5);

impl Running {
    /// # Errors
    /// Another process has taken over and died, and there is none in its place.
    pub(super) async fn end(
        &mut self,
        over: Over,
        program: &Program,
        supervisor: &mut Supervisor,
        signals: &mut Signals,
    ) -> Result<(), CliError> {
        let (why, mut heir) = match over {
            Over::Signal(signal) => (signal, None),
            Over::Succeeded(heir) => ("SIGUSR2", Some(heir)),
        };
        let sessions = self.journal.metrics.sessions();
        tracing::info!(signal = why, sessions, "ending");
        let leaving = match heir {
            Some(_) => Leaving::Succeeded,
            None => {
                supervisor.stopping();
                self.readiness.draining();
                self.delay(signals).await;
                self.close_sockets();
                Leaving::Ends
            }
        };
        self.draining.send_replace(leaving);
        self.phase.send_replace(Phase::Draining);
        let limit = self.proxy.settings.load().limits.drain_timeout + DRAIN_GRACE;
        let deadline = Instant::now() + limit;
        let mut alone = None;
        let cut_off = loop {
            tokio::select! {
                ended = &mut self.sessions => break ended,
                () = signals.until_drained(&self.phase, deadline) => break (&mut self.sessions).await,
                stage = change(heir.as_ref()) => {
                    heir = None;
                    match stage {
                        Stage::Lost => {
                            tracing::error!("the process that had taken over is gone; another one is started");
                            supervisor.main_again();
                            alone = Some(Instant::now());
                        }
                        _ => self.close_sockets(),
                    }
                }
                () = passed(alone) => match upgrade::again(self, program, supervisor).await {
                    Ok(another) => (heir, alone) = (Some(another), None),
                    Err(error) => {
                        tracing::error!(%error, "nobody accepts connections");
                        // Where yet another process has the chain, this one can start none.
                        let retry = match self.journal.spool.is_handed_over() {
                            true => limit,
                            false => RETRY,
                        };
                        alone = Some(Instant::now() + retry);
                    }
                },
            }
        };
        let cut_off = match cut_off {
            Ok(0) => String::new(),
            Ok(count) => format!("; {count} sessions were cut off"),
            Err(error) => format!("; the listeners failed: {error}"),
        };
        if let Some(predecessor) = &self.predecessor {
            // Its records come through this process.
            tokio::select! {
                _ = timeout(limit, predecessor.gone()) => {}
                signal = signals.until_end(|| ()) => {
                    tracing::warn!(signal, "not waiting for the sessions of the process before this one");
                }
            }
        }
        self.finish(format!("{why}{cut_off}")).await;
        match alone {
            None => Ok(()),
            Some(_) => Err(CliError::Environment(
                "the process that had taken over is gone, and nobody accepts connections: start pgveil again"
                    .to_owned(),
            )),
        }
    }

    /// Who watches `/readyz` sends nobody any more when this is over.
    async fn delay(&self, signals: &mut Signals) {
        let delay = self.proxy.settings.load().limits.drain_delay;
        if !delay.is_zero() {
            let _ = timeout(delay, signals.until_end(|| ())).await;
        }
    }

    /// Connections are refused once nobody has the listening sockets any more.
    fn close_sockets(&mut self) {
        self.sockets.clear();
        if let Some(predecessor) = &self.predecessor {
            predecessor.leaving();
        }
    }

    pub(super) async fn end_detection(&mut self) {
        if let Some(detection) = self.detection.take() {
            let ended = tokio::task::spawn_blocking(|| detection.end()).await;
            if let Err(error) = ended {
                tracing::error!(%error, "the last records may not have been looked at for alarms");
            }
        }
    }

    /// Ends what would put something on record after the end, or take up what nobody is left to use.
    async fn end_background(&mut self) {
        // Settings that are being taken up are so whole: sinks are replaced among them.
        let changing = Arc::clone(&self.changing);
        let _changing = timeout(sinks::GRACE, changing.lock()).await;
        self.background.shutdown().await;
    }

    /// Brings to an end what goes on beside sessions.
    async fn finish(&mut self, message: String) {
        self.end_background().await;
        self.end_detection().await;
        self.journal.note(&self.journal.event(Event::Stop, message));
        if let Err(error) = self.desk.budgets.settle(true).await {
            tracing::error!(%error, "leases of budgets are not given back; they run out by themselves");
        }
        let signed = self.journal.spool.checkpoint();
        if let Err(error) = signed.and_then(|()| self.journal.spool.sync()) {
            tracing::error!(%error, "the last audit records may not be on the disk");
        }
        self.sinks.stop(sinks::GRACE).await;
    }
}

/// Waits until the successor, where there is one, does not serve any more. Cancel safe.
async fn change(heir: Option<&Arc<Heir>>) -> Stage {
    match heir {
        Some(heir) => heir.beyond(Stage::Serving).await,
        None => std::future::pending().await,
    }
}
