//! Names that nobody can guess, and what is stored of them.
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::export::store::StoreError;

/// 256 random bits, as 43 characters that need no escaping anywhere.
///
/// # Errors
/// The system gives no random bytes.
pub fn secret() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 32];
    fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Random bytes.
///
/// # Errors
/// The system gives none.
pub fn fill(bytes: &mut [u8]) -> Result<(), StoreError> {
    getrandom::fill(bytes).map_err(|_| StoreError("the system gives no random bytes".to_owned()))
}

/// A random number below a power of two.
///
/// # Errors
/// The system gives no random bytes.
pub fn below(power: u32) -> Result<u32, StoreError> {
    let mut bytes = [0_u8; 4];
    fill(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes) & (power - 1))
}

/// What is stored of a secret of 256 random bits, and looked up by it: SHA-256, hexadecimal. Nothing slower is needed, for
/// nobody can try them all; and who reads the store can use none.
pub fn fingerprint(secret: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(secret.as_bytes());
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Another secret that follows from one, for one purpose; it does not lead back.
pub fn derived(secret: &str, purpose: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(b"pgveil ");
    hash.update(purpose.as_bytes());
    hash.update([0]);
    hash.update(secret.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Whether two texts are equal, in a time that does not depend on where they differ.
pub fn same(one: &str, other: &str) -> bool {
    use subtle::ConstantTimeEq as _;
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
