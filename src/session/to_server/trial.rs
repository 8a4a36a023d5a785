//! Texts of a role that is not enforced: they run as the client sent them, and what would have been decided about them is
//! kept for the record.
use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWrite;

use super::ToServer;
use super::circumstances::Known;
use super::refusals::{encoding_refusal, setting_refusal};
use super::texts::Decided;
use crate::session::host::Host;
use crate::session::statements::Source;
use crate::sql::normalise;
use crate::sql::plan::{Plan, PositionMap, Refusal, StatementPlan};

/// What a text that nobody has read is called on record.
pub(super) const UNPARSED: &str = "UNPARSED";

impl<H: Host> ToServer<'_, H> {
    /// Plans a text as for a restricted session, as far as that can be done behind the client's back: where it cannot be
    /// told what names mean, they are taken to mean what they meant before.
    pub(super) async fn on_trial<W: AsyncWrite + Unpin>(
        &mut self,
        text: &[u8],
        server: &mut W,
    ) -> io::Result<Decided> {
        let known = self.facts(server).await?;
        let (facts, charset) = {
            let state = self.shared.lock();
            (state.facts.clone(), state.encodings.charset())
        };
        let (facts, known) = match known {
            Known::Facts(facts) => (facts, true),
            Known::InBatch => (facts, self.shared.lock().astray),
        };
        let Ok(text) = charset.decode(text) else {
            return Ok(unplanned(&encoding_refusal()));
        };
        let told = match self.told(&text, &facts) {
            Ok(told) => told,
            Err(refusal) => return Ok(unplanned(&refusal)),
        };
        let Ok(source) = self.plan(Arc::from(text), facts, &told).await else {
            return Ok(Decided {
                source: Source::unplanned(),
                text: None,
            });
        };
        let plan = source.plan.clone();
        let unsure = plan.is_some_and(|plan| self.shared.lock().names_after_change(&plan));
        Ok(match known && !unsure {
            true => Decided { source, text: None },
            false => refused(&source, &setting_refusal()),
        })
    }
}

fn unplanned(refusal: &Refusal) -> Decided {
    Decided {
        source: of_unplanned(UNPARSED, refusal),
        text: None,
    }
}

/// What was planned, had it been refused after all.
pub(super) fn refused(source: &Source, refusal: &Refusal) -> Decided {
    let plan = source.plan.as_deref();
    Decided {
        source: Arc::new(Source {
            text: source.text.clone(),
            trace: source.trace.clone(),
            plan: plan.map(|plan| Arc::new(plan.would_refuse(refusal))),
            facts: Arc::clone(&source.facts),
            epoch: source.epoch,
            role: source.role.clone(),
            asker: source.asker.clone(),
            spoken: source.spoken.clone(),
            claim: Arc::clone(&source.claim),
            clear: None,
            grant: None,
            described: Default::default(),
            subjects: Mutex::default(),
        }),
        text: None,
    }
}

/// What passes without being planned, and would not.
pub(super) fn of_unplanned(kind: &'static str, refusal: &Refusal) -> Arc<Source> {
    let unread = normalise::recorded("<not readable>".to_owned());
    let statement = StatementPlan {
        protected: true,
        ..StatementPlan::passing(kind, unread, (0, 0))
    };
    let plan = Plan::new(vec![statement], None, PositionMap::default());
    let unplanned = Source::unplanned();
    refused(
        &Source {
            text: None,
            trace: None,
            plan: Some(Arc::new(plan)),
            facts: Arc::clone(&unplanned.facts),
            epoch: unplanned.epoch,
            role: None,
            asker: None,
            spoken: Default::default(),
            claim: Arc::default(),
            clear: None,
            grant: None,
            described: Default::default(),
            subjects: Mutex::default(),
        },
        refusal,
    )
    .source
}
