//! Proxies that share a state in PostgreSQL, and what they do without it.
use std::thread;

use crate::support::message::Client;
use crate::support::{Config, Options, Pgveil, Postgres};
use crate::{BOTH, Taken, login, policy, request_of, start, together, told};

/// A proxy whose state is in a database of its own server.
fn proxy_over(server: &Postgres, state: &Postgres, export: &str) -> Pgveil {
    let mut config = Config::new(server);
    config.policy(&policy(export));
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
        state.port()
    );
    config.set("state", &url);
    Pgveil::start(&config)
}

#[test]
fn two_proxies_that_share_a_state_share_every_budget() {
    const LIMIT: usize = 1000;
    let (server, _alone) = start(BOTH);
    let state = Postgres::start(Options::default());
    let export = format!("per_day: {LIMIT}, approvers: [legal, dpo]");
    let proxies = [
        proxy_over(&server, &state, &export),
        proxy_over(&server, &state, &export),
    ];
    let sessions: Vec<_> = (0..64)
        .map(|number| {
            let port = proxies[number % 2].port();
            thread::spawn(move || {
                let mut taken = Taken::default();
                let mut client = Client::login(port, "u0", "", "postgres");
                let texts = (0..6).map(|page| {
                    let from = number * 70 + page * 10;
                    format!("SELECT code FROM contacts WHERE id > {from} ORDER BY id LIMIT 10")
                });
                taken.run(&mut client, texts);
                taken.0
            })
        })
        .collect();
    let all = together(sessions);
    assert!(all.len() <= LIMIT, "{} codes", all.len());
    // What is leased and not spent is the other's to miss: a lease, for a minute.
    assert!(
        all.len() >= LIMIT - 2 * LIMIT / 32 - 20,
        "{} codes",
        all.len()
    );
    eprintln!(
        "{} of {LIMIT} rows served by two proxies to 64 clients",
        all.len()
    );

    // A request made at one proxy is found at the other.
    let text = "SELECT code FROM contacts WHERE id > 77";
    let ids: Vec<String> = proxies
        .iter()
        .map(|proxy| request_of(&Taken::default().run(&mut login(proxy, "u7"), [text.to_owned()])))
        .collect();
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn without_its_state_a_proxy_serves_what_needs_none() {
    let (server, _alone) = start(BOTH);
    let mut state = Postgres::start(Options::default());
    let pgveil = proxy_over(
        &server,
        &state,
        "rows: 100, per_day: 1000, approvers: [legal, dpo]",
    );
    let mut client = login(&pgveil, "u0");
    assert!(told(&client.query("SELECT code FROM contacts LIMIT 5")).is_none());
    state.crash();
    assert!(
        told(&client.query("SELECT * FROM plain")).is_none(),
        "nothing of it is counted"
    );
    // Rows that are leased still go out; then nobody knows any more.
    let mut taken = Taken::default();
    let stopped = taken.run(
        &mut client,
        (0..100).map(|_| "SELECT code FROM contacts LIMIT 5".to_owned()),
    );
    let stopped = stopped.expect("a refusal");
    assert!(stopped.message.contains("cannot be counted"), "{stopped:?}");
    assert!(told(&client.query("SELECT count(*) FROM plain")).is_none());
    assert!(pgveil.http("/metrics").contains("pgveil_state_available 0"));
    state.restart();
    let mut attempts = 0;
    while told(&client.query("SELECT code FROM contacts LIMIT 5")).is_some() {
        attempts += 1;
        assert!(attempts < 600, "it does not recover");
        thread::sleep(std::time::Duration::from_millis(100));
    }
}
