//! The outside of a token: the compact form of a JSON Web Signature (RFC 7515, section 7.1).
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Refused;

/// How a token is signed: names of RFC 7518, 8037 and 9864. `none` and the HMACs are not among them: whoever knows the
/// public key could make the latter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Algorithm::Rs256,
            "RS384" => Algorithm::Rs384,
            "RS512" => Algorithm::Rs512,
            "PS256" => Algorithm::Ps256,
            "PS384" => Algorithm::Ps384,
            "PS512" => Algorithm::Ps512,
            "ES256" => Algorithm::Es256,
            "ES384" => Algorithm::Es384,
            "ES512" => Algorithm::Es512,
            "EdDSA" | "Ed25519" => Algorithm::EdDsa,
            _ => return None,
        })
    }
}

/// What this module goes by. Keys that a token brings along (`jwk`, `jku`, `x5c`, `x5u`) are not looked at.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<Value>,
    crit: Option<Value>,
}

/// `typ` of what people log in with: nothing, a JWT, an access token (RFC 9068). Others are made for something else, such as
/// logouts.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token whose signature nobody has looked at yet.
pub struct Signed<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    message: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Signed<'a> {
    /// # Errors
    /// It is none, or signed in a way that is not taken.
    pub fn parse(token: &'a str) -> Result<Self, Refused> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
        if payload.contains('.') {
            return Err(Refused::Malformed);
        }
        let header: Header =
            serde_json::from_slice(&decoded(header)?).map_err(|_| Refused::Malformed)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(Refused::Algorithm)?;
        let typ = header.typ.map(|typ| typ.to_ascii_lowercase());
        let known = typ.is_none_or(|typ| {
            let typ = typ.strip_prefix("application/").unwrap_or(&typ);
            TYPES.contains(&typ)
        });
        if !known || header.cty.is_some() || header.crit.is_some() {
            return Err(Refused::Header);
        }
        Ok(Signed {
            algorithm,
            key_id: header.kid,
            message,
            payload,
            signature: decoded(signature)?,
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Of the key that it says to be signed by.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What the signature is over.
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// To be asked for once the signature holds.
    ///
    /// # Errors
    /// They are no JSON object.
    pub fn claims(&self) -> Result<Map<String, Value>, Refused> {
        serde_json::from_slice(&decoded(self.payload)?).map_err(|_| Refused::Malformed)
    }
}

/// Without padding, and with no bit left over: a token has one way to be written.
fn decoded(part: &str) -> Result<Vec<u8>, Refused> {
    BASE64URL.decode(part).map_err(|_| Refused::Malformed)
}
