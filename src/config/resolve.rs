//! From a leaf of the file to the value it stands for: literal, environment variable or file.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::yaml::Spanned;

use super::diagnostics::{Diagnostic, Diagnostics, closest};
use super::raw::Leaf;
use super::secret::Secret;
use super::source::{Origin, Source};
use super::yaml::{Reference, Scalar, Value};

/// Looks up an environment variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Resolves the leaves of one file and collects what is wrong with them.
pub struct Resolver<'a> {
    pub source: &'a Arc<Source>,
    pub environment: Environment<'a>,
    pub diagnostics: Diagnostics,
}

/// A value with the place it was asked for at, and whether quoting it in a message is harmless.
struct Resolved {
    scalar: Scalar,
    /// Came from the environment or a file: always text, and not to be repeated in a message.
    hidden: bool,
}

impl Resolver<'_> {
    pub fn origin<T>(&self, spanned: &Spanned<T>) -> Origin {
        Origin::new(self.source, spanned)
    }

    pub fn error<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::error(&self.origin(at), message));
    }

    /// Text. A number is taken as its digits, if it is written in digits alone (`0x1F` is not); all else that YAML reads
    /// as something other than text must be quoted, for nobody knows how it was meant.
    pub fn text(&mut self, leaf: &Spanned<Value>) -> Option<String> {
        let described = match self.resolve(leaf)?.scalar {
            Scalar::Text(text) => return Some(text),
            Scalar::Integer(number) if self.is_written(leaf, &number.to_string()) => {
                return Some(number.to_string());
            }
            other => other.describe(),
        };
        self.not_text(leaf, &format!("expected text, found {described}"));
        None
    }

    /// [`Resolver::text`] that no message repeats.
    pub fn secret(&mut self, leaf: &Spanned<Value>) -> Option<Secret> {
        match self.resolve(leaf)?.scalar {
            Scalar::Text(text) => Some(Secret::new(text)),
            Scalar::Integer(number) if self.is_written(leaf, &number.to_string()) => {
                Some(Secret::new(number.to_string()))
            }
            _ => {
                self.not_text(leaf, "expected text, found something else");
                None
            }
        }
    }

    fn not_text(&mut self, leaf: &Spanned<Value>, message: &str) {
        let diagnostic = Diagnostic::error(&self.origin(leaf), message);
        self.diagnostics.push(match &leaf.value {
            Value::Scalar(Scalar::Bool(_) | Scalar::Integer(_) | Scalar::Float(_)) => {
                diagnostic.suggest("put it in quotes")
            }
            _ => diagnostic,
        });
    }

    fn is_written(&self, leaf: &Spanned<Value>, text: &str) -> bool {
        self.source
            .slice(leaf.into())
            .is_some_and(|slice| slice == text)
    }

    /// Text that `parse` takes.
    pub fn parse<T>(
        &mut self,
        leaf: &Spanned<Value>,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let resolved = self.resolve(leaf)?;
        let text = match &resolved.scalar {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Integer(number) if self.is_written(leaf, &number.to_string()) => {
                Some(number.to_string())
            }
            _ => None,
        };
        let parsed = text.as_deref().and_then(parse);
        if parsed.is_none() {
            self.mismatch(leaf, expected, &resolved);
        }
        parsed
    }

    /// [`Resolver::parse`] of text of which a part may be a secret, such as an address: no message repeats it.
    pub fn parse_secret<T>(
        &mut self,
        leaf: &Spanned<Value>,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.secret(leaf)?;
        let parsed = parse(text.expose());
        if parsed.is_none() {
            let message = format!("expected {expected}, but what stands there is something else");
            self.diagnostics
                .push(Diagnostic::error(&self.origin(leaf), message).hide());
        }
        parsed
    }

    pub fn boolean(&mut self, leaf: &Spanned<Value>) -> Option<bool> {
        let resolved = self.resolve(leaf)?;
        let value = match &resolved.scalar {
            Scalar::Bool(value) => Some(*value),
            Scalar::Text(text) if resolved.hidden => match text.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        };
        if value.is_none() {
            self.mismatch(leaf, "`true` or `false`", &resolved);
        }
        value
    }

    /// One of a set of words.
    pub fn word<T: Copy>(
        &mut self,
        leaf: &Spanned<Value>,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let resolved = self.resolve(leaf)?;
        let text = resolved.scalar.text().unwrap_or_default();
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        let expected = format!("one of {}", list.join(", "));
        let suggestion = closest(text, words.iter().map(|(word, _)| *word));
        let mut diagnostic = mismatch(&self.origin(leaf), &expected, &resolved);
        if let Some(word) = suggestion {
            diagnostic = diagnostic.suggest(format!("did you mean `{word}`?"));
        }
        self.diagnostics.push(diagnostic);
        None
    }

    /// A path; a relative one starts at the folder of the file.
    pub fn path(&mut self, leaf: &Spanned<Value>) -> Option<PathBuf> {
        let text = self.text(leaf)?;
        if text.is_empty() {
            self.error(leaf, "expected a path, found empty text");
            return None;
        }
        Some(self.beside(&text))
    }

    /// A path to something that can be read.
    pub fn existing(&mut self, leaf: &Spanned<Value>, what: &str) -> Option<PathBuf> {
        let path = self.path(leaf)?;
        match std::fs::metadata(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                let shown = path.display();
                let message = match error.kind() {
                    std::io::ErrorKind::NotFound => format!("{what} `{shown}` does not exist"),
                    _ => format!("{what} `{shown}` cannot be read: {error}"),
                };
                let diagnostic = Diagnostic::error(&self.origin(leaf), message);
                self.diagnostics
                    .push(diagnostic.suggest("relative paths start at the folder of this file"));
                None
            }
        }
    }

    /// The leaf, which must be there.
    pub fn required<'l, T>(
        &mut self,
        leaf: &'l Option<Spanned<T>>,
        parent: Option<&Origin>,
        key: &str,
    ) -> Option<&'l Spanned<T>> {
        if leaf.is_none() {
            let message = format!("missing key `{key}`");
            self.diagnostics.push(match parent {
                Some(parent) => Diagnostic::error(parent, message),
                None => Diagnostic::error(&Origin::start(self.source), message),
            });
        }
        leaf.as_ref()
    }

    /// Applies `read` to a leaf that may be absent.
    pub fn optional<T>(
        &mut self,
        leaf: &Leaf,
        read: impl FnOnce(&mut Self, &Spanned<Value>) -> Option<T>,
    ) -> Option<T> {
        read(self, leaf.as_ref()?)
    }

    fn resolve(&mut self, leaf: &Spanned<Value>) -> Option<Resolved> {
        match &leaf.value {
            Value::Scalar(scalar) => Some(Resolved {
                scalar: scalar.clone(),
                hidden: false,
            }),
            Value::List(_) => Some(Resolved {
                scalar: Scalar::List,
                hidden: false,
            }),
            Value::Reference(reference) => {
                let text = self.dereference(leaf, reference)?;
                Some(Resolved {
                    scalar: Scalar::Text(text),
                    hidden: true,
                })
            }
        }
    }

    fn dereference(&mut self, leaf: &Spanned<Value>, reference: &Reference) -> Option<String> {
        match (&reference.env, &reference.file) {
            (Some(name), None) => {
                let value = (self.environment)(&name.value);
                if value.is_none() {
                    self.error(
                        name,
                        format!("the environment variable `{}` is not set", name.value),
                    );
                }
                value
            }
            (None, Some(path)) => match std::fs::read_to_string(self.beside(&path.value)) {
                Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(error) => {
                    self.error(
                        path,
                        format!("the file `{}` cannot be read: {error}", path.value),
                    );
                    None
                }
            },
            _ => {
                self.error(
                    leaf,
                    "expected a value, `{ env: NAME }` or `{ file: PATH }`",
                );
                None
            }
        }
    }

    fn mismatch(&mut self, leaf: &Spanned<Value>, expected: &str, resolved: &Resolved) {
        self.diagnostics
            .push(mismatch(&self.origin(leaf), expected, resolved));
    }

    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.source
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .join(path)
    }
}

fn mismatch(origin: &Origin, expected: &str, resolved: &Resolved) -> Diagnostic {
    let may_hold_login = resolved.scalar.text().is_some_and(may_hold_login);
    if resolved.hidden || may_hold_login {
        let message = format!("expected {expected}, but what stands there is something else");
        return Diagnostic::error(origin, message).hide();
    }
    let found = resolved.scalar.describe();
    Diagnostic::error(origin, format!("expected {expected}, found {found}"))
}

/// Whether there is a colon somewhere before an `@`, as in `user:password@host`.
fn may_hold_login(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(_, rest)| rest.contains('@'))
}
