//! A private PostgreSQL server per test process.
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::{env, fs, process, thread};

use super::guard::{Guard, signal};
use super::query::{Rows, query};
use super::{Certificates, Folder, PATIENCE, free_port};

/// How the server authenticates everyone but the superuser `postgres`, who is always trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    Trust,
    Scram,
    Md5,
    Cleartext,
}

impl Authentication {
    fn method(self) -> &'static str {
        match self {
            Authentication::Trust => "trust",
            Authentication::Scram => "scram-sha-256",
            Authentication::Md5 => "md5",
            Authentication::Cleartext => "password",
        }
    }
}

/// What is special about a test's server.
pub struct Options<'a> {
    pub authentication: Authentication,
    /// Turns `ssl` on with this certificate and key.
    pub tls: Option<&'a Certificates>,
    /// With [`Options::tls`]: connections without TLS are turned away (the superuser's too).
    pub tls_only: bool,
    /// Settings for postgresql.conf, as `("work_mem", "1MB")`.
    pub settings: &'a [(&'a str, &'a str)],
    /// Lines put in front of pg_hba.conf.
    pub hba: &'a str,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options {
            authentication: Authentication::Trust,
            tls: None,
            tls_only: false,
            settings: &[],
            hba: "",
        }
    }
}

/// A running server on a loopback port; ended (immediate shutdown) and removed when dropped or when the test dies.
pub struct Postgres {
    folder: Folder,
    bin: PathBuf,
    port: u16,
    server: Child,
    log: Arc<Log>,
    _guard: Guard,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

/// The folder of PostgreSQL's programs: `PGVEIL_TEST_PG_BIN`, else the newest of Debian's, else from `PATH`.
pub fn bin_folder() -> PathBuf {
    if let Some(folder) = env::var_os("PGVEIL_TEST_PG_BIN") {
        return folder.into();
    }
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = debian
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    if let Some((_, bin)) = newest {
        return bin;
    }
    env::var_os("PATH")
        .iter()
        .flat_map(env::split_paths)
        .filter_map(|folder| folder.join("initdb").canonicalize().ok()?.parent().map(Path::to_owned))
        .next()
        .expect("no PostgreSQL found: set PGVEIL_TEST_PG_BIN to the folder that holds initdb and postgres")
}

/// PostgreSQL refuses to run as root: tests that do run it as the user `postgres`, else `nobody`.
fn unprivileged() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root = status.lines().any(|line| {
        line.strip_prefix("Uid:")
            .is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
    });
    if !root {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    ["postgres", "nobody"].iter().find_map(|name| {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

fn command(program: &Path) -> Command {
    let mut command = match unprivileged() {
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={uid}"))
                .arg(format!("--regid={gid}"))
                .arg("--clear-groups")
                .arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .current_dir("/")
        .env("LC_ALL", "C.UTF-8")
        .env_remove("PGDATA");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn give_to_server(path: &Path) {
    if let Some((uid, gid)) = unprivileged() {
        chown(path, Some(uid), Some(gid)).expect("cannot chown a test file");
    }
}

/// A cluster fresh from initdb, made once per version and copied for each server: initdb takes a second, the copy a
/// tenth of it.
fn template(bin: &Path) -> PathBuf {
    let version = run(Command::new(bin.join("postgres")).arg("--version"));
    let version: String = String::from_utf8_lossy(&version.stdout)
        .chars()
        .filter(|letter| letter.is_ascii_digit() || *letter == '.')
        .collect();
    let owner = unprivileged().map_or("self".to_owned(), |(uid, _)| uid.to_string());
    let ready = env::temp_dir().join(format!("pgveil-test-cluster-{version}-{owner}"));
    if ready.exists() {
        return ready;
    }
    let building = Folder::new("initdb");
    give_to_server(building.path());
    let data = building.path().join("data");
    run(command(&bin.join("initdb"))
        .args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "-D",
        ])
        .arg(&data));
    // Another process may have been faster: its cluster is as good.
    if fs::rename(&data, &ready).is_err() {
        assert!(
            ready.exists(),
            "cannot put the new cluster at {}",
            ready.display()
        );
    }
    ready
}

impl Postgres {
    pub fn start(options: Options) -> Postgres {
        let bin = bin_folder();
        let template = template(&bin);
        let folder = Folder::new("postgres");
        give_to_server(folder.path());
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(&template).arg(&data));
        configure(&data, &options);
        // Another process may take the free port first: then the next one.
        for _ in 0..5 {
            let port = free_port();
            if let Some((server, log)) = launch(&bin, &data, folder.path(), port) {
                let guard = Guard::watch(server.id(), "QUIT", folder.path());
                return Postgres {
                    folder,
                    bin,
                    port,
                    server,
                    log,
                    _guard: guard,
                };
            }
        }
        panic!("PostgreSQL found no free port");
    }

    /// A hot standby of a running server, by streaming replication.
    pub fn standby_of(primary: &Postgres) -> Postgres {
        let folder = Folder::new("standby");
        give_to_server(folder.path());
        let data = folder.path().join("data");
        // The standby's own port comes from its command line.
        run(command(&primary.bin.join("pg_basebackup"))
            .args(["--checkpoint=fast", "--no-sync", "-R", "-h", "127.0.0.1"])
            .args(["-U", "postgres", "-p", &primary.port.to_string(), "-D"])
            .arg(&data));
        for _ in 0..5 {
            let port = free_port();
            if let Some((server, log)) = launch(&primary.bin, &data, folder.path(), port) {
                let guard = Guard::watch(server.id(), "QUIT", folder.path());
                return Postgres {
                    folder,
                    bin: primary.bin.clone(),
                    port,
                    server,
                    log,
                    _guard: guard,
                };
            }
        }
        panic!("the standby found no free port");
    }

    /// Makes a standby the primary, and waits until it is.
    pub fn promote(&self) {
        let done = self.sql("postgres", "SELECT pg_promote()");
        assert_eq!(done[0][0].as_deref(), Some("t"));
    }

    /// `kill -9` of the postmaster.
    pub fn kill(&mut self) {
        signal(self.server.id(), "KILL");
        let _ = self.server.wait();
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Of the postmaster.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The folder of its programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The server's version number, as 15 or 18.
    pub fn major(&self) -> u32 {
        let shown = self.sql("postgres", "SHOW server_version_num");
        shown[0][0]
            .as_deref()
            .unwrap_or("0")
            .parse::<u32>()
            .expect("a version number")
            / 10_000
    }

    /// Runs a text as the superuser; panics with the server's message where it fails.
    pub fn sql(&self, database: &str, text: &str) -> Rows {
        self.try_sql(database, text)
            .unwrap_or_else(|error| panic!("{}\nin: {text}", describe(&error)))
    }

    pub fn try_sql(&self, database: &str, text: &str) -> Result<Rows, tokio_postgres::Error> {
        query(self.port, "postgres", None, database, text)
    }

    pub fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Runs psql as the superuser, without its startup file.
    pub fn psql(&self, arguments: &[&str]) -> Output {
        self.program("psql")
            .arg("-X")
            .args(arguments)
            .output()
            .expect("cannot run psql")
    }

    /// A client program of this server's version with `PGHOST`, `PGPORT` and `PGUSER` set to it.
    pub fn program(&self, name: &str) -> Command {
        let own = self.bin.join(name);
        // Binary distributions of the server alone come without clients.
        let mut command = Command::new(if own.exists() { own } else { name.into() });
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGSSLMODE", "prefer");
        command
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        self.log.text.lock().expect("log").clone()
    }

    /// Ends the server as a crash would; connections break.
    pub fn crash(&mut self) {
        signal(self.server.id(), "QUIT");
        let _ = self.server.wait();
    }

    /// Starts it again on the same port after [`Postgres::crash`].
    pub fn restart(&mut self) {
        let data = self.folder.path().join("data");
        let (server, log) =
            launch(&self.bin, &data, self.folder.path(), self.port).expect("the port is taken");
        self.server = server;
        self.log = log;
        self._guard = Guard::watch(self.server.id(), "QUIT", self.folder.path());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(None) = self.server.try_wait() {
            signal(self.server.id(), "QUIT");
            let _ = self.server.wait();
        }
    }
}

fn describe(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

fn configure(data: &Path, options: &Options) {
    let mut settings = String::from(
        "listen_addresses = '127.0.0.1'\nfsync = off\nfull_page_writes = off\n\
         shared_buffers = 16MB\nmax_wal_size = 128MB\nautovacuum = off\nlc_messages = 'C'\ntimezone = 'UTC'\n\
         log_timezone = 'UTC'\nlogging_collector = off\nlog_destination = 'stderr'\n",
    );
    // The default was md5 before version 14.
    let passwords = if options.authentication == Authentication::Md5 {
        "md5"
    } else {
        "scram-sha-256"
    };
    let _ = writeln!(settings, "password_encryption = '{passwords}'");
    if let Some(certificates) = options.tls {
        for (name, content) in [
            ("server.crt", &certificates.cert_pem),
            ("server.key", &certificates.key_pem),
        ] {
            let path = data.join(name);
            fs::write(&path, content).expect("cannot write a certificate");
            run(Command::new("chmod").arg("600").arg(&path));
            give_to_server(&path);
        }
        settings.push_str("ssl = on\nssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\n");
    }
    for (name, value) in options.settings {
        let _ = writeln!(settings, "{name} = '{}'", value.replace('\'', "''"));
    }
    let conf = data.join("postgresql.conf");
    let stock = fs::read_to_string(&conf).expect("no postgresql.conf");
    fs::write(&conf, stock + &settings).expect("cannot write postgresql.conf");

    let host = if options.tls_only { "hostssl" } else { "host" };
    let hba = format!(
        "{}\nlocal all postgres trust\n{host} all postgres 127.0.0.1/32 trust\n{host} replication postgres 127.0.0.1/32 trust\n\
         {host} all all 127.0.0.1/32 {method}\n{host} replication all 127.0.0.1/32 {method}\n",
        options.hba,
        method = options.authentication.method(),
    );
    fs::write(data.join("pg_hba.conf"), hba).expect("cannot write pg_hba.conf");
}

/// A standby says that connections are read-only.
fn is_ready(log: &str) -> bool {
    let says = |words: &str| log.contains(&format!("ready to accept {words}connections"));
    says("") || says("read-only ")
}

/// `None` where the port was taken.
fn launch(bin: &Path, data: &Path, sockets: &Path, port: u16) -> Option<(Child, Arc<Log>)> {
    let mut server = command(&bin.join("postgres"))
        .arg("-D")
        .arg(data)
        .arg("-c")
        .arg(format!("port={port}"))
        .arg("-c")
        .arg(format!("unix_socket_directories={}", sockets.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot start postgres");
    let log = Arc::new(Log::default());
    let lines = BufReader::new(server.stderr.take().expect("stderr is piped"));
    let sink = Arc::clone(&log);
    thread::spawn(move || {
        // Bytes, not str: a log line may hold anything a client sent.
        for line in lines.split(b'\n').map_while(Result::ok) {
            let mut text = sink.text.lock().expect("log");
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
            sink.grown.notify_all();
        }
        sink.text.lock().expect("log").push_str("(end of log)\n");
        sink.grown.notify_all();
    });
    let text = log.text.lock().expect("log");
    let (text, timeout) = log
        .grown
        .wait_timeout_while(text, PATIENCE, |text| {
            !is_ready(text) && !text.contains("(end of log)")
        })
        .expect("log");
    if is_ready(&text) {
        drop(text);
        return Some((server, log));
    }
    let _ = server.kill();
    let _ = server.wait();
    let taken = text.contains("could not bind");
    assert!(
        taken,
        "PostgreSQL (pid {}) did not start (timed out: {}):\n{text}",
        process::id(),
        timeout.timed_out()
    );
    None
}
