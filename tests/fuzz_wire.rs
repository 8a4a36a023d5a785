//! Startup packets and frames from a fuzzer: whatever bytes arrive, pgveil neither panics nor hangs, and serves the next
//! client. Seeds are real sessions (and whatever lies in `tests/corpus/wire`);
//! `PGVEIL_FUZZ_SECONDS` says how long (5 by default), `PGVEIL_FUZZ_SEED` where to begin; an input that hung is kept in
//! `target/fuzz`.
mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::message::{
    Client, bind, close, describe, execute, flush, frame, parse, query, startup, sync, tags,
    untagged,
};
use support::{Config, Options, PATIENCE, Pgveil, Postgres};

const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  agent: { who: [{ db_user: agent }], mask: { phone: redact }, export: { rows: 10 } }
  clear: { who: [{ db_user: clear }], unmasked: true }
unmatched: deny
";

fn seeds() -> Vec<Vec<u8>> {
    let login = |user: &str| {
        startup(
            0,
            &[
                ("user", user),
                ("database", "postgres"),
                ("application_name", "f"),
            ],
        )
    };
    let mut seeds = Vec::new();
    for user in ["agent", "clear"] {
        let sessions: Vec<Vec<Vec<u8>>> = vec![
            vec![
                login(user),
                query("SELECT id, phone FROM people"),
                query("SELECT 1; SELEC 2"),
                frame(b'X', b""),
            ],
            vec![
                login(user),
                parse("s", "SELECT phone FROM people WHERE id = $1", &[23]),
                describe(b'S', "s"),
                bind("p", "s", &[Some("1")], 1),
                describe(b'P', "p"),
                execute("p", 1),
                flush(),
                execute("p", 0),
                close(b'P', "p"),
                close(b'S', "s"),
                sync(),
            ],
            vec![
                login(user),
                query("COPY plain FROM STDIN"),
                frame(b'd', b"1\tx\n"),
                frame(b'f', b"no\0"),
                query("COPY people TO STDOUT"),
            ],
            vec![
                login(user),
                frame(b'F', &[0, 0, 6, 74, 0, 0, 0, 0, 0, 0]),
                query("BEGIN"),
                query("SET search_path = x"),
                query("ROLLBACK"),
                query("SELECT 2"),
            ],
            vec![untagged(&80_877_103u32.to_be_bytes()), login(user)],
            vec![untagged(&80_877_104u32.to_be_bytes()), login(user)],
            vec![untagged(
                &[
                    80_877_102u32.to_be_bytes(),
                    7u32.to_be_bytes(),
                    9u32.to_be_bytes(),
                ]
                .concat(),
            )],
            vec![
                startup(
                    2,
                    &[
                        ("user", user),
                        ("_pq_.x", "y"),
                        ("options", "-c work_mem=1MB"),
                    ],
                ),
                query("SELECT 1"),
            ],
            vec![vec![0x16, 3, 1, 0, 80, 1, 0, 0, 76, 3, 3]],
        ];
        seeds.extend(sessions.into_iter().map(|messages| messages.concat()));
    }
    for entry in fs::read_dir(folder("tests/corpus/wire"))
        .into_iter()
        .flatten()
        .flatten()
    {
        seeds.extend(fs::read(entry.path()));
    }
    seeds
}

/// splitmix64: the same inputs for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.next() as usize % bound.max(1)
    }

    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len());
            match self.below(8) {
                0 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.next() as u8),
                4 => bytes.truncate(at),
                5 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                6 if at + 4 <= bytes.len() => {
                    let length =
                        [0, 1, 3, 4, 5, 0x7fff_ffff, 0xffff_ffff, 0x4000_0000u32][self.below(8)];
                    bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
                }
                _ => {
                    let end = at + self.below(bytes.len() - at.min(bytes.len()));
                    let piece = bytes[at.min(end)..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}

/// Sends the bytes in one go or in pieces, closes the sending side and reads to the end: the answer, or `None` where it
/// hung.
fn answer(port: u16, bytes: &[u8], pieces: usize) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    for piece in bytes.chunks(bytes.len() / pieces + 1) {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Some(received),
            Ok(read) => received.extend(&chunk[..read]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                return None;
            }
            Err(_) => return Some(received),
        }
    }
}

/// The kinds of messages in an answer, repetitions folded: inputs with an answer of a new shape join the corpus.
fn shape(mut answer: &[u8]) -> Vec<u8> {
    let mut tags: Vec<u8> = Vec::new();
    while let [tag, a, b, c, d, ..] = *answer {
        if tags.last() != Some(&tag) {
            tags.push(tag);
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        answer = answer.get(length..).unwrap_or(&[]);
    }
    tags
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn keep(folder: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a file");
}

#[test]
fn no_bytes_make_it_panic_or_hang() {
    let seconds = std::env::var("PGVEIL_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(5);
    let server = Postgres::start(Options {
        settings: &[("max_connections", "200")],
        ..Options::default()
    });
    server.sql(
        "postgres",
        "CREATE ROLE agent LOGIN; CREATE ROLE clear LOGIN; CREATE TABLE people(id int, phone text); CREATE TABLE plain(id int, t text); \
         INSERT INTO people SELECT g, 'secret' FROM generate_series(1, 30) g; GRANT ALL ON people, plain TO agent, clear",
    );
    let mut config = Config::new(&server);
    config.policy(POLICY);
    config.set("limits", "{ login_timeout: 5s }");
    let pgveil = Pgveil::start(&config);
    let mut seeds = seeds();
    let seed = std::env::var("PGVEIL_FUZZ_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let mut dice = Dice(seed);
    // With PGVEIL_FUZZ_KEEP set, what was answered in a new way joins the corpus.
    let grows = std::env::var_os("PGVEIL_FUZZ_KEEP").is_some();
    let mut shapes = HashSet::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut count = 0u32;
    while Instant::now() < end {
        let bytes = dice.mutated(&seeds);
        let pieces = [1, 1, 2, 7][dice.below(4)];
        match answer(pgveil.port(), &bytes, pieces) {
            None => {
                keep(&folder("target/fuzz"), &format!("hang-{count}"), &bytes);
                panic!("hung on {bytes:?} (kept in target/fuzz/hang-{count})");
            }
            Some(answer) => {
                if shapes.insert(shape(&answer)) && grows {
                    keep(
                        &folder("tests/corpus/wire"),
                        &format!("{seed}-{count}"),
                        &bytes,
                    );
                    seeds.push(bytes);
                }
            }
        }
        count += 1;
        if count.is_multiple_of(200) {
            assert!(!pgveil.log().contains("panicked"), "it panicked");
        }
    }
    assert!(
        !pgveil.log().contains("panicked"),
        "it panicked: {}",
        pgveil.log()
    );
    assert_eq!(
        tags(&Client::login(pgveil.port(), "agent", "", "postgres").query("SELECT 1")),
        "TDCZ"
    );
    println!("{count} inputs in {seconds} s");
}
