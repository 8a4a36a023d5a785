//! The second factor: codes of six digits that change every 30 seconds (RFC 6238, SHA-1, as every authenticator has it).
use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Secret, Totp};

use super::random;
use crate::export::store::{Seconds, StoreError};

/// Length of a step in seconds.
pub const STEP: u64 = 30;
/// Steps before and after the present one whose code counts, for clocks that differ.
const SKEW: u16 = 1;
/// Who issues the codes, as authenticators show it.
const ISSUER: &str = "pgveil";

/// What codes are computed from: 160 bits, base 32. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TotpSecret(String);

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

impl TotpSecret {
    /// A new secret.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new() -> Result<Self, StoreError> {
        let mut bytes = [0_u8; 20];
        random::fill(&mut bytes)?;
        Ok(TotpSecret(Secret::new_stack(bytes).to_base32()))
    }

    /// A secret as [`TotpSecret::expose`] gives it; `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = TotpSecret(text.trim().to_ascii_uppercase());
        secret.codes("").map(|_| secret)
    }

    /// The secret itself, for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What authenticators read: `otpauth://totp/...`.
    pub fn url(&self, account: &str) -> Option<String> {
        self.codes(account)?.to_url().ok()
    }

    /// The code of a moment.
    pub fn code(&self, now: Seconds) -> Option<String> {
        let now = u64::try_from(now).ok()?;
        Some(self.codes("")?.generate(now).to_string())
    }

    /// The step that a code belongs to, if it is the code of one that may be used: near the present one, behind `last`.
    pub fn matches(&self, code: &str, now: Seconds, last: Option<u64>) -> Option<u64> {
        let now = u64::try_from(now).ok()?;
        let present = now / STEP;
        let codes = self.codes("")?;
        let mut found = None;
        // Every step is looked at: the time does not tell which one it was.
        for step in present.saturating_sub(SKEW.into())..=present.saturating_add(SKEW.into()) {
            let expected = codes.generate(step.saturating_mul(STEP)).to_string();
            let fresh = last.is_none_or(|last| step > last);
            if random::same(&expected, code) && fresh && found.is_none() {
                found = Some(step);
            }
        }
        found
    }

    fn codes(&self, account: &str) -> Option<Totp> {
        let secret = Secret::try_from_base32(&self.0).ok()?;
        Builder::new()
            .with_secret(secret)
            .with_account_name(account)
            .with_issuer(Some(ISSUER))
            .with_skew(SKEW)
            .with_step_duration(STEP)
            .build()
            .ok()
    }
}
