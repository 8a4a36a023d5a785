//! How long a token opens a session, and who is taken out while it is open.
use std::time::Instant;

use serde_json::json;

use crate::issuer::now;
use crate::support::PATIENCE;
use crate::support::message::{self, Client, Frame};
use crate::{Bench, POLICY, cells, session};

const PLAIN: &str = "      allow_plaintext: true\n      leeway: 1s\n";
const ROWS: &str = "SELECT id FROM crm.contacts ORDER BY id";

/// Everything up to the end of the connection.
fn until_the_end(client: &mut Client) -> Vec<Frame> {
    std::iter::from_fn(|| client.read()).collect()
}

fn sqlstate(frames: &[Frame]) -> Option<String> {
    frames.iter().find(|frame| frame.tag == b'E')?.field(b'C')
}

#[test]
fn a_session_ends_with_its_token() {
    for groups in ["support", "audit"] {
        let bench = Bench::new();
        let pgveil = bench.start(PLAIN);
        let mut claims = bench.issuer.claims("alice", &[groups]);
        let end = now() + 3;
        claims["exp"] = json!(end);
        let token = bench.key.token(&claims);
        let (mut busy, mut idle, mut open) = (
            session(&pgveil, &token),
            session(&pgveil, &token),
            session(&pgveil, &token),
        );
        assert!(!cells(&idle.query(ROWS)).is_empty());
        open.query("BEGIN");
        let last = loop {
            busy.send_all(&[message::query(ROWS)]);
            let frames = busy.read_until_ready();
            if frames.last().is_none_or(|frame| frame.tag != b'Z') {
                break frames;
            }
            assert!(now() <= end + 2, "it runs after its token");
        };
        assert_eq!(sqlstate(&last).as_deref(), Some("57P01"));
        assert!(cells(&last).is_empty(), "{groups}");
        assert!(now() > end, "{groups}: it has the leeway");
        // One that asks nothing is told as well, and so is one in a transaction.
        assert_eq!(
            sqlstate(&until_the_end(&mut idle)).as_deref(),
            Some("57P01")
        );
        assert_eq!(
            sqlstate(&until_the_end(&mut open)).as_deref(),
            Some("57P01")
        );
        let parameters = [("user", "crm_staff"), ("database", "postgres")];
        let again = Client::try_login(pgveil.port(), "crm_staff", &token, &parameters);
        let said = again.err().expect("it is over");
        assert_eq!(said.field(b'C').as_deref(), Some("28P01"));
        assert!(
            said.field(b'H')
                .is_some_and(|hint| hint.contains("expired"))
        );
    }
}

#[test]
fn a_session_outlives_its_token_where_the_settings_say_so() {
    let bench = Bench::new();
    let pgveil = bench.start(&format!("{PLAIN}      at_expiry: keep\n"));
    let mut claims = bench.issuer.claims("alice", &["support"]);
    let end = now() + 1;
    claims["exp"] = json!(end);
    let mut client = session(&pgveil, &bench.key.token(&claims));
    let began = Instant::now();
    while now() <= end + 2 {
        assert_eq!(cells(&client.query(ROWS)).len(), 2);
        assert!(began.elapsed() < PATIENCE);
    }
    // A new one needs a new token.
    let parameters = [("user", "crm_staff"), ("database", "postgres")];
    let token = bench.key.token(&claims);
    assert!(Client::try_login(pgveil.port(), "crm_staff", &token, &parameters).is_err());
}

#[test]
fn whom_the_policy_takes_out_loses_the_session() {
    let bench = Bench::new();
    let pgveil = bench.start(PLAIN);
    let mut carol = session(&pgveil, &bench.token("carol", &[]));
    let mut dave = session(&pgveil, &bench.token("dave", &[]));
    assert_eq!(cells(&carol.query(ROWS)).len(), 3);
    let policy = POLICY.replace("audit: [carol]", "audit: [nobody]");
    std::fs::write(pgveil.folder().join("policies/test.yaml"), &policy).expect("written");
    assert_eq!(
        sqlstate(&until_the_end(&mut carol)).as_deref(),
        Some("57P01")
    );
    assert_eq!(cells(&dave.query(ROWS)).len(), 3);
    let policy = policy.replace("app_user: dave", "app_user: nobody");
    std::fs::write(pgveil.folder().join("policies/test.yaml"), policy).expect("written");
    assert_eq!(
        sqlstate(&until_the_end(&mut dave)).as_deref(),
        Some("57P01")
    );
}
