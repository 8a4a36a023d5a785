//! When certificates end.
use std::path::Path;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsSetupError;
use super::server::certificates;

/// When a DER certificate begins and ends to be valid, as Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub not_before: i64,
    pub not_after: i64,
}

impl Validity {
    /// `None` where it is no certificate.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Validity {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }
}

/// When the first of some certificates ends; `None` where there is none.
pub fn first_end(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let ends = chain.iter().filter_map(|der| Validity::of(der));
    ends.map(|validity| validity.not_after).min()
}

/// When the first certificate of a PEM file ends.
///
/// # Errors
/// The file cannot be read, or holds none.
pub fn first_end_in(what: &'static str, path: &Path) -> Result<Option<i64>, TlsSetupError> {
    certificates(what, path).map(|chain| first_end(&chain))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn until(year: i32) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new(vec!["db.example".into()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn of_several_the_first_that_ends_counts() {
        // 2031-01-01T00:00:00Z
        let chain = [until(2035), until(2031), until(2040)];
        assert_eq!(first_end(&chain), Some(1_924_992_000));
        assert_eq!(first_end(&[]), None);
        assert_eq!(Validity::of(b"no certificate"), None);
    }
}
