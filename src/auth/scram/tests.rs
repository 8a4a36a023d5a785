use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

/// RFC 7677, section 3: user `user`, password `pencil`.
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// The keys as RFC 5802 derives them, so that no code under test is in them.
fn keys_of(password: &str, salt: &[u8]) -> ([u8; 32], [u8; 32]) {
    use hmac::{Hmac, Mac};
    let mut salted = [0u8; 32];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.as_bytes(), salt, 4096, &mut salted);
    let derive = |label: &[u8]| {
        let mac = Hmac::<sha2::Sha256>::new_from_slice(&salted).unwrap();
        mac.chain_update(label).finalize().into_bytes().into()
    };
    (derive(b"Client Key"), derive(b"Server Key"))
}

fn verifier(password: &str) -> Secret {
    static PENCIL: LazyLock<Secret> = LazyLock::new(|| new_verifier("pencil"));
    match password {
        "pencil" => PENCIL.clone(),
        other => new_verifier(other),
    }
}

fn client_keys(password: &str) -> ScramKeys {
    static PENCIL: LazyLock<ScramKeys> = LazyLock::new(|| new_client_keys("pencil"));
    match password {
        "pencil" => PENCIL.clone(),
        other => new_client_keys(other),
    }
}

fn new_verifier(password: &str) -> Secret {
    let salt = BASE64.decode(SALT).unwrap();
    let (client, server) = keys_of(password, &salt);
    let stored = <sha2::Sha256 as sha2::Digest>::digest(client);
    let (stored, server) = (BASE64.encode(stored), BASE64.encode(server));
    Secret::parse(&format!("SCRAM-SHA-256$4096:{SALT}${stored}:{server}")).unwrap()
}

fn new_client_keys(password: &str) -> ScramKeys {
    let salt = BASE64.decode(SALT).unwrap();
    let (client, server) = keys_of(password, &salt);
    ScramKeys {
        client_key: ClientKey::new(client),
        server_key: ServerKey::new(server),
        salt,
        iterations: 4096,
    }
}

fn server(mechanism: Mechanism, end_point: Option<&[u8]>) -> ServerExchange {
    ServerExchange {
        mechanism,
        end_point: end_point.map(<[u8]>::to_vec),
        secret: verifier("pencil"),
        doomed: false,
    }
}

const PLAIN: Mechanism = Mechanism::ScramSha256;
const PLUS: Mechanism = Mechanism::ScramSha256Plus;

