//! Processes that take over from each other, the first of which the harness has started.
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error;
use crate::support::guard::{Guard, signal};
use crate::support::message::Client;
use crate::support::{PATIENCE, Pgveil};

/// What the log says of a successor that is there, and of one that has the other's place.
pub const STARTED: &str = "a successor is started";
pub const SERVES: &str = "the successor serves";

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < 4 * PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a text to its ReadyForQuery; why not.
pub fn run(client: &mut Client, text: &str) -> Result<(), String> {
    let frames = client.query(text);
    match (error(&frames), frames.last().map(|frame| frame.tag)) {
        (None, Some(b'Z')) => Ok(()),
        (Some(words), _) => Err(words),
        (None, _) => Err("closed without a word".to_owned()),
    }
}

/// Tells a load to end when it goes, by a panic too: a scope waits for its threads.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn has_ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.is_empty() || status.contains(") Z ")
}

/// Ends all of them when it goes, and before that if the test is killed.
pub struct Line<'a> {
    pgveil: &'a Pgveil,
    pub pids: Vec<u32>,
    guards: Vec<Guard>,
}

impl<'a> Line<'a> {
    pub fn of(pgveil: &'a Pgveil) -> Self {
        Line {
            pgveil,
            pids: vec![pgveil.pid()],
            guards: Vec::new(),
        }
    }

    /// The one that listens.
    pub fn current(&self) -> u32 {
        *self.pids.last().expect("the first at least")
    }

    /// Waits for one more pid behind the words than there were, and takes it along.
    pub fn next(&mut self, words: &str, before: usize) -> u32 {
        until(words, || self.pgveil.pids_in_log(words).len() > before);
        let pid = *self.pgveil.pids_in_log(words).last().expect("a pid");
        if !self.pids.contains(&pid) {
            self.pids.push(pid);
            let guard = Guard::watch(pid, "KILL", self.pgveil.folder());
            self.guards.push(guard);
        }
        pid
    }

    pub fn upgrade(&mut self) {
        let before = self.pgveil.pids_in_log(SERVES).len();
        signal(self.current(), "USR2");
        self.next(SERVES, before);
    }

    pub fn all_end(&self) {
        for pid in &self.pids {
            until("a process does not end", || has_ended(*pid));
        }
    }

    pub fn stop(&self) {
        signal(self.current(), "TERM");
        self.all_end();
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        for pid in &self.pids {
            signal(*pid, "KILL");
        }
    }
}
