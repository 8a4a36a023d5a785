//! The binary under test, as a process.
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::guard::{Guard, signal};
use super::query::{Rows, query};
use super::{Folder, PATIENCE, Postgres, free_port};

/// `pgveil.yaml` and the policies of a test. Each top-level key is a line or block of YAML that can be replaced.
pub struct Config {
    sections: BTreeMap<String, String>,
    policies: BTreeMap<String, String>,
    environment: Vec<(String, String)>,
    program: Option<PathBuf>,
    port: u16,
    admin_port: u16,
}

impl Config {
    /// In front of a test's server: loopback, no TLS, passthrough, everyone unmatched is denied.
    pub fn new(upstream: &Postgres) -> Config {
        Config::upstream_port(upstream.port())
    }

    pub fn upstream_port(upstream_port: u16) -> Config {
        let (port, admin_port) = (free_port(), free_port());
        let mut config = Config {
            sections: BTreeMap::new(),
            policies: BTreeMap::new(),
            environment: Vec::new(),
            program: None,
            port,
            admin_port,
        };
        config.set("listen", &format!("127.0.0.1:{port}"));
        config.set(
            "upstream",
            &format!("{{ host: 127.0.0.1, port: {upstream_port}, tls: disable, catalog_user: {{ name: postgres }} }}"),
        );
        config.set("auth", "{ method: passthrough }");
        config.set("policies", "policies/");
        config.set("state", "var/state.db");
        config.set("audit", "{ dir: var/audit }");
        config.set(
            "admin",
            &format!("{{ listen: \"127.0.0.1:{admin_port}\" }}"),
        );
        config
    }

    /// Replaces a top-level key's value; a value that begins with a newline is a block.
    pub fn set(&mut self, key: &str, yaml: &str) -> &mut Config {
        self.sections.insert(key.to_owned(), yaml.to_owned());
        self
    }

    pub fn remove(&mut self, key: &str) -> &mut Config {
        self.sections.remove(key);
        self
    }

    /// The catalogs of these databases are read at the start, by the superuser.
    pub fn reads_catalogs(
        &mut self,
        server: &Postgres,
        databases: &[impl Borrow<str>],
    ) -> &mut Config {
        self.set(
            "upstream",
            &format!(
                "{{ host: 127.0.0.1, port: {}, tls: disable, catalog_user: {{ name: postgres }}, databases: [{}] }}",
                server.port(),
                databases.join(", ")
            ),
        )
    }

    /// The text of `policies/test.yaml`.
    pub fn policy(&mut self, yaml: &str) -> &mut Config {
        self.policy_file("test.yaml", yaml)
    }

    pub fn policy_file(&mut self, name: &str, yaml: &str) -> &mut Config {
        self.policies.insert(name.to_owned(), yaml.to_owned());
        self
    }

    pub fn env(&mut self, name: &str, value: &str) -> &mut Config {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another file than the binary that was built: one that a test may replace.
    pub fn program(&mut self, path: &Path) -> &mut Config {
        self.program = Some(path.to_owned());
        self
    }

    pub fn text(&self) -> String {
        self.sections
            .iter()
            .map(|(key, value)| format!("{key}: {value}\n"))
            .collect()
    }

    /// Writes all files into a folder; gives the path of pgveil.yaml.
    pub fn write(&self, folder: &Folder) -> PathBuf {
        for (name, text) in &self.policies {
            folder.write(&format!("policies/{name}"), text);
        }
        folder.write("pgveil.yaml", self.text())
    }
}

/// A running `pgveil serve`.
pub struct Pgveil {
    folder: Arc<Folder>,
    port: u16,
    admin_port: u16,
    server: Child,
    log: Arc<Log>,
    environment: Vec<(String, String)>,
    program: Option<PathBuf>,
    _guard: Guard,
}

/// Stands in a log after the last line of standard output.
const END: &str = "(end of output)\n";

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Log {
    /// Waits until the log holds a text; `false` where it ended or [`PATIENCE`] did without it.
    fn wait_for(&self, wanted: &str) -> bool {
        let text = self.text.lock().expect("log");
        let (text, _) = self
            .grown
            .wait_timeout_while(text, PATIENCE, |text| {
                !text.contains(wanted) && !text.contains(END)
            })
            .expect("log");
        text.contains(wanted)
    }

    fn gather(self: &Arc<Log>, stream: impl Read + Send + 'static, last: bool) {
        let log = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let mut text = log.text.lock().expect("log");
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
                log.grown.notify_all();
            }
            if last {
                log.text.lock().expect("log").push_str(END);
                log.grown.notify_all();
            }
        });
    }
}

