//! The types of sinks, and what each has for settings of its own.
use std::path::PathBuf;

use crate::config::secret::Secret;
use crate::config::settings::TlsSettings;

/// What takes the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    File(PathBuf),
    Stdout,
    Syslog(Syslog),
    SplunkHec(SplunkHec),
    Elasticsearch(Elasticsearch),
    Webhook(Web),
    Nats(Nats),
    Otlp(Otlp),
    Kafka(Kafka),
}

impl SinkKind {
    pub const WORDS: [(&'static str, &'static str); 9] = [
        ("file", "file"),
        ("stdout", "stdout"),
        ("syslog", "syslog"),
        ("splunk_hec", "splunk_hec"),
        ("elasticsearch", "elasticsearch"),
        ("webhook", "webhook"),
        ("nats", "nats"),
        ("otlp", "otlp"),
        ("kafka", "kafka"),
    ];
}

/// RFC 5424 over TCP or TLS, with counted octets (RFC 6587, section 3.4.1; RFC 5425).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    /// The system's own authorities if absent.
    pub ca: Option<PathBuf>,
    /// What pgveil shows where it is asked who it is.
    pub certificate: Option<TlsSettings>,
    /// Code of RFC 5424, table 1.
    pub facility: u8,
    /// That of the machine if absent.
    pub hostname: Option<String>,
    /// A batch counts as taken when the receiver has ended its side of the connection after ours: it has read all of
    /// it. Otherwise when it is handed to the system.
    pub confirm: bool,
}

/// A receiver over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    /// Part of it may be a token.
    pub url: Secret,
    /// What it takes to be let in or believed: a token, or the key of signatures.
    pub secret: Secret,
    /// The system's own authorities if absent.
    pub ca: Option<PathBuf>,
    /// What pgveil shows where it is asked who it is.
    pub certificate: Option<TlsSettings>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplunkHec {
    /// `.../services/collector/event`, and the token.
    pub web: Web,
    pub index: Option<String>,
    pub source: String,
    pub sourcetype: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elasticsearch {
    /// Of the cluster.
    pub url: Secret,
    pub ca: Option<PathBuf>,
    /// What pgveil shows where it is asked who it is.
    pub certificate: Option<TlsSettings>,
    /// An index, an alias or a data stream.
    pub index: String,
    pub login: Option<HttpLogin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpLogin {
    Basic {
        user: String,
        password: Secret,
    },
    /// As Elasticsearch gives it, `encoded`.
    ApiKey(Secret),
}

/// JetStream: a stream that takes the subject has to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nats {
    /// `nats://` or `tls://`.
    pub url: Secret,
    pub ca: Option<PathBuf>,
    /// What pgveil shows where it is asked who it is.
    pub certificate: Option<TlsSettings>,
    pub subject: String,
    pub login: Option<NatsLogin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsLogin {
    Password {
        user: String,
        password: Secret,
    },
    Token(Secret),
    /// A file of a JWT and a seed.
    Credentials(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// Of the collector, without the path of the signal.
    pub url: Secret,
    pub protocol: OtlpProtocol,
    pub signal: OtlpSignal,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    pub ca: Option<PathBuf>,
    /// What pgveil shows where it is asked who it is.
    pub certificate: Option<TlsSettings>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtlpProtocol {
    Http,
    Grpc,
}

impl OtlpProtocol {
    pub const ALL: [(&'static str, OtlpProtocol); 2] =
        [("http", OtlpProtocol::Http), ("grpc", OtlpProtocol::Grpc)];
}

/// What a collector gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtlpSignal {
    /// Each record, as a log record.
    Logs,
    /// A span for each statement that is part of a sampled trace.
    Traces,
}

impl OtlpSignal {
    pub const ALL: [(&'static str, OtlpSignal); 2] =
        [("logs", OtlpSignal::Logs), ("traces", OtlpSignal::Traces)];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kafka {
    /// `host:port`, at least one.
    pub brokers: Vec<String>,
    pub topic: String,
    pub tls: bool,
    pub ca: Option<PathBuf>,
    /// What pgveil shows where it is asked who it is.
    pub certificate: Option<TlsSettings>,
    pub login: Option<KafkaLogin>,
}

/// SASL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaLogin {
    /// As librdkafka names it.
    pub mechanism: &'static str,
    pub user: String,
    pub password: Secret,
}

/// The keys that a type has and not every other.
pub fn keys(word: &str) -> &'static [&'static str] {
    match word {
        "file" => &["path"],
        "syslog" => &[
            "address", "tls", "ca", "cert", "key", "facility", "hostname", "confirm",
        ],
        "splunk_hec" => &[
            "url",
            "token",
            "ca",
            "cert",
            "key",
            "index",
            "source",
            "sourcetype",
        ],
        "elasticsearch" => &[
            "url", "ca", "cert", "key", "index", "user", "password", "api_key",
        ],
        "webhook" => &["url", "secret", "ca", "cert", "key"],
        "nats" => &[
            "url",
            "ca",
            "cert",
            "key",
            "subject",
            "user",
            "password",
            "token",
            "credentials",
        ],
        "otlp" => &["url", "protocol", "signal", "token", "ca", "cert", "key"],
        "kafka" => &[
            "brokers",
            "topic",
            "tls",
            "ca",
            "cert",
            "key",
            "mechanism",
            "user",
            "password",
        ],
        _ => &[],
    }
}

pub fn has(word: &str, key: &str) -> bool {
    keys(word).contains(&key)
}
