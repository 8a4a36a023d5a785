//! Cancel requests: from a client's key to the backend it stands for.
//!
//! Clients never learn a backend's real key. What they get is pgveil's own, so that only sessions of this proxy can
//! be cancelled through it, and only as long as they live.
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use dashmap::DashMap;
use subtle::{Choice, ConstantTimeEq};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::{Attempt, ConnectError, Server};
use super::startup::{CancelRequest, LONG_KEYS_SINCE_MINOR, SHORT_CANCEL_KEY};

/// Bytes of the keys pgveil gives to clients of protocol 3.2 and later, as PostgreSQL 18 does.
const LONG_CANCEL_KEY: usize = 32;
/// How long a cancel request may take on its way to the server and back.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Request code 1234.5678.
const CANCEL_REQUEST: u32 = 80_877_102;

/// Why a cancel request did not reach the server.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("no session has this process id and key")]
    Unknown,
    #[error("the server gave this session no cancel key")]
    NoKey,
    #[error("the cancel request did not reach the server: {0}")]
    Connect(#[from] ConnectError),
    #[error("the cancel request did not reach the server: {0}")]
    Io(#[from] std::io::Error),
    #[error("the server did not take the cancel request within {} s", CANCEL_TIMEOUT.as_secs())]
    Timeout,
    #[error("no random bytes for a cancel key")]
    Random,
}

/// The backend of one session, and how to reach it.
#[derive(Debug, Clone)]
pub struct CancelTarget {
    pub server: Arc<Server>,
    /// The very address the session is connected to: a host name may have several servers behind it.
    pub addr: SocketAddr,
    /// Whether the session's own connection uses TLS; then the request does too.
    pub tls: bool,
    pub pid: i32,
    pub key: Key,
}

/// A cancel key; never printed.
#[derive(Clone)]
pub struct Key(Bytes);

impl Key {
    pub fn new(key: Bytes) -> Self {
        Key(key)
    }
    fn matches(&self, other: &[u8]) -> Choice {
        self.0.ct_eq(other)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// Cancels what a session of another process runs; whether it has that session.
pub type Elsewhere = Box<
    dyn Fn(CancelRequest) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync + 'static,
>;

/// The cancel keys of all sessions of this process.
#[derive(Default)]
pub struct CancelRegistry {
    /// Asked for what is not known here.
    elsewhere: OnceLock<Elsewhere>,
    /// By process id. Several sessions share one only where there are several servers.
    sessions: DashMap<i32, Vec<Entry>>,
}

impl std::fmt::Debug for CancelRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelRegistry({} sessions)", self.len())
    }
}

#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    target: Arc<CancelTarget>,
}

impl CancelRegistry {
    /// Gives a session its client-facing key, fit for protocol 3.`minor`.
    pub fn register(
        self: &Arc<Self>,
        target: CancelTarget,
        minor: u16,
    ) -> Result<CancelHandle, CancelError> {
        let length = match minor {
            0..LONG_KEYS_SINCE_MINOR => SHORT_CANCEL_KEY,
            _ => LONG_CANCEL_KEY,
        };
        let mut key = vec![0; length];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(&mut key).map_err(|_| CancelError::Random)?;
        let key = Key(key.into());
        let target = Arc::new(target);
        self.sessions.entry(target.pid).or_default().push(Entry {
            key: key.clone(),
            target: Arc::clone(&target),
        });
        Ok(CancelHandle(Some(Registered {
            registry: Arc::clone(self),
            key,
            target,
        })))
    }

