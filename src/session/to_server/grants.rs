//! Statements that a grant lets see what is masked: planned without those masks, and run only under the grant.
//!
//! A grant is used when it is certain that the server gets to what it is for: two people have signed for it.
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWrite;

use super::ToServer;
use super::texts::Carrier;
use crate::session::denial;
use crate::session::exports;
use crate::session::host::Host;
use crate::session::statements::{Source, Statement};
use crate::sql::plan::{Refusal, StatementPlan, Verdict};

/// Kinds of statements that a grant can take masks off: those that only read.
const READ: [&str; 2] = ["SELECT", "COPY"];
/// Statements of a session that are kept in mind to have been bound to other values.
const MAX_MASKED: usize = 64;

/// Statements for which there is a grant and that the session has bound to values it is not for: prepared again, they have
/// their masks. By fingerprint, and for whom.
#[derive(Debug, Default)]
pub(super) struct Masked(BTreeSet<(String, u64)>);

impl Masked {
    fn of(source: &Source) -> Option<(String, u64)> {
        let [statement] = source.statements() else {
            return None;
        };
        Some((statement.fingerprint.clone(), source.epoch.asker))
    }

    fn has(&self, source: &Source) -> bool {
        !self.0.is_empty() && Masked::of(source).is_some_and(|known| self.0.contains(&known))
    }

    fn add(&mut self, source: &Source) {
        if self.0.len() >= MAX_MASKED {
            self.0.clear();
        }
        self.0.extend(Masked::of(source));
    }

    fn remove(&mut self, source: &Source) {
        if let Some(known) = Masked::of(source) {
            self.0.remove(&known);
        }
    }
}

impl<H: Host> ToServer<'_, H> {
    /// The text without the masks that a grant takes off it, if there is one for it. A Query uses the grant now, a
    /// prepared statement each time it is bound.
    pub(super) async fn under_grant<W: AsyncWrite + Unpin>(
        &mut self,
        source: Arc<Source>,
        carrier: Carrier,
        server: &mut W,
    ) -> io::Result<Arc<Source>> {
        if carrier == Carrier::Parse && self.masked.has(&source) {
            return Ok(source);
        }
        let Some(mut clear) = self.clear(&source, carrier).await else {
            return Ok(source);
        };
        if carrier == Carrier::Query {
            let sent = Statement::new(Arc::clone(&source), 0);
            let Some(classes) = clear.clear.clone() else {
                return Ok(source);
            };
            if !self.is_sure_to_run(server).await? {
                return Ok(source);
            }
            let excess = exports::asked_again(&sent);
            clear.grant = self.host.redeem(excess, classes).await;
            if clear.grant.is_none() {
                return Ok(source);
            }
        }
        Ok(Arc::new(clear))
    }

    /// `None`: there is no grant, or it cannot be kept for this text.
    async fn clear(&self, source: &Arc<Source>, carrier: Carrier) -> Option<Source> {
        let [statement] = source.statements() else {
            return None;
        };
        let reads = statement.protected
            && READ.contains(&statement.kind)
            && statement.writes.is_empty()
            && statement.effects.is_empty()
            && !matches!(statement.verdict, Verdict::Refuse(_));
        if !reads || !self.host.grants_clear() {
            return None;
        }
        let text = source.text.clone()?;
        let facts = Arc::clone(&source.facts);
        let excess = exports::asked_again(&Statement::new(Arc::clone(source), 0));
        let whole = carrier == Carrier::Query;
        let (plan, clear) = self
            .host
            .clear_plan(text.clone(), facts, excess, whole)
            .await?;
        let passes = |plan: &StatementPlan| !matches!(plan.verdict, Verdict::Refuse(_));
        plan.statements.iter().all(passes).then(|| Source {
            text: Some(text),
            trace: source.trace.clone(),
            plan: Some(plan),
            facts: Arc::clone(&source.facts),
            epoch: source.epoch,
            role: source.role.clone(),
            asker: source.asker.clone(),
            spoken: source.spoken.clone(),
            claim: Arc::clone(&source.claim),
            clear: Some(clear),
            grant: None,
            described: Default::default(),
            subjects: Mutex::default(),
        })
    }

    /// Whether the server runs what is sent next: nothing before it can fail any more, and its transaction has not.
    async fn is_sure_to_run<W: AsyncWrite + Unpin>(&mut self, server: &mut W) -> io::Result<bool> {
        self.await_answers(server).await?;
        let state = self.shared.lock();
        let ledger = &state.ledger;
        Ok(ledger.is_answered()
            && !ledger.is_skipping()
            && !state.dropping
            && ledger.transaction() != Some(b'E'))
    }

    /// Uses the grant of a prepared statement that was planned for one. Where there is none for these values, the statement
    /// is to be prepared again, and has its masks then; where it has them and there is one, it is to be prepared again, too.
    ///
    /// # Errors
    /// It does not run as it was prepared.
    pub(super) async fn bind_under_grant<W: AsyncWrite + Unpin>(
        &mut self,
        meant: &mut Statement,
        server: &mut W,
    ) -> io::Result<Result<(), Refusal>> {
        let Some(clear) = meant.source.clear.clone() else {
            if self.masked.has(&meant.source)
                && self.host.has_clear(exports::asked_again(meant)).await
            {
                self.masked.remove(&meant.source);
                return Ok(Err(denial::of_changed_plan()));
            }
            return Ok(Ok(()));
        };
        if !self.is_sure_to_run(server).await? {
            return Ok(Err(denial::of_failed_transaction()));
        }
        let excess = exports::asked_again(meant);
        Ok(match self.host.redeem(excess, clear).await {
            Some(grant) => {
                meant.grant = Some(grant);
                Ok(())
            }
            None => {
                self.masked.add(&meant.source);
                Err(denial::of_changed_plan())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixtures;

    #[test]
    fn few_statements_are_kept_in_mind() {
        let mut masked = Masked::default();
        let first = fixtures::source("SELECT 0");
        masked.add(&first);
        assert!(masked.has(&first));
        masked.remove(&first);
        assert!(!masked.has(&first));
    }
}
