//! Claims that their application has signed: HMAC-SHA-256 (RFC 2104) over who, where, when and the statement itself.
//!
//! The statement's text is part of what is signed, so a signature is worth nothing under another text: what somebody
//! injects into a statement is in the text before it is signed, and runs for the person it was signed for.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// How far the application's clock may be ahead.
pub const MAX_AHEAD: Duration = Duration::from_secs(5);
/// The first line of what is signed.
const FORM: &str = "pgveil app_user 1";

/// The key of an application, and how long what it has signed holds.
#[derive(Debug, Clone)]
pub struct Verifier {
    pub key: Secret,
    pub max_age: Duration,
}

/// What is signed.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    pub db_user: &'a str,
    pub database: &'a str,
    pub app_user: &'a str,
    /// Empty where none is named.
    pub purpose: &'a str,
    /// The statement without the comment.
    pub text: &'a str,
}

impl Signed<'_> {
    /// Lines; the statement last, for it may have lines of its own.
    fn lines(&self, time: &str) -> String {
        [
            FORM,
            self.db_user,
            self.database,
            self.app_user,
            self.purpose,
            time,
            self.text,
        ]
        .join("\n")
    }

    /// No part but the last can be taken for two.
    fn is_plain(&self) -> bool {
        let parts = [self.db_user, self.database, self.app_user, self.purpose];
        !parts.iter().any(|part| part.contains('\n'))
    }
}

impl Verifier {
    /// When the claim ceases to hold. `time`: seconds since 1970, `signature`: hexadecimal digits.
    ///
    /// # Errors
    /// Why it does not hold.
    pub(super) fn verify(
        &self,
        signed: &Signed<'_>,
        time: &str,
        signature: &str,
        now: SystemTime,
    ) -> Result<SystemTime, &'static str> {
        const FORGED: &str = "its signature is not the application's, or is for another statement";
        let digits = time.len() <= 12 && time.bytes().all(|byte| byte.is_ascii_digit());
        let seconds = digits.then(|| time.parse().ok()).flatten();
        let seconds = seconds.ok_or("its time is not in seconds since 1970")?;
        let signature = of_digits(signature).ok_or(FORGED)?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose().as_bytes()).map_err(|_| FORGED)?;
        mac.update(signed.lines(time).as_bytes());
        // In constant time.
        mac.verify_slice(&signature).map_err(|_| FORGED)?;
        if !signed.is_plain() {
            return Err(FORGED);
        }
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let expires = time + self.max_age;
        if now >= expires {
            return Err("its signature has expired");
        }
        if time > now + MAX_AHEAD {
            return Err("its time is in the future");
        }
        Ok(expires)
    }
}

fn of_digits(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}
