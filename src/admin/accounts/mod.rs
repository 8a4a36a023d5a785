//! Who may sign in to the console and call its API: accounts, their second factors, and tokens.
//!
//! Everything is a document of the [`Store`]. What nobody may learn is not in it: passwords as Argon2id hashes, tokens
//! and session names as SHA-256. The secret of a second factor has to be, for codes are computed from it.
//!
//! An account that does not exist answers like one that does: the same words, the same work, the same lockout.
mod account;
pub mod password;
pub mod random;
mod tokens;
pub mod totp;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use account::{ADMIN, Account, FREE_FAILURES, MAX_DELAY, delay};
pub use tokens::{IssuedToken, MAX_DAYS, TokenLine};

use self::password::{Passwords, WeakPassword};
use crate::export::desk::now;
use crate::export::request::Approver;
use crate::export::store::{Document, Put, Seconds, Store, StoreError};

/// Kind of the documents that hold accounts.
const ACCOUNT: &str = "account";
/// Kind of the documents that count failed logins under names that nobody has.
const STRANGER: &str = "account_stranger";
/// Accounts that are listed at most.
const MAX_LISTED: u32 = 1000;
/// Attempts at a change that somebody else's came before.
const ATTEMPTS: usize = 16;

/// Why an account is not changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    #[error("an account is named by 1 to 64 of the characters a-z, 0-9 and . _ @ -")]
    Name,
    #[error("a group is named by 1 to 64 of the characters a-z, 0-9 and . _ -: `{0}` is none")]
    Group(String),
    #[error("a person is named by 1 to 128 characters without line breaks")]
    Person,
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    #[error("there is an account {0} already")]
    Exists(String),
    #[error("there is no account {0}")]
    Unknown(String),
    #[error("the code is not the one that the secret gives now; look at the clocks of both sides")]
    Code,
    #[error("a token lives 1 to {MAX_DAYS} days")]
    Days,
    #[error("{0} has as many tokens as an account may have; remove one")]
    TooManyTokens(String),
    #[error("there is no token {0}")]
    UnknownToken(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why somebody did not get in. The client is told only that it was refused; the record says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("no such account")]
    Unknown,
    #[error("wrong password")]
    Password,
    #[error("wrong, missing or used code of the second factor")]
    Code,
    #[error("locked after {0} failed logins")]
    Locked(u32),
    #[error("{0}")]
    Store(String),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused::Store(error.to_string())
    }
}

/// Who somebody is who got in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account's name; `None` where an identity provider vouches for the person.
    pub account: Option<String>,
    pub person: String,
    pub groups: BTreeSet<String>,
    /// [`Account::epoch`] of the account.
    pub epoch: u32,
}

impl Identity {
    fn of(account: &Account) -> Self {
        Identity {
            account: Some(account.name.clone()),
            person: account.person.clone(),
            groups: account.groups.clone(),
            epoch: account.epoch,
        }
    }

    /// As the rules of requests know the person, by the account's name, too. Being an administrator signs nothing.
    pub fn approver(&self) -> Approver {
        let mut groups = self.groups.clone();
        groups.remove(ADMIN);
        Approver {
            person: self.person.clone(),
            groups,
            also: self.account.iter().cloned().collect(),
        }
    }

    pub fn is_admin(&self) -> bool {
        self.groups.contains(ADMIN)
    }

    /// Sees other people's requests, budgets and refusals.
    pub fn oversees(&self) -> bool {
        !self.groups.is_empty()
    }
}

/// All accounts of a store.
#[derive(Debug, Clone)]
pub struct Accounts {
    store: Arc<dyn Store>,
    passwords: Passwords,
}

