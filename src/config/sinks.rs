//! `audit.sinks`: where audit records go beyond the spool.
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::yaml::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::diagnostics::{Diagnostic, closest};
use super::raw::Leaf;
use super::resolve::Resolver;
use super::settings::TlsSettings;
use super::units;
use super::yaml::{Entries, Value};
use crate::audit::Event;

mod reading;
mod receivers;

pub use receivers::{
    Elasticsearch, HttpLogin, Kafka, KafkaLogin, Nats, NatsLogin, Otlp, OtlpProtocol, OtlpSignal,
    SinkKind, SplunkHec, Syslog, Web,
};
/// Letters of a sink's name: it is the name of a file and the label of metrics.
const MAX_NAME: usize = 64;
const MAX_BATCH_RECORDS: usize = 10_000;
const MAX_BATCH_BYTES: u64 = 64 << 20;

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Small letters, digits, `-` and `_`.
    pub name: String,
    pub kind: SinkKind,
    pub format: SinkFormat,
    /// Records of other events are passed over; none is if absent.
    pub events: Option<BTreeSet<String>>,
    /// Where a sink begins that was never here before.
    pub start: SinkStart,
    pub batch: BatchSettings,
    /// The longest that one delivery may take.
    pub timeout: Duration,
}

/// When a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSettings {
    /// At so many records.
    pub records: usize,
    /// At so many bytes as they are sent.
    pub bytes: u64,
    /// When its first record has waited so long.
    pub age: Duration,
}

