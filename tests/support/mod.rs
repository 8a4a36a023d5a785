//! What integration tests stand on: a private PostgreSQL, a running pgveil, a raw wire client, certificates.
//!
//! A test file says `mod support;`. Everything started here ends with the test process, also when the test is
//! killed: a [`guard::Guard`] outlives it just long enough to clean up.
#![allow(dead_code, unused_imports)]

pub mod catalog;
pub mod certificates;
pub mod compare;
pub mod disk;
pub mod export_request;
pub mod fed;
pub mod folder;
pub mod guard;
pub mod message;
pub mod network;
pub mod pgveil;
pub mod postgres;
pub mod query;
pub mod scram;

pub use certificates::Certificates;
pub use disk::Disk;
pub use fed::fed;
pub use folder::Folder;
pub use network::{Fault, Relay};
pub use pgveil::{Config, Pgveil};
pub use postgres::{Authentication, Options, Postgres};
pub use query::{Rows, query};

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The longest that anything in a test may take: what has not happened by then counts as a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A loopback port nobody listens on at this moment. It is below those that the kernel gives to outgoing connections
/// (net.ipv4.ip_local_port_range), which could take it before its server does, and in a block of this process's own.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const BLOCK: u32 = 20;
    const BLOCKS: u32 = 1_100;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let taken = TAKEN.fetch_add(1, Ordering::Relaxed);
        // A process that needs more goes on in the block of another one.
        let place = (std::process::id() * BLOCK + taken) % (BLOCKS * BLOCK);
        let port = u16::try_from(FIRST + place).expect("below 32,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
        assert!(taken < BLOCKS * BLOCK, "no free loopback port");
    }
}

/// Says in plain sight that a test did not run, and why.
///
/// Every test that may be skipped stands in `tests/skips.txt` as `name: condition`; a name that does not is a
/// failure, so that no test falls silent by accident.
pub fn skip(name: &str, reason: &str) {
    let listed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/skips.txt"))
        .expect("tests/skips.txt cannot be read");
    let known = listed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(": "))
        .any(|(listed, _)| listed.trim() == name);
    assert!(
        known,
        "`{name}` wants to be skipped ({reason}) but is not in tests/skips.txt: add `{name}: <when and why>`"
    );
    // The handle itself, not `eprintln!`: the test harness swallows that for tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}
