//! The packets a client may send before its login, parsed inside an exact slice. Pure.
//!
//! Source: protocol sections "Start-up" and "Cancelling Requests in Progress"; `ProcessStartupPacket` in
//! backend_startup.c. These packets have a length but no tag.
use bytes::{BufMut, Bytes, BytesMut};

use super::error::{ErrorFields, sqlstate};

/// PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`: the longest startup packet, its length word not counted, in bytes.
pub const MAX_STARTUP_PACKET: usize = 10_000;
/// The shortest: a request code.
pub const MIN_STARTUP_PACKET: usize = 4;
/// PostgreSQL's `NAMEDATALEN`: names are shorter than this, in bytes.
pub const NAME_DATA_LEN: usize = 64;
/// The newest minor version of protocol 3 that pgveil speaks itself; PostgreSQL 18 has 3.2.
pub const NEWEST_MINOR: u16 = 2;
/// The first minor version with cancel keys that are not four bytes.
pub const LONG_KEYS_SINCE_MINOR: u16 = 2;
/// Bytes of a cancel key in protocol 3.0.
pub const SHORT_CANCEL_KEY: usize = 4;
/// Most bytes of a cancel key in protocol 3.2.
pub const MAX_CANCEL_KEY: usize = 256;
/// First byte of a TLS record that holds a handshake message: a client that begins TLS without SSLRequest.
pub const TLS_HANDSHAKE: u8 = 0x16;
/// Start of the names of startup parameters that are protocol options.
pub const PROTOCOL_OPTION: &[u8] = b"_pq_.";

const MAJOR_VERSION: u16 = 3;
/// The request codes look like a protocol version with this major number.
const REQUEST_MAJOR: u16 = 1234;
const CANCEL_REQUEST: u16 = 5678;
const SSL_REQUEST: u16 = 5679;
const GSSENC_REQUEST: u16 = 5680;

/// One packet of the time before login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    SslRequest,
    GssEncRequest,
    Cancel(CancelRequest),
    Startup(StartupMessage),
}

/// A request to cancel what a session runs; it comes on a connection of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct CancelRequest {
    pub pid: i32,
    /// [`SHORT_CANCEL_KEY`] to [`MAX_CANCEL_KEY`] bytes. A secret.
    pub key: Bytes,
}

impl std::fmt::Debug for CancelRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelRequest")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// Why a packet is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    #[error("invalid length of startup packet: {0} bytes")]
    Length(u32),
    #[error("incomplete startup packet")]
    Incomplete,
    #[error(
        "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{NEWEST_MINOR}"
    )]
    Version { major: u16, minor: u16 },
    #[error("invalid length of encryption request packet")]
    RequestLength,
    #[error("invalid length of cancel request packet")]
    CancelLength,
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("{what} in startup packet is not valid UTF-8")]
    NotText { what: &'static str },
    #[error("{what} in startup packet is longer than {} bytes", NAME_DATA_LEN - 1)]
    TooLong { what: &'static str },
}

impl StartupError {
    /// Whether the client is told: as in PostgreSQL not where what came is no startup packet at all (`COMMERROR` in
    /// `ProcessStartupPacket`, backend_startup.c). A client that says good-bye before it has said who it is expects none.
    pub const fn is_told(&self) -> bool {
        !matches!(
            self,
            StartupError::Length(_) | StartupError::Incomplete | StartupError::CancelLength
        )
    }

    /// The FATAL error the client gets.
    pub fn fields(&self) -> ErrorFields {
        let code = match self {
            StartupError::Version { .. } => sqlstate::FEATURE_NOT_SUPPORTED,
            StartupError::NoUser | StartupError::NotText { .. } => sqlstate::INVALID_AUTHORIZATION,
            StartupError::TooLong { .. } => sqlstate::NAME_TOO_LONG,
            _ => sqlstate::PROTOCOL_VIOLATION,
        };
        ErrorFields::fatal(code, self.to_string())
    }
}

/// The length of what follows a length word, checked against the limit (at most [`MAX_STARTUP_PACKET`]).
pub fn body_length(length_word: [u8; 4], limit: usize) -> Result<usize, StartupError> {
    let length = u32::from_be_bytes(length_word);
    let body = usize::try_from(length).ok().and_then(|n| n.checked_sub(4));
    body.filter(|body| (MIN_STARTUP_PACKET..=limit.min(MAX_STARTUP_PACKET)).contains(body))
        .ok_or(StartupError::Length(length))
}

/// Parses what follows the length word: exactly one packet, without a byte left over.
pub fn parse(body: Bytes) -> Result<Packet, StartupError> {
    let (major, minor, rest) = match *body {
        [a, b, c, d, ref rest @ ..] => {
            (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), rest)
        }
        _ => return Err(StartupError::Incomplete),
    };
    let bare = |packet| match rest.is_empty() {
        true => Ok(packet),
        false => Err(StartupError::RequestLength),
    };
    match (major, minor) {
        (REQUEST_MAJOR, SSL_REQUEST) => bare(Packet::SslRequest),
        (REQUEST_MAJOR, GSSENC_REQUEST) => bare(Packet::GssEncRequest),
        (REQUEST_MAJOR, CANCEL_REQUEST) => cancel_request(&body).map(Packet::Cancel),
        (MAJOR_VERSION, minor) => StartupMessage::parse(body, minor).map(Packet::Startup),
        (major, minor) => Err(StartupError::Version { major, minor }),
    }
}

