//! A configuration file's text and places in it.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_yaml::Location;

use super::yaml::Spanned;

use super::diagnostics::{Diagnostic, Diagnostics};

/// A configuration file is written by hand; one that is larger than this is something else.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// Reads a file of at most [`MAX_FILE_BYTES`] of UTF-8.
    pub fn read(path: &Path) -> Result<Arc<Self>, Diagnostics> {
        let fail = |message: String| Diagnostics::from(Diagnostic::file(path, message));
        let size = std::fs::metadata(path)
            .map_err(|error| fail(cannot_read(&error)))?
            .len();
        if size > MAX_FILE_BYTES {
            return Err(fail(format!(
                "the file has {size} bytes, more than the {MAX_FILE_BYTES} that are read"
            )));
        }
        let bytes = std::fs::read(path).map_err(|error| fail(cannot_read(&error)))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            fail(format!(
                "the file is not UTF-8: invalid byte at offset {}",
                error.utf8_error().valid_up_to()
            ))
        })?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            text,
        }))
    }

    /// A 1-based line, without its end.
    pub fn line(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.text.lines().nth(index)
    }

    /// The text at a position within one line.
    pub fn slice(&self, position: Position) -> Option<String> {
        let skip = usize::try_from(position.column.checked_sub(1)?).ok()?;
        let take = usize::try_from(position.length).ok()?;
        let line = self.line(position.line)?;
        Some(line.chars().skip(skip).take(take).collect())
    }
}

/// A stretch of text in a file: 1-based line and column in characters, length in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            line: number(location.line()).max(1),
            column: number(location.column()).max(1),
            length: number(location.span().len()),
        }
    }
}

impl<T> From<&Spanned<T>> for Position {
    fn from(spanned: &Spanned<T>) -> Self {
        spanned.referenced.into()
    }
}

/// A place in a certain file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub source: Arc<Source>,
    pub position: Position,
}

impl Origin {
    /// Where a file starts: the place of what is missing from it.
    pub fn start(source: &Arc<Source>) -> Self {
        Self::new(
            source,
            Position {
                line: 1,
                column: 1,
                length: 0,
            },
        )
    }

    pub fn new(source: &Arc<Source>, position: impl Into<Position>) -> Self {
        Self {
            source: Arc::clone(source),
            position: position.into(),
        }
    }
}

fn cannot_read(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "the file does not exist".to_owned(),
        std::io::ErrorKind::PermissionDenied => {
            "the file cannot be read: permission denied".to_owned()
        }
        _ => format!("the file cannot be read: {error}"),
    }
}
