//! Tokens of an issuer whose keys are at hand, and what others make of them.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
/// A public key of 1024 bits: too short to be worth anything.
const SHORT_RSA: &str = "wqWDV6yLbJ0Xj0Q2b8uZ0mJr0v7L3mZ5qY1Qd4jv7mSxk0hK3V9m2n6t5o8u1r4y7w0z3c6f9i2l5o8r1u4x7a0d3g6j9m2p5s8v1y4b7e0h3k6n9q2t5w8z1c4f7i0l3o6r9u2x5a8d1g4j7m0p";

struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Self {
        Issuer(Ed25519KeyPair::generate().unwrap())
    }

    fn jwk(&self, kid: &str) -> Value {
        let x = BASE64URL.encode(self.0.public_key().as_ref());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": x })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64URL.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = BASE64URL.encode(self.0.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn keys(keys: &[Value]) -> Keys {
    Keys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn rule() -> Rule {
    Rule {
        issuer: "https://login.example.com".to_owned(),
        audiences: BTreeSet::from(["pgveil".to_owned()]),
        person: ClaimName::new("preferred_username"),
        groups: ClaimName::new("/realm_access/roles"),
        attributes: BTreeMap::from([("office".into(), ClaimName::new("office"))]),
        leeway: Duration::from_secs(30),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://login.example.com", "aud": ["account", "pgveil"], "sub": "1", "exp": NOW + 300, "iat": NOW,
        "nbf": NOW, "preferred_username": "alice", "realm_access": { "roles": ["support"] }, "office": 7,
    })
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "JWT", "kid": "1" })
}

fn at(seconds: u64) -> std::time::SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The outcome with one claim changed; `null` takes it out.
fn with(claim: &str, value: Value) -> Result<Bearer, Refused> {
    let issuer = Issuer::new();
    let mut claims = claims();
    match value {
        Value::Null => {
            claims.as_object_mut().unwrap().remove(claim);
        }
        value => claims[claim] = value,
    }
    let token = issuer.sign(&header(), &claims);
    read(&token, &keys(&[issuer.jwk("1")]), &rule(), at(NOW))
}

#[test]
fn a_token_says_who_has_it() {
    let bearer = with("none", Value::Null).unwrap();
    assert_eq!(bearer.person, "alice");
    assert_eq!(bearer.groups, BTreeSet::from(["support".to_owned()]));
    assert_eq!(
        bearer.attributes.get("office").map(String::as_str),
        Some("7")
    );
    assert_eq!(bearer.expires, at(NOW + 330));
}

