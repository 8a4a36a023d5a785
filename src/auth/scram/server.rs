//! The server's side: pgveil checks a client. Follows `auth-scram.c`.
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::keys::decode_key;
use super::message::{Attributes, is_printable, text};
use super::{ScramError, ScramKeys, Secret, TLS_SERVER_END_POINT};

/// The mechanism the client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    ScramSha256,
    ScramSha256Plus,
}

/// An exchange that waits for the client's first message.
#[derive(Debug)]
pub struct ServerExchange {
    pub mechanism: Mechanism,
    /// `tls-server-end-point` data; `Some` exactly where SCRAM-SHA-256-PLUS was offered.
    pub end_point: Option<Vec<u8>>,
    pub secret: Secret,
    /// The user has no verifier or may not log in: go through the motions, then fail.
    pub doomed: bool,
}

/// An exchange that waits for the client's final message.
#[derive(Debug)]
pub struct ServerFirst {
    secret: Secret,
    doomed: bool,
    /// What `c=` must be: the gs2 header and the channel-binding data, as base64.
    binding: String,
    nonce: String,
    /// client-first-message-bare "," server-first-message ",": the AuthMessage so far.
    auth_message: String,
}

/// The client has proved that it knows the password.
#[derive(Debug)]
pub struct Accepted {
    /// server-final-message, for AuthenticationSASLFinal.
    pub message: Vec<u8>,
    pub keys: ScramKeys,
}

impl ServerExchange {
    /// Answers client-first-message with server-first-message. `nonce` is the server's part, fresh.
    pub fn first(self, message: &[u8], nonce: &str) -> Result<(Vec<u8>, ServerFirst), ScramError> {
        let message = text(message)?;
        let mut attributes = Attributes::of(message);
        let flag = attributes.piece()?;
        self.check_flag(flag)?;
        match attributes.piece()? {
            "" => {}
            authzid if authzid.starts_with("a=") => return Err(ScramError::AuthorizationIdentity),
            _ => return Err(ScramError::Malformed("the gs2 header is not one")),
        }
        let bare = attributes.rest();
        let bare = bare.ok_or(ScramError::Malformed("an attribute is missing"))?;
        if bare.starts_with("m=") {
            return Err(ScramError::Extension);
        }
        // The name counts that the startup packet gave; PostgreSQL ignores this one too.
        attributes.value('n')?;
        let client_nonce = attributes.value('r')?;
        if !is_printable(client_nonce) {
            return Err(ScramError::Malformed("the nonce is not printable"));
        }
        let mut binding = format!("{flag},,").into_bytes();
        if self.mechanism == Mechanism::ScramSha256Plus {
            binding.extend(self.end_point.unwrap_or_default());
        }
        let nonce = format!("{client_nonce}{nonce}");
        let salt = BASE64.encode(&self.secret.salt);
        let answer = format!("r={nonce},s={salt},i={}", self.secret.iterations);
        let next = ServerFirst {
            auth_message: format!("{bare},{answer},"),
            binding: BASE64.encode(binding),
            nonce,
            secret: self.secret,
            doomed: self.doomed,
        };
        Ok((answer.into_bytes(), next))
    }

    /// The gs2-cbind-flag (RFC 5802, section 6).
    fn check_flag(&self, flag: &str) -> Result<(), ScramError> {
        match (flag, self.mechanism) {
            ("n", Mechanism::ScramSha256) => Ok(()),
            ("y", Mechanism::ScramSha256) if self.end_point.is_none() => Ok(()),
            ("y", Mechanism::ScramSha256) => Err(ScramError::Downgrade),
            ("n" | "y", Mechanism::ScramSha256Plus) => Err(ScramError::Malformed(
                "SCRAM-SHA-256-PLUS was chosen without channel binding",
            )),
            (flag, mechanism) => match (flag.strip_prefix("p="), mechanism) {
                (None, _) => Err(ScramError::Malformed("the gs2 header is not one")),
                (Some(_), Mechanism::ScramSha256) => Err(ScramError::Malformed(
                    "SCRAM-SHA-256 was chosen with channel binding",
                )),
                (Some(TLS_SERVER_END_POINT), _) if self.end_point.is_some() => Ok(()),
                (Some(_), _) => Err(ScramError::BindingType),
            },
        }
    }
}

impl ServerFirst {
    /// Checks client-final-message; gives the client's keys and the answer that proves the server.
    pub fn finish(self, message: &[u8]) -> Result<Accepted, ScramError> {
        let message = text(message)?;
        // The proof is the last attribute; what precedes it is covered by the proof.
        let split = message.rsplit_once(",p=");
        let (without_proof, proof) = split.ok_or(ScramError::Malformed("the proof is missing"))?;
        let mut attributes = Attributes::of(without_proof);
        let binding = attributes.value('c')?;
        if binding != self.binding {
            return Err(ScramError::BindingMismatch);
        }
        if attributes.value('r')? != self.nonce {
            return Err(ScramError::Malformed("the nonce does not match"));
        }
        let proof = decode_key(proof).ok_or(ScramError::Malformed("the proof is not one"))?;
        let auth_message = format!("{}{without_proof}", self.auth_message);
        let stored_key = &self.secret.stored_key;
        let client_key = stored_key.client_key(&proof, auth_message.as_bytes());
        let client_key = match self.doomed {
            true => None,
            false => client_key,
        };
        let signature = self.secret.server_key.signature(auth_message.as_bytes());
        Ok(Accepted {
            keys: ScramKeys {
                client_key: client_key.ok_or(ScramError::Proof)?,
                server_key: self.secret.server_key,
                salt: self.secret.salt,
                iterations: self.secret.iterations,
            },
            message: format!("v={}", BASE64.encode(signature)).into_bytes(),
        })
    }
}
