//! Statements that put rows of protected relations where nobody counts them any more: what they wrote stays only if it was
//! counted and may.
//!
//! How many rows they write is known when they have run, by the command tag. So their transaction must not end before: the
//! session waits for the tag, and where the rows are too many, sends what makes the server take everything back.
use std::io;

use bytes::BytesMut;
use tokio::io::AsyncWrite;

use super::refusals::copying_refusal;
use super::texts::Decided;
use super::{Flow, ToServer};
use crate::session::denial;
use crate::session::host::Host;
use crate::session::ledger::Ledger;
use crate::session::messages::{self, Name};
use crate::session::statements::Statement;
use crate::sql::plan::{Effect, Refusal};
use crate::wire::frame::Header;

impl<H: Host> ToServer<'_, H> {
    /// Whether rows that a statement stores count.
    pub(super) fn stores(&self, statement: &Statement) -> bool {
        if !self.restricted {
            return false;
        }
        let state = self.shared.lock();
        state.ledger.limits_of(statement).0.limits() && keeps(statement, &state.ledger)
    }

    /// Whether what is about to run has to be waited for, because rows that it stores count.
    ///
    /// # Errors
    /// It would not be run, and what is sent behind it would not be read: a COPY FROM STDIN takes it for its data.
    pub(super) fn waits_for_count(&self, statement: &Statement) -> Result<bool, Refusal> {
        let waits = statement.refusal().is_none() && self.stores(statement);
        let state = self.shared.lock();
        let astray = state.ledger.is_absorbing() || !state.ledger.is_sure_to_read();
        match waits && astray {
            true => Err(copying_refusal()),
            false => Ok(waits),
        }
    }

    /// Sends a Query with a single statement in parts, so that its transaction is open when its rows are counted.
    pub(super) async fn query_in_parts<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        decided: &Decided,
        text: &[u8],
        server: &mut W,
    ) -> io::Result<Flow> {
        // A COPY FROM STDIN before it takes what comes for its data.
        self.await_answers(server).await?;
        let (skipping, answered) = {
            let state = self.shared.lock();
            (state.ledger.is_skipping(), state.ledger.is_answered())
        };
        if skipping {
            return Ok(self.send_query(header, decided));
        }
        if !answered {
            // Whether it is read is up to messages that the client has not sent.
            let decided = Decided::refused(Some(&decided.source), copying_refusal());
            return Ok(self.send_query(header, &decided));
        }
        let mut parts = BytesMut::new();
        messages::put_in_parts(&mut parts, decided.text.as_deref().unwrap_or(text));
        let source = decided.source.clone();
        self.shared.lock().ledger.push_in_parts(source, self.heard);
        self.replace(header, &parts);
        self.await_count(server).await?;
        let mut end = BytesMut::new();
        messages::put_end(&mut end);
        self.burst.put(&end);
        Ok(Flow::Next)
    }

    /// Waits until the rows of what was sent last are counted. Where they were too many, the transaction fails.
    pub(super) async fn await_count<W: AsyncWrite + Unpin>(
        &mut self,
        server: &mut W,
    ) -> io::Result<()> {
        self.await_answers(server).await?;
        // The client was told of an error that the server does not know of; or nothing is known of the rows.
        let (muted, answered) = {
            let state = self.shared.lock();
            (state.muted, state.ledger.is_answered())
        };
        if muted || !answered {
            self.shared.lock().ledger.undo(self.heard);
            let mut poison = BytesMut::new();
            let name = self.shared.own_name.as_bytes();
            messages::put_parse(&mut poison, name, denial::poison().as_bytes(), &[0, 0]);
            self.burst.put(&poison);
        }
        Ok(())
    }

    /// Has the server answer everything that was sent, as far as it does so without more of the client: the data of a COPY, or
    /// a Sync.
    pub(super) async fn await_answers<W: AsyncWrite + Unpin>(
        &mut self,
        server: &mut W,
    ) -> io::Result<()> {
        if self.shared.lock().ledger.is_answered() {
            return Ok(());
        }
        self.put_flush();
        loop {
            self.flush(server).await?;
            if self.shared.lock().ledger.answers_come_alone() {
                self.shared.progress.notified().await;
            } else {
                return Ok(());
            }
        }
    }
}

/// Whether a statement, or what it runs by name, stores rows of protected relations. In temporary ones too: what is made
/// of them by statements in flight would be there before the client is told.
fn keeps(statement: &Statement, ledger: &Ledger) -> bool {
    let inner = statement.effects().iter().find_map(|effect| match effect {
        Effect::Execute(name) => {
            let name = Name::from(name.as_str());
            let own = statement.prepared_before(&name);
            own.or_else(|| ledger.prepared_as_sent(&name).statement)
        }
        _ => None,
    });
    inner.as_ref().unwrap_or(statement).packs_rows() || statement.stores_rows(inner.as_ref())
}
