//! Sessions as lists of messages, and what a server answers to them.
use std::io::Write;

use crate::support::message::{Client, Frame, frame};

/// What the client reads before it goes on.
#[derive(Clone, Copy)]
pub enum Until {
    /// So many ReadyForQuery.
    Ready(usize),
    /// So many messages, of whatever kind.
    Frames(usize),
    /// The end of the connection.
    End,
}

/// Pieces that are sent at once, and what is read after each.
pub struct Script {
    pub name: &'static str,
    pub pieces: Vec<(Vec<Vec<u8>>, Until)>,
}

/// After each piece the client reads up to so many ReadyForQuery.
pub fn script(name: &'static str, pieces: Vec<(Vec<Vec<u8>>, usize)>) -> Script {
    let pieces = pieces
        .into_iter()
        .map(|(messages, readies)| (messages, Until::Ready(readies)));
    Script {
        name,
        pieces: pieces.collect(),
    }
}

pub fn one(name: &'static str, messages: Vec<Vec<u8>>) -> Script {
    script(name, vec![(messages, 1)])
}

/// A session that the server ends.
pub fn last(name: &'static str, messages: Vec<Vec<u8>>) -> Script {
    Script {
        name,
        pieces: vec![(messages, Until::End)],
    }
}

pub fn copy_data(bytes: &[u8]) -> Vec<u8> {
    frame(b'd', bytes)
}

/// FunctionCall with binary arguments and a binary result; `None` is NULL.
pub fn function_call(oid: u32, arguments: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&(arguments.len() as u16).to_be_bytes());
    for argument in arguments {
        match argument {
            Some(value) => {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value);
            }
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    body.extend_from_slice(&1u16.to_be_bytes());
    frame(b'F', &body)
}

/// Sends in pieces of `chunk` bytes, at once if 0. A server that has closed is seen when it is read from.
pub fn send(client: &mut Client, bytes: &[u8], chunk: usize) {
    let chunk = if chunk == 0 {
        bytes.len().max(1)
    } else {
        chunk
    };
    for part in bytes.chunks(chunk) {
        if client.stream.write_all(part).is_err() {
            return;
        }
    }
}

/// Everything the server sends for a script, process ids of notifications left out.
pub fn played(client: &mut Client, script: &Script, chunk: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for (messages, until) in &script.pieces {
        send(client, &messages.concat(), chunk);
        match *until {
            Until::Ready(readies) => {
                for _ in 0..readies {
                    frames.extend(client.read_until_ready());
                }
            }
            Until::Frames(count) => frames.extend((0..count).map_while(|_| client.read())),
            Until::End => frames.extend(std::iter::from_fn(|| client.read())),
        }
    }
    for frame in &mut frames {
        if frame.tag == b'A' {
            frame.body.drain(..4);
        }
    }
    frames
}

/// Where two answers differ first, in words.
pub fn difference(name: &str, direct: &[Frame], through: &[Frame]) -> Option<String> {
    let longest = direct.len().max(through.len());
    let at = (0..longest).find(|at| direct.get(*at) != through.get(*at))?;
    let shown = |frames: &[Frame]| {
        let text = format!("{:?}", frames.get(at));
        text.chars().take(400).collect::<String>()
    };
    Some(format!(
        "{name}: message {at}: {} direct, {} through pgveil",
        shown(direct),
        shown(through)
    ))
}
