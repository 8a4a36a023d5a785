//! A web server (hyper) that behaves as it is told, connection by connection, and then well.
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::support::Certificates;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Answer(u16),
    #[allow(
        dead_code,
        reason = "not every test that has this server asks for patience"
    )]
    /// 503, with so many seconds in `Retry-After`.
    Later(u64),
    /// Answers, but not in HTTP.
    Garbage,
    /// Takes the request and says nothing.
    Hang,
    /// Closes without a word.
    Close,
    /// Sends the client to `/elsewhere` of the same server.
    Redirect,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub answered: u16,
    #[allow(dead_code, reason = "not every test that has this server asks")]
    pub at: Instant,
}

#[derive(Default)]
struct Log {
    manners: VecDeque<Manner>,
    received: Vec<Received>,
    connections: usize,
    handshakes: usize,
}

/// What is answered to a body that is taken.
type Reply = Arc<dyn Fn(&str) -> String + Send + Sync>;

#[derive(Clone)]
pub struct WebServer {
    pub port: u16,
    log: Arc<Mutex<Log>>,
    reply: Reply,
    listening: Arc<tokio::sync::Mutex<Option<JoinHandle<()>>>>,
}

impl WebServer {
    pub async fn start(manners: &[Manner]) -> WebServer {
        let reply: Reply = Arc::new(|_: &str| "{}".to_owned());
        WebServer::start_at(0, manners, reply, None).await
    }

    /// Over TLS.
    #[allow(dead_code, reason = "not every test that has this server does so")]
    pub async fn start_tls(certificates: &Certificates) -> WebServer {
        let chain = CertificateDer::pem_slice_iter(certificates.cert_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(certificates.key_pem.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let reply: Reply = Arc::new(|_: &str| "{}".to_owned());
        WebServer::start_at(0, &[], reply, Some(Arc::new(config).into())).await
    }

    /// On a port, with other answers, over TLS.
    pub async fn start_at(
        port: u16,
        manners: &[Manner],
        reply: Reply,
        tls: Option<TlsAcceptor>,
    ) -> WebServer {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let server = WebServer {
            port: listener.local_addr().unwrap().port(),
            log: Arc::default(),
            reply,
            listening: Arc::default(),
        };
        server.log.lock().unwrap().manners = manners.iter().copied().collect();
        let serving = server.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, tls) = (serving.clone(), tls.clone());
                serving.log.lock().unwrap().connections += 1;
                tokio::spawn(async move {
                    match tls {
                        None => serving.serve(stream).await,
                        Some(tls) => {
                            // A client that does not trust the certificate ends the handshake.
                            if let Ok(stream) = tls.accept(stream).await {
                                serving.log.lock().unwrap().handshakes += 1;
                                serving.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        *server.listening.lock().await = Some(listening);
        server
    }

    /// Nobody listens there from now on.
    #[allow(dead_code, reason = "not every test that has this server ends it")]
    pub async fn stop(&self) {
        if let Some(task) = self.listening.lock().await.take() {
            task.abort();
            let _ = task.await;
        }
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        let manner = {
            let mut log = self.log.lock().unwrap();
            log.manners.pop_front().unwrap_or(Manner::Answer(200))
        };
        let status = match manner {
            Manner::Answer(status) => status,
            Manner::Later(_) => 503,
            Manner::Redirect => 307,
            Manner::Close => return,
            Manner::Garbage => {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream
                    .write_all(b"\x00\x01 NOT HTTP AT ALL \xff\r\n\r\n")
                    .await;
                return;
            }
            Manner::Hang => {
                let mut request = Vec::new();
                // Until the client has had enough.
                let _ = stream.read_to_end(&mut request).await;
                return;
            }
        };
        let later = match manner {
            Manner::Later(seconds) => Some(seconds),
            _ => None,
        };
        let service = service_fn(move |request| self.clone().answer(request, status, later));
        let _ = hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        status: u16,
        later: Option<u64>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        let reply = match status {
            200 => (self.reply)(&body),
            _ => "{}".to_owned(),
        };
        self.log.lock().unwrap().received.push(Received {
            path,
            headers,
            body,
            answered: status,
            at: Instant::now(),
        });
        let mut answer = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("location", "/elsewhere");
        if let Some(seconds) = later {
            answer = answer.header("retry-after", seconds);
        }
        let answer = answer.body(Full::new(Bytes::from(reply)));
        Ok(answer.unwrap())
    }

    /// Requests that were answered with 200, in order.
    pub fn accepted(&self) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|request| request.answered == 200);
        received
    }

    pub fn received(&self) -> Vec<Received> {
        self.log.lock().unwrap().received.clone()
    }

    #[allow(dead_code, reason = "not every test that has this server counts them")]
    #[allow(dead_code, reason = "not every test that has this server asks")]
    pub fn handshakes(&self) -> usize {
        self.log.lock().unwrap().handshakes
    }

    #[allow(dead_code, reason = "not every test that has this server asks")]
    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }
}
