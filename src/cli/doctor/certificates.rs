//! When certificates end, on both legs.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::timeout;

use super::finding::{Findings, Level};
use crate::config::{Settings, StateSettings};
use crate::export::clock::now;
use crate::wire::connect::{Attempt, ConnectError, Connected, Server, Upstream};
use crate::wire::stream::Stream;
use crate::wire::tls::Validity;

/// From then on somebody should have begun to renew it.
const SOON: i64 = 14 * 24 * 3600;

/// The files that the settings name.
pub fn look(settings: &Settings, findings: &mut Findings) {
    let console = settings.console.as_ref().and_then(|it| it.tls.as_ref());
    let state = match &settings.state {
        StateSettings::File(_) => None,
        StateSettings::Postgres(server) => server.ca.as_deref(),
    };
    let clients = settings.client_certificates.as_ref();
    for (name, path) in [
        (
            "tls.cert",
            settings.tls.as_ref().map(|tls| tls.cert.as_path()),
        ),
        ("tls.client_ca", clients.map(|clients| clients.ca.as_path())),
        ("console.tls.cert", console.map(|tls| tls.cert.as_path())),
        ("upstream.ca", settings.upstream.ca.as_deref()),
        ("the state's sslrootcert", state),
    ] {
        if let Some(path) = path {
            file(name, path, findings);
        }
    }
}

fn file(name: &str, path: &Path, findings: &mut Findings) {
    let read =
        CertificateDer::pem_file_iter(path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let what = format!("a certificate of {name} ({})", path.display());
    match read {
        Ok(chain) if !chain.is_empty() => {
            for certificate in &chain {
                validity(&what, certificate, now(), findings);
            }
        }
        Ok(_) => findings.error(
            "certificates.unreadable",
            format!("{name}: {} holds no certificate", path.display()),
            "put a PEM file there",
        ),
        Err(error) => findings.error(
            "certificates.unreadable",
            format!("{name}: {} cannot be read: {error}", path.display()),
            "put a PEM file there that pgveil's user can read",
        ),
    }
}

/// The certificates that the servers show now.
pub async fn look_at_servers(upstream: &Upstream, limit: Duration, findings: &mut Findings) {
    let servers = (0..).map_while(|number| upstream.server(number));
    for server in servers.filter(|server| server.attempts() != [Attempt::Plain]) {
        // A server that is away is found by others.
        if let Ok(Ok(connected)) = timeout(limit, connect(upstream, server)).await {
            shown(&connected, findings);
        }
    }
}

/// To the first address of a server that answers.
async fn connect(upstream: &Upstream, server: &Arc<Server>) -> Result<Connected, ConnectError> {
    let addresses = upstream.hosts().addresses(server.number()).await;
    let mut failure = ConnectError::NoAddress {
        host: server.host().to_string(),
    };
    for address in addresses.map_err(|source| server.unresolved(source))? {
        match server.connect_to(address, Attempt::TlsIfOffered).await {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn shown(connected: &Connected, findings: &mut Findings) {
    if let Stream::ServerTls(tls) = &connected.stream
        && let Some(chain) = tls.get_ref().1.peer_certificates()
    {
        let what = format!("the certificate of {}", connected.server.host());
        if let Some(leaf) = chain.first() {
            validity(&what, leaf, now(), findings);
        }
    }
}

fn validity(what: &str, certificate: &[u8], now: i64, findings: &mut Findings) {
    let Some(Validity {
        not_before,
        not_after,
    }) = Validity::of(certificate)
    else {
        return;
    };
    let days = |seconds: i64| seconds / (24 * 3600);
    let (level, told) = match not_after - now {
        left if left < 0 => (Level::Error, format!("ended {} days ago", days(-left))),
        left if left < SOON => (Level::Warning, format!("ends in {} days", days(left))),
        _ if not_before > now => (
            Level::Error,
            format!("does not begin for {} days", days(not_before - now)),
        ),
        _ => return,
    };
    findings.add(
        level,
        "certificates.validity",
        format!("{what} {told}"),
        "renew it; pgveil takes its files up when they change, and by SIGHUP (systemctl reload pgveil)",
    );
}
