//! The section `console`: the web page and API of approvals.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::yaml::Spanned;

use super::diagnostics::Diagnostic;
use super::load::{listener, name, set, tls, transpose};
use super::loopback::is_loopback;
use super::raw::{RawConsole, RawOidc};
use super::resolve::Resolver;
use super::secret::Secret;
use super::settings::TlsSettings;
use super::units;
use super::yaml::Value;

/// How long a session of the console lives without a request.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// How long it lives at all.
const LIFETIME: Duration = Duration::from_secs(8 * 3600);
pub(super) const GROUPS_CLAIM: &str = "groups";

/// Where approvers sign, and how they sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Loopback, or with [`ConsoleSettings::tls`].
    pub listen: SocketAddr,
    pub tls: Option<TlsSettings>,
    /// As browsers reach it, without a slash at the end; there unless it listens on loopback.
    pub url: Option<String>,
    pub idle_timeout: Duration,
    pub session_lifetime: Duration,
    /// The identity provider that people may sign in with as well.
    pub oidc: Option<OidcSettings>,
}

/// An OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Option<Secret>,
    pub person_claim: String,
    pub groups_claim: String,
    /// The provider's group: the approver group.
    pub groups: BTreeMap<String, String>,
}

pub(super) fn console(
    resolver: &mut Resolver<'_>,
    raw: &Spanned<RawConsole>,
) -> Option<ConsoleSettings> {
    let origin = resolver.origin(raw);
    let raw = &raw.value;
    let tls = raw.tls.as_ref().map(|raw| {
        let origin = resolver.origin(raw);
        tls(resolver, &origin, &raw.value.cert, &raw.value.key)
    });
    let leaf = resolver.required(&raw.listen, Some(&origin), "listen");
    let listen = leaf.and_then(|leaf| {
        listener(
            resolver,
            leaf,
            tls.is_some(),
            "set `console: { tls: { cert, key } }`, or serve it on `127.0.0.1`",
        )
    });
    let url = raw.url.as_ref().map(|leaf| {
        resolver.parse(
            leaf,
            "the console's own address such as `https://approvals.example.com` (http only on loopback)",
            base_url,
        )
    });
    if let (Some(leaf), Some(address), None) = (leaf, listen, &url)
        && !address.ip().is_loopback()
    {
        let diagnostic = Diagnostic::error(
            &resolver.origin(leaf),
            "a console that is reached from elsewhere needs `url`",
        );
        resolver
            .diagnostics
            .push(diagnostic.suggest("set `url: https://...` to the address that browsers show"));
    }
    let (mut idle_timeout, mut session_lifetime) = (IDLE, LIFETIME);
    for (leaf, slot) in [
        (&raw.idle_timeout, &mut idle_timeout),
        (&raw.session_lifetime, &mut session_lifetime),
    ] {
        set(
            resolver,
            leaf,
            slot,
            units::DURATION_EXPECTED,
            units::duration,
        );
    }
    let oidc = raw.oidc.as_ref().map(|raw| oidc(resolver, raw));
    Some(ConsoleSettings {
        listen: listen?,
        tls: transpose(tls)?,
        url: transpose(url)?,
        idle_timeout,
        session_lifetime,
        oidc: transpose(oidc)?,
    })
}

fn oidc(resolver: &mut Resolver<'_>, raw: &Spanned<RawOidc>) -> Option<OidcSettings> {
    let origin = resolver.origin(raw);
    let raw = &raw.value;
    let issuer = resolver
        .required(&raw.issuer, Some(&origin), "issuer")
        .and_then(|leaf| {
            resolver.parse(
                leaf,
                "an address such as `https://login.example.com` (http only on loopback)",
                web_address,
            )
        });
    let client_id = resolver
        .required(&raw.client_id, Some(&origin), "client_id")
        .and_then(|leaf| name(resolver, leaf, "the identifier of this client"));
    let client_secret = resolver.optional(&raw.client_secret, Resolver::secret);
    // Without a default: the wrong one would let somebody be two people.
    let person_claim = resolver
        .required(&raw.person_claim, Some(&origin), "person_claim")
        .and_then(|leaf| name(resolver, leaf, "a claim such as `email`"));
    let groups_claim = match &raw.groups_claim {
        Some(leaf) => name(resolver, leaf, "a claim such as `groups`"),
        None => Some(GROUPS_CLAIM.to_owned()),
    };
    let groups = resolver
        .required(&raw.groups, Some(&origin), "groups")
        .and_then(|groups| mapping(resolver, &groups.value));
    Some(OidcSettings {
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        person_claim: person_claim?,
        groups_claim: groups_claim?,
        groups: groups?,
    })
}

fn mapping(
    resolver: &mut Resolver<'_>,
    groups: &BTreeMap<String, Spanned<Value>>,
) -> Option<BTreeMap<String, String>> {
    groups
        .iter()
        .map(|(theirs, leaf)| {
            let ours = name(resolver, leaf, "an approver group")?;
            Some((theirs.clone(), ours))
        })
        .collect()
}

/// An address without path, query or user, with `http` on loopback only.
fn base_url(text: &str) -> Option<String> {
    let address = web_address(text.trim_end_matches('/'))?;
    let rest = address.split_once("://")?.1;
    (!rest.contains('/')).then_some(address)
}

pub(super) fn web_address(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let plain = !host.is_empty()
        && rest
            .chars()
            .all(|c| c.is_ascii_graphic() && !"@?#\\\"<>".contains(c));
    let allowed = scheme == "https" || (scheme == "http" && is_loopback(host));
    (plain && allowed).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_the_clear_is_taken_on_loopback_only() {
        for good in [
            "https://approvals.example.com",
            "https://a.example:8443",
            "http://127.0.0.1:9443",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert_eq!(base_url(good).as_deref(), Some(good));
        }
        for bad in [
            "approvals.example.com",
            "http://approvals.example.com",
            "https://user@a.example",
            "https://a.example/path",
            "https://",
            "http://127.0.0.1.example.com",
            "ftp://127.0.0.1",
        ] {
            assert_eq!(base_url(bad), None, "{bad}");
        }
        assert!(web_address("https://login.example.com/realms/a").is_some());
    }
}
