//! An issuer of tokens over real TLS: it describes itself, publishes keys, and signs.
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, Mac};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::Certificates;

/// How a key signs.
enum Kind {
    Rsa(RsaKeyPair),
    Es(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key with its identifier.
pub struct Key {
    pub id: String,
    kind: Kind,
}

impl Key {
    pub fn rsa(id: &str) -> Key {
        Key::of(
            id,
            Kind::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")),
        )
    }

    pub fn es(id: &str) -> Key {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Key::of(id, Kind::Es(pair.expect("a key")))
    }

    pub fn ed(id: &str) -> Key {
        Key::of(id, Kind::Ed(Ed25519KeyPair::generate().expect("a key")))
    }

    fn of(id: &str, kind: Kind) -> Key {
        Key {
            id: id.to_owned(),
            kind,
        }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Rsa(_) => "RS256",
            Kind::Es(_) => "ES256",
            Kind::Ed(_) => "EdDSA",
        }
    }

    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        match &self.kind {
            Kind::Rsa(pair) => {
                // RSAPublicKey of 2048 bits: the modulus behind nine bytes, the exponent 65537 at the end.
                let der = pair.public_key().as_ref();
                assert_eq!((der.len(), &der[265..]), (270, &[2, 3, 1, 0, 1][..]));
                json!({ "kty": "RSA", "kid": self.id, "use": "sig", "alg": "RS256", "n": text(&der[9..265]), "e": "AQAB" })
            }
            Kind::Es(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": text(&point[1..33]), "y": text(&point[33..65]) })
            }
            Kind::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.kind {
            Kind::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let random = SystemRandom::new();
                let signed = pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.expect("signed");
                signature
            }
            Kind::Es(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).expect("signed");
                signature.as_ref().to_vec()
            }
            Kind::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.id });
        self.token_with(&header, claims)
    }

    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", BASE64URL.encode(signature))
    }

    /// The attack of CVE-2015-9235: a MAC by what everybody knows of the key.
    pub fn by_mac(&self, claims: &Value) -> String {
        let message = message(
            &json!({ "alg": "HS256", "typ": "JWT", "kid": self.id }),
            claims,
        );
        let public = self.jwk().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(public.as_bytes()).expect("a key");
        mac.update(message.as_bytes());
        format!(
            "{message}.{}",
            BASE64URL.encode(mac.finalize().into_bytes())
        )
    }
}

pub fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock").as_secs()
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    /// What it was asked for.
    asked: Vec<String>,
    is_away: bool,
}

pub struct Issuer {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    /// Serves until the test ends, with these certificates.
    pub fn start(certificates: &Certificates) -> Issuer {
        let chain = CertificateDer::pem_slice_iter(certificates.cert_pem.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(certificates.key_pem.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = Issuer {
            port: listener.local_addr().expect("an address").port(),
            state: Arc::default(),
        };
        let (config, state, name) = (Arc::new(config), Arc::clone(&issuer.state), issuer.name());
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                if state.lock().expect("state").is_away {
                    continue;
                }
                let (config, state, name) = (Arc::clone(&config), Arc::clone(&state), name.clone());
                thread::spawn(move || serve(tcp, config, &state, &name));
            }
        });
        issuer
    }

    /// `iss` of its tokens.
    pub fn name(&self) -> String {
        format!("https://localhost:{}/realms/staff", self.port)
    }

    pub fn publish(&self, keys: &[&Key]) {
        let keys = keys.iter().map(|key| key.jwk()).collect();
        self.state.lock().expect("state").keys = keys;
    }

    /// Closes whatever comes, or no more.
    pub fn be_away(&self, away: bool) {
        self.state.lock().expect("state").is_away = away;
    }

    /// How often its keys were asked for.
    pub fn times_asked(&self) -> usize {
        let state = self.state.lock().expect("state");
        let asked = state.asked.iter();
        asked.filter(|path| path.ends_with("/keys")).count()
    }

    /// Claims of a token that holds for an hour.
    pub fn claims(&self, person: &str, groups: &[&str]) -> Value {
        json!({
            "iss": self.name(), "aud": "pgveil", "sub": format!("id of {person}"), "preferred_username": person,
            "groups": groups, "office": "north", "iat": now(), "exp": now() + 3600, "jti": "canary-of-a-token",
        })
    }
}

fn serve(tcp: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>, name: &str) {
    let Ok(tls) = ServerConnection::new(config) else {
        return;
    };
    let mut stream = BufReader::new(StreamOwned::new(tls, tcp));
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while stream.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = {
            let mut state = state.lock().expect("state");
            if state.is_away {
                return;
            }
            state.asked.push(path.clone());
            match path.as_str() {
                "/realms/staff/.well-known/openid-configuration" => {
                    let keys = format!("{name}/keys");
                    Some(json!({ "issuer": name, "jwks_uri": keys }).to_string())
                }
                "/realms/staff/keys" => Some(json!({ "keys": state.keys }).to_string()),
                _ => None,
            }
        };
        let (status, body) = match body {
            Some(body) => ("200 OK", body),
            None => ("404 Not Found", String::new()),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = stream.get_mut();
        if stream.write_all(answer.as_bytes()).is_err() || stream.flush().is_err() {
            return;
        }
    }
}
