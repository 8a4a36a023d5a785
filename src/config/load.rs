//! From `pgveil.yaml` to checked [`Settings`].
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::yaml::Spanned;

use super::audit;
use super::diagnostics::{Diagnostic, Diagnostics};
use super::limits::Limits;
use super::notify::notify;
use super::raw::{Leaf, RawAdmin, RawAuth, RawLimits, RawListenerTls, RawSettings};
use super::resolve::{Environment, Resolver};
use super::settings::{
    Auth, AuthMethod, ClientCertificateMode, ClientCertificates, Settings, TlsSettings,
};
use super::source::{Origin, Source};
use super::state;
use super::units;
use super::upstream::upstream;
use super::yaml::{self, Value, each};

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6432);
/// `planner_threads` and `max_sessions` beyond this are a slip of the keyboard.
const MAX_COUNT: usize = 1_000_000;

/// Reads and checks a settings file.
///
/// # Errors
/// All findings, each with its place in the file.
pub fn load(path: &Path) -> Result<Settings, Diagnostics> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// [`load`] with another environment.
pub fn load_with(path: &Path, environment: Environment<'_>) -> Result<Settings, Diagnostics> {
    let source = Source::read(path)?;
    let raw: RawSettings = yaml::read(&source)?;
    let mut resolver = Resolver {
        source: &source,
        environment,
        diagnostics: Diagnostics::default(),
    };
    let settings = settings(&mut resolver, &raw);
    match settings {
        Some(settings) if !resolver.diagnostics.has_errors() => Ok(settings),
        _ => {
            resolver.diagnostics.sort();
            Err(resolver.diagnostics)
        }
    }
}

/// `None` only together with an error; sections are all read before that, so that one run reports everything.
fn settings(resolver: &mut Resolver<'_>, raw: &RawSettings) -> Option<Settings> {
    let allow_plaintext = resolver.optional(&raw.allow_plaintext, Resolver::boolean);
    let tls = raw.tls.as_ref().map(|raw| {
        let origin = resolver.origin(raw);
        tls(resolver, &origin, &raw.value.cert, &raw.value.key)
    });
    let clients = match &raw.tls {
        Some(raw) => client_certificates(resolver, &raw.value),
        None => Some(None),
    };
    let guard = Guard {
        plaintext: allow_plaintext.unwrap_or(false),
        tls: raw.tls.is_some(),
    };
    let listen = listeners(resolver, &raw.listen, &guard);
    let upstream = resolver
        .required(&raw.upstream, None, "upstream")
        .and_then(|raw| upstream(resolver, raw));
    let auth = auth(resolver, raw.auth.as_ref());
    let application_keys =
        super::application_keys::application_keys(resolver, raw.application_keys.as_ref());
    let policies = resolver
        .required(&raw.policies, None, "policies")
        .and_then(|leaf| resolver.existing(leaf, "the policy folder or file"));
    let policy_keys = policy_keys(resolver, &raw.policy_keys);
    let state = state::state(resolver, &raw.state);
    let audit = audit::audit(resolver, raw.audit.as_ref(), guard.plaintext);
    let admin = raw.admin.as_ref().map(|raw| admin(resolver, raw, &guard));
    let notify = raw
        .notify
        .as_ref()
        .map(|raw| notify(resolver, raw, guard.plaintext));
    let console = raw
        .console
        .as_ref()
        .map(|raw| super::console::console(resolver, raw));
    // Links lead to the console, wherever that is.
    let notify = notify.map(|notify| {
        let mut notify = notify?;
        if let (None, Some(Some(console))) = (&notify.console_url, &console) {
            notify.console_url.clone_from(&console.url);
        }
        Some(notify)
    });
    let limits = raw
        .limits
        .as_ref()
        .map_or(Limits::default(), |raw| limits(resolver, &raw.value));
    Some(Settings {
        path: resolver.source.path.clone(),
        listen: listen?,
        allow_plaintext: guard.plaintext,
        tls: transpose(tls)?,
        client_certificates: clients?,
        upstream: upstream?,
        auth: auth?,
        application_keys: application_keys?,
        policies: policies?,
        policy_keys: policy_keys?,
        state: state?,
        audit: audit?,
        admin: transpose(admin)?,
        notify: transpose(notify)?,
        console: transpose(console)?,
        limits,
    })
}

