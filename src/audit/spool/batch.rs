//! Records that wait to be written, and go into the segment together: one write(2), all of them or none.
//!
//! A record has its place in the order from when it is appended, and its number and hash from when it is written. Whoever
//! needs a record of theirs written first writes what everybody has appended until then.
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::lines::Body;
use super::{Ack, Appended, ChainEnd, Spool, SpoolError, off_the_runtime};
use crate::audit::record::Record;

/// Bytes of records that wait at most. Who appends beyond writes at once.
const MOST_WAITING: usize = 256 * 1024;
/// Somebody else's record was appended so recently that another may come any moment.
const COMPANY: Duration = Duration::from_millis(1);

/// Places for records that are kept at most when the records have been written.
const KEPT_PLACES: usize = 256;

/// Records in the order in which they were appended.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    bodies: Vec<Body>,
    bytes: usize,
    batch: Arc<Batch>,
    /// Who appended last, and when.
    last: Option<(usize, Instant)>,
}

/// What became of records that were written together; unset: they wait, or are being written.
#[derive(Debug, Default)]
struct Batch(OnceLock<Result<Appended, Arc<str>>>);

/// Stands for a record that was appended.
#[derive(Debug, Clone)]
pub struct Ticket {
    batch: Arc<Batch>,
    /// Others append records just now: they may go with this one.
    pub in_company: bool,
}

impl Ticket {
    /// It is known whether the record was written.
    pub fn is_decided(&self) -> bool {
        self.batch.0.get().is_some()
    }

    /// Both stand for records that are written together.
    pub fn goes_with(&self, other: &Ticket) -> bool {
        Arc::ptr_eq(&self.batch, &other.batch)
    }

    fn outcome(&self) -> Option<Result<Appended, SpoolError>> {
        let outcome = self.batch.0.get()?.clone();
        Some(outcome.map_err(SpoolError::Together))
    }
}

/// Records on their way out of the queue. Whatever happens, who appended them learns what became of them.
pub(super) struct Taken {
    pub bodies: Vec<Body>,
    batch: Arc<Batch>,
}

impl Taken {
    fn count(&self) -> u64 {
        self.bodies.len() as u64
    }

    fn decide(&self, written: Result<Appended, SpoolError>) -> Result<Appended, SpoolError> {
        let told = written
            .as_ref()
            .copied()
            .map_err(|error| Arc::from(error.to_string()));
        // Nobody else sets it.
        let _ = self.batch.0.set(told);
        written
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Without effect where it is known.
        let _ = self
            .batch
            .0
            .set(Err("the audit record was left unwritten".into()));
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing between lock and unlock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, bodies: impl IntoIterator<Item = Body>) -> Ticket {
        let mut waiting = self.waiting();
        for body in bodies {
            waiting.push(body);
        }
        waiting.ticket(false)
    }

    /// Gives the ticket, and whether too much waits.
    fn push_for(&self, author: usize, body: Body, now: Instant) -> (Ticket, bool) {
        let mut waiting = self.waiting();
        let in_company = waiting.last.is_some_and(|(last, at)| {
            last != author && now.saturating_duration_since(at) < COMPANY
        });
        waiting.last = Some((author, now));
        waiting.push(body);
        (waiting.ticket(in_company), waiting.bytes > MOST_WAITING)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().bodies.is_empty()
    }

    /// Records that were written leave their places to those that come.
    fn give_back(&self, mut bodies: Vec<Body>) {
        bodies.clear();
        let mut waiting = self.waiting();
        if waiting.bodies.capacity() == 0 && bodies.capacity() <= KEPT_PLACES {
            waiting.bodies = bodies;
        }
    }

    pub(super) fn take(&self) -> Taken {
        let mut waiting = self.waiting();
        waiting.bytes = 0;
        Taken {
            bodies: std::mem::take(&mut waiting.bodies),
            batch: std::mem::take(&mut waiting.batch),
        }
    }
}

