//! Temporary folders.
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A new temporary folder that is removed with everything in it when dropped.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new(what: &str) -> Folder {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("pgveil-test-{}-{number}-{what}", process::id()));
        // Left over from a killed process that had the same pid.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("cannot make a temporary folder");
        Folder { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, making the folders above it; gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("cannot make a folder");
        }
        fs::write(&path, content).expect("cannot write a test file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
