//! Whom a statement is for: read from its text and the session's settings before it is decided on, and again whenever
//! it is run.
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::io::AsyncWrite;

use super::ToServer;
use super::circumstances::Known;
use super::refusals::{setting_refusal, unavailable};
use crate::session::asker::{looks_around, names_nothing};
use crate::session::claim::{Claim, Read, Spoken};
use crate::session::host::Host;
use crate::session::messages::Name;
use crate::session::statements::{Source, Statement};
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
        // What no grammar takes is told as that, whoever asks.
        let is_unread = |statement: &StatementPlan| match &statement.verdict {
            Verdict::Refuse(refusal) => refusal.reason == Reason::Syntax,
            Verdict::Pass | Verdict::Rewrite => false,
        };
        let statements = source.statements();
        if is_somebody
            || (0..statements.len()).all(|index| is_nameless(&source, index))
            || statements.iter().any(is_unread)
        {
            return Ok(source);
        }
        let nobody = || self.shared.lock().naming.nobody(&told.claim);
        Err(Refused {
            refusal: told.because.clone().unwrap_or_else(nobody),
            source: Some(source),
        })
    }

    /// For whom FETCH or MOVE of a text's own is that names nobody, as drivers send it for a cursor that they have opened:
    /// for whoever DECLARE named, as Execute of a portal is for whom it was bound. A cursor that outlives its transaction may
    /// meet somebody else. `None`: it is for whom it says, or nobody.
    pub(super) async fn told_by_cursor<W: AsyncWrite + Unpin>(
        &mut self,
        source: &Source,
        server: &mut W,
    ) -> io::Result<Option<Told>> {
        let [statement] = source.statements() else {
            return Ok(None);
        };
        let [Effect::Fetch(spelled)] = statement.effects.as_slice() else {
            return Ok(None);
        };
        let is_said = source.spoken.app_user.is_some() || source.spoken.purpose.is_some();
        if is_said || !self.shared.lock().naming.is_by_comment() {
            return Ok(None);
        }
        let name = Name::from(spelled.as_str());
        let found = self.settled(|ledger| ledger.portal_as_sent(&name), |_, _| false, server);
        let Ok(Some(opened)) = found.await? else {
            return Ok(None);
        };
        let ends_with_transaction = opened.effects().iter().any(|effect| {
            matches!(effect, Effect::DeclareCursor { name: made, held: false } if name.is(made))
        });
        if !ends_with_transaction {
            return Ok(None);
        }
        // Its signature was good when it was opened.
        let spoken = Spoken {
            expires: None,
            ..opened.source.spoken.clone()
        };
        let told = self.told_again(&spoken, server).await?.ok();
        Ok(told.map(|told| Told {
            spoken: Spoken::default(),
            ..told
        }))
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

/// Whether a statement of a text may run for nobody.
fn is_nameless(source: &Arc<Source>, index: usize) -> bool {
    let statement = Statement::new(Arc::clone(source), index);
    let Some(plan) = statement.plan() else {
        return false;
    };
    let text = || {
        source
            .text
            .as_deref()?
            .get(statement.span()?.0..statement.span()?.1)
    };
    names_nothing(plan.kind)
        || sets_alone(plan)
        || (does_nothing(plan) && text().is_some_and(looks_around))
}

/// SELECT over no relation.
fn does_nothing(plan: &StatementPlan) -> bool {
    plan.kind == "SELECT"
        && plan.reads.is_empty()
        && plan.writes.is_empty()
        && plan.effects.is_empty()
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
