//! What was sent to the server and has not been answered in full, so that each answer finds its statement.
//!
//! A first-in first-out list that follows the rules of `PostgresMain` (tcop/postgres.c): after an error in an
//! extended-protocol batch everything up to the Sync is skipped, a Query included; after an error in a Query the
//! rest of its statements is not run; while COPY FROM STDIN runs, Sync and Flush are ignored
//! (`CopyGetData`, commands/copyfromparse.c), and after it CopyDone and CopyFail are.
//!
//! Whether a Sync that was sent during a COPY that failed had been ignored cannot be known: it is kept as one that
//! may be answered (`may_be_ignored`), and nothing ever waits for it.
mod ahead;
mod anew;
mod answers;
mod counting;
mod cut_off;
mod parts;
mod running;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub use self::ahead::AsSent;
pub use self::anew::Comparison;
use self::parts::Parts;
pub use self::running::{Counted, Running, Stop};
use crate::export::{Limits, Meter, Purse};
use crate::policy::ExportRule;
use crate::session::messages::{Name, Target};
use crate::session::names::{Inner, Names};
use crate::session::statements::{Granted, Source, Statement};
use crate::sql::plan::{Effect, Refusal};

/// Messages that may be under way. Sync takes 5 bytes on the wire and far more here, so what a client can pipeline
/// is bounded by number too. A server holds back at most 8 KiB of answers, some 1,600.
pub const MAX_IN_FLIGHT: usize = 16_384;
/// Bytes of texts and values under way, beyond which the session waits for answers, too. The server holds one statement of
/// a name; its answers to many of them fit into a buffer that it does not send.
const MAX_HELD: usize = 8 << 20;

/// A message that the server will answer, or skip.
#[derive(Debug)]
pub enum Sent {
    Query(Arc<Source>),
    /// A batch of pgveil's own up to its Sync: none of its answers goes to the client.
    Own,
    Parse {
        name: Name,
        source: Arc<Source>,
    },
    Bind {
        portal: Name,
        statement: Name,
        /// What the name stood for when the message was let through; `None`: nothing known.
        meant: Option<Statement>,
        /// A message that must fail was sent in its place.
        denied: Option<Refusal>,
    },
    Describe(Target),
    /// pgveil's own Describe of a portal: its answer is looked at and goes no further.
    Check(Name),
    Execute {
        portal: Name,
        /// What it runs, where that does something to names.
        names: Option<Statement>,
        /// A message that must fail was sent in its place.
        denied: Option<Refusal>,
    },
    Close(Target),
    Sync,
    FunctionCall {
        /// No statement; what there is to say of one.
        source: Arc<Source>,
        /// A Query that must fail was sent in its place.
        denied: Option<Refusal>,
    },
    /// CopyDone or CopyFail.
    CopyEnd,
    /// pgveil's own question what the server says of a prepared statement and of what is to go by its name.
    Compare(Comparison),
    /// pgveil's own Close and Parse of a prepared statement of the client's.
    Anew {
        name: Name,
        source: Arc<Source>,
    },
    /// pgveil's own Parse that must fail: it takes back what its transaction has done, and its error goes no further.
    Undo,
}

impl Sent {
    /// Bytes of what the client has said in it and the record may need.
    fn held(&self) -> usize {
        match self {
            Sent::Query(source) | Sent::Parse { source, .. } | Sent::Anew { source, .. } => {
                source.text.as_ref().map_or(0, |text| text.len())
            }
            Sent::Bind {
                meant: Some(meant), ..
            } => meant.values.as_ref().map_or(0, |values| values.len()),
            _ => 0,
        }
    }
}

#[derive(Debug)]
struct Entry {
    sent: Sent,
    at: Instant,
    /// Of a Query: how many of its statements have ended. Of a Describe: ParameterDescription has come.
    answered: usize,
    /// Only ReadyForQuery is still to come.
    finished: bool,
    /// A Sync that fell into a COPY FROM STDIN.
    may_be_ignored: bool,
    /// Of a Query: it went to the server as Parse, Bind, Describe, Execute and, once its end was decided on, Sync.
    in_parts: Option<Parts>,
}