    /// How many sessions can be cancelled.
    pub fn len(&self) -> usize {
        self.sessions.iter().map(|entries| entries.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Sends a client's request on to the backend it stands for, and returns once the server has closed that
    /// connection: a client may close its own when the request is done, and not before it was delivered.
    pub async fn forward(&self, request: &CancelRequest) -> Result<(), CancelError> {
        if let Some(target) = self.find(request) {
            return target.cancel().await;
        }
        let elsewhere = self.elsewhere.get().ok_or(CancelError::Unknown)?;
        match elsewhere(request.clone()).await {
            true => Ok(()),
            false => Err(CancelError::Unknown),
        }
    }

    /// Has another process asked for sessions that are not of this one. Once.
    pub fn ask(&self, elsewhere: Elsewhere) {
        let _ = self.elsewhere.set(elsewhere);
    }

    /// Keys are compared whole, and all keys of the process id are compared, so that time tells nothing of them.
    fn find(&self, request: &CancelRequest) -> Option<Arc<CancelTarget>> {
        let entries = self.sessions.get(&request.pid)?;
        let mut found = None;
        for entry in entries.iter() {
            if bool::from(entry.key.matches(&request.key)) {
                found = Some(Arc::clone(&entry.target));
            }
        }
        found
    }

    fn remove(&self, pid: i32, key: &Key) {
        if let Some(mut entries) = self.sessions.get_mut(&pid) {
            entries.retain(|entry| !bool::from(entry.key.matches(&key.0)));
        }
        self.sessions
            .remove_if(&pid, |_, entries| entries.is_empty());
    }
}

impl CancelTarget {
    /// Cancel safe in the sense of tokio: dropping it closes the connection, the server may or may not have acted.
    async fn cancel(&self) -> Result<(), CancelError> {
        let deliver = async {
            let attempt = match self.tls {
                true => Attempt::Tls,
                false => Attempt::Plain,
            };
            let mut stream = self.server.connect_to(self.addr, attempt).await?.stream;
            stream.write_all(&self.packet()).await?;
            stream.flush().await?;
            // The server answers nothing; it closes when it has sent the signal. Some servers close without TLS's
            // goodbye, which rustls reports as an error: the end it is all the same.
            let mut answer = [0; 64];
            while matches!(stream.read(&mut answer).await, Ok(1..)) {}
            Ok(())
        };
        tokio::time::timeout(CANCEL_TIMEOUT, deliver)
            .await
            .map_err(|_| CancelError::Timeout)?
    }

    fn packet(&self) -> Bytes {
        let mut packet = BytesMut::with_capacity(12 + self.key.0.len());
        packet.put_u32(u32::try_from(12 + self.key.0.len()).unwrap_or(u32::MAX));
        packet.put_u32(CANCEL_REQUEST);
        packet.put_i32(self.pid);
        packet.put_slice(&self.key.0);
        packet.freeze()
    }
}

/// A session's hold on its cancel key: dropping it makes the key worthless.
#[derive(Debug)]
pub struct CancelHandle(Option<Registered>);

#[derive(Debug)]
struct Registered {
    registry: Arc<CancelRegistry>,
    key: Key,
    target: Arc<CancelTarget>,
}

impl CancelHandle {
    /// For a session whose server gave no key: nothing to cancel with.
    pub fn none() -> Self {
        CancelHandle(None)
    }

    /// Cancels what this session's backend runs now. Returns when the server has taken the request, which is not
    /// yet the moment the statement ends.
    pub async fn cancel_upstream(&self) -> Result<(), CancelError> {
        let registered = self.0.as_ref().ok_or(CancelError::NoKey)?;
        registered.target.cancel().await
    }

    /// BackendKeyData for the client: the backend's process id with pgveil's own key.
    pub fn backend_key_data(&self) -> Option<Bytes> {
        let registered = self.0.as_ref()?;
        let key = &registered.key.0;
        let mut frame = BytesMut::with_capacity(9 + key.len());
        frame.put_u8(b'K');
        frame.put_u32(u32::try_from(8 + key.len()).unwrap_or(u32::MAX));
        frame.put_i32(registered.target.pid);
        frame.put_slice(key);
        Some(frame.freeze())
    }
}

impl Drop for CancelHandle {
    fn drop(&mut self) {
        if let Some(registered) = self.0.take() {
            let pid = registered.target.pid;
            registered.registry.remove(pid, &registered.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::wire::connect::Upstream;
    use crate::wire::tls::SslMode;

    fn target(addr: SocketAddr, pid: i32) -> CancelTarget {
        let upstream = Upstream::new("127.0.0.1", addr.port(), SslMode::Disable, None);
        CancelTarget {
            server: Arc::clone(upstream.unwrap().server(0).unwrap()),
            addr,
            tls: false,
            pid,
            key: Key::new(Bytes::from_static(b"real")),
        }
    }

    fn request(handle: &CancelHandle) -> CancelRequest {
        let frame = handle.backend_key_data().unwrap();
        CancelRequest {
            pid: i32::from_be_bytes(frame[5..9].try_into().unwrap()),
            key: frame.slice(9..),
        }
    }

    #[tokio::test]
    async fn a_request_reaches_the_backend_with_its_real_key_and_waits_for_the_servers_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registry = Arc::new(CancelRegistry::default());
        let addr = listener.local_addr().unwrap();
        let handle = registry.register(target(addr, 42), 0).unwrap();
        let request = request(&handle);
        assert_eq!(request.key.len(), 4);
        assert_ne!(&request.key[..], b"real");

        let mut forward = std::pin::pin!(registry.forward(&request));
        let mut packet = [0; 16];
        let mut server = tokio::select! {
            _ = &mut forward => panic!("ended before the server did"),
            server = async {
                let mut server = listener.accept().await.unwrap().0;
                server.read_exact(&mut packet).await.unwrap();
                server
            } => server,
        };
        assert_eq!(&packet, b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x2areal");
        assert!(
            futures_pending(&mut forward).await,
            "the server has not closed yet"
        );
        server.shutdown().await.unwrap();
        forward.await.unwrap();
    }

    async fn futures_pending<F: Future + Unpin>(future: &mut F) -> bool {
        tokio::select! { biased; _ = future => false, () = std::future::ready(()) => true }
    }

    #[tokio::test]
    async fn a_key_dies_with_its_session_and_a_wrong_one_never_lived() {
        let registry = Arc::new(CancelRegistry::default());
        let nowhere = "127.0.0.1:9".parse().unwrap();
        let handle = registry.register(target(nowhere, 1), 2).unwrap();
        let other = registry.register(target(nowhere, 1), 2).unwrap();
        let mut request = request(&handle);
        assert_eq!(request.key.len(), 32);
        assert!(registry.find(&request).is_some());
        let right = request.key.clone();
        for wrong in [right.slice(..31), Bytes::new(), Bytes::from(vec![0; 32])] {
            request.key = wrong;
            assert!(registry.find(&request).is_none());
        }
        request.key = right;
        drop(handle);
        assert!(registry.find(&request).is_none());
        assert_eq!(registry.len(), 1);
        drop(other);
        assert!(registry.is_empty());
    }
}
