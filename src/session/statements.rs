//! The texts that a client sends, and what was decided about each of their statements.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::{ExportRecord, TraceRecord};
use crate::policy::RolePolicy;
use crate::session::asker::Asker;
use crate::session::claim::{Claim, Spoken};
use crate::session::messages::Name;
use crate::session::settings;
use crate::session::subjects::SubjectColumns;
use crate::sql::plan::{
    Effect, Plan, Refusal, SessionFacts, StatementPlan, Verdict, takes_back_a_part,
};
use crate::sql::temporary;

/// Which policy and which catalog a text was planned under, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch {
    pub policy: u64,
    pub catalog: u64,
    /// [`Asker::key`] of who it was planned for.
    pub asker: u64,
}

/// What a text was planned without.
#[derive(Debug, Clone)]
pub struct Clear {
    /// Whose masks a grant takes off.
    pub classes: BTreeSet<String>,
    /// The role without them.
    pub role: Arc<RolePolicy>,
}

/// A text the client sent, and what was decided about it under which circumstances.
#[derive(Debug)]
pub struct Source {
    /// Kept in restricted sessions, to decide again when the circumstances have changed, and where it goes on record.
    pub text: Option<Arc<str>>,
    /// The trace that it says it is part of.
    pub trace: Option<Box<TraceRecord>>,
    /// `None`: not planned (too long, not UTF-8, not SQL, no catalog), in unrestricted sessions only.
    pub plan: Option<Arc<Plan>>,
    pub facts: Arc<SessionFacts>,
    pub epoch: Epoch,
    /// The role it was planned for; `None`: not planned.
    pub role: Option<Arc<RolePolicy>>,
    /// Who it was planned for.
    pub asker: Option<Arc<Asker>>,
    /// What it says itself of who that is.
    pub spoken: Spoken,
    pub claim: Arc<Claim>,
    /// Planned for a grant that takes masks off. It runs only under such a grant.
    pub clear: Option<Clear>,
    /// The grant that a Query has used.
    pub grant: Option<Granted>,
    /// The server has described its result, and no masked column was in it.
    pub described: AtomicBool,
    /// Where in its rows the rows of protected relations are named, by statement.
    pub subjects: Mutex<BTreeMap<usize, Arc<SubjectColumns>>>,
}

impl Source {
    /// A text about which nothing is known.
    pub fn unplanned() -> Arc<Self> {
        Arc::new(Source {
            text: None,
            trace: None,
            plan: None,
            facts: Arc::default(),
            epoch: Epoch::default(),
            role: None,
            asker: None,
            spoken: Spoken::default(),
            claim: Arc::default(),
            described: AtomicBool::new(false),
            subjects: Mutex::default(),
            clear: None,
            grant: None,
        })
    }

    pub fn statements(&self) -> &[StatementPlan] {
        self.plan.as_deref().map_or(&[], |plan| &plan.statements)
    }

    /// The same text, decided on under the same policy, catalog and search path. What was planned for a grant runs only for
    /// a Bind that has used it.
    pub fn is_alike(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
            || (self.text.is_some()
                && self.text == other.text
                && self.epoch == other.epoch
                && self.facts == other.facts
                && self.clear.is_none()
                && other.clear.is_none())
    }
}

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Statement {
    pub source: Arc<Source>,
    pub index: usize,
    pub arguments: Arguments,
    /// Formats and values of its parameters, as in Bind, where they go on record.
    pub values: Option<Arc<[u8]>>,
    /// The grant that this run of it has used.
    pub grant: Option<Granted>,
    /// Honeytoken rows that its parameters name.
    pub sprung: Vec<Arc<str>>,
}

/// Whether PREPARE of that name is among the effects.
pub fn prepares(effects: &[Effect], name: &Name) -> bool {
    let mut effects = effects.iter();
    effects.any(|effect| matches!(effect, Effect::Prepare(made) if name.is(made)))
}

/// Whether DECLARE of a cursor of that name is among the effects.
pub fn declares(effects: &[Effect], name: &Name) -> bool {
    let mut effects = effects.iter();
    effects
        .any(|effect| matches!(effect, Effect::DeclareCursor { name: made, .. } if name.is(made)))
}

/// Whether it is none of a cursor's name any more: CLOSE.
fn closes(effects: &[Effect], name: &Name) -> bool {
    let mut effects = effects.iter();
    effects.any(|effect| match effect {
        Effect::CloseCursor(Some(closed)) => name.is(closed),
        Effect::CloseCursor(None) => true,
        _ => false,
    })
}

/// Whether it takes the name from what is prepared: DEALLOCATE.
fn deallocates(effects: &[Effect], name: &Name) -> bool {
    let mut effects = effects.iter();
    effects.any(|effect| match effect {
        Effect::Deallocate(Some(dropped)) => name.is(dropped),
        Effect::Deallocate(None) => !name.is_unnamed(),
        _ => false,
    })
}

/// Portals and cursors end with their transaction, or with the part of it that is taken back.
fn ends_portals(plan: &StatementPlan) -> bool {
    matches!(plan.kind, "COMMIT" | "ROLLBACK")
}

/// What a statement does to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// It stands for this statement from then on.
    Gives,
    /// It stands for nothing any more.
    Takes,
    /// One or the other, or nothing: the server's answer tells.
    Unsaid,
}

/// What a statement does to a name of prepared statements.
pub fn does_to_prepared(plan: &StatementPlan, name: &Name) -> Option<Does> {
    if prepares(&plan.effects, name) {
        return Some(Does::Gives);
    }
    deallocates(&plan.effects, name).then_some(Does::Takes)
}

