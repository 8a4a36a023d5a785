//! One byte stream to a client or to the server, plain or inside TLS.
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// How much a peer may still send after it was told FATAL before pgveil closes regardless, in bytes.
const MAX_LINGER_BYTES: usize = 64 * 1024;
/// How long [`Stream::farewell`] may take in all.
const LINGER: Duration = Duration::from_secs(2);

/// A TCP connection, plain or TLS.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    /// pgveil is the TLS server: the connection of a client.
    ClientTls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// pgveil is the TLS client: the connection to PostgreSQL.
    ServerTls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket under the stream, for addresses and options.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::ClientTls(tls) => tls.get_ref().0,
            Stream::ServerTls(tls) => tls.get_ref().0,
        }
    }

    pub fn is_tls(&self) -> bool {
        !matches!(self, Stream::Plain(_))
    }

    /// Sends `last` (an ErrorResponse, or nothing) and closes the connection so that the peer can read it.
    ///
    /// Closing a socket with unread input makes the kernel send RST, which can destroy the message on its way.
    /// So the sending side is shut first and what the peer still sends is read and dropped, within limits.
    /// Not cancel safe: dropping the future closes the socket at once.
    pub async fn farewell(mut self, last: &[u8]) {
        let polite = async {
            self.write_all(last).await?;
            self.flush().await?;
            self.shutdown().await?;
            let mut drain = [0u8; 4096];
            let mut dropped = 0;
            while dropped < MAX_LINGER_BYTES {
                match self.read(&mut drain).await? {
                    0 => break,
                    n => dropped += n,
                }
            }
            Ok::<(), io::Error>(())
        };
        // Nobody is left to tell about a peer that does not take its farewell.
        let _ = tokio::time::timeout(LINGER, polite).await;
    }
}

/// Sets what libpq sets on its sockets: TCP_NODELAY, and SO_KEEPALIVE. Probes begin after `idle` without traffic; without
/// it, and for the time between probes, the system's intervals hold.
pub fn set_socket_options(tcp: &TcpStream, idle: Option<Duration>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    match idle {
        Some(idle) => SockRef::from(tcp).set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
        None => SockRef::from(tcp).set_keepalive(true),
    }
}

/// Whether both ends of the connection are on this machine's loopback interface.
pub fn is_loopback(peer: &SocketAddr) -> bool {
    peer.ip().to_canonical().is_loopback()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::ClientTls(tls) => Pin::new(tls).poll_read(cx, buf),
            Stream::ServerTls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Stream::ClientTls(tls) => Pin::new(tls).poll_write(cx, buf),
            Stream::ServerTls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Stream::ClientTls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
            Stream::ServerTls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::ClientTls(tls) => tls.is_write_vectored(),
            Stream::ServerTls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::ClientTls(tls) => Pin::new(tls).poll_flush(cx),
            Stream::ServerTls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::ClientTls(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::ServerTls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
