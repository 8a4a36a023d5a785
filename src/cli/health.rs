//! `pgveil health`: asks a running proxy whether it is ready, for containers and scripts that have no HTTP client.
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{CliError, EXIT_FAILED, print};
use crate::config;

/// An answer is not read beyond this.
const MAX_ANSWER: u64 = 16 * 1024;

/// Ask a running proxy whether it is ready
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil health --config pgveil.yaml            is it ready? (/readyz at admin.listen)\n  \
    pgveil health --admin 127.0.0.1:9432          the same, without the configuration\n  \
    pgveil health --alive --admin 127.0.0.1:9432  does it answer at all? (/healthz)\n\n\
    Exit code 0: yes, 1: no. For the health check of a container: HEALTHCHECK CMD [\"pgveil\", \"health\", \"--admin\", \"127.0.0.1:9432\"]")]
pub struct HealthArgs {
    /// The configuration file, for its admin.listen
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    pub config: PathBuf,
    /// Where the proxy's admin listener is, in place of the configuration's
    #[arg(long, value_name = "HOST:PORT")]
    pub admin: Option<SocketAddr>,
    /// Ask only whether the process answers
    #[arg(long)]
    pub alive: bool,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

/// # Errors
/// The configuration is wrong, or has no admin listener.
pub fn run(args: &HealthArgs) -> Result<ExitCode, CliError> {
    let address = match args.admin {
        Some(address) => address,
        None => config::load(&args.config)?.admin.ok_or_else(|| {
            CliError::Configuration(format!(
                "{} has no `admin: {{ listen: ... }}`: there is nobody to ask",
                args.config.display()
            ))
        })?,
    };
    let path = if args.alive { "/healthz" } else { "/readyz" };
    let (good, told) = match ask(reachable(address), path, args.timeout) {
        Ok((200, told)) => (true, told),
        Ok((_, told)) => (false, told),
        Err(error) => (false, format!("{address} does not answer: {error}")),
    };
    print(&format!("{}\n", told.trim_end()))?;
    Ok(match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_FAILED),
    })
}

/// Who listens everywhere is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Status and body.
fn ask(address: SocketAddr, path: &str, limit: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no answer of HTTP"))
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.strip_prefix("HTTP/1.")?.split(' ');
    let status = words.nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_taken_from_an_answer() {
        let answer =
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 19\r\n\r\nnot ready: draining\n";
        assert_eq!(
            parse(answer),
            Some((503, "not ready: draining\n".to_owned()))
        );
        assert_eq!(parse("SSH-2.0-OpenSSH"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        let asked = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(asked("0.0.0.0:9432"), "127.0.0.1:9432");
        assert_eq!(asked("[::]:9432"), "[::1]:9432");
        assert_eq!(asked("10.0.0.7:9432"), "10.0.0.7:9432");
    }
}
