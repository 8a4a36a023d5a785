//! Channel-binding data of type `tls-server-end-point` (RFC 5929, section 4).
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_parser::prelude::*;
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// The hash of a DER certificate by the hash function of its own signature algorithm; MD5 and SHA-1 count as
/// SHA-256. `None` where the algorithm has no such function (Ed25519), for which channel binding is undefined;
/// PostgreSQL and libpq cannot bind to such certificates either (`be_tls_get_certificate_hash`).
pub fn tls_server_end_point(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // The outer AlgorithmIdentifier, as OpenSSL's X509_get_signature_nid reads.
    let algorithm = &certificate.signature_algorithm;
    let hash = match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => {
            Hash::of_digest(&parameters.hash_algorithm_oid().to_id_string())
        }
        _ => Hash::of_signature(&algorithm.algorithm.to_id_string()),
    }?;
    Some(match hash {
        Hash::Sha224 => Sha224::digest(der).to_vec(),
        Hash::Sha256 => Sha256::digest(der).to_vec(),
        Hash::Sha384 => Sha384::digest(der).to_vec(),
        Hash::Sha512 => Sha512::digest(der).to_vec(),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// By the OID of a signature algorithm (RFC 3279, 4055, 5758).
    fn of_signature(oid: &str) -> Option<Hash> {
        Some(match oid {
            // md5WithRSAEncryption, sha1WithRSAEncryption, dsa-with-sha1, ecdsa-with-SHA1
            "1.2.840.113549.1.1.4"
            | "1.2.840.113549.1.1.5"
            | "1.2.840.10040.4.3"
            | "1.2.840.10045.4.1" => Hash::Sha256,
            "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" | "2.16.840.1.101.3.4.3.1" => {
                Hash::Sha224
            }
            "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" | "2.16.840.1.101.3.4.3.2" => {
                Hash::Sha256
            }
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Hash::Sha384,
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Hash::Sha512,
            _ => return None,
        })
    }

    /// By the OID of a hash function, as RSASSA-PSS parameters carry it.
    fn of_digest(oid: &str) -> Option<Hash> {
        Some(match oid {
            "1.2.840.113549.2.5" | "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Hash::Sha256,
            "2.16.840.1.101.3.4.2.4" => Hash::Sha224,
            "2.16.840.1.101.3.4.2.2" => Hash::Sha384,
            "2.16.840.1.101.3.4.2.3" => Hash::Sha512,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_the_one_of_the_signature_algorithm() {
        let der = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        let expected = Sha256::digest(&der).to_vec();
        assert_eq!(tls_server_end_point(&der), Some(expected));

        let der = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        let expected = Sha384::digest(&der).to_vec();
        assert_eq!(tls_server_end_point(&der), Some(expected));
    }

    #[test]
    fn a_certificate_without_a_hash_function_has_no_binding() {
        assert_eq!(
            tls_server_end_point(&certificate(&rcgen::PKCS_ED25519)),
            None
        );
        assert_eq!(tls_server_end_point(b"garbage"), None);
        assert_eq!(tls_server_end_point(b""), None);
    }
}
