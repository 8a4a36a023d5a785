//! Calls the API of a console, for the commands that do what its pages do.
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::CliError;
use crate::config::is_loopback;

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Which console, and who calls.
#[derive(Debug, Clone, Args)]
pub struct ConsoleArgs {
    /// The console's address, such as https://approvals.example.com [default: $PGVEIL_CONSOLE_URL]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// PEM file of a certificate authority to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

impl ConsoleArgs {
    /// The address that the command line or the environment names.
    pub fn address(&self) -> Option<String> {
        let environment = || std::env::var("PGVEIL_CONSOLE_URL").ok();
        self.url
            .clone()
            .or_else(environment)
            .filter(|url| !url.is_empty())
    }
}

/// A console that is called.
pub struct ConsoleClient {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl ConsoleClient {
    /// The token comes from `PGVEIL_TOKEN`, never from the command line, which other users of the machine can see.
    ///
    /// # Errors
    /// The address would carry the token in the clear, or a certificate cannot be read.
    pub fn new(address: &str, args: &ConsoleArgs) -> Result<Self, CliError> {
        let base = address.trim_end_matches('/');
        if !keeps_secrets(base) {
            return Err(CliError::Configuration(format!(
                "`{base}` is no address to send a token to: use https://..., or http:// on loopback"
            )));
        }
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &args.ca {
            let refused = |error: &dyn std::fmt::Display| {
                CliError::Configuration(format!("{}: {error}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| refused(&error))?;
            let authority =
                reqwest::Certificate::from_pem(&pem).map_err(|error| refused(&error))?;
            builder = builder.tls_certs_merge([authority]);
        }
        Ok(ConsoleClient {
            http: builder.build().map_err(CliError::environment)?,
            base: base.to_owned(),
            token: std::env::var("PGVEIL_TOKEN")
                .ok()
                .filter(|token| !token.is_empty()),
        })
    }

    /// One call; its answer, null if it has none.
    ///
    /// # Errors
    /// The console cannot be reached, or its answer is no.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let url = format!("{}/api/v1{path}", self.base);
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |error: reqwest::Error| {
            let mut text = format!("the console at {} cannot be reached", self.base);
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            CliError::Environment(text)
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let text = response.text().await.map_err(unreachable)?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(answer);
        }
        let why = answer
            .get("error")
            .and_then(Value::as_str)
            .map_or_else(|| format!("the console answered {status}"), str::to_owned);
        let hint = match (status.as_u16(), path, &self.token) {
            (401, path, None) if path != "/tokens" => {
                "; set PGVEIL_TOKEN (`pgveil accounts token NAME` makes one)"
            }
            _ => "",
        };
        Err(CliError::Environment(format!("{why}{hint}")))
    }
}

/// Whether an address is one of TLS, or stays on this machine.
fn keeps_secrets(base: &str) -> bool {
    if base.starts_with("https://") {
        return true;
    }
    let Some(rest) = base.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    !authority.contains('@') && is_loopback(host)
}

/// A name as a segment of a path.
pub fn segment(name: &str) -> Result<&str, CliError> {
    let plain = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._@-".contains(c))
        && !name.chars().all(|c| c == '.');
    match plain {
        true => Ok(name),
        false => Err(CliError::Configuration(format!(
            "`{name}` is no name of an account or a request"
        ))),
    }
}

/// Rows under a header, in columns that line up.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            line.push_str(cell);
            line.push_str(&" ".repeat(padding));
        }
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leaves_the_machine_inside_tls_only() {
        for good in [
            "https://approvals.example.com",
            "http://127.0.0.1:9443",
            "http://[::1]:9443",
            "http://localhost:9443",
        ] {
            assert!(keeps_secrets(good), "{good}");
        }
        for bad in [
            "http://approvals.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "ftp://127.0.0.1",
            "127.0.0.1:9443",
        ] {
            assert!(!keeps_secrets(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_stays_within_its_segment() {
        assert!(segment("lena@example.com").is_ok());
        for bad in ["", "..", "a/b", "a?b", "a b"] {
            assert!(segment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["7f3a".to_owned(), "lena".to_owned()]];
        assert_eq!(
            table(&["request", "who"], &rows),
            "request  who\n7f3a     lena\n"
        );
    }
}
