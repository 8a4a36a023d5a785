//! pgveil towards the server: the connection, the startup packet, and the login with a client's keys.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::check::no_random;
use super::failure::{Blame, Failure};
use super::frames::{Frame, Peer};
use super::ready::next;
use super::request::{ANSWER, AUTHENTICATION, InitialResponse, Request};
use super::scram::{
    ClientBinding, ClientExchange, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramError, ScramKeys, nonce,
};
use crate::config::Secret;
use crate::wire::connect::{Attempt, Connected, Server, Upstream};
use crate::wire::error::{ErrorFields, sqlstate};
use crate::wire::hosts::{Standing, Target};
use crate::wire::stream::is_loopback;

/// A server that has got the startup packet.
#[derive(Debug)]
pub struct Opened {
    pub server: Peer,
    pub addr: SocketAddr,
    /// Which one of the list it is.
    pub which: Arc<Server>,
    /// What it has to be.
    pub target: Target,
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

    /// Holds what the server reported of the session against what it has to be: since it was looked at it may have become
    /// another, and the user may have settings of its own.
    pub fn check(&self, upstream: &Upstream, reported: &[(String, String)]) -> Result<(), Failure> {
        match Standing::reported(reported) {
            Some(standing) if !self.target.takes(standing) => {
                if let Some(standings) = upstream.standings() {
                    standings.forget(self.which.number(), self.addr);
                }
                let objection = self.target.objection();
                Err(wrong_server(format!("{}: {objection}", self.addr)))
            }
            _ => Ok(()),
        }
    }
}

/// What is tried after an address that was of no use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Address,
    Host,
    /// The server has spoken: no other one is asked.
    Nobody,
}

