//! Temporary folders, writable to nobody else whatever the umask is: `pgveil doctor` warns of such.
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
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
        create(&path);
        Folder { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, making the folders above it; gives its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            create(parent);
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o644);
        file.open(&path)
            .and_then(|mut file| file.write_all(content.as_ref()))
            .expect("cannot write a test file");
        path
    }
}

fn create(folder: &Path) {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .expect("cannot make a folder");
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
