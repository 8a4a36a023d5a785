//! How far a sink is: `<audit.dir>/cursors/<name>.json`.
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::Position;

/// In the spool's directory.
pub const FOLDER: &str = "cursors";

/// The last record that a sink is done with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Id of the chain.
    pub chain: String,
    pub seq: u64,
    /// 64 hexadecimal digits.
    pub hash: String,
    /// Where that record begins.
    pub record: Position,
    /// Where the next one does.
    pub position: Position,
}

impl Cursor {
    /// Reads the cursor of a sink; `None` where there is none.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else ([`io::ErrorKind::InvalidData`]).
    pub fn load(path: &Path) -> io::Result<Option<Cursor>> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts the cursor where the old one was: whatever happens meanwhile, one of both is there afterwards.
    ///
    /// # Errors
    /// The disk.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("json.part");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.sync_data()?;
        std::fs::rename(&draft, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// The folder of cursors below a spool's directory, made where need be.
///
/// # Errors
/// The disk.
pub fn folder(dir: &Path) -> io::Result<PathBuf> {
    let folder = dir.join(FOLDER);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Dir;

    #[test]
    fn a_cursor_is_read_as_it_was_stored_and_rubbish_is_told() {
        let dir = Dir::new();
        let path = folder(dir.path()).expect("a folder").join("soc.json");
        assert_eq!(Cursor::load(&path).expect("nothing"), None);
        let place = |offset| Position { segment: 3, offset };
        let mut cursor = Cursor {
            chain: "c".to_owned(),
            seq: 7,
            hash: "00".to_owned(),
            record: place(100),
            position: place(250),
        };
        cursor.store(&path).expect("stored");
        cursor.seq = 8;
        cursor.store(&path).expect("stored again");
        assert_eq!(Cursor::load(&path).expect("read"), Some(cursor));
        std::fs::write(&path, "").expect("written");
        let error = Cursor::load(&path).expect_err("empty");
        assert!(matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        ));
    }
}