/// What a message is about.
#[derive(Debug)]
struct First {
    statement: Statement,
    /// What of it EXECUTE or FETCH runs.
    inner: Option<Inner>,
    portal: Option<Name>,
}

/// An ErrorResponse's statement.
#[derive(Debug)]
pub struct Failure {
    pub running: Running,
    /// The refusal that the error stands for.
    pub refusal: Option<Refusal>,
}

/// What an answer of the server means.
#[derive(Debug)]
pub enum Answer {
    /// Part of an answer that ends nothing.
    Progress,
    /// The columns of a result.
    Columns(Option<Statement>),
    /// The columns of rows that are pgveil's own; `described`: the client asked for a description.
    HiddenColumns {
        described: bool,
    },
    /// The columns of a result, for pgveil alone.
    Checked(Option<Statement>),
    /// CommandComplete, EmptyQueryResponse, PortalSuspended or FunctionCallResponse: a statement has ended well.
    Ended(Box<Running>),
    Failed(Box<Failure>),
    /// ReadyForQuery to the client.
    Ready,
    /// Belongs to pgveil's own batch.
    Own,
    /// ReadyForQuery of pgveil's own batch.
    OwnReady,
}

/// An answer that nothing that was sent accounts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unexpected message {} from the server", char::from(*.tag))]
pub struct Unexpected {
    pub tag: u8,
}

/// How much a role may take out, and how strict the ledger is about what it does not know.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub restricted: bool,
    pub export: Arc<ExportRule>,
    /// What the person has in hand; where there is none, nothing is limited over results.
    pub purse: Option<Arc<Purse>>,
}

/// Extended-protocol messages that were sent with no Sync after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Batch {
    /// There are none.
    #[default]
    Closed,
    Open,
    /// An Execute is among them.
    Runs,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub rules: Rules,
    queue: VecDeque<Entry>,
    /// What is in `queue` holds at most so many bytes.
    held: usize,
    running: Option<Running>,
    pub names: Names,
    /// The server skips what comes up to the next Sync.
    skipping: bool,
    /// ... or does so, unless a Sync that a COPY may have ignored was none.
    may_skip: bool,
    batch: Batch,
    /// COPY FROM STDIN is running.
    copying: bool,
    /// ... and the client has not sent its end.
    absorbing: bool,
    /// ReadyForQuery messages that may come for Syncs that were taken for ignored ones.
    surplus: usize,
    /// What was compared last would be the same to the client.
    alike: bool,
    /// Status byte of the last ReadyForQuery.
    transaction: Option<u8>,
}

impl Ledger {
    pub fn new(rules: Rules) -> Self {
        Ledger {
            rules,
            ..Ledger::default()
        }
    }

    /// The server skips what is sent, up to a Sync.
    pub const fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// A COPY FROM STDIN takes for its data whatever comes.
    pub const fn is_absorbing(&self) -> bool {
        self.absorbing
    }

    /// Puts down a message that is about to be sent. `now` is when it arrived.
    pub fn push(&mut self, sent: Sent, now: Instant) {
        match sent {
            Sent::Sync => {
                self.skipping = false;
                self.batch = Batch::Closed;
            }
            Sent::Query(_) | Sent::Own | Sent::FunctionCall { .. } => {}
            Sent::CopyEnd => {
                if self.absorbing {
                    self.absorbing = false;
                    return;
                }
                // One that nothing follows says as much as many.
                let last = self.queue.back();
                if last.is_none_or(|last| matches!(last.sent, Sent::CopyEnd)) {
                    return;
                }
            }
            Sent::Execute { .. } => self.batch = Batch::Runs,
            _ => self.batch = self.batch.max(Batch::Open),
        }
        if self.skipping {
            return;
        }
        let may_be_ignored = self.absorbing && matches!(sent, Sent::Sync);
        if may_be_ignored && self.queue.back().is_some_and(|last| last.may_be_ignored) {
            self.surplus += 1;
            return;
        }
        self.held += sent.held();
        self.queue.push_back(Entry {
            sent,
            at: now,
            answered: 0,
            finished: false,
            may_be_ignored,
            in_parts: None,
        });
    }

    /// As much is under way as is kept in mind: what comes next must wait for answers.
    pub fn is_full(&mut self) -> bool {
        self.queue.len() >= MAX_IN_FLIGHT || self.is_heavy()
    }

