//! Portals and cursors as the server has them, and how transactions end them.
//!
//! They change only when the server has answered. Where it cannot be told whether one is still there it is taken for gone: what
//! a name stands for that the session has not given itself is not run.
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::export::Sum;
use crate::session::messages::Name;
use crate::session::names::Inner;
use crate::session::statements::{Epoch, Granted, Source, Statement};
use crate::sql::plan::{Effect, takes_back_a_part};

/// Savepoints that are kept apart; what is opened behind more of them goes with any that is gone back to.
const MAX_SAVEPOINTS: usize = 1_000;

/// A portal or cursor.
#[derive(Debug, Clone)]
pub struct Portal {
    pub statement: Statement,
    /// Tells it from others that had the name, or will.
    number: u64,
    /// What EXECUTE or FETCH in it has run. The server holds its rows, whatever the name stands for by now
    /// (`PORTAL_UTIL_SELECT`, tcop/pquery.c).
    pub ran: Option<Inner>,
    /// What that name stood for when it was bound.
    bound: Option<Arc<Source>>,
    /// What of it went to the client.
    sum: Sum,
    /// The grant that its further rows go out under, and under which policy and for whom it was used.
    granted: Option<(Granted, Epoch)>,
    /// Outlives its transaction (DECLARE ... WITH HOLD), if that is committed.
    held: bool,
    /// ... and it was.
    settled: bool,
    /// How many savepoints there were when it was opened.
    savepoints: usize,
}

/// A portal or cursor that was opened: its name may be another's by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub name: Name,
    number: u64,
}

impl Portal {
    /// What it runs by a name is something else than when it was bound. How a portal gives its rows is settled then
    /// (`ChoosePortalStrategy`, tcop/pquery.c).
    pub fn is_renamed(&self, inner: Option<&Statement>) -> bool {
        match (&self.bound, inner) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(bound), Some(inner)) => !bound.is_alike(&inner.source),
        }
    }

    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The grant that its rows go out under for whoever reads on now. It was used once for all of them.
    pub fn granted(&self, now: Epoch) -> Option<&Granted> {
        let (granted, then) = self.granted.as_ref()?;
        (then.policy == now.policy && then.asker == now.asker).then_some(granted)
    }
}

#[derive(Debug, Default)]
pub struct Portals {
    open: HashMap<Name, Portal, RandomState>,
    /// How many were opened.
    count: u64,
    /// Savepoints of the transaction, the oldest first.
    savepoints: Vec<String>,
    /// There are more of them than are kept apart.
    overflow: bool,
    /// Something has failed in the transaction: its end takes everything back.
    failed: bool,
}

impl Portals {
    pub fn get(&self, name: &Name) -> Option<&Portal> {
        self.open.get(name)
    }

    /// What goes by the name now.
    pub fn opened(&self, name: &Name) -> Opened {
        Opened {
            name: name.clone(),
            number: self.open.get(name).map_or(0, |portal| portal.number),
        }
    }

    /// A cursor WITH HOLD is open.
    pub fn any_held(&self) -> bool {
        self.open.values().any(|portal| portal.held)
    }

    /// A portal was bound. `inner`: what it is to run by a name.
    pub fn bind(&mut self, name: Name, statement: Statement, inner: Option<&Inner>) {
        self.open(name.clone(), statement, false);
        if let Some(portal) = self.open.get_mut(&name) {
            portal.bound = inner.map(|inner| Arc::clone(&inner.statement.source));
        }
    }

    pub fn open(&mut self, name: Name, statement: Statement, held: bool) {
        self.count += 1;
        let portal = Portal {
            statement,
            number: self.count,
            ran: None,
            bound: None,
            sum: Sum::default(),
            granted: None,
            held,
            settled: false,
            savepoints: match self.overflow {
                true => usize::MAX,
                false => self.savepoints.len(),
            },
        };
        self.open.insert(name, portal);
    }

    pub fn close(&mut self, name: &Name) {
        self.open.remove(name);
    }

    /// A portal runs, and what it runs by a name is settled from now on.
    pub fn run(&mut self, name: &Name, inner: Option<&Inner>) {
        if let Some(portal) = self.open.get_mut(name)
            && portal.ran.is_none()
        {
            portal.ran = inner.cloned();
        }
    }

