//! `pgveil demo`: a private PostgreSQL with a CRM in it, pgveil in front, and a tour of what each role sees.
//!
//! Everything lives in one temporary directory and on loopback ports of its own; no PostgreSQL that is already
//! on the machine is touched. What was started is ended, and the directory removed, however the demo ends
//! (save by SIGKILL).
mod account;
mod postgres;
mod proxy;
mod record;
mod screen;
mod signers;
mod tour;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use postgres::{Programs, Server};
use proxy::Proxy;
use screen::Screen;
use workspace::Workspace;

/// Shows pgveil at work on a CRM of its own
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  pgveil demo                  the tour, then stays up for you to try\n  \
                        pgveil demo --once           the tour as a test: exit code 0 if all is as it should be\n  \
                        pgveil demo --port 7000      pgveil listens there"
)]
pub struct DemoArgs {
    /// Show everything once and exit; the exit code is 1 if something was not as it should be
    #[arg(long)]
    pub once: bool,

    /// Leave the directory with configuration, logs and audit records behind
    #[arg(long)]
    pub keep: bool,

    /// The port on which pgveil listens [default: 6432 if free, else any]
    #[arg(long)]
    pub port: Option<u16>,

    /// The folder with initdb, pg_ctl and psql [default: from PATH, else the newest one installed]
    #[arg(long, value_name = "DIR")]
    pub pg_bin: Option<PathBuf>,
}

/// Why the demo could not go on. Each message says what to do, where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(
        "`initdb`, `pg_ctl` and `psql` were not found; install PostgreSQL 13 or newer (Debian: apt-get install postgresql), or name their folder with --pg-bin"
    )]
    NoPostgres,
    #[error(
        "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` in /etc/passwd; run the demo as an ordinary user"
    )]
    NoAccount,
    #[error("cannot {doing} `{path}`: {source}", path = path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(std::io::Error),
    #[error("cannot run `{program}`: {source}")]
    Spawn {
        program: String,
        source: std::io::Error,
    },
    #[error("`{program}` failed ({status}):\n{output}")]
    Program {
        program: String,
        status: std::process::ExitStatus,
        output: String,
    },
    #[error("pgveil did not get ready:\n{output}")]
    NotReady { output: String },
    #[error("cannot read the metrics at {address}: {source}")]
    Metrics {
        address: std::net::SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot write to the terminal: {0}")]
    Screen(std::io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs the demo until its end (`--once`) or until it is told to stop (Ctrl-C, SIGTERM, SIGHUP), then cleans up.
///
/// # Errors
/// When something is missing or could not be started. An expectation of the tour that does not hold is no error
/// but exit code 1.
pub async fn run(args: DemoArgs) -> Result<ExitCode, DemoError> {
    let mut screen = Screen::new();
    let programs = Programs::find(args.pg_bin.as_deref())?;
    let workspace = Workspace::create(args.keep)?;
    let mut demo = Demo {
        server: None,
        proxy: None,
    };

    let mut stop = Stop::listen()?;
    let outcome = tokio::select! {
        outcome = demo.show(&args, &programs, &workspace, &mut screen) => outcome,
        () = stop.requested() => Ok(ExitCode::from(130)),
    };
    let outcome = match outcome {
        Ok(code) if demo.is_up() && !args.once && !stop.was_requested => {
            demo.stay_up(&mut screen, &mut stop).await.map(|()| code)
        }
        other => other,
    };

    demo.end().await;
    if args.keep {
        screen.line(&format!("kept: {}", workspace.path().display()))?;
    }
    outcome
}

/// What runs, and therefore has to be ended.
struct Demo {
    server: Option<Server>,
    proxy: Option<Proxy>,
}

impl Demo {
    /// Starts everything and gives the tour. Not cancel safe by itself: after a cancellation [`Demo::end`] ends
    /// what was started.
    async fn show(
        &mut self,
        args: &DemoArgs,
        programs: &Programs,
        workspace: &Workspace,
        screen: &mut Screen,
    ) -> Result<ExitCode, DemoError> {
        screen.step("A PostgreSQL of its own, with a CRM in it")?;
        let server = self.server.insert(Server::prepare(programs, workspace)?);
        server.start().await?;
        server.load(workspace).await?;
        screen.line(&server.summary().await?)?;

        screen.step("pgveil in front of it")?;
        let proxy = self
            .proxy
            .insert(Proxy::prepare(args.port, server.port(), workspace)?);
        // The state is locked once it serves.
        let tokens = proxy.make_accounts().await?;
        screen.command(&proxy.command_line())?;
        proxy.start().await?;
        screen.line(&format!(
            "listens on 127.0.0.1:{}; who sees what is in {}",
            proxy.port(),
            proxy.policy_path().display()
        ))?;

        let failures = tour::give(server, proxy, &tokens, screen).await?;
        screen.step("The end of the tour")?;
        if failures.is_empty() {
            screen.line("everything was as it should be")?;
            return Ok(ExitCode::SUCCESS);
        }
        for failure in &failures {
            screen.line(&format!("NOT as it should be: {failure}"))?;
        }
        Ok(ExitCode::FAILURE)
    }

    fn is_up(&self) -> bool {
        self.proxy.is_some()
    }

    async fn stay_up(&mut self, screen: &mut Screen, stop: &mut Stop) -> Result<(), DemoError> {
        let Some(proxy) = &mut self.proxy else {
            return Ok(());
        };
        screen.step("Try it yourself")?;
        for login in proxy::LOGINS {
            screen.line(&format!(
                "{:<24} psql \"{}\"",
                login.title,
                proxy.conninfo_with_password(login)
            ))?;
        }
        screen.line("")?;
        screen.line(&format!("approvals: {}", proxy.console_url()))?;
        for signer in &signers::SIGNERS {
            screen.line(&format!(
                "  {:<6} signs for {:<6} password: {}",
                signer.name, signer.group, signer.password
            ))?;
        }
        screen.line(&format!(
            "audit records: {}   metrics: http://{}/metrics",
            proxy.audit_dir().display(),
            proxy.admin()
        ))?;
        screen.line("Ctrl-C ends the demo and removes everything.")?;
        tokio::select! {
            () = stop.requested() => screen.line("\nending"),
            log = proxy.ended() => Err(DemoError::NotReady { output: log }),
        }
    }

    /// Ends what runs, the proxy first so that its last record says so. Best effort: there is nobody to complain to.
    async fn end(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            proxy.stop().await;
        }
        if let Some(server) = &mut self.server {
            server.stop().await;
        }
    }
}

/// The signals that end the demo.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    was_requested: bool,
}

impl Stop {
    fn listen() -> Result<Self, DemoError> {
        let listen = |kind| signal(kind).map_err(DemoError::Signals);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
            was_requested: false,
        })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
        self.was_requested = true;
    }
}
