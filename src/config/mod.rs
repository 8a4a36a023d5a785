//! How the proxy runs: `pgveil.yaml`.
//!
//! Two sets of types are kept apart: [`raw`] is the file as it is written, every leaf with its position;
//! [`Settings`] is what holds after checking and is all that the rest of the program sees.
//! [`Diagnostics`] serves the policy files too.
mod alarms;
pub mod application_keys;
mod audit;
pub mod console;
pub mod diagnostics;
mod files;
mod fixed;
pub mod limits;
pub mod load;
mod loopback;
pub mod notify;
pub mod raw;
pub mod resolve;
mod schema;
pub mod secret;
pub mod settings;
pub mod sinks;
pub mod source;
mod state;
pub mod tokens;
pub mod units;
mod upstream;
pub mod yaml;

pub use console::{ConsoleSettings, OidcSettings};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use fixed::{Merged, merge};
pub use limits::Limits;
pub use load::{load, load_with};
pub use loopback::{is_loopback, is_loopback_url};
pub use notify::{Language, NotifySettings, SmtpLogin, SmtpSettings, SmtpTls, WebhookSettings};
pub use secret::Secret;
pub use settings::{
    Ack, AuditSettings, Auth, AuthMethod, CatalogUser, ClientCertificateMode, ClientCertificates,
    LoadBalance, OnFull, Settings, SslMode, StateServer, StateSettings, TargetSession, TlsSettings,
    Upstream, UpstreamHost,
};
pub use sinks::{
    BatchSettings, Elasticsearch as ElasticsearchSettings, HttpLogin, Kafka as KafkaSettings,
    KafkaLogin, Nats as NatsSettings, NatsLogin, Otlp as OtlpSettings, OtlpProtocol, OtlpSignal,
    SinkFormat, SinkKind, SinkSettings, SinkStart, SplunkHec as SplunkHecSettings,
    Syslog as SyslogSettings, Web as WebSinkSettings,
};
pub use source::{Origin, Position, Source};
pub use state::database_address;
pub use tokens::{AtExpiry, TokenIssuer};
