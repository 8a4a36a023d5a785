//! What every type of sink does: take a batch of records, all of it or with a reason.
use std::time::Duration;

use super::SinkError;
use super::batch::Message;
#[cfg(feature = "kafka")]
use super::kafka::KafkaSender;
use super::lines::Lines;
use super::nats::NatsSender;
use super::otlp::OtlpSender;
use super::syslog::SyslogSender;
use super::web::WebSender;
use crate::config::{SinkKind, SinkSettings};

/// Why a batch was not taken. It is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the log: never an address, a secret or what the other side said.
    pub reason: String,
    /// So many of the first messages were taken all the same.
    pub taken: usize,
    /// The batch may pass in parts.
    pub divide: bool,
    /// So long the receiver wants to be left alone.
    pub wait: Option<Duration>,
}

impl Failure {
    pub fn new(reason: impl Into<String>) -> Self {
        Failure {
            reason: reason.into(),
            taken: 0,
            divide: false,
            wait: None,
        }
    }
}

/// A batch that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Messages that the receiver will have neither now nor later, by their place in the batch, and why.
    pub rejected: Vec<(usize, String)>,
}

/// A sink's receiver.
pub enum Target {
    Lines(Lines),
    Syslog(Box<SyslogSender>),
    Web(Box<WebSender>),
    Nats(Box<NatsSender>),
    Otlp(Box<OtlpSender>),
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaSender>),
}

impl Target {
    /// # Errors
    /// A file that the settings name cannot be used.
    pub fn new(settings: &SinkSettings) -> Result<Target, SinkError> {
        let made =
            match &settings.kind {
                SinkKind::File(path) => Lines::file(path).map(Target::Lines),
                SinkKind::Stdout => Lines::stdout().map(Target::Lines),
                SinkKind::Syslog(syslog) => {
                    SyslogSender::new(syslog).map(|sender| Target::Syslog(Box::new(sender)))
                }
                SinkKind::SplunkHec(_) | SinkKind::Elasticsearch(_) | SinkKind::Webhook(_) => {
                    WebSender::new(settings).map(|sender| Target::Web(Box::new(sender)))
                }
                SinkKind::Nats(nats) => NatsSender::new(nats, settings.timeout)
                    .map(|sender| Target::Nats(Box::new(sender))),
                SinkKind::Otlp(otlp) => OtlpSender::new(otlp, settings.timeout)
                    .map(|sender| Target::Otlp(Box::new(sender))),
                #[cfg(feature = "kafka")]
                SinkKind::Kafka(kafka) => KafkaSender::new(kafka, settings.timeout)
                    .map(|sender| Target::Kafka(Box::new(sender))),
                #[cfg(not(feature = "kafka"))]
                SinkKind::Kafka(_) => Err("this pgveil was built without Kafka".to_owned()),
            };
        made.map_err(|reason| SinkError {
            sink: settings.name.clone(),
            reason,
        })
    }

    /// Sends a batch of at least one message. When this returns, the receiver has it. May be dropped at any moment; what
    /// was half sent then is sent again.
    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        match self {
            Target::Lines(lines) => lines.deliver(messages).await,
            Target::Syslog(syslog) => syslog.deliver(messages).await,
            Target::Web(web) => web.deliver(messages).await,
            Target::Nats(nats) => nats.deliver(messages).await,
            Target::Otlp(otlp) => otlp.deliver(messages).await,
            #[cfg(feature = "kafka")]
            Target::Kafka(kafka) => kafka.deliver(messages).await,
        }
    }
}