    /// The portal that was opened as this one.
    pub fn get_opened(&self, opened: &Opened) -> Option<&Portal> {
        let portal = self.open.get(&opened.name)?;
        (portal.number == opened.number).then_some(portal)
    }

    fn get_opened_mut(&mut self, opened: &Opened) -> Option<&mut Portal> {
        let portal = self.open.get_mut(&opened.name)?;
        (portal.number == opened.number).then_some(portal)
    }

    /// What went out of portals and cursors that give the same rows.
    pub fn sum<'a>(&self, opened: impl Iterator<Item = &'a Opened>) -> Sum {
        let sums = opened.filter_map(|opened| Some(self.get_opened(opened)?.sum));
        sums.fold(Sum::default(), Sum::or_more)
    }

    /// More rows of a portal went out.
    pub fn advance(&mut self, opened: &Opened, total: Sum) {
        if let Some(portal) = self.get_opened_mut(opened) {
            portal.sum = portal.sum.or_more(total);
        }
    }

    /// The rows of a portal go on under a grant.
    pub fn grant(&mut self, opened: &Opened, granted: Granted, epoch: Epoch) {
        if let Some(portal) = self.get_opened_mut(opened) {
            portal.granted = Some((granted, epoch));
        }
    }

    /// What CLOSE and DISCARD close. Where they fail at the commit it is gone, too. `within`: the portal that they ran in, which
    /// stays.
    pub fn take_closed(&mut self, statement: &Statement, within: Option<&Name>) {
        for effect in statement.effects() {
            match effect {
                Effect::CloseCursor(Some(name)) => self.close(&name.as_str().into()),
                Effect::CloseCursor(None) => self.open.retain(|name, _| Some(name) == within),
                _ => {}
            }
        }
    }

    /// An error of the server.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// COMMIT has run. After a failure it is a ROLLBACK.
    pub fn committed(&mut self) {
        let committed = !self.failed;
        self.open
            .retain(|_, portal| portal.held && (committed || portal.settled));
        for portal in self.open.values_mut() {
            portal.settled = true;
            portal.savepoints = 0;
        }
        self.savepoints.clear();
        self.overflow = false;
        self.failed = false;
    }

    /// ROLLBACK has run.
    pub fn rolled_back(&mut self) {
        self.failed = true;
        self.committed();
    }

    /// Follows what a statement that has completed did. `within`: the portal that it ran in.
    pub fn completed(&mut self, statement: &Statement, within: Option<&Name>) {
        self.take_closed(statement, within);
        for effect in statement.effects() {
            match effect {
                Effect::DeclareCursor { name, held } => {
                    self.open(name.as_str().into(), statement.clone(), *held);
                }
                Effect::Savepoint(name) if self.savepoints.len() < MAX_SAVEPOINTS => {
                    self.savepoints.push(name.clone());
                }
                Effect::Savepoint(_) => self.overflow = true,
                Effect::Release(name) => self.release(name),
                Effect::RollbackTo(name) => self.roll_back_to(name),
                _ => {}
            }
        }
        match statement.plan().map(|plan| plan.kind) {
            Some("COMMIT") => self.committed(),
            Some("ROLLBACK") if !takes_back_a_part(statement.effects()) => self.rolled_back(),
            _ => {}
        }
    }

    /// What was opened behind the savepoint belongs to what is around it.
    fn release(&mut self, name: &str) {
        // It may be the name of one that is not kept apart.
        if self.overflow {
            return;
        }
        let Some(at) = self.savepoints.iter().rposition(|known| known == name) else {
            return;
        };
        self.savepoints.truncate(at);
        for portal in self.open.values_mut() {
            portal.savepoints = portal.savepoints.min(at);
        }
    }

    /// What was opened behind the savepoint is gone (`AtSubAbort_Portals`, utils/mmgr/portalmem.c).
    fn roll_back_to(&mut self, name: &str) {
        self.failed = false;
        let at = self.savepoints.iter().rposition(|known| known == name);
        // One that is not known is among those that are not kept apart.
        let left = match at {
            Some(at) if !self.overflow => at + 1,
            _ => 0,
        };
        self.savepoints.truncate(at.map_or(usize::MAX, |at| at + 1));
        self.open
            .retain(|_, portal| portal.settled || portal.savepoints < left.max(1));
    }
}
