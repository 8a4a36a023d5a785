//! The demo's pgveil: this very program, started once more with `serve`.
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::DemoError;
use super::postgres::{CATALOG_PASSWORD, CATALOG_USER, DATABASE, free_port};
use super::workspace::Workspace;

const POLICY: &str = include_str!("../../../policies/crm.yaml");

/// pgveil's customary port, taken where it is free.
const USUAL_PORT: u16 = 6432;
/// How long pgveil may take to read the catalog and listen.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to end its sessions.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Someone who works with the CRM.
pub struct Login {
    pub title: &'static str,
    pub user: &'static str,
    /// Known to everybody: the cluster holds nothing but invented people.
    pub password: &'static str,
}

pub const AGENT: &Login = &Login {
    title: "agent",
    user: "crm_agent",
    password: "agent",
};
pub const FINANCE: &Login = &Login {
    title: "finance clerk",
    user: "crm_finance",
    password: "finance",
};
pub const DPO: &Login = &Login {
    title: "data protection officer",
    user: "crm_dpo",
    password: "dpo",
};
pub const LOGINS: &[&Login] = &[AGENT, FINANCE, DPO];

/// pgveil as the demo runs it.
pub struct Proxy {
    program: PathBuf,
    config: PathBuf,
    policy: PathBuf,
    audit_dir: PathBuf,
    log: PathBuf,
    port: u16,
    admin: SocketAddr,
    console: SocketAddr,
    running: Option<Running>,
}

/// The process, and the task that copies what it prints into the log.
struct Running {
    child: Child,
    copying: JoinHandle<()>,
}

