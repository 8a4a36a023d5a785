//! ErrorResponse and NoticeResponse: built for clients, taken apart when the server sent them.
//!
//! Source: protocol section "Error and Notice Message Fields"; `send_message_to_frontend` in elog.c.
use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::response::ErrorResponse;

/// Tag of an ErrorResponse.
pub const ERROR_RESPONSE: u8 = b'E';
/// Tag of a NoticeResponse.
pub const NOTICE_RESPONSE: u8 = b'N';

/// SQLSTATEs that pgveil itself raises (Appendix A of PostgreSQL's manual).
pub mod sqlstate {
    pub const CONNECTION_FAILURE: &str = "08006";
    pub const PROTOCOL_VIOLATION: &str = "08P01";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const INVALID_AUTHORIZATION: &str = "28000";
    pub const INVALID_PASSWORD: &str = "28P01";
    pub const INSUFFICIENT_PRIVILEGE: &str = "42501";
    pub const NAME_TOO_LONG: &str = "42622";
    pub const TOO_MANY_CONNECTIONS: &str = "53300";
    pub const QUERY_CANCELED: &str = "57014";
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const CANNOT_CONNECT_NOW: &str = "57P03";
    pub const INTERNAL_ERROR: &str = "XX000";
}

/// The fields of an ErrorResponse or NoticeResponse.
///
/// Text is UTF-8 here. Bytes of a server message that are not (its client_encoding is another) are replaced by
/// U+FFFD, so a message that must reach the client unaltered is forwarded as the frame it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorFields {
    /// `ERROR`, `FATAL`, `NOTICE`, ...; written as both `S` (localized) and `V`. Parsing prefers `V`.
    pub severity: String,
    /// Five characters, see Appendix A of PostgreSQL's manual.
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Cursor position in the client's text, in characters from 1.
    pub position: Option<u32>,
    /// Cursor position in `internal_query`, in characters from 1.
    pub internal_position: Option<u32>,
    pub internal_query: Option<String>,
    /// `CONTEXT` (field `W`).
    pub context: Option<String>,
    pub schema: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub data_type: Option<String>,
    pub constraint: Option<String>,
    pub file: Option<String>,
    pub line: Option<String>,
    pub routine: Option<String>,
    /// Fields of codes that this protocol version does not name, in order.
    pub other: Vec<(u8, String)>,
}

/// Why a body is not an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorFieldsError {
    #[error("the server's error message ends inside a field")]
    Truncated,
    #[error("the server's error message goes on after its terminator")]
    TrailingBytes,
    #[error("the server's error message has a position that is not a number")]
    BadPosition,
    #[error("the server's error message lacks its severity, SQLSTATE or message")]
    Incomplete,
}

