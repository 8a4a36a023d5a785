//! What holds when the server gets to the message that is sent next.
//!
//! Of the messages of its own batch, none has failed by then: else it is skipped. Those before that batch may fail and it
//! runs all the same, so what they do to a name is in doubt until they are answered. A Query is a batch of its own: after
//! an error in it nothing is skipped.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Entry, Ledger, Sent};
use crate::session::messages::{Name, Target};
use crate::session::portals::Portal;
use crate::session::statements::{Does, Source, Statement, does_to_portal, does_to_prepared};
use crate::sql::plan::{Effect, StatementPlan};

/// What a name stands for when the server gets to the next message, if nothing fails before.
#[derive(Debug)]
pub struct AsSent {
    pub statement: Option<Statement>,
    /// Something may fail, and the next message runs all the same.
    pub in_doubt: bool,
}

/// What a message in flight says of a name.
enum Says {
    Statement(Option<Statement>),
    /// It cannot be told before it has been answered.
    Unsaid,
}

impl Ledger {
    /// A prepared statement.
    pub fn prepared_as_sent(&self, name: &Name) -> AsSent {
        self.as_sent(
            |sent| match sent {
                Sent::Close(Target::Statement(closed)) if closed == name => {
                    Some(Says::Statement(None))
                }
                Sent::Execute {
                    names: Some(runs), ..
                } => says(runs, |plan| does_to_prepared(plan, name)),
                Sent::Parse {
                    name: parsed,
                    source,
                }
                | Sent::Anew {
                    name: parsed,
                    source,
                } if parsed == name => {
                    Some(Says::Statement(Some(Statement::new(source.clone(), 0))))
                }
                Sent::Query(_) if name.is_unnamed() => Some(Says::Statement(None)),
                Sent::Query(source) => last_that(source, |plan| does_to_prepared(plan, name)),
                _ => None,
            },
            || self.names.prepared(name).cloned(),
        )
    }

    /// The statement of a portal or cursor.
    pub fn portal_as_sent(&self, name: &Name) -> AsSent {
        let held = || self.may_be_held(name);
        self.as_sent(
            |sent| match sent {
                Sent::Close(Target::Portal(closed)) if closed == name => {
                    Some(Says::Statement(None))
                }
                Sent::Bind { portal, meant, .. } if portal == name => {
                    Some(Says::Statement(meant.clone()))
                }
                // CLOSE ALL leaves the portal that it runs in.
                Sent::Execute {
                    portal,
                    names: Some(runs),
                    ..
                } if portal != name || !closes_all(runs.effects()) => {
                    says(runs, |plan| does_to_portal(plan, name, held))
                }
                Sent::Query(_) if name.is_unnamed() => Some(Says::Statement(None)),
                Sent::Query(source) => last_that(source, |plan| does_to_portal(plan, name, held)),
                _ => None,
            },
            || {
                let portal = self.names.portal(name);
                portal.map(|portal| portal.statement.clone())
            },
        )
    }

    /// A cursor of the name that is there, or is about to be, outlives its transaction.
    fn may_be_held(&self, name: &Name) -> bool {
        let declares = |effect: &Effect| matches!(effect, Effect::DeclareCursor { name: made, held: true } if name.is(made));
        let declared = |plan: &StatementPlan| plan.effects.iter().any(declares);
        self.names.portal(name).is_some_and(Portal::is_held)
            || self.queue.iter().any(|entry| match &entry.sent {
                Sent::Query(source) => source.statements().iter().any(declared),
                Sent::Execute {
                    names: Some(runs), ..
                } => runs.plan().is_some_and(declared),
                _ => false,
            })
    }

    /// A portal that no message in flight is about.
    pub fn portal_as_answered(&self, name: &Name) -> Option<&Portal> {
        let mut sent = self.queue.iter();
        let opens = |sent: &Sent| matches!(sent, Sent::Bind { portal, .. } if portal == name);
        match sent.any(|entry| opens(&entry.sent)) {
            true => None,
            false => self.names.portal(name),
        }
    }

    fn as_sent(
        &self,
        says: impl Fn(&Sent) -> Option<Says>,
        answered: impl FnOnce() -> Option<Statement>,
    ) -> AsSent {
        let mut in_doubt = false;
        for entry in self.queue.iter().rev() {
            in_doubt |= entry.bounds();
            let (statement, in_doubt) = match says(&entry.sent) {
                Some(Says::Statement(statement)) => (statement, in_doubt),
                Some(Says::Unsaid) => (None, true),
                None => continue,
            };
            return AsSent {
                statement,
                in_doubt,
            };
        }
        AsSent {
            statement: answered(),
            in_doubt: false,
        }
    }

    /// Something before the next message's batch has not been answered.
    pub fn is_in_doubt(&self) -> bool {
        // A Sync that a COPY may have ignored stands for nothing once it is the first.
        let mut entries = self.queue.iter().skip_while(|entry| entry.may_be_ignored);
        self.copying || entries.any(Entry::bounds)
    }

    /// The server goes on with what is in doubt without another message.
    pub fn will_settle(&self) -> bool {
        match (self.copying, self.may_skip) {
            (true, _) => !self.absorbing,
            (false, true) => self.queue.iter().any(Entry::ends_batch),
            (false, false) => self.queue.iter().any(Entry::is_awaited),
        }
    }

    /// Whether the server has answered that the name stands for this statement.
    pub fn is_settled(&self, name: &Name, prepared: &Statement) -> bool {
        let stands = self.names.prepared(name);
        stands.is_some_and(|stands| Arc::ptr_eq(&stands.source, &prepared.source))
    }

    /// Whether the server has described the result of a portal that is about to run, or will before it runs: what comes
    /// back in rows is held against the policy by its description.
    pub fn is_described(&self, portal: &Name, runs: &Statement) -> bool {
        let mut batch = self.queue.iter().rev().take_while(|entry| !entry.bounds());
        runs.source.described.load(Ordering::Relaxed)
            || batch.any(|entry| match &entry.sent {
                Sent::Check(name) | Sent::Describe(Target::Portal(name)) => name == portal,
                _ => false,
            })
    }
}

impl Entry {
    /// What comes after it is not skipped for what fails in it or before it.
    fn bounds(&self) -> bool {
        matches!(
            self.sent,
            Sent::Query(_) | Sent::Own | Sent::FunctionCall { .. } | Sent::Sync
        )
    }
}

fn closes_all(effects: &[Effect]) -> bool {
    effects.contains(&Effect::CloseCursor(None))
}

/// What a statement says of a name.
fn says(statement: &Statement, does: impl Fn(&StatementPlan) -> Option<Does>) -> Option<Says> {
    Some(match does(statement.plan()?)? {
        Does::Gives => Says::Statement(Some(statement.clone())),
        Does::Takes => Says::Statement(None),
        Does::Unsaid => Says::Unsaid,
    })
}

/// What the last statement of a text says of a name that does something to it.
fn last_that(source: &Arc<Source>, does: impl Fn(&StatementPlan) -> Option<Does>) -> Option<Says> {
    let mut statements = source.statements().iter();
    let index = statements.rposition(|plan| does(plan).is_some())?;
    says(&Statement::new(Arc::clone(source), index), does)
}
