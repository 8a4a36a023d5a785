//! Query and Parse: the messages that carry SQL.
use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::circumstances::Known;
use super::inner::Now;
use super::refusals::{
    encoding_refusal, folding_refusal, in_batch_refusal, setting_refusal, unwritable_refusal,
};
use super::told::Told;
use super::{Flow, ToServer, trial};
use crate::catalog::{FIRST_NORMAL_OID, Oid};
use crate::session::burst::READ_BUFFER;
use crate::session::charset::Charset;
use crate::session::claim::{Claim, Spoken};
use crate::session::denial;
use crate::session::host::{Host, Unavailable};
use crate::session::ledger::Sent;
use crate::session::messages::{self, Name, Parse};
use crate::session::statements::{Epoch, Source, Statement};
use crate::session::trace_context;
use crate::sql::folding;
use crate::sql::plan::{Effect, Reason, Refusal, SessionFacts};
use crate::wire::frame::{Fields, Header};

/// The message that carries a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// It runs at once.
    Query,
    /// It runs when it is bound.
    Parse,
}

impl From<Carrier> for Now {
    fn from(carrier: Carrier) -> Self {
        match carrier {
            Carrier::Query => Now::Run,
            Carrier::Parse => Now::Prepared,
        }
    }
}

/// What was decided about a text.
pub(super) struct Decided {
    pub source: Arc<Source>,
    /// What goes to the server, in the client's encoding; `None`: the client's own bytes.
    pub text: Option<Bytes>,
}

impl Decided {
    pub(super) fn refused(known: Option<&Source>, refusal: Refusal) -> Self {
        let plan = known.and_then(|source| source.plan.as_deref());
        let statement = plan.and_then(|plan| plan.statements.first());
        let plan = denial::refused_plan(statement, refusal);
        Decided {
            // A poison, in ASCII.
            text: plan
                .text
                .as_deref()
                .map(|text| Bytes::copy_from_slice(text.as_bytes())),
            source: Arc::new(Source {
                text: None,
                trace: None,
                plan: Some(Arc::new(plan)),
                facts: Arc::default(),
                epoch: Epoch::default(),
                role: None,
                asker: known.and_then(|source| source.asker.clone()),
                spoken: Spoken::default(),
                claim: known.map(|source| source.claim.clone()).unwrap_or_default(),
                described: AtomicBool::new(false),
                subjects: Mutex::default(),
                clear: None,
                grant: None,
            }),
        }
    }
}

