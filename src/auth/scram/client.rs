//! The client's side: pgveil logs in to the server with keys instead of a password. Follows `fe-auth-scram.c`.
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::keys::{decode_key, same};
use super::message::{Attributes, is_printable, text};
use super::{ScramError, ScramKeys, ServerKey, TLS_SERVER_END_POINT};

/// Of a server's verifier, where pgveil has the password and has to compute them: a second's work, and 250 times PostgreSQL's
/// own count.
const MAX_ITERATIONS: u32 = 1_000_000;

/// How the exchange is tied to the TLS connection it runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientBinding {
    /// No TLS, or no way to bind to it: gs2 flag `n`.
    None,
    /// TLS, but the server offered no SCRAM-SHA-256-PLUS: gs2 flag `y`.
    NotOffered,
    /// SCRAM-SHA-256-PLUS with this `tls-server-end-point` data.
    EndPoint(Vec<u8>),
}

/// An exchange that has sent, or is about to send, client-first-message.
#[derive(Debug)]
pub struct ClientExchange {
    binding: ClientBinding,
    nonce: String,
}

/// An exchange that waits for server-final-message.
#[derive(Debug)]
pub struct ServerFinal {
    server_key: ServerKey,
    auth_message: String,
}

impl ClientExchange {
    pub fn new(binding: ClientBinding, nonce: String) -> Self {
        ClientExchange { binding, nonce }
    }

    /// client-first-message. The user's name stays empty, as libpq leaves it: the startup packet has it.
    pub fn first_message(&self) -> String {
        format!("{}{}", self.gs2_header(), self.bare())
    }

    fn gs2_header(&self) -> String {
        match self.binding {
            ClientBinding::None => "n,,".to_owned(),
            ClientBinding::NotOffered => "y,,".to_owned(),
            ClientBinding::EndPoint(_) => format!("p={TLS_SERVER_END_POINT},,"),
        }
    }

    fn bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The keys of a password under the salt and the count that server-first-message names.
    pub fn keys_of(&self, password: &str, server_first: &[u8]) -> Result<ScramKeys, ScramError> {
        let (_, salt, iterations) = self.challenge(text(server_first)?)?;
        match iterations <= MAX_ITERATIONS {
            true => Ok(ScramKeys::of_password(password, salt, iterations)),
            false => Err(ScramError::Malformed("there are too many iterations")),
        }
    }

    /// Nonce, salt and iterations of server-first-message.
    fn challenge<'m>(&self, server_first: &'m str) -> Result<(&'m str, Vec<u8>, u32), ScramError> {
        let mut attributes = Attributes::of(server_first);
        let nonce = attributes.value('r')?;
        let servers_part = nonce.strip_prefix(self.nonce.as_str());
        if !servers_part.is_some_and(is_printable) {
            return Err(ScramError::Malformed(
                "the nonce is not the client's continued",
            ));
        }
        let salt = BASE64.decode(attributes.value('s')?);
        let salt = salt.map_err(|_| ScramError::Malformed("the salt is not base64"))?;
        let iterations = attributes.value('i')?.parse::<u32>();
        let iterations =
            iterations.map_err(|_| ScramError::Malformed("the iterations are no number"))?;
        Ok((nonce, salt, iterations))
    }

    /// Answers server-first-message with client-final-message.
    pub fn final_message(
        self,
        server_first: &[u8],
        keys: &ScramKeys,
    ) -> Result<(String, ServerFinal), ScramError> {
        let server_first = text(server_first)?;
        let (nonce, salt, iterations) = self.challenge(server_first)?;
        // A ClientKey belongs to one salt and one count; with others its proof could only fail.
        if salt != keys.salt || iterations != keys.iterations {
            return Err(ScramError::OtherVerifier);
        }
        let mut binding = self.gs2_header().into_bytes();
        if let ClientBinding::EndPoint(data) = &self.binding {
            binding.extend(data);
        }
        let without_proof = format!("c={},r={nonce}", BASE64.encode(binding));
        let auth_message = format!("{},{server_first},{without_proof}", self.bare());
        let proof = keys.client_key.proof(auth_message.as_bytes());
        let message = format!("{without_proof},p={}", BASE64.encode(proof));
        let next = ServerFinal {
            server_key: keys.server_key.clone(),
            auth_message,
        };
        Ok((message, next))
    }
}

impl ServerFinal {
    /// Checks server-final-message: that the server knows the verifier, and is no impostor.
    pub fn verify(self, message: &[u8]) -> Result<(), ScramError> {
        let mut attributes = Attributes::of(text(message)?);
        let piece = attributes.piece()?;
        if let Some(error) = piece.strip_prefix("e=") {
            return Err(ScramError::ServerError(error.to_owned()));
        }
        let signature = piece.strip_prefix("v=").and_then(decode_key);
        let signature = signature.ok_or(ScramError::Malformed("the signature is not one"))?;
        let expected = self.server_key.signature(self.auth_message.as_bytes());
        match same(&expected, &signature) {
            true => Ok(()),
            false => Err(ScramError::ServerSignature),
        }
    }
}
