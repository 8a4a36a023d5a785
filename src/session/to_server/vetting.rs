//! Whether what was decided on before still stands when it is run: under another search path, policy or catalog, or for
//! somebody else.
use std::io;
use std::sync::Arc;

use tokio::io::AsyncWrite;

use super::ToServer;
use super::circumstances::Known;
use super::inner::Now;
use super::refusals::{cursor_refusal, setting_refusal, stale_refusal, unavailable};
use super::told::Told;
use crate::session::claim::{Claim, Spoken};
use crate::session::denial;
use crate::session::host::{Host, Standing};
use crate::session::messages::Name;
use crate::session::settings;
use crate::session::statements::{Source, Statement};
use crate::sql::plan::{Refusal, SessionFacts};

/// How rows of what is open are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoesOn {
    /// By FETCH, a statement of whoever sends it.
    Fetching,
    /// By Execute: what comes counts, and stands on record, as that of the person for whom the portal was bound.
    Executing,
}

/// What is to become of a prepared statement.
pub(super) enum Vetted {
    /// It may run, with its circumstances brought up to date.
    Stands(Statement),
    /// Something else would be sent for its text now.
    Changed(Arc<Source>),
}

impl<H: Host> ToServer<'_, H> {
    /// What there is against a portal that is about to run.
    pub(super) async fn object_to_open<W: AsyncWrite + Unpin>(
        &mut self,
        portal: &Name,
        statement: &Statement,
        server: &mut W,
    ) -> io::Result<Option<Refusal>> {
        let claim = match self.told_by_cursor(&statement.source, server).await? {
            Some(told) => told.claim,
            None => {
                // Its signature was good when it was bound.
                let spoken = Spoken {
                    expires: None,
                    ..statement.source.spoken.clone()
                };
                match self.told_again(&spoken, server).await? {
                    Ok(told) => told.claim,
                    Err(refusal) => return Ok(Some(refusal)),
                }
            }
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
        let objection = self.stands_under(source, facts, claim).await.err();
        Ok(objection.map(|objection| objection.unwrap_or_else(stale_refusal)))
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
    ///
    /// # Errors
    /// Something else would be decided: what it would be told, where it would be refused.
    async fn stands_under(
        &self,
        source: &Arc<Source>,
        facts: Arc<SessionFacts>,
        claim: &Arc<Claim>,
    ) -> Result<(), Option<Refusal>> {
        let Some(text) = source.text.clone() else {
            return Err(None);
        };
        let told = Told {
            claim: Arc::clone(claim),
            ..Told::default()
        };
        match self.plan_told(text, facts, &told).await {
            Ok(again) if source.clear.is_none() && same_decision(source, &again) => Ok(()),
            Ok(_) => Err(None),
            Err(refused) => Err(Some(refused.refusal)),
        }
    }

    /// Whether a prepared statement may still run as it was decided on. The server analyses it again under the search
    /// path in force, so under another path, policy or catalog it is decided on again: what would be sent now must be what
    /// was sent then.
    ///
    /// `claim`: of who runs it; `None`: of whom it said itself it is for. For somebody else, too, it is decided on again.
    /// `ahead`: the facts under which it will run, where other statements of the same text come before.
    pub(super) async fn vet<W: AsyncWrite + Unpin>(
        &mut self,
        name: &Name,
        prepared: &Statement,
        claim: Option<&Arc<Claim>>,
        ahead: Option<Arc<SessionFacts>>,
        server: &mut W,
    ) -> io::Result<Result<Vetted, Refusal>> {
        if prepared.refusal().is_some() {
            return Ok(Ok(Vetted::Stands(prepared.clone())));
        }
        let spoken = prepared.source.spoken.clone();
        let told = match claim {
            Some(claim) => Told {
                spoken,
                claim: Arc::clone(claim),
                ..Told::default()
            },
            None => match self.told_by_cursor(&prepared.source, server).await? {
                Some(told) => told,
                None => match self.told_again(&spoken, server).await? {
                    Ok(told) => told,
                    Err(refusal) => return Ok(Err(refusal)),
                },
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
            return Ok(Ok(Vetted::Stands(prepared.clone())));
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
            let now = Statement::new(Arc::clone(&again), prepared.index);
            return Ok(match now.refusal() {
                // What it would be told if it were prepared anew.
                Some(refusal) => Err(refusal.clone()),
                // Its masks are off by a grant.
                None if source.clear.is_some() => Err(denial::of_changed_plan()),
                None => Ok(Vetted::Changed(again)),
            });
        }
        let again = Statement::new(again, prepared.index);
        let mut state = self.shared.lock();
        state.ledger.bring_up_to_date(name, prepared, &again);
        Ok(Ok(Vetted::Stands(again)))
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
            return Err(cursor_refusal());
        }
        let facts = Arc::clone(&source.facts);
        let stands = self.stands_under(source, facts, claim).await;
        stands.map_err(|refusal| refusal.unwrap_or_else(cursor_refusal))
    }
}

/// The same text would be sent to the server for it.
fn same_decision(then: &Arc<Source>, now: &Arc<Source>) -> bool {
    let (Some(then), Some(now)) = (&then.plan, &now.plan) else {
        return false;
    };
    then.text == now.text && then.statements.len() == now.statements.len()
}
