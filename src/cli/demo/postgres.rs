//! The demo's private PostgreSQL: found, initialised, started, filled, stopped.
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::DemoError;
use super::account::Account;
use super::proxy::LOGINS;
use super::workspace::Workspace;

const SCHEMA: &str = include_str!("../../../deploy/crm/schema.sql");
const SEED: &str = include_str!("../../../deploy/crm/seed.sql");

pub const DATABASE: &str = "crm";
/// pgveil's own login. The cluster listens on loopback and holds nothing but invented people.
pub const CATALOG_USER: &str = "pgveil";
pub const CATALOG_PASSWORD: &str = "catalog";

/// Where packages put the server's programs, which are on nobody's PATH: folders that hold one folder per version.
const HOMES: &[&str] = &[
    "/usr/lib/postgresql",
    "/usr/local/lib/postgresql",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/usr",
];

/// The folder with `initdb`, `pg_ctl` and `psql`.
pub struct Programs {
    bin: PathBuf,
}

impl Programs {
    pub fn find(named: Option<&Path>) -> Result<Self, DemoError> {
        let complete = |bin: &PathBuf| {
            ["initdb", "pg_ctl", "psql"]
                .iter()
                .all(|program| bin.join(program).is_file())
        };
        if let Some(bin) = named {
            return Some(bin.to_owned())
                .filter(complete)
                .map(|bin| Self { bin })
                .ok_or(DemoError::NoPostgres);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).find(complete);
        on_path
            .or_else(|| newest_installed().into_iter().find(complete))
            .map(|bin| Self { bin })
            .ok_or(DemoError::NoPostgres)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // A PGHOST or PGSERVICE of the caller's must not lead the demo to another server.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG"))
        {
            command.env_remove(name);
        }
        command
            .env("PGCLIENTENCODING", "UTF8")
            .env("LC_MESSAGES", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// `bin` folders of installed versions, the newest first.
fn newest_installed() -> Vec<PathBuf> {
    let versioned = |name: &str| {
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok())
    };
    let mut found: Vec<(u32, PathBuf)> = HOMES
        .iter()
        .filter_map(|home| std::fs::read_dir(home).ok())
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            Some((
                versioned(entry.file_name().to_str()?)?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// A cluster of the demo's own: passwords over TCP on a loopback port, the superuser only through a socket in a
/// directory that nobody else may enter.
pub struct Server {
    programs: Programs,
    data: PathBuf,
    socket: PathBuf,
    port: u16,
    account: Option<Account>,
}

impl Server {
    pub fn prepare(programs: &Programs, workspace: &Workspace) -> Result<Self, DemoError> {
        Ok(Self {
            programs: Programs {
                bin: programs.bin.clone(),
            },
            data: workspace.postgres_dir("data")?,
            socket: workspace.postgres_dir("socket")?,
            port: free_port()?,
            account: workspace.postgres_account(),
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Initialises and starts the cluster; returns once it takes connections.
    pub async fn start(&self) -> Result<(), DemoError> {
        let mut initdb = self.server_command("initdb");
        initdb.arg("-D").arg(&self.data).args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]);
        output_of(initdb).await?;

        // It lives for minutes: durability would only cost time. Before PostgreSQL 14 passwords were md5 by default.
        let options = format!(
            "-p {} -k '{}' -c listen_addresses=127.0.0.1 -c password_encryption=scram-sha-256 -c fsync=off -c full_page_writes=off",
            self.port,
            self.socket.display()
        );
        let mut start = self.server_command("pg_ctl");
        start
            .arg("-D")
            .arg(&self.data)
            .arg("-l")
            .arg(self.socket.join("server.log"))
            .args(["-w", "-s", "-o", &options, "start"]);
        // The server inherits what pg_ctl has; a pipe would stay open, and reading it to its end never end.
        start.stdout(Stdio::null()).stderr(Stdio::null());
        let status = start.status().await.map_err(|source| DemoError::Spawn {
            program: "pg_ctl".into(),
            source,
        })?;
        if status.success() {
            return Ok(());
        }
        let output = std::fs::read_to_string(self.socket.join("server.log")).unwrap_or_default();
        Err(DemoError::Program {
            program: "pg_ctl start".into(),
            status,
            output,
        })
    }

    /// Creates the database and its people.
    pub async fn load(&self, workspace: &Workspace) -> Result<(), DemoError> {
        self.superuser("postgres", &["-c", "CREATE DATABASE crm"])
            .await?;
        let schema = workspace.file("schema.sql", SCHEMA)?;
        let seed = workspace.file("seed.sql", SEED)?;
        self.superuser(
            DATABASE,
            &[
                "-f",
                &schema.to_string_lossy(),
                "-f",
                &seed.to_string_lossy(),
            ],
        )
        .await?;
        let mut passwords = format!("ALTER ROLE {CATALOG_USER} PASSWORD '{CATALOG_PASSWORD}';");
        for login in LOGINS {
            passwords.push_str(&format!(
                " ALTER ROLE {} PASSWORD '{}';",
                login.user, login.password
            ));
        }
        self.superuser(DATABASE, &["-c", &passwords])
            .await
            .map(drop)
    }

    /// One line on what the database holds.
    pub async fn summary(&self) -> Result<String, DemoError> {
        let query = format!(
            "SELECT format('PostgreSQL %s on 127.0.0.1:{}, database {DATABASE}: %s contacts, %s companies, %s leads, %s opportunities, %s tickets, %s activities', \
             current_setting('server_version'), (SELECT count(*) FROM crm.contacts), (SELECT count(*) FROM crm.companies), (SELECT count(*) FROM crm.leads), \
             (SELECT count(*) FROM crm.opportunities), (SELECT count(*) FROM crm.tickets), (SELECT count(*) FROM crm.activities))",
            self.port
        );
        let summary = self.superuser(DATABASE, &["-c", &query]).await?;
        Ok(summary.trim_end().to_owned())
    }

    /// Runs psql as superuser, past pgveil: unaligned rows only, `|` between columns.
    pub async fn superuser(&self, database: &str, args: &[&str]) -> Result<String, DemoError> {
        let mut psql = self.psql();
        psql.arg("-h").arg(&self.socket).args([
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "-d",
            database,
        ]);
        psql.args(["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
            .args(args);
        output_of(psql).await
    }

    /// psql, without anybody's start-up file or pager.
    pub fn psql(&self) -> Command {
        let mut psql = self.programs.command("psql");
        psql.args(["-X", "-P", "pager=off"]);
        psql
    }

    pub async fn stop(&mut self) {
        if !self.data.join("postmaster.pid").exists() {
            return;
        }
        let mut stop = self.server_command("pg_ctl");
        stop.arg("-D")
            .arg(&self.data)
            .args(["-w", "-s", "-m", "immediate", "stop"]);
        let _ = stop
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
    }

    fn server_command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        // The caller's directory may be closed to the other account.
        command.current_dir("/");
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// A port on which nothing listens at this moment.
pub fn free_port() -> Result<u16, DemoError> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(DemoError::Port)?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(DemoError::Port)
}

/// Standard output of a program that must succeed.
async fn output_of(mut command: Command) -> Result<String, DemoError> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let output = command.output().await.map_err(|source| DemoError::Spawn {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let output_text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Err(DemoError::Program {
        program,
        status: output.status,
        output: output_text,
    })
}
