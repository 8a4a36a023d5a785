//! Connections to the PostgreSQL servers.
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::hosts::{Host, Hosts, Standings};
use super::stream::{Stream, set_socket_options};
use super::tls::{ClientTls, SslMode, TlsSetupError, client_config};

/// SSLRequest: length 8, code 1234.5679.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// The servers and how to reach them.
#[derive(Debug)]
pub struct Upstream {
    hosts: Hosts,
    /// By number in the list.
    servers: Vec<Arc<Server>>,
    /// For each address as long as there is another one to try; `None`: as long as the network takes.
    limit: Option<Duration>,
    /// Needed where a server has to be something special.
    standings: Option<Arc<dyn Standings>>,
}

/// One of the servers.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its number in the list.
    number: usize,
    host: Host,
    tls: Option<ClientTls>,
    keepalive: Option<Duration>,
    mode: SslMode,
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
    pub server: Arc<Server>,
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
    /// One server. Reads the `ca` file and prepares TLS; nothing is connected yet.
    pub fn new(
        host: &str,
        port: u16,
        mode: SslMode,
        ca: Option<&Path>,
    ) -> Result<Self, UpstreamSetupError> {
        Upstream::of(Hosts::one(host, port), mode, ca)
    }

    /// [`Upstream::new`] of a list of servers.
    pub fn of(hosts: Hosts, mode: SslMode, ca: Option<&Path>) -> Result<Self, UpstreamSetupError> {
        let config = client_config(mode, ca)?;
        let server = |(number, host): (usize, &Host)| {
            let tls = config.clone();
            let tls = tls.map(|config| ClientTls::new(config, &host.name));
            Ok(Arc::new(Server {
                number,
                host: host.clone(),
                mode,
                tls: tls.transpose().map_err(UpstreamSetupError::Host)?,
                keepalive: None,
            }))
        };
        let servers = hosts.iter().enumerate().map(server);
        Ok(Upstream {
            servers: servers.collect::<Result<_, UpstreamSetupError>>()?,
            hosts,
            limit: None,
            standings: None,
        })
    }

    /// The same, with TCP keepalive probes after so long without traffic, on this leg and the clients'.
    pub fn with_keepalive(mut self, idle: Duration) -> Self {
        for server in &mut self.servers {
            Arc::make_mut(server).keepalive = Some(idle);
        }
        self
    }

    /// The same, with so long for each address, as long as there is another one to try.
    pub fn with_limit(self, limit: Duration) -> Self {
        Upstream {
            limit: Some(limit),
            ..self
        }
    }

    /// The same, with somebody who knows which server is what.
    pub fn with_standings(self, standings: Arc<dyn Standings>) -> Self {
        Upstream {
            standings: Some(standings),
            ..self
        }
    }

    /// Idle time before keepalive probes; `None`: the system's.
    pub fn keepalive(&self) -> Option<Duration> {
        self.servers.first().and_then(|server| server.keepalive)
    }

    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    pub fn server(&self, host: usize) -> Option<&Arc<Server>> {
        self.servers.get(host)
    }

    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    pub fn standings(&self) -> Option<&dyn Standings> {
        self.standings.as_deref()
    }

    /// Connects to the first address that answers, whatever the server is. Takes as long as the network does: set a limit.
    /// Cancel safe: a dropped attempt leaves nothing behind.
    pub async fn connect(&self, attempt: Attempt) -> Result<Connected, ConnectError> {
        let mut failure = None;
        for server in &self.servers {
            let addresses = match self.hosts.addresses(server.number).await {
                Ok(addresses) => addresses,
                Err(source) => {
                    failure = Some(server.unresolved(source));
                    continue;
                }
            };
            for addr in addresses {
                match server.connect_to(addr, attempt).await {
                    Ok(connected) => return Ok(connected),
                    Err(error) => failure = Some(error),
                }
            }
        }
        Err(failure.unwrap_or_else(|| ConnectError::NoAddress {
            host: self.hosts.to_string(),
        }))
    }
}

impl Server {
    /// Its number in the list.
    pub fn number(&self) -> usize {
        self.number
    }

    pub fn host(&self) -> &Host {
        &self.host
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

    pub fn unresolved(&self, source: io::Error) -> ConnectError {
        ConnectError::Resolve {
            host: self.host.to_string(),
            source,
        }
    }

    /// Connects to one of its addresses. Cancel safe: a dropped attempt leaves nothing behind.
    pub async fn connect_to(
        self: &Arc<Self>,
        addr: SocketAddr,
        attempt: Attempt,
    ) -> Result<Connected, ConnectError> {
        let tcp = TcpStream::connect(addr)
            .await
            .map_err(|source| ConnectError::Tcp { addr, source })?;
        self.secure(tcp, addr, attempt).await
    }

    async fn secure(
        self: &Arc<Self>,
        mut tcp: TcpStream,
        addr: SocketAddr,
        attempt: Attempt,
    ) -> Result<Connected, ConnectError> {
        let failed = |source| ConnectError::Tcp { addr, source };
        set_socket_options(&tcp, self.keepalive).map_err(failed)?;
        let plain = |tcp| Connected {
            stream: Stream::Plain(tcp),
            addr,
            server: Arc::clone(self),
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
                    server: Arc::clone(self),
                    end_point,
                })
            }
            (b'N', Attempt::TlsIfOffered) => Ok(plain(tcp)),
            (b'N', _) => Err(ConnectError::NoTls { addr }),
            (answer, _) => Err(ConnectError::Answer { addr, answer }),
        }
    }
}
