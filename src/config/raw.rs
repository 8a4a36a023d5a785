//! `pgveil.yaml` as it is written. Every leaf may be a value, `{ env: NAME }` or `{ file: PATH }`.
use std::collections::BTreeMap;

use crate::config::yaml::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use super::alarms::RawAlarms;
use super::application_keys::RawApplicationKey;
use super::sinks::RawSink;
use super::tokens::RawTokenIssuer;
use super::yaml::{Entries, Value};

pub type Leaf = Option<Spanned<Value>>;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSettings {
    /// Where clients connect: `address:port`, one or a list.
    pub listen: Leaf,
    /// Listeners beyond loopback may go without TLS.
    pub allow_plaintext: Leaf,
    pub tls: Option<Spanned<RawListenerTls>>,
    pub upstream: Option<Spanned<RawUpstream>>,
    pub auth: Option<Spanned<RawAuth>>,
    /// Keys by which applications sign who is asking, by the name that policies give them.
    pub application_keys: Option<Spanned<Entries<Spanned<RawApplicationKey>>>>,
    /// A folder of policy files or one file.
    pub policies: Leaf,
    /// PEM files of Ed25519 public keys, one or a list: only policies that one of them has signed are loaded.
    pub policy_keys: Leaf,
    /// File of the embedded database, or the address of a shared one (`postgres://...`).
    pub state: Leaf,
    pub audit: Option<Spanned<RawAudit>>,
    pub admin: Option<Spanned<RawAdmin>>,
    pub notify: Option<Spanned<RawNotify>>,
    pub console: Option<Spanned<RawConsole>>,
    pub limits: Option<Spanned<RawLimits>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawListenerTls {
    /// PEM file of the certificate chain.
    pub cert: Leaf,
    /// PEM file of the private key.
    pub key: Leaf,
    /// PEM file of the authorities that sign clients' certificates.
    pub client_ca: Leaf,
    /// `none`, `request` or `require`.
    pub client_cert: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// PEM file of the certificate chain.
    pub cert: Leaf,
    /// PEM file of the private key.
    pub key: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUpstream {
    /// One name or a list.
    pub host: Leaf,
    /// One port, or one for each host.
    pub port: Leaf,
    /// libpq's `target_session_attrs`.
    pub target_session_attrs: Leaf,
    /// libpq's `load_balance_hosts`.
    pub load_balance_hosts: Leaf,
    /// libpq's `sslmode`.
    pub tls: Leaf,
    /// PEM file of certificate authorities.
    pub ca: Leaf,
    pub catalog_user: Option<Spanned<RawCatalogUser>>,
    /// Databases that sessions may open.
    pub databases: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawCatalogUser {
    pub name: Leaf,
    pub password: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAuth {
    /// `passthrough` or `scram`.
    pub method: Leaf,
    /// File of verifiers.
    pub users: Leaf,
    /// Issuers of tokens that people log in with, by the name that policies give them.
    pub tokens: Option<Spanned<Entries<Spanned<RawTokenIssuer>>>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAudit {
    pub dir: Leaf,
    /// `refuse` or `drop`.
    pub on_full: Leaf,
    /// `written` or `synced`.
    pub ack: Leaf,
    /// PEM file of an Ed25519 private key.
    pub signing_key: Leaf,
    pub segment_bytes: Leaf,
    pub segment_age: Leaf,
    pub checkpoint_records: Leaf,
    pub checkpoint_interval: Leaf,
    pub retain: Option<Spanned<RawRetain>>,
    /// File of a public key that full texts are sealed to.
    pub recipient: Leaf,
    pub sinks: Option<Spanned<Entries<Spanned<RawSink>>>>,
    pub alarms: Option<Spanned<RawAlarms>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetain {
    pub age: Leaf,
    pub bytes: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAdmin {
    pub listen: Leaf,
    /// Of this listener alone.
    pub allow_plaintext: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNotify {
    pub webhook: Option<Spanned<RawWebhook>>,
    pub smtp: Option<Spanned<RawSmtp>>,
    /// Where approvers reach the console.
    pub console_url: Leaf,
    /// `en` or `zh`.
    pub language: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWebhook {
    pub url: Leaf,
    pub secret: Leaf,
    /// PEM file of certificate authorities.
    pub ca: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConsole {
    /// `address:port`
    pub listen: Leaf,
    pub tls: Option<Spanned<RawTls>>,
    /// As browsers reach it: `https://approvals.example.com`.
    pub url: Leaf,
    pub idle_timeout: Leaf,
    pub session_lifetime: Leaf,
    pub oidc: Option<Spanned<RawOidc>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSmtp {
    pub host: Leaf,
    pub port: Leaf,
    /// `starttls`, `tls` or `none`.
    pub tls: Leaf,
    pub user: Leaf,
    pub password: Leaf,
    pub from: Leaf,
    /// One address or a list for each approver group.
    pub to: Option<Spanned<Entries<Spanned<Value>>>>,
    /// PEM file of certificate authorities.
    pub ca: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOidc {
    pub issuer: Leaf,
    pub client_id: Leaf,
    pub client_secret: Leaf,
    /// The claim that names the person as the policy does.
    pub person_claim: Leaf,
    /// The claim that lists groups.
    pub groups_claim: Leaf,
    /// The provider's group: the approver group.
    pub groups: Option<Spanned<BTreeMap<String, Spanned<Value>>>>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    pub max_sessions: Leaf,
    pub login_timeout: Leaf,
    pub drain_timeout: Leaf,
    pub drain_delay: Leaf,
    pub max_statement_bytes: Leaf,
    pub max_startup_bytes: Leaf,
    pub plan_cache_bytes: Leaf,
    pub planner_threads: Leaf,
    pub connect_timeout: Leaf,
    pub catalog_refresh: Leaf,
    pub tcp_keepalive: Leaf,
}