impl Waiting {
    fn push(&mut self, body: Body) {
        self.bytes += body.json.len();
        self.bodies.push(body);
    }

    fn ticket(&self, in_company: bool) -> Ticket {
        Ticket {
            batch: Arc::clone(&self.batch),
            in_company,
        }
    }
}

impl Spool {
    /// Appends one record without writing it: what it is about must not go on before [`Spool::write_out`] has been given
    /// the ticket, and with [`Ack::Synced`] [`Spool::settled`] the place. `author` is whatever tells one session from the
    /// others.
    ///
    /// # Errors
    /// The record cannot be put into JSON.
    pub fn append_later(
        &self,
        record: &Record,
        author: usize,
        now: Instant,
    ) -> Result<Ticket, SpoolError> {
        let body = Body::new(record, self.tail.is_followed())?;
        let (ticket, too_much) = self.queue.push_for(author, body, now);
        if too_much {
            // The ticket tells what came of it.
            let _ = self.write_out(&ticket);
        }
        Ok(ticket)
    }

    /// Sees to it that the record of a ticket is written; then gives the place of the last that was written with it.
    ///
    /// # Errors
    /// As [`Spool::append`].
    pub fn write_out(&self, ticket: &Ticket) -> Result<Appended, SpoolError> {
        match ticket.outcome() {
            Some(outcome) => outcome,
            None => self.write_waiting(Some(ticket), false),
        }
    }

    /// Who is told of a record has to wait for the disk, too.
    pub fn waits_for_disk(&self) -> bool {
        // A successor has answered when it has synced.
        self.settings.ack == Ack::Synced && !self.is_handed_over()
    }

    pub(super) fn append_bodies(
        &self,
        bodies: impl IntoIterator<Item = Body>,
    ) -> Result<Appended, SpoolError> {
        let appended = self.write_out(&self.queue.push(bodies))?;
        if self.waits_for_disk() {
            self.note_failure(off_the_runtime(|| self.sync_to(appended.seq)))?;
        }
        Ok(appended)
    }

    /// Writes what waits, unless the ticket's record was written meanwhile; signs what is not signed if that is asked for.
    pub(super) fn write_waiting(
        &self,
        ticket: Option<&Ticket>,
        sign: bool,
    ) -> Result<Appended, SpoolError> {
        // Who has the chain now may have to be waited for, with whoever waits already.
        match self.is_handed_over() {
            true => off_the_runtime(|| self.write_in_turn(ticket, sign)),
            false => self.write_in_turn(ticket, sign),
        }
    }

    fn write_in_turn(&self, ticket: Option<&Ticket>, sign: bool) -> Result<Appended, SpoolError> {
        let _turn = self.turn();
        if let Some(outcome) = ticket.and_then(Ticket::outcome) {
            return outcome;
        }
        let mut taken = self.queue.take();
        loop {
            let mut end = self.end();
            let Some(successor) = end.successor.clone() else {
                let written = self.write_taken(&mut end, &mut taken, sign);
                drop(end);
                self.queue.give_back(std::mem::take(&mut taken.bodies));
                return written;
            };
            if taken.bodies.is_empty() {
                // Signatures are the successor's.
                return taken.decide(Ok(end.place()));
            }
            drop(end);
            if let Some(passed) = self.pass_on(&*successor, &mut taken.bodies) {
                if passed.is_err() {
                    self.lost.fetch_add(taken.count(), Ordering::Relaxed);
                }
                return self.note_failure(taken.decide(passed));
            }
        }
    }

    pub(super) fn write_taken(
        &self,
        end: &mut ChainEnd,
        taken: &mut Taken,
        sign: bool,
    ) -> Result<Appended, SpoolError> {
        let written = self.write_to(end, &mut taken.bodies, sign);
        if written.is_err() {
            end.lost += taken.count();
            self.lost.fetch_add(taken.count(), Ordering::Relaxed);
        }
        self.note_failure(taken.decide(written))
    }

    /// Batches go into the chain one after the other, also through another process.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
