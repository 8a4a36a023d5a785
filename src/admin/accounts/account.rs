//! One account, and how long it is locked after failed logins. Pure.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::AccountError;
use super::totp::TotpSecret;
use crate::export::store::Seconds;

/// The group that sees everything and manages accounts. It is no group of approvers.
pub const ADMIN: &str = "admin";

/// Failed logins in a row that cost nothing.
pub const FREE_FAILURES: u32 = 4;
/// What the next one costs, in seconds; every further one twice as much as the one before.
const FIRST_DELAY: Seconds = 5;
/// ... but never more than this: an attacker must not be able to lock somebody out for good.
pub const MAX_DELAY: Seconds = 15 * 60;

/// How long nobody can sign in after so many failures in a row, in seconds.
pub fn delay(failures: u32) -> Seconds {
    let Some(beyond) = failures.checked_sub(FREE_FAILURES + 1) else {
        return 0;
    };
    let factor = 1_i64.checked_shl(beyond.min(32)).unwrap_or(i64::MAX);
    FIRST_DELAY.saturating_mul(factor).min(MAX_DELAY)
}

/// A second factor in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    pub secret: TotpSecret,
    /// The step whose code was accepted last: none up to it is accepted again.
    pub last_step: u64,
}

/// Somebody who may sign in. `Debug` shows neither hash nor secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// In lower case.
    pub name: String,
    /// As the policy and the record name the person.
    pub person: String,
    /// Approver groups, and [`ADMIN`].
    pub groups: BTreeSet<String>,
    /// Of the password: Argon2id in PHC's format.
    pub hash: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub totp: Option<SecondFactor>,
    /// Failed logins since the last successful one.
    #[serde(default)]
    pub failures: u32,
    #[serde(default)]
    pub locked_until: Seconds,
    pub created: Seconds,
    /// 0: never.
    #[serde(default)]
    pub last_login: Seconds,
    /// Counts changes of credentials; sessions and tokens from before one are void.
    #[serde(default)]
    pub epoch: u32,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("person", &self.person)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// An account nobody can sign in to yet: without a password.
    ///
    /// # Errors
    /// A name will not do.
    pub fn new(
        name: &str,
        person: &str,
        groups: &[String],
        now: Seconds,
    ) -> Result<Self, AccountError> {
        let name = self::name(name).ok_or(AccountError::Name)?;
        let person = person.trim();
        let length = person.chars().count();
        if !(1..=128).contains(&length) || person.chars().any(char::is_control) {
            return Err(AccountError::Person);
        }
        Ok(Account {
            name,
            person: person.to_owned(),
            groups: self::groups(groups)?,
            hash: String::new(),
            totp: None,
            failures: 0,
            locked_until: 0,
            created: now,
            last_login: 0,
            epoch: 0,
        })
    }

    /// Counts the failures of names that nobody has.
    pub fn stranger(key: &str) -> Self {
        Account {
            name: key.to_owned(),
            person: String::new(),
            groups: BTreeSet::new(),
            hash: String::new(),
            totp: None,
            failures: 0,
            locked_until: 0,
            created: 0,
            last_login: 0,
            epoch: 0,
        }
    }
}

/// A name as it is stored, if it can be one: nobody is two people by spelling.
pub fn name(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    word(&text, "._@-").then_some(text)
}

/// Groups as they are stored.
pub fn groups(groups: &[String]) -> Result<BTreeSet<String>, AccountError> {
    groups
        .iter()
        .map(|group| {
            let plain = group.trim();
            match word(&plain.to_ascii_lowercase(), "._-") {
                true => Ok(plain.to_owned()),
                false => Err(AccountError::Group(group.chars().take(64).collect())),
            }
        })
        .collect()
}

fn word(text: &str, more: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
}
