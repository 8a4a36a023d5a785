//! The two people who sign exports in the demo, and their way to sign.
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;

use super::DemoError;
use super::proxy::Proxy;

/// Somebody with an account of the console.
pub struct Signer {
    pub name: &'static str,
    pub group: &'static str,
    /// Of the console; the demo's alone.
    pub password: &'static str,
}

pub const SIGNERS: [Signer; 2] = [
    Signer {
        name: "lea",
        group: "legal",
        password: "lea signs for legal",
    },
    Signer {
        name: "dan",
        group: "dpo",
        password: "dan signs for data protection",
    },
];

impl Proxy {
    /// Makes the accounts, before pgveil serves; their tokens, in the same order.
    pub async fn make_accounts(&self) -> Result<Vec<String>, DemoError> {
        let mut tokens = Vec::new();
        for signer in &SIGNERS {
            let words = ["accounts", "add", signer.name, "--groups", signer.group];
            self.told(&words, signer.password).await?;
            let token = self.told(&["accounts", "token", signer.name], "").await?;
            tokens.push(token.trim().to_owned());
        }
        Ok(tokens)
    }

    /// Runs a command that reads a line, and gives what it prints.
    async fn told(&self, words: &[&str], line: &str) -> Result<String, DemoError> {
        let mut command = self.command_of(words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| self.spawn_error(source))?;
        if let Some(mut input) = child.stdin.take() {
            // A command that reads nothing may have closed it.
            let _ = input.write_all(format!("{line}\n").as_bytes()).await;
        }
        let output = child.wait_with_output().await;
        let output = output.map_err(|source| self.spawn_error(source))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(DemoError::NotReady {
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// `pgveil approvals ...` as the owner of a token.
    pub async fn approvals(&self, words: &[&str], token: &str) -> Result<Output, DemoError> {
        let mut command = tokio::process::Command::new(self.program());
        command
            .arg("approvals")
            .args(words)
            .env("PGVEIL_TOKEN", token)
            .env("PGVEIL_CONSOLE_URL", self.console_url())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
            .output()
            .await
            .map_err(|source| self.spawn_error(source))
    }
}
