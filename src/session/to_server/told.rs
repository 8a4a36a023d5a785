//! Whom a statement is for: read from its text and the session's settings before it is decided on, and again whenever
//! it is run.
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::AsyncWrite;

use super::ToServer;
use super::circumstances::Known;
use super::refusals::{setting_refusal, unavailable};
use crate::session::asker::names_nothing;
use crate::session::claim::{Claim, Read, Spoken};
use crate::session::host::Host;
use crate::session::statements::Source;
use crate::sql::plan::{Effect, Reason, Refusal, SessionFacts, StatementPlan, Verdict};

/// What a statement says of who it is for.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub spoken: Spoken,
    pub claim: Arc<Claim>,
    /// The text without what said so; `None`: nothing in it did.
    pub text: Option<String>,
    /// Why the claim is nobody's.
    pub because: Option<Refusal>,
}

/// A text that is not run.
pub(super) struct Refused {
    pub refusal: Refusal,
    /// What is known of it.
    pub source: Option<Arc<Source>>,
}

impl<H: Host> ToServer<'_, H> {
    /// # Errors
    /// It can be read in two ways.
    pub(super) fn told(&self, text: &str, facts: &SessionFacts) -> Result<Told, Refusal> {
        let naming = Arc::clone(&self.shared.lock().naming);
        if !naming.varies() {
            return Ok(Told::default());
        }
        let now = SystemTime::now();
        let Read { spoken, text } = naming.read(text, now)?;
        let (claim, because) = match naming.claim(&spoken, facts, now) {
            Ok(claim) => (claim, None),
            // What a setting says may have ceased to hold; it can still be set anew.
            Err(refusal) => (unproved(), Some(refusal)),
        };
        Ok(Told {
            spoken,
            claim: Arc::new(claim),
            text,
            because,
        })
    }

    /// Plans a text for whom it says it is for.
    ///
    /// # Errors
    /// Why it is not run.
    pub(super) async fn plan_told(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        told: &Told,
    ) -> Result<Arc<Source>, Refused> {
        let facts = self.shared.lock().facts_for(facts, &told.claim);
        let source = match self.plan(text, facts, told).await {
            Ok(source) => source,
            Err(error) => {
                return Err(Refused {
                    refusal: unavailable(&error),
                    source: None,
                });
            }
        };
        let is_somebody = source
            .asker
            .as_ref()
            .is_none_or(|asker| asker.role.is_some());
        let nameless =
            |statement: &StatementPlan| names_nothing(statement.kind) || sets_alone(statement);
        // What no grammar takes is told as that, whoever asks.
        let is_unread = |statement: &StatementPlan| match &statement.verdict {
            Verdict::Refuse(refusal) => refusal.reason == Reason::Syntax,
            Verdict::Pass | Verdict::Rewrite => false,
        };
        let statements = source.statements();
        if is_somebody || statements.iter().all(nameless) || statements.iter().any(is_unread) {
            return Ok(source);
        }
        let nobody = || self.shared.lock().naming.nobody(&told.claim);
        Err(Refused {
            refusal: told.because.clone().unwrap_or_else(nobody),
            source: Some(source),
        })
    }

    /// For whom something runs that was decided on before: by what it said itself and what the session says now.
    pub(super) async fn told_again<W: AsyncWrite + Unpin>(
        &mut self,
        spoken: &Spoken,
        server: &mut W,
    ) -> io::Result<Result<Told, Refusal>> {
        let naming = Arc::clone(&self.shared.lock().naming);
        if !naming.varies() {
            return Ok(Ok(Told::default()));
        }
        let facts = match naming.watched().is_empty() {
            true => Arc::default(),
            false => match self.facts(server).await? {
                Known::Facts(facts) => facts,
                Known::InBatch => return Ok(Err(setting_refusal())),
            },
        };
        let (claim, because) = match naming.claim(spoken, &facts, SystemTime::now()) {
            Ok(claim) => (claim, None),
            Err(refusal) => (unproved(), Some(refusal)),
        };
        Ok(Ok(Told {
            spoken: spoken.clone(),
            claim: Arc::new(claim),
            text: None,
            because,
        }))
    }
}

/// `SELECT set_config(...)` over no relation: the other way to say who is asking.
fn sets_alone(statement: &StatementPlan) -> bool {
    statement.kind == "SELECT"
        && statement.reads.is_empty()
        && statement.writes.is_empty()
        && statement.effects == [Effect::SettingsChanged]
}

fn unproved() -> Claim {
    Claim {
        unproved: true,
        ..Claim::default()
    }
}
