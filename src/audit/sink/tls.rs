//! TLS towards receivers that do not speak HTTP.
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::config::TlsSettings;

/// Trusts the authorities of a PEM file, or those of the system, and shows a certificate to a server that asks for one.
pub fn client(
    ca: Option<&Path>,
    certificate: Option<&TlsSettings>,
) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let failed = |error: String| format!("ca `{}`: {error}", path.display());
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| failed(error.to_string()))?;
            if certificates.is_empty() {
                return Err(failed("it holds no certificate".to_owned()));
            }
            for certificate in certificates {
                let added = roots.add(certificate);
                added.map_err(|error| failed(error.to_string()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "the system has no certificate authorities; name a file with `ca`".to_owned(),
                );
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let config = match certificate {
        Some(certificate) => own(config, certificate)?,
        None => config.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn own(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    TlsSettings { cert, key }: &TlsSettings,
) -> Result<ClientConfig, String> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cert `{}`: {error}", cert.display()))?;
    let read = PrivateKeyDer::from_pem_file(key);
    let private = read.map_err(|error| format!("key `{}`: {error}", key.display()))?;
    config
        .with_client_auth_cert(chain, private)
        .map_err(|error| format!("cert `{}`: {error}", cert.display()))
}
