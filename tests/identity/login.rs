//! What a session proves at login, and for how long.
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::support::message::{Client, Frame};
use crate::support::{Certificates, Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{PHONES, SCHEMA, cells, error, login, start};

/// Ann's role, by what is in the entry.
fn policy(entry: &str) -> String {
    format!(
        "version: 1
data: {{ phone: {{ columns: [crm.contacts.phone] }} }}
roles:
  near: {{ who: [{entry}], mask: {{ phone: redact }} }}
unmatched: deny
"
    )
}

fn try_login(pgveil: &Pgveil) -> Result<Client, Frame> {
    let parameters = [("user", "ann"), ("database", "postgres")];
    Client::try_login(pgveil.port(), "ann", "", &parameters)
}

#[test]
fn a_session_that_none_of_the_entries_fits_does_not_come_in() {
    for (entry, comes_in) in [
        ("{ db_user: ann, network: 127.0.0.0/8 }", true),
        ("{ db_user: ann, network: 10.0.0.0/8 }", false),
        ("{ network: 127.0.0.1, database: postgres }", true),
        ("{ db_user: ann, database: crm }", false),
        ("{ db_user: ann, client_cn: ann }", false),
        ("{ db_user: ann, application_name: [crm] }", false),
        ("{ db_user: ann, when: { until: 2020-01-01 } }", false),
        (
            "{ db_user: ann, when: { from: 2020-01-01, zone: Asia/Shanghai } }",
            true,
        ),
    ] {
        let (_server, pgveil) = start(&policy(entry));
        match try_login(&pgveil) {
            Ok(mut client) => {
                assert!(comes_in, "{entry}");
                assert_eq!(cells(&client.query(PHONES)), ["***"; 3], "{entry}");
            }
            Err(frame) => {
                assert!(!comes_in, "{entry}: {frame:?}");
                assert_eq!(frame.field(b'C').as_deref(), Some("42501"));
                assert!(frame.field(b'H').is_some());
            }
        }
    }
}

#[test]
fn a_certificate_is_worth_what_the_listener_has_verified() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let (own, clients) = (Certificates::new(), Certificates::new());
    let mut config = Config::new(&server);
    let path = |path: std::path::PathBuf| path.display().to_string();
    config.set(
        "tls",
        &format!(
            "{{ cert: {}, key: {}, client_ca: {}, client_cert: request }}",
            path(own.cert_file()),
            path(own.key_file()),
            path(clients.ca_file())
        ),
    );
    config.policy(&policy(
        "{ client_cn: ann }, { db_user: erp, client_subject: \"CN=erp,O=Example\" }",
    ));
    let pgveil = Pgveil::start(&config);
    let psql = |user: &str, files: Option<&(std::path::PathBuf, std::path::PathBuf)>| {
        let certificate = match files {
            Some((cert, key)) => format!("sslcert={} sslkey={}", cert.display(), key.display()),
            None => "sslcert=/nonexistent".to_owned(),
        };
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-w", "-c", "SELECT 42"])
            .arg(format!(
                "host=127.0.0.1 port={} user={user} dbname=postgres sslmode=require {certificate}",
                pgveil.port()
            ))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", "/nonexistent")
            .output()
            .expect("psql");
        output.status.success()
    };
    let (ann, erp) = (
        clients.client("ann", 2020..2040),
        clients.client("erp", 2020..2040),
    );
    let stranger = Certificates::new().client("ann", 2020..2040);
    assert!(psql("ann", Some(&ann)));
    // Whoever has ann's certificate is ann, whatever the user; nobody else is.
    assert!(psql("old", Some(&ann)));
    assert!(psql("erp", Some(&erp)));
    assert!(!psql("ann", Some(&erp)));
    assert!(!psql("ann", Some(&stranger)));
    assert!(!psql("ann", None));
    assert!(!psql("erp", None));
}

#[test]
fn a_session_ends_with_its_time() {
    // Where the time is over before anybody has come in, the machine is busy.
    for unmasked in [false, true] {
        assert!([4, 20].into_iter().any(|seconds| ends(unmasked, seconds)));
    }
}

/// `false`: the time was over before the session began.
fn ends(unmasked: bool, seconds: u64) -> bool {
    let until =
        Timestamp::try_from(SystemTime::now() + Duration::from_secs(seconds)).expect("a time");
    let entry = format!("{{ db_user: ann, when: {{ until: \"{until}\" }} }}");
    let mut policy = policy(&entry);
    if unmasked {
        policy = policy.replace("mask: { phone: redact }", "unmasked: true");
    }
    let (_server, pgveil) = start(&policy);
    let [Ok(mut busy), Ok(mut idle)] = [0, 1].map(|_| try_login(&pgveil)) else {
        assert!(Timestamp::now() >= until, "somebody is not let in");
        return false;
    };
    assert_eq!(cells(&idle.query(PHONES)).len(), 3);
    let began = Instant::now();
    // One that asks all the time, and one that waits.
    let last = loop {
        let late = Timestamp::now() > until;
        busy.send_all(&[crate::support::message::query(PHONES)]);
        let mut frames = Vec::new();
        while let Some(frame) = busy.read() {
            let ready = frame.tag == b'Z';
            frames.push(frame);
            if ready {
                break;
            }
        }
        let ready = frames.last().is_some_and(|frame| frame.tag == b'Z');
        if !ready {
            break frames;
        }
        assert!(!late || error(&frames).is_some(), "it runs after its time");
        assert!(began.elapsed() < PATIENCE, "it runs on and on");
    };
    assert!(Timestamp::now() >= until, "it ended before its time");
    let said = error(&last).expect("a last word");
    assert!(said.starts_with("57P01"), "{said}");
    let word = idle.read().expect("a last word");
    assert_eq!(word.field(b'C').as_deref(), Some("57P01"));
    assert!(idle.read().is_none());
    assert!(try_login(&pgveil).is_err(), "nobody comes in any more");
    true
}

#[test]
fn people_lose_their_role_with_the_policy_and_a_shared_session_its_trust() {
    let (_server, pgveil) = start(crate::POLICY);
    let mut client = login(&pgveil, "crm_app");
    let text = crate::for_user(PHONES, "carol");
    assert_eq!(cells(&client.query(&text)), crate::ALL);
    let put = |text: &str| {
        let folder = pgveil.folder().join("policies");
        let new = folder.join("test.yaml.new");
        fs::write(&new, text).expect("written");
        fs::rename(new, folder.join("test.yaml")).expect("renamed");
    };
    put(&crate::POLICY.replace("audit: [carol]", "audit: [somebody]"));
    let began = Instant::now();
    while cells(&client.query(&text)) == crate::ALL {
        assert!(began.elapsed() < PATIENCE, "the policy is not taken up");
    }
    assert_eq!(cells(&client.query(&text)), ["***"; 3]);
    // Nobody shares the user any more: the session was begun as another's.
    let users = "[crm_app, erp, old, signer, sealer]";
    put(&crate::POLICY
        .replace("  crm_app: { comment: app_user }\n", "")
        .replace(users, "[erp, old, signer, sealer]"));
    let word = client.read().expect("a last word");
    assert_eq!(word.field(b'C').as_deref(), Some("57P01"));
}