impl ErrorFields {
    fn new(severity: &str, sqlstate: &str, message: impl Into<String>) -> Self {
        ErrorFields {
            severity: severity.to_owned(),
            sqlstate: sqlstate.to_owned(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// An error that ends the statement; the session goes on.
    pub fn error(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::new("ERROR", sqlstate, message)
    }

    /// An error after which the sender closes the connection.
    pub fn fatal(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::new("FATAL", sqlstate, message)
    }

    /// A notice; send it with the tag [`NOTICE_RESPONSE`].
    pub fn notice(sqlstate: &str, message: impl Into<String>) -> Self {
        Self::new("NOTICE", sqlstate, message)
    }

    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Takes apart the body of an ErrorResponse or NoticeResponse: the whole body, without tag and length.
    ///
    /// Strict about the layout (nothing may follow the terminator), lenient about unknown field codes, which the
    /// protocol says to ignore. Of a field that occurs twice the last one counts.
    pub fn parse(body: &[u8]) -> Result<Self, ErrorFieldsError> {
        let mut fields = ErrorFields::default();
        let mut localized = String::new();
        let mut rest = body;
        loop {
            let (&code, after) = rest.split_first().ok_or(ErrorFieldsError::Truncated)?;
            if code == 0 {
                if !after.is_empty() {
                    return Err(ErrorFieldsError::TrailingBytes);
                }
                break;
            }
            let end = after.iter().position(|&byte| byte == 0);
            let (text, next) = end
                .and_then(|end| after.split_at_checked(end))
                .ok_or(ErrorFieldsError::Truncated)?;
            let text = String::from_utf8_lossy(text).into_owned();
            rest = next.get(1..).unwrap_or_default();
            if code == b'S' {
                localized = text;
            } else {
                fields.set(code, text)?;
            }
        }
        if fields.severity.is_empty() {
            fields.severity = localized; // Servers before 9.6 send no `V`.
        }
        if fields.severity.is_empty() || fields.sqlstate.is_empty() || fields.message.is_empty() {
            return Err(ErrorFieldsError::Incomplete);
        }
        Ok(fields)
    }

    fn set(&mut self, code: u8, text: String) -> Result<(), ErrorFieldsError> {
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| ErrorFieldsError::BadPosition)
        };
        match code {
            b'V' => self.severity = text,
            b'C' => self.sqlstate = text,
            b'M' => self.message = text,
            b'D' => self.detail = Some(text),
            b'H' => self.hint = Some(text),
            b'P' => self.position = Some(number(&text)?),
            b'p' => self.internal_position = Some(number(&text)?),
            b'q' => self.internal_query = Some(text),
            b'W' => self.context = Some(text),
            b's' => self.schema = Some(text),
            b't' => self.table = Some(text),
            b'c' => self.column = Some(text),
            b'd' => self.data_type = Some(text),
            b'n' => self.constraint = Some(text),
            b'F' => self.file = Some(text),
            b'L' => self.line = Some(text),
            b'R' => self.routine = Some(text),
            other => self.other.push((other, text)),
        }
        Ok(())
    }

    /// The whole frame: tag ([`ERROR_RESPONSE`] or [`NOTICE_RESPONSE`]), length, fields in PostgreSQL's order.
    ///
    /// A NUL inside a text would end the field early and let the rest pose as further fields; it is left out.
    pub fn frame(&self, tag: u8) -> Bytes {
        let mut fields: Vec<(u8, String)> = Vec::with_capacity(8);
        let mut put = |code: u8, text: &str| fields.push((code, text.replace('\0', "")));
        put(b'S', &self.severity);
        put(b'V', &self.severity);
        put(b'C', &self.sqlstate);
        put(b'M', &self.message);
        let position = self.position.map(|number| number.to_string());
        let internal_position = self.internal_position.map(|number| number.to_string());
        let optional = [
            (b'D', &self.detail),
            (b'H', &self.hint),
            (b'P', &position),
            (b'p', &internal_position),
            (b'q', &self.internal_query),
            (b'W', &self.context),
            (b's', &self.schema),
            (b't', &self.table),
            (b'c', &self.column),
            (b'd', &self.data_type),
            (b'n', &self.constraint),
            (b'F', &self.file),
            (b'L', &self.line),
            (b'R', &self.routine),
        ];
        for (code, text) in optional {
            if let Some(text) = text {
                put(code, text);
            }
        }
        for (code, text) in self.other.iter().filter(|(code, _)| *code != 0) {
            put(*code, text);
        }
        let mut body = BytesMut::with_capacity(128 + self.message.len());
        // Both messages have the same body; writing one cannot fail.
        let _ = ErrorResponse::new(fields).encode_body(&mut body);
        let mut frame = BytesMut::with_capacity(5 + body.len());
        frame.put_u8(tag);
        frame.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
        frame.extend_from_slice(&body);
        frame.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL 15 sends it for `SELECT nope`.
    const FROM_SERVER: &[u8] =
        b"SERROR\0VERROR\0C42703\0Mcolumn \"nope\" does not exist\0P8\0Fparse_relation.c\0L3651\0RerrorMissingColumn\0\0";

    #[test]
    fn a_servers_error_is_taken_apart_and_rebuilt_byte_for_byte() {
        let fields = ErrorFields::parse(FROM_SERVER).unwrap();
        assert_eq!(fields.sqlstate, "42703");
        assert_eq!(fields.position, Some(8));
        assert_eq!(fields.routine.as_deref(), Some("errorMissingColumn"));
        let frame = fields.frame(ERROR_RESPONSE);
        assert_eq!(frame[0], b'E');
        assert_eq!(frame[1..5], (FROM_SERVER.len() as u32 + 4).to_be_bytes());
        assert_eq!(&frame[5..], FROM_SERVER);
    }

    #[test]
    fn an_error_cut_short_anywhere_is_refused() {
        for end in 0..FROM_SERVER.len() {
            let cut = ErrorFields::parse(&FROM_SERVER[..end]);
            assert_eq!(cut, Err(ErrorFieldsError::Truncated), "cut at {end}");
        }
    }

    #[test]
    fn malformed_errors_are_refused() {
        let check = |body: &[u8], error| assert_eq!(ErrorFields::parse(body), Err(error));
        check(b"SERROR\0C42703\0Mx\0\0x", ErrorFieldsError::TrailingBytes);
        check(b"SERROR\0C42703\0Mx\0\0\0", ErrorFieldsError::TrailingBytes);
        check(b"\0", ErrorFieldsError::Incomplete);
        check(b"SERROR\0Mx\0\0", ErrorFieldsError::Incomplete);
        check(
            b"SERROR\0C42703\0Mx\0P-1\0\0",
            ErrorFieldsError::BadPosition,
        );
    }

    #[test]
    fn unknown_fields_are_kept_and_the_localized_severity_serves_alone() {
        let fields = ErrorFields::parse(b"SFEHLER\0C42703\0Mx\0Znew\0\0").unwrap();
        assert_eq!(fields.severity, "FEHLER");
        assert_eq!(fields.other, [(b'Z', "new".to_owned())]);
    }

    #[test]
    fn a_nul_in_a_text_does_not_start_another_field() {
        let fields = ErrorFields::error("42501", "x\0Dinjected");
        let frame = fields.frame(ERROR_RESPONSE);
        let parsed = ErrorFields::parse(&frame[5..]).unwrap();
        assert_eq!(parsed.message, "xDinjected");
        assert_eq!(parsed.detail, None);
    }
}
