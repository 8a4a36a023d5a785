//! Records of a session that what they are about has to wait for.
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::audit::Ticket;

/// Places that an idle session keeps at most.
const KEPT: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Unsettled(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    /// Not known to be written, in their order.
    unwritten: Vec<Unwritten>,
    /// Place of the newest that is written and not known to be on the disk; 0: all are, or nobody waits for it.
    unsynced: u64,
}

/// Records that are written together.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub ticket: Ticket,
    pub count: u32,
    /// When the first was appended.
    pub since: Instant,
}

impl Unsettled {
    fn records(&self) -> MutexGuard<'_, Records> {
        // Nothing between lock and unlock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn appended(&self, ticket: Ticket, since: Instant) {
        let unwritten = &mut self.records().unwritten;
        match unwritten.last_mut() {
            Some(last) if last.ticket.goes_with(&ticket) => last.count += 1,
            _ => unwritten.push(Unwritten {
                ticket,
                count: 1,
                since,
            }),
        }
    }

    pub(super) fn written(&self, seq: u64) {
        let unsynced = &mut self.records().unsynced;
        *unsynced = seq.max(*unsynced);
    }

    /// Whether others may have records to be written with those of the session; `None`: it has none.
    pub(super) fn in_company(&self) -> Option<bool> {
        let records = self.records();
        let Some(last) = records.unwritten.last() else {
            return (records.unsynced > 0).then_some(false);
        };
        Some(last.ticket.in_company && !last.ticket.is_decided())
    }

    pub(super) fn take_unwritten(&self) -> Vec<Unwritten> {
        std::mem::take(&mut self.records().unwritten)
    }

    /// What was taken, emptied: the next statement has a place at once.
    pub(super) fn give_back(&self, emptied: Vec<Unwritten>) {
        let unwritten = &mut self.records().unwritten;
        if unwritten.capacity() == 0 && emptied.capacity() <= KEPT {
            *unwritten = emptied;
        }
    }

    pub(super) fn take_unsynced(&self) -> u64 {
        std::mem::take(&mut self.records().unsynced)
    }
}
