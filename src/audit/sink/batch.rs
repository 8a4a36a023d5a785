//! Records on their way to one sink.
use std::time::Instant;

use crate::audit::chain::Hash;
use crate::audit::{Entry, Position};

/// Where a record stands, and where the next one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub seq: u64,
    pub hash: Hash,
    pub record: Position,
    pub next: Position,
}

/// One record as it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// `<chain id>-<seq>`: the same for every attempt, and for no other record.
    pub id: String,
    pub place: Place,
    pub entry: Entry,
    /// The record in the sink's format, without an end of line.
    pub body: Vec<u8>,
    /// The line of the spool.
    pub line: Vec<u8>,
}

/// What a sink sends at once, in the order of the chain.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<Message>,
    bytes: u64,
    /// The last record that was read, sent or passed over.
    end: Option<Place>,
    /// When the first message came.
    since: Option<Instant>,
}

impl Batch {
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Of all messages, as they are sent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Nothing to send; some records may have been passed over.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Since when its first message waits.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The last record that was read.
    pub fn end(&self) -> Option<Place> {
        self.end
    }

    pub fn push(&mut self, message: Message) {
        self.bytes += message.body.len() as u64;
        self.end = Some(message.place);
        self.since.get_or_insert_with(Instant::now);
        self.messages.push(message);
    }

    /// A record that this sink does not want.
    pub fn pass_over(&mut self, place: Place) {
        self.end = Some(place);
    }

    /// Takes the first messages away: they are delivered. Gives the last record that the sink is done with.
    pub fn delivered(&mut self, count: usize) -> Option<Place> {
        let count = count.min(self.messages.len());
        let gone: Vec<Message> = self.messages.drain(..count).collect();
        self.bytes = self
            .messages
            .iter()
            .map(|message| message.body.len() as u64)
            .sum();
        if self.messages.is_empty() {
            self.since = None;
            return self.end.take();
        }
        gone.last().map(|message| message.place)
    }
}
