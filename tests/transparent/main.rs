//! The same session, direct and through pgveil, byte for byte: all that differs are process ids and cancel keys. In
//! whatever pieces the bytes come, however slowly they are read, whoever closes first.
mod broken;
mod copies;
mod corners;
mod everyday;
mod flow;
mod restricted;
mod script;
#[path = "../support/mod.rs"]
mod support;

use std::io::Read;

use script::{Script, difference, played};
use support::message::{CANCEL, Client, Frame, query, terminate, untagged};
use support::{Config, Options, Pgveil, Postgres};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: clear }], unmasked: true }
  blind: { who: [{ db_user: blind }], mask: { phone: redact } }
unmatched: deny
";

struct Bench {
    server: Postgres,
    pgveil: Pgveil,
}

impl Bench {
    fn start() -> Bench {
        Bench::through(|port| (port, ())).0
    }

    /// `between` stands between pgveil and the server: it gets the server's port and gives its own.
    fn through<T>(between: impl FnOnce(u16) -> (u16, T)) -> (Bench, T) {
        let server = Postgres::start(Options::default());
        server.sql(
            "postgres",
            "CREATE ROLE clear LOGIN SUPERUSER; CREATE ROLE blind LOGIN SUPERUSER; CREATE TABLE people(id int PRIMARY KEY, phone text); \
             INSERT INTO people SELECT g, '138'||g FROM generate_series(1, 50) g; CREATE TABLE plain(id int PRIMARY KEY, t text)",
        );
        let (port, kept) = between(server.port());
        let mut config = Config::upstream_port(port);
        config.policy(POLICY);
        let pgveil = Pgveil::start(&config);
        (Bench { server, pgveil }, kept)
    }

    fn ports(&self) -> [u16; 2] {
        [self.server.port(), self.pgveil.port()]
    }
}

/// Whether the table that scripts write to has to be emptied before.
fn writes(script: &Script) -> bool {
    let mut messages = script.pieces.iter().flat_map(|(messages, _)| messages);
    messages.any(|message| message.windows(5).any(|bytes| bytes == b"plain"))
}

/// All scripts, direct and through pgveil: what differs and is not among `known`, and what is and does not.
fn compare(
    bench: &Bench,
    through: u16,
    user: &str,
    chunk: usize,
    scripts: &[Script],
    known: &[(&str, &str)],
    kept: fn(Vec<Frame>) -> Vec<Frame>,
) -> Vec<String> {
    let mut admin = Client::login(bench.server.port(), "postgres", "", "postgres");
    let mut failures = Vec::new();
    for script in scripts {
        let [direct, through] = [bench.server.port(), through].map(|port| {
            if writes(script) {
                admin.query("TRUNCATE plain");
            }
            let mut client = Client::login(port, user, "", "postgres");
            kept(played(&mut client, script, chunk))
        });
        let listed = known.iter().find(|(name, _)| *name == script.name);
        match (difference(script.name, &direct, &through), listed) {
            (Some(found), None) => failures.push(found),
            (None, Some((name, why))) => {
                failures.push(format!("{name} is as directly; it was listed: {why}"));
            }
            _ => {}
        }
    }
    for (name, _) in known {
        assert!(
            scripts.iter().any(|script| script.name == *name) || chunk > 0,
            "{name} is no script"
        );
    }
    failures
}

fn as_sent(frames: Vec<Frame>) -> Vec<Frame> {
    frames
}

fn all() -> Vec<Script> {
    let mut scripts = everyday::scripts();
    scripts.extend(corners::scripts());
    scripts.extend(copies::scripts());
    scripts.extend(broken::scripts());
    scripts
}

/// Without megabytes, which take long in pieces of a byte.
fn small() -> Vec<Script> {
    let bytes = |script: &Script| -> usize {
        let messages = script.pieces.iter().flat_map(|(messages, _)| messages);
        messages.map(Vec::len).sum()
    };
    let mut scripts = all();
    scripts.retain(|script| bytes(script) < 10_000);
    scripts
}

#[test]
fn an_unrestricted_session_is_byte_for_byte_the_direct_one() {
    let bench = Bench::start();
    let through = bench.pgveil.port();
    let failures = compare(
        &bench,
        through,
        "clear",
        0,
        &all(),
        broken::OWN_WORDS,
        as_sent,
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn writes_of_one_byte_change_nothing() {
    let bench = Bench::start();
    let through = bench.pgveil.port();
    let failures = compare(
        &bench,
        through,
        "clear",
        1,
        &small(),
        broken::OWN_WORDS,
        as_sent,
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn login_parameters_are_those_of_the_server() {
    let bench = Bench::start();
    let [mut direct, mut through] = bench.ports().map(|port| {
        Client::try_login(
            port,
            "clear",
            "",
            &[
                ("user", "clear"),
                ("database", "postgres"),
                ("application_name", "a b"),
                ("options", "-c work_mem=5MB"),
                ("client_encoding", "LATIN1"),
            ],
        )
        .expect("login")
        .parameters_sorted()
    });
    direct.sort();
    through.sort();
    assert_eq!(direct, through);
}

trait Sorted {
    fn parameters_sorted(self) -> Vec<(String, String)>;
}

impl Sorted for Client {
    fn parameters_sorted(mut self) -> Vec<(String, String)> {
        let mut parameters = self.session.parameters.clone();
        let rows = self.query("SHOW work_mem");
        let shown = rows
            .iter()
            .find(|frame| frame.tag == b'D')
            .map(|frame| format!("{frame:?}"));
        parameters.push(("work_mem".into(), shown.unwrap_or_default()));
        parameters
    }
}

#[test]
fn a_client_that_reads_byte_by_byte_gets_everything() {
    let bench = Bench::start();
    let mut client = Client::login(bench.pgveil.port(), "clear", "", "postgres");
    client.send_raw(&query(
        "SELECT repeat('x', 20000), g FROM generate_series(1, 20) g",
    ));
    let mut bytes = Vec::new();
    let end = [b'Z', 0, 0, 0, 5, b'I'];
    while !bytes.ends_with(&end) {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).expect("a byte");
        bytes.push(byte[0]);
    }
    assert!(bytes.len() > 400_000);
}

/// What comes in place of a startup packet is answered as the server answers it: most of it by silence.
#[test]
fn packets_before_a_login_are_answered_as_directly() {
    let bench = Bench::start();
    let packet = |code: u32, rest: &[u8]| untagged(&[&code.to_be_bytes()[..], rest].concat());
    const VERSION_3: u32 = 3 << 16;
    let packets: [(&str, Vec<u8>); 11] = [
        ("good-bye", terminate()),
        ("a query", query("SELECT 1")),
        ("nothing", Vec::new()),
        ("a length of three", vec![0, 0, 0, 3]),
        ("a length of four", vec![0, 0, 0, 4]),
        ("a length beyond all", 20_000u32.to_be_bytes().to_vec()),
        ("half a packet", vec![0, 0, 0, 20, 0, 3]),
        ("a cancel request too short", packet(CANCEL, b"abc")),
        ("a cancel request of nobody", packet(CANCEL, &[0; 8])),
        ("no user", packet(VERSION_3, b"\0")),
        ("no end", packet(VERSION_3, b"user\0clear\0")),
    ];
    let mut failures = Vec::new();
    for (name, bytes) in &packets {
        let [direct, through] = bench.ports().map(|port| {
            let mut client = Client::connect(port);
            client.send_raw(bytes);
            client.finish();
            restricted::kept(std::iter::from_fn(|| client.read()).collect())
        });
        failures.extend(difference(name, &direct, &through));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
