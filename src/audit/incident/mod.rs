//! The file of what may be a breach of personal data: what is known, since when the clock runs, and the evidence.
//!
//! A breach alarm opens one, `<audit.dir>/incidents/<id>.json`; further alarms about the same person within
//! [`STAYS_OPEN`] belong to it. The file holds no values, only what the record says, and points into it: each piece of
//! evidence is a record with its hash. [`bundle`] puts it together for somebody else to check.
pub mod bundle;
pub mod closing;
pub mod summary;
pub mod tar;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::detect::Alarm;
use super::durable;
use super::entry::Entry;
use super::read::Position;
use super::record::rfc3339;

/// Under the directory of the spool.
pub const FOLDER: &str = "incidents";
/// Within which the authority has to be told once a breach is known: GDPR, Article 33(1). PIPL, Article 57, says at once.
pub const CLOCK: u64 = 72 * 3600;
/// Alarms about the same person belong to an incident for so long after its last one: seconds.
pub const STAYS_OPEN: u64 = 24 * 3600;
/// What says that an incident is closed stands beside its file under this extension: pgveil writes the one while somebody
/// writes the other.
const CLOSED: &str = "closed";
/// Pieces of evidence in a file; those beyond are counted, and a search finds them.
pub const MAX_EVIDENCE: usize = 1_000;
/// Names of each kind (people, tables, ...) in a file.
const MAX_NAMES: usize = 200;

/// A record that is evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub seq: u64,
    pub hash: String,
    pub time: String,
    /// Where the record begins.
    pub position: Position,
}

/// What may be a breach.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Incident {
    pub id: String,
    /// Label of [`super::detect::Kind`].
    pub kind: String,
    /// Whose doing it is, as far as the record knows.
    pub person: String,
    /// RFC 3339: when the first alarm was raised, and by when the authority is to be told at the latest.
    pub opened: String,
    pub notify_by: String,
    /// Of the last alarm: seconds since 1970.
    pub last_alarm: u64,
    pub alarms: u64,
    pub messages: BTreeSet<String>,
    /// Of the first and last record that is evidence.
    pub first: String,
    pub last: String,
    pub db_users: BTreeSet<String>,
    pub roles: BTreeSet<String>,
    pub applications: BTreeSet<String>,
    pub client_addresses: BTreeSet<String>,
    pub databases: BTreeSet<String>,
    pub classes: BTreeSet<String>,
    pub relations: BTreeSet<String>,
    pub columns: BTreeSet<String>,
    /// Rows that the statements on record gave out.
    pub rows: u64,
    /// Id of the chain, and of the key that signs it.
    pub chain: String,
    pub key: String,
    pub evidence: Vec<Evidence>,
    /// Records that are evidence, too, beyond [`MAX_EVIDENCE`].
    pub evidence_beyond: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: this is no incident file: {source}", path.display())]
    Format {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("there is no incident `{0}` (`pgveil audit incidents list` shows those there are)")]
    Unknown(String),
}

/// Told apart by day and by the record that raised the alarm: the same alarm, raised again after a crash, opens the same
/// incident.
pub fn id(alarm: &Alarm, opened: u64) -> String {
    let day = rfc3339(UNIX_EPOCH + Duration::from_secs(opened));
    let day = day.get(..10).unwrap_or_default().replace('-', "");
    format!("{day}-{}", alarm.seq)
}

impl Incident {
    /// Opens one. `now`: seconds since 1970.
    pub fn open(alarm: &Alarm, chain: &str, key: &str, now: u64) -> Self {
        let time = |at: u64| rfc3339(UNIX_EPOCH + Duration::from_secs(at));
        Incident {
            id: id(alarm, now),
            kind: alarm.kind.label().to_owned(),
            person: alarm.person.clone(),
            opened: time(now),
            notify_by: time(now.saturating_add(CLOCK)),
            chain: chain.to_owned(),
            key: key.to_owned(),
            ..Incident::default()
        }
    }

    /// Whether an alarm belongs to it.
    pub fn takes(&self, alarm: &Alarm, now: u64) -> bool {
        self.kind == alarm.kind.label()
            && self.person == alarm.person
            && now < self.last_alarm.saturating_add(STAYS_OPEN)
    }

    /// Adds an alarm and the record that raised it.
    pub fn add(&mut self, alarm: &Alarm, entry: &Entry, evidence: Evidence, now: u64) {
        if self.has(evidence.seq) {
            return;
        }
        self.alarms += 1;
        self.last_alarm = now;
        note(&mut self.messages, [alarm.message.as_str()]);
        note(&mut self.classes, alarm.classes.iter().map(String::as_str));
        self.add_record(entry, evidence);
    }

    fn has(&self, seq: u64) -> bool {
        self.evidence.iter().any(|known| known.seq == seq)
    }

