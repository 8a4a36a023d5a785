//! A client's connection from its first byte to its startup packet: encryption requests, direct TLS, TLS itself.
//!
//! Nothing is read ahead here: each packet is read exactly, so bytes that follow an SSLRequest stay in the socket and
//! can only ever be TLS records.
use std::io;
use std::mem::MaybeUninit;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::{ErrorFields, sqlstate};
use super::startup::{
    CancelRequest, Packet, StartupError, StartupMessage, TLS_HANDSHAKE, body_length, parse,
};
use super::stream::Stream;
use super::tls::{Accepted, DirectTls, ServerTls, TlsFacts};

/// What a connection turned out to be for.
#[derive(Debug)]
pub enum First {
    Session {
        stream: Stream,
        startup: StartupMessage,
        tls: Option<ClientTls>,
    },
    Cancel {
        stream: Stream,
        request: CancelRequest,
    },
    /// The client left without saying anything, as port scanners and health checks do.
    Closed,
}

/// A client's TLS connection.
#[derive(Debug, Clone)]
pub struct ClientTls {
    pub facts: TlsFacts,
    /// `tls-server-end-point` data of the certificate the client was shown.
    pub end_point: Option<Vec<u8>>,
}

/// Why a connection came to nothing.
#[derive(Debug)]
pub struct Rejected {
    /// For the log; also for the client, where `stream` is there.
    pub fields: Box<ErrorFields>,
    /// Where a FATAL error can be sent: not in the middle of a TLS handshake.
    pub stream: Option<Stream>,
}

/// Reads up to the startup packet or cancel request. `limit` is for the body of a packet, in bytes.
///
/// Not cancel safe; dropping the future closes the connection.
pub async fn negotiate(
    mut tcp: TcpStream,
    tls: Option<&ServerTls>,
    limit: usize,
) -> Result<First, Rejected> {
    let mut first = [0; 1];
    match tcp.peek(&mut first).await {
        Ok(0) => return Ok(First::Closed),
        Ok(_) => {}
        Err(error) => return Err(broken(&error)),
    }
    if first == [TLS_HANDSHAKE] {
        return match tls {
            Some(tls) => encrypted(tcp, tls, DirectTls::Yes, limit).await,
            None => {
                let message = "rejecting direct TLS connection: pgveil has no certificate (`tls:` in pgveil.yaml)";
                Err(Rejected::silently(
                    sqlstate::PROTOCOL_VIOLATION,
                    message.to_owned(),
                ))
            }
        };
    }
    let (mut ssl_done, mut gss_done) = (false, false);
    loop {
        let packet = match read_packet(&mut tcp, limit).await {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(First::Closed),
            Err(error) => return Err(error.rejected(Stream::Plain(tcp))),
        };
        let (done, request) = match packet {
            Packet::SslRequest => (&mut ssl_done, "SSL request"),
            Packet::GssEncRequest => (&mut gss_done, "GSSAPI encryption request"),
            packet => return last(packet, Stream::Plain(tcp), None),
        };
        if std::mem::replace(done, true) {
            return last(packet, Stream::Plain(tcp), None);
        }
        if has_early_bytes(&tcp).map_err(|error| broken(&error))? {
            return Err(early_bytes(tcp, request));
        }
        let tls = tls.filter(|_| packet == Packet::SslRequest);
        let answer = if tls.is_some() { b"S" } else { b"N" };
        tcp.write_all(answer)
            .await
            .map_err(|error| broken(&error))?;
        if let Some(tls) = tls {
            return encrypted(tcp, tls, DirectTls::No, limit).await;
        }
    }
}

impl Rejected {
    /// The client cannot be told.
    fn silently(sqlstate: &str, message: String) -> Self {
        Rejected {
            fields: Box::new(ErrorFields::fatal(sqlstate, message)),
            stream: None,
        }
    }
}

/// TLS, and the one packet expected inside it.
async fn encrypted(
    tcp: TcpStream,
    tls: &ServerTls,
    direct: DirectTls,
    limit: usize,
) -> Result<First, Rejected> {
    let Accepted {
        mut stream,
        facts,
        end_point,
    } = tls.accept(tcp, direct).await.map_err(|error| {
        let message = format!("TLS handshake with the client failed: {error}");
        Rejected::silently(sqlstate::CONNECTION_FAILURE, message)
    })?;
    match read_packet(&mut stream, limit).await {
        Ok(Some(packet)) => last(packet, stream, Some(ClientTls { facts, end_point })),
        Ok(None) => Ok(First::Closed),
        Err(error) => Err(error.rejected(stream)),
    }
}

/// The packet that ends the negotiation; a second encryption request is taken for a protocol version, as PostgreSQL
/// does.
fn last(packet: Packet, stream: Stream, tls: Option<ClientTls>) -> Result<First, Rejected> {
    let minor = match packet {
        Packet::Startup(startup) => {
            return Ok(First::Session {
                stream,
                startup,
                tls,
            });
        }
        Packet::Cancel(request) => return Ok(First::Cancel { stream, request }),
        Packet::SslRequest => 5679,
        Packet::GssEncRequest => 5680,
    };
    let error = StartupError::Version { major: 1234, minor };
    Err(PacketError::Startup(error).rejected(stream))
}

/// Whether data came along with an encryption request. It was sent by somebody who did not wait for the answer: a
/// broken client, or a man in the middle who wants his text to pass for the client's (CVE-2021-23214).
fn has_early_bytes(tcp: &TcpStream) -> io::Result<bool> {
    match SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        // At zero the client has closed its side; the next read finds that out.
        other => other.map(|length| length > 0),
    }
}

fn early_bytes(tcp: TcpStream, request: &str) -> Rejected {
    let message = format!("received unencrypted data after {request}");
    let fields = ErrorFields::fatal(sqlstate::PROTOCOL_VIOLATION, message).with_detail(
        "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
    );
    Rejected {
        fields: Box::new(fields),
        stream: Some(Stream::Plain(tcp)),
    }
}

enum PacketError {
    Startup(StartupError),
    Io(io::Error),
}

impl PacketError {
    fn rejected(self, stream: Stream) -> Rejected {
        match self {
            PacketError::Startup(error) => Rejected {
                fields: Box::new(error.fields()),
                stream: error.is_told().then_some(stream),
            },
            PacketError::Io(error) => broken(&error),
        }
    }
}

fn broken(error: &io::Error) -> Rejected {
    let message = format!("the client's connection broke before login: {error}");
    Rejected::silently(sqlstate::CONNECTION_FAILURE, message)
}

/// One packet, read exactly. `None` where the client closed the connection between two packets.
async fn read_packet(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<Option<Packet>, PacketError> {
    let mut length = [0; 4];
    let mut have = 0;
    while let Some(room) = length.get_mut(have..).filter(|room| !room.is_empty()) {
        match stream.read(room).await.map_err(PacketError::Io)? {
            0 if have == 0 => return Ok(None),
            0 => return Err(PacketError::Startup(StartupError::Incomplete)),
            n => have += n,
        }
    }
    let length = body_length(length, limit).map_err(PacketError::Startup)?;
    let mut body = vec![0; length];
    stream
        .read_exact(&mut body)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => PacketError::Startup(StartupError::Incomplete),
            _ => PacketError::Io(error),
        })?;
    parse(Bytes::from(body))
        .map(Some)
        .map_err(PacketError::Startup)
}

#[cfg(test)]
mod tests;
