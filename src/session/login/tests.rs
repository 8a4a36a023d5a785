//! Logins over real loopback sockets, against a server that plays a part.
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::auth::scram::{ClientBinding, ClientExchange, MockSecret, Secret};
use crate::auth::verifier::VerifierFuture;
use crate::auth::{AuthMethod, Frame, Verifier, VerifierSource};
use crate::wire::connect::Upstream;
use crate::wire::tls::SslMode;

const STARTUP: &[(&str, &str)] = &[("user", "ann"), ("database", "crm"), ("TimeZone", "UTC")];
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const PARAMETER: &[u8] = b"S\0\0\0\x19client_encoding\0UTF8\0";
const KEY: &[u8] = b"K\0\0\0\x0c\0\0\0\x4dreal";
const READY: &[u8] = b"Z\0\0\0\x05I";
/// Asks for a SCRAM login, with and without channel binding.
const SASL: &[u8] = b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";

fn startup(minor: u8, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = vec![0, 3, 0, minor];
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    [&(body.len() as u32 + 4).to_be_bytes(), body.as_slice()].concat()
}

/// A user `ann` whose keys are known without a password.
struct Ann;

impl Ann {
    const SECRET: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    /// What a client that knows the password derives (RFC 7677's: `pencil`).
    fn keys() -> crate::auth::scram::ScramKeys {
        use hmac::{Hmac, Mac};
        let secret = Secret::parse(Self::SECRET).unwrap();
        let mut salted = [0u8; 32];
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(b"pencil", &secret.salt, 4096, &mut salted);
        let mac = Hmac::<sha2::Sha256>::new_from_slice(&salted).unwrap();
        let key = mac.chain_update(b"Client Key").finalize().into_bytes();
        crate::auth::scram::ScramKeys {
            client_key: crate::auth::scram::ClientKey::new(key.into()),
            server_key: secret.server_key,
            salt: secret.salt,
            iterations: 4096,
        }
    }
}

impl VerifierSource for Ann {
    fn verifier<'a>(&'a self, user: &'a str) -> VerifierFuture<'a> {
        let known = HashMap::from([("ann", Self::SECRET)]);
        let found = known.get(user).map(|secret| Verifier {
            secret: (*secret).to_owned(),
            valid_until: None,
        });
        Box::pin(std::future::ready(Ok(found)))
    }
}

fn scram() -> AuthMethod {
    AuthMethod::Scram {
        verifiers: Arc::new(Ann),
        mock: MockSecret::random().unwrap(),
    }
}

/// A gate whose server is at the other end of `listener`.
fn gate(listener: &TcpListener, auth: AuthMethod) -> LoginGate {
    let port = listener.local_addr().unwrap().port();
    let upstream = Upstream::new("127.0.0.1", port, SslMode::Disable, None).unwrap();
    let role = |caller: &crate::policy::Caller| match caller.db_user.as_str() {
        "dpo" => RoleMatch::Role {
            name: Some("dpo".into()),
            restricted: false,
        },
        "nobody" => RoleMatch::Denied {
            message: "pgveil: no role of the policy matches".into(),
            hint: "Ask for one.".into(),
        },
        _ => RoleMatch::Role {
            name: Some("agent".into()),
            restricted: true,
        },
    };
    LoginGate::new(Arc::new(upstream), auth, Box::new(role))
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// The server's end of the next connection, and the startup packet that came with it.
async fn accept(listener: &TcpListener) -> (TcpStream, Vec<u8>) {
    let mut server = listener.accept().await.unwrap().0;
    let length = server.read_u32().await.unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.resize(length as usize, 0);
    server.read_exact(&mut packet[4..]).await.unwrap();
    (server, packet)
}

/// A client that has sent `packet`, and the outcome of its login.
async fn connect<'a>(
    gate: &'a LoginGate,
    packet: Vec<u8>,
) -> (
    TcpStream,
    impl Future<Output = Result<Outcome, LoginError>> + use<'a>,
) {
    let listener = listener().await;
    let addr = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(&packet).await.unwrap();
    let (tcp, peer) = listener.accept().await.unwrap();
    (client, login(tcp, peer, gate))
}

async fn read_frame(client: &mut TcpStream) -> Frame {
    let tag = client.read_u8().await.unwrap();
    let mut body = vec![0; client.read_u32().await.unwrap() as usize - 4];
    client.read_exact(&mut body).await.unwrap();
    Frame::new(tag, &body)
}

