//! Settings that are allowed, and risky.
use super::finding::Findings;
use crate::config::{OnFull, Settings, SslMode, StateSettings, is_loopback};

pub fn look(settings: &Settings, findings: &mut Findings) {
    let open = |address: &std::net::SocketAddr| !address.ip().is_loopback();
    if settings.allow_plaintext && settings.listen.iter().any(open) {
        findings.warning(
            "settings.plaintext",
            "clients beyond this machine may come without TLS (allow_plaintext: true)",
            "give the listener a certificate, `tls: { cert: ..., key: ... }`, and take allow_plaintext out",
        );
    }
    if settings.audit.on_full == OnFull::Drop {
        findings.warning(
            "settings.on_full",
            "with audit.on_full: drop a full disk lets statements run that nobody has on record",
            "set `on_full: refuse`, or watch pgveil_audit_records_lost_total",
        );
    }
    if settings.audit.sinks.is_empty() {
        findings.warning(
            "settings.sinks",
            "the record is on this machine alone: whoever takes the machine takes the evidence",
            "name a sink (audit.sinks); at the least keep the chain's head elsewhere, it is in the metrics",
        );
    }
    if settings.audit.signing_key.is_none() {
        findings.note(
            "settings.signing_key",
            "the key that signs the record lies in audit.dir, beside the record: whoever may write there can sign another one",
            "make a key elsewhere (openssl genpkey -algorithm ed25519 -out audit.key) and name it as audit.signing_key",
        );
    }
    if settings.audit.retain_age.is_none() && settings.audit.retain_bytes.is_none() {
        findings.note(
            "settings.retain",
            "the record grows without end",
            "say how long it is kept: `audit: { retain: { age: 400d } }`",
        );
    }
    match &settings.admin {
        None => findings.warning(
            "settings.admin",
            "there is no admin listener: nobody can see whether pgveil is ready, or an alarm",
            "set `admin: { listen: 127.0.0.1:9432 }` and have Prometheus scrape it",
        ),
        Some(address) if open(address) => findings.note(
            "settings.admin",
            format!("/metrics is served on {address} without a password"),
            "let only the monitoring reach it, or listen on loopback",
        ),
        Some(_) => {}
    }
    if settings.upstream.databases.is_none() {
        findings.note(
            "settings.databases",
            "every database of the server is served",
            "name those that are meant: `upstream: { databases: [...] }`",
        );
    }
    let hosts = settings.upstream.hosts.iter().map(|host| &*host.name);
    let distant: Vec<_> = hosts.filter(|host| !is_loopback(host)).collect();
    let (far, distant) = (!distant.is_empty(), distant.join(", "));
    match settings.upstream.tls {
        SslMode::VerifyCa | SslMode::VerifyFull => {}
        SslMode::Disable if far => findings.error(
            "settings.upstream_tls",
            format!("what passes to {distant} is not encrypted (upstream.tls: disable)"),
            "set `tls: verify-full` with the authority's certificate as `ca`",
        ),
        mode if far && settings.upstream.ca.is_none() => findings.warning(
            "settings.upstream_tls",
            format!("nobody checks whether {distant} is the server ({mode:?} without `ca`)"),
            "set `tls: verify-full` with the authority's certificate as `ca`",
        ),
        _ => {}
    }
    if let StateSettings::Postgres(server) = &settings.state
        && !is_loopback(&server.host)
        && !matches!(server.tls, SslMode::VerifyCa | SslMode::VerifyFull)
    {
        findings.warning(
            "settings.state_tls",
            format!(
                "nobody checks whether {} is the server of the state, which holds grants",
                server.host
            ),
            "put sslmode=verify-full and sslrootcert=... into the URL of `state`",
        );
    }
}
