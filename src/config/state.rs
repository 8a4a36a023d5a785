//! `state`: a file, or the address of a database as libpq writes it.
use std::path::PathBuf;

use crate::config::yaml::Spanned;
use url::Url;

use super::diagnostics::Diagnostic;
use super::load::path_or;
use super::raw::Leaf;
use super::resolve::Resolver;
use super::secret::Secret;
use super::settings::{SslMode, StateServer, StateSettings};
use super::yaml::Value;

const DEFAULT_FILE: &str = "var/state.db";
const DEFAULT_PORT: u16 = 5432;
const EXAMPLE: &str =
    "postgres://pgveil@db.example.com/pgveil?sslmode=verify-full&sslrootcert=ca.crt";

pub fn state(resolver: &mut Resolver<'_>, leaf: &Leaf) -> Option<StateSettings> {
    let Some(leaf) = leaf else {
        return Some(StateSettings::File(path_or(resolver, &None, DEFAULT_FILE)));
    };
    let text = resolver.text(leaf)?;
    // With its slashes forgotten it is no file either.
    let is_address = ["postgres:", "postgresql:"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    if !text.contains("://") && !is_address {
        return Some(StateSettings::File(resolver.path(leaf)?));
    }
    // The address may hold a password: no message repeats it.
    let server = server(&text, &|path| resolver.beside(path));
    match server {
        Ok(server) => Some(StateSettings::Postgres(server)),
        Err(message) => {
            error(resolver, leaf, message);
            None
        }
    }
}

fn error(resolver: &mut Resolver<'_>, leaf: &Spanned<Value>, message: String) {
    let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
    let suggestion =
        format!("such as `{EXAMPLE}`; `{{ env: NAME }}` keeps a password out of this file");
    resolver.diagnostics.push(diagnostic.suggest(suggestion));
}

/// The address of a database on a command line: paths in it are relative to the working directory.
///
/// # Errors
/// What is wrong with it, in words that never repeat a password.
pub fn database_address(text: &str) -> Result<StateServer, String> {
    let beside = |path: &str| PathBuf::from(path);
    server(text, &beside)
        .map_err(|message| message.replace("address of the state", "address of the database"))
}

fn server(text: &str, beside: &dyn Fn(&str) -> PathBuf) -> Result<StateServer, String> {
    let url = Url::parse(text).map_err(|error| format!("the address of the state: {error}"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(format!(
            "`{}://` is not a state pgveil knows: expected a file or `postgres://...`",
            url.scheme()
        ));
    }
    let part = |name: &str, text: &str| {
        let text = decode(text).filter(|text| !text.contains('\0'));
        text.ok_or_else(|| format!("the {name} in the address of the state is not UTF-8"))
    };
    let needed = |name: &str, text: &str| match part(name, text)? {
        text if text.is_empty() => Err(format!("the address of the state names no {name}")),
        text => Ok(text),
    };
    let host = needed("host", url.host_str().unwrap_or_default())?;
    let mut server = StateServer {
        host: host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned(),
        port: url.port().unwrap_or(DEFAULT_PORT),
        user: needed("user", url.username())?,
        password: match url.password() {
            Some(password) => Some(Secret::new(part("password", password)?)),
            None => None,
        },
        database: needed("database", url.path().trim_start_matches('/'))?,
        tls: SslMode::Prefer,
        ca: None,
    };
    if server.port == 0 {
        return Err("the port in the address of the state is 0".to_owned());
    }
    for (name, value) in url.query_pairs() {
        match &*name {
            "sslmode" => {
                let mode = SslMode::ALL.iter().find(|(word, _)| *word == value);
                let words: Vec<&str> = SslMode::ALL.iter().map(|(word, _)| *word).collect();
                let unknown = || format!("expected `sslmode` to be one of {}", words.join(", "));
                server.tls = mode.ok_or_else(unknown)?.1;
            }
            "sslrootcert" => {
                let path = beside(&value);
                if !path.is_file() {
                    let shown = path.display();
                    return Err(format!(
                        "the certificate authority file `{shown}` does not exist"
                    ));
                }
                server.ca = Some(path);
            }
            other => {
                return Err(format!(
                    "`{other}` has no meaning in the address of the state: `sslmode` and `sslrootcert` have"
                ));
            }
        }
    }
    if server.tls == SslMode::VerifyCa && server.ca.is_none() {
        return Err("`sslmode=verify-ca` needs `sslrootcert`".to_owned());
    }
    Ok(server)
}

/// `%41` as `A`.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<StateServer, String> {
        server(text, &|path| PathBuf::from("/etc/pgveil").join(path))
    }

    #[test]
    fn an_address_is_taken_apart() {
        let server = read("postgres://pg%20veil:p%40ss%2Fw@db:6543/state?sslmode=require").unwrap();
        assert_eq!(server.host, "db");
        assert_eq!((server.port, server.tls), (6543, SslMode::Require));
        assert_eq!((&*server.user, &*server.database), ("pg veil", "state"));
        assert_eq!(server.password.unwrap().expose(), "p@ss/w");
        let server = read("postgresql://u@[::1]/d").unwrap();
        assert_eq!((&*server.host, server.port), ("::1", 5432));
        assert_eq!((server.password, server.tls), (None, SslMode::Prefer));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        for (text, expected) in [
            ("mysql://u:hunter2@h/d", "`mysql://` is not a state"),
            ("postgres://h/d", "names no user"),
            ("postgres://u:hunter2@h", "names no database"),
            ("postgres://u:hunter2@/d", ""),
            ("postgres://u:hunter2@h/d?sslmode=maybe", "one of disable"),
            (
                "postgres://u:hunter2@h/d?target=1",
                "`target` has no meaning",
            ),
            (
                "postgres://u:hunter2@h/d?sslmode=verify-ca",
                "needs `sslrootcert`",
            ),
            (
                "postgres://u:hunter2@h/d?sslrootcert=no.crt",
                "/etc/pgveil/no.crt",
            ),
            (
                "postgres://u:%ff@h/d",
                "password in the address of the state is not",
            ),
            ("postgres://u:hunter2@h:99999/d", "invalid port"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
