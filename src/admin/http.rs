//! The admin listener: `GET /metrics`, `/healthz` and `/readyz` over HTTP/1.1.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Metrics;
use super::within::within;
use crate::audit::Spool;

/// Connections served at the same time; a scraper needs one.
pub const MAX_CONNECTIONS: usize = 32;
/// A client that has not sent its request line and headers by then is dropped.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is served, ...
const LIFE: Duration = Duration::from_secs(15);
/// ... and how much longer it takes to end.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes of one request's line and headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Wait after an accept that failed, so that a process out of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What `/readyz` goes by. Everything starts as not ready.
#[derive(Debug, Default)]
pub struct Readiness {
    catalog: AtomicBool,
    listening: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// The catalog of every database that sessions use could be read.
    pub fn catalog(&self, good: bool) {
        self.catalog.store(good, Ordering::Relaxed);
    }

    pub fn listening(&self) {
        self.listening.store(true, Ordering::Relaxed);
    }

    /// No new sessions from here on.
    pub fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// `Err` says what stands in the way.
    fn check(&self, spool: &Spool) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Err("draining")
        } else if !self.listening.load(Ordering::Relaxed) {
            Err("starting")
        } else if !self.catalog.load(Ordering::Relaxed) {
            Err("the catalog cannot be read")
        } else if !spool.is_healthy() {
            Err("the audit spool cannot be written")
        } else {
            Ok(())
        }
    }
}

/// What the admin listener shows.
#[derive(Clone)]
pub struct Admin {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<Readiness>,
    pub spool: Arc<Spool>,
}

impl Admin {
    /// Serves until the task is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // Closed never: the semaphore lives as long as this loop.
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((tcp, _)) => {
                    let admin = self.clone();
                    tokio::spawn(async move {
                        admin.connection(tcp).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(&self, tcp: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(self.answer(request.method(), request.uri().path()))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            .serve_connection(TokioIo::new(tcp), service);
        let ended = within(served, LIFE, GRACE, |served| served.graceful_shutdown()).await;
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "admin: a connection ended badly");
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let response = match path {
            "/metrics" | "/healthz" | "/readyz"
                if method != Method::GET && method != Method::HEAD =>
            {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
            "/metrics" => self.render(),
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.readiness.check(&self.spool) {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(obstacle) => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &format!("not ready: {obstacle}\n"),
                ),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "not found; there are /metrics, /healthz and /readyz\n",
            ),
        };
        let (mut parts, body) = response.into_parts();
        parts
            .headers
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Response::from_parts(parts, body)
    }

    fn render(&self) -> Response<Full<Bytes>> {
        self.metrics.audit_spool(&self.spool);
        self.metrics
            .ready(self.readiness.check(&self.spool).is_ok());
        match self.metrics.render() {
            Ok(body) => with_type(StatusCode::OK, Bytes::from(body), PROMETHEUS),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be rendered");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "metrics cannot be rendered\n",
                )
            }
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    with_type(status, Bytes::copy_from_slice(body.as_bytes()), TEXT)
}

fn with_type(status: StatusCode, body: Bytes, content_type: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::SpoolSettings;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Served {
        admin: Admin,
        address: std::net::SocketAddr,
        dir: std::path::PathBuf,
        task: tokio::task::JoinHandle<()>,
    }

    impl Served {
        async fn new(name: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("pgveil-admin-{}-{name}", std::process::id()));
            let admin = Admin {
                metrics: Arc::new(Metrics::new().expect("metrics")),
                readiness: Arc::new(Readiness::default()),
                spool: Arc::new(Spool::open(&dir, SpoolSettings::default()).expect("spool")),
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
            let address = listener.local_addr().expect("an address");
            let task = tokio::spawn(admin.clone().serve(listener));
            Served {
                admin,
                address,
                dir,
                task,
            }
        }

        async fn send(&self, request: &str) -> String {
            let mut tcp = TcpStream::connect(self.address).await.expect("connected");
            tcp.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).await.expect("answered");
            answer
        }

        async fn get(&self, path: &str) -> String {
            self.send(&format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ))
            .await
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            self.task.abort();
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }

    #[tokio::test]
    async fn it_is_ready_once_everything_is_and_until_it_drains() {
        let served = Served::new("ready").await;
        assert!(served.get("/readyz").await.contains("503"));
        served.admin.readiness.listening();
        assert!(
            served
                .get("/readyz")
                .await
                .ends_with("not ready: the catalog cannot be read\n")
        );
        served.admin.readiness.catalog(true);
        assert!(served.get("/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(served.get("/metrics").await.contains("\npgveil_ready 1\n"));
        served.admin.readiness.draining();
        assert!(
            served
                .get("/readyz")
                .await
                .ends_with("not ready: draining\n")
        );
        assert!(served.get("/healthz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn it_is_not_ready_without_its_spool() {
        let served = Served::new("spool").await;
        served.admin.readiness.listening();
        served.admin.readiness.catalog(true);
        std::fs::remove_dir_all(&served.dir).expect("removed");
        assert!(
            served
                .get("/readyz")
                .await
                .ends_with("not ready: the audit spool cannot be written\n")
        );
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_of_prometheus() {
        let served = Served::new("metrics").await;
        let answer = served.get("/metrics").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4"));
        assert!(answer.contains("# TYPE pgveil_sessions gauge"));
        assert!(answer.contains("pgveil_audit_unsynced_records 1\n"));
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let served = Served::new("other").await;
        assert!(served.get("/").await.starts_with("HTTP/1.1 404"));
        let posted = served
            .send("POST /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
        assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
    }

    #[tokio::test]
    async fn a_request_that_is_none_ends_the_connection() {
        let served = Served::new("none").await;
        assert!(
            served
                .send("\x16\x03\x01 not http\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 400")
        );
    }
}
