//! Full texts on record, for roles whose policy asks for them (`audit: { text: full }`): encrypted to one recipient, so that
//! who keeps, ships and searches the record cannot read them.
//!
//! HPKE in base mode (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM. The keys are PEM files as `openssl genpkey
//! -algorithm x25519` and `openssl pkey -pubout` write them (RFC 8410).
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256 as SUITE;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// DER of an X25519 SubjectPublicKeyInfo before its 32 bytes of key (RFC 8410, section 4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00,
];
/// DER of an X25519 private key before its 32 bytes (RFC 8410, section 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
];
const INFO: &[u8] = b"pgveil audit text 1";
/// Hexadecimal digits of a recipient's id.
const ID_DIGITS: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{}: this is not an X25519 public key in PEM (`openssl pkey -in recipient.key -pubout` prints it)",
        path.display()
    )]
    Public { path: PathBuf },
    #[error(
        "{}: this is not an X25519 private key in PEM (make one with `openssl genpkey -algorithm x25519`)",
        path.display()
    )]
    Private { path: PathBuf },
    #[error("the text was sealed to another key, or changed")]
    Open,
}

/// A full text as it stands on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sealed {
    /// First 16 hexadecimal digits of the SHA-256 of the recipient's public key.
    pub recipient: String,
    /// The encapsulated key, base64.
    pub key: String,
    /// A [`Clear`] in JSON, encrypted; base64.
    pub text: String,
}

/// What is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clear {
    /// The statement as the client sent it.
    pub text: String,
    /// Its parameters: text as it is, binary in hexadecimal after `\x`. Absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<Option<String>>>,
}

/// Who may read full texts.
#[derive(Clone)]
pub struct Recipient {
    key: HpkePublicKey,
    id: String,
}

impl fmt::Debug for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Recipient({})", self.id)
    }
}

impl Recipient {
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&read(path)?);
        let key = der.ok().and_then(|der| {
            let key = der.as_ref().strip_prefix(&SPKI)?;
            (key.len() == 32).then(|| key.to_vec())
        });
        let Some(key) = key else {
            return Err(SealError::Public {
                path: path.to_owned(),
            });
        };
        let mut id: String = Sha256::digest(&key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        id.truncate(ID_DIGITS);
        Ok(Recipient {
            key: HpkePublicKey(key),
            id,
        })
    }

    /// `None` where the cipher fails, as without random bytes.
    pub fn seal(&self, clear: &Clear) -> Option<Sealed> {
        let plain = serde_json::to_vec(clear).ok()?;
        let (key, text) = SUITE.seal(INFO, &[], &plain, &self.key).ok()?;
        Some(Sealed {
            recipient: self.id.clone(),
            key: BASE64.encode(key.0),
            text: BASE64.encode(text),
        })
    }
}

/// Opens what was sealed to its public half.
pub struct Opener(HpkePrivateKey);

impl Opener {
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(&read(path)?);
        let key = der.ok().and_then(|der| {
            let key = der.secret_pkcs8_der().strip_prefix(&PKCS8)?;
            (key.len() == 32).then(|| key.to_vec())
        });
        match key {
            Some(key) => Ok(Opener(key.into())),
            None => Err(SealError::Private {
                path: path.to_owned(),
            }),
        }
    }

    /// # Errors
    /// It was sealed to another key, or changed.
    pub fn open(&self, sealed: &Sealed) -> Result<Clear, SealError> {
        let decode = |text: &str| BASE64.decode(text).map_err(|_| SealError::Open);
        let key = EncapsulatedSecret(decode(&sealed.key)?);
        let plain = SUITE
            .open(&key, INFO, &[], &decode(&sealed.text)?, &self.0)
            .map_err(|_| SealError::Open)?;
        serde_json::from_slice(&plain).map_err(|_| SealError::Open)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SealError> {
    std::fs::read(path).map_err(|source| SealError::Io {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Dir;
    use std::process::Command;

    /// A pair as an auditor makes it.
    fn pair(dir: &Dir, name: &str) -> (PathBuf, PathBuf) {
        let (private, public) = (
            dir.path().join(name),
            dir.path().join(format!("{name}.pub")),
        );
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "x25519", "-out"])
            .arg(&private)
            .status();
        assert!(made.is_ok_and(|status| status.success()));
        let shown = Command::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(&private)
            .arg("-out")
            .arg(&public)
            .status();
        assert!(shown.is_ok_and(|status| status.success()));
        (private, public)
    }

    #[test]
    fn only_the_recipient_reads_a_text() {
        let dir = Dir::new();
        let (private, public) = pair(&dir, "auditor");
        let (other, _) = pair(&dir, "other");
        let clear = Clear {
            text: "SELECT '13812345678', $1".to_owned(),
            parameters: Some(vec![Some("Zhang".to_owned()), None]),
        };
        let recipient = Recipient::read(&public).expect("a key");
        let sealed = recipient.seal(&clear).expect("sealed");
        let json = serde_json::to_string(&sealed).expect("json");
        assert!(!json.contains("13812345678"));
        assert_ne!(recipient.seal(&clear), Some(sealed.clone()));
        let opened = Opener::read(&private).expect("a key").open(&sealed);
        assert_eq!(opened.expect("opened"), clear);
        let stranger = Opener::read(&other).expect("a key");
        assert!(matches!(stranger.open(&sealed), Err(SealError::Open)));
    }

    #[test]
    fn other_keys_are_told_apart() {
        let dir = Dir::new();
        let (private, public) = pair(&dir, "auditor");
        assert!(matches!(
            Recipient::read(&private),
            Err(SealError::Public { .. })
        ));
        assert!(matches!(
            Opener::read(&public),
            Err(SealError::Private { .. })
        ));
    }
}
