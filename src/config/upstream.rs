//! The section `upstream`: the servers, which of them sessions go to, and pgveil's own login there.
use crate::config::yaml::Spanned;

use super::diagnostics::Diagnostic;
use super::load::name;
use super::raw::RawUpstream;
use super::resolve::Resolver;
use super::settings::{CatalogUser, LoadBalance, SslMode, TargetSession, Upstream, UpstreamHost};
use super::source::Origin;
use super::yaml::{Value, each};

const DEFAULT_PORT: u16 = 5432;

pub fn upstream(resolver: &mut Resolver<'_>, raw: &Spanned<RawUpstream>) -> Option<Upstream> {
    let origin = resolver.origin(raw);
    let raw = &raw.value;
    let hosts = hosts(resolver, raw, &origin);
    let target = resolver.optional(&raw.target_session_attrs, |resolver, leaf| {
        resolver.word(leaf, &TargetSession::ALL)
    });
    let balance = resolver.optional(&raw.load_balance_hosts, |resolver, leaf| {
        resolver.word(leaf, &LoadBalance::ALL)
    });
    let tls = resolver.optional(&raw.tls, |resolver, leaf| {
        resolver.word(leaf, &SslMode::ALL)
    });
    let ca = resolver.optional(&raw.ca, |resolver, leaf| {
        resolver.existing(leaf, "the certificate authority file")
    });
    let catalog_user = resolver
        .required(&raw.catalog_user, Some(&origin), "catalog_user")
        .and_then(|raw| {
            let origin = resolver.origin(raw);
            let password = resolver.optional(&raw.value.password, Resolver::secret);
            let leaf = resolver.required(&raw.value.name, Some(&origin), "name")?;
            Some(CatalogUser {
                name: name(resolver, leaf, "a user name")?,
                password,
            })
        });
    let databases = raw
        .databases
        .as_ref()
        .and_then(|leaf| databases(resolver, leaf));
    Some(Upstream {
        hosts: hosts?,
        target: target.unwrap_or(TargetSession::Any),
        balance: balance.unwrap_or(LoadBalance::Disable),
        tls: tls.unwrap_or(SslMode::Prefer),
        ca,
        catalog_user: catalog_user?,
        databases,
    })
}

/// As libpq: one port for all hosts, or one for each. A list may also be written as libpq does, with commas: as a value
/// from the environment has to be.
fn hosts(
    resolver: &mut Resolver<'_>,
    raw: &RawUpstream,
    origin: &Origin,
) -> Option<Vec<UpstreamHost>> {
    let host = resolver.required(&raw.host, Some(origin), "host");
    let names = host.and_then(|leaf| list(resolver, leaf, "a host name", host_name));
    let ports = resolver.optional(&raw.port, |resolver, leaf| {
        list(resolver, leaf, "a port from 1 to 65535", port)
    });
    let (names, ports) = match (names?, &raw.port, ports) {
        (names, None, _) => (names, vec![DEFAULT_PORT]),
        (names, Some(_), ports) => (names, ports?),
    };
    if ports.len() != 1 && ports.len() != names.len() {
        let message = format!("{} ports for {} hosts", ports.len(), names.len());
        if let Some(leaf) = &raw.port {
            let diagnostic = Diagnostic::error(&resolver.origin(leaf), message);
            resolver
                .diagnostics
                .push(diagnostic.suggest("one port for all hosts, or one for each"));
        }
        return None;
    }
    let port = |number: usize| {
        let own = ports.get(number).or(ports.first());
        own.copied().unwrap_or(DEFAULT_PORT)
    };
    let host = |(number, name)| UpstreamHost {
        name,
        port: port(number),
    };
    Some(names.into_iter().enumerate().map(host).collect())
}

/// Values of a list, or of a text that separates them by commas.
fn list<T>(
    resolver: &mut Resolver<'_>,
    leaf: &Spanned<Value>,
    expected: &str,
    parse: fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    let leaves = each(leaf);
    if leaves.is_empty() {
        resolver.error(leaf, format!("expected {expected}, found an empty list"));
        return None;
    }
    let parsed = leaves.into_iter().map(|leaf| {
        resolver.parse(leaf, expected, |text| {
            text.split(',')
                .map(|part| parse(part.trim()))
                .collect::<Option<Vec<T>>>()
        })
    });
    // All of them are looked at, so that one run reports everything.
    let parsed: Vec<Option<Vec<T>>> = parsed.collect();
    let parsed: Option<Vec<Vec<T>>> = parsed.into_iter().collect();
    Some(parsed?.into_iter().flatten().collect())
}

fn host_name(text: &str) -> Option<String> {
    let is_host = !text.is_empty() && !text.contains(['@', '\0']);
    is_host.then(|| text.to_owned())
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

fn databases(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>) -> Option<Vec<String>> {
    let leaves = each(leaf);
    if leaves.is_empty() {
        resolver.error(
            leaf,
            "expected at least one database, or no key at all for every database",
        );
        return None;
    }
    leaves
        .into_iter()
        .map(|leaf| name(resolver, leaf, "a database name"))
        .collect()
}
