//! Password verifiers as the server keeps them.
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use super::CatalogError;

/// A role's stored secret and how long it is good for.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// `pg_authid.rolpassword`: `SCRAM-SHA-256$...` or `md5...`.
    pub secret: String,
    /// `VALID UNTIL`; `None`: for ever.
    pub valid_until: Option<SystemTime>,
}

/// A verifier lets its holder log in: it is not printed.
impl fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("secret", &"...")
            .field("valid_until", &self.valid_until)
            .finish()
    }
}

/// By a hash of the name: a name comes from a client, and no byte from a client reaches the catalog connection.
const VERIFIER: &str = "SELECT rolpassword, extract(epoch FROM rolvaliduntil)::float8 \
     FROM pg_authid WHERE sha256(convert_to(rolname::text, 'UTF8')) = $1";

/// `None` where there is no such role, or it has no password.
pub async fn verifier(client: &Client, user: &str) -> Result<Option<Verifier>, CatalogError> {
    let failed =
        |error| CatalogError::query("password verifiers (SELECT on pg_authid is needed)", &error);
    let name = Sha256::digest(user.as_bytes()).to_vec();
    let Some(row) = client.query_opt(VERIFIER, &[&name]).await.map_err(failed)? else {
        return Ok(None);
    };
    let secret: Option<String> = row.try_get(0).map_err(failed)?;
    let until: Option<f64> = row.try_get(1).map_err(failed)?;
    Ok(secret.map(|secret| Verifier {
        secret,
        valid_until: until.and_then(instant),
    }))
}

/// Seconds since 1970; `infinity`, and what no clock can hold, is for ever, `-infinity` long past.
fn instant(epoch: f64) -> Option<SystemTime> {
    if epoch <= 0.0 {
        return Some(UNIX_EPOCH);
    }
    Duration::try_from_secs_f64(epoch)
        .ok()
        .and_then(|since| UNIX_EPOCH.checked_add(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_is_for_ever_and_minus_infinity_is_past() {
        assert_eq!(instant(f64::INFINITY), None);
        assert_eq!(instant(f64::NEG_INFINITY), Some(UNIX_EPOCH));
        assert_eq!(instant(1.5), Some(UNIX_EPOCH + Duration::from_millis(1500)));
    }

    #[test]
    fn a_verifier_is_not_printed() {
        let verifier = Verifier {
            secret: "SCRAM-SHA-256$4096:...".to_owned(),
            valid_until: None,
        };
        assert!(!format!("{verifier:?}").contains("SCRAM"));
    }
}
