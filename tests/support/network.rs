//! A relay between two ends of a connection, on which a network's faults can be called up.
use std::io;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

/// What befalls the bytes of all connections of a relay, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Sound,
    /// They go on in pieces of so many bytes, each in a packet of its own.
    Pieces(usize),
    /// They go on so much later.
    Delay(Duration),
    /// They go nowhere, and neither does the end of a connection; nobody is told.
    Blackhole,
    /// Both ends are reset.
    Reset,
}

/// Ends with all its connections when dropped.
pub struct Relay {
    port: u16,
    fault: watch::Sender<Fault>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Relay {
    /// In front of a loopback port.
    pub fn to(port: u16) -> Relay {
        let (fault, watched) = watch::channel(Fault::Sound);
        let (stop, stopped) = oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                told.send(listener.local_addr().expect("an address").port())
                    .expect("the test waits");
                tokio::select! {
                    () = accept(listener, port, watched) => {}
                    _ = stopped => {}
                }
            });
        });
        Relay {
            port: address.recv().expect("the relay's address"),
            fault,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on, for connections that exist and for those to come.
    pub fn set(&self, fault: Fault) {
        let _ = self.fault.send(fault);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, port: u16, fault: watch::Receiver<Fault>) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            return;
        };
        tokio::spawn(connection(near, port, fault.clone()));
    }
}

async fn connection(near: TcpStream, port: u16, mut fault: watch::Receiver<Fault>) {
    if fault
        .wait_for(|fault| *fault != Fault::Blackhole)
        .await
        .is_err()
    {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
        let _ = near.set_zero_linger();
        return;
    };
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let mut watched = fault.clone();
    let both = async {
        let _ = tokio::join!(
            pump(near_read, far_write, fault.clone()),
            pump(far_read, near_write, fault.clone())
        );
    };
    tokio::select! {
        () = both => {}
        _ = watched.wait_for(|fault| *fault == Fault::Reset) => {}
    }
}

/// Bytes in one direction, up to the end of the connection. Dropped where the connection is to be reset.
async fn pump(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    mut fault: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut to = Resetting(Some(to), fault.clone());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = from.read(&mut buffer).await?;
        let lost = fault.wait_for(|fault| *fault != Fault::Blackhole).await;
        let now = lost.map_or(Fault::Reset, |fault| *fault);
        let Some(to) = to.0.as_mut() else {
            return Ok(());
        };
        if count == 0 {
            return to.shutdown().await;
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        match now {
            Fault::Pieces(size) => {
                for piece in bytes.chunks(size) {
                    to.write_all(piece).await?;
                    // The reader is to see them one by one.
                    tokio::task::yield_now().await;
                }
            }
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                to.write_all(bytes).await?;
            }
            _ => to.write_all(bytes).await?,
        }
    }
}

/// Sends RST when it is dropped during [`Fault::Reset`], and no orderly end before it.
struct Resetting(Option<OwnedWriteHalf>, watch::Receiver<Fault>);

impl Drop for Resetting {
    fn drop(&mut self) {
        if *self.1.borrow() == Fault::Reset
            && let Some(half) = self.0.take()
        {
            let _ = half.as_ref().set_zero_linger();
            half.forget();
        }
    }
}
