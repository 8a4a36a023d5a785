//! Receivers that take records only from whoever has a certificate of their authority.
use std::path::PathBuf;
use std::sync::Arc;

use pgveil::config::{OtlpProtocol, Secret, SinkKind, SinkSettings, TlsSettings, WebSinkSettings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::house::{House, caught_up, sink, status, until};
use crate::nats::{self, Nats};
use crate::otlp;
use crate::support::{Certificates, free_port, skip};
use crate::syslog::{self, syslog};
use crate::web::SECRET;
use crate::web_server::WebServer;

/// Years in which certificates of clients are valid.
const VALID: std::ops::Range<i32> = 2020..4000;

/// The server shows the one, and asks for certificates of the other's authority.
fn acceptor(own: &Certificates, clients: &Certificates) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(clients.ca_pem.as_bytes()) {
        roots.add(ca.expect("a certificate")).expect("an authority");
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .expect("a verifier");
    let chain = CertificateDer::pem_slice_iter(own.cert_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("a pair");
    TlsAcceptor::from(Arc::new(config))
}

fn settings((cert, key): (PathBuf, PathBuf)) -> TlsSettings {
    TlsSettings { cert, key }
}

/// Three sinks of a kind: `known` with the certificate, `stranger` with one of another authority, `nobody` with none.
fn three(base: &SinkSettings, clients: &Certificates) -> [SinkSettings; 3] {
    let other = Certificates::new();
    let with = |name: &str, certificate: Option<TlsSettings>| {
        let mut settings = base.clone();
        settings.name = name.to_owned();
        let slot = match &mut settings.kind {
            SinkKind::Webhook(web) => &mut web.certificate,
            SinkKind::Syslog(syslog) => &mut syslog.certificate,
            SinkKind::Nats(nats) => &mut nats.certificate,
            SinkKind::Otlp(otlp) => &mut otlp.certificate,
            kind => panic!("{kind:?}"),
        };
        *slot = certificate;
        settings
    };
    let stranger = settings(other.client("stranger", VALID));
    // Its files outlive the test.
    std::mem::forget(other);
    [
        with("known", Some(settings(clients.client("pgveil", VALID)))),
        with("stranger", Some(stranger)),
        with("nobody", None),
    ]
}

/// The one with the certificate is done; the others have tried.
async fn only_the_known_delivers(house: &House, sinks: [SinkSettings; 3]) {
    let sinks = house.start(&sinks);
    caught_up(&sinks, "known").await;
    until("the others have tried", || async {
        ["stranger", "nobody"]
            .iter()
            .all(|name| status(&sinks, name).failures > 2)
    })
    .await;
    for name in ["stranger", "nobody"] {
        assert_eq!(status(&sinks, name).delivered, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_knows_pgveil_by_its_certificate() {
    let (own, clients) = (Certificates::new(), Certificates::new());
    let reply: Arc<dyn Fn(&str) -> String + Send + Sync> = Arc::new(|_: &str| "{}".to_owned());
    let server = WebServer::start_at(0, &[], reply, Some(acceptor(&own, &clients))).await;
    let house = House::new();
    house.write(30);
    let web = WebSinkSettings {
        url: Secret::new(format!("https://localhost:{}/hook", server.port)),
        secret: Secret::new(SECRET.to_owned()),
        ca: Some(own.ca_file()),
        certificate: None,
    };
    let base = sink("hook", SinkKind::Webhook(web));
    only_the_known_delivers(&house, three(&base, &clients)).await;
    assert!(!server.accepted().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_syslog_collector_knows_pgveil_by_its_certificate() {
    let (own, clients) = (Certificates::new(), Certificates::new());
    let collector = syslog::Collector::start(&[], Some(acceptor(&own, &clients))).await;
    let house = House::new();
    house.write(30);
    let base = syslog(collector.port, Some(&own));
    only_the_known_delivers(&house, three(&base, &clients)).await;
    assert_eq!(collector.messages().len(), house.ids().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_server_knows_pgveil_by_its_certificate() {
    let Some(program) = nats::program() else {
        skip(
            "a_nats_server_knows_pgveil_by_its_certificate",
            "nats-server is not installed",
        );
        return;
    };
    let (own, clients) = (Certificates::new(), Certificates::new());
    let mut server = Nats::new(program, Some(&own));
    server.demand(clients.ca_file(), clients.client("reader", 2021..4001));
    server.start();
    server.stream(Some(&own)).await;
    let house = House::new();
    house.write(30);
    let base = nats::nats(server.port, Some(&own));
    only_the_known_delivers(&house, three(&base, &clients)).await;
    assert_eq!(server.messages(Some(&own)).await.len(), house.ids().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_of_logs_knows_pgveil_by_its_certificate() {
    let Some(python) = otlp::python() else {
        skip(
            "a_collector_of_logs_knows_pgveil_by_its_certificate",
            "tests/run.sh has not installed the collector (target/sinks)",
        );
        return;
    };
    let (own, clients) = (Certificates::new(), Certificates::new());
    let files = [own.cert_file(), own.key_file(), clients.ca_file()];
    let files = files.map(|file| file.to_str().expect("utf-8").to_owned());
    let more = [
        "--cert",
        &files[0],
        "--key",
        &files[1],
        "--client-ca",
        &files[2],
    ];
    let collector = otlp::Collector::start(&python, "grpc", free_port(), &more).await;
    let house = House::new();
    house.write(30);
    let base = otlp::otlp(collector.port, OtlpProtocol::Grpc, Some(&own));
    only_the_known_delivers(&house, three(&base, &clients)).await;
    until("its output is read", || async {
        collector.ids() == house.ids()
    })
    .await;
}
