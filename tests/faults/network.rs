//! The network on either side of pgveil is slow, breaks off, or swallows everything.
use std::time::{Duration, Instant};

use crate::support::Fault;
use crate::support::message::Client;
use crate::support::message::tags;
use crate::{
    Bench, LOGIN_TIMEOUT, PATIENCE, USERS, amid_rows, attempt, descriptors, last_words, query,
    startup,
};

#[test]
fn a_slow_network_is_slow_and_nothing_else() {
    let bench = Bench::start(&[]);
    bench.inner.set(Fault::Delay(Duration::from_millis(20)));
    bench.outer.set(Fault::Delay(Duration::from_millis(20)));
    bench.serves();
    let mut client = bench.login("blind");
    let frames = client.query("BEGIN; SELECT count(*) FROM people; COMMIT");
    assert_eq!(tags(&frames), "CTDCCZ");
    drop(client);
    bench.nothing_is_left("a slow network");
}

#[test]
fn a_reset_from_the_server_is_told_to_the_client() {
    let bench = Bench::start(&[]);
    let mut amid: Vec<_> = USERS.map(|user| amid_rows(&bench, user)).into();
    let mut idle: Vec<_> = USERS.map(|user| bench.login(user)).into();
    bench.inner.set(Fault::Reset);
    for client in &mut idle {
        let words = last_words(client).expect("last words");
        assert_eq!(words.field(b'C').as_deref(), Some("08006"), "{words:?}");
    }
    for client in &mut amid {
        // In the middle of a row nothing can be said any more.
        let code = last_words(client).and_then(|words| words.field(b'C'));
        assert!(code.is_none_or(|code| code == "08006"));
    }
    bench.inner.set(Fault::Sound);
    drop((amid, idle));
    bench.serves();
    bench.nothing_is_left("a reset from the server");
}

#[test]
fn a_reset_from_clients_leaves_nothing_behind() {
    let bench = Bench::start(&[]);
    let clients: Vec<_> = (0..10)
        .flat_map(|_| USERS)
        .flat_map(|user| [amid_rows(&bench, user), bench.login(user)])
        .collect();
    bench.outer.set(Fault::Reset);
    bench.nothing_is_left("a reset from clients");
    bench.outer.set(Fault::Sound);
    drop(clients);
    bench.serves();
}

#[test]
fn a_network_that_swallows_everything_gives_it_all_back_in_the_end() {
    let bench = Bench::start(&[]);
    for user in USERS {
        let mut client = bench.login(user);
        for relay in [&bench.inner, &bench.outer] {
            relay.set(Fault::Blackhole);
            client.send_raw(&query("SELECT phone FROM people WHERE id = 3"));
            relay.set(Fault::Sound);
            assert_eq!(tags(&client.read_until_ready()), "TDCZ", "{user}");
        }
    }
    bench.nothing_is_left("a network that came back");
}

#[test]
fn a_login_that_gets_no_answer_ends_in_time() {
    let bench = Bench::start(&[]);
    bench.inner.set(Fault::Blackhole);
    for user in USERS {
        let began = Instant::now();
        let refused = attempt(
            bench.outer.port(),
            &[("user", user), ("database", "postgres")],
        );
        let words = refused.err().flatten().expect("a reason");
        assert_eq!(words.field(b'S').as_deref(), Some("FATAL"), "{words:?}");
        assert!(began.elapsed() < 4 * LOGIN_TIMEOUT, "{:?}", began.elapsed());
    }
    bench.inner.set(Fault::Sound);
    bench.serves();
    bench.nothing_is_left("logins without an answer");
}

#[test]
fn a_client_that_falls_silent_in_its_login_is_let_go() {
    let bench = Bench::start(&[]);
    let packet = startup(0, &[("user", "clear"), ("database", "postgres")]);
    let clients: Vec<Client> = [&b""[..], &packet[..1], &packet[..packet.len() - 1]]
        .into_iter()
        .map(|bytes| {
            let mut client = Client::connect(bench.outer.port());
            client.send_raw(bytes);
            client
        })
        .collect();
    let began = Instant::now();
    while descriptors(bench.pgveil.pid()) <= bench.descriptors {
        assert!(began.elapsed() < PATIENCE, "they never came");
    }
    bench.outer.set(Fault::Blackhole);
    bench.nothing_is_left("clients that fell silent");
    bench.outer.set(Fault::Sound);
    drop(clients);
    bench.serves();
}

/// The server is out of reach, its connections stand: a client that leaves takes its own along.
#[test]
fn a_session_whose_server_is_out_of_reach_ends_with_its_client() {
    let bench = Bench::start(&[]);
    let clients: Vec<_> = USERS
        .iter()
        .flat_map(|user| [amid_rows(&bench, user), bench.login(user)])
        .collect();
    bench.inner.set(Fault::Blackhole);
    drop(clients);
    let began = Instant::now();
    // pgveil's own connections may have been made anew.
    while descriptors(bench.pgveil.pid()) > bench.descriptors + 2 {
        assert!(
            began.elapsed() < PATIENCE,
            "{} descriptors",
            descriptors(bench.pgveil.pid())
        );
    }
    bench.inner.set(Fault::Sound);
    bench.serves();
    bench.nothing_is_left("a server out of reach");
}
