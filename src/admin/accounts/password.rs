//! Passwords: Argon2id (RFC 9106) with the parameters OWASP names first among equals, 19 MiB and 2 passes.
use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use tokio::sync::Semaphore;

use super::random;
use crate::export::store::StoreError;

/// Characters a password has at least (NIST SP 800-63B asks for 8 and recommends 15 where it stands alone).
pub const MIN_LENGTH: usize = 12;
/// Bytes at most: hashing takes time and memory.
pub const MAX_BYTES: usize = 1024;
/// Hashes computed at the same time, each with 19 MiB; who comes then waits.
const AT_ONCE: usize = 2;

/// A password that will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    #[error("a password has at least {MIN_LENGTH} characters")]
    Short,
    #[error("a password has at most {MAX_BYTES} bytes")]
    Long,
    #[error("a password has more than a few different characters and is not the name")]
    Plain,
}

/// Whether a password will do for somebody of these names.
///
/// # Errors
/// Why not.
pub fn check(password: &str, names: &[&str]) -> Result<(), WeakPassword> {
    if password.chars().count() < MIN_LENGTH {
        return Err(WeakPassword::Short);
    }
    if password.len() > MAX_BYTES {
        return Err(WeakPassword::Long);
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    let is_name = names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(password.trim()));
    if different.len() < 5 || is_name {
        return Err(WeakPassword::Plain);
    }
    Ok(())
}

/// Hashes passwords, on threads where nothing else waits.
#[derive(Debug, Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    /// How often a password was compared with a hash.
    #[cfg(test)]
    pub compared: Arc<std::sync::atomic::AtomicUsize>,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            #[cfg(test)]
            compared: Arc::default(),
        }
    }
}

impl Passwords {
    /// The hash to store.
    ///
    /// # Errors
    /// There are no random bytes, or no memory.
    pub async fn hash(&self, password: &str) -> Result<String, StoreError> {
        let password = password.to_owned();
        self.in_turn(move || hash(&password)).await?
    }

    /// Whether a password is the one of a hash.
    ///
    /// # Errors
    /// There is no memory.
    pub async fn verify(&self, password: &str, stored: &str) -> Result<bool, StoreError> {
        if password.len() > MAX_BYTES {
            self.pretend("").await?;
            return Ok(false);
        }
        let (password, stored) = (password.to_owned(), stored.to_owned());
        let passwords = self.clone();
        self.in_turn(move || passwords.compare(&password, &stored))
            .await
    }

    fn compare(&self, password: &str, stored: &str) -> bool {
        let Ok(stored) = PasswordHash::new(stored) else {
            return false;
        };
        #[cfg(test)]
        self.compared
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Argon2::default()
            .verify_password(password.as_bytes(), &stored)
            .is_ok()
    }

    /// Takes as long as [`Passwords::verify`], for a name that nobody has.
    ///
    /// # Errors
    /// There is no memory.
    pub async fn pretend(&self, password: &str) -> Result<(), StoreError> {
        static NOBODYS: OnceLock<String> = OnceLock::new();
        let password: String = match password.len() > MAX_BYTES {
            true => String::new(),
            false => password.to_owned(),
        };
        let passwords = self.clone();
        self.in_turn(move || {
            let stored = NOBODYS.get_or_init(|| hash("the password of nobody").unwrap_or_default());
            passwords.compare(&password, stored);
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let _turn = self.turns.acquire().await.map_err(StoreError::of)?;
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| StoreError("a password could not be hashed".to_owned()))
    }
}

fn hash(password: &str) -> Result<String, StoreError> {
    let failed = |_| StoreError("a password could not be hashed".to_owned());
    let mut salt = [0_u8; 16];
    random::fill(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).map_err(failed)?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(failed)?;
    Ok(hash.to_string())
}
