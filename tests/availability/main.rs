//! What goes on though something is changed, replaced or lost: servers, settings, pgveil itself.
mod deaths;
mod drain;
mod failover;
mod kills;
mod line;
mod names;
mod reload;
mod rolling;
#[path = "../support/mod.rs"]
mod support;
mod upgrade;

use support::message::{Client, Frame};

pub const SCHEMA: &str = "
    CREATE ROLE clear LOGIN; CREATE ROLE blind LOGIN;
    CREATE TABLE people (id int PRIMARY KEY, phone text);
    INSERT INTO people SELECT g, '138' || g FROM generate_series(1, 50) g;
    CREATE TABLE kept (id serial PRIMARY KEY, who text);
    GRANT SELECT ON people TO clear, blind; GRANT ALL ON kept, kept_id_seq TO clear, blind;
";

pub const POLICY: &str = "
version: 1
data: { phone: { columns: [public.people.phone] } }
roles:
  clear: { who: [{ db_user: clear }, { db_user: postgres }], unmasked: true }
  blind: { who: [{ db_user: blind }], mask: { phone: redact } }
unmatched: deny
";

pub fn error(frames: &[Frame]) -> Option<String> {
    let frame = frames.iter().find(|frame| frame.tag == b'E')?;
    Some(format!("{} {}", frame.field(b'C')?, frame.field(b'M')?))
}

/// Values of the first columns.
pub fn values(frames: &[Frame]) -> Vec<String> {
    let rows = frames.iter().filter(|frame| frame.tag == b'D');
    rows.map(|row| {
        let value = row.columns().into_iter().next().flatten();
        String::from_utf8(value.unwrap_or_default()).expect("text")
    })
    .collect()
}

/// A login that may fail in any way; the reason where there is one.
pub fn attempt(port: u16, user: &str) -> Result<Client, Option<Frame>> {
    let mut client = Client::connect(port);
    client.send_raw(&support::message::startup(
        0,
        &[("user", user), ("database", "postgres")],
    ));
    loop {
        match client.read() {
            Some(frame) if frame.tag == b'E' => return Err(Some(frame)),
            Some(frame) if frame.tag == b'Z' => return Ok(client),
            Some(frame) => {
                if frame.tag == b'K' {
                    let pid = frame.body.first_chunk().copied().unwrap_or_default();
                    client.session.backend_pid = u32::from_be_bytes(pid);
                    client.session.secret = frame.body[4..].to_vec();
                }
            }
            None => return Err(None),
        }
    }
}
