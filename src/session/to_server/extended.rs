//! Bind, Execute, Describe, Close: messages that name what was decided on before.
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWrite;

use super::circumstances::Known;
use super::inner::{Now, runs_unknown};
use super::refusals::{encoding_refusal, setting_refusal, stale_refusal, unavailable};
use super::told::Told;
use super::{Flow, ToServer};
use crate::session::burst::READ_BUFFER;
use crate::session::claim::{Claim, Spoken};
use crate::session::denial::{self, ByName};
use crate::session::host::{Host, Standing};
use crate::session::ledger::{Ledger, Sent};
use crate::session::messages::{self, Name, Target};
use crate::session::settings;
use crate::session::statements::{Arguments, Source, Statement};
use crate::sql::plan::{Refusal, SessionFacts};
use crate::wire::frame::{HELD_FRAME, Header, front};

/// How rows of what is open are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoesOn {
    /// By FETCH, a statement of whoever sends it.
    Fetching,
    /// By Execute: what comes counts, and stands on record, as that of the person for whom the portal was bound.
    Executing,
}

impl<H: Host> ToServer<'_, H> {
    /// Of a Bind only the names are read; its parameters may be of any size and pass through.
    pub(super) async fn bind<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        let seen = self.burst.seen(header);
        let (portal, statement) = match messages::read_bind_names(seen) {
            Ok(names) => names,
            Err(_) if seen.len() < READ_BUFFER.min(header.body()) => return Ok(Flow::Wait),
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let prepared = |ledger: &Ledger| ledger.prepared_as_sent(&statement);
        let (mut meant, mut denied) = match self.tells_apart(&[&portal, &statement], server).await?
        {
            true => match self.settled(prepared, |_, _| false, server).await? {
                Ok(meant) => (meant, None),
                Err(refusal) => (None, Some(refusal)),
            },
            false => (None, Some(encoding_refusal())),
        };
        if self.restricted
            && let Some(prepared) = &meant
        {
            match self.vet(&statement, prepared, None, None, server).await? {
                Ok(vetted) => {
                    let claim = Arc::clone(&vetted.source.claim);
                    denied = self
                        .object_to_inner(&vetted, &claim, Now::Prepared, server)
                        .await?;
                    meant = Some(vetted);
                }
                Err(refusal) => denied = Some(refusal),
            }
            let counts = |meant: &Statement| {
                let state = self.shared.lock();
                state.ledger.limits_of(meant).0.limits()
            };
            if let Some(meant) = &mut meant
                && counts(meant)
                && meant.protected()
            {
                let Some(arguments) = self.arguments(header) else {
                    return Ok(Flow::Wait);
                };
                meant.arguments = arguments;
                if denied.is_none() {
                    denied = self.bind_under_grant(meant).await.err();
                }
            }
        }
        if let Some(meant) = &mut meant
            && self.records_values(meant)
        {
            let Some(values) = self.values(header) else {
                return Ok(Flow::Wait);
            };
            meant.values = values;
        }
        if let Some(meant) = &mut meant
            && looks_for_traps(meant)
        {
            let Some(values) = self.values(header) else {
                return Ok(Flow::Wait);
            };
            meant.sprung = values.map_or_else(Vec::new, |values| sprung(meant, &values));
        }
        if self.restricted && meant.is_none() && denied.is_none() {
            let spelled = self.spelled(&statement);
            denied = Some(self.no_statement(&statement, &spelled, ByName::Message));
        }
        if denied.is_some() {
            let mut instead = BytesMut::new();
            messages::put_bind(&mut instead, "", &self.shared.own_name);
            self.replace(header, &instead);
        } else {
            self.burst.forward(header);
        }
        self.push(Sent::Bind {
            portal,
            statement,
            meant,
            denied,
        });
        Ok(Flow::Next)
    }

    /// The statement is on record with its values.
    fn records_values(&self, statement: &Statement) -> bool {
        self.shared.lock().role_of(statement).full_text
    }

    /// What tells this Bind from another of the same statement; `None`: more of it must be read.
    fn arguments(&self, header: Header) -> Option<Arguments> {
        if header.length > HELD_FRAME {
            return Some(Arguments::Unseen);
        }
        let body = self.burst.body(header)?;
        Some(
            messages::bound_values(body).map_or(Arguments::Unseen, |values| {
                Arguments::Hash(Sha256::digest(values).into())
            }),
        )
    }

    /// The parameters for the record, unless there is more of them than is held; `None`: more of it must be read.
    fn values(&self, header: Header) -> Option<Option<Arc<[u8]>>> {
        if header.length > HELD_FRAME {
            return Some(None);
        }
        let body = self.burst.body(header)?;
        Some(messages::bound_values(body).ok().map(Arc::from))
    }

    pub(super) async fn execute<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        let Some(body) = self.burst.body(header) else {
            return Ok(Flow::Wait);
        };
        let portal = match messages::read_execute(body) {
            Ok(portal) => portal,
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let bound = |ledger: &Ledger| ledger.portal_as_sent(&portal);
        let (runs, mut denied) = match self.tells_apart(&[&portal], server).await? {
            true => match self.settled(bound, runs_unknown, server).await? {
                Ok(runs) => (runs, None),
                Err(refusal) => (None, Some(refusal)),
            },
            false => (None, Some(encoding_refusal())),
        };
        if self.restricted
            && let Some(statement) = &runs
        {
            denied = match self.host.can_record() {
                true => self.object_to_open(&portal, statement, server).await?,
                false => Some(denial::unrecordable()),
            };
        }
        if self.restricted && runs.is_none() && denied.is_none() {
            denied = Some(denial::no_portal(&self.spelled(&portal), ByName::Message));
        }
        let mut waits = false;
        if denied.is_none()
            && let Some(runs) = &runs
        {
            match self.waits_for_count(runs) {
                Ok(is_counted) => waits = is_counted,
                Err(refusal) => denied = Some(refusal),
            }
        }
        if denied.is_some() {
            let mut instead = BytesMut::new();
            messages::put_execute(&mut instead, &self.shared.own_name);
            self.replace(header, &instead);
        } else {
            if let Some(statement) = &runs {
                self.check_description(&portal, statement);
            }
            let hidden = runs.as_ref().is_some_and(Statement::hides_rows);
            // A limit is about rows that the client asked for; these are none of them. What stores rows is counted by its
            // command tag, which comes behind the last row.
            match self
                .burst
                .body(header)
                .filter(|_| hidden || waits)
                .and_then(messages::without_limit)
            {
                Some(unlimited) => self.replace(header, &unlimited),
                None => self.burst.forward(header),
            }
            if let Some(statement) = &runs
                && let Some(plan) = statement.plan()
            {
                let mut state = self.shared.lock();
                state.foresee(plan, &[]);
                state.make(plan, &statement.source.claim);
            }
        }
        let names = runs.filter(Statement::names_something);
        self.push(Sent::Execute {
            portal,
            names,
            denied,
        });
        if waits {
            self.await_count(server).await?;
        }
        Ok(Flow::Next)
    }

    /// A name in UTF-8.
    fn spelled(&self, name: &Name) -> String {
        let charset = self.shared.lock().encodings.charset();
        charset.decode_lossy(name.bytes()).into_owned()
    }

    /// What there is against a portal that is about to run.
    async fn object_to_open<W: AsyncWrite + Unpin>(
        &mut self,
        portal: &Name,
        statement: &Statement,
        server: &mut W,
    ) -> io::Result<Option<Refusal>> {
        // Its signature was good when it was bound.
        let spoken = Spoken {
            expires: None,
            ..statement.source.spoken.clone()
        };
        let claim = match self.told_again(&spoken, server).await? {
            Ok(told) => told.claim,
            Err(refusal) => return Ok(Some(refusal)),
        };
        if let Err(refusal) = self.vet_open(statement, &claim, GoesOn::Executing).await {
            return Ok(Some(refusal));
        }
        let ran = {
            let state = self.shared.lock();
            let portal = state.ledger.portal_as_answered(portal);
            portal.and_then(|portal| portal.ran.clone())
        };
        if let Some(ran) = ran {
            // Whatever goes by the name now: the server has these rows.
            let goes_on = GoesOn::Fetching;
            return Ok(self.vet_open(&ran.statement, &claim, goes_on).await.err());
        }
        // Of what was refused nothing is analysed.
        let plan = statement.plan().filter(|_| statement.refusal().is_none());
        if plan.is_some_and(settings::resolves_names_late)
            && let Some(refusal) = self.vet_unresolved(statement, &claim, server).await?
        {
            return Ok(Some(refusal));
        }
        self.object_to_inner(statement, &claim, Now::Run, server)
            .await
    }

    /// Whether what was bound and is analysed only now is still what was decided on.
    async fn vet_unresolved<W: AsyncWrite + Unpin>(
        &mut self,
        bound: &Statement,
        claim: &Arc<Claim>,
        server: &mut W,
    ) -> io::Result<Option<Refusal>> {
        let (facts, standing) = match self.in_force(claim, None, server).await? {
            Ok(in_force) => in_force,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let source = &bound.source;
        if source.facts.is_alike(&facts) && source.epoch == standing.epoch {
            return Ok(None);
        }
        let facts = facts.declaring(&source.facts.parameters);
        Ok(self.stands_under(source, facts, claim).await.err())
    }

    /// The facts and the role that a statement of somebody meets now; `ahead`: the facts, where they are known already.
    async fn in_force<W: AsyncWrite + Unpin>(
        &mut self,
        claim: &Arc<Claim>,
        ahead: Option<Arc<SessionFacts>>,
        server: &mut W,
    ) -> io::Result<Result<(Arc<SessionFacts>, Standing), Refusal>> {
        let facts = match ahead {
            Some(facts) => Known::Facts(facts),
            None => self.facts(server).await?,
        };
        let facts = match facts {
            Known::Facts(facts) => self.shared.lock().facts_for(facts, claim),
            Known::InBatch => return Ok(Err(setting_refusal())),
        };
        let standing = self.host.standing(Arc::clone(claim)).await;
        Ok(match standing {
            Ok(standing) => Ok((facts, standing)),
            Err(error) => Err(unavailable(&error)),
        })
    }

    /// Whether under these facts, and what is in force for somebody, the same would be decided on what is bound or open.
    async fn stands_under(
        &self,
        source: &Arc<Source>,
        facts: Arc<SessionFacts>,
        claim: &Arc<Claim>,
    ) -> Result<(), Refusal> {
        let Some(text) = source.text.clone() else {
            return Err(stale_refusal());
        };
        let told = Told {
            claim: Arc::clone(claim),
            ..Told::default()
        };
        match self.plan_told(text, facts, &told).await {
            Ok(again) if source.clear.is_none() && same_decision(source, &again) => Ok(()),
            Ok(_) => Err(stale_refusal()),
            Err(refused) => Err(refused.refusal),
        }
    }

    /// Rows of protected relations come with a description, asked for by the client or by pgveil: by it they are held
    /// against the policy. COPY has none; its rows are those of a query whose text was judged.
    fn check_description(&mut self, portal: &Name, runs: &Statement) {
        let described = {
            let state = self.shared.lock();
            let inner = state.ledger.names.inner_of(Some(portal), runs);
            let governing = inner.as_ref().map_or(runs, |inner| &inner.statement);
            runs.refusal().is_some()
                || !governing.protected()
                || state.ledger.is_described(portal, governing)
        };
        if !self.restricted || described {
            return;
        }
        let mut question = BytesMut::new();
        messages::put_describe(&mut question, portal);
        self.burst.put(&question);
        self.push(Sent::Check(portal.clone()));
    }

    pub(super) async fn describe_or_close<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        let Some(body) = self.burst.body(header) else {
            return Ok(Flow::Wait);
        };
        let target = match messages::read_target(body) {
            Ok(target) => target,
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let (Target::Statement(name) | Target::Portal(name)) = &target;
        if !self.tells_apart(&[name], server).await? {
            // Nothing could be given to it.
            return Ok(super::violated(
                "pgveil: a name of a statement or portal that cannot be told from others in the server's encoding",
            ));
        }
        self.push(match header.tag {
            front::DESCRIBE => Sent::Describe(target),
            _ => Sent::Close(target),
        });
        self.burst.forward(header);
        Ok(Flow::Next)
    }

    /// Whether a prepared statement may still run as it was decided on. The server analyses it again under the search
    /// path in force, so under another path, policy or catalog it is decided on again: what would be sent now must be what
    /// was sent then.
    ///
    /// `claim`: of who runs it; `None`: of whom it said itself it is for. For somebody else, too, it is decided on again.
    /// `ahead`: the facts under which it will run, where other statements of the same text come before.
    ///
    /// `Ok(Ok)`: the statement with its circumstances brought up to date.
    pub(super) async fn vet<W: AsyncWrite + Unpin>(
        &mut self,
        name: &Name,
        prepared: &Statement,
        claim: Option<&Arc<Claim>>,
        ahead: Option<Arc<SessionFacts>>,
        server: &mut W,
    ) -> io::Result<Result<Statement, Refusal>> {
        if prepared.refusal().is_some() {
            return Ok(Ok(prepared.clone()));
        }
        let spoken = prepared.source.spoken.clone();
        let told = match claim {
            Some(claim) => Told {
                spoken,
                claim: Arc::clone(claim),
                ..Told::default()
            },
            None => match self.told_again(&spoken, server).await? {
                Ok(told) => told,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let (facts, standing) = match self.in_force(&told.claim, ahead, server).await? {
            Ok(in_force) => in_force,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let source = &prepared.source;
        let then = prepared.facts();
        let is_alike = then.as_ref().is_some_and(|then| then.is_alike(&facts));
        if is_alike && source.epoch == standing.epoch {
            return Ok(Ok(prepared.clone()));
        }
        let facts = facts.declaring(&source.facts.parameters);
        // Planned again, the whole text would do first what it did to names then, and not say what the statement means now.
        let alone = then.as_ref() == Some(&source.facts);
        let Some(text) = source.text.clone().filter(|_| alone) else {
            return Ok(Err(stale_refusal()));
        };
        let again = match self.plan_told(text, facts, &told).await {
            Ok(again) => again,
            Err(refused) => return Ok(Err(refused.refusal)),
        };
        if !same_decision(source, &again) {
            let now = Statement::new(again, prepared.index);
            return Ok(Err(match now.refusal() {
                // What it would be told if it were prepared anew.
                Some(refusal) => refusal.clone(),
                None => denial::of_changed_plan(),
            }));
        }
        let again = Statement::new(again, prepared.index);
        let mut state = self.shared.lock();
        state.ledger.bring_up_to_date(name, prepared, &again);
        Ok(Ok(again))
    }

    /// Whether a portal or cursor that is open may go on giving rows. The server has analysed it and does not again, so
    /// names mean what they meant; but a policy that came into force since may hide what it gives, or who goes on may be
    /// somebody else than who opened it.
    pub(super) async fn vet_open(
        &self,
        opened: &Statement,
        claim: &Arc<Claim>,
        goes_on: GoesOn,
    ) -> Result<(), Refusal> {
        let source = &opened.source;
        if opened.refusal().is_some() {
            return Ok(());
        }
        let standing = match self.host.standing(Arc::clone(claim)).await {
            Ok(standing) => standing,
            Err(error) => return Err(unavailable(&error)),
        };
        let (then, now) = (source.epoch, standing.epoch);
        if then.policy == now.policy && then.asker == now.asker {
            return Ok(());
        }
        let by_opener = source
            .asker
            .as_ref()
            .is_some_and(|opener| opener.person == standing.asker.person);
        if goes_on == GoesOn::Executing && !by_opener {
            return Err(stale_refusal());
        }
        let facts = Arc::clone(&source.facts);
        self.stands_under(source, facts, claim).await
    }
}

/// A parameter may be what names a honeytoken row.
fn looks_for_traps(statement: &Statement) -> bool {
    let plan = statement.plan();
    plan.is_some_and(|plan| plan.columns.traps.iter().any(|known| known.sought))
}

/// The honeytoken rows that parameters name.
fn sprung(statement: &Statement, values: &[u8]) -> Vec<Arc<str>> {
    let values = messages::raw_values(values).unwrap_or_default();
    let uses = statement.plan().map_or(&[][..], |plan| &plan.columns.traps);
    uses.iter()
        .filter(|known| known.sought)
        .filter(|known| values.iter().any(|value| known.trap.meets(value)))
        .map(|known| Arc::clone(&known.trap.name))
        .collect()
}

/// The same text would be sent to the server for it.
fn same_decision(then: &Arc<Source>, now: &Arc<Source>) -> bool {
    let (Some(then), Some(now)) = (&then.plan, &now.plan) else {
        return false;
    };
    then.text == now.text && then.statements.len() == now.statements.len()
}
