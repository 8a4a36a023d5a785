//! The files of a policy as they were read, and the hash they are known by.
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::config::Source;

/// Hexadecimal digits of a version.
const VERSION_DIGITS: usize = 16;

/// What a policy was read from.
#[derive(Debug, Clone, Default)]
pub struct Content {
    files: Vec<Arc<Source>>,
    digest: String,
}

impl Content {
    pub fn new(files: Vec<Arc<Source>>) -> Self {
        let digest = digest(
            files
                .iter()
                .map(|source| (file_name(source), source.text.clone())),
        );
        Content { files, digest }
    }

    /// Names and texts, in the order in which they were read.
    pub fn files(&self) -> impl Iterator<Item = (String, &str)> {
        let files = self.files.iter();
        files.map(|source| (file_name(source), source.text.as_str()))
    }

    /// SHA-256 over names and texts, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The first digits of the digest.
    pub fn version(&self) -> String {
        version(&self.digest)
    }
}

/// The first digits of a digest: what a policy is called on record.
pub fn version(digest: &str) -> String {
    digest.chars().take(VERSION_DIGITS).collect()
}

/// SHA-256 over names and texts of files, each behind its length in eight bytes, in hexadecimal digits.
pub fn digest(files: impl IntoIterator<Item = (String, String)>) -> String {
    let mut hash = Sha256::new();
    for (name, text) in files {
        for part in [name.as_bytes(), text.as_bytes()] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file_name(source: &Source) -> String {
    let name = source.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
