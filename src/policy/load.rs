//! From a policy folder or file to a [`PolicySet`].
use std::path::{Path, PathBuf};

use super::check::Checker;
use super::raw::RawPolicy;
use super::{Content, PolicySet};
use crate::config::{Diagnostic, Diagnostics, Source, yaml};

/// Reads and checks a policy file, or all `*.yaml` and `*.yml` files of a folder in the order of their names.
///
/// Files of a folder are one policy: roles follow each other in that order, and a class or role may stand in one file
/// only.
///
/// # Errors
/// All findings, of all files.
pub fn load(path: &Path) -> Result<PolicySet, Diagnostics> {
    let mut diagnostics = Diagnostics::default();
    let mut sources = Vec::new();
    for file in files(path)? {
        match Source::read(&file) {
            Ok(source) => sources.push(source),
            Err(found) => diagnostics.extend(found),
        }
    }
    let mut checker = Checker::new(diagnostics);
    let mut raws = Vec::new();
    for source in &sources {
        match yaml::read::<RawPolicy>(source) {
            Ok(raw) => raws.push((source, raw)),
            Err(found) => checker.diagnostics.extend(found),
        }
    }
    let complete = raws.len() == sources.len();
    checker.check(&raws, complete);
    checker.finish(Content::new(sources))
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    let fail = |message: String| Diagnostics::from(Diagnostic::file(path, message));
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)
        .map_err(|error| fail(format!("the folder cannot be read: {error}")))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry
            .map_err(|error| fail(format!("the folder cannot be read: {error}")))?
            .path();
        if is_policy(&file) {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(fail("the folder holds no `*.yaml` file".to_owned())),
        false => Ok(files),
    }
}

/// Hidden files are editors' leftovers, and what Kubernetes puts beside a mounted ConfigMap.
fn is_policy(file: &Path) -> bool {
    let hidden = file
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let yaml = file
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    yaml && !hidden && file.is_file()
}
