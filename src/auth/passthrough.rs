//! `passthrough`: the server's own authentication exchange, relayed message by message.
use super::failure::{Blame, Failure};
use super::frames::{Frame, FrameReadError, Peer};
use super::ready::next;
use super::request::{ANSWER, AUTHENTICATION, InitialResponse, Request};
use super::scram::SCRAM_SHA_256_PLUS;
use crate::wire::error::{ErrorFields, sqlstate};

/// How a relayed exchange went.
#[derive(Debug)]
pub struct Relayed {
    /// AuthenticationOk, which the client has not got yet.
    pub ok: Frame,
    /// For the record: `trust`, `password`, `md5`, `gss`, `sspi`, `scram-sha-256`, `oauthbearer`.
    pub method: String,
    /// The minor protocol version that client and server agreed on.
    pub minor: u16,
}

/// Relays until the server accepts. `first` is the server's first answer to the startup packet; `protected` says
/// whether TLS or loopback keeps the way to the server private, without which no password is sent along it.
pub async fn relay(
    client: &mut Peer,
    server: &mut Peer,
    first: Frame,
    minor: u16,
    protected: bool,
) -> Result<Relayed, Failure> {
    let mut exchange = Exchange {
        method: "trust".to_owned(),
        minor,
        protected,
        answer: Answer::NotAsked,
    };
    let mut arrived = Some(first);
    loop {
        let frame = match arrived.take() {
            Some(frame) => frame,
            // The server may speak while it waits for the client: an error when its patience ends.
            None => tokio::select! {
                frame = next(server) => frame?,
                frame = client.next(), if exchange.answer != Answer::NotAsked => {
                    let frame = exchange.answered(frame)?;
                    let sent = server.send(&frame.bytes()).await;
                    sent.map_err(|error| {
                        Failure::server_gone("the database server closed the connection during login", error)
                    })?;
                    continue;
                }
            },
        };
        match exchange.asked(frame)? {
            Step::Done(ok) => {
                return Ok(Relayed {
                    ok,
                    method: exchange.method,
                    minor: exchange.minor,
                });
            }
            Step::Forward(frame) => {
                let sent = client.send(&frame.bytes()).await;
                sent.map_err(|error| Failure::client_left().because(error))?;
            }
        }
    }
}

struct Exchange {
    method: String,
    minor: u16,
    protected: bool,
    answer: Answer,
}

/// Whether the server waits for the client.
#[derive(PartialEq, Eq)]
enum Answer {
    NotAsked,
    /// The answer is a SASLInitialResponse.
    Mechanism,
    Any,
}

enum Step {
    Done(Frame),
    Forward(Frame),
}

impl Exchange {
    /// What becomes of a frame from the server.
    fn asked(&mut self, frame: Frame) -> Result<Step, Failure> {
        match frame.tag() {
            AUTHENTICATION => self.requested(frame),
            b'E' => Err(Failure::from_server(&frame)),
            b'N' => Ok(Step::Forward(frame)),
            b'v' => {
                self.minor = self.minor.min(negotiated_minor(&frame)?);
                Ok(Step::Forward(frame))
            }
            tag => Err(Failure::server_protocol(format!(
                "message type {tag:#04x} before AuthenticationOk"
            ))),
        }
    }

    fn requested(&mut self, frame: Frame) -> Result<Step, Failure> {
        let mut asks = |method: &str| {
            self.method = method.to_owned();
            self.answer = Answer::Any;
        };
        match Request::parse(&frame)? {
            Request::Ok => return Ok(Step::Done(frame)),
            Request::CleartextPassword | Request::Md5Password if !self.protected => {
                return Err(unprotected());
            }
            Request::CleartextPassword => asks("password"),
            Request::Md5Password => asks("md5"),
            Request::Gss => asks("gss"),
            Request::Sspi => asks("sspi"),
            Request::GssContinue | Request::SaslContinue(_) => self.answer = Answer::Any,
            Request::SaslFinal(_) => self.answer = Answer::NotAsked,
            Request::Sasl(names) => {
                self.method = "sasl".to_owned();
                self.answer = Answer::Mechanism;
                return without_channel_binding(frame, names).map(Step::Forward);
            }
        }
        Ok(Step::Forward(frame))
    }

