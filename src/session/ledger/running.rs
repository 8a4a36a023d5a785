//! A statement whose answers are coming in.
use std::sync::Arc;
use std::time::Instant;

use crate::audit::ExportRecord;
use crate::export::{LimitKind, Meter};
use crate::policy::ExportRule;
use crate::session::portals::Opened;
use crate::session::statements::Statement;
use crate::sql::plan::Effect;
use crate::wire::error::ErrorFields;

/// A statement whose answers are coming in.
#[derive(Debug)]
pub struct Running {
    pub statement: Statement,
    /// What EXECUTE or FETCH runs.
    pub inner: Option<Statement>,
    /// The portal whose rows these are, ...
    pub(super) portal: Option<Opened>,
    /// ... and the cursor that FETCH reads them from.
    pub(super) cursor: Option<Opened>,
    /// What it runs by a name is another statement than when its portal was bound: the server answers as for the other one.
    pub is_renamed: bool,
    pub meter: Meter,
    pub since: Instant,
    /// An export limit was exceeded: its rows stay here, and the client is told this.
    pub stopped: Option<Box<Stop>>,
    /// Nothing of it is counted any more: the role is not enforced, and a limit was reached or could not be looked at.
    pub unlimited: bool,
    /// The limit that would have ended it.
    pub would_stop: Option<LimitKind>,
    /// The grant that it runs under.
    pub grant: Option<Arc<ExportRecord>>,
    /// Honeytoken rows that its rows have shown.
    pub sprung: Vec<Arc<str>>,
    /// What it is called on record where there is no plan.
    pub fallback_kind: &'static str,
}

/// Why a result ends before its last row.
#[derive(Debug, Clone)]
pub struct Stop {
    pub limit: LimitKind,
    pub words: ErrorFields,
    /// The request that waits for signatures.
    pub request: Option<Arc<ExportRecord>>,
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It goes to the client.
    Out,
    /// It is pgveil's own and not for the client.
    Hidden,
    /// Its result was stopped.
    Stopped,
    /// It is one too many by this limit. It is not counted; whether it goes out has to be decided.
    Over(LimitKind),
}

impl Running {
    /// The statement whose relations are read: of EXECUTE and FETCH the inner one.
    pub fn governing(&self) -> &Statement {
        self.inner.as_ref().unwrap_or(&self.statement)
    }

    /// Portal and cursor whose rows these are: what went out of one did of the other.
    pub(super) fn portals(&self) -> impl Iterator<Item = &Opened> {
        self.portal.iter().chain(&self.cursor)
    }

    /// The rows that come back are pgveil's own: the client asked for none.
    pub fn hides_rows(&self) -> bool {
        self.governing().hides_rows()
    }

    /// Its rows count.
    pub fn is_counted(&self, export: &ExportRule) -> bool {
        let governing = self.governing();
        export.limits()
            && (export.counts_all || governing.protected())
            && !governing.effects().contains(&Effect::GivesBack)
    }

    /// Rows of protected relations go into another relation instead of to the client.
    pub fn stores_rows(&self) -> bool {
        self.statement.stores_rows(self.inner.as_ref())
    }

    /// ... and nobody sees their bytes.
    pub fn stores_elsewhere(&self) -> bool {
        self.statement.stores_elsewhere(self.inner.as_ref())
    }
}
