//! Statements that a text runs by their names, or under circumstances that it changes itself.
use std::io;
use std::sync::Arc;

use tokio::io::AsyncWrite;

use super::ToServer;
use super::refusals::{
    among_others_refusal, doubtful_refusal, granted_refusal, setting_refusal, unknown_refusal,
    unlike_refusal, unnamed_setting_refusal, unsettled_explain,
};
use super::vetting::{GoesOn, Vetted};
use crate::session::claim::Claim;
use crate::session::denial::{self, ByName};
use crate::session::host::Host;
use crate::session::ledger::{AsSent, Ledger};
use crate::session::messages::Name;
use crate::session::settings;
use crate::session::statements::{Source, Statement, declares, prepares};
use crate::sql::plan::{Effect, Refusal, StatementPlan, names_settings};

/// What is done with a statement that runs another one by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// It is parsed or bound: the name may be given until it runs.
    Prepared,
    Run,
}

impl<H: Host> ToServer<'_, H> {
    /// What the session has against a text that the plan lets pass: it names things under a search path that will
    /// only be known when it runs, or runs a prepared statement that was decided on under other circumstances.
    pub(super) async fn objection<W: AsyncWrite + Unpin>(
        &mut self,
        source: &Arc<Source>,
        now: Now,
        server: &mut W,
    ) -> io::Result<Option<Refusal>> {
        let Some(plan) = source.plan.clone() else {
            return Ok(None);
        };
        let claim = Arc::clone(&source.claim);
        if self.shared.lock().names_after_change(&plan) {
            return Ok(Some(setting_refusal()));
        }
        for index in 0..plan.statements.len() {
            let statement = Statement::new(source.clone(), index);
            let prepares = plan.statements.iter().take(index);
            if prepares
                .clone()
                .any(|before| explains_prepared(statement.effects(), before))
            {
                return Ok(Some(unsettled_explain()));
            }
            if let Some(refusal) = self
                .object_to_inner(&statement, &claim, now, server)
                .await?
            {
                return Ok(Some(refusal));
            }
            if plan.statements.len() > 1 && self.stores(&statement) {
                return Ok(Some(among_others_refusal()));
            }
        }
        Ok(None)
    }

    /// EXECUTE: the statement it runs must still stand as it was decided on, for who runs it, when the statements before it
    /// in the same text have run: the server analyses it again where they change what names mean (`RevalidateCachedQuery`
    /// in `src/backend/utils/cache/plancache.c`).
    pub(super) async fn object_to_inner<W: AsyncWrite + Unpin>(
        &mut self,
        statement: &Statement,
        claim: &Arc<Claim>,
        now: Now,
        server: &mut W,
    ) -> io::Result<Option<Refusal>> {
        for effect in statement.effects() {
            let (spelled, explains) = match effect {
                Effect::Execute(name) => (name, false),
                Effect::Explain(name) => (name, true),
                Effect::Fetch(spelled) => {
                    let name = Name::from(spelled.as_str());
                    let portal = |ledger: &Ledger| ledger.portal_as_sent(&name);
                    // The server runs a portal of any other kind to its end, whatever is fetched of it.
                    let is_query = |opened: &Statement| {
                        declares(opened.effects(), &name)
                            || is_kind(opened, |kind| kind == "SELECT")
                    };
                    let opened = match self.named(portal, is_query, server).await? {
                        Ok(Some(opened)) => opened,
                        Ok(None) if now == Now::Prepared || statement.declared_before(&name) => {
                            continue;
                        }
                        Ok(None) => {
                            let words = denial::no_portal(spelled, ByName::Statement);
                            return Ok(Some(unknown(statement, words)));
                        }
                        Err(refusal) => return Ok(Some(refusal)),
                    };
                    match self.vet_open(&opened, claim, GoesOn::Fetching).await {
                        Ok(()) => continue,
                        Err(refusal) => return Ok(Some(refusal)),
                    }
                }
                _ => continue,
            };
            let name = Name::from(spelled.as_str());
            let here = statement.facts();
            if let Some(own) = statement.prepared_before(&name) {
                if here.is_none() || own.facts() != here {
                    return Ok(Some(setting_refusal()));
                }
                continue;
            }
            let prepared = |ledger: &Ledger| ledger.prepared_as_sent(&name);
            let is_query = |prepared: &Statement| {
                prepares(prepared.effects(), &name) || is_kind(prepared, settings::runs_by_name)
            };
            let prepared = match self.named(prepared, is_query, server).await? {
                Ok(Some(prepared)) => prepared,
                Ok(None) if now == Now::Prepared => continue,
                Ok(None) => {
                    let words = self.no_statement(&name, spelled, ByName::Statement);
                    return Ok(Some(unknown(statement, words)));
                }
                Err(refusal) => return Ok(Some(refusal)),
            };
            let ahead = match (statement.index, here) {
                (0, _) => None,
                (_, Some(facts)) => Some(facts),
                (_, None) => return Ok(Some(setting_refusal())),
            };
            if prepared.source.clear.is_some() {
                return Ok(Some(granted_refusal()));
            }
            if explains && !self.shared.lock().ledger.is_settled(&name, &prepared) {
                return Ok(Some(unsettled_explain()));
            }
            let vetted = self.vet(&name, &prepared, Some(claim), ahead, server);
            let prepared = match vetted.await? {
                Ok(Vetted::Stands(prepared)) => prepared,
                Ok(Vetted::Changed(_)) => return Ok(Some(denial::of_changed_plan())),
                Err(refusal) => return Ok(Some(refusal)),
            };
            if names_settings(prepared.effects()) {
                return Ok(Some(unnamed_setting_refusal()));
            }
            // It shows what EXPLAIN of the statement itself would.
            if explains && prepared.protected() && !self.may_explain(&prepared) {
                return Ok(Some(crate::sql::refuse::explain()));
            }
        }
        Ok(None)
    }

    /// The query that a name stands for. `is_query`: it is one that PREPARE or DECLARE has given a name, which take queries
    /// alone, or that a message has made of such a text as they take. What was refused runs nothing.
    ///
    /// `Ok(Ok(None))`: nothing that is known.
    async fn named<W: AsyncWrite + Unpin>(
        &mut self,
        as_sent: impl Fn(&Ledger) -> AsSent,
        is_query: impl Fn(&Statement) -> bool,
        server: &mut W,
    ) -> io::Result<Result<Option<Statement>, Refusal>> {
        let unlike = |found: &Statement| found.refusal().is_none() && !is_query(found);
        let found = self.settled(as_sent, |_, found| unlike(found), server);
        Ok(match found.await? {
            Ok(Some(found)) if unlike(&found) => Err(unlike_refusal()),
            found => found,
        })
    }

    /// What is said of a name that stands for nothing.
    pub(super) fn no_statement(&self, name: &Name, spelled: &str, by: ByName) -> Refusal {
        match self.shared.lock().ledger.names.is_doubtful(name) {
            true => doubtful_refusal(spelled),
            false => denial::no_statement(spelled, by),
        }
    }

    fn may_explain(&self, prepared: &Statement) -> bool {
        let state = self.shared.lock();
        state.role_of(prepared).statements.contains("explain")
    }
}

/// It runs something by a name that the session has given to nothing.
pub(super) fn runs_unknown(ledger: &Ledger, statement: &Statement) -> bool {
    statement.effects().iter().any(|effect| {
        let found = match effect {
            Effect::Execute(name) | Effect::Explain(name) => {
                ledger.prepared_as_sent(&name.as_str().into())
            }
            Effect::Fetch(name) => ledger.portal_as_sent(&name.as_str().into()),
            _ => return false,
        };
        found.statement.is_none()
    })
}

/// What is not known has not been decided on. The server's words for what is not there say it, but where other statements
/// of the text would have answered before.
fn unknown(by: &Statement, words: Refusal) -> Refusal {
    match by.index {
        0 => words,
        _ => unknown_refusal(),
    }
}

fn is_kind(statement: &Statement, is: impl Fn(&'static str) -> bool) -> bool {
    statement.plan().is_some_and(|plan| is(plan.kind))
}

/// EXPLAIN of a statement that the same text prepares.
fn explains_prepared(effects: &[Effect], before: &StatementPlan) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::Explain(name) => before.effects.contains(&Effect::Prepare(name.clone())),
        _ => false,
    })
}
