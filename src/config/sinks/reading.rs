//! The keys that a type of sink has of its own, read and checked.
use crate::config::yaml::Spanned;
use url::Url;

use super::receivers::{
    Elasticsearch, HttpLogin, Kafka, KafkaLogin, Nats, NatsLogin, Otlp, OtlpProtocol, OtlpSignal,
    SinkKind, SplunkHec, Syslog, Web,
};
use super::{RawSink, address, in_the_clear, trust};
use crate::config::diagnostics::Diagnostic;
use crate::config::load::name;
use crate::config::loopback::{is_loopback, is_loopback_url};
use crate::config::resolve::Resolver;
use crate::config::secret::Secret;
use crate::config::source::Origin;
use crate::config::yaml::Value;

/// A webhook's secret of fewer characters can be guessed.
const SHORTEST_SECRET: usize = 16;
/// RFC 5425, section 4.1, and RFC 6587.
const SYSLOG_TLS_PORT: u16 = 6514;
const SYSLOG_PORT: u16 = 601;
/// Words of RFC 5424, table 1, in the order of their codes.
const FACILITIES: [(&str, u8); 24] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("clock", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];
const AUDIT: u8 = 13;

const MECHANISMS: [(&str, &str); 3] = [
    ("plain", "PLAIN"),
    ("scram-sha-256", "SCRAM-SHA-256"),
    ("scram-sha-512", "SCRAM-SHA-512"),
];

