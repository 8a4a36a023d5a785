//! `tokens`: a client whose password is a JSON Web Token (RFC 7519) of an issuer that the settings name.
//!
//! * [`jwt`]: what is signed, and by what algorithm. Pure.
//! * [`keys`]: the issuer's public keys (RFC 7517). Pure.
//! * [`claims`]: what a token says, held against what it has to say. Pure.
//! * [`issuer`]: asks the issuer for its keys, and keeps them.
//!
//! Nothing of a token is in an error, a log line or a record: not what it is made of, and not what it claims.
pub mod claims;
mod issuer;
mod jwt;
pub mod keys;

use std::time::SystemTime;

pub use claims::{Bearer, ClaimName, Rule};
pub use issuer::{Issuer, KeySource, Lifetime};
use keys::Keys;

/// Why a token makes nobody anybody. For the log; says nothing that the token says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("it is no signed JSON Web Token")]
    Malformed,
    #[error("it is signed by an algorithm that is not taken, or by none")]
    Algorithm,
    #[error("its header asks for something that is not known here (`typ`, `cty` or `crit`)")]
    Header,
    /// The issuer may have got another one since its keys were asked for.
    #[error("the issuer has no key that it could be signed by")]
    UnknownKey,
    #[error("the issuer has more than one key that it could be signed by")]
    AmbiguousKey,
    #[error("its signature is not the issuer's")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired, or says not when it does")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it has no usable claim `{0}`")]
    Claim(String),
    /// Says nothing of the token.
    #[error("the keys of the issuer are not known: {0}")]
    NoKeys(String),
}

/// Who has this token. What it claims is looked at once its signature holds.
///
/// # Errors
/// Why it is nobody's.
pub fn read(token: &str, keys: &Keys, rule: &Rule, now: SystemTime) -> Result<Bearer, Refused> {
    let signed = jwt::Signed::parse(token)?;
    let key = keys.find(signed.key_id(), signed.algorithm())?;
    if !key.has_signed(signed.algorithm(), signed.message(), signed.signature()) {
        return Err(Refused::Signature);
    }
    rule.bearer(&signed.claims()?, now)
}

#[cfg(test)]
mod tests;
