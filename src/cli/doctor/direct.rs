//! Whether this machine reaches PostgreSQL past pgveil: a login is begun as a client would, and no more than that.
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::finding::Findings;
use crate::wire::connect::{Attempt, Upstream};
use crate::wire::error::ErrorFields;
use crate::wire::stream::Stream;
use crate::wire::tls::SslMode;

/// From the first packet to the answer.
const LIMIT: Duration = Duration::from_secs(5);
/// An answer is not read beyond this.
const MAX_ANSWER: u32 = 8 * 1024;
const ACTION: &str = "close the port to this machine (firewall, security group, network policy; listen_addresses), and let pg_hba.conf take users from pgveil's address only: pgveil doctor --hba prints the lines";

/// What answered, the worst last.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// No server of this protocol.
    Other,
    /// This is pgveil.
    Pgveil,
    /// Turned away by pg_hba.conf, or as an unknown user: SQLSTATE and message.
    Refuses(String, String),
    /// It asks for a password, or lets the user in at once.
    Asks,
}

/// `target`: HOST:PORT, as an application here might have it.
pub async fn probe(target: &str, user: &str, database: &str, findings: &mut Findings) {
    let asked = timeout(LIMIT, ask(target, user, database)).await;
    match asked {
        Ok(Ok(Answer::Asks)) => findings.error(
            "direct.open",
            format!("from here {target} asks `{user}` for a password itself: whoever has one gets past pgveil"),
            ACTION,
        ),
        Ok(Ok(Answer::Refuses(sqlstate, message))) => findings.warning(
            "direct.reachable",
            format!("{target} can be reached from here; it turned `{user}` away ({sqlstate}: {message}), perhaps not everybody"),
            ACTION,
        ),
        Ok(Ok(Answer::Pgveil)) => findings.note(
            "direct.pgveil",
            format!("{target} is pgveil itself"),
            "name PostgreSQL's own address",
        ),
        Ok(Ok(Answer::Other)) => findings.note(
            "direct.other",
            format!("{target} answers, and not as PostgreSQL does"),
            "name PostgreSQL's own address",
        ),
        Ok(Err(error)) => findings.note(
            "direct.closed",
            format!("{target} cannot be reached from here: {error}"),
            "nothing: that is how it should be, if the name and port are right",
        ),
        Err(_) => findings.note(
            "direct.closed",
            format!("{target} does not answer within {} s", LIMIT.as_secs()),
            "nothing: that is how it should be, if the name and port are right",
        ),
    }
}

/// With and without TLS: pg_hba.conf may tell the one from the other.
async fn ask(target: &str, user: &str, database: &str) -> io::Result<Answer> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "it is not HOST:PORT");
    let (host, port) = target.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().map_err(|_| wrong())?;
    let server = Upstream::new(host, port, SslMode::Prefer, None).map_err(io::Error::other)?;
    let mut worst: io::Result<Answer> = Err(wrong());
    for attempt in [Attempt::TlsIfOffered, Attempt::Plain] {
        let answered = match server.connect(attempt).await {
            Ok(connected) => begin(connected.stream, user, database).await,
            Err(error) => Err(io::Error::other(error)),
        };
        worst = match (worst, answered) {
            (Ok(one), Ok(other)) => Ok(one.max(other)),
            (Ok(one), Err(_)) => Ok(one),
            (Err(_), answered) => answered,
        };
    }
    worst
}

async fn begin(mut stream: Stream, user: &str, database: &str) -> io::Result<Answer> {
    stream.write_all(&startup(user, database)).await?;
    stream.flush().await?;
    match stream.read_u8().await {
        Ok(b'R') => Ok(Answer::Asks),
        Ok(b'E') => {
            let length = stream.read_u32().await?.clamp(4, MAX_ANSWER);
            let mut fields = Vec::new();
            let mut limited = (&mut stream).take(u64::from(length - 4));
            limited.read_to_end(&mut fields).await?;
            Ok(refusal(&fields))
        }
        Ok(_) => Ok(Answer::Other),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Answer::Other),
        Err(error) => Err(error),
    }
}

/// StartupMessage of protocol 3.0.
fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = vec![0, 3, 0, 0];
    for word in ["user", user, "database", database] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// Fields of an ErrorResponse.
fn refusal(fields: &[u8]) -> Answer {
    match ErrorFields::parse(fields) {
        Ok(fields) if fields.message.starts_with("pgveil:") => Answer::Pgveil,
        Ok(fields) => Answer::Refuses(fields.sqlstate, fields.message),
        Err(_) => Answer::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_pgveil_is_told_from_one_of_the_server() {
        let fields = b"SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry\0\0";
        let refused = Answer::Refuses("28000".into(), "no pg_hba.conf entry".into());
        assert_eq!(refusal(fields), refused);
        let fields = b"SFATAL\0C42501\0Mpgveil: no role for user \"x\"\0\0";
        assert_eq!(refusal(fields), Answer::Pgveil);
    }

    #[test]
    fn the_packet_holds_its_length() {
        let packet = startup("u", "d");
        assert_eq!(packet.len(), usize::from(packet[3]));
        assert!(packet.ends_with(b"user\0u\0database\0d\0\0"));
    }
}
