//! Where the verifiers of users come from.
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;

use super::scram::{Secret, SecretError};

/// Longest users file that is read, in bytes.
const MAX_USERS_FILE: u64 = 16 * 1024 * 1024;

/// What is stored of a user.
#[derive(Clone)]
pub struct Verifier {
    /// `pg_authid.rolpassword`: a SCRAM-SHA-256 verifier, or something that pgveil cannot use.
    pub secret: String,
    /// `pg_authid.rolvaliduntil`; `None` is for ever. From that moment on the user may not log in.
    pub valid_until: Option<SystemTime>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("valid_until", &self.valid_until)
            .finish_non_exhaustive()
    }
}

/// The source could not be asked; says nothing about the user.
pub type VerifierError = Box<dyn std::error::Error + Send + Sync>;
/// What asking a source gives: `None` for a user it does not know, or who has no password.
pub type VerifierFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Verifier>, VerifierError>> + Send + 'a>>;

/// Gives the verifier of a user. Asked once for each login, before the client has proved anything.
pub trait VerifierSource: Send + Sync {
    fn verifier<'a>(&'a self, user: &'a str) -> VerifierFuture<'a>;
}

/// A file of lines `"user" "SCRAM-SHA-256$4096:salt$stored:server"`, as pgbouncer's `userlist.txt` has them.
///
/// A double quote in a name is written twice. Empty lines and lines that begin with `;` or `#` count for nothing.
/// There is no VALID UNTIL in it.
#[derive(Debug)]
pub struct UsersFile {
    path: PathBuf,
    users: ArcSwap<HashMap<String, Verifier>>,
}

/// Why a users file cannot be used. Never holds the offending text: it may be a password.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    #[error("{path}: cannot read the users file: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: the users file is larger than {MAX_USERS_FILE} bytes", path = path.display())]
    TooLarge { path: PathBuf },
    #[error("{path}:{line}: expected `\"user\" \"SCRAM-SHA-256$...\"`", path = path.display())]
    Line { path: PathBuf, line: usize },
    #[error("{path}:{line}: the password of `{user}` {source}", path = path.display())]
    Secret {
        path: PathBuf,
        line: usize,
        user: String,
        source: SecretError,
    },
    #[error("{path}:{line}: `{user}` has a line already", path = path.display())]
    Twice {
        path: PathBuf,
        line: usize,
        user: String,
    },
}

impl UsersFile {
    pub fn load(path: &Path) -> Result<Self, UsersFileError> {
        Ok(UsersFile {
            path: path.to_owned(),
            users: ArcSwap::from_pointee(read(path)?),
        })
    }

    /// Reads the file again, for logins from now on. On an error the old users stay.
    pub fn reload(&self) -> Result<(), UsersFileError> {
        self.users.store(Arc::new(read(&self.path)?));
        Ok(())
    }
}

impl VerifierSource for UsersFile {
    fn verifier<'a>(&'a self, user: &'a str) -> VerifierFuture<'a> {
        let found = self.users.load().get(user).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }
}

fn read(path: &Path) -> Result<HashMap<String, Verifier>, UsersFileError> {
    let failed = |source| UsersFileError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_USERS_FILE {
        return Err(UsersFileError::TooLarge {
            path: path.to_owned(),
        });
    }
    parse(path, &std::fs::read_to_string(path).map_err(failed)?)
}

fn parse(path: &Path, text: &str) -> Result<HashMap<String, Verifier>, UsersFileError> {
    let mut users = HashMap::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if content.is_empty() || content.starts_with([';', '#']) {
            continue;
        }
        let path = || path.to_owned();
        let pair = two_strings(content);
        let (user, secret) = pair.ok_or_else(|| UsersFileError::Line { path: path(), line })?;
        Secret::parse(&secret).map_err(|source| UsersFileError::Secret {
            path: path(),
            line,
            user: user.clone(),
            source,
        })?;
        let verifier = Verifier {
            secret,
            valid_until: None,
        };
        if users.insert(user.clone(), verifier).is_some() {
            return Err(UsersFileError::Twice {
                path: path(),
                line,
                user,
            });
        }
    }
    Ok(users)
}

fn two_strings(line: &str) -> Option<(String, String)> {
    let (user, rest) = quoted(line)?;
    let (secret, rest) = quoted(rest.trim_start())?;
    (rest.trim().is_empty() && !user.is_empty()).then_some((user, secret))
}

/// A double-quoted string at the start, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut value = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    fn users(text: &str) -> Result<Vec<String>, String> {
        let text = text.replace("V", &format!("SCRAM-SHA-256$4096:AAAA${KEY}:{KEY}"));
        let parsed = parse(Path::new("users.txt"), &text);
        let mut names: Vec<String> = parsed.map_err(|e| e.to_string())?.into_keys().collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn lines_of_two_quoted_strings_are_users() {
        let text = "; comment\n\n# too\n\"ann\" \"V\"\n  \"b\"\"ob\"\t\"V\"  \n";
        assert_eq!(users(text).unwrap(), ["ann", "b\"ob"]);
    }

    #[test]
    fn a_bad_line_is_named_and_what_stands_there_is_not_shown() {
        let check = |text: &str, message: &str| assert_eq!(users(text).unwrap_err(), message);
        let shape = "users.txt:1: expected `\"user\" \"SCRAM-SHA-256$...\"`";
        for text in [
            "ann V",
            "\"ann\"",
            "\"ann\" \"V",
            "\"\" \"V\"",
            "\"ann\" \"V\" x",
        ] {
            check(text, shape);
        }
        check(
            "\"ann\" \"V\"\n\"bob\" \"hunter2\"",
            "users.txt:2: the password of `bob` does not begin with `SCRAM-SHA-256$`",
        );
        check(
            "\"ann\" \"V\"\n\"ann\" \"V\"",
            "users.txt:2: `ann` has a line already",
        );
    }
}
