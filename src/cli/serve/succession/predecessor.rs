//! The successor's side: its turn, the sockets, and what the old process's sessions still need.
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::link::{self, Kind, Turn, Use};
use crate::audit::Spool;
use crate::wire::startup::CancelRequest;

/// The longest that the old process may take to let go.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that it may take to look for a session.
const CANCEL: Duration = Duration::from_secs(5);

/// What the old process let go of.
pub struct Inherited {
    pub predecessor: Predecessor,
    pub sessions: u64,
    sockets: Vec<(Use, TcpListener)>,
}

impl Inherited {
    /// Says that this process could begin, and waits for its turn. Blocks.
    ///
    /// # Errors
    /// Standard input is not the end of a pair of sockets, or the old process does not let go.
    pub fn claim() -> io::Result<Inherited> {
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        stream.set_read_timeout(Some(PATIENCE))?;
        let version = env!("CARGO_PKG_VERSION");
        link::send(&stream, Kind::Ready, 0, version.as_bytes())?;
        let message = link::receive(&stream)?;
        if message.kind != Kind::Turn {
            return Err(io::Error::other("the old process says something else"));
        }
        let turn: Turn = serde_json::from_slice(&message.body)?;
        let mut sockets = Vec::new();
        for purpose in turn.sockets {
            let socket = TcpListener::from(link::receive_socket(&stream)?);
            sockets.push((purpose, socket));
        }
        stream.set_read_timeout(None)?;
        Ok(Inherited {
            predecessor: Predecessor(Arc::new(Shared {
                stream,
                writing: Mutex::new(()),
                waiting: Mutex::default(),
                next: AtomicU64::new(1),
                gone: watch::Sender::new(false),
            })),
            sessions: turn.sessions,
            sockets,
        })
    }

    /// The socket for an address, where the old process listened there. Port 0 is any.
    pub fn socket(&mut self, purpose: Use, address: SocketAddr) -> Option<TcpListener> {
        let place = self.sockets.iter().position(|(of, socket)| {
            let fits = |bound: SocketAddr| {
                bound.ip() == address.ip()
                    && (address.port() == 0 || bound.port() == address.port())
            };
            *of == purpose && socket.local_addr().is_ok_and(fits)
        })?;
        Some(self.sockets.swap_remove(place).1)
    }
}

/// The old process, as long as it has sessions.
#[derive(Clone)]
pub struct Predecessor(Arc<Shared>);

struct Shared {
    stream: UnixStream,
    /// Held while a message is written.
    writing: Mutex<()>,
    /// Cancel requests without an answer.
    waiting: Mutex<HashMap<u64, oneshot::Sender<bool>>>,
    next: AtomicU64,
    gone: watch::Sender<bool>,
}

impl Predecessor {
    /// Appends the old process's records to the chain from now on.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn serve(&self, spool: Arc<Spool>) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        thread::Builder::new()
            .name("predecessor".to_owned())
            .spawn(move || {
                while let Ok(message) = link::receive(&shared.stream) {
                    shared.take(message, &spool);
                }
                shared.gone.send_replace(true);
                shared.waiting().clear();
                tracing::info!("the old process is gone");
            })?;
        Ok(())
    }

    /// Says that this process serves.
    pub fn serving(&self) {
        self.0.tell(Kind::Serving);
    }

    /// Says that this process is to end: the old one is not to keep the listening sockets open, nor to take it for dead.
    pub fn leaving(&self) {
        self.0.tell(Kind::Leaving);
    }

    /// Asks the old process to cancel what a session of its own runs; whether it had that session.
    pub async fn cancel(&self, request: &CancelRequest) -> bool {
        if *self.0.gone.borrow() {
            return false;
        }
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        self.0.waiting().insert(id, tell);
        let body = [&request.pid.to_be_bytes()[..], &request.key].concat();
        let sent = self.0.send(Kind::Cancel, id, &body);
        let found = match sent {
            Ok(()) => matches!(timeout(CANCEL, told).await, Ok(Ok(true))),
            Err(_) => false,
        };
        self.0.waiting().remove(&id);
        found
    }

    /// Waits until the old process is gone. Cancel safe.
    pub async fn gone(&self) {
        // The sender is here.
        let _ = self.0.gone.subscribe().wait_for(|gone| *gone).await;
    }
}

impl Shared {
    fn take(&self, message: link::Message, spool: &Spool) {
        match message.kind {
            Kind::Append => {
                let appended = match link::unpack(&message.body) {
                    Some(bodies) => spool.append_for(&bodies).map_err(|error| error.to_string()),
                    None => Err("they came in another shape".to_owned()),
                };
                let answered = match appended {
                    Ok(appended) => {
                        let hash = appended.hash.to_string();
                        let body = [&appended.seq.to_be_bytes()[..], hash.as_bytes()].concat();
                        self.send(Kind::Appended, message.id, &body)
                    }
                    Err(reason) => self.send(Kind::NotAppended, message.id, reason.as_bytes()),
                };
                if let Err(error) = answered {
                    tracing::warn!(%error, "the old process does not take an answer");
                }
            }
            Kind::Cancelled => {
                if let Some(tell) = self.waiting().remove(&message.id) {
                    let _ = tell.send(message.body == [1]);
                }
            }
            other => tracing::warn!(?other, "the old process says what only a new one says"),
        }
    }

    /// Where the old process is gone there is nobody to be told, and this one goes on.
    fn tell(&self, kind: Kind) {
        if let Err(error) = self.send(kind, 0, &[]) {
            tracing::warn!(%error, "the old process cannot be told");
        }
    }

    fn send(&self, kind: Kind, id: u64, body: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        link::send(&self.stream, kind, id, body)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<bool>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