/// `None` only together with an error.
pub fn kind(
    resolver: &mut Resolver<'_>,
    word: &str,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<SinkKind> {
    match word {
        "file" => {
            let leaf = resolver.required(&raw.path, Some(origin), "path")?;
            resolver.path(leaf).map(SinkKind::File)
        }
        "stdout" => Some(SinkKind::Stdout),
        "syslog" => syslog(resolver, raw, origin, plaintext).map(SinkKind::Syslog),
        "splunk_hec" => splunk(resolver, raw, origin, plaintext).map(SinkKind::SplunkHec),
        "elasticsearch" => elastic(resolver, raw, origin, plaintext).map(SinkKind::Elasticsearch),
        "webhook" => webhook(resolver, raw, origin, plaintext).map(SinkKind::Webhook),
        "nats" => nats(resolver, raw, origin, plaintext).map(SinkKind::Nats),
        "otlp" => otlp(resolver, raw, origin, plaintext).map(SinkKind::Otlp),
        _ => kafka(resolver, raw, origin, plaintext).map(SinkKind::Kafka),
    }
}

fn syslog(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<Syslog> {
    let tls = resolver.optional(&raw.tls, Resolver::boolean);
    let tls = tls.unwrap_or(true);
    let port = if tls { SYSLOG_TLS_PORT } else { SYSLOG_PORT };
    let place = resolver
        .required(&raw.address, Some(origin), "address")
        .and_then(|leaf| {
            let expected = "a host and a port such as `logs.example.com:6514`";
            let place = resolver.parse(leaf, expected, |text| host_port(text, port))?;
            if !tls && !plaintext && !is_loopback(&place.0) {
                return in_the_clear(resolver, leaf, "take `tls: false` out");
            }
            Some(place)
        });
    let facility = resolver.optional(&raw.facility, |resolver, leaf| {
        resolver.word(leaf, &FACILITIES)
    });
    let hostname = resolver.optional(&raw.hostname, |resolver, leaf| {
        // RFC 5424, section 6: printable US-ASCII, 255 at most.
        resolver.parse(leaf, "a host name", |text| {
            let is_fine =
                (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            is_fine.then(|| text.to_owned())
        })
    });
    let confirm = resolver.optional(&raw.confirm, Resolver::boolean);
    let (ca, certificate) = trust(resolver, raw);
    let (host, port) = place?;
    Some(Syslog {
        host,
        port,
        tls,
        ca,
        certificate,
        facility: facility.unwrap_or(AUDIT),
        hostname,
        confirm: confirm.unwrap_or(true),
    })
}

/// `host`, `host:port`, `[address]:port`.
fn host_port(text: &str, default: u16) -> Option<(String, u16)> {
    let url = Url::parse(&format!("tcp://{text}")).ok()?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    let host = url.host_str().filter(|host| is_plain && !host.is_empty())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port().unwrap_or(default);
    (port != 0).then(|| (host.to_owned(), port))
}

/// The `url` of a receiver; TLS beyond this machine.
fn url(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
    (clear, secure): (&'static str, &'static str),
    example: &str,
) -> Option<Secret> {
    let leaf = resolver.required(&raw.url, Some(origin), "url")?;
    let expected = format!("an address such as `{example}`");
    // What stands before an `@` may be a password.
    let text = resolver.secret(leaf)?;
    if text.expose().contains('@') {
        let message = "a login has no place in the address; the type of the sink has keys for it";
        let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
        resolver.diagnostics.push(diagnostic);
        return None;
    }
    let url = resolver.parse_secret(leaf, &expected, |text| address(text, &[clear, secure]))?;
    if url.scheme() == clear && !plaintext && !is_loopback_url(&url) {
        return in_the_clear(resolver, leaf, &format!("use `{secure}://`"));
    }
    Some(Secret::new(url.into()))
}

const HTTP: (&str, &str) = ("http", "https");

fn splunk(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<SplunkHec> {
    let example = "https://splunk.example.com:8088/services/collector/event";
    let url = url(resolver, raw, origin, plaintext, HTTP, example);
    let token = resolver
        .required(&raw.token, Some(origin), "token")
        .and_then(|leaf| header(resolver, leaf));
    let mut word = |leaf| {
        resolver.optional(leaf, |resolver, leaf| {
            name(resolver, leaf, "a name of Splunk's")
        })
    };
    let (index, source, sourcetype) = (word(&raw.index), word(&raw.source), word(&raw.sourcetype));
    let (ca, certificate) = trust(resolver, raw);
    Some(SplunkHec {
        web: Web {
            url: url?,
            secret: token?,
            ca,
            certificate,
        },
        index,
        source: source.unwrap_or_else(|| "pgveil".to_owned()),
        sourcetype: sourcetype.unwrap_or_else(|| "pgveil:audit".to_owned()),
    })
}

/// A secret that travels in a header of HTTP.
fn header(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>) -> Option<Secret> {
    let secret = resolver.secret(leaf)?;
    let text = secret.expose();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "expected letters, digits and signs without a space";
        let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
        resolver.diagnostics.push(diagnostic);
        return None;
    }
    Some(secret)
}

fn elastic(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<Elasticsearch> {
    let example = "https://elastic.example.com:9200";
    let url = url(resolver, raw, origin, plaintext, HTTP, example);
    let index = resolver
        .required(&raw.index, Some(origin), "index")
        .and_then(|leaf| {
            resolver.parse(leaf, "an index, an alias or a data stream", |text| {
                let is_index =
                    |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
                let first = text.chars().next()?;
                let is_fine = !matches!(first, '-' | '_' | '.')
                    && text.len() <= 255
                    && text.chars().all(is_index);
                is_fine.then(|| text.to_owned())
            })
        });
    let password = login(resolver, raw);
    let api_key = resolver.optional(&raw.api_key, header);
    if let (Some(key), Some(_)) = (&raw.api_key, &raw.user) {
        resolver.error(
            key,
            "`api_key` and `user` are two ways to log in; take one out",
        );
    }
    let login = match (password, api_key) {
        (_, Some(key)) => Some(HttpLogin::ApiKey(key)),
        (Some((user, password)), None) => Some(HttpLogin::Basic { user, password }),
        (None, None) => None,
    };
    let (ca, certificate) = trust(resolver, raw);
    Some(Elasticsearch {
        url: url?,
        ca,
        certificate,
        index: index?,
        login,
    })
}

/// `user` and `password`, both or none.
fn login(resolver: &mut Resolver<'_>, raw: &RawSink) -> Option<(String, Secret)> {
    let user = resolver.optional(&raw.user, Resolver::text);
    let password = resolver.optional(&raw.password, Resolver::secret);
    if let (Some(one), None) | (None, Some(one)) = (&raw.user, &raw.password) {
        resolver.error(one, "`user` and `password` belong together");
    }
    Some((user?, password?))
}

fn webhook(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<Web> {
    let example = "https://soc.example.com/pgveil";
    let url = url(resolver, raw, origin, plaintext, HTTP, example);
    let secret = resolver
        .required(&raw.secret, Some(origin), "secret")
        .and_then(|leaf| {
            let secret = resolver.secret(leaf)?;
            if secret.expose().chars().count() < SHORTEST_SECRET {
                let message = format!(
                    "the secret is shorter than {SHORTEST_SECRET} characters and can be guessed"
                );
                let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
                let diagnostic = diagnostic.suggest("make one with `openssl rand -hex 32`");
                resolver.diagnostics.push(diagnostic);
                return None;
            }
            Some(secret)
        });
    let (ca, certificate) = trust(resolver, raw);
    Some(Web {
        url: url?,
        secret: secret?,
        ca,
        certificate,
    })
}

fn nats(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<Nats> {
    let example = "tls://nats.example.com:4222";
    let url = url(resolver, raw, origin, plaintext, ("nats", "tls"), example);
    let subject = resolver
        .required(&raw.subject, Some(origin), "subject")
        .and_then(|leaf| {
            resolver.parse(leaf, "a subject such as `pgveil.audit`", |text| {
                let is_token = |token: &str| {
                    !token.is_empty()
                        && token
                            .bytes()
                            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))
                };
                text.split('.').all(is_token).then(|| text.to_owned())
            })
        });
    let password = login(resolver, raw);
    let token = resolver.optional(&raw.token, Resolver::secret);
    let credentials = resolver.optional(&raw.credentials, |resolver, leaf| {
        resolver.existing(leaf, "the credentials file")
    });
    let ways = [&raw.user, &raw.token, &raw.credentials];
    let mut given = ways.into_iter().flatten();
    if let (Some(_), Some(other)) = (given.next(), given.next()) {
        resolver.error(
            other,
            "`user`, `token` and `credentials` are ways to log in; keep one",
        );
    }
    let login = match (password, token, credentials) {
        (Some((user, password)), _, _) => Some(NatsLogin::Password { user, password }),
        (None, Some(token), _) => Some(NatsLogin::Token(token)),
        (None, None, Some(path)) => Some(NatsLogin::Credentials(path)),
        (None, None, None) => None,
    };
    let (ca, certificate) = trust(resolver, raw);
    Some(Nats {
        url: url?,
        ca,
        certificate,
        subject: subject?,
        login,
    })
}

fn otlp(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<Otlp> {
    let example = "https://collector.example.com:4318";
    let url = url(resolver, raw, origin, plaintext, HTTP, example);
    let protocol = resolver.optional(&raw.protocol, |resolver, leaf| {
        resolver.word(leaf, &OtlpProtocol::ALL)
    });
    let signal = resolver.optional(&raw.signal, |resolver, leaf| {
        resolver.word(leaf, &OtlpSignal::ALL)
    });
    let token = resolver.optional(&raw.token, header);
    let (ca, certificate) = trust(resolver, raw);
    Some(Otlp {
        url: url?,
        protocol: protocol.unwrap_or(OtlpProtocol::Http),
        signal: signal.unwrap_or(OtlpSignal::Logs),
        token,
        ca,
        certificate,
    })
}

fn kafka(
    resolver: &mut Resolver<'_>,
    raw: &RawSink,
    origin: &Origin,
    plaintext: bool,
) -> Option<Kafka> {
    if cfg!(not(feature = "kafka"))
        && let Some(leaf) = &raw.r#type
    {
        let message = "this pgveil was built without Kafka";
        let diagnostic = Diagnostic::error(&resolver.origin(leaf), message);
        let help = "build it with `cargo build --release --features kafka`";
        resolver.diagnostics.push(diagnostic.suggest(help));
    }
    let tls = resolver.optional(&raw.tls, Resolver::boolean);
    let tls = tls.unwrap_or(true);
    let brokers = resolver
        .required(&raw.brokers, Some(origin), "brokers")
        .and_then(|leaf| {
            let leaves: Vec<&Spanned<Value>> = match &leaf.value {
                Value::List(list) => list.iter().collect(),
                _ => vec![leaf],
            };
            if leaves.is_empty() {
                resolver.error(leaf, "expected at least one broker");
                return None;
            }
            let brokers = leaves.into_iter().map(|leaf| {
                let expected = "a host and a port such as `kafka.example.com:9093`";
                let (host, port) = resolver.parse(leaf, expected, |text| host_port(text, 9092))?;
                if !tls && !plaintext && !is_loopback(&host) {
                    return in_the_clear(resolver, leaf, "take `tls: false` out");
                }
                Some(match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                })
            });
            brokers.collect::<Option<Vec<_>>>()
        });
    let topic = resolver
        .required(&raw.topic, Some(origin), "topic")
        .and_then(|leaf| {
            resolver.parse(leaf, "a topic such as `pgveil-audit`", |text| {
                let is_topic =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
                let is_fine = (1..=249).contains(&text.len()) && text.bytes().all(is_topic);
                is_fine.then(|| text.to_owned())
            })
        });
    let mechanism = resolver.optional(&raw.mechanism, |resolver, leaf| {
        resolver.word(leaf, &MECHANISMS)
    });
    let login = login(resolver, raw).map(|(user, password)| KafkaLogin {
        mechanism: mechanism.unwrap_or("SCRAM-SHA-512"),
        user,
        password,
    });
    let (ca, certificate) = trust(resolver, raw);
    Some(Kafka {
        brokers: brokers?,
        topic: topic?,
        tls,
        ca,
        certificate,
        login,
    })
}
