//! What somebody makes who is not the issuer, and what the issuer made for somebody else, gains nothing.
use serde_json::{Value, json};

use crate::issuer::{Key, message, now};
use crate::{Bench, CLEAR, PHONES, asked, records, silent};

#[test]
fn a_token_that_is_forged_or_not_meant_gains_nothing() {
    let bench = Bench::new();
    let rsa = Key::rsa("r");
    bench.issuer.publish(&[&bench.key, &rsa]);
    let pgveil = bench.start("");
    let claims = bench.issuer.claims("eve", &["audit"]);
    let with = |claim: &str, value: Value| {
        let mut claims = claims.clone();
        claims[claim] = value;
        bench.key.token(&claims)
    };
    let good = bench.key.token(&claims);
    let (head, signature) = good.rsplit_once('.').expect("a signature");
    let forger = Key::ed("1");
    let none = |alg: &str| message(&json!({ "alg": alg, "typ": "JWT" }), &claims);
    let mut tampered = bench.issuer.claims("eve", &["staff"]);
    let weak = bench.key.token(&tampered);
    tampered["groups"] = json!(["audit"]);
    let exchanged = format!(
        "{}.{}",
        message(
            &json!({ "alg": "EdDSA", "typ": "JWT", "kid": "1" }),
            &tampered
        ),
        weak.rsplit('.').next().expect("a signature")
    );
    let forged = forger.token(&claims);
    #[rustfmt::skip]
    let cases = [
        ("another issuer", with("iss", json!("https://login.example.com"))),
        ("another audience", with("aud", json!("crm-web"))),
        ("no audience", with("aud", Value::Null)),
        ("expired", with("exp", json!(now() - 31))),
        ("without an end", with("exp", Value::Null)),
        ("not yet valid", with("nbf", json!(now() + 60))),
        ("of nobody", with("preferred_username", Value::Null)),
        ("alg none", format!("{}.", none("none"))),
        ("alg None", format!("{}.", none("None"))),
        ("alg none, with a signature", format!("{}.{signature}", none("none"))),
        ("no signature", format!("{head}.")),
        ("a MAC by the public key", rsa.by_mac(&claims)),
        ("a MAC by the public key of another kind", bench.key.by_mac(&claims)),
        ("a key of the forger's", forged.clone()),
        ("a key of the forger's in the header", forger.token_with(
            &json!({ "alg": "EdDSA", "typ": "JWT", "kid": "1", "jwk": forger.jwk() }), &claims)),
        ("an unknown key", Key::ed("unknown").token(&claims)),
        ("other claims under the signature", exchanged),
        ("another algorithm than the key's", bench.key.token_with(
            &json!({ "alg": "RS256", "typ": "JWT", "kid": "1" }), &claims)),
        ("a logout token", bench.key.token_with(
            &json!({ "alg": "EdDSA", "typ": "logout+jwt", "kid": "1" }), &claims)),
        ("nothing", "x".to_owned()),
        ("the password of the account", crate::PASSWORD.to_owned()),
    ];
    for (what, token) in &cases {
        let said = asked(&pgveil, token, PHONES).expect_err(what);
        assert!(
            said.contains("token authentication failed for user \"crm_staff\""),
            "{what}: {said}"
        );
        assert!(said.contains("HINT"), "{what}: {said}");
    }
    // The controls: but for the one thing it is a token that opens, and the forger's would, were the key the issuer's.
    assert_eq!(asked(&pgveil, &good, PHONES).as_deref(), Ok(CLEAR));
    assert!(asked(&pgveil, &weak, PHONES).is_err());
    bench.issuer.publish(&[&forger]);
    let pgveil = pgveil.restart();
    assert_eq!(asked(&pgveil, &forged, PHONES).as_deref(), Ok(CLEAR));
    assert!(asked(&pgveil, &good, PHONES).is_err());

    let failed = records(&pgveil);
    let failed = failed
        .iter()
        .filter(|record| record["event"] == "login_failed" && record["reason"] == "credentials");
    // The last of them may be on its way to the record still.
    assert!(failed.count() >= cases.len());
    let tokens: Vec<&str> = cases.iter().map(|(_, token)| token.as_str()).collect();
    silent(&pgveil, &[&tokens[..], &[&good, &weak]].concat());
}
