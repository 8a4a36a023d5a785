//! The issuer's keys: fetched, kept, exchanged, and not to be had.
use std::time::Instant;

use crate::issuer::Key;
use crate::support::PATIENCE;
use crate::{Bench, MASKED, PHONES, asked};

/// Tries until it comes in: the issuer is asked at intervals.
fn at_last(mut attempt: impl FnMut() -> Result<String, String>) -> String {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(answer) => return answer,
            Err(said) => assert!(began.elapsed() < PATIENCE, "{said}"),
        }
    }
}

#[test]
fn a_new_key_is_fetched_when_a_token_names_it_and_strangers_make_no_traffic() {
    let bench = Bench::new();
    let pgveil = bench.start("");
    let old = bench.token("alice", &["support"]);
    assert_eq!(asked(&pgveil, &old, PHONES).as_deref(), Ok(MASKED));
    assert_eq!(bench.issuer.times_asked(), 1);
    for _ in 0..5 {
        assert_eq!(asked(&pgveil, &old, PHONES).as_deref(), Ok(MASKED));
    }
    assert_eq!(bench.issuer.times_asked(), 1, "keys are kept");

    let next = Key::es("2");
    bench.issuer.publish(&[&next]);
    let new = next.token(&bench.issuer.claims("alice", &["support"]));
    assert_eq!(at_last(|| asked(&pgveil, &new, PHONES)), MASKED);
    // What was taken from the set is worth nothing from then on.
    let said = asked(&pgveil, &old, PHONES).unwrap_err();
    assert!(said.contains("token authentication failed"), "{said}");

    let before = bench.issuer.times_asked();
    let began = Instant::now();
    for number in 0..12 {
        let unknown = Key::ed(&format!("unknown {number}"));
        let token = unknown.token(&bench.issuer.claims("alice", &["support"]));
        assert!(asked(&pgveil, &token, PHONES).is_err());
    }
    let most = 1 + began.elapsed().as_secs() as usize / 2;
    let times = bench.issuer.times_asked() - before;
    assert!(
        times <= most,
        "asked {times} times, expected at most {most}"
    );
}

#[test]
fn while_an_issuer_is_away_its_keys_serve_until_they_are_too_old() {
    let bench = Bench::new();
    bench.issuer.be_away(true);
    let pgveil = bench.start("      refresh: 1s\n      max_age: 8s");
    let token = bench.token("alice", &["support"]);
    let said = asked(&pgveil, &token, PHONES).unwrap_err();
    assert!(
        said.contains("the keys of their issuer cannot be read"),
        "{said}"
    );
    assert!(said.contains("HINT"), "{said}");

    bench.issuer.be_away(false);
    assert_eq!(at_last(|| asked(&pgveil, &token, PHONES)), MASKED);
    bench.issuer.be_away(true);
    let known = Instant::now();
    let mut served = 0;
    let said = loop {
        match asked(&pgveil, &token, PHONES) {
            Ok(answer) => {
                assert_eq!(answer, MASKED);
                served += 1;
            }
            Err(said) => break said,
        }
        assert!(known.elapsed() < PATIENCE, "keys serve for ever");
    };
    assert!(served > 0);
    assert!(
        said.contains("the keys of their issuer cannot be read"),
        "{said}"
    );
    bench.issuer.be_away(false);
    assert_eq!(at_last(|| asked(&pgveil, &token, PHONES)), MASKED);
}

#[test]
fn a_changed_setting_leaves_the_keys_alone() {
    let bench = Bench::new();
    let pgveil = bench.start("");
    let token = bench.token("alice", &["support"]);
    assert_eq!(asked(&pgveil, &token, PHONES).as_deref(), Ok(MASKED));
    bench.issuer.be_away(true);
    let path = pgveil.folder().join("pgveil.yaml");
    let text = std::fs::read_to_string(&path).expect("settings");
    let text = text.replace("audience: [other, pgveil]", "audience: pgveil");
    std::fs::write(&path, text).expect("written");
    assert!(pgveil.wait_for_log("came into force as they are now"));
    assert_eq!(asked(&pgveil, &token, PHONES).as_deref(), Ok(MASKED));
}