impl Default for BatchSettings {
    fn default() -> Self {
        BatchSettings {
            records: 500,
            bytes: 1 << 20,
            age: Duration::from_millis(500),
        }
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SinkFormat {
    /// The line of the spool.
    Json,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
    /// Elastic Common Schema.
    Ecs,
    /// ArcSight Common Event Format.
    Cef,
}

impl SinkFormat {
    pub const ALL: [(&'static str, SinkFormat); 4] = [
        ("json", SinkFormat::Json),
        ("ocsf", SinkFormat::Ocsf),
        ("ecs", SinkFormat::Ecs),
        ("cef", SinkFormat::Cef),
    ];
}

/// The first record of a new sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SinkStart {
    /// The oldest that the spool still has.
    Oldest,
    /// The next that is written.
    Now,
}

impl SinkStart {
    pub const ALL: [(&'static str, SinkStart); 2] =
        [("oldest", SinkStart::Oldest), ("now", SinkStart::Now)];
}

/// A sink as it is written. Which keys it may have is a matter of `type`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSink {
    /// A word of [`SinkKind::WORDS`].
    pub r#type: Leaf,
    pub format: Leaf,
    /// One event or a list.
    pub events: Leaf,
    /// `oldest` or `now`.
    pub start: Leaf,
    pub batch_records: Leaf,
    pub batch_bytes: Leaf,
    pub batch_age: Leaf,
    pub timeout: Leaf,
    /// file: where to.
    pub path: Leaf,
    /// syslog: `host:port`.
    pub address: Leaf,
    /// syslog, kafka: TLS or not.
    pub tls: Leaf,
    /// PEM file of certificate authorities.
    pub ca: Leaf,
    /// PEM files of the certificate that is shown to a receiver which asks for one, and of its key.
    pub cert: Leaf,
    pub key: Leaf,
    /// syslog: a word of RFC 5424, table 1.
    pub facility: Leaf,
    /// syslog: what HOSTNAME says.
    pub hostname: Leaf,
    /// syslog: wait for the receiver to end the connection of each batch.
    pub confirm: Leaf,
    /// Those over HTTP, nats, otlp.
    pub url: Leaf,
    /// splunk_hec, otlp.
    pub token: Leaf,
    /// splunk_hec, elasticsearch.
    pub index: Leaf,
    /// splunk_hec.
    pub source: Leaf,
    pub sourcetype: Leaf,
    /// elasticsearch.
    pub api_key: Leaf,
    /// elasticsearch, nats, kafka.
    pub user: Leaf,
    pub password: Leaf,
    /// nats: a file as `nsc` writes it.
    pub credentials: Leaf,
    /// webhook: the key of signatures.
    pub secret: Leaf,
    /// nats.
    pub subject: Leaf,
    /// otlp: `http` or `grpc`.
    pub protocol: Leaf,
    /// otlp: `logs` or `traces`.
    pub signal: Leaf,
    /// kafka: `host:port`, one or a list.
    pub brokers: Leaf,
    pub topic: Leaf,
    /// kafka: `plain`, `scram-sha-256` or `scram-sha-512`.
    pub mechanism: Leaf,
}

impl RawSink {
    /// The keys that only some types have.
    fn own(&self) -> [(&'static str, &Leaf); 25] {
        [
            ("path", &self.path),
            ("address", &self.address),
            ("tls", &self.tls),
            ("ca", &self.ca),
            ("cert", &self.cert),
            ("key", &self.key),
            ("facility", &self.facility),
            ("hostname", &self.hostname),
            ("confirm", &self.confirm),
            ("url", &self.url),
            ("token", &self.token),
            ("index", &self.index),
            ("source", &self.source),
            ("sourcetype", &self.sourcetype),
            ("api_key", &self.api_key),
            ("user", &self.user),
            ("password", &self.password),
            ("credentials", &self.credentials),
            ("secret", &self.secret),
            ("subject", &self.subject),
            ("protocol", &self.protocol),
            ("signal", &self.signal),
            ("brokers", &self.brokers),
            ("topic", &self.topic),
            ("mechanism", &self.mechanism),
        ]
    }
}

/// `plaintext`: records may leave the machine in the clear.
pub fn sinks(
    resolver: &mut Resolver<'_>,
    raw: Option<&Spanned<Entries<Spanned<RawSink>>>>,
    plaintext: bool,
) -> Option<Vec<SinkSettings>> {
    let entries = raw.map_or(&[][..], |raw| raw.value.0.as_slice());
    let mut sinks: Vec<Option<SinkSettings>> = Vec::new();
    let mut names = BTreeSet::new();
    for (name, raw) in entries {
        let is_name = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '_');
        let text = &name.value;
        if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(is_name) {
            let message =
                format!("a sink is named by small letters, digits, `-` and `_`, not `{text}`");
            resolver.error(name, message);
        }
        if !names.insert(text.as_str()) {
            resolver.error(name, format!("the key `{text}` stands here twice"));
        }
        sinks.push(sink(resolver, text, raw, plaintext));
    }
    sinks.into_iter().collect()
}

fn sink(
    resolver: &mut Resolver<'_>,
    name: &str,
    raw: &Spanned<RawSink>,
    plaintext: bool,
) -> Option<SinkSettings> {
    let origin = resolver.origin(raw);
    let raw = &raw.value;
    let word = resolver
        .required(&raw.r#type, Some(&origin), "type")
        .and_then(|leaf| resolver.word(leaf, &SinkKind::WORDS));
    let format = resolver.optional(&raw.format, |resolver, leaf| {
        let format = resolver.word(leaf, &SinkFormat::ALL)?;
        if word == Some("elasticsearch") && format == SinkFormat::Cef {
            resolver.error(leaf, "Elasticsearch takes JSON, and `cef` is none");
            return None;
        }
        Some(format)
    });
    let events = resolver.optional(&raw.events, events);
    let start = resolver.optional(&raw.start, |resolver, leaf| {
        resolver.word(leaf, &SinkStart::ALL)
    });
    let batch = batch(resolver, raw);
    let timeout = resolver.optional(&raw.timeout, |resolver, leaf| {
        resolver.parse(leaf, units::DURATION_EXPECTED, units::duration)
    });
    let word = word?;
    for (key, leaf) in raw.own() {
        if let Some(leaf) = leaf
            && !receivers::has(word, key)
        {
            let diagnostic = Diagnostic::error(
                &resolver.origin(leaf),
                format!("`{key}` has no meaning with `type: {word}`"),
            );
            let keys: Vec<String> = receivers::keys(word)
                .iter()
                .map(|key| format!("`{key}`"))
                .collect();
            resolver.diagnostics.push(if keys.is_empty() {
                diagnostic
            } else {
                diagnostic.suggest(format!("its own keys are {}", keys.join(", ")))
            });
        }
    }
    let kind = reading::kind(resolver, word, raw, &origin, plaintext);
    let default = match word {
        "elasticsearch" => SinkFormat::Ecs,
        _ => SinkFormat::Json,
    };
    Some(SinkSettings {
        name: name.to_owned(),
        kind: kind?,
        format: format.unwrap_or(default),
        events,
        start: start.unwrap_or(SinkStart::Oldest),
        batch,
        timeout: timeout.unwrap_or(TIMEOUT),
    })
}

fn events(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>) -> Option<BTreeSet<String>> {
    let leaves: Vec<&Spanned<Value>> = match &leaf.value {
        Value::List(list) => list.iter().collect(),
        _ => vec![leaf],
    };
    if leaves.is_empty() {
        resolver.error(
            leaf,
            "expected at least one event, or no key at all for every record",
        );
        return None;
    }
    let named = leaves.into_iter().map(|leaf| {
        let text = resolver.text(leaf)?;
        if known_events().any(|event| event == text) {
            return Some(text);
        }
        let message = format!("no record is of the event `{text}`");
        let diagnostic = Diagnostic::error(&resolver.origin(leaf), message);
        let help = match closest(&text, known_events()) {
            Some(event) => format!("did you mean `{event}`?"),
            None => format!(
                "the events are {}",
                known_events().collect::<Vec<_>>().join(", ")
            ),
        };
        resolver.diagnostics.push(diagnostic.suggest(help));
        None
    });
    named.collect()
}

/// What records are about.
fn known_events() -> impl Iterator<Item = &'static str> {
    Event::ALL.into_iter().map(Event::label)
}

fn batch(resolver: &mut Resolver<'_>, raw: &RawSink) -> BatchSettings {
    let mut batch = BatchSettings::default();
    super::load::set(
        resolver,
        &raw.batch_records,
        &mut batch.records,
        "a whole number from 1 to 10000",
        |text| {
            let records = text.parse().ok();
            records.filter(|records| (1..=MAX_BATCH_RECORDS).contains(records))
        },
    );
    super::load::set(
        resolver,
        &raw.batch_bytes,
        &mut batch.bytes,
        "a size up to 64MiB such as `512KiB`",
        |text| units::size(text).filter(|bytes| *bytes <= MAX_BATCH_BYTES),
    );
    super::load::set_duration(resolver, &raw.batch_age, &mut batch.age);
    batch
}

/// An address by one of those schemes, without a login in it.
fn address(text: &str, schemes: &[&str]) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (schemes.contains(&url.scheme())
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none())
    .then_some(url)
}

fn in_the_clear<T>(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>, way_out: &str) -> Option<T> {
    let message = "this is not a loopback address, and the audit record would travel without TLS";
    // An address may hold a token.
    let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
    let suggestion = format!("{way_out}, or set `allow_plaintext: true` to accept it");
    resolver.diagnostics.push(diagnostic.suggest(suggestion));
    None
}

/// The PEM file that `ca` names, and the certificate that `cert` and `key` do.
fn trust(resolver: &mut Resolver<'_>, raw: &RawSink) -> (Option<PathBuf>, Option<TlsSettings>) {
    let ca = resolver.optional(&raw.ca, |resolver, leaf| {
        resolver.existing(leaf, "the certificate authority file")
    });
    let cert = resolver.optional(&raw.cert, |resolver, leaf| {
        resolver.existing(leaf, "the certificate file")
    });
    let key = resolver.optional(&raw.key, |resolver, leaf| {
        resolver.existing(leaf, "the key file")
    });
    if let (Some(one), None) | (None, Some(one)) = (&raw.cert, &raw.key) {
        resolver.error(one, "`cert` and `key` belong together");
    }
    let certificate = cert.zip(key).map(|(cert, key)| TlsSettings { cert, key });
    (ca, certificate)
}
