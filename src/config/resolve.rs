//! From a leaf of the file to the value it stands for: literal, environment variable or file.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_yaml::Spanned;

use super::diagnostics::{Diagnostic, Diagnostics, closest};
use super::raw::Leaf;
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

    /// Text. A number is taken as its digits; booleans and fractions must be quoted, for nobody knows how they were meant.
    pub fn text(&mut self, leaf: &Spanned<Value>) -> Option<String> {
        let resolved = self.resolve(leaf)?;
        match resolved.scalar {
            Scalar::Text(text) => Some(text),
            Scalar::Integer(number) => Some(number.to_string()),
            other => {
                let diagnostic = Diagnostic::error(
                    &self.origin(leaf),
                    format!("expected text, found {}", other.describe()),
                );
                self.diagnostics.push(match other {
                    Scalar::Bool(_) | Scalar::Float(_) => diagnostic.suggest("put it in quotes"),
                    _ => diagnostic,
                });
                None
            }
        }
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
            Scalar::Integer(number) => Some(number.to_string()),
            _ => None,
        };
        let parsed = text.as_deref().and_then(parse);
        if parsed.is_none() {
            self.mismatch(leaf, expected, &resolved);
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
        let mut diagnostic = Diagnostic::error(&self.origin(leaf), mismatch(&expected, &resolved));
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
                None => Diagnostic::file(&self.source.path, message),
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
        self.error(leaf, mismatch(expected, resolved));
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.source
            .path
            .parent()
            .unwrap_or(Path::new(""))
            .join(path)
    }
}

fn mismatch(expected: &str, resolved: &Resolved) -> String {
    if resolved.hidden {
        return format!("expected {expected}, but what stands there is something else");
    }
    format!("expected {expected}, found {}", resolved.scalar.describe())
}
