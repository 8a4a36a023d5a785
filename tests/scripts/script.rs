//! Scripts: groups of messages, each group one write, and what the client waits for behind it. They print as what a
//! regression case is made of.
use std::fmt;

use crate::support::message;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Texts that are joined by `;`.
    Query(Vec<Vec<u8>>),
    Parse {
        name: &'static str,
        text: Vec<u8>,
    },
    Bind {
        portal: &'static str,
        statement: &'static str,
        parameters: Vec<&'static str>,
        binary: bool,
    },
    Describe(u8, &'static str),
    Execute {
        portal: &'static str,
        rows: u32,
    },
    Close(u8, &'static str),
    Sync,
    Flush,
    CopyData(&'static str),
    CopyDone,
    CopyFail,
}

/// What the client waits for before the next group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Nothing.
    No,
    /// The answers to what was sent; a batch stays open.
    Answers,
    /// Everything, after a Sync.
    All,
    /// The same, and the server is interrupted while it sleeps.
    Cancel,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub messages: Vec<Message>,
    pub wait: Wait,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub groups: Vec<Group>,
}

impl Message {
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Message::Query(texts) => {
                message::frame(b'Q', &[&texts.join(&b"; "[..])[..], b"\0"].concat())
            }
            Message::Parse { name, text } => {
                let body = [name.as_bytes(), b"\0", text, b"\0\0\0"].concat();
                message::frame(b'P', &body)
            }
            Message::Bind {
                portal,
                statement,
                parameters,
                binary,
            } => {
                let parameters: Vec<Option<&str>> =
                    parameters.iter().map(|value| Some(*value)).collect();
                message::bind(portal, statement, &parameters, u16::from(*binary))
            }
            Message::Describe(kind, name) => message::describe(*kind, name),
            Message::Execute { portal, rows } => message::execute(portal, *rows),
            Message::Close(kind, name) => message::close(*kind, name),
            Message::Sync => message::sync(),
            Message::Flush => message::flush(),
            Message::CopyData(data) => message::frame(b'd', data.as_bytes()),
            Message::CopyDone => message::frame(b'c', b""),
            Message::CopyFail => message::frame(b'f', b"no more\0"),
        }
    }

    /// The texts it carries.
    pub fn texts(&self) -> &[Vec<u8>] {
        match self {
            Message::Query(texts) => texts,
            Message::Parse { text, .. } => std::slice::from_ref(text),
            _ => &[],
        }
    }
}

impl Script {
    fn says(&self, is_it: impl Fn(&str) -> bool) -> bool {
        let mut messages = self.groups.iter().flat_map(|group| &group.messages);
        messages.any(|message| {
            let mut texts = message.texts().iter();
            texts.any(|text| is_it(&String::from_utf8_lossy(text)))
        })
    }

    /// What it leaves of the tables may not be what it found.
    pub fn writes(&self) -> bool {
        self.says(|text| {
            let words = ["INSERT", "UPDATE", "DELETE", "FROM STDIN"];
            words.iter().any(|word| text.contains(word))
        })
    }

    /// A COPY may wait for data: how much is answered cannot be told from the messages alone.
    pub fn copies(&self) -> bool {
        self.says(|text| text.contains("FROM STDIN"))
    }

    /// A temporary table that is made beside EXECUTE may not be the session's own: by its name pgveil reads the system relation,
    /// masked, that the server would not (src/session/made.rs).
    pub fn hides_own_tables(&self) -> bool {
        let runs = |text: &str| {
            text.contains("EXECUTE") || text.contains("FETCH") || text.contains("MOVE")
        };
        self.says(|text| text.contains("pg_stats")) && self.says(runs)
    }

    /// Shows plans, which hold masks, or what the server has gathered of values.
    pub fn shows_insides(&self) -> bool {
        self.says(|text| text.contains("EXPLAIN") || text.contains("pg_stats"))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &[u8]| match std::str::from_utf8(text) {
            Ok(text) => format!("{text:?}"),
            Err(_) => format!("b\"{}\"", text.escape_ascii()),
        };
        match self {
            Message::Query(texts) => write!(f, "query({})", quoted(&texts.join(&b"; "[..]))),
            Message::Parse { name, text } => write!(f, "parse({name:?}, {}, &[])", quoted(text)),
            Message::Bind {
                portal,
                statement,
                parameters,
                binary,
            } => {
                let parameters: Vec<String> = parameters
                    .iter()
                    .map(|value| format!("Some({value:?})"))
                    .collect();
                write!(
                    f,
                    "bind({portal:?}, {statement:?}, &[{}], {})",
                    parameters.join(", "),
                    u8::from(*binary)
                )
            }
            Message::Describe(kind, name) => {
                write!(f, "describe(b'{}', {name:?})", char::from(*kind))
            }
            Message::Execute { portal, rows } => write!(f, "execute({portal:?}, {rows})"),
            Message::Close(kind, name) => write!(f, "close(b'{}', {name:?})", char::from(*kind)),
            Message::Sync => f.write_str("sync()"),
            Message::Flush => f.write_str("flush()"),
            Message::CopyData(data) => write!(f, "frame(b'd', b{data:?})"),
            Message::CopyDone => f.write_str("frame(b'c', b\"\")"),
            Message::CopyFail => f.write_str("frame(b'f', b\"no more\\0\")"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in &self.groups {
            let messages: Vec<String> = group.messages.iter().map(ToString::to_string).collect();
            writeln!(f, "    vec![{}], // {:?}", messages.join(", "), group.wait)?;
        }
        Ok(())
    }
}
