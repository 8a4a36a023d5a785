//! pgveil as TLS server towards clients.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::net::TcpStream;

use super::{ALPN, TlsFacts, TlsSetupError, first_end, first_end_in, tls_server_end_point};
use crate::wire::stream::Stream;

/// Largest TLS record sent to clients, header included: its plaintext stays within 8 KiB.
///
/// libpq's asynchronous API reads at most 8 KiB at a time from OpenSSL; a larger record leaves data in OpenSSL's
/// buffer that `select` on the socket does not see, and the client waits for ever.
const MAX_RECORD: usize = 8 * 1024;

const CLIENT_CA: &str = "the clients' certificate authorities";

/// How the client began TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectTls {
    /// After an SSLRequest.
    No,
    /// With the ClientHello as its first bytes; ALPN `postgresql` is then required
    /// (`ProcessSSLStartup` in PostgreSQL 17), lest other protocols be tricked into speaking to the server.
    Yes,
}

/// The certificate and key for clients, replaceable while connections are served.
#[derive(Debug)]
pub struct ServerTls {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    current: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<rustls::ServerConfig>,
    end_point: Option<Vec<u8>>,
    ends: Ends,
}

/// When the first of the certificates in use ends, as Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Of the chain that clients are shown.
    pub own: Option<i64>,
    /// Of the authorities that sign clients' certificates.
    pub client_ca: Option<i64>,
}

/// A client's connection inside TLS.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Stream,
    pub facts: TlsFacts,
    /// `tls-server-end-point` data of the certificate this handshake used; `None` where it has none.
    pub end_point: Option<Vec<u8>>,
}

impl ServerTls {
    /// Reads a PEM certificate chain, leaf first, and its PEM private key.
    ///
    /// With `client_ca`, a PEM file of certificate authorities, clients are asked for a certificate. Whoever shows one
    /// that none of these has signed does not come in; whoever shows none does, for PostgreSQL too decides that later
    /// (`clientcert` in pg_hba.conf) and tells the client so.
    pub fn load(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, TlsSetupError> {
        Ok(ServerTls {
            current: ArcSwap::from_pointee(Loaded::read(cert, key, client_ca)?),
            cert: cert.to_owned(),
            key: key.to_owned(),
            client_ca: client_ca.map(Path::to_owned),
        })
    }

    /// Reads the same files again, for handshakes from now on. On an error the old certificate stays.
    pub fn reload(&self) -> Result<(), TlsSetupError> {
        let loaded = Loaded::read(&self.cert, &self.key, self.client_ca.as_deref())?;
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// Of what is in use, which may be older than what the files hold.
    pub fn ends(&self) -> Ends {
        self.current.load().ends
    }

    /// The server's side of the handshake. Every byte of `tcp` must be unread, for what was read outside TLS must
    /// not be taken for something sent inside (CVE-2021-23214).
    pub async fn accept(&self, tcp: TcpStream, direct: DirectTls) -> io::Result<Accepted> {
        let loaded = self.current.load_full();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::clone(&loaded.config))
            .accept(tcp)
            .await?;
        let connection = tls.get_ref().1;
        if direct == DirectTls::Yes && connection.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "direct TLS without the ALPN protocol `postgresql`",
            ));
        }
        let facts = TlsFacts::of(connection);
        Ok(Accepted {
            stream: Stream::ClientTls(Box::new(tls)),
            facts,
            end_point: loaded.end_point.clone(),
        })
    }
}

impl Loaded {
    fn read(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, TlsSetupError> {
        let chain = certificates("the certificate", cert)?;
        let leaf = chain.first().ok_or_else(|| TlsSetupError::NoCertificate {
            path: cert.to_owned(),
        })?;
        let end_point = tls_server_end_point(leaf);
        let client_ca_end = client_ca.map(|path| first_end_in(CLIENT_CA, path));
        let ends = Ends {
            own: first_end(&chain),
            client_ca: client_ca_end.transpose()?.flatten(),
        };
        let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsSetupError::Pem {
            what: "the private key",
            path: key.to_owned(),
            source,
        })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match client_ca {
            Some(path) => builder.with_client_cert_verifier(clients(path, provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut config =
            builder
                .with_single_cert(chain, private)
                .map_err(|source| TlsSetupError::Pair {
                    cert: cert.to_owned(),
                    key: key.to_owned(),
                    source,
                })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_fragment_size = Some(MAX_RECORD);
        // No resumption, as in PostgreSQL (be-secure-openssl.c turns off tickets and the session cache).
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Loaded {
            config: Arc::new(config),
            end_point,
            ends,
        })
    }
}

/// Verifies certificates of clients, where they show one.
fn clients(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path)? {
        let added = roots.add(certificate);
        added.map_err(|source| TlsSetupError::Anchor {
            path: path.to_owned(),
            source,
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|source| TlsSetupError::Clients {
            path: path.to_owned(),
            source,
        })
}

/// All certificates of a PEM file.
pub(super) fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let pem = |source| TlsSetupError::Pem {
        what,
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path)
        .map_err(pem)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(pem)?;
    if found.is_empty() {
        return Err(TlsSetupError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(found)
}
