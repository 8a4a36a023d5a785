//! Prepared statements, portals and cursors as the server has them, each with the plan it came from.
//!
//! Protocol-level and SQL-level names share one space on the server, for statements (Parse, PREPARE) as for portals
//! (Bind, DECLARE), and so they do here. The maps change only when the server has answered: a Parse that failed
//! leaves nothing.
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

use crate::audit::{ExportRecord, TraceRecord};
use crate::export::Sum;
use crate::policy::RolePolicy;
use crate::session::asker::Asker;
use crate::session::claim::{Claim, Spoken};
use crate::session::messages::{Name, Target};
use crate::session::settings;
use crate::session::subjects::SubjectColumns;
use crate::sql::plan::{Effect, Plan, Refusal, SessionFacts, StatementPlan, Verdict};
use crate::sql::temporary;

/// Which policy and which catalog a text was planned under, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epoch {
    pub policy: u64,
    pub catalog: u64,
    /// [`Asker::key`] of who it was planned for.
    pub asker: u64,
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
    /// Planned for a grant that takes masks off: the role without them. It runs only under that grant.
    pub clear: Option<Arc<RolePolicy>>,
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

    pub fn prepares_one(&self) -> bool {
        let mut effects = self.effects().iter();
        effects.any(|effect| matches!(effect, Effect::Prepare(_)))
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
        let governing = inner.unwrap_or(self);
        governing.effects().contains(&Effect::StoresRows)
            || (self.makes_table() && governing.protected())
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

/// A portal or cursor.
#[derive(Debug, Clone)]
pub struct Portal {
    pub statement: Statement,
    /// What of it went to the client.
    pub sum: Sum,
    /// The grant that its further rows go out under, and under which policy and for whom it was used.
    granted: Option<(Granted, Epoch)>,
    /// Outlives its transaction (DECLARE ... WITH HOLD).
    held: bool,
}

impl Portal {
    /// The grant that its rows go out under for whoever reads on now. It was used once for all of them.
    pub fn granted(&self, now: Epoch) -> Option<&Granted> {
        let (granted, then) = self.granted.as_ref()?;
        (then.policy == now.policy && then.asker == now.asker).then_some(granted)
    }
}

/// What a statement that runs another one runs.
#[derive(Debug, Clone)]
pub struct Inner {
    pub statement: Statement,
    /// The cursor whose rows it continues.
    pub cursor: Option<Name>,
}

#[derive(Debug, Default)]
pub struct Statements {
    prepared: HashMap<Name, Statement, RandomState>,
    portals: HashMap<Name, Portal, RandomState>,
}

impl Statements {
    pub fn prepared(&self, name: &Name) -> Option<&Statement> {
        self.prepared.get(name)
    }

    pub fn portal(&self, name: &Name) -> Option<&Portal> {
        self.portals.get(name)
    }

    /// A cursor WITH HOLD is open.
    pub fn holds_cursors(&self) -> bool {
        self.portals.values().any(|portal| portal.held)
    }

    pub fn prepare(&mut self, name: Name, statement: Statement) {
        self.prepared.insert(name, statement);
    }

    pub fn bind(&mut self, portal: Name, statement: Statement) {
        let portal_of = Portal {
            statement,
            sum: Sum::default(),
            granted: None,
            held: false,
        };
        self.portals.insert(portal, portal_of);
    }

    /// A Parse of the unnamed statement drops the one before even if it fails (`drop_unnamed_stmt`).
    pub fn begin_parse(&mut self, name: &Name) {
        if name.is_unnamed() {
            self.prepared.remove(name);
        }
    }

    /// A Query drops the unnamed statement and takes the place of the unnamed portal (`exec_simple_query`).
    pub fn drop_unnamed(&mut self) {
        let unnamed = Name::new(b"");
        self.prepared.remove(&unnamed);
        self.portals.remove(&unnamed);
    }

    pub fn close(&mut self, target: &Target) {
        match target {
            Target::Statement(name) => {
                self.prepared.remove(name);
            }
            Target::Portal(name) => {
                self.portals.remove(name);
            }
        }
    }

    /// More rows of a portal went out.
    pub fn advance(&mut self, portal: &Name, total: Sum) {
        if let Some(portal) = self.portals.get_mut(portal) {
            portal.sum.counted = portal.sum.counted.max(total.counted);
            portal.sum.bytes = portal.sum.bytes.max(total.bytes);
        }
    }

    /// The rows of a portal go on under a grant.
    pub fn grant(&mut self, portal: &Name, granted: Granted, epoch: Epoch) {
        if let Some(portal) = self.portals.get_mut(portal) {
            portal.granted = Some((granted, epoch));
        }
    }

    /// Portals end with their transaction, held cursors do not.
    pub fn end_transaction(&mut self) {
        self.portals.retain(|_, portal| portal.held);
    }

    /// The statement that EXECUTE or FETCH runs. A name that is not known is resolved to a statement about which
    /// nothing is known.
    pub fn inner(&self, statement: &Statement) -> Option<Inner> {
        statement.effects().iter().find_map(|effect| match effect {
            Effect::Execute(name) => Some(Inner {
                statement: self
                    .prepared
                    .get(&name.as_str().into())
                    .map_or_else(|| Statement::new(Source::unplanned(), 0), Statement::clone),
                cursor: None,
            }),
            Effect::Fetch(name) => {
                let name = Name::from(name.as_str());
                Some(Inner {
                    statement: self.portals.get(&name).map_or_else(
                        || Statement::new(Source::unplanned(), 0),
                        |portal| portal.statement.clone(),
                    ),
                    cursor: Some(name),
                })
            }
            _ => None,
        })
    }

    /// A statement has failed. PREPARE may have stored what it prepares all the same: no transaction takes that back, and
    /// the error may be that of the commit, which comes before CommandComplete for the last statement of a text
    /// (`exec_simple_query`, tcop/postgres.c), or a cancel request's. If it has not, the server says so when it is named.
    pub fn failed(&mut self, statement: &Statement) {
        for effect in statement.effects() {
            if let Effect::Prepare(name) = effect {
                let name = Name::from(name.as_str());
                self.prepared
                    .entry(name)
                    .or_insert_with(|| statement.clone());
            }
        }
    }

    /// Follows what a statement that has completed did to names.
    pub fn completed(&mut self, statement: &Statement) {
        for effect in statement.effects() {
            match effect {
                Effect::Prepare(name) => self.prepare(name.as_str().into(), statement.clone()),
                Effect::Deallocate(Some(name)) => {
                    self.prepared.remove(&name.as_str().into());
                }
                // The unnamed one is none of those (`DropAllPreparedStatements`, commands/prepare.c).
                Effect::Deallocate(None) => self.prepared.retain(|name, _| name.is_unnamed()),
                Effect::DeclareCursor { name, held } => {
                    self.portals.insert(
                        name.as_str().into(),
                        Portal {
                            statement: statement.clone(),
                            sum: Sum::default(),
                            granted: None,
                            held: *held,
                        },
                    );
                }
                Effect::CloseCursor(Some(name)) => {
                    self.portals.remove(&name.as_str().into());
                }
                Effect::CloseCursor(None) => self.portals.clear(),
                Effect::SettingsChanged
                | Effect::SearchPath(_)
                | Effect::TemporaryMade(_)
                | Effect::TemporaryGone(_)
                | Effect::StoresRows
                | Effect::RunsCode
                | Effect::Reason(_)
                | Effect::Execute(_)
                | Effect::Explain(_)
                | Effect::Fetch(_)
                | Effect::SchemaChanged => {}
            }
        }
    }
}

/// Whether a COPY TO STDOUT begins with a line of column names, which is no row. In doubt it does not.
pub fn copies_header(plan: &StatementPlan) -> bool {
    if plan.kind != "COPY" {
        return false;
    }
    let text = plan.normalised.to_ascii_lowercase();
    let Some((_, options)) = text.rsplit_once("to stdout") else {
        return false;
    };
    let mut words = options
        .split(|c: char| c.is_whitespace() || "(),".contains(c))
        .filter(|word| !word.is_empty());
    words.any(|word| word == "header")
        && !matches!(words.next(), Some(value) if value == "false" || value == "off" || value.starts_with('$'))
}
