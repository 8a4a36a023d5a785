//! What clients see when something dies beside pgveil that has no test of its own elsewhere.
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{SCHEMA, attempt, error, values};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: clear }, { db_user: postgres }], unmasked: true }
  blind: { who: [{ db_user: blind }], mask: { phone: redact }, export: { per_hour: 40 } }
unmatched: deny
";

#[test]
fn without_its_state_pgveil_serves_what_needs_no_counting_and_refuses_the_rest() {
    let server = Postgres::start(Options::default());
    server.sql("postgres", SCHEMA);
    let mut state = Postgres::start(Options::default());
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set(
        "state",
        &format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            state.port()
        ),
    );
    let pgveil = Pgveil::start(&config);
    let mut blind = attempt(pgveil.port(), "blind").expect("in");
    let take = "SELECT phone FROM people WHERE id <= 5";
    assert_eq!(values(&blind.query(take)).len(), 5);
    state.crash();
    let began = Instant::now();
    // What was leased may be spent; then nothing more goes out.
    let refused = loop {
        let frames = blind.query(take);
        match error(&frames) {
            Some(words) => break words,
            None => assert!(began.elapsed() < PATIENCE, "rows go out uncounted"),
        }
    };
    assert!(
        refused.starts_with("42501 pgveil: exports cannot be counted"),
        "{refused}"
    );
    // Whoever takes out nothing that is counted goes on, and comes in.
    assert_eq!(values(&blind.query("SELECT 'no row of it'")).len(), 1);
    let mut clear = attempt(pgveil.port(), "clear").expect("in");
    assert_eq!(values(&clear.query(take)).len(), 5);
    state.restart();
    let began = Instant::now();
    while error(&blind.query(take)).is_some() {
        assert!(began.elapsed() < PATIENCE, "the state is not found again");
        thread::sleep(Duration::from_millis(100));
    }
}
