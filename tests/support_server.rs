//! The test bench itself: the server starts, answers, and leaves nothing behind.
mod support;

use support::message::{self, Client};
use support::{Authentication, Certificates, Options, Postgres};

#[test]
fn a_private_server_answers_and_is_gone_afterwards() {
    let server = Postgres::start(Options::default());
    let port = server.port();
    server.create_database("crm");
    let rows = server.sql("crm", "SELECT 1, NULL; SELECT current_database()");
    assert_eq!(
        rows,
        [vec![Some("1".into()), None], vec![Some("crm".into())]]
    );
    let shown = server.psql(&["-d", "crm", "-Atc", "SELECT 'psql'"]);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "psql\n");
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn the_wire_client_logs_in_by_every_method() {
    for method in [
        Authentication::Trust,
        Authentication::Cleartext,
        Authentication::Md5,
        Authentication::Scram,
    ] {
        let server = Postgres::start(Options {
            authentication: method,
            ..Options::default()
        });
        server.sql("postgres", "CREATE USER clerk PASSWORD 'secret'");
        let mut client = Client::login(server.port(), "clerk", "secret", "postgres");
        let answer = client.query("SELECT 42");
        assert_eq!(message::tags(&answer), "TDCZ");
        assert_eq!(answer[1].columns(), [Some(b"42".to_vec())]);
        if method != Authentication::Trust {
            let refused = Client::try_login(
                server.port(),
                "clerk",
                "wrong",
                &[("user", "clerk"), ("database", "postgres")],
            );
            let refused = refused.err().expect("a wrong password is refused");
            assert_eq!(refused.field(b'C').as_deref(), Some("28P01"));
        }
    }
}

#[test]
fn the_server_speaks_tls_and_restarts_on_its_port() {
    let certificates = Certificates::new();
    let mut server = Postgres::start(Options {
        tls: Some(&certificates),
        ..Options::default()
    });
    let mut client = Client::connect(server.port());
    client.send_raw(&message::untagged(&80_877_103u32.to_be_bytes()));
    assert_eq!(client.read_byte(), Some(b'S'));
    server.sql("postgres", "CREATE TABLE kept (id int)");
    server.crash();
    server.restart();
    assert!(server.sql("postgres", "TABLE kept").is_empty());
}