/// The outcome for a client that sends `packet` and then only listens; with the last frame it got.
async fn outcome(gate: &LoginGate, packet: Vec<u8>) -> (Result<Outcome, LoginError>, Vec<u8>) {
    let (mut client, login) = connect(gate, packet).await;
    let listen = async move {
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    tokio::join!(login, listen)
}

fn session(outcome: Result<Outcome, LoginError>) -> LoggedIn {
    match outcome {
        Ok(Outcome::Session(session)) => *session,
        other => panic!("{other:?}"),
    }
}

fn told(answer: &[u8]) -> ErrorFields {
    assert_eq!(answer[0], b'E');
    ErrorFields::parse(&answer[5..]).unwrap()
}

#[tokio::test]
async fn passthrough_hands_the_packet_on_unaltered_and_keeps_the_answer_for_the_session() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    let packet = startup(0, STARTUP);
    let (_client, login) = connect(&gate, packet.clone()).await;
    let server = async {
        let (mut server, got) = accept(&listener).await;
        assert_eq!(got, packet);
        server
            .write_all(&[OK, PARAMETER, KEY, READY].concat())
            .await
            .unwrap();
        server
    };
    let (outcome, _server) = tokio::join!(login, server);
    let session = session(outcome);
    let facts = &session.facts;
    assert_eq!(
        (facts.db_user.as_str(), facts.database.as_str()),
        ("ann", "crm")
    );
    assert_eq!(
        (
            facts.role.as_deref().unwrap_or_default(),
            facts.auth_method.as_str()
        ),
        ("agent", "trust")
    );
    assert_eq!((facts.backend_pid, facts.session), (77, 1));
    assert_eq!(facts.client_encoding, "UTF8");
    let key = session.cancel.backend_key_data().unwrap();
    let expected = [OK, PARAMETER, &key, READY].concat();
    assert_eq!(session.pending, expected);
    assert!(key.len() == KEY.len() && key != KEY);
    assert!(session.client_bytes.is_empty());
    assert_eq!(gate.cancels.len(), 1);
    drop(session);
    assert!(gate.cancels.is_empty());
}

#[tokio::test]
async fn passthrough_offers_no_channel_binding_and_relays_the_exchange() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    let (mut client, login) = connect(&gate, startup(0, STARTUP)).await;
    let answer = [b"p\0\0\0\x15SCRAM-SHA-256\0", &[0xff; 4][..]].concat();
    let answer = [&answer[..4], &[22u8], &answer[5..]].concat();
    let server = async {
        let mut server = accept(&listener).await.0;
        server.write_all(SASL).await.unwrap();
        let mut got = vec![0; answer.len()];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(got, answer);
        let rest = [OK, PARAMETER, READY].concat();
        server.write_all(&rest).await.unwrap();
        server
    };
    let talk = async {
        let offer = read_frame(&mut client).await;
        assert_eq!(offer.body(), b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        client.write_all(&answer).await.unwrap();
    };
    let (outcome, _server, ()) = tokio::join!(login, server, talk);
    let session = session(outcome);
    assert_eq!(session.facts.auth_method, "scram-sha-256");
    assert!(session.cancel.backend_key_data().is_none());
}

#[tokio::test]
async fn the_servers_refusal_reaches_the_client_as_it_was_said() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    let refusal = ErrorFields::fatal("28000", "no pg_hba.conf entry").frame(b'E');
    let server = async {
        let mut server = accept(&listener).await.0;
        server.write_all(&refusal).await.unwrap();
    };
    let ((outcome, answer), ()) = tokio::join!(outcome(&gate, startup(0, STARTUP)), server);
    let error = outcome.unwrap_err();
    assert_eq!(
        (error.sqlstate.as_str(), error.blame),
        ("28000", Blame::Credentials)
    );
    assert_eq!(error.db_user.as_deref(), Some("ann"));
    assert_eq!(answer, refusal);

    // After AuthenticationOk the client has to see that first.
    let server = async {
        let mut server = accept(&listener).await.0;
        server.write_all(&[OK, &refusal].concat()).await.unwrap();
    };
    let ((_, answer), ()) = tokio::join!(super::tests::outcome(&gate, startup(0, STARTUP)), server);
    assert_eq!(answer, [OK, &refusal].concat());
}

