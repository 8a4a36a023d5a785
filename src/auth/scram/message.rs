//! The messages of SCRAM as text: comma-separated `name=value` attributes.
use super::ScramError;

/// Attributes not read yet.
pub(super) struct Attributes<'a>(Option<&'a str>);

impl<'a> Attributes<'a> {
    pub(super) fn of(message: &'a str) -> Self {
        Attributes(Some(message))
    }

    /// The next piece between commas, whatever is in it.
    pub(super) fn piece(&mut self) -> Result<&'a str, ScramError> {
        let rest = self
            .0
            .ok_or(ScramError::Malformed("an attribute is missing"))?;
        let (piece, after) = match rest.split_once(',') {
            Some((piece, after)) => (piece, Some(after)),
            None => (rest, None),
        };
        self.0 = after;
        Ok(piece)
    }

    /// The value of the next attribute, which must have this name.
    pub(super) fn value(&mut self, name: char) -> Result<&'a str, ScramError> {
        let piece = self.piece()?;
        let value = piece
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='));
        value.ok_or(ScramError::Malformed("another attribute was expected"))
    }

    /// What was not read, without its leading comma.
    pub(super) fn rest(&self) -> Option<&'a str> {
        self.0
    }
}

/// RFC 5802's `printable`: all of ASCII that is visible, less the comma.
pub(super) fn is_printable(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b',')
}

/// A SASL message as text.
pub(super) fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > super::MAX_SASL_MESSAGE {
        return Err(ScramError::Malformed("the message is too long"));
    }
    if message.contains(&0) {
        return Err(ScramError::Malformed("the message holds a zero byte"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Malformed("the message is not UTF-8"))
}
