//! Both sides of an upgrade, put together from what a running proxy consists of ([`super::succession`]).
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::signals::{Signals, Wanted};
use super::succession::predecessor::{Inherited, Predecessor};
use super::succession::successor::{CancelHere, Candidate, Heir, Program};
use super::{Running, catalogs, detection, exports, gate, sinks, verifiers::StoredVerifiers};
use crate::audit::Event;
use crate::cli::CliError;
use crate::config::Settings;
use crate::policy::PolicySet;
use crate::session::login::RoleMatch;
use crate::wire::cancel::CancelRegistry;

/// From its turn until the successor serves.
const OPENING: Duration = Duration::from_secs(60);
/// Numbers of sessions that this process may still give: more logins than can come until the successor serves.
const NUMBERS: u64 = 1_000_000;

/// Runs until the process is to end; gives the reason.
pub async fn until_over(
    running: &mut Running,
    signals: &mut Signals,
    program: &Program,
) -> &'static str {
    loop {
        if let Wanted::End(signal) = signals.until_wanted(|| running.reload()).await {
            return signal;
        }
        let candidate = match Candidate::start(program) {
            Ok(candidate) => candidate,
            Err(error) => {
                running.stays(&error);
                continue;
            }
        };
        tracing::info!(pid = candidate.pid(), "SIGUSR2: a successor is started");
        let ready = tokio::select! {
            ready = candidate.ready() => ready,
            signal = signals.until_end(|| running.reload()) => return signal,
        };
        let over = match ready {
            Ok(()) => running.hand_over(candidate).await,
            Err(error) => {
                drop(candidate);
                Err(CliError::environment(error))
            }
        };
        match over {
            Ok(()) => return "SIGUSR2",
            Err(error) => running.stays(&error),
        }
    }
}

impl Running {
    /// Lets go of everything that one process alone may have; on an error it is this one again.
    async fn hand_over(&mut self, candidate: Candidate) -> Result<(), CliError> {
        let changing = Arc::clone(&self.changing);
        let _changing = changing.lock().await;
        let pid = candidate.pid();
        let heir = candidate.adopt(self.cancel_here());
        let heir = heir.map_err(CliError::environment)?;
        self.fall_silent().await;
        let served = match self.let_go(&heir) {
            Ok(()) => {
                let served = tokio::time::timeout(OPENING, heir.serves()).await;
                match served {
                    Ok(true) => Ok(()),
                    _ => Err(CliError::Environment(
                        "it has had its turn and does not serve".to_owned(),
                    )),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            heir.give_up();
            self.go_on().await;
            return Err(error);
        }
        tracing::info!(pid, "the successor serves");
        for task in self.serving.drain(..) {
            task.abort();
        }
        Ok(())
    }

    /// Ends what follows the chain and what tells approvers.
    async fn fall_silent(&mut self) {
        if let Some(detection) = self.detection.take() {
            let _ = tokio::task::spawn_blocking(|| detection.end()).await;
        }
        self.sinks.stop(sinks::GRACE).await;
        let mut notifier = self.notifier.lock().unwrap_or_else(PoisonError::into_inner);
        notifier.take();
    }

    fn let_go(&self, heir: &Arc<Heir>) -> Result<(), CliError> {
        let store = self.desk.store();
        store.hand_over().map_err(CliError::environment)?;
        let sessions = self.gate.load().sessions.last() + NUMBERS;
        tokio::task::block_in_place(|| {
            // Records of sessions wait until the successor knows that it is its turn.
            let held = heir.hold();
            let heir: Arc<Heir> = Arc::clone(heir);
            let given = self.journal.spool.hand_over(Arc::clone(&heir) as Arc<_>);
            given.map_err(CliError::environment)?;
            let told = heir.turn(&held, sessions, &self.sockets);
            told.map_err(CliError::environment)
        })
    }

    /// Takes back what was let go of.
    async fn go_on(&mut self) {
        let journal = &self.journal;
        if let Err(error) = tokio::task::block_in_place(|| journal.spool.take_back()) {
            tracing::error!(%error, "the audit chain cannot be taken back");
        }
        if let Err(error) = self.desk.store().take_back() {
            tracing::error!(%error, "the state cannot be taken back");
        }
        let settings = self.proxy.settings.load_full();
        match self.sinks.prepare(&settings.audit.sinks) {
            Ok(prepared) => {
                if let Err(error) = self.sinks.take(prepared, sinks::GRACE).await {
                    tracing::error!(%error, "a sink cannot go on");
                }
            }
            Err(error) => tracing::error!(%error, "sinks cannot go on"),
        }
        match detection::start(journal, &self.proxy) {
            Ok(detection) => self.detection = Some(detection),
            Err(error) => tracing::error!(%error, "no alarms are raised"),
        }
        match exports::tell_approvers(&settings, &self.desk) {
            Ok(notifier) => {
                if let Some(notifier) = &notifier {
                    exports::count(notifier, &journal.metrics);
                }
                *self.notifier.lock().unwrap_or_else(PoisonError::into_inner) = notifier;
            }
            Err(error) => tracing::error!(%error, "approvers are not told"),
        }
    }

    fn stays(&self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "the successor does not take over; this process goes on");
        let message = "a successor was started and did not take over".to_owned();
        self.journal.note(&crate::audit::Record {
            reason: Some("upgrade_failed".into()),
            ..self.journal.event(Event::Settings, message)
        });
    }

    fn cancel_here(&self) -> CancelHere {
        let cancels = Arc::clone(&self.gate.load().cancels);
        Arc::new(move |request| {
            let cancels = Arc::clone(&cancels);
            Box::pin(async move { cancels.forward(&request).await.is_ok() })
        })
    }
}

/// Finds out whether this process could take over, and waits for its turn.
///
/// # Errors
/// Whatever would keep it from starting, as far as it can be known; nothing has changed then.
pub async fn inherit(settings: &Settings, policy: &PolicySet) -> Result<Inherited, CliError> {
    let store = Arc::new(catalogs::store(settings)?);
    catalogs::check(policy, &store).await?;
    let nobody = |_: &str, _: &str| RoleMatch::Denied {
        message: String::new(),
        hint: String::new(),
    };
    let upstream = Arc::new(gate::upstream(settings)?);
    let stored = Arc::new(StoredVerifiers(store));
    gate::gate(settings, upstream, nobody, stored).await?;
    let claimed = tokio::task::spawn_blocking(Inherited::claim).await;
    let claimed = claimed.map_err(CliError::environment)?;
    claimed.map_err(|error| {
        CliError::Environment(format!(
            "there is no process to take over from: {error} (this argument is for SIGUSR2)"
        ))
    })
}

/// Has the old process asked for sessions that are not known here.
pub fn ask(cancels: &CancelRegistry, predecessor: &Predecessor) {
    let predecessor = predecessor.clone();
    cancels.ask(Box::new(move |request| {
        let predecessor = predecessor.clone();
        Box::pin(async move { predecessor.cancel(&request).await })
    }));
}
