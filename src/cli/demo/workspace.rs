//! The demo's temporary directory.
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};

use super::DemoError;
use super::account::Account;

/// A directory that nobody else had before. Removed when dropped, unless it is to be kept.
pub struct Workspace {
    path: PathBuf,
    keep: bool,
    postgres: Option<Account>,
}

impl Workspace {
    pub fn create(keep: bool) -> Result<Self, DemoError> {
        let path = std::env::temp_dir().join(format!("pgveil-demo-{}", std::process::id()));
        // Others may pass through it (PostgreSQL may run under another account) but not look into it.
        make_dir(&path, 0o711)?;
        let mut workspace = Self {
            path,
            keep,
            postgres: None,
        };
        workspace.postgres = Account::for_postgres(&workspace.path)?;
        Ok(workspace)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The account that PostgreSQL has to run under, where it is not the demo's own.
    pub fn postgres_account(&self) -> Option<Account> {
        self.postgres
    }

    /// A private subdirectory of the demo's own.
    pub fn dir(&self, name: &str) -> Result<PathBuf, DemoError> {
        let path = self.path.join(name);
        make_dir(&path, 0o700)?;
        Ok(path)
    }

    /// A private subdirectory for PostgreSQL.
    pub fn postgres_dir(&self, name: &str) -> Result<PathBuf, DemoError> {
        let path = self.dir(name)?;
        if let Some(Account { uid, gid }) = self.postgres {
            chown(&path, Some(uid), Some(gid)).map_err(|source| DemoError::File {
                doing: "change the owner of",
                path: path.clone(),
                source,
            })?;
        }
        Ok(path)
    }

    /// Writes a file and says where it is.
    pub fn file(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        let path = self.path.join(name);
        std::fs::write(&path, text).map_err(|source| DemoError::File {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.keep {
            // Nothing can be done about a failure here, and the directory lies where temporary files belong.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), DemoError> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .map_err(|source| DemoError::File {
            doing: "create the directory",
            path: path.to_owned(),
            source,
        })
}
