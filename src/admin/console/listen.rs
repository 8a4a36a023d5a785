//! The console's listener: HTTP/1.1, inside TLS where there is a certificate.
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::guard::Peer;
use super::oidc::OidcError;
use crate::admin::within::within;
use crate::config::{ConsoleSettings, TlsSettings};

/// Connections served at the same time; a browser opens up to six.
const MAX_CONNECTIONS: usize = 256;
/// From accept to the end of the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a request's line and headers; an idle connection is closed by it as well.
const HEADERS: Duration = Duration::from_secs(30);
/// How long a connection is served: browsers open another one.
const LIFE: Duration = Duration::from_secs(120);
/// For the answer that is under way then.
const GRACE: Duration = Duration::from_secs(60);
/// Bytes of one request's line and headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Wait after an accept that failed, so that a process out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the console does not start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("console: {address} cannot be listened on: {error}")]
    Bind {
        address: SocketAddr,
        error: std::io::Error,
    },
    #[error("console.tls: {0}")]
    Tls(String),
    #[error("console.oidc: {0}")]
    Oidc(#[from] OidcError),
}

/// A socket that listens, and the certificate for it.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Certificate>,
}

/// The console's certificate, replaceable while it serves.
#[derive(Clone)]
pub struct Certificate(Arc<ArcSwap<TlsAcceptor>>);

impl Certificate {
    fn read(tls: &TlsSettings) -> Result<Self, ListenError> {
        Ok(Certificate(Arc::new(ArcSwap::from_pointee(acceptor(tls)?))))
    }

    /// Reads another certificate and gives what puts it in the place of this one, for handshakes from then on.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn prepare(&self, tls: &TlsSettings) -> Result<impl FnOnce() + use<>, ListenError> {
        let (place, read) = (Arc::clone(&self.0), Arc::new(acceptor(tls)?));
        Ok(move || place.store(read))
    }
}

impl Listener {
    /// Opens the socket that the settings name, or takes one that listens there already.
    ///
    /// # Errors
    /// The address is in use, or the certificate cannot be used.
    pub async fn bind(
        settings: &ConsoleSettings,
        inherited: Option<std::net::TcpListener>,
    ) -> Result<Self, ListenError> {
        let tls = settings.tls.as_ref().map(Certificate::read).transpose()?;
        let bind = |error| ListenError::Bind {
            address: settings.listen,
            error,
        };
        let tcp = match inherited {
            Some(socket) => TcpListener::from_std(socket).map_err(bind)?,
            None => TcpListener::bind(settings.listen).await.map_err(bind)?,
        };
        let address = tcp.local_addr().map_err(bind)?;
        Ok(Listener { tcp, address, tls })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket once more, for another process.
    pub fn socket(&self) -> std::io::Result<OwnedFd> {
        self.tcp.as_fd().try_clone_to_owned()
    }

    pub fn certificate(&self) -> Option<Certificate> {
        self.tls.clone()
    }

    /// Serves until the task is dropped.
    pub async fn serve(self, router: Router) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // Closed never: the semaphore lives as long as this loop.
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                return;
            };
            let (tcp, peer) = match self.tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "console: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let router = router.clone();
            let tls = self.tls.as_ref().map(|tls| tls.0.load_full());
            tokio::spawn(async move {
                let _ = tcp.set_nodelay(true);
                match tls {
                    None => connection(tcp, peer, router).await,
                    Some(tls) => match timeout(HANDSHAKE, tls.accept(tcp)).await {
                        Ok(Ok(stream)) => connection(stream, peer, router).await,
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "console: a TLS handshake failed");
                        }
                        Err(_) => tracing::debug!("console: a TLS handshake took too long"),
                    },
                }
                drop(permit);
            });
        }
    }
}

async fn connection<S>(stream: S, peer: SocketAddr, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        use hyper_util::service::TowerToHyperService;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        hyper::service::Service::call(&TowerToHyperService::new(router.clone()), request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let ended = within(served, LIFE, GRACE, |served| served.graceful_shutdown()).await;
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "console: a connection ended badly");
    }
}

fn acceptor(tls: &TlsSettings) -> Result<TlsAcceptor, ListenError> {
    let refused = |what: String| {
        move |error: &dyn std::fmt::Display| ListenError::Tls(format!("{what}: {error}"))
    };
    let of_cert = refused(tls.cert.display().to_string());
    let of_key = refused(tls.key.display().to_string());
    let chain = CertificateDer::pem_file_iter(&tls.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| of_cert(&error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| of_key(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| of_cert(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| of_cert(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::console::bench::{Bench, HOST};
    use crate::admin::console::router;

    #[tokio::test]
    async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
        let bench = Bench::new("tls").await;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
        let (cert, key) = (bench.folder.join("cert.pem"), bench.folder.join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let settings = ConsoleSettings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            tls: Some(TlsSettings { cert, key }),
            url: None,
            idle_timeout: Duration::from_secs(1),
            session_lifetime: Duration::from_secs(1),
            oidc: None,
        };
        let listener = Listener::bind(&settings, None).await.expect("bound");
        let port = listener.address().port();
        let served = tokio::spawn(listener.serve(router(Arc::clone(&bench.app))));
        let authority = reqwest::Certificate::from_pem(made.cert.pem().as_bytes());
        let client = reqwest::Client::builder()
            .tls_certs_only([authority.expect("a certificate")])
            .build()
            .expect("a client");
        let get = |scheme: &str| {
            let url = format!("{scheme}://localhost:{port}/login");
            client.get(url).header("host", HOST).send()
        };
        let answer = get("https").await.expect("answered");
        assert_eq!(answer.status().as_u16(), 200);
        assert!(get("http").await.is_err());
        served.abort();

        let wrong = ConsoleSettings {
            tls: Some(TlsSettings {
                cert: bench.folder.join("key.pem"),
                key: bench.folder.join("nothing.pem"),
            }),
            ..settings
        };
        let refused = Listener::bind(&wrong, None).await.err().expect("refused");
        assert!(
            refused.to_string().starts_with("console.tls: "),
            "{refused}"
        );
    }
}
