//! Queries that go to the server in parts, so that their transaction is open when their rows are counted, and what takes a
//! transaction back.
use std::sync::Arc;
use std::time::Instant;

use super::{Entry, Ledger, Sent};
use crate::session::statements::Source;

/// How far a Query is that goes to the server in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// Its transaction is open.
    Running,
    /// Its transaction is being taken back: the error that does it is pgveil's own.
    Undone,
}

impl Ledger {
    /// Puts down a Query that is about to be sent in parts, its Sync last. The server must not be skipping
    /// ([`Ledger::is_skipping`]).
    pub fn push_in_parts(&mut self, source: Arc<Source>, now: Instant) {
        self.push(Sent::Query(source), now);
        if let Some(last) = self.queue.back_mut() {
            last.in_parts = Some(Parts::Running);
        }
    }

    /// Puts down pgveil's own message that takes back what the transaction under way has done: that of the Query which
    /// went in parts, or that of the batch which is open.
    pub fn undo(&mut self, now: Instant) {
        match self.queue.back_mut() {
            Some(Entry {
                in_parts: Some(parts),
                ..
            }) => *parts = Parts::Undone,
            _ => self.push(Sent::Undo, now),
        }
    }

    /// A Query that went in parts has run; its transaction is still open.
    pub fn ends_in_parts(&self) -> bool {
        let front = self.queue.front();
        front.is_some_and(|front| front.in_parts.is_some() && front.answered > 0)
    }

    /// Something is to be answered that was sent, and nothing that the server waits for is the client's to send.
    pub fn answers_come_alone(&self) -> bool {
        !self.is_answered() && !self.absorbing && self.is_sure_to_read()
    }

    /// Whether the server reads what is sent now is not up to a Sync that a COPY may have ignored.
    pub fn is_sure_to_read(&self) -> bool {
        !self.may_skip || self.will_settle()
    }

    /// The server has answered everything that it was sent, but for the end of a Query in parts: it waits for more.
    pub fn is_answered(&self) -> bool {
        self.queue.iter().all(|entry| {
            let ended = entry.answered > 0 || entry.finished;
            entry.may_be_ignored
                || matches!(entry.sent, Sent::CopyEnd)
                || (entry.in_parts.is_some() && ended)
        })
    }
}
