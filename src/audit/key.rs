//! The keys of the record: an Ed25519 pair (RFC 8032) whose private half signs the chain as it grows, and whose public
//! half is all that an auditor needs.
//!
//! Both are PEM files as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them (RFC 8410).
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

/// DER of an Ed25519 SubjectPublicKeyInfo before its 32 bytes of key (RFC 8410, section 4).
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const PUBLIC_BYTES: usize = 32;
/// Hexadecimal digits of a key's id.
const ID_DIGITS: usize = 16;
/// Base64 digits in a line of PEM (RFC 7468).
const PEM_LINE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{}: this is not an Ed25519 private key in PEM (make one with `openssl genpkey -algorithm ed25519`)",
        path.display()
    )]
    Private { path: PathBuf },
    #[error(
        "{}: this is not an Ed25519 public key in PEM (`openssl pkey -in signing.key -pubout` prints it)",
        path.display()
    )]
    Public { path: PathBuf },
    #[error("no random bytes for a new signing key")]
    Random,
}

/// Signs checkpoints and tombstones.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public.id)
    }
}

impl SigningKey {
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = std::fs::read(path).map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })?;
        let wrong = || KeyError::Private {
            path: path.to_owned(),
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| wrong())?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
            .map_err(|_| wrong())?;
        let public = PublicKey::new(pair.public_key().as_ref()).ok_or_else(wrong)?;
        Ok(SigningKey { pair, public })
    }

    /// Makes a pair and writes its private half to `path`, which must not exist, for the owner's eyes only.
    ///
    /// # Errors
    /// The file exists already or cannot be written.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        let failed = |source| KeyError::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.write_all(pem("PRIVATE KEY", document.as_ref()).as_bytes())
            .map_err(failed)?;
        file.sync_all().map_err(failed)?;
        SigningKey::read(path)
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature over `message`, in base64.
    pub fn sign(&self, message: &[u8]) -> String {
        BASE64.encode(self.pair.sign(message).as_ref())
    }
}

/// Tells whether a signature is of the matching [`SigningKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; PUBLIC_BYTES],
    id: String,
}

impl PublicKey {
    fn new(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; PUBLIC_BYTES] = bytes.try_into().ok()?;
        let mut id: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        id.truncate(ID_DIGITS);
        Some(PublicKey { bytes, id })
    }

    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pem = std::fs::read(path).map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })?;
        SubjectPublicKeyInfoDer::from_pem_slice(&pem)
            .ok()
            .and_then(|der| PublicKey::new(der.as_ref().strip_prefix(&SPKI)?))
            .ok_or_else(|| KeyError::Public {
                path: path.to_owned(),
            })
    }

    /// First 16 hexadecimal digits of the SHA-256 of the key's 32 bytes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file that [`PublicKey::read`] reads.
    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &[&SPKI[..], &self.bytes].concat())
    }

    /// Whether `signature` (base64) is over `message`.
    pub fn verify(&self, message: &[u8], signature: &str) -> bool {
        BASE64.decode(signature).is_ok_and(|signature| {
            UnparsedPublicKey::new(&ED25519, &self.bytes)
                .verify(message, &signature)
                .is_ok()
        })
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let digits = BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = digits.as_str();
    while let Some((line, after)) = rest.split_at_checked(PEM_LINE) {
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    if !rest.is_empty() {
        text.push_str(rest);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::fixture::Dir;
    use std::process::Command;

    fn openssl(arguments: &[&str], path: &Path) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .arg(path)
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("PEM")
    }

    #[test]
    fn a_key_is_written_once_for_the_owner_alone_and_read_again() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Dir::new();
        let path = dir.path().join("signing.key");
        let key = SigningKey::create(&path).expect("made");
        assert!(matches!(
            SigningKey::create(&path),
            Err(KeyError::Io { .. })
        ));
        let mode = path.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = SigningKey::read(&path).expect("read");
        assert!(again.public().verify(b"a", &key.sign(b"a")));
        assert!(!again.public().verify(b"b", &key.sign(b"a")));
        assert!(!again.public().verify(b"a", "AAAA"));
    }

    #[test]
    fn openssl_and_pgveil_read_each_others_keys() {
        let dir = Dir::new();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        let key = SigningKey::create(&ours).expect("made");
        assert_eq!(
            openssl(&["pkey", "-pubout", "-in"], &ours),
            key.public().pem()
        );

        openssl(&["genpkey", "-algorithm", "ed25519", "-out"], &theirs);
        let key = SigningKey::read(&theirs).expect("read");
        let public = dir.path().join("public");
        std::fs::write(&public, openssl(&["pkey", "-pubout", "-in"], &theirs)).expect("written");
        assert_eq!(&PublicKey::read(&public).expect("read"), key.public());
    }

    #[test]
    fn other_files_are_told_apart() {
        let dir = Dir::new();
        let path = dir.path().join("x");
        std::fs::write(&path, "x").expect("written");
        assert!(matches!(
            SigningKey::read(&path),
            Err(KeyError::Private { .. })
        ));
        assert!(matches!(
            PublicKey::read(&path),
            Err(KeyError::Public { .. })
        ));
        assert!(matches!(
            PublicKey::read(Path::new("/nowhere")),
            Err(KeyError::Io { .. })
        ));
    }
}
