//! What stands in a spool's directory besides segments: the lock, the key and its public half.
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::SpoolError;
use crate::audit::key::{KeyError, SigningKey};

/// Locked while a process writes the chain of the directory.
const LOCK_FILE: &str = "lock";
/// The key of a directory whose settings name none.
pub const KEY_FILE: &str = "signing.key";
/// The public half of the key in use, for [`crate::audit::verify`].
pub const PUBLIC_KEY_FILE: &str = "signing.pub";

/// The key that the settings name, or that of the directory. Its public half is put beside the segments.
pub fn signing_key(dir: &Path, named: Option<&Path>) -> Result<SigningKey, SpoolError> {
    let own = dir.join(KEY_FILE);
    let key = match named {
        Some(path) => SigningKey::read(path)?,
        None if own.exists() => SigningKey::read(&own)?,
        None => SigningKey::create(&own)?,
    };
    let public = dir.join(PUBLIC_KEY_FILE);
    std::fs::write(&public, key.public().pem()).map_err(|source| KeyError::Io {
        path: public,
        source,
    })?;
    Ok(key)
}

/// Makes the directory if need be, and holds it against other processes for as long as the file is open.
pub fn lock(dir: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Directory {
        dir: dir.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join(LOCK_FILE))
        .map_err(failed)?;
    try_lock(&file, dir)?;
    Ok(file)
}

/// Holds the directory of that file against other processes.
pub fn try_lock(file: &File, dir: &Path) -> Result<(), SpoolError> {
    let dir = dir.to_owned();
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => SpoolError::InUse { dir },
        TryLockError::Error(source) => SpoolError::Directory { dir, source },
    })
}
