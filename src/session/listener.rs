//! Takes connections in, keeps their number within the limit, and lets them end in good order.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin::Metrics;
use crate::admin::metrics::Connection;
use crate::session::cores::Cores;

/// Connections that the kernel holds until they are accepted; PostgreSQL's own is twice its `max_connections`.
pub const BACKLOG: u32 = 1024;
/// Connections over the session limit that are being told so (or bring a cancel request) at the same time. What
/// comes on top is closed without a word.
pub const MAX_TURNED_AWAY: usize = 64;
/// First and longest wait after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// From [`Phase::Ending`] until sessions are dropped wherever they are: enough to send a last message.
pub const ENDING_GRACE: Duration = Duration::from_secs(2);

/// What the process is about, as sessions see it. Only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// A session ends as soon as it is outside a transaction.
    Draining,
    /// A session ends now.
    Ending,
}

/// What happens to a connection that was accepted.
pub trait Service: Clone + Send + Sync + 'static {
    /// Login and session. Not cancelled before [`Phase::Ending`] and [`ENDING_GRACE`].
    fn serve(
        &self,
        tcp: TcpStream,
        peer: SocketAddr,
        phase: watch::Receiver<Phase>,
    ) -> impl Future<Output = ()> + Send;

    /// Every session is taken: says so, or carries out a cancel request.
    fn turn_away(&self, tcp: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + Send;
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    pub address: SocketAddr,
    pub source: io::Error,
}

/// Binds one address. Port 0 lets the system choose.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for the TIME_WAIT of old connections.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| BindError { address, source })
}

/// The listeners of a running proxy.
pub struct Listeners<S> {
    service: S,
    metrics: Arc<Metrics>,
    sessions: Places,
    turned_away: Arc<Semaphore>,
    cores: Arc<Cores>,
}

/// The places of sessions, whose number may change while they are taken.
#[derive(Debug, Clone)]
pub struct Places {
    taken: Arc<watch::Sender<usize>>,
    most: Arc<AtomicUsize>,
}

impl Places {
    pub fn new(most: usize) -> Self {
        Places {
            taken: Arc::new(watch::Sender::new(0)),
            most: Arc::new(AtomicUsize::new(most)),
        }
    }