/// Files of public keys; none where nothing is said. An empty list would ask for a signature that nobody can give.
fn policy_keys(resolver: &mut Resolver<'_>, leaf: &Leaf) -> Option<Vec<PathBuf>> {
    let Some(leaf) = leaf else {
        return Some(Vec::new());
    };
    let leaves = each(leaf);
    if leaves.is_empty() {
        resolver.error(leaf, "expected at least one file of a public key");
    }
    let keys: Vec<Option<PathBuf>> = leaves
        .into_iter()
        .map(|leaf| resolver.existing(leaf, "the public key file"))
        .collect();
    keys.into_iter().collect()
}

/// A section that is there but wrong makes the whole wrong; one that is absent does not.
pub(super) fn transpose<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        Some(None) => None,
        Some(some) => Some(some),
        None => Some(None),
    }
}

/// Whether a listener may carry data in the clear.
struct Guard {
    plaintext: bool,
    tls: bool,
}

fn listeners(resolver: &mut Resolver<'_>, leaf: &Leaf, guard: &Guard) -> Option<Vec<SocketAddr>> {
    let Some(leaf) = leaf else {
        return Some(vec![DEFAULT_LISTEN]);
    };
    let leaves = each(leaf);
    if leaves.is_empty() {
        resolver.error(leaf, "expected at least one address");
    }
    let mut addresses = Vec::new();
    for leaf in leaves {
        let way_out = "set `tls: { cert, key }`, or `allow_plaintext: true` to accept it";
        let Some(address) = listener(resolver, leaf, guard.plaintext || guard.tls, way_out) else {
            continue;
        };
        if address.port() != 0 && addresses.contains(&address) {
            resolver.error(leaf, format!("the address `{address}` stands here twice"));
        }
        addresses.push(address);
    }
    (!addresses.is_empty()).then_some(addresses)
}

pub(super) fn listener(
    resolver: &mut Resolver<'_>,
    leaf: &Spanned<Value>,
    anywhere: bool,
    way_out: &str,
) -> Option<SocketAddr> {
    let address = resolver.parse(
        leaf,
        "an address and a port such as `127.0.0.1:6432` or `[::1]:6432`",
        address,
    )?;
    if !address.ip().is_loopback() && !anywhere {
        let message =
            format!("`{address}` is not a loopback address and would be reached without TLS");
        let diagnostic = Diagnostic::error(&resolver.origin(leaf), message);
        resolver.diagnostics.push(diagnostic.suggest(way_out));
        return None;
    }
    Some(address)
}

fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            port.parse().ok()?,
        )),
        None => text.parse().ok(),
    }
}

pub(super) fn tls(
    resolver: &mut Resolver<'_>,
    origin: &Origin,
    cert: &Leaf,
    key: &Leaf,
) -> Option<TlsSettings> {
    let cert = resolver
        .required(cert, Some(origin), "cert")
        .and_then(|leaf| resolver.existing(leaf, "the certificate file"));
    let key = resolver
        .required(key, Some(origin), "key")
        .and_then(|leaf| resolver.existing(leaf, "the key file"));
    Some(TlsSettings {
        cert: cert?,
        key: key?,
    })
}

/// What clients are asked for; `Some(None)` where it is nothing.
fn client_certificates(
    resolver: &mut Resolver<'_>,
    raw: &RawListenerTls,
) -> Option<Option<ClientCertificates>> {
    use ClientCertificateMode::{Request, Require};
    const WORDS: &[(&str, Option<ClientCertificateMode>)] = &[
        ("none", None),
        ("request", Some(Request)),
        ("require", Some(Require)),
    ];
    let ca = raw.client_ca.as_ref();
    let ca = ca.map(|leaf| resolver.existing(leaf, "the certificate authority file"));
    let Some(leaf) = &raw.client_cert else {
        let mode = Request;
        return Some(transpose(ca)?.map(|ca| ClientCertificates { ca, mode }));
    };
    let mode = resolver.word(leaf, WORDS);
    match (mode?, transpose(ca)?) {
        (None, _) => Some(None),
        (Some(mode), Some(ca)) => Some(Some(ClientCertificates { ca, mode })),
        (Some(_), None) => {
            let message = "clients' certificates cannot be verified without `client_ca`";
            let diagnostic = Diagnostic::error(&resolver.origin(leaf), message);
            resolver
                .diagnostics
                .push(diagnostic.suggest("set `client_ca` to the PEM file of their authorities"));
            None
        }
    }
}

pub(super) fn name(
    resolver: &mut Resolver<'_>,
    leaf: &Spanned<Value>,
    expected: &str,
) -> Option<String> {
    resolver.parse(leaf, expected, |text| {
        (!text.is_empty() && !text.contains('\0')).then(|| text.to_owned())
    })
}