#[test]
fn what_is_not_for_here_and_now_is_nobodys() {
    #[rustfmt::skip]
    let cases = [
        ("iss", json!("https://login.example.com/"), Refused::Issuer),
        ("iss", Value::Null, Refused::Issuer),
        ("aud", json!("other"), Refused::Audience),
        ("aud", json!(["other", 7]), Refused::Audience),
        ("aud", json!({ "pgveil": true }), Refused::Audience),
        ("aud", Value::Null, Refused::Audience),
        ("exp", json!(NOW - 31), Refused::Expired),
        ("exp", json!(NOW - 30), Refused::Expired),
        ("exp", json!("4000000000"), Refused::Expired),
        ("exp", json!(1e300), Refused::Expired),
        ("exp", json!(-1), Refused::Expired),
        ("exp", Value::Null, Refused::Expired),
        ("nbf", json!(NOW + 31), Refused::NotYet),
        ("nbf", json!("soon"), Refused::NotYet),
        ("iat", json!(NOW + 31), Refused::NotYet),
        ("preferred_username", Value::Null, Refused::Claim("preferred_username".to_owned())),
        ("preferred_username", json!(""), Refused::Claim("preferred_username".to_owned())),
        ("preferred_username", json!(" alice"), Refused::Claim("preferred_username".to_owned())),
        ("preferred_username", json!("al\nice"), Refused::Claim("preferred_username".to_owned())),
        ("preferred_username", json!(["alice"]), Refused::Claim("preferred_username".to_owned())),
        ("realm_access", json!({ "roles": [["support"]] }), Refused::Claim("/realm_access/roles".to_owned())),
        ("realm_access", json!({ "roles": 7 }), Refused::Claim("/realm_access/roles".to_owned())),
    ];
    for (claim, value, expected) in cases {
        assert_eq!(
            with(claim, value.clone()),
            Err(expected),
            "{claim}: {value}"
        );
    }
    for (claim, value) in [
        ("aud", json!("pgveil")),
        ("exp", json!(NOW - 29)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("nbf", json!(NOW + 30)),
        ("nbf", Value::Null),
        ("iat", Value::Null),
        ("realm_access", Value::Null),
        ("office", json!(["a"])),
    ] {
        assert!(with(claim, value.clone()).is_ok(), "{claim}: {value}");
    }
}

#[test]
fn an_address_is_a_name_once_it_is_verified() {
    let rule = Rule {
        person: ClaimName::new("email"),
        ..rule()
    };
    let read = |verified: Value| {
        let mut claims = claims();
        claims["email"] = json!("alice@example.com");
        claims["email_verified"] = verified;
        rule.bearer(claims.as_object().unwrap(), at(NOW))
    };
    assert!(read(json!(true)).is_ok());
    for verified in [json!(false), json!("true"), Value::Null] {
        assert_eq!(
            read(verified),
            Err(Refused::Claim("email_verified".to_owned()))
        );
    }
}

#[test]
fn a_header_says_how_it_is_signed_and_nothing_that_is_not_known() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk("1")]);
    let read = |header: Value| read(&issuer.sign(&header, &claims()), &keys, &rule(), at(NOW));
    for header in [
        header(),
        json!({ "alg": "Ed25519", "kid": "1" }),
        json!({ "alg": "EdDSA", "kid": "1", "typ": "at+jwt" }),
        json!({ "alg": "EdDSA", "typ": "application/JWT" }),
        // Keys that it brings along are not looked at.
        json!({ "alg": "EdDSA", "kid": "1", "jwk": Issuer::new().jwk("1"), "jku": "https://evil.example" }),
    ] {
        assert!(read(header.clone()).is_ok(), "{header}");
    }
    #[rustfmt::skip]
    let cases = [
        (json!({ "alg": "none", "kid": "1" }), Refused::Algorithm),
        (json!({ "alg": "None", "kid": "1" }), Refused::Algorithm),
        (json!({ "alg": "HS256", "kid": "1" }), Refused::Algorithm),
        (json!({ "alg": "eddsa", "kid": "1" }), Refused::Algorithm),
        (json!({ "kid": "1" }), Refused::Malformed),
        (json!({ "alg": ["EdDSA"], "kid": "1" }), Refused::Malformed),
        (json!({ "alg": "EdDSA", "kid": 1 }), Refused::Malformed),
        (json!({ "alg": "EdDSA", "kid": "1", "typ": "logout+jwt" }), Refused::Header),
        (json!({ "alg": "EdDSA", "kid": "1", "cty": "JWT" }), Refused::Header),
        (json!({ "alg": "EdDSA", "kid": "1", "crit": ["b64"], "b64": false }), Refused::Header),
        (json!({ "alg": "EdDSA", "kid": "2" }), Refused::UnknownKey),
        // The key is of another kind: what the header says makes it no other.
        (json!({ "alg": "RS256", "kid": "1" }), Refused::UnknownKey),
        (json!({ "alg": "ES256", "kid": "1" }), Refused::UnknownKey),
    ];
    for (header, expected) in cases {
        assert_eq!(read(header.clone()), Err(expected), "{header}");
    }
}

