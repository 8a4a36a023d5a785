//! Words to the service manager that started the proxy and waits for them: ready, alive, succeeded, ending (`sd_notify(3)` of
//! systemd).
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is said.
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// The socket of the service manager.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    /// Says that the process is alive.
    alive: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// As the environment names it. One that cannot be reached is told in the log: the manager will say more.
    pub fn of_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let socket = variable("NOTIFY_SOCKET").and_then(|name| {
            connect(&name)
                .inspect_err(|error| {
                    tracing::error!(socket = name, %error, "the service manager cannot be told");
                })
                .ok()
        });
        Supervisor {
            watchdog: watchdog(
                variable("WATCHDOG_USEC").as_deref(),
                variable("WATCHDOG_PID").as_deref(),
                std::process::id(),
            ),
            socket,
            alive: None,
        }
    }

    /// Sessions can come. From here on it is told that the process is alive, as often as it asked for: by a task, so that
    /// it falls silent when tasks are not run any more.
    pub fn ready(&mut self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
        self.keep_alive();
    }

    fn keep_alive(&mut self) {
        let (Some(limit), Some(Ok(socket))) = (
            self.watchdog,
            self.socket.as_ref().map(UnixDatagram::try_clone),
        ) else {
            return;
        };
        self.alive = Some(tokio::spawn(async move {
            // Twice within the limit, as sd_watchdog_enabled(3) asks for.
            let mut ticks = interval(limit / 2);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if let Err(error) = socket.send(b"WATCHDOG=1") {
                    tracing::warn!(%error, "the service manager's watchdog cannot be told");
                }
            }
        }));
    }

    /// Another process is the one to watch from here on; this one has nothing to say any more. The manager has to be told
    /// by this one: it may listen to the main process only.
    pub fn succeeded_by(&mut self, pid: u32) {
        if let Some(alive) = self.alive.take() {
            alive.abort();
        }
        // The other process's first word may come before this one and be passed over.
        self.say(&format!("MAINPID={pid}\nWATCHDOG=1"));
    }

    /// That process is no more, and this one is to be watched again.
    pub fn main_again(&mut self) {
        self.say(&format!("MAINPID={}\nWATCHDOG=1", std::process::id()));
        self.keep_alive();
    }

    /// No new sessions; those that are there end.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=draining");
    }

    fn say(&self, words: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.as_bytes())
        {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// `name` is a path, or an abstract address after `@`.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is neither a path nor an abstract address",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A manager that does not read must not hold up the proxy.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long the process may be silent; `None`: as long as it likes. `pid`: whom the watchdog is for.
fn watchdog(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let limit = microseconds?.parse().ok().filter(|limit| *limit > 1)?;
    Some(Duration::from_micros(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_it_names() {
        let limit = Some(Duration::from_secs(30));
        assert_eq!(watchdog(Some("30000000"), Some("7"), 7), limit);
        assert_eq!(watchdog(Some("30000000"), None, 7), limit);
        assert_eq!(watchdog(Some("30000000"), Some("8"), 7), None);
        assert_eq!(watchdog(None, Some("7"), 7), None);
        assert_eq!(watchdog(Some("0"), None, 7), None);
        assert_eq!(watchdog(Some("soon"), None, 7), None);
    }

    #[test]
    fn an_address_is_a_path_or_abstract() {
        assert_eq!(
            connect("vsock:2:1234").expect_err("neither").kind(),
            io::ErrorKind::InvalidInput
        );
        let name = format!("pgveil-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let manager = UnixDatagram::bind_addr(&address).expect("bound");
        connect(&format!("@{name}"))
            .expect("connected")
            .send(b"READY=1")
            .expect("sent");
        let mut heard = [0; 16];
        let length = manager.recv(&mut heard).expect("heard");
        assert_eq!(&heard[..length], b"READY=1");
    }
}
