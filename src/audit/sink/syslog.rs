//! Syslog messages (RFC 5424) with counted octets, over TCP (RFC 6587, section 3.4.1) or TLS (RFC 5425).
//!
//! Syslog has no acknowledgement, and what TCP has taken is lost with the receiver. So each batch has a connection of its
//! own that ends with our end of data; a receiver that has read up to there ends its side, and that is waited for.
//! `confirm: false` keeps one connection instead and can lose what was under way when it breaks.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::batch::Message;
use super::target::{Delivered, Failure};
use super::tls;
use crate::config::SyslogSettings;

/// RFC 5612: a number for those who have none.
const SD_ID: &str = "pgveil@32473";
const APP_NAME: &str = "pgveil";

/// The least wait for a reset after the receiver's end.
const RESET: Duration = Duration::from_millis(20);

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

pub struct SyslogSender {
    settings: SyslogSettings,
    hostname: String,
    tls: Option<Arc<ClientConfig>>,
    /// Kept between batches where nothing is confirmed.
    open: Option<Box<dyn Connection>>,
    /// What the last connection took to be made: no shorter than the way there and back.
    way: Duration,
}

impl SyslogSender {
    pub fn new(settings: &SyslogSettings) -> Result<Self, String> {
        let tls = match settings.tls {
            true => Some(tls::client(
                settings.ca.as_deref(),
                settings.certificate.as_ref(),
            )?),
            false => None,
        };
        let hostname = settings.hostname.clone().unwrap_or_else(machine);
        Ok(SyslogSender {
            settings: settings.clone(),
            hostname,
            tls,
            open: None,
            way: Duration::ZERO,
        })
    }

    pub async fn deliver(&mut self, messages: &[Message]) -> Result<Delivered, Failure> {
        let mut frames = Vec::new();
        for message in messages {
            let text = render(message, self.settings.facility, &self.hostname);
            frames.extend_from_slice(format!("{} ", text.len()).as_bytes());
            frames.extend_from_slice(&text);
        }
        let sent = self.send(&frames).await;
        sent.map_err(|error| Failure::new(error.to_string()))?;
        Ok(Delivered::default())
    }

