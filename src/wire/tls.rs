//! TLS on both legs: pgveil as server towards clients, as client towards PostgreSQL.
//!
//! Both sides name the ALPN protocol `postgresql`, which PostgreSQL 17 requires for direct TLS.
mod client;
mod end_point;
mod server;
mod subject;
mod validity;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use client::{ClientTls, client_config};
pub use end_point::tls_server_end_point;
pub use server::{Accepted, DirectTls, ServerTls};
pub use validity::{Validity, first_end, first_end_in};

/// The ALPN protocol name of PostgreSQL (registered with IANA).
pub const ALPN: &[u8] = b"postgresql";

/// libpq's `sslmode`: how the connection to the server is protected.
///
/// With a `ca` file the server's certificate chain is verified whenever TLS is used, in every mode, as libpq does
/// where `root.crt` exists; so `require` with a `ca` is `verify-ca`. Without one, `disable` to `require` verify
/// nothing, `verify-full` uses the system's roots (libpq's `sslrootcert=system`), and `verify-ca` is refused,
/// because any public authority's certificate for any host would pass (libpq refuses it likewise).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// Plain first; TLS if the server turns the plain connection away.
    Allow,
    /// TLS first; plain if the server has none or turns the TLS connection away.
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const WORDS: [(&'static str, SslMode); 6] = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
}

/// A word that is none of libpq's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown sslmode `{0}`: use disable, allow, prefer, require, verify-ca or verify-full")]
pub struct UnknownSslMode(String);

impl FromStr for SslMode {
    type Err = UnknownSslMode;
    fn from_str(word: &str) -> Result<Self, UnknownSslMode> {
        Self::WORDS
            .iter()
            .find_map(|(name, mode)| (*name == word).then_some(*mode))
            .ok_or_else(|| UnknownSslMode(word.to_owned()))
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, mode)| mode == self);
        f.write_str(word.map_or("disable", |(name, _)| name))
    }
}

/// What a TLS handshake agreed on, in the words PostgreSQL's `pg_stat_ssl` uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// For instance `TLSv1.3`.
    pub version: String,
    /// For instance `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The subject of the certificate that the other side has proved to hold, as RFC 4514 writes it; empty where the
    /// certificate names none. `None`: there was no certificate.
    pub subject: Option<String>,
    /// The common name in it, where there is exactly one and it is text.
    pub common_name: Option<String>,
}

impl TlsFacts {
    /// The facts of a finished handshake.
    fn of(connection: &rustls::CommonState) -> Self {
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
            other => format!("{other:?}"),
        };
        let cipher = connection
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown");
        TlsFacts {
            version,
            cipher: cipher.replace("TLS13_", "TLS_"),
            subject: connection
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(|leaf| subject::subject(leaf)),
            common_name: connection
                .peer_certificates()
                .and_then(<[_]>::first)
                .and_then(|leaf| subject::common_name(leaf)),
        }
    }
}

/// Why TLS cannot be set up from the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("cannot read {what} from {path}: {source}; it must be a PEM file", path = path.display())]
    Pem {
        what: &'static str,
        path: PathBuf,
        source: rustls::pki_types::pem::Error,
    },
    #[error("{path} holds no certificate", path = path.display())]
    NoCertificate { path: PathBuf },
    #[error("the certificate {cert} and the key {key} cannot be used: {source}", cert = cert.display(), key = key.display())]
    Pair {
        cert: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
    #[error("{path} holds a certificate that cannot be a trust anchor: {source}", path = path.display())]
    Anchor {
        path: PathBuf,
        source: rustls::Error,
    },
    #[error("client certificates cannot be verified with {path}: {source}", path = path.display())]
    Clients {
        path: PathBuf,
        source: rustls::server::VerifierBuilderError,
    },
    #[error("the system's root certificates cannot be read: {0}; name a file with `ca:`")]
    SystemRoots(String),
    #[error("`tls: verify-ca` needs `ca:`; to trust the system's authorities use verify-full")]
    VerifyCaWithoutCa,
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_libpq_are_understood_and_printed_alike() {
        for (word, mode) in SslMode::WORDS {
            assert_eq!(word.parse(), Ok(mode));
            assert_eq!(mode.to_string(), word);
        }
        assert!("Require".parse::<SslMode>().is_err());
    }
}
