//! pgveil as TLS client towards PostgreSQL, with the meaning libpq gives to its sslmodes.
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::server::certificates;
use super::{ALPN, SslMode, TlsSetupError, tls_server_end_point};
use crate::wire::stream::Stream;

/// Makes TLS connections to one server by one sslmode.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
}

impl ClientTls {
    /// `host` is a DNS name or an address; it is sent as SNI (names only) and checked in `verify-full`.
    pub fn new(config: Arc<rustls::ClientConfig>, host: &str) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{host}` is neither a host name nor an address"),
            )
        })?;
        Ok(ClientTls { config, name })
    }

    /// The client's side of the handshake, and the `tls-server-end-point` data of the server's certificate.
    pub async fn connect(&self, tcp: TcpStream) -> io::Result<(Stream, Option<Vec<u8>>)> {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.config));
        let tls = connector.connect(self.name.clone(), tcp).await?;
        let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let end_point = leaf.and_then(|leaf| tls_server_end_point(leaf));
        Ok((Stream::ServerTls(Box::new(tls)), end_point))
    }
}

/// The rustls configuration of an sslmode, see [`SslMode`] for what each verifies; `None` for `disable`.
pub fn client_config(
    mode: SslMode,
    ca: Option<&Path>,
) -> Result<Option<Arc<rustls::ClientConfig>>, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let trust = match (mode, ca) {
        (SslMode::Disable, _) => return Ok(None),
        (SslMode::VerifyCa, None) => return Err(TlsSetupError::VerifyCaWithoutCa),
        (SslMode::VerifyFull, None) => Trust::system()?,
        (_, None) => Trust::Anyone,
        (_, Some(path)) => Trust::file(path)?,
    };
    let verifier = Verifier {
        check_name: mode == SslMode::VerifyFull,
        trust,
        provider: Arc::clone(&provider),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Some(Arc::new(config)))
}

/// Whose signature makes a server's certificate good.
#[derive(Debug)]
enum Trust {
    /// Nothing is checked: TLS keeps listeners out, not impostors.
    Anyone,
    Roots {
        store: RootCertStore,
        /// The same certificates as they stand in the file. A server's self-signed certificate that is itself in
        /// the file is good, as it is to OpenSSL; webpki alone would refuse a CA certificate in a server's place.
        pinned: Vec<CertificateDer<'static>>,
    },
}

impl Trust {
    fn file(path: &Path) -> Result<Self, TlsSetupError> {
        let pinned = certificates("the certificate authorities", path)?;
        let mut store = RootCertStore::empty();
        for certificate in &pinned {
            let added = store.add(certificate.clone());
            added.map_err(|source| TlsSetupError::Anchor {
                path: path.to_owned(),
                source,
            })?;
        }
        Ok(Trust::Roots { store, pinned })
    }

    fn system() -> Result<Self, TlsSetupError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let reason = found.errors.first().map(ToString::to_string);
            return Err(TlsSetupError::SystemRoots(
                reason.unwrap_or_else(|| "none were found".to_owned()),
            ));
        }
        Ok(Trust::Roots {
            store,
            pinned: Vec::new(),
        })
    }
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
    check_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Trust::Roots { store, pinned } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(leaf)?;
        if pinned.iter().any(|root| root.as_ref() == leaf.as_ref()) {
            verify_period(leaf, now)?;
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                store,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.check_name {
            verify_server_name(&parsed, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // The handshake's signatures are checked in every mode: channel binding rests on the server holding the key
    // of the certificate it shows.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// Whether a pinned certificate is within its validity period.
fn verify_period(leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    let bad = |error| rustls::Error::InvalidCertificate(error);
    let (_, certificate) =
        X509Certificate::from_der(leaf).map_err(|_| bad(CertificateError::BadEncoding))?;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| bad(CertificateError::BadEncoding))?;
    let validity = certificate.validity();
    if now < validity.not_before {
        return Err(bad(CertificateError::NotValidYet));
    }
    if now > validity.not_after {
        return Err(bad(CertificateError::Expired));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    /// Self-signed with CA:TRUE, as `openssl req -x509` makes them; `years` is when it is valid.
    fn self_signed(years: std::ops::Range<i32>) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["db.example".into()]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.not_before = rcgen::date_time_ymd(years.start, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().clone()
    }

    fn verifies(
        leaf: &CertificateDer<'static>,
        roots: &[&CertificateDer<'static>],
        name: &str,
    ) -> bool {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add((*root).clone()).unwrap();
        }
        let pinned = roots.iter().map(|root| (*root).clone()).collect();
        let verifier = Verifier {
            trust: Trust::Roots { store, pinned },
            check_name: true,
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000)); // 2027
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(leaf, &[], &name, &[], now)
            .is_ok()
    }

    #[test]
    fn a_self_signed_certificate_is_good_where_the_ca_file_holds_it() {
        let (good, other) = (self_signed(2020..2040), self_signed(2020..2040));
        assert!(verifies(&good, &[&other, &good], "db.example"));
        assert!(!verifies(&good, &[&other], "db.example"));
        assert!(!verifies(&good, &[&good], "elsewhere.example"));
        for expired in [self_signed(2010..2020), self_signed(2030..2040)] {
            assert!(!verifies(&expired, &[&expired], "db.example"));
        }
    }

    #[test]
    fn verify_ca_without_a_ca_file_is_refused() {
        let refused = client_config(SslMode::VerifyCa, None);
        assert!(matches!(refused, Err(TlsSetupError::VerifyCaWithoutCa)));
        assert!(client_config(SslMode::Disable, None).unwrap().is_none());
        assert!(client_config(SslMode::Require, None).unwrap().is_some());
        let missing = client_config(SslMode::Require, Some(Path::new("/no/such.crt")));
        assert!(missing.unwrap_err().to_string().contains("/no/such.crt"));
    }
}
