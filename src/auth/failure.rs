//! A login that failed: what the client is told, what the log is told, and who is to blame.
use bytes::Bytes;

use super::frames::{Frame, FrameReadError};
use crate::wire::error::{ERROR_RESPONSE, ErrorFields, sqlstate};

/// Who made a login fail. Also the metric's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Left, broke the protocol, or was too slow.
    Client,
    /// Gave no proof of being who it says: wrong password, unknown or expired user.
    Credentials,
    /// The policy, or a rule for restricted sessions.
    Policy,
    /// The server refused, could not be reached, or broke the protocol.
    Server,
    /// pgveil itself: its verifiers cannot be read, its settings do not fit the server's.
    Pgveil,
}

impl Blame {
    pub const ALL: [Blame; 5] = [
        Blame::Client,
        Blame::Credentials,
        Blame::Policy,
        Blame::Server,
        Blame::Pgveil,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Client => "client",
            Blame::Credentials => "credentials",
            Blame::Policy => "policy",
            Blame::Server => "server",
            Blame::Pgveil => "pgveil",
        }
    }
}

/// Why a login ended without a session. What clients see is only in `fields` and `frames`.
#[derive(Debug, Clone)]
pub struct Failure {
    pub blame: Blame,
    /// SQLSTATE and message, as the client gets them.
    pub fields: Box<ErrorFields>,
    /// For the log, never for clients: addresses, the operating system's words, the cause behind a vague message.
    pub cause: Option<String>,
    /// The frames that tell the client; `None` means: `fields` as an ErrorResponse. Empty where nothing is sent.
    pub frames: Option<Bytes>,
}

impl Failure {
    pub fn new(blame: Blame, fields: ErrorFields) -> Self {
        Failure {
            blame,
            fields: Box::new(fields),
            cause: None,
            frames: None,
        }
    }

    #[must_use]
    pub fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The client is gone: nobody is told.
    pub fn client_left() -> Self {
        let fields = ErrorFields::fatal(
            sqlstate::CONNECTION_FAILURE,
            "the client closed the connection during login",
        );
        Failure {
            frames: Some(Bytes::new()),
            ..Self::new(Blame::Client, fields)
        }
    }

    /// The client sent what the protocol does not allow here.
    pub fn client_protocol(message: impl Into<String>) -> Self {
        let fields = ErrorFields::fatal(sqlstate::PROTOCOL_VIOLATION, message);
        Self::new(Blame::Client, fields)
    }

    /// No frame could be read from the client.
    pub fn from_client(error: FrameReadError) -> Self {
        match error {
            FrameReadError::Length { .. } => Self::client_protocol(error.to_string()),
            // psql leaves like this when it has to ask its user for the password first.
            FrameReadError::Closed => Self::client_left(),
            error => Self::client_left().because(error),
        }
    }

    /// The client sent something else than an answer to an authentication request.
    pub fn unexpected_answer(frame: &Frame) -> Self {
        match frame.tag() {
            b'X' => Self::client_left(),
            tag => Self::client_protocol(format!(
                "expected authentication response, got message type {tag}"
            )),
        }
    }

    /// There is no connection to the server, or it broke.
    pub fn server_gone(message: &str, cause: impl ToString) -> Self {
        let fields = ErrorFields::fatal(sqlstate::CONNECTION_FAILURE, format!("pgveil: {message}"));
        Self::new(Blame::Server, fields).because(cause)
    }

    /// The server sent what the protocol does not allow here.
    pub fn server_protocol(cause: impl ToString) -> Self {
        let fields = ErrorFields::fatal(
            sqlstate::PROTOCOL_VIOLATION,
            "pgveil: the database server broke the protocol during login",
        );
        Self::new(Blame::Server, fields).because(cause)
    }

    /// The server's own ErrorResponse, which goes to the client as it is.
    pub fn from_server(frame: &Frame) -> Self {
        match ErrorFields::parse(frame.body()) {
            Ok(fields) => Failure {
                frames: Some(frame.bytes()),
                ..Self::new(blame_of(&fields.sqlstate), fields)
            },
            Err(error) => Self::server_protocol(error),
        }
    }

    /// `before` reaches the client ahead of the error.
    #[must_use]
    pub fn after(mut self, before: &[u8]) -> Self {
        let frames = [before, &self.client_frames()].concat();
        self.frames = Some(frames.into());
        self
    }

    /// What to send to the client before closing.
    pub fn client_frames(&self) -> Bytes {
        let frames = self.frames.clone();
        frames.unwrap_or_else(|| self.fields.frame(ERROR_RESPONSE))
    }
}

/// Class 28 is "invalid authorization specification".
fn blame_of(sqlstate: &str) -> Blame {
    match sqlstate.starts_with("28") {
        true => Blame::Credentials,
        false => Blame::Server,
    }
}