#[test]
fn whatever_is_changed_in_a_token_it_is_worth_nothing() {
    let issuer = Issuer::new();
    let keys = keys(&[issuer.jwk("1")]);
    let token = issuer.sign(&header(), &claims());
    assert!(read(&token, &keys, &rule(), at(NOW)).is_ok());
    for at_byte in 0..token.len() {
        for other in ['A', 'B', '_', '.', '=', ' '] {
            let mut changed = token.clone();
            changed.replace_range(at_byte..=at_byte, &other.to_string());
            if changed != token {
                assert!(
                    read(&changed, &keys, &rule(), at(NOW)).is_err(),
                    "{at_byte} {other}"
                );
            }
        }
        assert!(read(&token[..at_byte], &keys, &rule(), at(NOW)).is_err());
    }
    for more in [".", "=", "A", ".AAAA", "\n"] {
        assert!(read(&format!("{token}{more}"), &keys, &rule(), at(NOW)).is_err());
    }
    let forged = Issuer::new().sign(&header(), &claims());
    assert_eq!(
        read(&forged, &keys, &rule(), at(NOW)),
        Err(Refused::Signature)
    );
}

#[test]
fn keys_that_cannot_have_signed_are_passed_over() {
    let issuer = Issuer::new();
    let good = issuer.jwk("1");
    let changed = |key: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[key] = value;
        jwk
    };
    for jwk in [
        changed("use", json!("enc")),
        changed("key_ops", json!(["sign"])),
        changed("alg", json!("HS256")),
        changed("alg", json!("RS256")),
        changed("crv", json!("X25519")),
        changed("kty", json!("oct")),
        changed("x", json!("not base64!")),
        json!({ "kty": "oct", "kid": "1", "k": "AAAA" }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "1", "x": "AAAA", "y": "AAAA" }),
        json!("a key"),
    ] {
        let keys = keys(std::slice::from_ref(&jwk));
        let token = issuer.sign(&header(), &claims());
        let read = read(&token, &keys, &rule(), at(NOW));
        assert_eq!(read, Err(Refused::UnknownKey), "{jwk}");
    }
    let short = keys(&[json!({ "kty": "RSA", "kid": "1", "n": SHORT_RSA, "e": "AQAB" })]);
    let token = issuer.sign(&json!({ "alg": "RS256", "kid": "1" }), &claims());
    assert!(read(&token, &short, &rule(), at(NOW)).is_err());
    assert_eq!(Keys::parse(b"{}"), None);
    assert_eq!(Keys::parse(b"[]"), None);
}

#[test]
fn a_token_that_names_no_key_is_of_the_only_one_there_is() {
    let (one, other) = (Issuer::new(), Issuer::new());
    let token = one.sign(&json!({ "alg": "EdDSA" }), &claims());
    let read = |known: &[Value]| read(&token, &keys(known), &rule(), at(NOW));
    assert!(read(&[one.jwk("1")]).is_ok());
    assert_eq!(read(&[other.jwk("1")]), Err(Refused::Signature));
    assert_eq!(
        read(&[one.jwk("1"), other.jwk("2")]),
        Err(Refused::AmbiguousKey)
    );
    assert_eq!(read(&[]), Err(Refused::UnknownKey));
    let named = one.sign(&header(), &claims());
    let twice = keys(&[one.jwk("1"), other.jwk("1")]);
    assert_eq!(
        super::read(&named, &twice, &rule(), at(NOW)),
        Err(Refused::AmbiguousKey)
    );
}

/// RFC 8037, appendix A.4; RFC 7515, appendices A.2 and A.3: signed by others.
#[test]
fn what_others_have_signed_holds() {
    #[rustfmt::skip]
    let cases = [
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
        (
            json!({
                "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            }),
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ];
    for (jwk, token) in cases {
        let keys = keys(&[jwk]);
        let signed = jwt::Signed::parse(token).unwrap();
        let key = keys.find(signed.key_id(), signed.algorithm()).unwrap();
        assert!(key.has_signed(signed.algorithm(), signed.message(), signed.signature()));
        let mut message = signed.message().to_vec();
        message[30] ^= 1;
        assert!(!key.has_signed(signed.algorithm(), &message, signed.signature()));
    }
}
