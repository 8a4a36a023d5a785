//! Clients that go without a word, wherever they are.
use std::time::Instant;

use crate::support::message::{bind, execute, parse, startup};
use crate::{Bench, Client, PATIENCE, USERS, amid_rows, query};

/// Whoever has seen rows is on record for it, also where the connection ends before the statement does.
#[test]
fn rows_that_were_seen_are_on_record_though_the_client_goes_before_the_end() {
    for resets in [true, false] {
        let bench = Bench::start(&[]);
        for user in USERS {
            let text = "SELECT generate_series(1, 1000000000), phone FROM people";
            let mut client = bench.login(user);
            client.send_raw(&query(text));
            for _ in 0..100 {
                assert!(client.read().is_some());
            }
            if !resets {
                // Without unread rows it is no reset that ends the connection: the next row finds out.
                client.finish();
            }
            drop(client);
            bench.nothing_is_left("a client that has seen rows");
        }
        for user in USERS {
            let began = Instant::now();
            loop {
                let lines = bench.pgveil.audit_lines();
                let seen = lines.iter().find(|line| {
                    line.contains("\"event\":\"statement\"")
                        && line.contains("generate_series")
                        && line.contains(&format!("\"db_user\":\"{user}\""))
                });
                if let Some(line) = seen {
                    assert!(line.contains("\"sqlstate\":\"08006\""), "{line}");
                    break;
                }
                assert!(
                    began.elapsed() < PATIENCE,
                    "{user}: no record, resets {resets}"
                );
            }
        }
    }
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let bench = Bench::start(&[]);
    for _ in 0..5 {
        let mut clients = Vec::new();
        for user in USERS {
            // With unread rows the kernel resets the connection when it is closed.
            clients.push(amid_rows(&bench, user));
            clients.push(bench.login(user));
            for text in [
                "BEGIN",
                "BEGIN; SELECT phone FROM people",
                "LISTEN ch",
                "CREATE TEMP TABLE t (id int)",
            ] {
                let mut client = bench.login(user);
                client.query(text);
                clients.push(client);
            }
            for bytes in [
                query("SELECT phone FROM people"),
                query("COPY people TO STDOUT"),
                [
                    parse("s", "SELECT phone FROM people", &[]),
                    bind("", "s", &[], 0),
                    execute("", 3),
                ]
                .concat(),
                b"Q\0\0\0\x40SELECT 1".to_vec(),
                b"P".to_vec(),
            ] {
                let mut client = bench.login(user);
                client.send_raw(&bytes);
                clients.push(client);
            }
            let mut client = Client::connect(bench.pgveil.port());
            client.send_raw(&startup(0, &[("user", user), ("database", "postgres")]));
            clients.push(client);
        }
        drop(clients);
        bench.nothing_is_left("clients that vanished");
    }
    bench.serves();
}