impl<H: Host> ToServer<'_, H> {
    pub(super) async fn query<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        if header.body() as u64 > self.limits.statement_bytes {
            let decided = self.too_long();
            return Ok(self.send_query(header, &decided));
        }
        let Some(body) = self.burst.body(header) else {
            return Ok(Flow::Wait);
        };
        let text = match messages::read_query(body) {
            Ok(text) => text.to_vec(),
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let mut decided = self.decide(&text, Carrier::Query, None, server).await?;
        let mut waits = false;
        if self.restricted {
            // Where there are several, none of them stores rows.
            let counted = self.waits_for_count(&Statement::new(decided.source.clone(), 0));
            let counted = match counted {
                // Its transaction would end here, and with it that of the batch.
                Ok(true) if self.shared.lock().ledger.mid_batch() => Err(in_batch_refusal()),
                counted => counted,
            };
            match counted {
                Ok(is_counted) => waits = is_counted,
                Err(refusal) => decided = Decided::refused(Some(&decided.source), refusal),
            }
        }
        if let Some(plan) = &decided.source.plan {
            let mut state = self.shared.lock();
            for (index, statement) in plan.statements.iter().enumerate() {
                let earlier = plan.statements.get(..index).unwrap_or_default();
                state.foresee(statement, earlier);
                state.make(statement, &decided.source.claim);
            }
        }
        if waits {
            return self.query_in_parts(header, &decided, &text, server).await;
        }
        Ok(self.send_query(header, &decided))
    }

    pub(super) fn send_query(&mut self, header: Header, decided: &Decided) -> Flow {
        self.push(Sent::Query(decided.source.clone()));
        match &decided.text {
            None => self.burst.forward(header),
            Some(text) => {
                let mut instead = BytesMut::new();
                messages::put_query(&mut instead, text);
                self.replace(header, &instead);
            }
        }
        Flow::Next
    }

    pub(super) async fn parse<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        if header.body() as u64 > self.limits.statement_bytes {
            return Ok(self.parse_too_long(header));
        }
        let Some(body) = self.burst.body(header) else {
            return Ok(Flow::Wait);
        };
        let (name, text, parameters) = match Parse::read(body) {
            Ok(parse) => (
                parse.name.to_vec(),
                parse.text.to_vec(),
                parse.parameters.to_vec(),
            ),
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let declared = Some(declared(&parameters));
        let mut decided = self.decide(&text, Carrier::Parse, declared, server).await?;
        if (self.restricted || self.trial)
            && let Some(refusal) = self
                .parameter_objection(&parameters, &decided.source.claim)
                .await
        {
            decided = match self.restricted {
                true => Decided::refused(Some(&decided.source), refusal),
                false => trial::refused(&decided.source, &refusal),
            };
        }
        if !self.tells_apart(&[&Name::new(&name)], server).await? {
            decided = Decided::refused(None, encoding_refusal());
        }
        self.push(Sent::Parse {
            name: Name::new(&name),
            source: decided.source.clone(),
        });
        match &decided.text {
            None => self.burst.forward(header),
            Some(text) => {
                let mut instead = BytesMut::new();
                messages::put_parse(&mut instead, &name, text, &parameters);
                self.replace(header, &instead);
            }
        }
        Ok(Flow::Next)
    }

    /// What the role has against the types that the client gives to parameters: it may not name them in a statement
    /// either. `parameters`: their number and OIDs, as on the wire.
    pub(super) async fn parameter_objection(
        &self,
        parameters: &[u8],
        claim: &Arc<Claim>,
    ) -> Option<Refusal> {
        let oids = parameters.get(2..).unwrap_or_default();
        for oid in oids.as_chunks::<4>().0 {
            let oid = Oid::from_be_bytes(*oid);
            // What initdb made is the server's own.
            if oid >= FIRST_NORMAL_OID
                && let Some(refusal) = self.host.parameter_objection(oid, claim.clone()).await
            {
                return Some(refusal);
            }
        }
        None
    }

    fn parse_too_long(&mut self, header: Header) -> Flow {
        let seen = self.burst.seen(header);
        let name = match Fields::new(seen).string() {
            Ok(name) => name.to_vec(),
            Err(_) if seen.len() < READ_BUFFER => return Flow::Wait,
            Err(malformed) => return self.malformed(header, malformed),
        };
        let decided = self.too_long();
        self.push(Sent::Parse {
            name: Name::new(&name),
            source: decided.source.clone(),
        });
        match decided.text {
            None => self.burst.forward(header),
            Some(text) => {
                let mut instead = BytesMut::new();
                messages::put_parse(&mut instead, &name, &text, &[0, 0]);
                self.replace(header, &instead);
            }
        }
        Flow::Next
    }

    fn too_long(&self) -> Decided {
        let refusal = denial::refusal(
            Reason::Limit,
            &format!(
                "the statement is longer than {} bytes",
                self.limits.statement_bytes
            ),
            "limits.max_statement_bytes",
            "Send long values as parameters, or split the statement.",
        );
        if self.restricted {
            return Decided::refused(None, refusal);
        }
        Decided {
            source: match self.trial {
                true => trial::of_unplanned(trial::UNPARSED, &refusal),
                false => Source::unplanned(),
            },
            text: None,
        }
    }

    /// Decides about a text: for an unrestricted role only what goes on record.
    async fn decide<W: AsyncWrite + Unpin>(
        &mut self,
        text: &[u8],
        carrier: Carrier,
        declared: Option<Vec<Oid>>,
        server: &mut W,
    ) -> io::Result<Decided> {
        if self.trial {
            return self.on_trial(text, server).await;
        }
        if !self.restricted {
            return Ok(self.observe(text).await);
        }
        let facts = match self.facts(server).await? {
            Known::Facts(facts) => facts.declaring(&declared),
            Known::InBatch => return Ok(Decided::refused(None, setting_refusal())),
        };
        let decoded = match text.is_ascii() {
            true => Charset::Ascii.decode(text).ok(),
            false => match self.charset(server).await? {
                Some(charset) => charset.decode(text).ok(),
                None => None,
            },
        };
        let Some(text) = decoded else {
            return Ok(Decided::refused(None, encoding_refusal()));
        };
        let alike = {
            let state = self.shared.lock();
            folding::names_are_alike(&text, &state.encodings.server)
        };
        if !alike {
            return Ok(Decided::refused(None, folding_refusal()));
        }
        let told = match self.told(&text, &facts) {
            Ok(told) => told,
            Err(refusal) => return Ok(Decided::refused(None, refusal)),
        };
        let cleared = told.text.is_some();
        let text: Arc<str> = told.text.clone().map_or_else(|| text.into(), Arc::from);
        let mut told = told;
        let mut planned = self.plan_told(text.clone(), facts.clone(), &told).await;
        let source = match &planned {
            Ok(source) => Some(Arc::clone(source)),
            Err(refused) => refused.source.clone(),
        };
        if let Some(source) = source
            && let Some(openers) = self.told_by_cursor(&source, server).await?
        {
            told = openers;
            planned = self.plan_told(text.clone(), facts.clone(), &told).await;
        }
        let planned = match planned {
            Ok(source) if makes_temporary(&source) => {
                // A name must be free now, not only in the last snapshot.
                self.host.schema_changed().await;
                self.plan_told(text.clone(), facts, &told).await
            }
            other => other,
        };
        let source = match planned {
            Ok(source) => source,
            Err(refused) => {
                return Ok(Decided::refused(refused.source.as_deref(), refused.refusal));
            }
        };
        if !self.host.can_record() {
            let refusal = denial::unrecordable();
            return Ok(Decided::refused(Some(&source), refusal));
        }
        if let Some(refusal) = self.objection(&source, carrier.into(), server).await? {
            return Ok(Decided::refused(Some(&source), refusal));
        }
        let source = self.under_grant(source, carrier, server).await?;
        let runs = source.plan.as_ref().and_then(|plan| plan.text.clone());
        // What was judged is what runs: the text without what was taken out of it.
        let Some(text) = runs.or_else(|| cleared.then_some(text)) else {
            return Ok(Decided { source, text: None });
        };
        match self.encode(&text, server).await? {
            Some(text) => Ok(Decided {
                text: Some(text),
                source,
            }),
            None => {
                let refusal = unwritable_refusal();
                Ok(Decided::refused(Some(&source), refusal))
            }
        }
    }

    async fn observe(&mut self, text: &[u8]) -> Decided {
        let facts = self.shared.lock().facts.clone();
        let source = match std::str::from_utf8(text) {
            Ok(text) => self
                .plan(Arc::from(text), facts, &Told::default())
                .await
                .ok(),
            Err(_) => None,
        };
        Decided {
            source: source.unwrap_or_else(Source::unplanned),
            text: None,
        }
    }

    /// Plans a text for the role as it stands now.
    pub(super) async fn plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        told: &Told,
    ) -> Result<Arc<Source>, Unavailable> {
        let refresh = std::mem::take(&mut self.shared.lock().schema_changed);
        if refresh {
            self.host.schema_changed().await;
        }
        let claim = Arc::clone(&told.claim);
        let planned = self
            .host
            .plan(text.clone(), facts.clone(), claim.clone())
            .await?;
        let keeps_text = self.restricted || planned.standing.role.full_text;
        let role = planned.standing.role;
        self.shared.lock().take_role(Arc::clone(&role));
        Ok(Arc::new(Source {
            trace: trace_context::of(&text).map(Box::new),
            text: keeps_text.then_some(text),
            plan: Some(planned.plan),
            facts,
            epoch: planned.standing.epoch,
            role: Some(role),
            asker: Some(planned.standing.asker),
            spoken: told.spoken.clone(),
            claim,
            described: AtomicBool::new(false),
            subjects: Mutex::default(),
            clear: None,
            grant: None,
        }))
    }
}

fn makes_temporary(source: &Source) -> bool {
    let mut effects = source.statements().iter().flat_map(|plan| &plan.effects);
    effects.any(|effect| matches!(effect, Effect::TemporaryMade(_)))
}

/// The types that a Parse gives to parameters: their number and OIDs, as on the wire. Those it leaves open behind the last
/// say nothing.
fn declared(parameters: &[u8]) -> Vec<Oid> {
    let oids = parameters.get(2..).unwrap_or_default().as_chunks::<4>().0;
    let mut types: Vec<Oid> = oids.iter().map(|oid| Oid::from_be_bytes(*oid)).collect();
    while types.last() == Some(&0) {
        types.pop();
    }
    types
}
