//! Plays a script in a session and keeps all that the server says.
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::script::{Message, Script, Wait};
use crate::support::message::{Client, Frame, frame};

/// The longest that an answer may take: what has not come by then counts as a hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing comes before it is looked whether the server sleeps.
const GLANCE: Duration = Duration::from_millis(3);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The client had the last word.
    Well,
    /// The connection was closed, behind so many groups.
    Closed(usize),
    /// An answer did not come, behind so many groups; what the server did meanwhile.
    Hung(usize, String),
}

#[derive(Debug, Clone)]
pub struct Played {
    pub frames: Vec<Frame>,
    pub end: End,
}

/// A session that scripts are played in.
pub struct Stage<'a> {
    pub client: Client,
    pub port: u16,
    /// What the server does in the session's database.
    pub activity: &'a dyn Fn() -> String,
}

enum Stop {
    Closed,
    Hung,
}

impl Stage<'_> {
    pub fn play(&mut self, script: &Script) -> Played {
        let mut frames = Vec::new();
        let copies = script.copies();
        let mut owed = Owed::default();
        for (index, group) in script.groups.iter().enumerate() {
            let mut bytes = Vec::new();
            for message in &group.messages {
                owed.push(message);
                bytes.extend(message.bytes());
            }
            match group.wait {
                Wait::No => {}
                Wait::Answers => {
                    owed.push(&Message::Flush);
                    bytes.extend(Message::Flush.bytes());
                }
                Wait::All | Wait::Cancel => bytes.extend(barrier(copies)),
            }
            // A server that has closed is seen when it is read from.
            let _ = self.client.stream.write_all(&bytes);
            let read = match group.wait {
                Wait::No => Ok(()),
                Wait::Answers if owed.is_paid() => Ok(()),
                Wait::Answers => self.read(&mut frames, false, |frame| {
                    owed.answered(frame.tag);
                    owed.is_paid()
                }),
                Wait::All | Wait::Cancel => {
                    // Nobody else's text is empty.
                    let mut is_over = false;
                    let read = self.read(&mut frames, group.wait == Wait::Cancel, |frame| {
                        let last = is_over && frame.tag == b'Z';
                        let answers = frame.tag == b'I' || is_astray(frame);
                        is_over = answers || (is_over && frame.tag != b'Z');
                        last
                    });
                    owed = Owed::default();
                    read
                }
            };
            match read {
                Ok(()) => {}
                Err(Stop::Closed) => {
                    let end = End::Closed(index);
                    return Played { frames, end };
                }
                Err(Stop::Hung) => {
                    let end = End::Hung(index, (self.activity)());
                    return Played { frames, end };
                }
            }
        }
        let end = End::Well;
        Played { frames, end }
    }

    /// Reads until `is_last`; `cancels`: interrupts the server once it sleeps.
    fn read(
        &mut self,
        into: &mut Vec<Frame>,
        mut cancels: bool,
        mut is_last: impl FnMut(&Frame) -> bool,
    ) -> Result<(), Stop> {
        let began = Instant::now();
        loop {
            let patience = if cancels { GLANCE } else { PATIENCE };
            let stream = &self.client.stream;
            stream.set_read_timeout(Some(patience)).expect("a timeout");
            match peeked(stream) {
                Ok(0) => return Err(Stop::Closed),
                Ok(_) => {}
                Err(ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if began.elapsed() >= PATIENCE {
                        return Err(Stop::Hung);
                    }
                    if cancels && (self.activity)().contains("PgSleep") {
                        self.client.cancel(self.port);
                        cancels = false;
                    }
                    continue;
                }
                Err(_) => return Err(Stop::Closed),
            }
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut head = [0; 5];
            let mut stream = &self.client.stream;
            stream.read_exact(&mut head).map_err(|_| Stop::Closed)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let mut body = vec![0; length.saturating_sub(4) as usize];
            stream.read_exact(&mut body).map_err(|_| Stop::Closed)?;
            let frame = Frame { tag: head[0], body };
            let last = is_last(&frame);
            into.push(frame);
            if last {
                return Ok(());
            }
        }
    }
}

/// PostgreSQL 18 loses its way where a Query in an implicit transaction block is followed by Sync: the next text fails, empty
/// or not.
fn is_astray(frame: &Frame) -> bool {
    let says = |code, text: &str| frame.field(code).is_some_and(|said| said.starts_with(text));
    frame.tag == b'E' && says(b'C', "XX000") && says(b'M', "StartTransactionCommand: ")
}

fn peeked(stream: &TcpStream) -> Result<usize, ErrorKind> {
    let mut byte = [0];
    stream.peek(&mut byte).map_err(|error| error.kind())
}

/// Ends whatever is under way and asks for an answer that nothing else gives: that to an empty text.
fn barrier(copies: bool) -> Vec<u8> {
    let mut messages = Vec::new();
    if copies {
        messages.push(frame(b'f', b"over\0"));
    }
    messages.push(frame(b'S', b""));
    messages.push(frame(b'Q', b"\0"));
    messages.concat()
}

/// What the server owes an answer, where nothing is copied.
#[derive(Debug, Default)]
struct Owed {
    queue: VecDeque<u8>,
    skipping: bool,
}

impl Owed {
    fn push(&mut self, message: &Message) {
        let tag = match message {
            Message::Query(_) => b'Q',
            Message::Parse { .. } => b'P',
            Message::Bind { .. } => b'B',
            Message::Describe(..) => b'D',
            Message::Execute { .. } => b'E',
            Message::Close(..) => b'C',
            Message::Sync => b'Y',
            Message::Flush | Message::CopyData(_) | Message::CopyDone | Message::CopyFail => return,
        };
        if tag == b'Y' {
            self.skipping = false;
        }
        if !self.skipping {
            self.queue.push_back(tag);
        }
    }

    fn is_paid(&self) -> bool {
        self.queue.is_empty()
    }

    fn answered(&mut self, tag: u8) {
        let Some(front) = self.queue.front().copied() else {
            return;
        };
        match (front, tag) {
            (b'Q' | b'Y', b'Z')
            | (b'P', b'1')
            | (b'B', b'2')
            | (b'D', b'T' | b'n')
            | (b'E', b'C' | b's' | b'I')
            | (b'C', b'3') => {
                self.queue.pop_front();
            }
            (b'Q' | b'Y', _) => {}
            (_, b'E') => {
                while self.queue.front().is_some_and(|owed| *owed != b'Y') {
                    self.queue.pop_front();
                }
                self.skipping = self.queue.is_empty();
            }
            _ => {}
        }
    }
}
