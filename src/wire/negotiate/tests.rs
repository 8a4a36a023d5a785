use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;
use crate::wire::startup::MAX_STARTUP_PACKET;
use crate::wire::tls::{SslMode, client_config};

const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
/// For the user `ann`.
const STARTUP: &[u8] = b"\0\0\0\x12\0\x03\0\0user\0ann\0\0";

/// Files that go when the test ends.
struct Certificate {
    folder: PathBuf,
    tls: ServerTls,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("pgveil-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (cert, key) = (folder.join("server.crt"), folder.join("server.key"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = ServerTls::load(&cert, &key, None).unwrap();
        Certificate { folder, tls }
    }

    fn connector(&self, alpn: &[&[u8]]) -> TlsConnector {
        let ca = self.folder.join("server.crt");
        let config = client_config(SslMode::VerifyFull, Some(&ca))
            .unwrap()
            .unwrap();
        let mut config = Arc::unwrap_or_clone(config);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(addr), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// What comes of a client that sends all of this at once and then closes its side.
async fn sent(bytes: &[u8], tls: Option<&ServerTls>) -> (Result<First, Rejected>, Vec<u8>) {
    let (mut client, server) = pair().await;
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let result = negotiate(server, tls, MAX_STARTUP_PACKET).await;
    let result = match result {
        Err(Rejected {
            fields,
            stream: Some(stream),
        }) => {
            let frame = fields.frame(crate::wire::error::ERROR_RESPONSE);
            stream.farewell(&frame).await;
            Err(Rejected {
                fields,
                stream: None,
            })
        }
        other => other,
    };
    let mut answer = Vec::new();
    if result.is_err() {
        // A connection closed on unread bytes may end in a reset; what came before it counts.
        let _ = client.read_to_end(&mut answer).await;
    }
    (result, answer)
}

fn user(first: &First) -> &str {
    match first {
        First::Session { startup, .. } => startup.user(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn encryption_requests_are_declined_without_a_certificate_each_once() {
    let (mut client, server) = pair().await;
    let talk = async {
        for request in [GSSENC_REQUEST, SSL_REQUEST] {
            client.write_all(request).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'N');
        }
        client.write_all(STARTUP).await.unwrap();
    };
    let (result, ()) = tokio::join!(negotiate(server, None, MAX_STARTUP_PACKET), talk);
    assert_eq!(user(&result.unwrap()), "ann");

    let (mut client, server) = pair().await;
    let talk = async {
        client.write_all(SSL_REQUEST).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'N');
        client.write_all(SSL_REQUEST).await.unwrap();
    };
    let (result, ()) = tokio::join!(negotiate(server, None, MAX_STARTUP_PACKET), talk);
    let fields = result.unwrap_err().fields;
    assert!(
        fields
            .message
            .starts_with("unsupported frontend protocol 1234.5679")
    );
}

#[tokio::test]
async fn tls_after_an_ssl_request_holds_the_startup_packet() {
    let certificate = Certificate::new("ssl-request");
    let (mut client, server) = pair().await;
    let talk = async {
        client.write_all(GSSENC_REQUEST).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'N');
        client.write_all(SSL_REQUEST).await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'S');
        let name = "localhost".try_into().unwrap();
        // libpq before 17 sends no ALPN.
        let mut tls = certificate
            .connector(&[])
            .connect(name, client)
            .await
            .unwrap();
        tls.write_all(STARTUP).await.unwrap();
        tls.flush().await.unwrap();
        tls
    };
    let negotiation = negotiate(server, Some(&certificate.tls), MAX_STARTUP_PACKET);
    let (result, _tls) = tokio::join!(negotiation, talk);
    let first = result.unwrap();
    assert_eq!(user(&first), "ann");
    let First::Session { tls, stream, .. } = first else {
        unreachable!()
    };
    let tls = tls.unwrap();
    assert!(stream.is_tls());
    assert_eq!(tls.facts.version, "TLSv1.3");
    assert!(tls.facts.cipher.starts_with("TLS_"), "{}", tls.facts.cipher);
    assert_eq!(tls.end_point.unwrap().len(), 32);
}

#[tokio::test]
async fn direct_tls_needs_the_alpn_protocol_of_postgresql() {
    let certificate = Certificate::new("direct");
    let cases: [(&[&[u8]], bool); 3] = [
        (&[b"postgresql"], true),
        (&[b"http/1.1"], false),
        (&[], false),
    ];
    for (alpn, accepted) in cases {
        let (client, server) = pair().await;
        let talk = async {
            let name = "localhost".try_into().unwrap();
            let mut tls = certificate
                .connector(alpn)
                .connect(name, client)
                .await
                .ok()?;
            tls.write_all(STARTUP).await.ok()?;
            tls.flush().await.ok()?;
            Some(tls)
        };
        let negotiation = negotiate(server, Some(&certificate.tls), MAX_STARTUP_PACKET);
        let (result, _tls) = tokio::join!(negotiation, talk);
        assert_eq!(result.is_ok(), accepted, "{alpn:?}");
    }
}

#[tokio::test]
async fn direct_tls_without_a_certificate_is_refused() {
    let (result, answer) = sent(b"\x16\x03\x01\0\x05hello", None).await;
    assert!(result.unwrap_err().fields.message.contains("direct TLS"));
    assert!(
        answer.is_empty(),
        "no plain text goes to somebody who speaks TLS"
    );
}

#[tokio::test]
async fn bytes_sent_along_with_an_encryption_request_are_fatal() {
    let certificate = Certificate::new("early");
    for (request, tls) in [
        (SSL_REQUEST, Some(&certificate.tls)),
        (SSL_REQUEST, None),
        (GSSENC_REQUEST, None),
    ] {
        let (result, answer) = sent(&[request, STARTUP].concat(), tls).await;
        let fields = result.unwrap_err().fields;
        assert_eq!(fields.sqlstate, "08P01");
        assert!(
            fields
                .message
                .starts_with("received unencrypted data after")
        );
        assert_eq!(
            answer.first(),
            Some(&b'E'),
            "an error, and neither S nor N before it"
        );
    }
}

#[tokio::test]
async fn inside_tls_there_is_no_second_encryption_request() {
    let certificate = Certificate::new("twice");
    let (client, server) = pair().await;
    let talk = async {
        let name = "localhost".try_into().unwrap();
        let connector = certificate.connector(&[b"postgresql"]);
        let mut tls = connector.connect(name, client).await.unwrap();
        tls.write_all(SSL_REQUEST).await.unwrap();
        tls.flush().await.unwrap();
        tls
    };
    let negotiation = negotiate(server, Some(&certificate.tls), MAX_STARTUP_PACKET);
    let (result, _tls) = tokio::join!(negotiation, talk);
    let rejected = result.unwrap_err();
    assert_eq!(rejected.fields.sqlstate, "0A000");
    assert!(rejected.stream.is_some(), "the client can be told");
}

#[tokio::test]
async fn a_connection_cut_anywhere_ends_and_never_hangs() {
    for end in 0..STARTUP.len() {
        let (result, answer) = sent(&STARTUP[..end], None).await;
        match (end, result) {
            (0, Ok(First::Closed)) => {}
            (_, Err(rejected)) if end > 0 => {
                assert_eq!(rejected.fields.message, "incomplete startup packet");
                assert_eq!(answer, b"", "PostgreSQL says nothing either");
            }
            (_, other) => panic!("cut at {end}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_packet_in_single_bytes_is_one_packet() {
    let (mut client, server) = pair().await;
    client.set_nodelay(true).unwrap();
    let talk = async {
        for byte in STARTUP {
            client.write_all(std::slice::from_ref(byte)).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (result, ()) = tokio::join!(negotiate(server, None, MAX_STARTUP_PACKET), talk);
    assert_eq!(user(&result.unwrap()), "ann");
}

#[tokio::test]
async fn garbage_is_met_with_silence_and_other_protocols_with_a_fatal_error() {
    for garbage in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0; 64],
        &[0xff; 64],
        b"X\0\0\0\x04",
    ] {
        let (result, answer) = sent(garbage, None).await;
        let rejected = result.unwrap_err();
        assert_eq!(rejected.fields.sqlstate, "08P01");
        assert!(rejected.stream.is_none());
        assert_eq!(answer, b"");
    }
    for garbage in [
        b"\0\0\0\x08\0\x02\0\0".as_slice(),
        b"\0\0\0\x09\x04\xd2\x16\x2fx",
    ] {
        let (result, answer) = sent(garbage, None).await;
        let fields = result.unwrap_err().fields;
        assert_eq!(fields.severity, "FATAL");
        let told = crate::wire::error::ErrorFields::parse(&answer[5..]).unwrap();
        assert_eq!(told, *fields);
    }
}

#[tokio::test]
async fn a_reload_serves_the_new_certificate_and_keeps_the_old_one_on_an_error() {
    let certificate = Certificate::new("reload");
    let file = certificate.folder.join("server.crt");
    let old = std::fs::read(&file).unwrap();
    std::fs::write(&file, "not a certificate").unwrap();
    let error = certificate.tls.reload().unwrap_err().to_string();
    assert!(error.contains("server.crt"), "{error}");
    std::fs::write(&file, old).unwrap();
    certificate.tls.reload().unwrap();
}
