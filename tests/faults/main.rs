//! What fails around pgveil: the server, the network, clients. Nothing hangs, nothing is left behind, and the next client
//! is served.
mod clients;
mod network;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::message::{Client, Frame, query, startup, tags};
use support::{Config, Options, PATIENCE, Pgveil, Postgres, Relay};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: clear }], unmasked: true }
  blind: { who: [{ db_user: blind }], mask: { phone: redact } }
unmatched: deny
";
/// Rows that take longer than any of these tests, and come as they are made: a function in FROM is run to its end first.
const ENDLESS: &str = "SELECT generate_series(1, 1000000000), repeat('x', 500)";
const USERS: [&str; 2] = ["clear", "blind"];
const LOGIN_TIMEOUT: Duration = Duration::from_secs(3);

/// A server, pgveil, and a relay before each.
struct Bench {
    server: Postgres,
    inner: Relay,
    pgveil: Pgveil,
    outer: Relay,
    /// Descriptors of pgveil when it had served everybody once.
    descriptors: usize,
}

impl Bench {
    fn start(settings: &[(&str, &str)]) -> Bench {
        let server = Postgres::start(Options {
            settings,
            ..Options::default()
        });
        server.sql(
            "postgres",
            "CREATE ROLE clear LOGIN; CREATE ROLE blind LOGIN; CREATE TABLE people (id int PRIMARY KEY, phone text); \
             INSERT INTO people SELECT g, '138' || g FROM generate_series(1, 50) g; GRANT SELECT ON people TO clear, blind",
        );
        let inner = Relay::to(server.port());
        let mut config = Config::upstream_port(inner.port());
        config.policy(POLICY);
        config.set(
            "limits",
            &format!(
                "{{ login_timeout: {}s, connect_timeout: 2s, catalog_refresh: 1s }}",
                LOGIN_TIMEOUT.as_secs()
            ),
        );
        let pgveil = Pgveil::start(&config);
        let outer = Relay::to(pgveil.port());
        let mut bench = Bench {
            server,
            inner,
            pgveil,
            outer,
            descriptors: 0,
        };
        bench.serves();
        bench.settle("before anything failed", usize::MAX);
        bench.descriptors = descriptors(bench.pgveil.pid());
        bench
    }

    fn login(&self, user: &str) -> Client {
        Client::login(self.outer.port(), user, "", "postgres")
    }

    /// Both roles come in, and are answered as ever.
    fn serves(&self) {
        for user in USERS {
            let began = Instant::now();
            // For a restricted role the catalog has to be read again after the server was away.
            let frames = loop {
                match try_query(
                    self.outer.port(),
                    user,
                    "SELECT phone FROM people WHERE id = 7",
                ) {
                    Some(frames) if tags(&frames) == "TDCZ" => break frames,
                    other => assert!(began.elapsed() < PATIENCE, "{user}: {other:?}"),
                }
            };
            let shown = frames[1].columns()[0].clone().unwrap_or_default();
            assert_eq!(shown == b"1387", user == "clear", "{user}: {shown:?}");
        }
    }

    /// No session is left, neither at the server nor as a descriptor of pgveil.
    fn nothing_is_left(&self, after: &str) {
        self.settle(after, self.descriptors);
    }

    fn settle(&self, after: &str, descriptors_at_most: usize) {
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('clear', 'blind')";
        let began = Instant::now();
        loop {
            let at_server = self.server.sql("postgres", sessions)[0][0].clone();
            let open = descriptors(self.pgveil.pid());
            if at_server.as_deref() == Some("0") && open <= descriptors_at_most {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{after}: {at_server:?} sessions at the server, {open} descriptors of pgveil, {descriptors_at_most} before"
            );
        }
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// What comes until the connection ends or is ready; `None` where nobody lets the client in.
fn try_query(port: u16, user: &str, text: &str) -> Option<Vec<Frame>> {
    let parameters = [("user", user), ("database", "postgres")];
    let mut client = attempt(port, &parameters).ok()?;
    Some(client.query(text))
}

/// As `Client::try_login`, where the connection may also end without a word.
fn attempt(port: u16, parameters: &[(&str, &str)]) -> Result<Client, Option<Frame>> {
    let mut client = Client::connect(port);
    client.send_raw(&startup(0, parameters));
    loop {
        match client.read() {
            Some(frame) if frame.tag == b'E' => return Err(Some(frame)),
            Some(frame) if frame.tag == b'Z' => return Ok(client),
            Some(_) => {}
            None => return Err(None),
        }
    }
}

/// A client in the middle of a result that does not end.
fn amid_rows(bench: &Bench, user: &str) -> Client {
    let mut client = bench.login(user);
    client.send_raw(&query(ENDLESS));
    for _ in 0..100 {
        assert!(client.read().is_some());
    }
    client
}

/// Reads on to the end of the connection; the last thing said, if it was an error. Broken frames end it too.
fn last_words(client: &mut Client) -> Option<Frame> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match client.stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                // The tail is enough: an error is short.
                let surplus = bytes.len().saturating_sub(4096);
                bytes.drain(..surplus);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("a hang"),
            Err(_) => break,
        }
    }
    let at = bytes
        .windows(7)
        .rposition(|window| window[0] == b'E' && window[5] == b'S' && window[6] == b'F')?;
    let body = bytes.get(at + 5..)?.to_vec();
    Some(Frame { tag: b'E', body })
}