    async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.write_all(frames).await?;
        connection.flush().await?;
        if self.settings.confirm {
            connection.shutdown().await?;
            read_to_end(&mut connection).await?;
            // A receiver that ended before it had everything looks the same, until its system answers the rest.
            tokio::time::sleep(RESET + 2 * self.way).await;
            match connection.tcp().take_error()? {
                Some(error) => Err(error),
                None => Ok(()),
            }
        } else {
            self.open = Some(connection);
            Ok(())
        }
    }

    async fn connect(&mut self) -> io::Result<Box<dyn Connection>> {
        let (host, port) = (self.settings.host.as_str(), self.settings.port);
        let began = Instant::now();
        let stream = TcpStream::connect((host, port)).await?;
        self.way = began.elapsed();
        let Some(config) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// Waits for the receiver to end its side.
async fn read_to_end(connection: &mut Box<dyn Connection>) -> io::Result<()> {
    let mut said = [0; 512];
    loop {
        match connection.read(&mut said).await {
            Ok(0) => return Ok(()),
            // Nothing that it could say means anything.
            Ok(_) => {}
            // Many receivers end TCP without a word of TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The machine's name; `-` where it has none (RFC 5424, section 6.2.4).
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

/// One message without its count.
fn render(message: &Message, facility: u8, hostname: &str) -> Vec<u8> {
    let entry = &message.entry;
    let priority = u32::from(facility) * 8 + severity(&entry.event, entry.verdict.as_deref());
    let time = match entry.time.is_empty() {
        true => "-",
        false => &entry.time,
    };
    // RFC 5424, section 6.2.7: at most 32 printable letters.
    let event: String = entry
        .event
        .chars()
        .filter(char::is_ascii_graphic)
        .take(32)
        .collect();
    let event = if event.is_empty() { "-" } else { &event };
    let process = std::process::id();
    let mut data = format!("[{SD_ID}");
    let sequence = message.place.seq.to_string();
    let actor = entry.actor();
    for (name, value) in [
        ("id", Some(message.id.as_str())),
        ("seq", Some(sequence.as_str())),
        ("event", Some(entry.event.as_str())),
        ("actor", actor),
        ("role", entry.role.as_deref()),
        ("verdict", entry.verdict.as_deref()),
    ] {
        let Some(value) = value else { continue };
        data.push_str(&format!(" {name}=\""));
        escape(value, &mut data);
        data.push('"');
    }
    data.push(']');
    let mut text = format!("<{priority}>1 {time} {hostname} {APP_NAME} {process} {event} {data} ")
        .into_bytes();
    text.extend_from_slice(&message.body);
    text
}

/// RFC 5424, section 6.3.3.
fn escape(value: &str, out: &mut String) {
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(letter);
    }
}

/// RFC 5424, table 2.
fn severity(event: &str, verdict: Option<&str>) -> u32 {
    const ALERT: u32 = 1;
    const CRITICAL: u32 = 2;
    const WARNING: u32 = 4;
    const NOTICE: u32 = 5;
    const INFORMATIONAL: u32 = 6;
    match event {
        "violation" | "alarm" => ALERT,
        "lost" => CRITICAL,
        "refusal" | "export_stop" | "login_failed" | "drift" | "recovered" => WARNING,
        "policy" | "export" | "console" | "start" | "stop" | "retention" | "incident_closed" => {
            NOTICE
        }
        _ if verdict == Some("refuse") => WARNING,
        _ => INFORMATIONAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::chain::Hash;
    use crate::audit::sink::batch::Place;
    use crate::audit::{Entry, Position};

    fn message(entry: Entry) -> Message {
        let at = Position {
            segment: 1,
            offset: 0,
        };
        Message {
            id: "c0ffee-7".to_owned(),
            place: Place {
                seq: 7,
                hash: Hash::genesis("c0ffee"),
                record: at,
                next: at,
            },
            entry,
            body: b"{\"a\":1}".to_vec(),
            line: Vec::new(),
        }
    }

    #[test]
    fn a_message_is_as_rfc_5424_has_it() {
        let entry = Entry {
            time: "2026-11-22T07:21:36.000001Z".to_owned(),
            event: "refusal".to_owned(),
            db_user: Some("a \"b\" \\ [c]".to_owned()),
            role: Some("agent".to_owned()),
            verdict: Some("refuse".to_owned()),
            ..Entry::default()
        };
        let text = String::from_utf8(render(&message(entry), 13, "db1")).expect("utf-8");
        let process = std::process::id();
        assert_eq!(
            text,
            format!(
                r#"<108>1 2026-11-22T07:21:36.000001Z db1 pgveil {process} refusal [pgveil@32473 id="c0ffee-7" seq="7" event="refusal" actor="a \"b\" \\ [c\]" role="agent" verdict="refuse"] {{"a":1}}"#
            )
        );
    }

    #[test]
    fn what_a_later_version_writes_does_not_break_the_header() {
        let entry = Entry {
            event: "x y\nz".repeat(20),
            ..Entry::default()
        };
        let text = String::from_utf8(render(&message(entry), 16, "-")).expect("utf-8");
        let fields: Vec<&str> = text.split(' ').take(6).collect();
        assert_eq!(fields[..3], ["<134>1", "-", "-"]);
        assert_eq!(fields[5].len(), 32);
    }

    #[test]
    fn alarms_are_louder_than_everyday_records() {
        let loud = severity("violation", None);
        for (event, verdict, expected) in [
            ("statement", Some("pass"), 6),
            ("statement", Some("refuse"), 4),
            ("login_failed", None, 4),
            ("lost", None, 2),
        ] {
            assert_eq!(severity(event, verdict), expected, "{event}");
            assert!(loud < severity(event, verdict));
        }
    }
}
