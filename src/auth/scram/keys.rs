//! The keys of SCRAM, and the verifiers they are stored in.
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use rustls::crypto::GetRandomFailed;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes of a SHA-256 hash, and so of every key.
const KEY: usize = 32;
/// PostgreSQL's `SCRAM_SHA_256_DEFAULT_ITERATIONS`.
const DEFAULT_ITERATIONS: u32 = 4096;
/// PostgreSQL's `SCRAM_DEFAULT_SALT_LEN`, in bytes.
const SALT: usize = 16;
/// The start of every verifier in `pg_authid.rolpassword` that SCRAM can use.
const PREFIX: &str = "SCRAM-SHA-256$";

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name([u8; KEY]);

        impl $name {
            pub fn new(bytes: [u8; KEY]) -> Self {
                $name(bytes)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }
    };
}

key!(
    /// HMAC(SaltedPassword, "Client Key"): who has it can log in.
    ClientKey
);
key!(
    /// H(ClientKey): what a server keeps to check a client's proof.
    StoredKey
);
key!(
    /// HMAC(SaltedPassword, "Server Key"): who has it can pose as the server.
    ServerKey
);

impl ClientKey {
    pub fn stored_key(&self) -> StoredKey {
        StoredKey(Sha256::digest(self.0).into())
    }

    /// ClientProof := ClientKey XOR HMAC(StoredKey, AuthMessage).
    pub(super) fn proof(&self, auth_message: &[u8]) -> [u8; KEY] {
        xor(&self.0, &self.stored_key().signature(auth_message))
    }
}

impl ServerKey {
    /// ServerSignature := HMAC(ServerKey, AuthMessage).
    pub(super) fn signature(&self, auth_message: &[u8]) -> [u8; KEY] {
        hmac(&self.0, auth_message)
    }
}

impl StoredKey {
    /// ClientSignature := HMAC(StoredKey, AuthMessage).
    fn signature(&self, auth_message: &[u8]) -> [u8; KEY] {
        hmac(&self.0, auth_message)
    }

    /// Takes the ClientKey out of a proof: ClientProof XOR HMAC(StoredKey, AuthMessage). `None` where its hash is not
    /// this key, that is, where the proof is wrong.
    pub(super) fn client_key(&self, proof: &[u8; KEY], auth_message: &[u8]) -> Option<ClientKey> {
        let key = ClientKey(xor(proof, &self.signature(auth_message)));
        same(&self.0, &key.stored_key().0).then_some(key)
    }
}

/// What a client's login leaves behind: enough to log in as the same user elsewhere, where the same verifier is
/// stored.
#[derive(Debug, Clone)]
pub struct ScramKeys {
    pub client_key: ClientKey,
    pub server_key: ServerKey,
    /// Of the verifier that the keys belong to.
    pub salt: Vec<u8>,
    pub iterations: u32,
}

impl ScramKeys {
    /// As a client makes them that knows the password (RFC 5802, section 3), which is prepared as PostgreSQL does it:
    /// by SASLprep where that takes it, as it stands where it does not (`pg_saslprep`).
    pub(super) fn of_password(password: &str, salt: Vec<u8>, iterations: u32) -> Self {
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let mut salted = [0; KEY];
        pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), &salt, iterations, &mut salted);
        let keys = ScramKeys {
            client_key: ClientKey(hmac(&salted, b"Client Key")),
            server_key: ServerKey(hmac(&salted, b"Server Key")),
            salt,
            iterations,
        };
        salted.zeroize();
        keys
    }
}

/// A verifier: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three as base64.
#[derive(Debug, Clone)]
pub struct Secret {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: StoredKey,
    pub server_key: ServerKey,
}

/// Why a text is not a verifier. Says nothing of the text itself, which may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error(
        "is an md5 hash; store a SCRAM-SHA-256 verifier (password_encryption = 'scram-sha-256', then set the password again)"
    )]
    Md5,
    #[error("does not begin with `{PREFIX}`")]
    Prefix,
    #[error("is not of the form `{PREFIX}<iterations>:<salt>$<StoredKey>:<ServerKey>`")]
    Shape,
    #[error("has an iteration count that is not a positive number")]
    Iterations,
    #[error("has a salt or key that is not base64 of the right length")]
    Base64,
}

impl Secret {
    /// Parses a verifier as PostgreSQL's `parse_scram_secret` does.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let rest =
            text.strip_prefix(PREFIX)
                .ok_or(match text.len() == 35 && text.starts_with("md5") {
                    true => SecretError::Md5,
                    false => SecretError::Prefix,
                })?;
        let (parameters, keys) = rest.split_once('$').ok_or(SecretError::Shape)?;
        let (iterations, salt) = parameters.split_once(':').ok_or(SecretError::Shape)?;
        let (stored, server) = keys.split_once(':').ok_or(SecretError::Shape)?;
        let iterations = iterations.parse().ok().filter(|count| *count > 0);
        let salt = BASE64.decode(salt).map_err(|_| SecretError::Base64)?;
        if salt.is_empty() {
            return Err(SecretError::Base64);
        }
        Ok(Secret {
            iterations: iterations.ok_or(SecretError::Iterations)?,
            salt,
            stored_key: StoredKey(decode_key(stored).ok_or(SecretError::Base64)?),
            server_key: ServerKey(decode_key(server).ok_or(SecretError::Base64)?),
        })
    }
}

/// Makes verifiers for users that have none, so that an attempt to log in as one looks like any other.
#[derive(Clone)]
pub struct MockSecret(Arc<[u8; KEY]>);

impl MockSecret {
    /// A new random secret. Keep it for the life of the process: the salt an unknown user is shown must not change
    /// from one attempt to the next.
    pub fn random() -> Result<Self, GetRandomFailed> {
        let mut secret = [0; KEY];
        random(&mut secret)?;
        Ok(MockSecret(Arc::new(secret)))
    }

    /// The verifier shown for a user without one; no proof matches it. PostgreSQL's `mock_scram_secret`.
    pub fn verifier(&self, user: &str) -> Secret {
        let derive = |purpose: &[u8]| hmac(&self.0, &[purpose, user.as_bytes()].concat());
        let salt = derive(b"salt:");
        Secret {
            iterations: DEFAULT_ITERATIONS,
            salt: salt.get(..SALT).unwrap_or(&salt).to_vec(),
            stored_key: StoredKey(derive(b"stored:")),
            server_key: ServerKey(derive(b"server:")),
        }
    }
}

impl fmt::Debug for MockSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockSecret(..)")
    }
}

/// Compares in the same time for every pair.
pub(super) fn same(left: &[u8; KEY], right: &[u8; KEY]) -> bool {
    left.ct_eq(right).into()
}

/// Fills a buffer from the cryptographic random source.
pub(super) fn random(buffer: &mut [u8]) -> Result<(), GetRandomFailed> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.secure_random.fill(buffer)
}

pub(super) fn decode_key(text: &str) -> Option<[u8; KEY]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn hmac(key: &[u8; KEY], message: &[u8]) -> [u8; KEY] {
    // HMAC pads short keys with zeros to the block of its hash (RFC 2104); done here, it cannot fail.
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mac = Hmac::<Sha256>::new(&block.into()).chain_update(message);
    block.zeroize();
    mac.finalize().into_bytes().into()
}

fn xor(left: &[u8; KEY], right: &[u8; KEY]) -> [u8; KEY] {
    let mut out = *left;
    for (byte, other) in out.iter_mut().zip(right) {
        *byte ^= other;
    }
    out
}