    /// Adds a record that is evidence.
    pub fn add_record(&mut self, entry: &Entry, evidence: Evidence) {
        if self.has(evidence.seq) {
            return;
        }
        if self.first.is_empty() || entry.time < self.first {
            self.first.clone_from(&entry.time);
        }
        if entry.time > self.last {
            self.last.clone_from(&entry.time);
        }
        note(&mut self.db_users, entry.db_user.as_deref());
        note(&mut self.roles, entry.role.as_deref());
        note(&mut self.applications, entry.application_name.as_deref());
        note(&mut self.databases, entry.database.as_deref());
        let address = entry.client_addr.map(|address| address.ip().to_string());
        note(&mut self.client_addresses, address.as_deref());
        note(&mut self.classes, entry.classes.iter().map(String::as_str));
        let relations = entry.reads.iter().chain(&entry.writes);
        note(&mut self.relations, relations.map(String::as_str));
        note(&mut self.columns, entry.column_names());
        self.rows += entry.rows.unwrap_or(0);
        match self.evidence.len() < MAX_EVIDENCE {
            true => self.evidence.push(evidence),
            false => self.evidence_beyond += 1,
        }
    }
}

fn note<'n>(known: &mut BTreeSet<String>, names: impl IntoIterator<Item = &'n str>) {
    for name in names {
        if known.len() < MAX_NAMES && !known.contains(name) {
            known.insert(name.to_owned());
        }
    }
}

/// Writes or replaces the file of an incident under the spool's directory, for the owner alone.
///
/// # Errors
/// The disk.
pub fn save(dir: &Path, incident: &Incident) -> Result<(), IncidentError> {
    let folder = dir.join(FOLDER);
    let path = folder.join(format!("{}.json", incident.id));
    let failed = |source| IncidentError::Io {
        path: path.clone(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(failed)?;
    let json = serde_json::to_vec_pretty(incident).map_err(|source| IncidentError::Format {
        path: path.clone(),
        source,
    })?;
    durable::replace(&path, &json).map_err(failed)
}

/// How an incident ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Closed {
    /// RFC 3339.
    pub at: String,
    /// Whoever closed it, as the system knows them.
    pub by: String,
    /// What they said to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Closes an incident, and leaves it to the proxy to put that on record ([`closing`]): what is evidence may go when its time has come, and a further alarm opens another incident.
///
/// # Errors
/// It is closed already ([`io::ErrorKind::AlreadyExists`]), or the disk.
pub fn close(dir: &Path, incident: &Incident, closed: &Closed) -> Result<(), IncidentError> {
    let path = closed_path(dir, &incident.id);
    let failed = |source| IncidentError::Io {
        path: path.clone(),
        source,
    };
    if path.exists() {
        return Err(failed(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is closed already",
        )));
    }
    let json = serde_json::to_vec_pretty(closed).map_err(|source| IncidentError::Format {
        path: path.clone(),
        source,
    })?;
    closing::announce(dir, &incident.id).map_err(failed)?;
    durable::replace(&path, &json).map_err(failed)
}

/// How an incident ended; `None` while it is open.
///
/// # Errors
/// The disk, or a file that says something else.
pub fn closed(dir: &Path, id: &str) -> Result<Option<Closed>, IncidentError> {
    let path = closed_path(dir, id);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IncidentError::Io { path, source }),
    };
    match serde_json::from_slice(&bytes) {
        Ok(closed) => Ok(Some(closed)),
        Err(source) => Err(IncidentError::Format { path, source }),
    }
}

fn closed_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(FOLDER).join(format!("{id}.{CLOSED}"))
}

/// Number of the oldest segment that holds evidence of an open incident: it and those behind it, which prove it, stay.
/// Beyond every number where there is none.
///
/// # Errors
/// As [`list`]: where it is not known what is evidence, nothing may go.
pub fn oldest_needed(dir: &Path) -> Result<u64, IncidentError> {
    let mut oldest = u64::MAX;
    for incident in list(dir)? {
        if closed(dir, &incident.id)?.is_none() {
            let segments = incident.evidence.iter().map(|known| known.position.segment);
            oldest = oldest.min(segments.min().unwrap_or(u64::MAX));
        }
    }
    Ok(oldest)
}

/// All incidents of a spool's directory, the oldest first.
///
/// # Errors
/// The disk, or a file that is none.
pub fn list(dir: &Path) -> Result<Vec<Incident>, IncidentError> {
    let folder = dir.join(FOLDER);
    let failed = |source| IncidentError::Io {
        path: folder.clone(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut incidents = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            incidents.push(load(&path)?);
        }
    }
    incidents.sort_by(|one, other| (&one.opened, &one.id).cmp(&(&other.opened, &other.id)));
    Ok(incidents)
}

/// The incident of that id.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn find(dir: &Path, id: &str) -> Result<Incident, IncidentError> {
    let plain = |c: char| c.is_ascii_digit() || c == '-';
    let path = dir.join(FOLDER).join(format!("{id}.json"));
    match id.chars().all(plain) && path.exists() {
        true => load(&path),
        false => Err(IncidentError::Unknown(id.to_owned())),
    }
}

fn load(path: &Path) -> Result<Incident, IncidentError> {
    let bytes = fs::read(path).map_err(|source| IncidentError::Io {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| IncidentError::Format {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