#[tokio::test]
async fn a_server_that_is_not_there_or_leaves_or_says_nothing_is_a_fatal_error() {
    let listener = listener().await;
    let mut gate = gate(&listener, AuthMethod::Passthrough);
    let leaves = async { drop(accept(&listener).await) };
    let ((left, answer), ()) = tokio::join!(outcome(&gate, startup(0, STARTUP)), leaves);
    assert_eq!(left.unwrap_err().sqlstate, "08006");
    assert_eq!(told(&answer).severity, "FATAL");

    let broken = async {
        let mut server = accept(&listener).await.0;
        server
            .write_all(b"HTTP/1.1 400 Bad Request\r\n")
            .await
            .unwrap();
        server
    };
    let ((broken, answer), _) = tokio::join!(outcome(&gate, startup(0, STARTUP)), broken);
    assert_eq!(broken.unwrap_err().blame, Blame::Server);
    assert_eq!(told(&answer).sqlstate, "08P01");

    gate.login_timeout = Duration::from_millis(100);
    let ((silent, answer), _server) =
        tokio::join!(outcome(&gate, startup(0, STARTUP)), accept(&listener));
    assert_eq!(silent.unwrap_err().sqlstate, "57014");
    assert_eq!(told(&answer).sqlstate, "57014");

    drop(listener);
    gate.login_timeout = Duration::from_secs(10);
    let (gone, answer) = outcome(&gate, startup(0, STARTUP)).await;
    let gone = gone.unwrap_err();
    assert!(
        gone.cause.unwrap().contains("127.0.0.1"),
        "the log gets the address"
    );
    let told = told(&answer);
    assert_eq!(
        told.message,
        "pgveil: the database server cannot be reached"
    );
    assert_eq!(told.sqlstate, "08006");
}

#[tokio::test]
async fn whom_the_policy_denies_never_reaches_the_server() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    let denied = startup(0, &[("user", "nobody")]);
    let replication = startup(0, &[("user", "ann"), ("replication", "database")]);
    for packet in [denied, replication] {
        let (outcome, answer) = outcome(&gate, packet).await;
        assert_eq!(outcome.unwrap_err().blame, Blame::Policy);
        assert_eq!(told(&answer).sqlstate, "42501");
        assert!(told(&answer).hint.is_some());
    }
    let reached = std::pin::pin!(listener.accept());
    let nobody_came = tokio::select! { biased; _ = reached => false, () = async {} => true };
    assert!(nobody_came);
}

#[tokio::test]
async fn settings_of_the_role_that_change_how_texts_are_read_end_a_restricted_login() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    for (user, accepted) in [("ann", false), ("dpo", true)] {
        let server = async {
            let mut server = accept(&listener).await.0;
            let parameter = Frame::new(b'S', b"standard_conforming_strings\0off\0").bytes();
            let answer = [OK, &parameter, KEY, READY].concat();
            server.write_all(&answer).await.unwrap();
            server
        };
        let (mut client, login) = connect(&gate, startup(0, &[("user", user)])).await;
        let (outcome, _server) = tokio::join!(login, server);
        assert_eq!(outcome.is_ok(), accepted);
        drop(outcome);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer.is_empty(), accepted);
    }
    assert!(gate.cancels.is_empty(), "no key outlives a failed login");
}

#[tokio::test]
async fn a_client_that_leaves_when_asked_for_its_password_leaves_nothing_behind() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    let (mut client, login) = connect(&gate, startup(0, STARTUP)).await;
    let server = async {
        let mut server = accept(&listener).await.0;
        let request = Frame::new(b'R', &3u32.to_be_bytes()).bytes();
        server.write_all(&request).await.unwrap();
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        got
    };
    let talk = async move {
        assert_eq!(read_frame(&mut client).await.body(), b"\0\0\0\x03");
        client.write_all(b"X\0\0\0\x04").await.unwrap();
    };
    let (outcome, got, ()) = tokio::join!(login, server, talk);
    assert_eq!(outcome.unwrap_err().blame, Blame::Client);
    assert!(got.is_empty(), "only answers go on to the server");
}

