//! SCRAM-SHA-256 (RFC 5802, 7677) on both sides, without I/O.
//!
//! pgwire has sans-IO SCRAM types too. They keep the AuthMessage and the client's proof to themselves, from which
//! pgveil must take the ClientKey, and their client side starts from a password, which pgveil has of the accounts of
//! token logins alone.
mod client;
mod keys;
mod message;
mod server;

pub use client::{ClientBinding, ClientExchange, ServerFinal};
pub use keys::{ClientKey, MockSecret, ScramKeys, Secret, SecretError, ServerKey, StoredKey};
pub use server::{Accepted, Mechanism, ServerExchange, ServerFirst};

/// Name of the mechanism without channel binding.
pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
/// Name of the mechanism with channel binding.
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// PostgreSQL's `PG_MAX_SASL_MESSAGE_LENGTH`: no SCRAM message is longer, in bytes.
pub const MAX_SASL_MESSAGE: usize = 1024;
/// The only type of channel binding that PostgreSQL has.
const TLS_SERVER_END_POINT: &str = "tls-server-end-point";

/// Why an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed(&'static str),
    /// The client does not know that SCRAM-SHA-256-PLUS was offered: somebody may have taken it out of the list.
    #[error("SCRAM channel binding negotiation error")]
    Downgrade,
    #[error("SCRAM channel binding check failed")]
    BindingMismatch,
    #[error("client uses authorization identity, but it is not supported")]
    AuthorizationIdentity,
    #[error("unsupported SCRAM channel-binding type")]
    BindingType,
    #[error("client requires an unsupported SCRAM extension")]
    Extension,
    /// The proof is wrong, or there is nothing it could prove.
    #[error("the proof does not match")]
    Proof,
    #[error("the server's signature does not match")]
    ServerSignature,
    #[error("the server answered: {0}")]
    ServerError(String),
    /// The server's verifier has another salt or iteration count than the one the client proved itself against.
    #[error("the server's verifier is another one than pgveil's")]
    OtherVerifier,
}

/// A fresh nonce: 18 random bytes as base64, as in PostgreSQL's `SCRAM_RAW_NONCE_LEN`.
pub fn nonce() -> Result<String, rustls::crypto::GetRandomFailed> {
    use base64::Engine;
    let mut raw = [0; 18];
    keys::random(&mut raw)?;
    Ok(base64::engine::general_purpose::STANDARD.encode(raw))
}

#[cfg(test)]
mod tests;
