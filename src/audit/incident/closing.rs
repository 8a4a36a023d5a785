//! Closings of incidents that are not on record yet. `pgveil audit incidents close` cannot append to a chain that a running
//! proxy writes: it leaves a note beside the file that says the incident is closed, and the proxy puts it on record and
//! takes the note away. What closed an incident while no proxy ran goes on record when the next one starts.
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Closed, FOLDER, IncidentError, closed};
use crate::audit::durable;
use crate::audit::record::{Event, Record};

const PENDING: &str = "closing";

/// A closing that is not on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub id: String,
    pub closed: Closed,
    /// The system's user whose file says so.
    pub uid: u32,
    note: PathBuf,
}

/// Leaves the note. It comes before what it is about: a closing is never without one.
pub(super) fn announce(dir: &Path, id: &str) -> io::Result<()> {
    durable::replace(&dir.join(FOLDER).join(format!("{id}.{PENDING}")), b"")
}

/// The closings that are not on record, the oldest first.
///
/// # Errors
/// The disk, or a file that says something else.
pub fn pending(dir: &Path) -> Result<Vec<Pending>, IncidentError> {
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
    let mut found = Vec::new();
    for entry in entries {
        let note = entry.map_err(failed)?.path();
        let id = match (
            note.extension(),
            note.file_stem().and_then(|id| id.to_str()),
        ) {
            (Some(extension), Some(id)) if extension == PENDING => id.to_owned(),
            _ => continue,
        };
        // Without the other file it is about to be closed, or could not be.
        let Some(said) = closed(dir, &id)? else {
            continue;
        };
        let uid = fs::metadata(&note).map_err(failed)?.uid();
        found.push(Pending {
            id,
            closed: said,
            uid,
            note,
        });
    }
    found.sort_by(|one, other| (&one.closed.at, &one.id).cmp(&(&other.closed.at, &other.id)));
    Ok(found)
}

impl Pending {
    /// As it goes on record.
    pub fn record(&self) -> Record {
        let mut record = Record::new(Event::IncidentClosed, SystemTime::now());
        record.person = Some(self.closed.by.as_str().into());
        let reason = self.closed.reason.as_deref().unwrap_or("no reason given");
        record.message = Some(format!(
            "incident {} was closed at {} by the system's user {}: {reason}",
            self.id, self.closed.at, self.uid
        ));
        record
    }

    /// It is on record.
    ///
    /// # Errors
    /// The disk.
    pub fn recorded(&self) -> Result<(), IncidentError> {
        fs::remove_file(&self.note).map_err(|source| IncidentError::Io {
            path: self.note.clone(),
            source,
        })
    }
}
