//! `notify`: how approvers are told of requests.
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::yaml::Spanned;
use url::Url;

use super::diagnostics::Diagnostic;
use super::loopback::{is_loopback, is_loopback_url};
use super::raw::{RawNotify, RawSmtp, RawWebhook};
use super::resolve::Resolver;
use super::secret::Secret;
use super::yaml::{Value, each};

/// A webhook's secret of fewer characters can be guessed.
const SHORTEST_SECRET: usize = 16;

/// How approvers are told of requests. At least one of `webhook` and `smtp` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifySettings {
    pub webhook: Option<WebhookSettings>,
    pub smtp: Option<SmtpSettings>,
    /// Where the console is reached, without a slash at its end: links lead there. The console's own `url` if not set.
    pub console_url: Option<String>,
    /// Of subjects and texts.
    pub language: Language,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where to. Part of it may be a token, as with many chat programs.
    pub url: Secret,
    /// The key of signatures.
    pub secret: Secret,
    /// PEM file of certificate authorities; the system's own if absent.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    pub login: Option<SmtpLogin>,
    /// `address` or `name <address>`
    pub from: String,
    /// Addresses by approver group.
    pub to: BTreeMap<String, Vec<String>>,
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpLogin {
    pub user: String,
    pub password: Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmtpTls {
    /// From plain to TLS by STARTTLS, or not at all (RFC 3207).
    StartTls,
    /// TLS from the start (RFC 8314).
    Tls,
    None,
}

impl SmtpTls {
    pub const ALL: [(&'static str, SmtpTls); 3] = [
        ("starttls", SmtpTls::StartTls),
        ("tls", SmtpTls::Tls),
        ("none", SmtpTls::None),
    ];

    const fn port(self) -> u16 {
        match self {
            SmtpTls::StartTls => 587,
            SmtpTls::Tls => 465,
            SmtpTls::None => 25,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    English,
    Chinese,
}

impl Language {
    pub const ALL: [(&'static str, Language); 2] =
        [("en", Language::English), ("zh", Language::Chinese)];
}

/// `plaintext`: what is sent may leave the machine in the clear.
pub fn notify(
    resolver: &mut Resolver<'_>,
    raw: &Spanned<RawNotify>,
    plaintext: bool,
) -> Option<NotifySettings> {
    let webhook = raw
        .value
        .webhook
        .as_ref()
        .map(|raw| webhook(resolver, raw, plaintext));
    let smtp = raw
        .value
        .smtp
        .as_ref()
        .map(|raw| smtp(resolver, raw, plaintext));
    if webhook.is_none() && smtp.is_none() {
        resolver.error(raw, "`notify` names neither `webhook` nor `smtp`");
        return None;
    }
    let console_url = resolver.optional(&raw.value.console_url, |resolver, leaf| {
        resolver.parse(
            leaf,
            "the console's address such as `https://pgveil.example.com`",
            |text| web(text).map(|url| url.as_str().trim_end_matches('/').to_owned()),
        )
    });
    let language = resolver.optional(&raw.value.language, |resolver, leaf| {
        resolver.word(leaf, &Language::ALL)
    });
    Some(NotifySettings {
        webhook: section(webhook)?,
        smtp: section(smtp)?,
        console_url,
        language: language.unwrap_or(Language::English),
    })
}

fn section<T>(section: Option<Option<T>>) -> Option<Option<T>> {
    match section {
        Some(None) => None,
        Some(some) => Some(some),
        None => Some(None),
    }
}

/// An address of a web server, without a login in it.
fn web(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    })
}

fn webhook(
    resolver: &mut Resolver<'_>,
    raw: &Spanned<RawWebhook>,
    plaintext: bool,
) -> Option<WebhookSettings> {
    let origin = resolver.origin(raw);
    let leaf = resolver.required(&raw.value.url, Some(&origin), "url");
    let url = leaf.and_then(|leaf| {
        let expected = "an address such as `https://hooks.example.com/pgveil`";
        let url = resolver.parse_secret(leaf, expected, web)?;
        if url.scheme() == "http" && !is_loopback_url(&url) && !plaintext {
            return in_the_clear(resolver, leaf, "use `https://`");
        }
        Some(Secret::new(url.into()))
    });
    let leaf = resolver.required(&raw.value.secret, Some(&origin), "secret");
    let secret = leaf.and_then(|leaf| {
        let secret = resolver.secret(leaf)?;
        if secret.expose().chars().count() < SHORTEST_SECRET {
            let message = format!(
                "the secret is shorter than {SHORTEST_SECRET} characters and can be guessed"
            );
            let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
            resolver
                .diagnostics
                .push(diagnostic.suggest("make one with `openssl rand -hex 32`"));
            return None;
        }
        Some(secret)
    });
    let ca = resolver.optional(&raw.value.ca, |resolver, leaf| {
        resolver.existing(leaf, "the certificate authority file")
    });
    Some(WebhookSettings {
        url: url?,
        secret: secret?,
        ca,
    })
}

fn smtp(
    resolver: &mut Resolver<'_>,
    raw: &Spanned<RawSmtp>,
    plaintext: bool,
) -> Option<SmtpSettings> {
    let origin = resolver.origin(raw);
    let raw = &raw.value;
    let tls = resolver.optional(&raw.tls, |resolver, leaf| {
        resolver.word(leaf, &SmtpTls::ALL)
    });
    let tls = tls.unwrap_or(SmtpTls::StartTls);
    let leaf = resolver.required(&raw.host, Some(&origin), "host");
    let host = leaf.and_then(|leaf| {
        let host = resolver.parse(leaf, "a host name", |text| {
            (!text.is_empty() && !text.contains(['/', ' ', '@', '\0'])).then(|| text.to_owned())
        })?;
        if tls == SmtpTls::None && !is_loopback(&host) && !plaintext {
            return in_the_clear(resolver, leaf, "set `tls: starttls` or `tls: tls`");
        }
        Some(host)
    });
    let port = resolver.optional(&raw.port, |resolver, leaf| {
        resolver.parse(leaf, "a port from 1 to 65535", |text| {
            text.parse().ok().filter(|port| *port != 0)
        })
    });
    let user = resolver.optional(&raw.user, Resolver::text);
    let password = resolver.optional(&raw.password, Resolver::secret);
    let login = match (user, password) {
        (Some(user), Some(password)) => Some(SmtpLogin { user, password }),
        _ => None,
    };
    if let (Some(one), None) | (None, Some(one)) = (&raw.user, &raw.password) {
        resolver.error(one, "`user` and `password` of `smtp` belong together");
    }
    let leaf = resolver.required(&raw.from, Some(&origin), "from");
    let from = leaf.and_then(|leaf| address(resolver, leaf));
    let to = resolver
        .required(&raw.to, Some(&origin), "to")
        .and_then(|to| {
            if to.value.0.is_empty() {
                resolver.error(
                    to,
                    "expected addresses by approver group, as in `legal: [ann@example.com]`",
                );
            }
            let groups = to.value.0.iter().map(|(group, leaf)| {
                let leaves = each(leaf);
                if leaves.is_empty() {
                    resolver.error(
                        leaf,
                        format!("expected at least one address for `{}`", group.value),
                    );
                }
                let addresses: Option<Vec<String>> = leaves
                    .into_iter()
                    .map(|leaf| address(resolver, leaf))
                    .collect();
                Some((group.value.clone(), addresses?))
            });
            groups.collect::<Option<BTreeMap<_, _>>>()
        });
    let ca = resolver.optional(&raw.ca, |resolver, leaf| {
        resolver.existing(leaf, "the certificate authority file")
    });
    Some(SmtpSettings {
        host: host?,
        port: port.unwrap_or(tls.port()),
        tls,
        login,
        from: from?,
        to: to?,
        ca,
    })
}

fn address(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>) -> Option<String> {
    let expected = "a mail address such as `legal@example.com` or `Legal <legal@example.com>`";
    resolver.parse(leaf, expected, |text| {
        text.parse::<lettre::message::Mailbox>()
            .ok()
            .map(|_| text.to_owned())
    })
}

fn in_the_clear<T>(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>, way_out: &str) -> Option<T> {
    let message =
        "this is not a loopback address, and who asks for which data would travel without TLS";
    // An address may hold a token.
    let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
    let suggestion = format!("{way_out}, or set `allow_plaintext: true` to accept it");
    resolver.diagnostics.push(diagnostic.suggest(suggestion));
    None
}