    /// Checks the client's answer; it goes on to the server as it is.
    fn answered(&mut self, frame: Result<Frame, FrameReadError>) -> Result<Frame, Failure> {
        let frame = frame.map_err(Failure::from_client)?;
        if frame.tag() != ANSWER {
            return Err(Failure::unexpected_answer(&frame));
        }
        if self.answer == Answer::Mechanism {
            let response = InitialResponse::parse(frame.body());
            let response = response
                .ok_or_else(|| Failure::client_protocol("malformed SASLInitialResponse"))?;
            self.method = response.mechanism.to_ascii_lowercase();
        }
        self.answer = Answer::NotAsked;
        Ok(frame)
    }
}

/// SCRAM-SHA-256-PLUS binds to a TLS connection that does not reach from client to server here, so it is not offered.
fn without_channel_binding(frame: Frame, mut names: Vec<String>) -> Result<Frame, Failure> {
    let offered = names.len();
    names.retain(|name| name != SCRAM_SHA_256_PLUS);
    if names.len() == offered {
        return Ok(frame);
    }
    if names.is_empty() {
        let fields = ErrorFields::fatal(
            sqlstate::INVALID_AUTHORIZATION,
            "pgveil: the database server accepts SCRAM with channel binding only, which cannot be passed through",
        );
        let fields = fields.with_hint("Set `auth: { method: scram }` in pgveil.yaml.");
        return Err(Failure::new(Blame::Pgveil, fields));
    }
    let request = Request::Sasl(names).frame();
    request.ok_or_else(|| Failure::server_protocol("no mechanisms"))
}

/// NegotiateProtocolVersion carries the version as 3.x in one word; the documentation calls it the minor version.
fn negotiated_minor(frame: &Frame) -> Result<u16, Failure> {
    match *frame.body() {
        [_, _, high, low, _, _, _, _, ..] => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Failure::server_protocol(
            "malformed NegotiateProtocolVersion",
        )),
    }
}

fn unprotected() -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "pgveil: the database server asks for a password over an unprotected connection",
    );
    let hint =
        "Set `upstream: { tls: require }` in pgveil.yaml, or let the server ask for scram-sha-256.";
    Failure::new(Blame::Pgveil, fields.with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(protected: bool) -> Exchange {
        Exchange {
            method: "trust".to_owned(),
            minor: 2,
            protected,
            answer: Answer::NotAsked,
        }
    }

    fn request(code: u32, rest: &[u8]) -> Frame {
        Frame::new(AUTHENTICATION, &[&code.to_be_bytes(), rest].concat())
    }

    #[test]
    fn a_password_is_asked_for_only_where_the_way_to_the_server_is_protected() {
        for frame in [request(3, b""), request(5, b"salt")] {
            assert!(exchange(true).asked(frame.clone()).is_ok());
            let failure = exchange(false).asked(frame).err().unwrap();
            assert_eq!(failure.blame, Blame::Pgveil);
        }
    }

    #[test]
    fn a_server_that_insists_on_channel_binding_is_an_error_that_says_so() {
        let frame = request(10, b"SCRAM-SHA-256-PLUS\0\0");
        let failure = exchange(true).asked(frame).err().unwrap();
        assert!(failure.fields.hint.unwrap().contains("method: scram"));
    }

    #[test]
    fn the_lower_minor_version_counts() {
        for (version, minor) in [(0x0003_0000u32, 0), (0x0003_0001, 1), (0x0003_0009, 2)] {
            let body = [version.to_be_bytes(), [0; 4]].concat();
            let mut exchange = exchange(true);
            assert!(exchange.asked(Frame::new(b'v', &body)).is_ok());
            assert_eq!(exchange.minor, minor);
        }
        assert!(exchange(true).asked(Frame::new(b'v', b"\0\x03")).is_err());
    }

    #[test]
    fn what_has_no_place_before_authentication_ends_the_login() {
        for tag in [b'S', b'K', b'Z', b'D', b'T', b'A', 0] {
            let failure = exchange(true).asked(Frame::new(tag, b"")).err().unwrap();
            assert_eq!(failure.blame, Blame::Server);
        }
    }
}
