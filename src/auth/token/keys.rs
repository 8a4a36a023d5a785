//! The public keys of an issuer: a JSON Web Key Set (RFC 7517), as far as it can be used.
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde::Deserialize;
use serde_json::Value;

use super::Refused;
use super::jwt::Algorithm;

/// Keys of a set that are looked at.
const MAX_KEYS: usize = 100;
/// First byte of a point that is written with both coordinates (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A curve of NIST's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    /// Bytes of a coordinate.
    const fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

/// What a key is made of. What it is made of decides by which algorithms it can have signed, and not what the token says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Point(Curve, Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    /// The one algorithm that the issuer uses it for, where it says so.
    only: Option<Algorithm>,
    material: Material,
}

/// The keys of an issuer that can have signed something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Keys of other kinds and for other purposes are passed over. `None`: it is no set of keys.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let set: RawSet = serde_json::from_slice(text).ok()?;
        let keys = set.keys.into_iter().take(MAX_KEYS);
        Some(Keys(keys.filter_map(key).collect()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one key of this identifier, or of any where there is none, that can have signed so.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, Refused> {
        let mut fitting = self.0.iter().filter(|key| {
            (id.is_none() || key.id.as_deref() == id)
                && key.only.is_none_or(|only| only == algorithm)
                && key.verification(algorithm).is_some()
        });
        match (fitting.next(), fitting.next()) {
            (None, _) => Err(Refused::UnknownKey),
            (Some(key), None) => Ok(key),
            (Some(_), Some(_)) => Err(Refused::AmbiguousKey),
        }
    }
}

enum Verification {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

impl Key {
    fn verification(&self, algorithm: Algorithm) -> Option<Verification> {
        use Verification::{Other, Rsa};
        Some(match (&self.material, algorithm) {
            (Material::Rsa { .. }, Algorithm::Rs256) => Rsa(&RSA_PKCS1_2048_8192_SHA256),
            (Material::Rsa { .. }, Algorithm::Rs384) => Rsa(&RSA_PKCS1_2048_8192_SHA384),
            (Material::Rsa { .. }, Algorithm::Rs512) => Rsa(&RSA_PKCS1_2048_8192_SHA512),
            (Material::Rsa { .. }, Algorithm::Ps256) => Rsa(&RSA_PSS_2048_8192_SHA256),
            (Material::Rsa { .. }, Algorithm::Ps384) => Rsa(&RSA_PSS_2048_8192_SHA384),
            (Material::Rsa { .. }, Algorithm::Ps512) => Rsa(&RSA_PSS_2048_8192_SHA512),
            (Material::Point(Curve::P256, _), Algorithm::Es256) => Other(&ECDSA_P256_SHA256_FIXED),
            (Material::Point(Curve::P384, _), Algorithm::Es384) => Other(&ECDSA_P384_SHA384_FIXED),
            (Material::Point(Curve::P521, _), Algorithm::Es512) => Other(&ECDSA_P521_SHA512_FIXED),
            (Material::Ed25519(_), Algorithm::EdDsa) => Other(&ED25519),
            _ => return None,
        })
    }

    /// Whether the signature is this key's.
    pub fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (self.verification(algorithm), &self.material) {
            (Some(Verification::Rsa(parameters)), Material::Rsa { modulus, exponent }) => {
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(parameters, message, signature).is_ok()
            }
            (
                Some(Verification::Other(algorithm)),
                Material::Point(_, bytes) | Material::Ed25519(bytes),
            ) => UnparsedPublicKey::new(algorithm, bytes)
                .verify(message, signature)
                .is_ok(),
            _ => false,
        }
    }
}

fn key(raw: Value) -> Option<Key> {
    let raw: RawKey = serde_json::from_value(raw).ok()?;
    let signs = raw.usage.is_none_or(|usage| usage == "sig")
        && raw
            .key_ops
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    // An algorithm that is not known here is none that this key could be used with.
    let only = match raw.alg {
        Some(name) => Some(Algorithm::named(&name)?),
        None => None,
    };
    let material = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) => Material::Rsa {
            modulus: number(raw.n?)?,
            exponent: number(raw.e?)?,
        },
        ("EC", Some(curve)) => {
            let curve = match curve {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                "P-521" => Curve::P521,
                _ => return None,
            };
            let (x, y) = (bytes(raw.x?)?, bytes(raw.y?)?);
            if x.len() != curve.width() || y.len() != curve.width() {
                return None;
            }
            Material::Point(curve, [&[UNCOMPRESSED][..], &x, &y].concat())
        }
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(raw.x?)?),
        _ => return None,
    };
    signs.then_some(Key {
        id: raw.kid,
        only,
        material,
    })
}

fn bytes(text: String) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

/// A number without zeros in front: some issuers write them, and what verifies takes none.
fn number(text: String) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    bytes.get(start..).map(<[u8]>::to_vec)
}
