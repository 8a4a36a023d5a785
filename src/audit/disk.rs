//! Room on a disk.
use std::io;
use std::path::Path;

/// Bytes that an ordinary user can still write where a folder or file lies (what `df` calls available).
///
/// # Errors
/// There is no such path, or the file system does not tell.
pub fn free(path: &Path) -> io::Result<u64> {
    let told = rustix::fs::statvfs(path)?;
    Ok(told.f_bavail.saturating_mul(told.f_frsize))
}