    /// Texts and values of what is under way take up much memory.
    pub fn is_heavy(&mut self) -> bool {
        if self.held > MAX_HELD {
            // What was answered is counted in it.
            self.held = self.queue.iter().map(|entry| entry.sent.held()).sum();
        }
        self.held > MAX_HELD
    }

    /// Nothing is under way: the server waits for a new batch.
    pub fn is_quiescent(&self) -> bool {
        !self.mid_batch()
            && !self.skipping
            && !self.copying
            && !self.queue.iter().any(Entry::is_awaited)
    }

    /// The statement whose answers are coming in, once the first has come.
    pub fn running(&self) -> Option<&Running> {
        self.running.as_ref()
    }

    /// The statement that answers are for now, also before the first has come.
    pub fn current(&self) -> Option<Statement> {
        match &self.running {
            Some(running) => Some(running.statement.clone()),
            None => self.first().map(|first| first.statement),
        }
    }

    /// Nothing was sent behind the batch that the server is at.
    pub fn is_last_batch(&self) -> bool {
        let bounds = self.queue.iter().position(Entry::is_awaited);
        bounds.is_none_or(|bounds| bounds + 1 == self.queue.len())
    }

    /// A ReadyForQuery is certain to come.
    pub fn awaits_ready(&self) -> bool {
        self.queue.iter().any(Entry::is_awaited)
    }

    /// Extended-protocol messages have been sent without a Sync: the server's state cannot be asked for.
    pub const fn mid_batch(&self) -> bool {
        !matches!(self.batch, Batch::Closed)
    }

    /// ... and one of them runs something.
    pub const fn runs_in_batch(&self) -> bool {
        matches!(self.batch, Batch::Runs)
    }

    /// Status of the transaction as the last ReadyForQuery said: `I`, `T` or `E`.
    pub const fn transaction(&self) -> Option<u8> {
        self.transaction
    }

    /// A prepared statement was decided on again, with the same outcome.
    pub fn bring_up_to_date(&mut self, name: &Name, then: &Statement, now: &Statement) {
        let then_source = &then.source;
        for entry in &mut self.queue {
            let source = match &mut entry.sent {
                Sent::Parse {
                    name: parsed,
                    source,
                }
                | Sent::Anew {
                    name: parsed,
                    source,
                } if parsed == name => source,
                Sent::Bind {
                    statement,
                    meant: Some(meant),
                    ..
                } if statement == name => &mut meant.source,
                _ => continue,
            };
            if Arc::ptr_eq(source, then_source) {
                *source = now.source.clone();
            }
        }
        let stands = self.names.prepared(name);
        if stands.is_some_and(|stands| Arc::ptr_eq(&stands.source, &then.source)) {
            self.names.prepare(name.clone(), now.clone());
        }
    }

    fn start(&mut self) -> Option<&mut Running> {
        if self.running.is_none() {
            let first = self.first()?;
            if let Some(Entry {
                sent: Sent::Execute { portal, .. },
                ..
            }) = self.queue.front()
            {
                self.names.portals.run(portal, first.inner.as_ref());
            }
            self.running = Some(self.begin(first)?);
        }
        self.running.as_mut()
    }

    /// What the first message is about.
    fn first(&self) -> Option<First> {
        let front = self.queue.front()?;
        let unknown = Statement::unknown;
        let (statement, portal) = match &front.sent {
            Sent::Query(source) => (Statement::new(source.clone(), front.answered), None),
            Sent::Parse { source, .. } | Sent::Anew { source, .. } => {
                (Statement::new(source.clone(), 0), None)
            }
            Sent::Compare(comparison) => (comparison.statement.clone(), None),
            Sent::Bind { meant, .. } => (meant.clone().unwrap_or_else(unknown), None),
            Sent::Describe(Target::Statement(name)) => (
                self.names.prepared(name).cloned().unwrap_or_else(unknown),
                None,
            ),
            Sent::Describe(Target::Portal(name))
            | Sent::Check(name)
            | Sent::Execute { portal: name, .. } => (
                self.names
                    .portal(name)
                    .map_or_else(unknown, |portal| portal.statement.clone()),
                Some(name.clone()),
            ),
            Sent::FunctionCall { source, .. } => (Statement::new(source.clone(), 0), None),
            Sent::Close(_) | Sent::Sync => (unknown(), None),
            Sent::Own | Sent::Undo | Sent::CopyEnd => return None,
        };
        Some(First {
            inner: self.names.inner_of(portal.as_ref(), &statement),
            statement,
            portal,
        })
    }