#[test]
fn the_example_of_rfc_7677_is_accepted_and_answered_as_printed_there() {
    let (answer, next) = server(PLAIN, None)
        .first(CLIENT_FIRST.as_bytes(), SERVER_NONCE)
        .unwrap();
    assert_eq!(answer, SERVER_FIRST.as_bytes());
    let accepted = next.finish(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(accepted.message, SERVER_FINAL.as_bytes());
}

#[test]
fn the_key_taken_from_a_proof_logs_in_elsewhere() {
    let (_, next) = server(PLAIN, None)
        .first(CLIENT_FIRST.as_bytes(), SERVER_NONCE)
        .unwrap();
    let keys = next.finish(CLIENT_FINAL.as_bytes()).unwrap().keys;
    for (binding, mechanism, end_point) in [
        (ClientBinding::None, PLAIN, None),
        (ClientBinding::NotOffered, PLAIN, None),
        (
            ClientBinding::EndPoint(b"hash".into()),
            PLUS,
            Some(b"hash".as_slice()),
        ),
    ] {
        let client = ClientExchange::new(binding, "fyko+d2lbbFgONRv9qkxdawL".into());
        let first = client.first_message();
        let (server_first, server) = server(mechanism, end_point)
            .first(first.as_bytes(), "3rfcNHYJY1ZVvWVs7j")
            .unwrap();
        let (last, client) = client.final_message(&server_first, &keys).unwrap();
        let accepted = server.finish(last.as_bytes()).unwrap();
        client.verify(&accepted.message).unwrap();
    }
}

#[test]
fn a_wrong_password_and_a_doomed_user_fail_alike_and_last() {
    let attempt = |exchange: ServerExchange, password: &str| {
        let client = ClientExchange::new(ClientBinding::None, "abc".into());
        let first = client.first_message();
        let (server_first, server) = exchange.first(first.as_bytes(), "def").unwrap();
        let (last, _) = client
            .final_message(&server_first, &client_keys(password))
            .unwrap();
        server.finish(last.as_bytes()).map(|_| ())
    };
    assert_eq!(attempt(server(PLAIN, None), "pencil"), Ok(()));
    assert_eq!(attempt(server(PLAIN, None), "pen"), Err(ScramError::Proof));
    let doomed = ServerExchange {
        doomed: true,
        ..server(PLAIN, None)
    };
    assert_eq!(attempt(doomed, "pencil"), Err(ScramError::Proof));
}

#[test]
fn channel_binding_is_neither_lost_nor_swapped() {
    let first = |mechanism, end_point, flag: &str| {
        let message = format!("{flag},,n=,r=abc");
        let exchange = server(mechanism, end_point);
        exchange
            .first(message.as_bytes(), "def")
            .map(|(_, next)| next)
    };
    let offered = Some(b"hash".as_slice());
    assert!(first(PLAIN, None, "y").is_ok());
    assert!(first(PLAIN, offered, "n").is_ok());
    assert_eq!(
        first(PLAIN, offered, "y").unwrap_err(),
        ScramError::Downgrade
    );
    let end_point = "p=tls-server-end-point";
    assert!(first(PLUS, offered, end_point).is_ok());
    let unique = first(PLUS, offered, "p=tls-unique").unwrap_err();
    assert_eq!(unique, ScramError::BindingType);
    for (mechanism, flag) in [(PLAIN, end_point), (PLUS, "n"), (PLUS, "y"), (PLUS, "x")] {
        let error = first(mechanism, offered, flag).unwrap_err();
        assert!(matches!(error, ScramError::Malformed(_)), "{flag}");
    }

    let client = ClientExchange::new(ClientBinding::EndPoint(b"other".into()), "abc".into());
    let (server_first, next) = server(PLUS, offered)
        .first(client.first_message().as_bytes(), "def")
        .unwrap();
    let (last, _) = client
        .final_message(&server_first, &client_keys("pencil"))
        .unwrap();
    let error = next.finish(last.as_bytes()).unwrap_err();
    assert_eq!(error, ScramError::BindingMismatch);
}

#[test]
fn an_impostor_of_a_server_is_found_out() {
    let client = || ClientExchange::new(ClientBinding::None, "abc".into());
    let keys = client_keys("pencil");
    let answer = |message: &str| {
        let answered = client().final_message(message.as_bytes(), &keys);
        answered.map(|(_, next)| next)
    };
    let good = format!("r=abcdef,s={SALT},i=4096");
    let error = answer(&good).unwrap().verify(SERVER_FINAL.as_bytes());
    assert_eq!(error, Err(ScramError::ServerSignature));
    let error = answer(&good).unwrap().verify(b"e=other-error");
    assert_eq!(error, Err(ScramError::ServerError("other-error".into())));
    for other in [
        format!("r=abcdef,s={SALT},i=1"),
        "r=abcdef,s=AAAA,i=4096".into(),
    ] {
        assert_eq!(answer(&other).unwrap_err(), ScramError::OtherVerifier);
    }
    for malformed in ["r=abc", "r=xyzdef", "", "m=x,r=abcdef"] {
        let message = format!("{malformed},s={SALT},i=4096");
        assert!(answer(&message).is_err(), "{malformed}");
    }
}

#[test]
fn malformed_first_messages_are_refused() {
    let check = |message: &[u8]| {
        let result = server(PLAIN, None).first(message, "def");
        result.map(|_| ()).unwrap_err()
    };
    for message in [
        "",
        ",",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=,r=",
        "n,,r=abc,n=",
        "n,x,n=,r=a",
    ] {
        assert!(
            matches!(check(message.as_bytes()), ScramError::Malformed(_)),
            "{message}"
        );
    }
    assert_eq!(
        check(b"n,a=bob,n=,r=abc"),
        ScramError::AuthorizationIdentity
    );
    assert_eq!(check(b"n,,m=x,n=,r=abc"), ScramError::Extension);
    assert!(matches!(check(b"n,,n=\0,r=abc"), ScramError::Malformed(_)));
    assert!(matches!(
        check(b"n,,n=\xff,r=abc"),
        ScramError::Malformed(_)
    ));
    assert!(matches!(check(&[b'n'; 1025]), ScramError::Malformed(_)));
}

#[test]
fn messages_cut_short_or_altered_anywhere_never_pass() {
    let next = || {
        let exchange = server(PLAIN, None);
        exchange
            .first(CLIENT_FIRST.as_bytes(), SERVER_NONCE)
            .unwrap()
            .1
    };
    for end in 0..CLIENT_FINAL.len() {
        assert!(
            next().finish(&CLIENT_FINAL.as_bytes()[..end]).is_err(),
            "cut at {end}"
        );
    }
    for at in 0..CLIENT_FINAL.len() {
        let mut altered = CLIENT_FINAL.as_bytes().to_vec();
        altered[at] ^= 1;
        assert!(next().finish(&altered).is_err(), "altered at {at}");
    }
}

#[test]
fn verifiers_are_parsed_as_postgresql_stores_them() {
    let key = BASE64.encode([7; 32]);
    let check = |text: &str, error| assert_eq!(Secret::parse(text).unwrap_err(), error, "{text}");
    assert!(Secret::parse(&format!("SCRAM-SHA-256$4096:AAAA${key}:{key}")).is_ok());
    check("md5a3556571e93b0d20722ba62be61e8c2d", SecretError::Md5);
    check("secret", SecretError::Prefix);
    check("", SecretError::Prefix);
    check("SCRAM-SHA-256$4096:AAAA", SecretError::Shape);
    check(
        &format!("SCRAM-SHA-256$4096${key}:{key}"),
        SecretError::Shape,
    );
    check(
        &format!("SCRAM-SHA-256$0:AAAA${key}:{key}"),
        SecretError::Iterations,
    );
    check(
        &format!("SCRAM-SHA-256$-1:AAAA${key}:{key}"),
        SecretError::Iterations,
    );
    check(
        &format!("SCRAM-SHA-256$4096:AAAA$AAAA:{key}"),
        SecretError::Base64,
    );
    check(
        &format!("SCRAM-SHA-256$4096:${key}:{key}"),
        SecretError::Base64,
    );
}

#[test]
fn an_unknown_user_is_shown_the_same_salt_each_time_and_others_another() {
    let mock = MockSecret::random().unwrap();
    let ann = mock.verifier("ann");
    assert_eq!((ann.salt.len(), ann.iterations), (16, 4096));
    assert_eq!(mock.verifier("ann").salt, ann.salt);
    assert_ne!(mock.verifier("bob").salt, ann.salt);
    assert_ne!(MockSecret::random().unwrap().verifier("ann").salt, ann.salt);
}

#[test]
fn keys_do_not_print() {
    let printed = format!("{:?} {:?}", client_keys("pencil"), verifier("pencil"));
    assert!(printed.contains("ClientKey(..)") && printed.contains("StoredKey(..)"));
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics(message in proptest::collection::vec(0u8..128, 0..80)) {
        let _ = server(PLAIN, None).first(&message, "x");
        let next = server(PLAIN, None).first(CLIENT_FIRST.as_bytes(), "x").unwrap().1;
        let _ = next.finish(&message);
        let client = ClientExchange::new(ClientBinding::None, "abc".into());
        let _ = client.final_message(&message, &client_keys("pencil"));
        let _ = Secret::parse(&String::from_utf8_lossy(&message));
    }
}
