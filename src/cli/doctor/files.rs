//! Who may read and write what pgveil keeps, and how much room there is.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::finding::{Findings, Level};
use crate::audit::disk;
use crate::config::{Settings, StateSettings};

/// Free bytes below which sessions may soon be refused, and below which they will be.
const LITTLE: u64 = 1 << 30;
const ALMOST_NONE: u64 = 100 << 20;

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

pub fn look(settings: &Settings, findings: &mut Findings) {
    for path in secrets(settings) {
        if mode(&path).is_some_and(|mode| mode & OTHERS_READ != 0) {
            findings.error(
                "files.secret",
                format!("everybody on this machine can read {}", path.display()),
                format!("chmod o-rwx {}", path.display()),
            );
        }
    }
    for path in trusted(settings) {
        let Some(mode) = mode(&path) else { continue };
        let (level, who, letter) = match mode {
            mode if mode & OTHERS_WRITE != 0 => (Level::Error, "everybody on this machine", 'o'),
            mode if mode & GROUP_WRITES != 0 => (Level::Warning, "its whole group", 'g'),
            _ => continue,
        };
        findings.add(
            level,
            "files.writable",
            format!(
                "{who} can write {}, and decides with it who sees what",
                path.display()
            ),
            format!("chmod {letter}-w {}", path.display()),
        );
    }
    let dir = &settings.audit.dir;
    if mode(dir).is_some_and(|mode| mode & 0o007 != 0) {
        findings.warning(
            "files.record",
            format!(
                "everybody on this machine can look into {}: who did what is nobody else's business",
                dir.display()
            ),
            format!("chmod o-rwx {}", dir.display()),
        );
    }
    room(settings, findings);
}

/// What nobody but pgveil and root may read.
fn secrets(settings: &Settings) -> Vec<PathBuf> {
    let tls = settings.tls.as_ref().map(|tls| tls.key.clone());
    let console = settings.console.as_ref();
    let console = console.and_then(|console| Some(console.tls.as_ref()?.key.clone()));
    let state = match &settings.state {
        StateSettings::File(path) => Some(path.clone()),
        StateSettings::Postgres(_) => None,
    };
    let signing = settings.audit.signing_key.clone();
    let users = settings.auth.users.clone();
    [tls, console, state, signing, users]
        .into_iter()
        .flatten()
        .collect()
}

/// What decides: the configuration and the policies, each with the folder it lies in.
fn trusted(settings: &Settings) -> Vec<PathBuf> {
    let mut paths = vec![settings.path.clone(), settings.policies.clone()];
    let listed = fs::read_dir(&settings.policies).into_iter().flatten();
    paths.extend(listed.flatten().map(|entry| entry.path()).filter(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
    }));
    if let Some(folder) = settings
        .path
        .parent()
        .filter(|it| !it.as_os_str().is_empty())
    {
        paths.push(folder.to_owned());
    }
    paths.dedup();
    paths
}

fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.permissions().mode())
}

fn room(settings: &Settings, findings: &mut Findings) {
    let mut places = vec![("audit.dir", settings.audit.dir.clone())];
    if let StateSettings::File(path) = &settings.state {
        places.push(("state", path.clone()));
    }
    for (name, path) in places {
        // What is not there yet will be made below the first folder that is.
        let Some(existing) = path.ancestors().find(|it| it.exists()) else {
            continue;
        };
        let existing = match existing.as_os_str().is_empty() {
            true => Path::new("."),
            false => existing,
        };
        match disk::free(existing) {
            Ok(free) => room_of(name, existing, free, findings),
            Err(error) => findings.warning(
                "disk.unknown",
                format!("it cannot be told how much room {name} has: {error}"),
                format!("look at {} by df", existing.display()),
            ),
        }
    }
}

fn room_of(name: &str, path: &Path, free: u64, findings: &mut Findings) {
    let level = match free {
        0..ALMOST_NONE => Level::Error,
        ALMOST_NONE..LITTLE => Level::Warning,
        _ => return,
    };
    findings.add(
        level,
        "disk.room",
        format!(
            "{} MiB are free for {name} on the disk of {}",
            free >> 20,
            path.display()
        ),
        "make room, or limit the record by `audit: { retain: { age: ..., bytes: ... } }`; without room restricted roles get nothing",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_a_warning_and_almost_none_an_error() {
        for (free, level) in [
            (50 << 20, Some(Level::Error)),
            (500 << 20, Some(Level::Warning)),
            (5 << 30, None),
        ] {
            let mut findings = Findings::default();
            room_of("audit.dir", Path::new("/var"), free, &mut findings);
            for looked in [Level::Error, Level::Warning] {
                let expected = usize::from(level == Some(looked));
                assert_eq!(findings.count(looked), expected, "{free}: {level:?}");
            }
        }
    }
}