fn auth(resolver: &mut Resolver<'_>, raw: Option<&Spanned<RawAuth>>) -> Option<Auth> {
    let Some(raw) = raw else {
        return Some(Auth {
            method: AuthMethod::Passthrough,
            users: None,
            tokens: BTreeMap::new(),
        });
    };
    let method = match &raw.value.method {
        Some(leaf) => resolver.word(leaf, &AuthMethod::ALL),
        None => Some(AuthMethod::Passthrough),
    };
    let users = resolver.optional(&raw.value.users, |resolver, leaf| {
        resolver.existing(leaf, "the users file")
    });
    if let (Some(AuthMethod::Passthrough), Some(leaf)) = (method, &raw.value.users) {
        let diagnostic = Diagnostic::error(
            &resolver.origin(leaf),
            "`users` has no meaning with `method: passthrough`",
        );
        resolver
            .diagnostics
            .push(diagnostic.suggest("set `method: scram`, or take `users` out"));
    }
    let tokens = super::tokens::tokens(resolver, raw.value.tokens.as_ref());
    Some(Auth {
        method: method?,
        users,
        tokens: tokens?,
    })
}

pub(super) fn path_or(
    resolver: &mut Resolver<'_>,
    leaf: &Leaf,
    default: &str,
) -> std::path::PathBuf {
    let given = resolver.optional(leaf, |resolver, leaf| resolver.path(leaf));
    given.unwrap_or_else(|| {
        resolver
            .source
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .join(default)
    })
}

/// The admin listener speaks plain HTTP whatever `tls` says, so only `allow_plaintext` lets it leave loopback: its own, so
/// that a container whose metrics are scraped need not take sessions without TLS.
fn admin(
    resolver: &mut Resolver<'_>,
    raw: &Spanned<RawAdmin>,
    guard: &Guard,
) -> Option<SocketAddr> {
    let origin = resolver.origin(raw);
    let leaf = resolver.required(&raw.value.listen, Some(&origin), "listen")?;
    let own = resolver.optional(&raw.value.allow_plaintext, Resolver::boolean);
    listener(
        resolver,
        leaf,
        guard.plaintext || own.unwrap_or(false),
        "serve it on `127.0.0.1`, or set `allow_plaintext: true` beside it to accept that",
    )
}

fn limits(resolver: &mut Resolver<'_>, raw: &RawLimits) -> Limits {
    let mut limits = Limits::default();
    set(
        resolver,
        &raw.max_sessions,
        &mut limits.max_sessions,
        COUNT_EXPECTED,
        count,
    );
    set(
        resolver,
        &raw.planner_threads,
        &mut limits.planner_threads,
        COUNT_EXPECTED,
        count,
    );
    for (leaf, slot) in [
        (&raw.login_timeout, &mut limits.login_timeout),
        (&raw.drain_timeout, &mut limits.drain_timeout),
        (&raw.connect_timeout, &mut limits.connect_timeout),
        (&raw.catalog_refresh, &mut limits.catalog_refresh),
        (&raw.tcp_keepalive, &mut limits.tcp_keepalive),
    ] {
        set_duration(resolver, leaf, slot);
    }
    set(
        resolver,
        &raw.drain_delay,
        &mut limits.drain_delay,
        units::DURATION_EXPECTED,
        units::pause,
    );
    for (leaf, slot) in [
        (&raw.max_statement_bytes, &mut limits.max_statement_bytes),
        (&raw.max_startup_bytes, &mut limits.max_startup_bytes),
        (&raw.plan_cache_bytes, &mut limits.plan_cache_bytes),
    ] {
        set(resolver, leaf, slot, units::SIZE_EXPECTED, units::size);
    }
    limits
}

const COUNT_EXPECTED: &str = "a whole number from 1 to 1000000";

fn count(text: &str) -> Option<usize> {
    text.parse()
        .ok()
        .filter(|count| (1..=MAX_COUNT).contains(count))
}

pub(super) fn set_duration(resolver: &mut Resolver<'_>, leaf: &Leaf, slot: &mut Duration) {
    set(
        resolver,
        leaf,
        slot,
        units::DURATION_EXPECTED,
        units::duration,
    );
}

pub(super) fn set<T>(
    resolver: &mut Resolver<'_>,
    leaf: &Leaf,
    slot: &mut T,
    expected: &str,
    parse: fn(&str) -> Option<T>,
) {
    if let Some(value) =
        resolver.optional(leaf, |resolver, leaf| resolver.parse(leaf, expected, parse))
    {
        *slot = value;
    }
}
