//! The threads that sessions run on: one for each core, each with a runtime of its own.
//!
//! A connection goes to the thread with the fewest and stays there. With one runtime over all cores its threads wake each
//! other to take work off them, which for statements of some microseconds costs more than the work: nearly one futex call
//! for each statement. What sessions share they share by atomics and short locks, as before.
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// What sessions that are dropped wherever they are have to put on record takes no longer.
const ENDING: Duration = Duration::from_secs(5);

/// One thread for each core.
#[derive(Debug)]
pub struct Cores {
    cores: Vec<Core>,
    /// Which of several with the same number of connections is next.
    next: AtomicUsize,
    /// Closed when all threads have dropped what they had.
    ended: Mutex<mpsc::Receiver<()>>,
}

#[derive(Debug)]
struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Dropped, it ends the thread.
    stop: Option<oneshot::Sender<()>>,
}

/// A connection of a thread; it is no more of it when this goes, by a panic too.
struct Connection(Arc<AtomicUsize>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cores {
    /// As many threads as the process has cores, by its affinity and its share of the machine.
    ///
    /// # Errors
    /// Threads or their runtimes cannot be made.
    pub fn start() -> io::Result<Cores> {
        Cores::of(thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn of(count: usize) -> io::Result<Cores> {
        let (end, ended) = mpsc::channel();
        let start = |number| Core::start(number, end.clone());
        Ok(Cores {
            cores: (0..count).map(start).collect::<Result<_, _>>()?,
            next: AtomicUsize::new(0),
            ended: Mutex::new(ended),
        })
    }

    /// Has a thread serve a connection to its end.
    ///
    /// # Errors
    /// The socket cannot be handed over; it is closed.
    pub fn serve<F>(
        &self,
        tcp: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = tcp.into_std()?;
        let Some(core) = self.least_busy() else {
            return Err(io::Error::other("no thread is left"));
        };
        core.connections.fetch_add(1, Ordering::Relaxed);
        let connection = Connection(Arc::clone(&core.connections));
        core.runtime.spawn(async move {
            let _connection = connection;
            // The runtime that waits for a socket is the one that it was made in.
            match TcpStream::from_std(socket) {
                Ok(tcp) => serve(tcp).await,
                Err(error) => tracing::error!(%error, "a connection cannot be served"),
            }
        });
        Ok(())
    }

    fn least_busy(&self) -> Option<&Core> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.cores.len().max(1);
        let (before, from) = self.cores.split_at_checked(first)?;
        from.iter()
            .chain(before)
            .min_by_key(|core| core.connections.load(Ordering::Relaxed))
    }
}

impl Drop for Cores {
    /// Drops the sessions that are left, and waits for what they still put on record.
    fn drop(&mut self) {
        for core in &mut self.cores {
            core.stop = None;
        }
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(ENDING) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("sessions do not end; their last records may be missing");
        }
    }
}

impl Core {
    /// `end` is dropped when the thread has dropped all it had.
    fn start(number: usize, end: mpsc::Sender<()>) -> io::Result<Core> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name(format!("session-{number}"))
            .spawn(move || {
                // Nothing is ever sent.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
                drop(end);
            })?;
        Ok(Core {
            runtime: handle,
            connections: Arc::default(),
            stop: Some(stop),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::thread::ThreadId;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    type Served = Arc<Mutex<HashMap<ThreadId, usize>>>;

    /// Notes where it runs, says so, and stays until the client goes.
    async fn stay(mut tcp: TcpStream, served: Served) {
        *served
            .lock()
            .expect("unpoisoned")
            .entry(thread::current().id())
            .or_default() += 1;
        let _ = tcp.write_all(b"!").await;
        let _ = tcp.read(&mut [0]).await;
    }

    /// How many each thread has.
    fn connections(cores: &Cores) -> Vec<usize> {
        let cores = cores.cores.iter();
        cores
            .map(|core| core.connections.load(Ordering::Relaxed))
            .collect()
    }

    async fn connect(cores: &Cores, listener: &TcpListener, served: &Served) -> TcpStream {
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).await.expect("connected");
        let (tcp, _) = listener.accept().await.expect("accepted");
        let served = Arc::clone(served);
        cores.serve(tcp, |tcp| stay(tcp, served)).expect("served");
        client.read_exact(&mut [0]).await.expect("greeted");
        client
    }

    #[tokio::test]
    async fn connections_are_spread_evenly_and_stay_with_their_thread() {
        let cores = Cores::of(3).expect("threads");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let served = Served::default();
        let mut clients = Vec::new();
        for _ in 0..12 {
            clients.push(connect(&cores, &listener, &served).await);
        }
        let mut counts: Vec<usize> = served
            .lock()
            .expect("unpoisoned")
            .values()
            .copied()
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [4, 4, 4]);
    }

    #[tokio::test]
    async fn who_comes_takes_the_place_of_who_has_gone() {
        let cores = Cores::of(2).expect("threads");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let served = Served::default();
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(connect(&cores, &listener, &served).await);
        }
        // The first, third and fifth are of one thread.
        for number in [4, 2, 0] {
            clients.remove(number);
        }
        while connections(&cores).iter().sum::<usize>() > 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..3 {
            clients.push(connect(&cores, &listener, &served).await);
        }
        assert_eq!(connections(&cores), [3, 3]);
    }

    /// What a session leaves in its `Drop` is there when the threads have gone.
    #[tokio::test]
    async fn sessions_that_are_left_are_dropped_with_the_threads() {
        struct Last(Arc<AtomicUsize>);
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let cores = Cores::of(2).expect("threads");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
        let left = Arc::new(AtomicUsize::new(0));
        let mut clients = Vec::new();
        for _ in 0..4 {
            let address = listener.local_addr().expect("an address");
            clients.push(TcpStream::connect(address).await.expect("connected"));
            let (tcp, _) = listener.accept().await.expect("accepted");
            let last = Last(Arc::clone(&left));
            let serve = |tcp| async move {
                let _last = last;
                stay(tcp, Served::default()).await;
            };
            cores.serve(tcp, serve).expect("served");
        }
        for client in &mut clients {
            client.read_exact(&mut [0]).await.expect("greeted");
        }
        tokio::task::spawn_blocking(move || drop(cores))
            .await
            .expect("dropped");
        assert_eq!(left.load(Ordering::Relaxed), 4);
    }
}
