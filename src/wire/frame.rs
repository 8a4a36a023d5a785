//! The header walk: where one message ends and the next begins.
//!
//! After startup every message is a tag byte and a 32-bit length that counts itself but not the tag (PostgreSQL
//! documentation, "Message Formats"). Nothing here looks into a body. A length below 4 and a length beyond the
//! tag's limit are errors, so that a reader can never be led to interpret the inside of one message as the
//! head of another (the attack of RUSTSEC-2024-0363).
use bytes::{BufMut, BytesMut};

/// Tag and length word.
pub const HEADER_LEN: usize = 5;
/// The length word counts itself.
pub const LENGTH_LEN: u32 = 4;

/// Longest frontend message of a small kind (`PQ_SMALL_MESSAGE_LIMIT`, libpq/libpq.h). Bytes, length word included.
pub const SMALL_FRAME: u32 = 10_000;
/// Longest message of a kind that carries data or text (`PQ_LARGE_MESSAGE_LIMIT`: `MaxAllocSize - 1`).
pub const LARGE_FRAME: u32 = 0x3fff_ffff;
/// Longest backend message that is held whole to be looked into: a RowDescription of 1,664 columns (the server's
/// `MaxTupleAttributeNumber`) is about 140 kB, a ParameterDescription of 65,535 parameters 262 kB.
pub const HELD_FRAME: u32 = 1 << 20;

/// Frontend message tags.
pub mod front {
    pub const BIND: u8 = b'B';
    pub const CLOSE: u8 = b'C';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_FAIL: u8 = b'f';
    pub const DESCRIBE: u8 = b'D';
    pub const EXECUTE: u8 = b'E';
    pub const FLUSH: u8 = b'H';
    pub const FUNCTION_CALL: u8 = b'F';
    pub const PARSE: u8 = b'P';
    pub const QUERY: u8 = b'Q';
    pub const SYNC: u8 = b'S';
    pub const TERMINATE: u8 = b'X';
}

/// Backend message tags.
pub mod back {
    pub const AUTHENTICATION: u8 = b'R';
    pub const BACKEND_KEY_DATA: u8 = b'K';
    pub const BIND_COMPLETE: u8 = b'2';
    pub const CLOSE_COMPLETE: u8 = b'3';
    pub const COMMAND_COMPLETE: u8 = b'C';
    pub const COPY_BOTH_RESPONSE: u8 = b'W';
    pub const COPY_DATA: u8 = b'd';
    pub const COPY_DONE: u8 = b'c';
    pub const COPY_IN_RESPONSE: u8 = b'G';
    pub const COPY_OUT_RESPONSE: u8 = b'H';
    pub const DATA_ROW: u8 = b'D';
    pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
    pub const ERROR_RESPONSE: u8 = b'E';
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
    pub const NO_DATA: u8 = b'n';
    pub const NOTICE_RESPONSE: u8 = b'N';
    pub const NOTIFICATION_RESPONSE: u8 = b'A';
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    pub const PARAMETER_STATUS: u8 = b'S';
    pub const PARSE_COMPLETE: u8 = b'1';
    pub const PORTAL_SUSPENDED: u8 = b's';
    pub const READY_FOR_QUERY: u8 = b'Z';
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// Which side sent a frame; the tags of the two sides overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// One message's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// As on the wire: counts the length word, not the tag. At least 4.
    pub length: u32,
}

impl Header {
    /// Bytes of the message on the wire, tag included.
    pub const fn total(self) -> usize {
        self.length as usize + 1
    }

    /// Bytes of the body.
    pub const fn body(self) -> usize {
        self.length as usize - LENGTH_LEN as usize
    }
}

/// What is wrong with a message's head. The peer broke the protocol: SQLSTATE 08P01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("invalid frontend message type {0}")]
    UnknownFrontendTag(u8),
    #[error("invalid backend message type {0}")]
    UnknownBackendTag(u8),
    #[error("invalid message length {length} in message type {tag}")]
    Length { tag: u8, length: i64 },
}

/// The head of the message that starts at `bytes`, `None` while fewer than [`HEADER_LEN`] bytes are there.
///
/// The tag and the length are checked against what `side` may send, before a single byte of the body is awaited.
pub fn peek(side: Side, bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(&tag) = bytes.first() else {
        return Ok(None);
    };
    let limit = match side {
        Side::Client => frontend_limit(tag).ok_or(FrameError::UnknownFrontendTag(tag))?,
        Side::Server => backend_limit(tag).ok_or(FrameError::UnknownBackendTag(tag))?,
    };
    let Some(word) = bytes.get(1..HEADER_LEN) else {
        return Ok(None);
    };
    let mut raw = [0u8; 4];
    raw.copy_from_slice(word);
    let length = u32::from_be_bytes(raw);
    if length < LENGTH_LEN || length > limit {
        return Err(FrameError::Length {
            tag,
            length: i64::from(i32::from_be_bytes(raw)),
        });
    }
    Ok(Some(Header { tag, length }))
}

