//! A mail server in a process of its own: aiosmtpd, from `tests/notify/requirements.txt`.
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::Value;

use crate::support::guard::Guard;
use crate::support::{Folder, PATIENCE};

/// Python with aiosmtpd, as `tests/run.sh` installs it. `None`: it is not there.
pub fn python() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/notify/bin/python");
    path.exists().then_some(path)
}

pub struct MailServer {
    server: Child,
    log: Arc<(Mutex<Vec<Value>>, Condvar)>,
    _folder: Folder,
    _guard: Guard,
}

impl MailServer {
    pub fn start(python: &Path, port: u16, arguments: &[&str]) -> MailServer {
        let folder = Folder::new("mail");
        let mut server = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notify/smtp.py"))
            .args(["--port", &port.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("cannot start the mail server");
        let guard = Guard::watch(server.id(), "KILL", folder.path());
        let log: Arc<(Mutex<Vec<Value>>, Condvar)> = Arc::default();
        let sink = Arc::clone(&log);
        let lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line is JSON");
                sink.0.lock().expect("log").push(line);
                sink.1.notify_all();
            }
        });
        {
            let lines = log.0.lock().expect("log");
            let (_lines, waited) = log
                .1
                .wait_timeout_while(lines, PATIENCE, |lines| lines.is_empty())
                .expect("log");
            assert!(!waited.timed_out(), "the mail server did not get ready");
        }
        MailServer {
            server,
            log,
            _folder: folder,
            _guard: guard,
        }
    }

    pub fn events(&self, kind: &str) -> Vec<Value> {
        of(kind, &self.log.0.lock().expect("log"))
    }

    /// Waits until there are that many: what the server has answered to may not have been read from it yet.
    pub fn events_once(&self, count: usize, kind: &str) -> Vec<Value> {
        let lines = self.log.0.lock().expect("log");
        let (lines, _) = self
            .log
            .1
            .wait_timeout_while(lines, PATIENCE, |lines| of(kind, lines).len() < count)
            .expect("log");
        of(kind, &lines)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn of(kind: &str, lines: &[Value]) -> Vec<Value> {
    let lines = lines.iter().filter(|line| line["event"] == kind);
    lines.cloned().collect()
}
