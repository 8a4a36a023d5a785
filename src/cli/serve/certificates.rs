//! When the certificates in use end, for those who renew them.
use std::path::Path;

use crate::admin::Metrics;
use crate::config::{Settings, StateSettings};
use crate::session::login::LoginGate;
use crate::wire::tls::first_end_in;

/// Shows the certificates in use: at the start, and whenever settings or the files they name have changed.
pub(super) fn show(settings: &Settings, gate: &LoginGate, metrics: &Metrics) {
    show_files(settings, metrics);
    show_listener(gate, metrics);
}

/// Those that the settings name.
fn show_files(settings: &Settings, metrics: &Metrics) {
    let state_ca = match &settings.state {
        StateSettings::File(_) => None,
        StateSettings::Postgres(server) => server.ca.as_deref(),
    };
    let console = settings.console.as_ref().and_then(|it| it.tls.as_ref());
    for (purpose, path) in [
        ("upstream_ca", settings.upstream.ca.as_deref()),
        ("state_ca", state_ca),
        ("console", console.map(|tls| tls.cert.as_path())),
    ] {
        if let Some(path) = path {
            show_file(purpose, path, metrics);
        }
    }
}

fn show_file(purpose: &'static str, path: &Path, metrics: &Metrics) {
    match first_end_in(purpose, path) {
        Ok(Some(end)) => metrics.certificate(purpose, end),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "it cannot be told when a certificate ends"),
    }
}

/// Those of the listener as they are in use now.
fn show_listener(gate: &LoginGate, metrics: &Metrics) {
    let Some(tls) = &gate.tls else {
        return;
    };
    let ends = tls.ends();
    for (purpose, end) in [("listener", ends.own), ("client_ca", ends.client_ca)] {
        if let Some(end) = end {
            metrics.certificate(purpose, end);
        }
    }
}