fn cancel_request(body: &Bytes) -> Result<CancelRequest, StartupError> {
    let pid = body.get(4..8).and_then(|pid| pid.try_into().ok());
    let pid = i32::from_be_bytes(pid.ok_or(StartupError::CancelLength)?);
    let key = body.slice(8..);
    if !(SHORT_CANCEL_KEY..=MAX_CANCEL_KEY).contains(&key.len()) {
        return Err(StartupError::CancelLength);
    }
    Ok(CancelRequest { pid, key })
}

/// A StartupMessage of protocol 3: kept as the bytes it came in, so that it goes on unaltered and in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupMessage {
    minor: u16,
    /// Without the length word.
    body: Bytes,
    parameters: Vec<(Bytes, Bytes)>,
    user: String,
    database: String,
}

impl StartupMessage {
    fn parse(body: Bytes, minor: u16) -> Result<Self, StartupError> {
        let mut parameters = Vec::new();
        let mut at = 4;
        loop {
            let name = c_string(&body, at)?;
            at += name.len() + 1;
            if name.is_empty() {
                break;
            }
            let value = c_string(&body, at)?;
            at += value.len() + 1;
            parameters.push((name, value));
        }
        if at != body.len() {
            return Err(StartupError::Layout);
        }
        // The last one wins, as in ProcessStartupPacket. PostgreSQL before 17 cuts a name of 64 bytes or more,
        // so that role "x...x" would log in as another one: refused here, before a policy looks at it.
        let user = last(&parameters, b"user").ok_or(StartupError::NoUser)?;
        let user = name(user, "user name")?;
        let database = match last(&parameters, b"database") {
            Some(database) => name(database, "database name")?,
            None => user.clone(),
        };
        Ok(StartupMessage {
            minor,
            body,
            parameters,
            user,
            database,
        })
    }

    /// The minor version the client asks for: 3.`minor`.
    pub fn minor(&self) -> u16 {
        self.minor
    }

    /// The `user` that counts; neither empty nor longer than PostgreSQL's names.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The `database` that counts; the user's name where it is missing or empty, as in PostgreSQL.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// All parameters in their order, duplicates included.
    pub fn parameters(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = self.parameters.iter();
        pairs.map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// The last value of a parameter, bytes that are not UTF-8 replaced: for records and messages.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let value = last(&self.parameters, name.as_bytes());
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The names of the protocol options (`_pq_.*`), in order.
    pub fn protocol_options(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.parameters().map(|(name, _)| name);
        names.filter(|name| name.starts_with(PROTOCOL_OPTION))
    }

    /// The packet as it came, length word included.
    pub fn packet(&self) -> Bytes {
        framed(&self.body)
    }

    /// The packet as protocol 3.0 without protocol options, all else unaltered and in order: what goes to the
    /// server where pgveil itself negotiates with the client.
    pub fn packet_of_3_0(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(self.body.len());
        body.put_u16(MAJOR_VERSION);
        body.put_u16(0);
        for (name, value) in self.parameters() {
            if !name.starts_with(PROTOCOL_OPTION) {
                body.put_slice(name);
                body.put_u8(0);
                body.put_slice(value);
                body.put_u8(0);
            }
        }
        body.put_u8(0);
        framed(&body)
    }
}

/// NegotiateProtocolVersion: the newest version pgveil speaks up to the one asked for, and the options it does not
/// know. `None` where the client asked for nothing unknown.
pub fn negotiate_protocol_version(startup: &StartupMessage) -> Option<Bytes> {
    let options: Vec<&[u8]> = startup.protocol_options().collect();
    if startup.minor() <= NEWEST_MINOR && options.is_empty() {
        return None;
    }
    let mut body = BytesMut::new();
    body.put_u16(MAJOR_VERSION);
    body.put_u16(startup.minor().min(NEWEST_MINOR));
    body.put_u32(u32::try_from(options.len()).unwrap_or(u32::MAX));
    for option in options {
        body.put_slice(option);
        body.put_u8(0);
    }
    let mut frame = BytesMut::with_capacity(5 + body.len());
    frame.put_u8(b'v');
    frame.put_slice(&framed(&body));
    Some(frame.freeze())
}

fn framed(body: &[u8]) -> Bytes {
    let mut packet = BytesMut::with_capacity(4 + body.len());
    packet.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    packet.put_slice(body);
    packet.freeze()
}

/// The zero-terminated bytes from `at`, without the zero.
fn c_string(body: &Bytes, at: usize) -> Result<Bytes, StartupError> {
    let rest = body.get(at..).unwrap_or_default();
    let length = rest.iter().position(|&byte| byte == 0);
    let length = length.ok_or(StartupError::Layout)?;
    Ok(body.slice(at..at + length))
}

fn last<'a>(parameters: &'a [(Bytes, Bytes)], wanted: &[u8]) -> Option<&'a [u8]> {
    let found = parameters.iter().rev().find(|(name, _)| name == wanted);
    let value = found.map(|(_, value)| value.as_ref());
    // An empty user or database counts as none.
    value.filter(|value| !value.is_empty())
}

fn name(value: &[u8], what: &'static str) -> Result<String, StartupError> {
    if value.len() >= NAME_DATA_LEN {
        return Err(StartupError::TooLong { what });
    }
    let text = std::str::from_utf8(value).map_err(|_| StartupError::NotText { what })?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
