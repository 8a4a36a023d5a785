//! Clients that go without a word, wherever they are.
use crate::support::message::{bind, execute, parse, startup};
use crate::{Bench, Client, USERS, amid_rows, query};

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