/// The binary with any arguments, for tests of commands that end by themselves. `PGVEIL_TEST_BINARY` names another one
/// than was built with the tests: a faster build for the long runs.
pub fn command() -> Command {
    let built = || env!("CARGO_BIN_EXE_pgveil").into();
    Command::new(std::env::var_os("PGVEIL_TEST_BINARY").unwrap_or_else(built))
}

impl Pgveil {
    /// Starts and waits until it is ready; panics with its log where it does not get there.
    pub fn start(config: &Config) -> Pgveil {
        let folder = Arc::new(Folder::new("pgveil"));
        config.write(&folder);
        launch(
            folder,
            config.port,
            config.admin_port,
            config.environment.clone(),
            config.program.clone(),
        )
    }

    /// Starts again with the same files and ports, after [`Pgveil::kill`] or [`Pgveil::stop`].
    pub fn restart(self) -> Pgveil {
        let (folder, port, admin_port) = (Arc::clone(&self.folder), self.port, self.admin_port);
        let (environment, program) = (self.environment.clone(), self.program.clone());
        drop(self);
        launch(folder, port, admin_port, environment, program)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }
    pub fn pid(&self) -> u32 {
        self.server.id()
    }
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
    pub fn audit_dir(&self) -> PathBuf {
        self.folder.path().join("var/audit")
    }

    /// All lines of all segments of the spool, in the order of their file names, but the signatures that come when their
    /// time has come, and a line that is being written.
    pub fn audit_lines(&self) -> Vec<String> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.audit_dir())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "jsonl")
            })
            .collect();
        files.sort();
        files
            .iter()
            .flat_map(|path| {
                let content = std::fs::read(path).unwrap_or_default();
                String::from_utf8_lossy(&content)
                    .split_inclusive('\n')
                    .filter_map(|line| line.strip_suffix('\n'))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .filter(|line| line.starts_with('{') && !line.contains("\"event\":\"checkpoint\""))
            .collect()
    }

    /// Runs a text through pgveil by the simple protocol.
    pub fn sql(
        &self,
        user: &str,
        database: &str,
        text: &str,
    ) -> Result<Rows, tokio_postgres::Error> {
        query(self.port, user, None, database, text)
    }

    /// The body of a GET on the admin listener.
    pub fn http(&self, path: &str) -> String {
        use std::io::Write;
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.admin_port))
            .expect("no admin listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .expect("request");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Standard output and standard error so far.
    pub fn log(&self) -> String {
        self.log.text.lock().expect("log").clone()
    }

    /// Pids that the log names in lines with some words, in their order.
    pub fn pids_in_log(&self, words: &str) -> Vec<u32> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(words));
        let pid = |line: &str| {
            line.split("pid=")
                .nth(1)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        };
        lines.filter_map(pid).collect()
    }

    pub fn wait_for_log(&self, wanted: &str) -> bool {
        self.log.wait_for(wanted)
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Asks for a graceful end and returns at once.
    pub fn terminate(&self) {
        signal(self.server.id(), "TERM");
    }

    /// Waits for the end; panics where it does not come within [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        // Standard output ends with the process: waiting for that needs no polling.
        assert!(
            self.log.wait_for(END),
            "pgveil did not end:\n{}",
            self.log()
        );
        self.server.wait().expect("wait")
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }
}

impl Drop for Pgveil {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- output of pgveil ---\n{}", self.log());
        }
    }
}

fn launch(
    folder: Arc<Folder>,
    port: u16,
    admin_port: u16,
    environment: Vec<(String, String)>,
    program: Option<PathBuf>,
) -> Pgveil {
    let mut server = program
        .as_ref()
        .map_or_else(command, Command::new)
        .arg("serve")
        .arg("--config")
        .arg(folder.path().join("pgveil.yaml"))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot start pgveil");
    let guard = Guard::watch(server.id(), "KILL", folder.path());
    let log = Arc::new(Log::default());
    log.gather(server.stderr.take().expect("stderr is piped"), false);
    log.gather(server.stdout.take().expect("stdout is piped"), true);
    let pgveil = Pgveil {
        folder,
        port,
        admin_port,
        server,
        log,
        environment,
        program,
        _guard: guard,
    };
    if !pgveil.log.wait_for("pgveil ready on") {
        let log = pgveil.log();
        panic!("pgveil did not get ready:\n{log}");
    }
    pgveil
}
