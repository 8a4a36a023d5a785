//! A record as it is read back: what searches, reports, alarms and sinks work on.
use std::net::SocketAddr;
use std::time::UNIX_EPOCH;

use serde::Deserialize;

use super::checkpoint::{Checkpoint, Tombstone};
use super::sealed::Sealed;

/// A [`super::Record`] read back from a line. Fields that the line does not have are empty; fields that a later version
/// added are passed over.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Place in the chain, from 1.
    pub seq: u64,
    pub schema_version: u32,
    /// RFC 3339, UTC, microseconds: texts of two times compare as the times do.
    pub time: String,
    /// [`super::Event::label`].
    pub event: String,
    pub chain: Option<String>,
    pub session: Option<u64>,
    pub sequence: Option<u64>,
    pub client_addr: Option<SocketAddr>,
    pub tls: Option<TlsEntry>,
    pub db_user: Option<String>,
    pub app_user: Option<String>,
    pub person: Option<String>,
    pub role: Option<String>,
    pub application_name: Option<String>,
    /// What the statement was for.
    pub purpose: Option<String>,
    pub database: Option<String>,
    pub kind: Option<String>,
    pub text: Option<String>,
    pub fingerprint: Option<String>,
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    pub masked: Vec<String>,
    pub lookups: Vec<String>,
    pub columns: ColumnsEntry,
    pub classes: Vec<String>,
    pub traps: Vec<String>,
    /// `false`: the role's rules were not in force.
    pub enforced: Option<bool>,
    pub would: Option<WouldEntry>,
    /// `pass`, `rewrite` or `refuse`.
    pub verdict: Option<String>,
    pub reason: Option<String>,
    pub rule: Option<String>,
    pub policy_version: Option<String>,
    pub rows: Option<u64>,
    pub bytes: Option<u64>,
    /// Seconds.
    pub duration: Option<f64>,
    pub sqlstate: Option<String>,
    pub trace: Option<TraceEntry>,
    pub export: Option<ExportEntry>,
    pub message: Option<String>,
    pub sealed: Option<Sealed>,
    pub checkpoint: Option<Checkpoint>,
    pub tombstone: Option<Tombstone>,
    pub lost: Option<u64>,
    pub alarm: Option<AlarmEntry>,
}

/// The columns that a statement uses, `schema.table.column`, read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ColumnsEntry {
    pub projected: Vec<String>,
    pub filtered: Vec<String>,
    pub written: Vec<String>,
    /// There are more than are listed.
    pub truncated: bool,
}

/// [`super::WouldRecord`] read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct WouldEntry {
    pub verdict: String,
    pub reason: Option<String>,
    pub rule: Option<String>,
    pub masked: Vec<String>,
    pub lookups: Vec<String>,
}

/// [`super::AlarmRecord`] read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct AlarmEntry {
    pub alarm: String,
    pub incident: Option<String>,
    pub records: Vec<u64>,
}

/// [`super::TlsRecord`] read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TlsEntry {
    pub version: String,
    pub cipher: String,
    pub subject: Option<String>,
}

/// [`super::TraceRecord`] read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct TraceEntry {
    pub trace_id: String,
    pub parent_id: String,
    pub sampled: bool,
}

/// [`super::ExportRecord`] read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ExportEntry {
    pub request: String,
    pub step: Option<usize>,
    pub action: Option<String>,
    pub state: Option<String>,
    pub person: String,
    pub by: Option<String>,
    pub group: Option<String>,
    pub reason: Option<String>,
    pub comment: Option<String>,
    pub approvals: Vec<SignatureEntry>,
    pub rows: Option<u64>,
    pub clear: Vec<String>,
}

/// [`super::Signature`] read back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct SignatureEntry {
    pub group: String,
    pub person: String,
}

/// Seconds since 1970 of a time as records have it.
pub fn seconds(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

impl Entry {
    /// The record's time, in seconds since 1970.
    pub fn seconds(&self) -> Option<u64> {
        seconds(&self.time)
    }

    /// Who acted, as far as the record knows: the person named in it, the application's user, the database user.
    pub fn actor(&self) -> Option<&str> {
        self.person
            .as_deref()
            .or(self.app_user.as_deref())
            .or(self.db_user.as_deref())
    }

    /// `schema.table.column` of all columns that the record names, some of them more than once.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        let ColumnsEntry {
            projected,
            filtered,
            written,
            ..
        } = &self.columns;
        [projected, filtered, written, &self.masked, &self.lookups]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}
