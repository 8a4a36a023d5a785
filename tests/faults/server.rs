//! The server is killed, restarted, paused, out of connections.
use std::time::Instant;

use crate::support::guard::signal;
use crate::support::message::{Client, tags};
use crate::{Bench, ENDLESS, LOGIN_TIMEOUT, USERS, amid_rows, attempt, last_words, query};

#[test]
fn a_killed_server_is_told_to_everybody_and_missed_by_nobody_once_it_is_back() {
    let mut bench = Bench::start(&[]);
    let mut clients = Vec::new();
    for user in USERS {
        clients.push(("amid rows", amid_rows(&bench, user)));
        clients.push(("idle", bench.login(user)));
        let mut client = bench.login(user);
        client.query("BEGIN; SELECT 1");
        clients.push(("in a transaction", client));
        let mut client = bench.login(user);
        client.send_raw(&query("SELECT pg_sleep(600)"));
        clients.push(("waiting", client));
    }
    bench.server.crash();
    for (what, client) in &mut clients {
        let Some(words) = last_words(client) else {
            // In the middle of a row nothing can be said any more.
            assert_eq!(*what, "amid rows", "no last words");
            continue;
        };
        let code = words.field(b'C').unwrap_or_default();
        // The server's own (immediate shutdown) or, where there are none, pgveil's.
        assert!(
            ["57P01", "57P02", "08006"].contains(&&*code),
            "{what}: {words:?}"
        );
    }
    drop(clients);
    for user in USERS {
        let refused = attempt(
            bench.outer.port(),
            &[("user", user), ("database", "postgres")],
        );
        let words = refused
            .err()
            .flatten()
            .expect("told that the server is away");
        assert_eq!(words.field(b'C').as_deref(), Some("08006"), "{words:?}");
    }
    bench.server.restart();
    bench.serves();
    bench.nothing_is_left("a killed server");
}

#[test]
fn a_server_that_takes_no_logins_holds_up_those_who_come_and_nobody_else() {
    let bench = Bench::start(&[]);
    let mut inside = USERS.map(|user| bench.login(user));
    signal(bench.server.pid(), "STOP");
    let began = Instant::now();
    let refused = attempt(
        bench.outer.port(),
        &[("user", "clear"), ("database", "postgres")],
    );
    let took = began.elapsed();
    for client in &mut inside {
        assert_eq!(tags(&client.query("SELECT 1")), "TDCZ");
    }
    signal(bench.server.pid(), "CONT");
    let words = refused.err().flatten().expect("told that it took too long");
    assert_eq!(words.field(b'S').as_deref(), Some("FATAL"), "{words:?}");
    assert!(
        took >= LOGIN_TIMEOUT && took < 4 * LOGIN_TIMEOUT,
        "{took:?}"
    );
    drop(inside);
    bench.serves();
    bench.nothing_is_left("a paused server");
}

#[test]
fn a_backend_that_stands_still_holds_up_its_own_client_alone() {
    let bench = Bench::start(&[]);
    for user in USERS {
        let mut client = bench.login(user);
        let pid = client.session.backend_pid;
        signal(pid, "STOP");
        client.send_raw(&query("SELECT 'later'"));
        bench.serves();
        signal(pid, "CONT");
        assert_eq!(tags(&client.read_until_ready()), "TDCZ", "{user}");
        drop(client);
        // And a client that is gone for good leaves nothing at pgveil: closed with an answer unread, its connection is reset.
        let mut client = Client::login(bench.pgveil.port(), user, "", "postgres");
        let pid = client.session.backend_pid;
        client.send_raw(&query("SELECT 'unread'"));
        client.stream.peek(&mut [0]).expect("an answer");
        signal(pid, "STOP");
        client.send_raw(&query(ENDLESS));
        drop(client);
        let began = Instant::now();
        while crate::descriptors(bench.pgveil.pid()) > bench.descriptors {
            assert!(
                began.elapsed() < crate::PATIENCE,
                "{user}: a descriptor is left"
            );
        }
        signal(pid, "CONT");
        bench.nothing_is_left("a backend that stood still");
    }
}

#[test]
fn a_server_without_connections_says_so_in_its_own_words() {
    let bench = Bench::start(&[("max_connections", "8")]);
    let mut inside = Vec::new();
    let refused = loop {
        match attempt(
            bench.outer.port(),
            &[("user", "clear"), ("database", "postgres")],
        ) {
            Ok(client) => inside.push(client),
            Err(refused) => break refused.expect("a reason"),
        }
        assert!(inside.len() < 20);
    };
    assert_eq!(refused.field(b'C').as_deref(), Some("53300"), "{refused:?}");
    let direct = attempt(
        bench.server.port(),
        &[("user", "clear"), ("database", "postgres")],
    );
    let direct = direct.err().flatten().expect("refused directly as well");
    assert_eq!(refused.field(b'M'), direct.field(b'M'));
    inside.pop();
    let began = Instant::now();
    while attempt(
        bench.outer.port(),
        &[("user", "clear"), ("database", "postgres")],
    )
    .is_err()
    {
        assert!(
            began.elapsed() < crate::PATIENCE,
            "the place of one that left is not given on"
        );
    }
    drop(inside);
    bench.serves();
    bench.nothing_is_left("too many connections");
}
