//! Prepared statements about which something else is decided now than when they were prepared: for somebody else, or under
//! another policy. They are prepared anew under their name before they are bound, as drivers would on being told.
//!
//! A client may know the statement's types, from its own Parse or by a Describe, and reads and writes values by them. So the
//! server is asked first to describe both: where types or columns differ, it is answered as it would be by the server.
use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::ToServer;
use super::inner::Now;
use super::refusals::unwritable_refusal;
use crate::catalog::Oid;
use crate::session::charset::Charset;
use crate::session::denial;
use crate::session::host::Host;
use crate::session::ledger::{Comparison, Sent};
use crate::session::messages::{self, Name};
use crate::session::statements::{Source, Statement};
use crate::sql::plan::{Effect, Refusal};

impl<H: Host> ToServer<'_, H> {
    /// Prepares what has been decided on now in the place of what goes by the name.
    ///
    /// # Errors
    /// The name stands for what it stood for.
    pub(super) async fn prepare_anew<W: AsyncWrite + Unpin>(
        &mut self,
        name: &Name,
        now: Arc<Source>,
        server: &mut W,
    ) -> io::Result<Result<Statement, Refusal>> {
        let changed = || Ok(Err(denial::of_changed_plan()));
        if !is_by_message(&now) {
            return changed();
        }
        let parameters = declared(&now);
        let objection = match self.objection(&now, Now::Prepared, server).await? {
            None => self.parameter_objection(&parameters, &now.claim).await,
            objection => objection,
        };
        if let Some(refusal) = objection {
            return Ok(Err(refusal));
        }
        let Some(text) = self.encoded(&now, server).await? else {
            return Ok(Err(unwritable_refusal()));
        };
        {
            let mut state = self.shared.lock();
            // What an earlier question has said is not about this one.
            state.ledger.take_alike();
            if state.ledger.is_absorbing() || !state.ledger.is_sure_to_read() {
                return changed();
            }
        }
        let statement = Statement::new(Arc::clone(&now), 0);
        let mut asks = BytesMut::new();
        let own = self.shared.own_name.as_bytes().to_vec();
        messages::put_close(&mut asks, b'S', &own);
        messages::put_describe(&mut asks, b'S', name.bytes());
        messages::put_parse(&mut asks, &own, &text, &parameters);
        messages::put_describe(&mut asks, b'S', &own);
        messages::put_close(&mut asks, b'S', &own);
        self.burst.put(&asks);
        self.push(Sent::Compare(Comparison::of(statement.clone())));
        self.await_answers(server).await?;
        if !self.shared.lock().ledger.take_alike() {
            return changed();
        }
        let mut anew = BytesMut::new();
        if !name.is_unnamed() {
            messages::put_close(&mut anew, b'S', name.bytes());
        }
        messages::put_parse(&mut anew, name.bytes(), &text, &parameters);
        self.burst.put(&anew);
        self.push(Sent::Anew {
            name: name.clone(),
            source: now,
        });
        Ok(Ok(statement))
    }

    /// What the server is to run of a text that was decided on, in the client's encoding.
    async fn encoded<W: AsyncWrite + Unpin>(
        &mut self,
        source: &Source,
        server: &mut W,
    ) -> io::Result<Option<Bytes>> {
        let planned = source.plan.as_ref().and_then(|plan| plan.text.clone());
        let Some(text) = planned.or_else(|| source.text.clone()) else {
            return Ok(None);
        };
        self.encode(&text, server).await
    }

    /// A text in the client's encoding; `None`: it has characters that the encoding lacks.
    pub(super) async fn encode<W: AsyncWrite + Unpin>(
        &mut self,
        text: &str,
        server: &mut W,
    ) -> io::Result<Option<Bytes>> {
        let charset = match text.is_ascii() {
            true => Some(Charset::Ascii),
            false => self.charset(server).await?,
        };
        let bytes = charset.and_then(|charset| charset.encode(text));
        Ok(bytes.map(|bytes| Bytes::copy_from_slice(&bytes)))
    }
}

/// Its text came by a Parse and is one statement: PREPARE, too, gives names.
fn is_by_message(source: &Source) -> bool {
    let [statement] = source.statements() else {
        return false;
    };
    let mut effects = statement.effects.iter();
    !effects.any(|effect| matches!(effect, Effect::Prepare(_)))
}

/// The types that the client's Parse gave to parameters, as on the wire.
fn declared(source: &Source) -> BytesMut {
    let types: &[Oid] = source.facts.parameters.as_deref().unwrap_or_default();
    let mut parameters = BytesMut::with_capacity(2 + 4 * types.len());
    // As many as a Parse had.
    parameters.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
    types.iter().for_each(|oid| parameters.put_u32(*oid));
    parameters
}