/// Logs `user` in to the gate with ann's keys, up to AuthenticationSASLFinal or the error.
async fn prove(client: &mut TcpStream) -> Frame {
    let offer = read_frame(client).await;
    assert_eq!(offer.body(), b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    let exchange = ClientExchange::new(ClientBinding::None, "nonce".into());
    let first = exchange.first_message();
    let length = (first.len() as u32).to_be_bytes();
    let body = [b"SCRAM-SHA-256\0", length.as_slice(), first.as_bytes()].concat();
    client
        .write_all(&Frame::new(b'p', &body).bytes())
        .await
        .unwrap();
    let server_first = read_frame(client).await;
    let mut keys = Ann::keys();
    let body = &server_first.body()[4..];
    // An unknown user is shown another salt; the client goes on with it, as it would with a password.
    keys.salt = salt(body);
    let (last, _) = exchange.final_message(body, &keys).unwrap();
    client
        .write_all(&Frame::new(b'p', last.as_bytes()).bytes())
        .await
        .unwrap();
    read_frame(client).await
}

fn salt(server_first: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = std::str::from_utf8(server_first).unwrap();
    let salt = text
        .split(',')
        .find_map(|part| part.strip_prefix("s="))
        .unwrap();
    base64::engine::general_purpose::STANDARD
        .decode(salt)
        .unwrap()
}

#[tokio::test]
async fn scram_negotiates_with_the_client_and_speaks_3_0_to_the_server() {
    let listener = listener().await;
    let gate = gate(&listener, scram());
    let asked = [&[("_pq_.grease", "1")], STARTUP].concat();
    let (mut client, login) = connect(&gate, startup(9, &asked)).await;
    let server = async {
        let (mut server, got) = accept(&listener).await;
        assert_eq!(got, startup(0, STARTUP));
        let answer = [OK, PARAMETER, KEY, READY].concat();
        server.write_all(&answer).await.unwrap();
        server
    };
    let talk = async {
        let negotiated = read_frame(&mut client).await;
        assert_eq!(negotiated.tag(), b'v');
        assert_eq!(negotiated.body(), b"\0\x03\0\x02\0\0\0\x01_pq_.grease\0");
        assert_eq!(prove(&mut client).await.body()[..4], [0, 0, 0, 12]);
    };
    let (outcome, _server, ()) = tokio::join!(login, server, talk);
    let session = session(outcome);
    assert_eq!(session.facts.protocol_minor, 2);
    assert_eq!(session.facts.auth_method, "scram-sha-256");
    let key = session.cancel.backend_key_data().unwrap();
    assert_eq!(key.len(), 5 + 4 + 32, "protocol 3.2 has long keys");
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_cannot_be_told_apart() {
    let listener = listener().await;
    let gate = gate(&listener, scram());
    let (mut client, login) = connect(&gate, startup(0, &[("user", "eve")])).await;
    let talk = async move { prove(&mut client).await };
    let (outcome, last) = tokio::join!(login, talk);
    assert_eq!(outcome.unwrap_err().blame, Blame::Credentials);
    let fields = ErrorFields::parse(last.body()).unwrap();
    let expected = "password authentication failed for user \"eve\"";
    assert_eq!(
        (fields.sqlstate.as_str(), fields.message.as_str()),
        ("28P01", expected)
    );
    assert_eq!(fields.detail, None);
}

#[tokio::test]
async fn a_server_that_wants_a_password_is_named_as_the_trouble() {
    let listener = listener().await;
    let gate = gate(&listener, scram());
    let (mut client, login) = connect(&gate, startup(0, STARTUP)).await;
    let server = async {
        let mut server = accept(&listener).await.0;
        let md5 = Frame::new(b'R', b"\0\0\0\x05salt").bytes();
        server.write_all(&md5).await.unwrap();
        server
    };
    let talk = async move {
        prove(&mut client).await;
        read_frame(&mut client).await
    };
    let (outcome, _server, last) = tokio::join!(login, server, talk);
    assert_eq!(outcome.unwrap_err().blame, Blame::Pgveil);
    let fields = ErrorFields::parse(last.body()).unwrap();
    assert!(fields.detail.unwrap().contains("asks for md5"));
    assert!(fields.hint.unwrap().contains("scram-sha-256"));
}

#[tokio::test]
async fn a_cancel_request_is_dealt_with_and_answered_by_silence() {
    let listener = listener().await;
    let gate = gate(&listener, AuthMethod::Passthrough);
    let unknown = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01abcd";
    let (outcome, answer) = outcome(&gate, unknown.to_vec()).await;
    assert!(matches!(outcome, Ok(Outcome::CancelDone)));
    assert!(answer.is_empty());

    let (client, login) = connect(&gate, Vec::new()).await;
    drop(client);
    assert!(matches!(login.await, Ok(Outcome::Closed)));
}

#[test]
fn a_failed_login_reads_as_one_line() {
    let failure = Failure::server_gone("the database server cannot be reached", "refused");
    let error = LoginError::new("127.0.0.1:9".parse().unwrap(), &failure);
    let packet = crate::wire::startup::parse(Bytes::from_static(b"\0\x03\0\0user\0a\nb\0\0"));
    let Ok(crate::wire::startup::Packet::Startup(startup)) = packet else {
        panic!("{packet:?}");
    };
    assert_eq!(
        error.of(&startup, None).to_string(),
        "login from 127.0.0.1:9 failed (user \"a\\nb\", database \"a\\nb\"): pgveil: the database server cannot be \
         reached [08006]: refused"
    );
}
