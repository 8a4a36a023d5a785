//! Policies that were in force, kept by their hash beside the record.
//!
//! The record itself, which goes to sinks, has the hash alone: a policy may hold what only few should read, as the values
//! of honeytoken rows. Whoever changes a kept policy cannot change the hash that the signed record has of it.
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::durable;
use crate::cli::CliError;
use crate::policy::{PolicySet, content};

/// The folder, in that of the record.
const FOLDER: &str = "policies";

/// The files of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub version: String,
    /// SHA-256 over names and texts.
    pub digest: String,
    pub files: Vec<KeptFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    pub name: String,
    pub text: String,
}

impl Kept {
    pub fn of(policy: &PolicySet) -> Self {
        let content = policy.content();
        let file = |(name, text): (String, &str)| KeptFile {
            name,
            text: text.to_owned(),
        };
        Kept {
            version: content.version(),
            digest: content.digest().to_owned(),
            files: content.files().map(file).collect(),
        }
    }

    /// Puts a policy beside the record, where it is not there already.
    ///
    /// # Errors
    /// The disk.
    pub fn keep(policy: &PolicySet, dir: &Path) -> io::Result<()> {
        let kept = Kept::of(policy);
        let path = path(dir, &kept.version);
        if read(&path).is_ok_and(|known| known == kept) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        durable::replace(&path, &serde_json::to_vec(&kept)?)
    }

    /// Whether a policy is there under its version.
    pub fn is_kept(dir: &Path, version: &str) -> bool {
        path(dir, version).exists()
    }

    /// The policy whose version begins so.
    ///
    /// # Errors
    /// There is none, there are several, or it is not what its hash says.
    pub fn find(dir: &Path, version: &str) -> Result<Self, CliError> {
        let is_version = !version.is_empty() && version.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_version {
            return Err(CliError::Configuration(format!(
                "`{version}` is no version of a policy: `pgveil policy history` lists them"
            )));
        }
        let folder = dir.join(FOLDER);
        let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(version) && name.ends_with(".json")
            })
            .collect();
        found.sort();
        match found.as_slice() {
            [one] => checked(one),
            [] => Err(CliError::Environment(format!(
                "no policy whose version begins with `{version}` is kept in {}",
                folder.display()
            ))),
            [_, _, ..] => Err(CliError::Environment(format!(
                "more than one policy's version begins with `{version}`: give more digits"
            ))),
        }
    }

    /// The files; of several each behind a line that names it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for file in &self.files {
            if self.files.len() > 1 {
                let _ = writeln!(out, "# ---- {} ----", file.name);
            }
            out.push_str(&file.text);
            if !file.text.ends_with('\n') {
                out.push('\n');
            }
        }
        out
    }
}

fn checked(path: &Path) -> Result<Kept, CliError> {
    let file = path.display();
    let kept = read(path).map_err(|error| CliError::Environment(format!("{file}: {error}")))?;
    let files = kept.files.iter();
    let digest = content::digest(files.map(|file| (file.name.clone(), file.text.clone())));
    let version = content::version(&digest);
    let named = path.file_stem().unwrap_or_default().to_string_lossy();
    if digest != kept.digest || version != kept.version || version != named {
        return Err(CliError::Environment(format!(
            "{file} was changed: its hash is {version}, and it is kept as {named}"
        )));
    }
    Ok(kept)
}

fn path(dir: &Path, version: &str) -> PathBuf {
    dir.join(FOLDER).join(format!("{version}.json"))
}

fn read(path: &Path) -> io::Result<Kept> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
