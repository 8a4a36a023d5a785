//! Syslog against a collector of the test's own, which can cut connections at any byte. The real one is in `rsyslog`.
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgveil::config::{SinkKind, SinkSettings, SyslogSettings};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::house::{House, caught_up, sink, status, until};
use crate::support::Certificates;

pub fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(certificates.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(certificates.key_pem.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

pub fn syslog(port: u16, tls: Option<&Certificates>) -> SinkSettings {
    sink(
        "soc",
        SinkKind::Syslog(SyslogSettings {
            host: "localhost".to_owned(),
            port,
            tls: tls.is_some(),
            ca: tls.map(Certificates::ca_file),
            certificate: None,
            facility: 13,
            hostname: Some("db1".to_owned()),
            confirm: true,
        }),
    )
}

/// What becomes of a connection.
#[derive(Clone, Copy)]
pub enum Manner {
    Take,
    /// Dies after so many bytes, and forgets what came on that connection.
    Die(usize),
    /// Reads nothing and says nothing.
    Hang,
}

#[derive(Default)]
struct Log {
    manners: VecDeque<Manner>,
    messages: Vec<String>,
}

/// Keeps a connection's messages once it has ended in good order.
#[derive(Clone)]
pub struct Collector {
    pub port: u16,
    log: Arc<Mutex<Log>>,
    tls: Arc<Mutex<Option<TlsAcceptor>>>,
}

impl Collector {
    pub async fn start(manners: &[Manner], tls: Option<TlsAcceptor>) -> Collector {
        let listener = TcpListener::bind("localhost:0").await.expect("a port");
        let collector = Collector {
            port: listener.local_addr().expect("an address").port(),
            log: Arc::default(),
            tls: Arc::new(Mutex::new(tls)),
        };
        collector.log.lock().expect("log").manners = manners.iter().copied().collect();
        let serving = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                let tls = serving.tls.lock().expect("tls").clone();
                tokio::spawn(async move {
                    match tls {
                        None => serving.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serving.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        collector
    }

    async fn serve(self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let manner = self.log.lock().expect("log").manners.pop_front();
        let mut bytes = Vec::new();
        match manner.unwrap_or(Manner::Take) {
            Manner::Take => {
                if stream.read_to_end(&mut bytes).await.is_ok() {
                    self.log
                        .lock()
                        .expect("log")
                        .messages
                        .extend(frames(&bytes));
                }
            }
            Manner::Die(count) => {
                let mut some = vec![0; count];
                let _ = stream.read_exact(&mut some).await;
            }
            Manner::Hang => std::future::pending().await,
        }
    }

    pub fn messages(&self) -> Vec<String> {
        self.log.lock().expect("log").messages.clone()
    }
}

/// RFC 6587, section 3.4.1.
fn frames(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ').expect("a count");
        let count = std::str::from_utf8(&rest[..space]).expect("digits");
        let count: usize = count.parse().expect("a count");
        let frame = &rest[space + 1..space + 1 + count];
        frames.push(String::from_utf8(frame.to_vec()).expect("utf-8"));
        rest = &rest[space + 1 + count..];
    }
    frames
}

pub fn id(message: &str) -> String {
    let (_, rest) = message.split_once(" id=\"").expect("an identifier");
    rest.split('"').next().expect("its end").to_owned()
}

fn ids(messages: &[String]) -> BTreeSet<String> {
    messages.iter().map(|message| id(message)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_dies_at_any_byte_has_every_message_in_the_end() {
    let manners = [
        Manner::Die(0),
        Manner::Die(1),
        Manner::Die(700),
        Manner::Hang,
        // All that comes, but not the end: what it has read is gone with it.
        Manner::Die(5000),
    ];
    let collector = Collector::start(&manners, None).await;
    let house = House::of_segments(20_000);
    house.write(200);
    let sinks = house.start(&[syslog(collector.port, None)]);
    caught_up(&sinks, "soc").await;
    assert_eq!(ids(&collector.messages()), house.ids());
    assert!(status(&sinks, "soc").failures >= 5);
    let records = house.records();
    for message in collector.messages() {
        let line = &records[&id(&message)];
        assert!(message.ends_with(line), "the line as it is: {message}");
        assert!(message.starts_with("<110>1 20"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_with_an_expired_certificate_gets_nothing_until_it_has_another() {
    let (old, new) = Certificates::expired();
    let collector = Collector::start(&[], Some(acceptor(&old))).await;
    let house = House::new();
    house.write(30);
    let sinks = house.start(&[syslog(collector.port, Some(&new))]);
    until("it has tried", || async {
        status(&sinks, "soc").failures > 2
    })
    .await;
    assert_eq!(collector.messages().len(), 0);
    *collector.tls.lock().expect("tls") = Some(acceptor(&new));
    caught_up(&sinks, "soc").await;
    assert_eq!(ids(&collector.messages()), house.ids());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_somebody_else_gets_nothing() {
    let stranger = Certificates::new();
    let ours = Certificates::new();
    let collector = Collector::start(&[], Some(acceptor(&stranger))).await;
    let house = House::new();
    house.write(3);
    let sinks = house.start(&[syslog(collector.port, Some(&ours))]);
    until("it has tried", || async {
        status(&sinks, "soc").failures > 2
    })
    .await;
    sinks.stop(Duration::from_secs(1)).await;
    assert_eq!(collector.messages().len(), 0);
}