/// The limits of `SocketBackend` (tcop/postgres.c). A password message after login is an unknown one there too.
const fn frontend_limit(tag: u8) -> Option<u32> {
    match tag {
        front::QUERY | front::PARSE | front::BIND | front::FUNCTION_CALL | front::COPY_DATA => {
            Some(LARGE_FRAME)
        }
        front::EXECUTE
        | front::DESCRIBE
        | front::CLOSE
        | front::SYNC
        | front::FLUSH
        | front::COPY_DONE
        | front::COPY_FAIL
        | front::TERMINATE => Some(SMALL_FRAME),
        _ => None,
    }
}

const fn backend_limit(tag: u8) -> Option<u32> {
    match tag {
        back::DATA_ROW
        | back::COPY_DATA
        | back::ERROR_RESPONSE
        | back::NOTICE_RESPONSE
        | back::NOTIFICATION_RESPONSE
        | back::PARAMETER_STATUS
        | back::FUNCTION_CALL_RESPONSE => Some(LARGE_FRAME),
        back::ROW_DESCRIPTION
        | back::PARAMETER_DESCRIPTION
        | back::COMMAND_COMPLETE
        | back::COPY_IN_RESPONSE
        | back::COPY_OUT_RESPONSE
        | back::COPY_BOTH_RESPONSE
        | back::NEGOTIATE_PROTOCOL_VERSION
        | back::AUTHENTICATION
        | back::BACKEND_KEY_DATA => Some(HELD_FRAME),
        back::BIND_COMPLETE
        | back::CLOSE_COMPLETE
        | back::PARSE_COMPLETE
        | back::NO_DATA
        | back::PORTAL_SUSPENDED
        | back::COPY_DONE
        | back::EMPTY_QUERY_RESPONSE => Some(LENGTH_LEN),
        back::READY_FOR_QUERY => Some(LENGTH_LEN + 1),
        _ => None,
    }
}

/// Appends one message. `body` must leave the length within [`LARGE_FRAME`]; what pgveil builds is bounded by the
/// statement limit, far below.
pub fn put_frame(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.reserve(HEADER_LEN + body.len());
    out.put_u8(tag);
    out.put_u32(body.len() as u32 + LENGTH_LEN);
    out.put_slice(body);
}

/// Reads the fields of one message's body, strictly inside its slice.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// A body that does not hold what its message kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid message format")]
pub struct Malformed;

impl<'a> Fields<'a> {
    pub const fn new(body: &'a [u8]) -> Self {
        Fields { rest: body }
    }

    /// A NUL-terminated string, without the NUL.
    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self
            .rest
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(Malformed)?;
        let (string, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).ok_or(Malformed)?;
        Ok(string)
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.bytes(1)?.first().copied().ok_or(Malformed)
    }

    pub fn int16(&mut self) -> Result<i16, Malformed> {
        let bytes = self.bytes(2)?.try_into().map_err(|_| Malformed)?;
        Ok(i16::from_be_bytes(bytes))
    }

    pub fn int32(&mut self) -> Result<i32, Malformed> {
        let bytes = self.bytes(4)?.try_into().map_err(|_| Malformed)?;
        Ok(i32::from_be_bytes(bytes))
    }

    /// What is left, unread.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The body must end here.
    pub const fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(tag: u8, length: u32) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn a_head_needs_five_bytes() {
        let bytes = head(b'S', 4);
        for have in 0..HEADER_LEN {
            assert_eq!(peek(Side::Client, &bytes[..have]), Ok(None));
        }
        let header = peek(Side::Client, &bytes).unwrap().unwrap();
        assert_eq!((header.total(), header.body()), (5, 0));
    }

    #[test]
    fn an_unknown_tag_is_refused_before_its_length_arrives() {
        for tag in [b'p', b'\0', b'1', 0xff] {
            assert_eq!(
                peek(Side::Client, &[tag]),
                Err(FrameError::UnknownFrontendTag(tag))
            );
        }
        assert_eq!(
            peek(Side::Server, b"Q"),
            Err(FrameError::UnknownBackendTag(b'Q'))
        );
    }

    #[test]
    fn lengths_outside_the_kind_are_refused() {
        for (side, tag, length) in [
            (Side::Client, b'Q', 0),
            (Side::Client, b'Q', 3),
            (Side::Client, b'Q', LARGE_FRAME + 1),
            (Side::Client, b'Q', u32::MAX),
            (Side::Client, b'E', SMALL_FRAME + 1),
            (Side::Server, b'Z', 4 + 2),
            (Side::Server, b'T', HELD_FRAME + 1),
            (Side::Server, b'D', u32::MAX),
        ] {
            assert!(
                matches!(
                    peek(side, &head(tag, length)),
                    Err(FrameError::Length { .. })
                ),
                "{side:?} {} {length}",
                tag as char
            );
        }
        assert!(peek(Side::Server, &head(b'D', LARGE_FRAME)).is_ok());
    }

    #[test]
    fn fields_stay_inside_their_slice() {
        let mut fields = Fields::new(b"name\0\0\x05rest");
        assert_eq!(fields.string(), Ok(&b"name"[..]));
        assert_eq!(fields.int16(), Ok(5));
        assert_eq!(fields.int32(), Ok(i32::from_be_bytes(*b"rest")));
        assert_eq!(fields.end(), Ok(()));
        assert_eq!(Fields::new(b"no end").string(), Err(Malformed));
        assert_eq!(Fields::new(b"abc").int32(), Err(Malformed));
        assert_eq!(Fields::new(b"x").end(), Err(Malformed));
    }
}