/// What a statement does to a name of portals and cursors. `held`: one of the name may outlive its transaction.
pub fn does_to_portal(plan: &StatementPlan, name: &Name, held: impl Fn() -> bool) -> Option<Does> {
    if declares(&plan.effects, name) {
        return Some(Does::Gives);
    }
    if closes(&plan.effects, name) {
        return Some(Does::Takes);
    }
    let unsaid = || takes_back_a_part(&plan.effects) || held();
    ends_portals(plan).then(|| match unsaid() {
        true => Does::Unsaid,
        false => Does::Takes,
    })
}

/// A grant that was used for one run of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    pub record: Arc<ExportRecord>,
    /// Rows at most.
    pub rows: u64,
}

/// The parameters that a statement was bound to, as far as they tell one run from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arguments {
    #[default]
    None,
    /// Hash of the Bind message behind its names.
    Hash([u8; 32]),
    /// Too long to be looked at.
    Unseen,
}

impl Statement {
    /// One of which nothing is known.
    pub fn unknown() -> Self {
        Statement::new(Source::unplanned(), 0)
    }

    pub fn new(source: Arc<Source>, index: usize) -> Self {
        Statement {
            source,
            index,
            arguments: Arguments::None,
            values: None,
            grant: None,
            sprung: Vec::new(),
        }
    }

    pub fn plan(&self) -> Option<&StatementPlan> {
        self.source.statements().get(self.index)
    }

    /// It gives or takes names of statements or cursors, or ends a transaction or a part of it.
    pub fn names_something(&self) -> bool {
        let mut effects = self.effects().iter();
        effects.any(|effect| {
            matches!(
                effect,
                Effect::Prepare(_)
                    | Effect::Deallocate(_)
                    | Effect::DeclareCursor { .. }
                    | Effect::CloseCursor(_)
            )
        }) || self.plan().is_some_and(ends_portals)
    }

    /// The facts that it was planned under: those of its text, as the statements before it leave them. `None`: they cannot
    /// be told.
    pub fn facts(&self) -> Option<Arc<SessionFacts>> {
        let mut facts = Arc::clone(&self.source.facts);
        for before in self.source.statements().iter().take(self.index) {
            match temporary::after(&facts, &before.effects) {
                Some(after) if after != *facts => facts = Arc::new(after),
                None if settings::touched(before).names() => return None,
                _ => {}
            }
        }
        Some(facts)
    }

    /// A statement before it in its text declares a cursor of that name.
    pub fn declared_before(&self, name: &Name) -> bool {
        let before = self.source.statements().iter().take(self.index);
        before.into_iter().any(|plan| declares(&plan.effects, name))
    }

    /// The last statement before it in its text that prepares what goes by the name.
    pub fn prepared_before(&self, name: &Name) -> Option<Statement> {
        let before = self.source.statements().get(..self.index)?;
        let index = before
            .iter()
            .rposition(|plan| prepares(&plan.effects, name))?;
        Some(Statement::new(Arc::clone(&self.source), index))
    }

    /// Byte range in its source's text.
    pub fn span(&self) -> Option<(usize, usize)> {
        self.source.plan.as_ref()?.span(self.index)
    }

    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.plan()?.verdict {
            Verdict::Refuse(refusal) => Some(refusal),
            Verdict::Pass | Verdict::Rewrite => None,
        }
    }

    /// Where in its rows the rows of protected relations are named; `None`: not described, or nowhere.
    pub fn subjects(&self) -> Option<Arc<SubjectColumns>> {
        let subjects = &self.source.subjects;
        let subjects = subjects.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.get(&self.index).cloned()
    }

    pub fn has_subjects(&self, columns: SubjectColumns) {
        let subjects = &self.source.subjects;
        let mut subjects = subjects.lock().unwrap_or_else(PoisonError::into_inner);
        subjects.insert(self.index, Arc::new(columns));
    }

    pub fn effects(&self) -> &[Effect] {
        self.plan().map_or(&[], |plan| &plan.effects)
    }

    /// The rows that come back are pgveil's own: the client asked for none.
    pub fn hides_rows(&self) -> bool {
        self.plan().is_some_and(|plan| plan.hidden_rows)
    }

    /// Rows of protected relations go into another relation instead of to the client. `inner`: what it runs by name.
    pub fn stores_rows(&self, inner: Option<&Statement>) -> bool {
        self.stores(inner, &Effect::StoresRows)
    }

    /// Of [`Statement::stores_rows`], those whose bytes nobody sees.
    pub fn stores_elsewhere(&self, inner: Option<&Statement>) -> bool {
        self.stores(inner, &Effect::StoresElsewhere)
    }

    /// It has the effect, or makes a table of protected rows, which has them all.
    fn stores(&self, inner: Option<&Statement>, effect: &Effect) -> bool {
        let governing = inner.unwrap_or(self);
        governing.effects().contains(effect) || (self.makes_table() && governing.protected())
    }

    /// Rows are put together in one of a protected relation, which will be read as one.
    pub fn packs_rows(&self) -> bool {
        self.protected() && self.plan().is_some_and(|plan| plan.packed.packs())
    }

    pub fn makes_table(&self) -> bool {
        self.plan()
            .is_some_and(|plan| plan.kind == "CREATE TABLE AS")
    }

    /// Its rows come from a protected relation, or it is not known where they come from.
    pub fn protected(&self) -> bool {
        self.plan().is_none_or(|plan| plan.protected)
    }
}
