//! Several servers behind pgveil: one dies, another takes its place.
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crate::support::message::Client;
use crate::support::{Config, Options, PATIENCE, Pgveil, Postgres};
use crate::{POLICY, SCHEMA, attempt, error, values};

const CLIENTS: u64 = 16;

fn config(servers: &[&Postgres], more: &str) -> Config {
    let ports: Vec<String> = servers.iter().map(|one| one.port().to_string()).collect();
    let hosts = vec!["127.0.0.1"; ports.len()].join(", ");
    let mut config = Config::upstream_port(1);
    config.policy(POLICY);
    config.set(
        "upstream",
        &format!(
            "{{ host: [{hosts}], port: [{}], tls: disable, {more} catalog_user: {{ name: postgres }}, databases: [postgres] }}",
            ports.join(", ")
        ),
    );
    config.set("limits", "{ catalog_refresh: 1s, connect_timeout: 3s }");
    config
}

fn pair() -> (Postgres, Postgres) {
    let primary = Postgres::start(Options::default());
    primary.sql("postgres", SCHEMA);
    let standby = Postgres::standby_of(&primary);
    // What the tests rely on has arrived.
    let began = Instant::now();
    let there = "SELECT to_regclass('kept') IS NOT NULL";
    while standby.sql("postgres", there)[0][0].as_deref() != Some("t") {
        assert!(began.elapsed() < PATIENCE, "nothing is replicated");
    }
    (primary, standby)
}

/// Works until it is told to stop; gives how its sessions ended.
fn work(port: u16, number: u64, served: &AtomicU64, stop: &AtomicBool) -> Vec<Option<String>> {
    let user = ["clear", "blind"][(number % 2) as usize];
    let mut ends = Vec::new();
    let mut session: Option<Client> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(client) = &mut session else {
            session = attempt(port, user).ok();
            continue;
        };
        let text = format!(
            "INSERT INTO kept (who) VALUES ('{user}'); SELECT phone FROM people WHERE id = 7"
        );
        let frames = client.query(&text);
        if frames.last().is_some_and(|frame| frame.tag == b'Z') && error(&frames).is_none() {
            let shown = values(&frames);
            let expected = if user == "clear" { "1387" } else { "" };
            assert!(
                shown.len() == 1 && (shown[0] == expected) == (user == "clear"),
                "{shown:?}"
            );
            served.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // An error of a session that goes on is that of a restricted role without its catalog.
        match frames.last().map(|frame| frame.tag) {
            Some(b'Z') => ends.push(error(&frames)),
            _ => {
                ends.push(error(&frames));
                session = None;
            }
        }
    }
    ends
}

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn after_the_primary_was_killed_clients_come_back_to_the_standby_that_was_promoted() {
    let (mut primary, standby) = pair();
    let config = config(&[&primary, &standby], "target_session_attrs: read-write,");
    let pgveil = Pgveil::start(&config);
    let (served, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let ends = thread::scope(|scope| {
        let workers: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (served, stop, port) = (&served, &stop, pgveil.port());
                scope.spawn(move || work(port, number, served, stop))
            })
            .collect();
        until("nobody is served", || {
            served.load(Ordering::Relaxed) > 5 * CLIENTS
        });
        primary.kill();
        until("the death is not noticed", || {
            attempt(pgveil.port(), "clear").is_err()
        });
        let refused = attempt(pgveil.port(), "clear")
            .err()
            .flatten()
            .expect("told why");
        let code = refused.field(b'C').unwrap_or_default();
        assert!(["08006", "57P03"].contains(&&*code), "{refused:?}");
        standby.promote();
        let before = served.load(Ordering::Relaxed);
        until("nobody came back", || {
            served.load(Ordering::Relaxed) > before + 20 * CLIENTS
        });
        stop.store(true, Ordering::Relaxed);
        let ends = workers
            .into_iter()
            .map(|worker| worker.join().expect("a client"));
        ends.collect::<Vec<_>>()
    });
    for end in ends.into_iter().flatten().flatten() {
        let known = ["57P01", "57P02", "08006", "42501"];
        assert!(known.contains(&&end[..5]), "{end}");
    }
    // Of those after the failover all are there.
    let kept = standby.sql("postgres", "SELECT count(*) FROM kept");
    let kept: u64 = kept[0][0]
        .as_deref()
        .unwrap_or_default()
        .parse()
        .expect("a number");
    assert!(kept >= 20 * CLIENTS, "{kept}");
    assert!(pgveil.http("/readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn sessions_go_to_the_server_that_target_session_attrs_asks_for() {
    let (primary, mut standby) = pair();
    let order = [&standby, &primary];
    let start = |target: &str| Pgveil::start(&config(&order, target));
    let any = start("");
    let [writes, reads, prefers] = ["primary", "standby", "prefer-standby"]
        .map(|target| start(&format!("target_session_attrs: {target},")));
    let asked = |pgveil: &Pgveil| {
        let mut client =
            attempt(pgveil.port(), "clear").unwrap_or_else(|words| panic!("{words:?}"));
        values(&client.query("SELECT pg_is_in_recovery()")).concat()
    };
    assert_eq!(
        [&any, &writes, &reads, &prefers].map(asked),
        ["t", "f", "t", "t"]
    );

    // A cancel request goes to the server of its session.
    let Ok(mut client) = attempt(reads.port(), "clear") else {
        panic!("no session")
    };
    client.send_raw(&crate::support::message::query("SELECT pg_sleep(600)"));
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";
    until("it does not run", || {
        standby.sql("postgres", running)[0][0].as_deref() == Some("1")
    });
    client.cancel(reads.port());
    let frames = client.read_until_ready();
    assert!(error(&frames).expect("cancelled").starts_with("57014"));
    drop(client);

    standby.kill();
    until("a killed standby is not noticed", || {
        attempt(reads.port(), "clear").is_err()
    });
    let refused = attempt(reads.port(), "clear")
        .err()
        .flatten()
        .expect("told why");
    assert_eq!(refused.field(b'C').as_deref(), Some("57P03"), "{refused:?}");
    assert_eq!([&any, &writes, &prefers].map(asked), ["f", "f", "f"]);
}
