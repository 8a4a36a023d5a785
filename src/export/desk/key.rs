//! The key of digests, and identifiers.
use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{ATTEMPTS, busy};
use crate::export::store::{Document, Seconds, Store, StoreError};

/// Kind of the documents that hold keys.
const KEY: &str = "key";

pub(super) fn new_id() -> String {
    let mut id = [0; 4];
    match getrandom::fill(&mut id) {
        Ok(()) => hex(&id),
        // The store takes no identifier twice; the next attempt has another.
        Err(_) => hex(&u32::to_be_bytes(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.subsec_nanos()),
        )),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// HMAC-SHA-256, cut to 128 bits.
pub fn digest(key: &[u8; 32], values: &[u8]) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return String::new();
    };
    mac.update(values);
    hex(mac.finalize().into_bytes().get(..16).unwrap_or_default())
}

/// The key of digests: made by whoever comes first.
pub(super) async fn key(store: &dyn Store, now: Seconds) -> Result<[u8; 32], StoreError> {
    const NAME: &str = "digest";
    for _ in 0..ATTEMPTS {
        if let Some(found) = store.get(KEY, NAME, now).await? {
            let bytes: Vec<u8> = serde_json::from_str(&found.body).map_err(StoreError::of)?;
            return bytes
                .try_into()
                .map_err(|_| StoreError("the key of digests is damaged".to_owned()));
        }
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(StoreError::of)?;
        let document = Document {
            kind: KEY,
            key: NAME.to_owned(),
            revision: 0,
            label: String::new(),
            claim: None,
            body: serde_json::to_string(&key.to_vec()).map_err(StoreError::of)?,
            expires: None,
        };
        store.put(&document, now).await?;
    }
    Err(busy())
}
