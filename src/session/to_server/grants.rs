//! Statements that a grant lets see what is masked: planned without those masks, and run only under the grant.
use std::sync::{Arc, Mutex};

use super::ToServer;
use super::texts::Carrier;
use crate::session::denial;
use crate::session::exports;
use crate::session::host::Host;
use crate::session::statements::{Granted, Source, Statement};
use crate::sql::plan::{Reason, Refusal, Verdict};

/// Kinds of statements that a grant can take masks off: those that only read.
const READ: [&str; 2] = ["SELECT", "COPY"];

impl<H: Host> ToServer<'_, H> {
    /// The text without the masks that a grant takes off it, if there is one for it. A Query uses the grant now, a
    /// prepared statement each time it is bound.
    pub(super) async fn under_grant(&self, source: Arc<Source>, carrier: Carrier) -> Arc<Source> {
        let Some(clear) = self.clear(&source).await else {
            return source;
        };
        match carrier {
            Carrier::Parse => Arc::new(clear),
            Carrier::Query => match self.redeem(&Statement::new(source.clone(), 0)).await {
                Some(grant) => Arc::new(Source {
                    grant: Some(grant),
                    ..clear
                }),
                None => source,
            },
        }
    }

    /// `None`: there is no grant, or it cannot be kept for this text.
    async fn clear(&self, source: &Source) -> Option<Source> {
        let [statement] = source.statements() else {
            return None;
        };
        let reads = statement.protected
            && READ.contains(&statement.kind)
            && statement.writes.is_empty()
            && statement.effects.is_empty()
            && !matches!(statement.verdict, Verdict::Refuse(_));
        if !reads {
            return None;
        }
        let text = source.text.clone()?;
        let facts = Arc::clone(&source.facts);
        let fingerprint = &statement.fingerprint;
        let (plan, role) = self
            .host
            .clear_plan(text.clone(), facts, source.asker.clone()?, fingerprint)
            .await?;
        let passes =
            |plan: &crate::sql::plan::StatementPlan| !matches!(plan.verdict, Verdict::Refuse(_));
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
            clear: Some(role),
            grant: None,
            described: Default::default(),
            subjects: Mutex::default(),
        })
    }

    async fn redeem(&self, statement: &Statement) -> Option<Granted> {
        let excess = exports::asked_again(statement);
        self.host.redeem(excess).await
    }

    /// Uses the grant of a prepared statement that was planned for one.
    ///
    /// # Errors
    /// There is none for these values (any more).
    pub(super) async fn bind_under_grant(&self, meant: &mut Statement) -> Result<(), Refusal> {
        if meant.source.clear.is_none() {
            return Ok(());
        }
        match self.redeem(meant).await {
            Some(grant) => {
                meant.grant = Some(grant);
                Ok(())
            }
            None => Err(denial::refusal(
                Reason::Construct,
                "the grant for this statement was used, or is for other values",
                "a statement that was prepared under a grant without masks runs only under that grant",
                "Prepare the statement again: it then runs with its masks.",
            )),
        }
    }
}