/// Connects to a server that is what it has to be, and sends the startup packet.
///
/// In libpq's order: every host, every address of its name, and at each of them what the sslmode allows. A server that
/// answers with an error ends the search, unless it says that it takes nobody for now (`PQconnectPoll` in
/// fe-connect.c).
pub async fn open(upstream: &Upstream, startup: Bytes) -> Result<Opened, Failure> {
    let mut failure: Option<Failure> = None;
    let hosts = upstream.hosts();
    let passes = hosts.passes();
    for (pass, target) in passes.iter().enumerate() {
        let turns = hosts.turns();
        for (turn, host) in turns.iter().enumerate() {
            let Some(server) = upstream.server(*host) else {
                continue;
            };
            let last_host = pass + 1 == passes.len() && turn + 1 == turns.len();
            let limit = upstream.limit().filter(|_| !last_host);
            let addresses = match within(limit, hosts.addresses(*host)).await {
                Some(Ok(addresses)) => addresses,
                Some(Err(source)) => {
                    note(&mut failure, unreachable(server.unresolved(source)));
                    continue;
                }
                None => {
                    let cause = format!("the name {} is not resolved in time", server.host());
                    note(&mut failure, unreachable(cause));
                    continue;
                }
            };
            let count = addresses.len();
            for (number, addr) in addresses.into_iter().enumerate() {
                let limit = upstream
                    .limit()
                    .filter(|_| !last_host || number + 1 < count);
                let tried = within(limit, at(upstream, server, addr, *target, &startup)).await;
                let late = || {
                    let cause = format!("{addr} does not answer in time");
                    Err((unreachable(cause), Next::Address))
                };
                match tried.unwrap_or_else(late) {
                    Ok(opened) => return Ok(opened),
                    Err((words, Next::Nobody)) => return Err(words),
                    Err((words, next)) => {
                        note(&mut failure, words);
                        if next == Next::Host {
                            break;
                        }
                    }
                }
            }
        }
    }
    Err(failure.unwrap_or_else(|| unreachable("no way to try")))
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

/// A server's own words say more than that another one could not be reached; the log is told of all.
fn note(failure: &mut Option<Failure>, next: Failure) {
    let Some(before) = failure.take() else {
        *failure = Some(next);
        return;
    };
    let causes: Vec<String> = [&before, &next]
        .into_iter()
        .filter_map(|failure| failure.cause.clone())
        .collect();
    let spoken = next.frames.is_some() || next.fields.sqlstate == sqlstate::CANNOT_CONNECT_NOW;
    let told = match spoken {
        true => next,
        false => before,
    };
    *failure = Some(match causes.is_empty() {
        true => told,
        false => told.because(causes.join("; ")),
    });
}

/// One address.
async fn at(
    upstream: &Upstream,
    server: &Arc<Server>,
    addr: SocketAddr,
    target: Target,
    startup: &[u8],
) -> Result<Opened, (Failure, Next)> {
    look(upstream, server, addr, target)
        .await
        .map_err(|failure| (failure, Next::Address))?;
    let mut failure: Option<Failure> = None;
    let mut tried_plain = false;
    for attempt in server.attempts() {
        if tried_plain && *attempt == Attempt::Plain {
            break;
        }
        let opened = match server.connect_to(addr, *attempt).await {
            Ok(connected) => {
                tried_plain |= !connected.stream.is_tls();
                greet(connected, target, startup).await
            }
            Err(error) => Err(unreachable(error)),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            // A server's own words say more than that a second way failed.
            Err(next) if next.frames.is_some() || failure.is_none() => failure = Some(next),
            Err(_) => {}
        }
    }
    let failure = failure.unwrap_or_else(|| unreachable("no way to try"));
    let next = match failure.frames {
        None => Next::Address,
        Some(_) if failure.fields.sqlstate == sqlstate::CANNOT_CONNECT_NOW => Next::Host,
        Some(_) => Next::Nobody,
    };
    Err((failure, next))
}

/// Whether the server is what it has to be. Found out by a login of pgveil's own, because the client can be asked for
/// its password once and not by one server after the other.
async fn look(
    upstream: &Upstream,
    server: &Server,
    addr: SocketAddr,
    target: Target,
) -> Result<(), Failure> {
    if target == Target::Any {
        return Ok(());
    }
    let Some(standings) = upstream.standings() else {
        return Err(unreachable("nobody knows which server is what"));
    };
    match standings.standing(server.number(), addr).await {
        Ok(standing) if target.takes(standing) => Ok(()),
        Ok(_) => Err(wrong_server(format!("{addr}: {}", target.objection()))),
        Err(cause) => Err(unreachable(format!("{addr}: {cause}"))),
    }
}

fn unreachable(cause: impl ToString) -> Failure {
    Failure::server_gone("the database server cannot be reached", cause)
}

/// With the SQLSTATE that makes a client with several hosts of its own try the next one.
fn wrong_server(cause: String) -> Failure {
    let fields = ErrorFields::fatal(
        sqlstate::CANNOT_CONNECT_NOW,
        "pgveil: no database server is what `upstream.target_session_attrs` asks for",
    );
    Failure::new(Blame::Server, fields).because(cause)
}

async fn greet(connected: Connected, target: Target, startup: &[u8]) -> Result<Opened, Failure> {
    let mut server = Peer::server(connected.stream);
    server.send(startup).await.map_err(lost)?;
    let first = next(&mut server).await?;
    if first.tag() == b'E' {
        return Err(Failure::from_server(&first));
    }
    Ok(Opened {
        server,
        addr: connected.addr,
        which: connected.server,
        target,
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

/// What pgveil logs in with.
#[derive(Debug, Clone, Copy)]
pub enum Credential<'a> {
    /// The keys that the client's proof gave away.
    Keys(&'a ScramKeys),
    /// The password of an account whose people log in by tokens; `None`: the server asks for none.
    Password(Option<&'a Secret>),
}

/// Logs in up to the server's AuthenticationOk.
///
/// SCRAM-SHA-256-PLUS is used where the server offers it over TLS. The server's signature is checked before
/// AuthenticationOk is believed. Other methods than SCRAM need a password; one goes as it is where the way is private.
pub async fn log_in(opened: &mut Opened, credential: Credential<'_>) -> Result<Frame, Failure> {
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
        Request::Sasl(names) => scram(opened, credential, &names).await,
        Request::CleartextPassword => match credential {
            Credential::Password(Some(password)) if opened.is_protected() => {
                let answer = [password.expose().as_bytes(), b"\0"].concat();
                let answer = Frame::new(ANSWER, &answer);
                opened.server.send(&answer.bytes()).await.map_err(lost)?;
                let ok = self::frame(&mut opened.server).await?;
                match Request::parse(&ok)? {
                    Request::Ok => Ok(ok),
                    _ => Err(Failure::server_protocol("AuthenticationOk was expected")),
                }
            }
            _ => Err(needs_password("password")),
        },
        Request::Md5Password => Err(needs_password("md5")),
        Request::Gss | Request::Sspi => Err(needs_password("gss")),
        _ => Err(Failure::server_protocol(
            "an exchange continued before it began",
        )),
    }
}

async fn scram(
    opened: &mut Opened,
    credential: Credential<'_>,
    names: &[String],
) -> Result<Frame, Failure> {
    if let Credential::Password(None) = credential {
        return Err(needs_password(&names.join(", ")));
    }
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
    let made;
    let keys = match credential {
        Credential::Keys(keys) => keys,
        Credential::Password(password) => {
            let password = password.map_or("", Secret::expose);
            made = exchange
                .keys_of(password, &server_first)
                .map_err(mismatched)?;
            &made
        }
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

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