impl Accounts {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Accounts {
            store,
            passwords: Passwords::default(),
        }
    }

    /// Makes an account.
    ///
    /// # Errors
    /// A name or the password will not do, there is such an account, or the store cannot be written.
    pub async fn add(
        &self,
        name: &str,
        person: &str,
        groups: &[String],
        password: &str,
    ) -> Result<Account, AccountError> {
        let account = Account::new(name, person, groups, now())?;
        password::check(password, &[name, person])?;
        let account = Account {
            hash: self.passwords.hash(password).await?,
            // Sessions of an account that was removed are not those of another by its name.
            epoch: random::below(1 << 31)?,
            ..account
        };
        match self.store.put(&document(&account, 0)?, now()).await? {
            Put::Stored(_) => Ok(account),
            Put::Stale | Put::Claimed(_) => Err(AccountError::Exists(account.name)),
        }
    }

    /// All accounts, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self) -> Result<Vec<Account>, StoreError> {
        let documents = self.store.list(ACCOUNT, &[], "", MAX_LISTED, now()).await?;
        documents.iter().map(parse).collect()
    }

    /// An account.
    ///
    /// # Errors
    /// There is none, or the store cannot be read.
    pub async fn get(&self, name: &str) -> Result<Account, AccountError> {
        match self.read(name).await? {
            Some((account, _)) => Ok(account),
            None => Err(AccountError::Unknown(name.to_owned())),
        }
    }

    /// Removes an account, its tokens and with them its sessions.
    ///
    /// # Errors
    /// There is none, or the store cannot be written.
    pub async fn remove(&self, name: &str) -> Result<(), AccountError> {
        for _ in 0..ATTEMPTS {
            let Some((account, revision)) = self.read(name).await? else {
                return Err(AccountError::Unknown(name.to_owned()));
            };
            if self.store.delete(ACCOUNT, &account.name, revision).await? {
                return self.remove_tokens(&account.name).await;
            }
        }
        Err(busy().into())
    }

    /// Sets another password; ends the account's sessions, voids its tokens and ends its lockout.
    ///
    /// # Errors
    /// There is no such account, the password will not do, or the store cannot be written.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<Account, AccountError> {
        let found = self.get(name).await?;
        password::check(password, &[&found.name, &found.person])?;
        let hash = self.passwords.hash(password).await?;
        self.change(name, |account| {
            account.hash.clone_from(&hash);
            account.failures = 0;
            account.locked_until = 0;
            account.epoch = account.epoch.saturating_add(1);
            Ok(())
        })
        .await
    }

    /// Puts an account into other groups.
    ///
    /// # Errors
    /// There is no such account, a group's name will not do, or the store cannot be written.
    pub async fn set_groups(&self, name: &str, groups: &[String]) -> Result<Account, AccountError> {
        let groups = account::groups(groups)?;
        self.change(name, |account| {
            account.groups.clone_from(&groups);
            Ok(())
        })
        .await
    }

    /// Sets the second factor, once a code shows that its owner has the secret; ends the account's sessions.
    ///
    /// # Errors
    /// There is no such account, the secret or the code is wrong, or the store cannot be written.
    pub async fn enrol(
        &self,
        name: &str,
        secret: &totp::TotpSecret,
        code: &str,
    ) -> Result<Account, AccountError> {
        let step = secret
            .matches(code, now(), None)
            .ok_or(AccountError::Code)?;
        self.change(name, |account| {
            account.totp = Some(account::SecondFactor {
                secret: secret.clone(),
                last_step: step,
            });
            account.epoch = account.epoch.saturating_add(1);
            Ok(())
        })
        .await
    }

    /// Takes the second factor away, for somebody who has lost it; ends the account's sessions.
    ///
    /// # Errors
    /// There is no such account, or the store cannot be written.
    pub async fn disenrol(&self, name: &str) -> Result<Account, AccountError> {
        self.change(name, |account| {
            account.totp = None;
            account.epoch = account.epoch.saturating_add(1);
            Ok(())
        })
        .await
    }

    /// Checks a name, a password and, where the account has a second factor, its code.
    ///
    /// The failure is counted before the password is looked at, so that guesses made at the same time count as well.
    ///
    /// # Errors
    /// Why not; not to be told to the client.
    pub async fn login(&self, name: &str, password: &str, code: &str) -> Result<Identity, Refused> {
        let (name, known) = match account::name(name) {
            Some(name) => (name, true),
            None => (String::new(), false),
        };
        let found = match known {
            true => self.read(&name).await?,
            false => None,
        };
        let Some(found) = found else {
            let counted = self.count_stranger(&name).await?;
            self.passwords.pretend(password).await?;
            return Err(counted.err().unwrap_or(Refused::Unknown));
        };
        let account = match self.count_failure(found).await? {
            Ok(account) => account,
            Err(locked) => {
                self.passwords.pretend(password).await?;
                return Err(locked);
            }
        };
        if !self.passwords.verify(password, &account.hash).await? {
            return Err(Refused::Password);
        }
        self.admit(&account, code).await
    }

    /// The password was right: checks the code, and counts from nought again.
    async fn admit(&self, account: &Account, code: &str) -> Result<Identity, Refused> {
        let hash = &account.hash;
        let mut refused = None;
        let changed = self
            .change(&account.name, |account| {
                refused = None;
                if account.hash != *hash {
                    refused = Some(Refused::Password);
                    return Ok(());
                }
                if let Some(factor) = &mut account.totp {
                    match factor
                        .secret
                        .matches(code.trim(), now(), Some(factor.last_step))
                    {
                        Some(step) => factor.last_step = step,
                        None => {
                            refused = Some(Refused::Code);
                            return Ok(());
                        }
                    }
                }
                account.failures = 0;
                account.locked_until = 0;
                account.last_login = now();
                Ok(())
            })
            .await;
        match (changed, refused) {
            (_, Some(refused)) => Err(refused),
            (Ok(account), None) => Ok(Identity::of(&account)),
            (Err(AccountError::Unknown(_)), None) => Err(Refused::Unknown),
            (Err(error), None) => Err(Refused::Store(error.to_string())),
        }
    }

    /// Whether the password is that of the account, for somebody who is signed in; counts like a login.
    ///
    /// # Errors
    /// Why not.
    pub async fn confirm(&self, name: &str, password: &str) -> Result<(), Refused> {
        let Some(found) = self.read(name).await? else {
            return Err(Refused::Unknown);
        };
        let account = self.count_failure(found).await??;
        if !self.passwords.verify(password, &account.hash).await? {
            return Err(Refused::Password);
        }
        let cleared = self.change(name, |account| {
            account.failures = 0;
            account.locked_until = 0;
            Ok(())
        });
        match cleared.await {
            Ok(_) => Ok(()),
            Err(error) => Err(Refused::Store(error.to_string())),
        }
    }

    /// Who an account is now, if nothing about its credentials has changed since `epoch`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn identity(&self, name: &str, epoch: u32) -> Result<Option<Identity>, StoreError> {
        let found = self.read(name).await?;
        Ok(found
            .filter(|(account, _)| account.epoch == epoch)
            .map(|(account, _)| Identity::of(&account)))
    }

    async fn count_failure(
        &self,
        found: (Account, i64),
    ) -> Result<Result<Account, Refused>, StoreError> {
        let (mut account, mut revision) = found;
        for _ in 0..ATTEMPTS {
            let now = now();
            if now < account.locked_until {
                return Ok(Err(Refused::Locked(account.failures)));
            }
            account.failures = account.failures.saturating_add(1);
            account.locked_until = now.saturating_add(delay(account.failures));
            if let Put::Stored(_) = self.store.put(&document(&account, revision)?, now).await? {
                return Ok(Ok(account));
            }
            match self.read(&account.name).await? {
                Some(found) => (account, revision) = found,
                None => return Ok(Err(Refused::Unknown)),
            }
        }
        Err(busy())
    }

    /// As [`Accounts::count_failure`], for a name that nobody has. Such names share 256 counters, so that they cannot
    /// fill the store.
    async fn count_stranger(&self, name: &str) -> Result<Result<(), Refused>, StoreError> {
        let key = random::fingerprint(name)
            .get(..2)
            .unwrap_or("00")
            .to_owned();
        for _ in 0..ATTEMPTS {
            let now = now();
            let found = self.store.get(STRANGER, &key, now).await?;
            let (mut account, revision) = match &found {
                Some(document) => (parse(document)?, document.revision),
                None => (Account::stranger(&key), 0),
            };
            if now < account.locked_until {
                return Ok(Err(Refused::Locked(account.failures)));
            }
            account.failures = account.failures.saturating_add(1);
            account.locked_until = now.saturating_add(delay(account.failures));
            let document = Document {
                kind: STRANGER,
                // Forgotten after a while, for nobody ever succeeds under such a name.
                expires: Some(account.locked_until.saturating_add(MAX_DELAY)),
                ..document(&account, revision)?
            };
            if let Put::Stored(_) = self.store.put(&document, now).await? {
                return Ok(Ok(()));
            }
        }
        Err(busy())
    }

    async fn change(
        &self,
        name: &str,
        mut change: impl FnMut(&mut Account) -> Result<(), AccountError>,
    ) -> Result<Account, AccountError> {
        for _ in 0..ATTEMPTS {
            let Some((mut account, revision)) = self.read(name).await? else {
                return Err(AccountError::Unknown(name.to_owned()));
            };
            let before = account.clone();
            change(&mut account)?;
            if account == before {
                return Ok(account);
            }
            let document = document(&account, revision)?;
            if let Put::Stored(_) = self.store.put(&document, now()).await? {
                return Ok(account);
            }
        }
        Err(busy().into())
    }

    async fn read(&self, name: &str) -> Result<Option<(Account, i64)>, StoreError> {
        let Some(name) = account::name(name) else {
            return Ok(None);
        };
        match self.store.get(ACCOUNT, &name, now()).await? {
            Some(document) => Ok(Some((parse(&document)?, document.revision))),
            None => Ok(None),
        }
    }
}

fn document(account: &Account, revision: i64) -> Result<Document, StoreError> {
    Ok(Document {
        kind: ACCOUNT,
        key: account.name.clone(),
        revision,
        label: String::new(),
        claim: None,
        body: serde_json::to_string(account).map_err(StoreError::of)?,
        expires: None,
    })
}

fn parse(document: &Document) -> Result<Account, StoreError> {
    // serde's message could repeat what stands in the document.
    serde_json::from_str(&document.body)
        .map_err(|_| StoreError(format!("account {} is damaged", document.key)))
}

fn busy() -> StoreError {
    StoreError("too many changes at the same time; try again".to_owned())
}

/// Seconds, for those who show when something ends.
pub const fn in_seconds(days: u32) -> Seconds {
    days as Seconds * 24 * 3600
}
