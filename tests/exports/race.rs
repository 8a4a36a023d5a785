//! A hundred sessions of one person, and a hundred rows that are left of the day.
use std::sync::{Arc, Barrier};
use std::thread;

use crate::support::{Config, Pgveil};
use crate::{DAY, Taken, login, policy, server, together};

const SESSIONS: usize = 100;
const LEFT: usize = 100;

#[test]
fn a_hundred_sessions_race_for_the_last_hundred_rows_and_get_those() {
    let server = server(&[("max_connections", "150")]);
    let mut config = Config::new(&server);
    config.policy(&policy("per_day: 300, approvers: [legal, dpo]"));
    let pgveil = Arc::new(Pgveil::start(&config));
    let mut before = Taken::default();
    let first = format!("SELECT code FROM contacts WHERE id <= {}", DAY - LEFT);
    assert!(before.run(&mut login(&pgveil, "u1"), [first]).is_none());
    assert_eq!(before.count(), DAY - LEFT);

    let begin = Arc::new(Barrier::new(SESSIONS));
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let (pgveil, begin) = (Arc::clone(&pgveil), Arc::clone(&begin));
            thread::spawn(move || {
                // Both users are one person. Each session wants six rows that nobody else wants, one by one or together.
                let mut client = login(&pgveil, &format!("u{}", 1 + number % 2));
                let from = DAY + number * 6;
                let texts: Vec<String> = match number % 3 {
                    0 => vec![format!(
                        "SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 6"
                    )],
                    _ => (1..=6)
                        .map(|row| format!("SELECT code FROM contacts WHERE id = {}", from + row))
                        .collect(),
                };
                begin.wait();
                let mut taken = Taken::default();
                taken.run(&mut client, texts);
                taken.0
            })
        })
        .collect();
    let all = together(sessions);
    // Never over; and within one proxy nobody is refused as long as a row is left.
    assert_eq!(all.len(), LEFT);
}