impl Proxy {
    /// Writes the configuration and chooses the ports.
    pub fn prepare(
        port: Option<u16>,
        server_port: u16,
        workspace: &Workspace,
    ) -> Result<Self, DemoError> {
        let program = std::env::current_exe().map_err(|source| DemoError::Spawn {
            program: "pgveil".into(),
            source,
        })?;
        let port = match port {
            Some(port) => port,
            None if TcpListener::bind((Ipv4Addr::LOCALHOST, USUAL_PORT)).is_ok() => USUAL_PORT,
            None => free_port()?,
        };
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let console = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        workspace.dir("var")?;
        let policy = workspace.file("crm.yaml", POLICY)?;
        let config = workspace.file(
            "pgveil.yaml",
            &config_text(port, server_port, admin, console),
        )?;
        let audit_dir = workspace.path().join("var/audit");
        let log = workspace.path().join("pgveil.log");
        Ok(Self {
            program,
            config,
            policy,
            audit_dir,
            log,
            port,
            admin,
            console,
            running: None,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The address of the console.
    pub fn console_url(&self) -> String {
        format!("http://{}", self.console)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    pub fn policy_path(&self) -> &Path {
        &self.policy
    }

    pub fn audit_dir(&self) -> &Path {
        &self.audit_dir
    }

    pub fn command_line(&self) -> String {
        format!("pgveil serve --config {}", self.config.display())
    }

    pub fn conninfo(&self, login: &Login) -> String {
        format!(
            "host=127.0.0.1 port={} dbname={DATABASE} user={}",
            self.port, login.user
        )
    }

    pub fn conninfo_with_password(&self, login: &Login) -> String {
        format!("{} password={}", self.conninfo(login), login.password)
    }

    /// Starts pgveil; returns once it says that it is ready.
    pub async fn start(&mut self) -> Result<(), DemoError> {
        let mut command = self.command("serve");
        // Its own process group: Ctrl-C is for the demo, which then ends pgveil itself.
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|source| self.spawn_error(source))?;
        let log = tokio::fs::File::create(&self.log)
            .await
            .map_err(|source| DemoError::File {
                doing: "create",
                path: self.log.clone(),
                source,
            })?;
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let copying = tokio::spawn(copy_lines(
            child.stdout.take(),
            child.stderr.take(),
            log,
            ready,
        ));
        self.running = Some(Running { child, copying });
        // A closed channel means that the process has closed its output: it is about to end, or has ended.
        match tokio::time::timeout(READY_WITHIN, is_ready).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(DemoError::NotReady {
                output: self.log_text(),
            }),
        }
    }

    /// Another command of pgveil's over the same configuration, by its words on the command line.
    fn command(&self, name: &str) -> Command {
        self.command_of(&name.split(' ').collect::<Vec<_>>())
    }

    /// As [`Proxy::command`], by each word.
    pub(super) fn command_of(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).arg("--config").arg(&self.config);
        command
            .env("PGVEIL_CATALOG_PASSWORD", CATALOG_PASSWORD)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub fn verify_command_line(&self) -> String {
        format!("pgveil audit verify --config {}", self.config.display())
    }

    /// Checks the chain of the audit records.
    pub async fn verify(&self) -> Result<std::process::Output, DemoError> {
        self.command("audit verify")
            .output()
            .await
            .map_err(|source| self.spawn_error(source))
    }

    /// Waits for the process to end by itself, which it should not, and returns its log.
    pub async fn ended(&mut self) -> String {
        if let Some(running) = &mut self.running {
            let _ = running.child.wait().await;
        }
        self.log_text()
    }

    /// The text at `/metrics`.
    pub async fn metrics(&self) -> Result<String, DemoError> {
        let metrics_error = |source| DemoError::Metrics {
            address: self.admin,
            source,
        };
        let mut stream = TcpStream::connect(self.admin)
            .await
            .map_err(metrics_error)?;
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        stream
            .write_all(request.as_bytes())
            .await
            .map_err(metrics_error)?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .map_err(metrics_error)?;
        Ok(answer)
    }

    /// Asks the process to end, and insists after a while.
    pub async fn stop(&mut self) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        if let Some(pid) = running.child.id() {
            // The shell's built-in: there is no other way to send SIGTERM without unsafe code or a dependency.
            let _ = Command::new("sh")
                .args(["-c", "kill -TERM \"$1\"", "sh", &pid.to_string()])
                .status()
                .await;
        }
        if tokio::time::timeout(STOP_WITHIN, running.child.wait())
            .await
            .is_err()
        {
            let _ = running.child.kill().await;
        }
        running.copying.abort();
    }

    pub(super) fn spawn_error(&self, source: std::io::Error) -> DemoError {
        DemoError::Spawn {
            program: self.program.display().to_string(),
            source,
        }
    }

    fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn config_text(port: u16, server_port: u16, admin: SocketAddr, console: SocketAddr) -> String {
    format!(
        "listen: 127.0.0.1:{port}\n\
         upstream:\n  host: 127.0.0.1\n  port: {server_port}\n  tls: disable\n  databases: [{DATABASE}]\n  \
         catalog_user: {{ name: {CATALOG_USER}, password: {{ env: PGVEIL_CATALOG_PASSWORD }} }}\n\
         auth: {{ method: passthrough }}\n\
         policies: crm.yaml\n\
         state: var/state.db\n\
         audit: {{ dir: var/audit }}\n\
         admin: {{ listen: \"{admin}\" }}\n\
         console: {{ listen: \"{console}\" }}\n"
    )
}

/// Copies both outputs into the log, line by line, and tells of the line that says `pgveil ready`.
async fn copy_lines(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    mut log: tokio::fs::File,
    ready: tokio::sync::oneshot::Sender<()>,
) {
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        return;
    };
    let (mut stdout, mut stderr) = (
        BufReader::new(stdout).lines(),
        BufReader::new(stderr).lines(),
    );
    let mut ready = Some(ready);
    let (mut stdout_open, mut stderr_open) = (true, true);
    while stdout_open || stderr_open {
        let line = tokio::select! {
            line = stdout.next_line(), if stdout_open => line.ok().flatten().or_else(|| { stdout_open = false; None }),
            line = stderr.next_line(), if stderr_open => line.ok().flatten().or_else(|| { stderr_open = false; None }),
        };
        let Some(line) = line else { continue };
        let written = log.write_all(format!("{line}\n").as_bytes()).await;
        if written.is_err() || log.flush().await.is_err() {
            return;
        }
        if line.contains("pgveil ready")
            && let Some(ready) = ready.take()
        {
            let _ = ready.send(());
        }
    }
}
