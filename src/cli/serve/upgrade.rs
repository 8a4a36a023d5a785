//! Both sides of an upgrade, put together from what a running proxy consists of ([`super::succession`]).
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::signals::{Signals, Wanted};
use super::succession::predecessor::{Inherited, Predecessor};
use super::succession::successor::{CancelHere, Candidate, Heir, Program, Stage};
use super::supervisor::Supervisor;
use super::{Running, catalogs, detection, exports, gate, sinks, verifiers::StoredVerifiers};
use crate::audit::Event;
use crate::catalog::CatalogStore;
use crate::cli::CliError;
use crate::config::Settings;
use crate::policy::{Caller, PolicySet};
use crate::session::login::RoleMatch;
use crate::wire::cancel::CancelRegistry;

/// From its turn until the successor serves.
const OPENING: Duration = Duration::from_secs(60);
/// Numbers of sessions that this process may still give: more logins than can come until the successor serves.
const NUMBERS: u64 = 1_000_000;

/// Why a process is to end.
pub enum Over {
    /// The signal's name.
    Signal(&'static str),
    /// This one has its place.
    Succeeded(Arc<Heir>),
}

/// Runs until the process is to end.
pub async fn until_over(
    running: &mut Running,
    signals: &mut Signals,
    program: &Program,
    supervisor: &mut Supervisor,
) -> Over {
    loop {
        if let Wanted::End(signal) = signals.until_wanted(|| running.reload()).await {
            return Over::Signal(signal);
        }
        let reload = running.reload.clone();
        let candidate = tokio::select! {
            candidate = candidate(program) => candidate,
            signal = signals.until_end(|| reload.ask()) => return Over::Signal(signal),
        };
        let heir = match candidate {
            Ok(candidate) => running.hand_over(candidate, supervisor).await,
            Err(error) => Err(error),
        };
        match heir {
            Ok(heir) => return Over::Succeeded(heir),
            Err(error) => running.stays(&error),
        }
    }
}

/// Starts a process and waits until it says that it could take over.
async fn candidate(program: &Program) -> Result<Candidate, CliError> {
    if std::process::id() == 1 {
        return Err(CliError::Environment(
            "this is the first process of a container, which ends with it: replace the container"
                .to_owned(),
        ));
    }
    let candidate = Candidate::start(program).map_err(CliError::environment)?;
    tracing::info!(pid = candidate.pid(), "a successor is started");
    candidate.ready().await.map_err(CliError::environment)?;
    Ok(candidate)
}

/// The successor has died: another one takes over, from this process, which has the listening sockets still.
///
/// # Errors
/// Yet another process has the audit chain, or none can take over: nobody accepts connections.
pub async fn again(
    running: &mut Running,
    program: &Program,
    supervisor: &mut Supervisor,
) -> Result<Arc<Heir>, CliError> {
    let spool = Arc::clone(&running.journal.spool);
    tokio::task::block_in_place(|| spool.take_back()).map_err(CliError::environment)?;
    let state = running.desk.store().take_back();
    state.map_err(CliError::environment)?;
    let candidate = candidate(program).await?;
    running.hand_over(candidate, supervisor).await
}

impl Running {
    /// Lets go of everything that one process alone may have; on an error it is this one again.
    async fn hand_over(
        &mut self,
        candidate: Candidate,
        supervisor: &mut Supervisor,
    ) -> Result<Arc<Heir>, CliError> {
        let changing = Arc::clone(&self.changing);
        let _changing = changing.lock().await;
        let pid = candidate.pid();
        let heir = candidate.adopt(self.cancel_here());
        let heir = heir.map_err(CliError::environment)?;
        tracing::info!(pid, "the successor could begin");
        self.fall_silent().await;
        tracing::info!(pid, "the successor gets its turn");
        let served = match self.let_go(&heir) {
            Ok(()) => {
                let served = tokio::time::timeout(OPENING, heir.beyond(Stage::Starting)).await;
                match served {
                    Ok(Stage::Serving) => Ok(()),
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
        supervisor.succeeded_by(pid);
        for task in self.serving.drain(..) {
            task.abort();
        }
        Ok(heir)
    }

    /// Ends what follows the chain and what tells approvers.
    async fn fall_silent(&mut self) {
        self.end_detection().await;
        self.sinks.stop(sinks::BATCH_GRACE).await;
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

    pub(super) fn stays(&self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "the successor does not take over; this process goes on");
        self.journal.metrics.upgrade_failed();
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
pub async fn inherit(
    settings: &Settings,
    policy: &PolicySet,
    store: &Arc<CatalogStore>,
) -> Result<Inherited, CliError> {
    catalogs::check(policy, store).await?;
    let nobody = |_: &Caller| RoleMatch::Denied {
        message: String::new(),
        hint: String::new(),
    };
    let upstream = Arc::new(gate::upstream(settings)?);
    let stored = Arc::new(StoredVerifiers(Arc::clone(store)));
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