    fn begin(&self, first: First) -> Option<Running> {
        let front = self.queue.front()?;
        let (inner, cursor) = match first.inner {
            Some(inner) => (Some(inner.statement), inner.cursor),
            None => (None, None),
        };
        let is_renamed = first.portal.as_ref().is_some_and(|name| {
            let portal = self.names.portal(name);
            portal.is_some_and(|portal| portal.is_renamed(inner.as_ref()))
        });
        let mut running = Running {
            statement: first.statement,
            is_renamed,
            inner,
            meter: Meter::unlimited(),
            since: front.at,
            stopped: None,
            unlimited: false,
            would_stop: None,
            grant: None,
            sprung: Vec::new(),
            fallback_kind: match front.sent {
                Sent::Sync => "COMMIT",
                // Nothing of it is left but the end of its transaction.
                Sent::Query(_) if front.in_parts.is_some() && front.answered > 0 => "COMMIT",
                Sent::FunctionCall { .. } => "FUNCTION CALL",
                _ => "UNPARSED",
            },
            portal: first.portal.map(|name| self.names.portals.opened(&name)),
            cursor,
        };
        running.meter = self.meter(&running);
        if let Some(Granted { record, rows }) = self.granted(&running).cloned() {
            running.meter.raise(rows);
            running.grant = Some(record);
        }
        Some(running)
    }

    /// The statement that runs goes on under a grant, and with it the rest of its portal or cursor.
    pub fn grant(&mut self, granted: Granted) {
        let Some(running) = &mut self.running else {
            return;
        };
        running.meter.raise(granted.rows);
        running.grant = Some(Arc::clone(&granted.record));
        let epoch = running.statement.source.epoch;
        for portal in running.portals() {
            self.names.portals.grant(portal, granted.clone(), epoch);
        }
    }

    /// The grant that a statement's rows go out under from the first on.
    fn granted<'a>(&'a self, running: &'a Running) -> Option<&'a Granted> {
        let source = &running.statement.source;
        let own = running.statement.grant.as_ref().or(source.grant.as_ref());
        own.or_else(|| {
            let mut portals = running.portals();
            portals.find_map(|opened| self.names.portals.get_opened(opened)?.granted(source.epoch))
        })
    }

    /// How much a statement may take out, and what its person has in hand. Where people share the session's user, that is
    /// a matter of the statement.
    pub fn limits_of<'a>(
        &'a self,
        statement: &'a Statement,
    ) -> (&'a Arc<ExportRule>, Option<&'a Arc<Purse>>) {
        let source = &statement.source;
        match (&source.asker, &source.role) {
            (Some(asker), Some(role)) if asker.is_one_of_many => {
                (&role.export, asker.purse.as_ref())
            }
            _ => (&self.rules.export, self.rules.purse.as_ref()),
        }
    }

    fn meter(&self, running: &Running) -> Meter {
        let (export, _) = self.limits_of(&running.statement);
        if !running.is_counted(export) {
            return Meter::unlimited();
        }
        let before = self.names.portals.sum(running.portals());
        let limits = Limits {
            rows: export.rows,
            bytes: export.bytes,
        };
        let mut meter = Meter::limited(limits, before);
        if running.statement.effects().contains(&Effect::CopiesHeader) {
            meter.expect_header();
        }
        meter
    }
}

impl Entry {
    /// ReadyForQuery will certainly come for it.
    fn is_awaited(&self) -> bool {
        match self.sent {
            Sent::Query(_) | Sent::Own | Sent::FunctionCall { .. } => true,
            Sent::Sync => !self.may_be_ignored,
            _ => false,
        }
    }

    /// The server stops skipping at it, for certain.
    fn ends_batch(&self) -> bool {
        matches!(self.sent, Sent::Sync) && !self.may_be_ignored
    }
}
