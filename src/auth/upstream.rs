//! pgveil towards the server: the connection, the startup packet, and the login with a client's keys.
use bytes::Bytes;

use super::check::no_random;
use super::failure::{Blame, Failure};
use super::frames::{Frame, Peer};
use super::ready::next;
use super::request::{ANSWER, AUTHENTICATION, InitialResponse, Request};
use super::scram::{
    ClientBinding, ClientExchange, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, ScramKeys, nonce,
};
use crate::wire::connect::{Attempt, Connected, Upstream};
use crate::wire::error::{ErrorFields, sqlstate};
use crate::wire::stream::is_loopback;

/// A server that has got the startup packet.
#[derive(Debug)]
pub struct Opened {
    pub server: Peer,
    pub addr: std::net::SocketAddr,
    /// `tls-server-end-point` data of the server's certificate.
    pub end_point: Option<Vec<u8>>,
    /// The server's first answer.
    pub first: Frame,
}

impl Opened {
    /// Whether TLS or loopback keeps the way to the server private.
    pub fn is_protected(&self) -> bool {
        self.server.stream.is_tls() || is_loopback(&self.addr)
    }
}

/// Connects and sends the startup packet, trying what the sslmode allows in libpq's order: on to the next way when a
/// connection fails, and when the server's first answer is an error (`pg_hba.conf` may want TLS, or want none).
pub async fn open(upstream: &Upstream, startup: Bytes) -> Result<Opened, Failure> {
    let mut failure: Option<Failure> = None;
    let mut tried_plain = false;
    for attempt in upstream.attempts() {
        if tried_plain && *attempt == Attempt::Plain {
            break;
        }
        let opened = match upstream.connect(*attempt).await {
            Ok(connected) => {
                tried_plain |= !connected.stream.is_tls();
                greet(connected, &startup).await
            }
            Err(error) => Err(Failure::server_gone(
                "the database server cannot be reached",
                error,
            )),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            // A server's own words say more than that a second way failed.
            Err(next) if next.frames.is_some() || failure.is_none() => failure = Some(next),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or_else(|| {
        Failure::server_gone("the database server cannot be reached", "no way to try")
    }))
}

async fn greet(connected: Connected, startup: &[u8]) -> Result<Opened, Failure> {
    let mut server = Peer::server(connected.stream);
    server.send(startup).await.map_err(lost)?;
    let first = next(&mut server).await?;
    if first.tag() == b'E' {
        return Err(Failure::from_server(&first));
    }
    Ok(Opened {
        server,
        addr: connected.addr,
        end_point: connected.end_point,
        first,
    })
}

fn lost(error: std::io::Error) -> Failure {
    Failure::server_gone(
        "the database server closed the connection during login",
        error,
    )
}

/// Logs in with the keys that the client's proof gave away, up to the server's AuthenticationOk.
///
/// SCRAM-SHA-256-PLUS is used where the server offers it over TLS. The server's signature is checked before
/// AuthenticationOk is believed. Other methods than SCRAM need a password, which pgveil does not have.
pub async fn log_in(opened: &mut Opened, keys: &ScramKeys) -> Result<Frame, Failure> {
    let mut frame = opened.first.clone();
    loop {
        match frame.tag() {
            AUTHENTICATION => break,
            b'E' => return Err(Failure::from_server(&frame)),
            // Neither 3.0 without options nor a login that succeeded before gives reason for either.
            b'N' | b'v' => frame = next(&mut opened.server).await?,
            tag => {
                let cause = format!("message type {tag:#04x} before AuthenticationOk");
                return Err(Failure::server_protocol(cause));
            }
        }
    }
    match Request::parse(&frame)? {
        Request::Ok => Ok(frame),
        Request::Sasl(names) => scram(opened, keys, &names).await,
        Request::CleartextPassword => Err(needs_password("password")),
        Request::Md5Password => Err(needs_password("md5")),
        Request::Gss | Request::Sspi => Err(needs_password("gss")),
        _ => Err(Failure::server_protocol(
            "an exchange continued before it began",
        )),
    }
}

async fn scram(opened: &mut Opened, keys: &ScramKeys, names: &[String]) -> Result<Frame, Failure> {
    let offers = |wanted| names.iter().any(|name| name == wanted);
    let (mechanism, binding) = match (&opened.end_point, opened.server.stream.is_tls()) {
        (Some(data), true) if offers(SCRAM_SHA_256_PLUS) => {
            (SCRAM_SHA_256_PLUS, ClientBinding::EndPoint(data.clone()))
        }
        // PLUS is on offer but the certificate has no hash to bind to: a client without channel binding.
        (_, true) if offers(SCRAM_SHA_256_PLUS) => (SCRAM_SHA_256, ClientBinding::None),
        (_, true) => (SCRAM_SHA_256, ClientBinding::NotOffered),
        (_, false) => (SCRAM_SHA_256, ClientBinding::None),
    };
    if !offers(mechanism) {
        return Err(needs_password(&names.join(", ")));
    }
    let server = &mut opened.server;
    let exchange = ClientExchange::new(binding, nonce().map_err(|_| no_random())?);
    let first = exchange.first_message();
    let response = InitialResponse {
        mechanism,
        data: Some(first.as_bytes()),
    };
    server.send(&response.frame().bytes()).await.map_err(lost)?;
    let Request::SaslContinue(server_first) = request(server).await? else {
        return Err(Failure::server_protocol(
            "AuthenticationSASLContinue was expected",
        ));
    };
    let (message, last) = exchange
        .final_message(&server_first, keys)
        .map_err(mismatched)?;
    let answer = Frame::new(ANSWER, message.as_bytes());
    server.send(&answer.bytes()).await.map_err(lost)?;
    let Request::SaslFinal(server_final) = request(server).await? else {
        return Err(Failure::server_protocol(
            "AuthenticationSASLFinal was expected",
        ));
    };
    last.verify(&server_final).map_err(mismatched)?;
    let ok = frame(server).await?;
    match Request::parse(&ok)? {
        Request::Ok => Ok(ok),
        _ => Err(Failure::server_protocol("AuthenticationOk was expected")),
    }
}

/// The next authentication request; notices in between are not the client's.
async fn frame(server: &mut Peer) -> Result<Frame, Failure> {
    loop {
        let frame = next(server).await?;
        match frame.tag() {
            AUTHENTICATION => return Ok(frame),
            b'N' => {}
            b'E' => return Err(Failure::from_server(&frame)),
            tag => {
                let cause = format!("message type {tag:#04x} before AuthenticationOk");
                return Err(Failure::server_protocol(cause));
            }
        }
    }
}

async fn request(server: &mut Peer) -> Result<Request, Failure> {
    Request::parse(&frame(server).await?)
}

fn needs_password(method: &str) -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::INVALID_AUTHORIZATION,
        "pgveil: the database server asks for a login that pgveil cannot make for this user",
    );
    let fields = fields
        .with_detail(format!(
            "The server asks for {method}; with `auth: {{ method: scram }}` pgveil has keys for SCRAM-SHA-256 and no password."
        ))
        .with_hint(
            "Let pg_hba.conf say scram-sha-256 for connections from pgveil, and store the user's password as \
             SCRAM-SHA-256.",
        );
    Failure::new(Blame::Pgveil, fields)
}

fn mismatched(error: ScramError) -> Failure {
    let message = match error {
        ScramError::OtherVerifier => {
            "pgveil: the database server stores another verifier for this user than pgveil does"
        }
        ScramError::ServerSignature => {
            "pgveil: the database server does not know this user's verifier"
        }
        error => return Failure::server_protocol(error),
    };
    let fields = ErrorFields::fatal(sqlstate::INVALID_AUTHORIZATION, message);
    let fields =
        fields.with_hint("Copy the user's rolpassword from pg_authid into the users file again.");
    Failure::new(Blame::Pgveil, fields)
}
