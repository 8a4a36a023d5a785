//! A web server (hyper) that behaves as it is told, connection by connection, and then well.
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

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
use tokio_rustls::TlsAcceptor;

use crate::support::Certificates;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Answer(u16),
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
}

#[derive(Default)]
struct Log {
    manners: VecDeque<Manner>,
    received: Vec<Received>,
    connections: usize,
    handshakes: usize,
}

#[derive(Clone)]
pub struct WebServer {
    pub port: u16,
    tls: Option<TlsAcceptor>,
    log: Arc<Mutex<Log>>,
}

impl WebServer {
    pub async fn start(manners: &[Manner]) -> WebServer {
        WebServer::listen(manners, None).await
    }

    /// Over TLS.
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
        WebServer::listen(&[], Some(Arc::new(config).into())).await
    }

    async fn listen(manners: &[Manner], tls: Option<TlsAcceptor>) -> WebServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = WebServer {
            port: listener.local_addr().unwrap().port(),
            tls,
            log: Arc::default(),
        };
        server.log.lock().unwrap().manners = manners.iter().copied().collect();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().accept(stream));
            }
        });
        server
    }

    async fn accept(self, stream: tokio::net::TcpStream) {
        let manner = {
            let mut log = self.log.lock().unwrap();
            log.connections += 1;
            log.manners.pop_front().unwrap_or(Manner::Answer(200))
        };
        let Some(tls) = self.tls.clone() else {
            return self.serve(stream, manner).await;
        };
        // A client that does not trust the certificate ends the handshake.
        if let Ok(stream) = tls.accept(stream).await {
            self.log.lock().unwrap().handshakes += 1;
            self.serve(stream, manner).await;
        }
    }

    async fn serve<S>(self, mut stream: S, manner: Manner)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let status = match manner {
            Manner::Answer(status) => status,
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
        let service = service_fn(move |request| self.clone().answer(request, status));
        let _ = hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        status: u16,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.log.lock().unwrap().received.push(Received {
            path,
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
            answered: status,
        });
        let answer = Response::builder()
            .status(StatusCode::from_u16(status).unwrap())
            .header("location", "/elsewhere")
            .body(Full::new(Bytes::from_static(b"{}")));
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

    pub fn handshakes(&self) -> usize {
        self.log.lock().unwrap().handshakes
    }

    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }
}
