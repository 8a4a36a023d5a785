//! Connections to the PostgreSQL server.
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stream::{Stream, set_socket_options};
use super::tls::{ClientTls, SslMode, TlsSetupError, client_config};

/// SSLRequest: length 8, code 1234.5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The server and how to reach it.
#[derive(Debug)]
pub struct Upstream {
    host: String,
    port: u16,
    mode: SslMode,
    tls: Option<ClientTls>,
    keepalive: Option<Duration>,
}

/// One way to try; an sslmode is a sequence of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Plain,
    /// TLS, or plain on the same connection if the server has no TLS.
    TlsIfOffered,
    Tls,
}

/// A connection on which nothing but TLS was spoken yet.
#[derive(Debug)]
pub struct Connected {
    pub stream: Stream,
    /// The address that answered, of those the host's name has.
    pub addr: SocketAddr,
    /// `tls-server-end-point` data of the server's certificate.
    pub end_point: Option<Vec<u8>>,
}

/// Why the server's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamSetupError {
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    #[error("upstream host cannot be used: {0}")]
    Host(io::Error),
}

/// Why there is no connection. Says where and what, for the log; clients are told less.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot resolve {host}: {source}")]
    Resolve { host: String, source: io::Error },
    #[error("{host} has no address")]
    NoAddress { host: String },
    #[error("cannot connect to {addr}: {source}")]
    Tcp { addr: SocketAddr, source: io::Error },
    #[error("{addr} does not offer TLS, which the sslmode requires")]
    NoTls { addr: SocketAddr },
    #[error("{addr} answered the TLS request with byte {answer:#04x} instead of S or N")]
    Answer { addr: SocketAddr, answer: u8 },
    #[error("TLS with {addr} failed: {source}")]
    Tls { addr: SocketAddr, source: io::Error },
}

impl Upstream {
    /// Reads the `ca` file and prepares TLS; nothing is connected yet.
    pub fn new(
        host: &str,
        port: u16,
        mode: SslMode,
        ca: Option<&Path>,
    ) -> Result<Self, UpstreamSetupError> {
        let tls = match client_config(mode, ca)? {
            Some(config) => Some(ClientTls::new(config, host).map_err(UpstreamSetupError::Host)?),
            None => None,
        };
        Ok(Upstream {
            host: host.to_owned(),
            port,
            mode,
            tls,
            keepalive: None,
        })
    }

    /// The same, with TCP keepalive probes after so long without traffic, on this leg and the clients'.
    pub fn with_keepalive(mut self, idle: Duration) -> Self {
        self.keepalive = Some(idle);
        self
    }

    /// Idle time before keepalive probes; `None`: the system's.
    pub fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the sslmode tries, in order; libpq goes on to the next one when the connection fails or the server's
    /// first answer to the startup packet is an error.
    pub fn attempts(&self) -> &'static [Attempt] {
        match self.mode {
            SslMode::Disable => &[Attempt::Plain],
            SslMode::Allow => &[Attempt::Plain, Attempt::Tls],
            SslMode::Prefer => &[Attempt::TlsIfOffered, Attempt::Plain],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Attempt::Tls],
        }
    }

    /// Connects to the first address of the host that answers. Takes as long as the network does: set a limit.
    /// Cancel safe: a dropped attempt leaves nothing behind.
    pub async fn connect(&self, attempt: Attempt) -> Result<Connected, ConnectError> {
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses = addresses.map_err(|source| ConnectError::Resolve {
            host: self.host.clone(),
            source,
        })?;
        let mut failure = ConnectError::NoAddress {
            host: self.host.clone(),
        };
        for addr in addresses {
            match TcpStream::connect(addr).await {
                Ok(tcp) => return self.secure(tcp, addr, attempt).await,
                Err(source) => failure = ConnectError::Tcp { addr, source },
            }
        }
        Err(failure)
    }

    /// Connects to an address that a session already uses, in the same way: for cancel requests.
    pub async fn connect_to(
        &self,
        addr: SocketAddr,
        attempt: Attempt,
    ) -> Result<Connected, ConnectError> {
        let tcp = TcpStream::connect(addr)
            .await
            .map_err(|source| ConnectError::Tcp { addr, source })?;
        self.secure(tcp, addr, attempt).await
    }

    async fn secure(
        &self,
        mut tcp: TcpStream,
        addr: SocketAddr,
        attempt: Attempt,
    ) -> Result<Connected, ConnectError> {
        let failed = |source| ConnectError::Tcp { addr, source };
        set_socket_options(&tcp, self.keepalive).map_err(failed)?;
        let plain = |tcp| Connected {
            stream: Stream::Plain(tcp),
            addr,
            end_point: None,
        };
        let tls = match (attempt, &self.tls) {
            (Attempt::Plain, _) => return Ok(plain(tcp)),
            (_, None) => return Err(ConnectError::NoTls { addr }),
            (_, Some(tls)) => tls,
        };
        tcp.write_all(&SSL_REQUEST).await.map_err(failed)?;
        // One byte is asked for and no more, so that nothing sent before the handshake can be taken for something
        // sent inside it (CVE-2021-23222).
        let answer = tcp.read_u8().await.map_err(failed)?;
        match (answer, attempt) {
            (b'S', _) => {
                let secured = tls.connect(tcp).await;
                let (stream, end_point) =
                    secured.map_err(|source| ConnectError::Tls { addr, source })?;
                Ok(Connected {
                    stream,
                    addr,
                    end_point,
                })
            }
            (b'N', Attempt::TlsIfOffered) => Ok(plain(tcp)),
            (b'N', _) => Err(ConnectError::NoTls { addr }),
            (answer, _) => Err(ConnectError::Answer { addr, answer }),
        }
    }
}