    /// From now on there are so many. Who has one keeps it, even where there are too few then.
    pub fn set(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Place> {
        let most = self.most.load(Ordering::Relaxed);
        let taken = self.taken.send_if_modified(|taken| {
            let free = *taken < most;
            *taken += usize::from(free);
            free
        });
        taken.then(|| Place(Arc::clone(&self.taken)))
    }

    fn taken(&self) -> usize {
        *self.taken.borrow()
    }

    async fn empty(&self) {
        // The sender is this one's own.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

/// One session's place: free again when it goes, by a panic too.
#[derive(Debug)]
struct Place(Arc<watch::Sender<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}

impl<S: Service> Listeners<S> {
    pub fn new(service: S, metrics: Arc<Metrics>, sessions: Places, cores: Arc<Cores>) -> Self {
        Listeners {
            cores,
            service,
            metrics,
            sessions,
            turned_away: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
        }
    }

    /// Accepts until `phase` leaves [`Phase::Serving`], then waits for the sessions: until all have ended or, after
    /// [`Phase::Ending`], for [`ENDING_GRACE`]. Returns the number of sessions that were cut off.
    pub async fn run(self, listeners: Vec<TcpListener>, phase: watch::Receiver<Phase>) -> u32 {
        let this = Arc::new(self);
        let mut accepting = JoinSet::new();
        for listener in listeners {
            accepting.spawn(Arc::clone(&this).accept(listener, phase.clone()));
        }
        while accepting.join_next().await.is_some() {}
        let mut ending = phase;
        let cut_off = async {
            // An error means that nobody is left who could tell: as good as the end.
            let _ = ending.wait_for(|phase| *phase == Phase::Ending).await;
            sleep(ENDING_GRACE).await;
        };
        tokio::select! {
            () = this.sessions.empty() => 0,
            () = cut_off => u32::try_from(this.sessions.taken()).unwrap_or(u32::MAX),
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, phase: watch::Receiver<Phase>) {
        let mut leaving = phase.clone();
        let mut pause = ACCEPT_PAUSE.0;
        loop {
            let accepted = tokio::select! {
                biased;
                _ = leaving.wait_for(|phase| *phase != Phase::Serving) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    pause = ACCEPT_PAUSE.0;
                    self.admit(tcp, peer, &phase);
                }
                Err(error) if is_of_one_connection(&error) => {
                    self.metrics.connection(Connection::AcceptError);
                }
                Err(error) => {
                    self.metrics.connection(Connection::AcceptError);
                    tracing::error!(%error, "a connection cannot be accepted; is the limit of open files high enough?");
                    // The connection stays in the backlog: accepting at once would only spin.
                    let _ =
                        timeout(pause, leaving.wait_for(|phase| *phase != Phase::Serving)).await;
                    pause = (pause * 2).min(ACCEPT_PAUSE.1);
                }
            }
        }
    }

    fn admit(&self, tcp: TcpStream, peer: SocketAddr, phase: &watch::Receiver<Phase>) {
        if let Some(place) = self.sessions.take() {
            self.metrics.connection(Connection::Accepted);
            let (service, phase) = (self.service.clone(), phase.clone());
            self.spawn_with(place, tcp, move |tcp| async move {
                service.serve(tcp, peer, phase).await
            });
            return;
        }
        self.metrics.connection(Connection::TooMany);
        if let Ok(permit) = Arc::clone(&self.turned_away).try_acquire_owned() {
            let service = self.service.clone();
            self.spawn_with(permit, tcp, move |tcp| async move {
                service.turn_away(tcp, peer).await
            });
        }
    }

    /// What was taken goes back when the task is over, by a panic too.
    fn spawn_with<F>(
        &self,
        taken: impl Send + 'static,
        tcp: TcpStream,
        task: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let served = self.cores.serve(tcp, |tcp| {
            let task = task(tcp);
            async move {
                let _taken = taken;
                task.await;
            }
        });
        if let Err(error) = served {
            tracing::error!(%error, "a connection cannot be served");
        }
    }
}

/// The client was gone before it was accepted: nothing to wait for.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    /// Says `hello`, then stays until the client goes or the process ends.
    #[derive(Clone)]
    struct Greeter;

    impl Service for Greeter {
        async fn serve(
            &self,
            mut tcp: TcpStream,
            _: SocketAddr,
            mut phase: watch::Receiver<Phase>,
        ) {
            let _ = tcp.write_all(b"hello").await;
            let mut byte = [0];
            tokio::select! {
                _ = tcp.read(&mut byte) => {}
                _ = phase.wait_for(|phase| *phase == Phase::Ending) => {}
            }
        }

        async fn turn_away(&self, mut tcp: TcpStream, _: SocketAddr) {
            let _ = tcp.write_all(b"sorry").await;
        }
    }

    struct Running {
        addresses: Vec<SocketAddr>,
        phase: watch::Sender<Phase>,
        ended: JoinHandle<u32>,
    }

    fn start(max_sessions: usize) -> Running {
        let (phase, watching) = watch::channel(Phase::Serving);
        let local = || bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        let sockets = vec![local(), local()];
        let addresses = sockets
            .iter()
            .map(|socket| socket.local_addr().expect("an address"))
            .collect();
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let cores = Arc::new(Cores::start().expect("threads"));
        let ended = tokio::spawn(
            Listeners::new(Greeter, metrics, Places::new(max_sessions), cores)
                .run(sockets, watching),
        );
        Running {
            addresses,
            phase,
            ended,
        }
    }

    async fn connect(address: SocketAddr) -> (TcpStream, String) {
        let mut tcp = TcpStream::connect(address).await.expect("connected");
        let mut word = [0; 5];
        tcp.read_exact(&mut word).await.expect("greeted");
        (tcp, String::from_utf8_lossy(&word).into_owned())
    }

    #[tokio::test]
    async fn the_limit_counts_over_all_listeners() {
        let running = start(2);
        let (first, word) = connect(running.addresses[0]).await;
        assert_eq!(word, "hello");
        let (_second, word) = connect(running.addresses[1]).await;
        assert_eq!(word, "hello");
        let (_third, word) = connect(running.addresses[1]).await;
        assert_eq!(word, "sorry");
        drop(first);
        while connect(running.addresses[0]).await.1 != "hello" {}
    }

    #[tokio::test]
    async fn draining_accepts_nobody_and_waits_for_those_inside() {
        let running = start(5);
        let (inside, _) = connect(running.addresses[0]).await;
        running.phase.send(Phase::Draining).expect("listening");
        while TcpStream::connect(running.addresses[0]).await.is_ok() {}
        assert!(!running.ended.is_finished());
        drop(inside);
        assert_eq!(running.ended.await.expect("ended"), 0);
    }

    #[tokio::test]
    async fn ending_does_not_wait_for_clients() {
        let running = start(5);
        let (_inside, _) = connect(running.addresses[0]).await;
        running.phase.send(Phase::Ending).expect("listening");
        assert_eq!(running.ended.await.expect("ended"), 0);
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
        let address = taken.local_addr().expect("an address");
        let error = bind(address).expect_err("taken");
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot listen on {address}: "))
        );
    }
}
