//! What the signals of the operating system mean to a running proxy.
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::cli::logging;
use crate::session::listener::Phase;

/// SIGTERM and SIGINT end the process, SIGHUP reads files again, SIGUSR1 changes what is logged, SIGUSR2 starts a successor.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    log: Signal,
    upgrade: Signal,
}

enum Received {
    End(&'static str),
    Reload,
    Log,
    Upgrade,
}

/// What a signal wants of a running proxy that is more than reading files.
pub enum Wanted {
    /// The signal's name.
    End(&'static str),
    Upgrade,
}

impl Signals {
    /// From here on none of them ends the process by itself.
    pub fn listen() -> io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            log: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Cancel safe.
    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received::End("SIGTERM"),
            _ = self.interrupt.recv() => Received::End("SIGINT"),
            _ = self.hang_up.recv() => Received::Reload,
            _ = self.log.recv() => Received::Log,
            _ = self.upgrade.recv() => Received::Upgrade,
        }
    }

    /// Waits for the signal to end, with `reload` on every SIGHUP until then. Returns the signal's name.
    /// Cancel safe.
    pub async fn until_end(&mut self, reload: impl Fn()) -> &'static str {
        loop {
            if let Wanted::End(name) = self.until_wanted(&reload).await {
                return name;
            }
        }
    }

    /// Waits for a signal that wants more than files to be read, with `reload` on every SIGHUP until then. Cancel safe.
    pub async fn until_wanted(&mut self, reload: impl Fn()) -> Wanted {
        loop {
            match self.next().await {
                Received::End(name) => return Wanted::End(name),
                Received::Upgrade => return Wanted::Upgrade,
                Received::Reload => reload(),
                Received::Log => change_log(),
            }
        }
    }

    /// Moves `phase` from [`Phase::Draining`] to [`Phase::Ending`] at `deadline`, or at a second signal to end.
    /// Never returns before that. Cancel safe.
    pub async fn until_drained(&mut self, phase: &watch::Sender<Phase>, deadline: Instant) {
        let why = loop {
            tokio::select! {
                () = sleep_until(deadline) => break "limits.drain_timeout is over",
                received = self.next() => if let Received::End(name) = received { break name },
            }
        };
        tracing::warn!(why, "ending sessions that are still there");
        phase.send_replace(Phase::Ending);
    }
}

fn change_log() {
    let filter = logging::next_level().unwrap_or_else(|| "nothing".to_owned());
    tracing::warn!(filter, "SIGUSR1: another log level");
}
