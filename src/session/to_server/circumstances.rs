//! What must be known before a text can be decided on: the search path and the encoding in force when the server
//! gets to it.
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncWrite;

use super::ToServer;
use super::refusals::{encoding_refusal, unsettled_refusal};
use crate::session::charset::Charset;
use crate::session::host::Host;
use crate::session::ledger::{AsSent, Ledger, Sent};
use crate::session::messages::Name;
use crate::session::question::Asks;
use crate::session::statements::Statement;
use crate::sql::plan::{Refusal, SessionFacts};

/// pgveil's own question may meet the client's cancel request; this often it is sent again.
const MAX_OWN_FAILURES: u32 = 3;

/// Whether it is known what names mean.
pub(super) enum Known {
    Facts(Arc<SessionFacts>),
    /// It may change, or have changed, in a batch that has not been synced, in a way that cannot be told before.
    InBatch,
}

enum Next {
    Done(Known),
    Await,
    Ask(BytesMut),
}

impl<H: Host> ToServer<'_, H> {
    /// The session's facts as they will be when the server gets to the next message.
    ///
    /// Waits for the answers to what was sent before, if these may change them; the pump to the client runs on
    /// meanwhile. Nothing is waited for that needs more from the client: neither the Sync of an open batch nor the
    /// data of a COPY.
    pub(super) async fn facts<W: AsyncWrite + Unpin>(
        &mut self,
        server: &mut W,
    ) -> io::Result<Known> {
        loop {
            match self.next_step() {
                Next::Done(known) => return Ok(known),
                Next::Await => {
                    self.flush(server).await?;
                    self.shared.progress.notified().await;
                }
                Next::Ask(question) => {
                    self.flush(server).await?;
                    self.ask(&question, server).await?;
                }
            }
        }
    }

    fn next_step(&self) -> Next {
        let mut state = self.shared.lock();
        if state.astray {
            return Next::Done(Known::InBatch);
        }
        if state.own.is_some() {
            return Next::Await;
        }
        if !state.dirty && !state.temporary_dirty {
            return Next::Done(Known::Facts(state.facts.clone()));
        }
        if state.ledger.is_in_doubt() {
            return match state.ledger.will_settle() {
                true => Next::Await,
                false => Next::Done(Known::InBatch),
            };
        }
        if state.ledger.transaction() == Some(b'E') && !state.ledger.runs_in_batch() {
            // Nothing but the end of the transaction runs, and that resolves no names.
            return Next::Done(Known::Facts(state.facts.clone()));
        }
        if state.ledger.mid_batch() {
            // If something fails in it, what comes after is skipped: else it stands as foreseen.
            let foreseen = state.foreseen.clone();
            return Next::Done(foreseen.map_or(Known::InBatch, Known::Facts));
        }
        if !state.ledger.is_quiescent() {
            return Next::Await;
        }
        if state.own_failures >= MAX_OWN_FAILURES {
            state.own_failures = 0;
            return Next::Done(Known::InBatch);
        }
        let asks = match state.temporary_dirty {
            true => Asks::Temporary,
            false if state.is_other_user => Asks::User,
            false => Asks::Path,
        };
        // Asking takes the lock again.
        drop(state);
        let (own, question) = self.shared.question(asks);
        let mut state = self.shared.lock();
        state.own = Some(own);
        state.ledger.push(Sent::Own, std::time::Instant::now());
        Next::Ask(question)
    }

    /// [`ToServer::settled`] for a message that gives these names; or what there is against it.
    pub(super) async fn meant_by<W: AsyncWrite + Unpin>(
        &mut self,
        names: &[&Name],
        as_sent: impl Fn(&Ledger) -> AsSent,
        refused: impl Fn(&Ledger, &Statement) -> bool,
        server: &mut W,
    ) -> io::Result<(Option<Statement>, Option<Refusal>)> {
        if !self.tells_apart(names, server).await? {
            return Ok((None, Some(encoding_refusal())));
        }
        Ok(match self.settled(as_sent, refused, server).await? {
            Ok(meant) => (meant, None),
            Err(refusal) => (None, Some(refusal)),
        })
    }

    /// What a name stands for when the server gets to the next message. Waits, in a restricted session, for what may fail
    /// and have it stand for something else. What is `refused` of it is refused when nothing that is under way can take it
    /// away any more: the server has a word for what is not there.
    ///
    /// `Ok(Err)`: it cannot be told.
    pub(super) async fn settled<W: AsyncWrite + Unpin>(
        &mut self,
        as_sent: impl Fn(&Ledger) -> AsSent,
        refused: impl Fn(&Ledger, &Statement) -> bool,
        server: &mut W,
    ) -> io::Result<Result<Option<Statement>, Refusal>> {
        loop {
            {
                let state = self.shared.lock();
                let now = as_sent(&state.ledger);
                let may_go = state.ledger.is_in_doubt() && state.ledger.will_settle();
                let waits = now.in_doubt
                    || (may_go
                        && now
                            .statement
                            .as_ref()
                            .is_some_and(|meant| refused(&state.ledger, meant)));
                if !waits || !self.restricted {
                    return Ok(Ok(now.statement));
                }
                if !state.ledger.will_settle() {
                    return Ok(Err(unsettled_refusal()));
                }
            }
            self.flush(server).await?;
            self.shared.progress.notified().await;
        }
    }

    /// Whether the server tells names of statements and portals apart as they are told apart here: by the first 63 bytes in its own
    /// encoding. Of names no other spelling is kept in mind.
    pub(super) async fn tells_apart<W: AsyncWrite + Unpin>(
        &mut self,
        names: &[&Name],
        server: &mut W,
    ) -> io::Result<bool> {
        if !self.restricted || names.iter().all(|name| name.bytes().is_ascii()) {
            return Ok(true);
        }
        let is_utf8 = self.charset(server).await? == Some(Charset::Utf8);
        let kept = self.shared.lock().encodings.server == "UTF8";
        Ok(is_utf8 && names.iter().all(|name| kept || !name.is_cut()))
    }

    /// The encoding in which the server will read what is sent next; `None`: it cannot be told. Waits like
    /// [`ToServer::facts`] for statements that may change it, and in a transaction that has changed it for those that may
    /// fail: their error takes the change back, before ROLLBACK comes.
    pub(super) async fn charset<W: AsyncWrite + Unpin>(
        &mut self,
        server: &mut W,
    ) -> io::Result<Option<Charset>> {
        loop {
            {
                let state = self.shared.lock();
                let in_doubt = state.ledger.is_in_doubt();
                let may_change = state.unsettled || (state.touched.encoding && in_doubt);
                if !may_change || state.ledger.is_quiescent() {
                    return Ok(Some(state.encodings.charset()));
                }
                let will_settle = match in_doubt {
                    true => state.ledger.will_settle(),
                    false => !state.ledger.mid_batch(),
                };
                if !will_settle {
                    return Ok(None);
                }
            }
            self.flush(server).await?;
            self.shared.progress.notified().await;
        }
    }
}
