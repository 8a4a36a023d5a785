//! Rows that a statement has put into relations, counted by its command tag before that goes on.
use super::{Flow, ToClient};
use crate::export::{Allowed, LimitKind};
use crate::session::host::Host;
use crate::session::ledger::{Counted, Running};
use crate::session::record;
use crate::session::shared::State;
use crate::sql::plan::Effect;
use crate::wire::frame::{Header, back};

/// More rows than any limit that is one.
const UNCOUNTABLE: u64 = 1 << 40;

impl<H: Host> ToClient<'_, H> {
    /// Rows that a statement has stored count as if they had gone out. `None`: they may stay; otherwise what has to be
    /// decided before the end of the statement goes on.
    pub(super) fn stored(&self, state: &mut State, header: Header) -> Option<Flow> {
        let suspended = header.tag == back::PORTAL_SUSPENDED;
        if !(suspended || header.tag == back::COMMAND_COMPLETE) || state.own.is_some() {
            return None;
        }
        state.ledger.ending(header.tag)?;
        let running = state.ledger.running()?;
        if !state.ledger.limits_of(&running.statement).0.limits() || running.stopped.is_some() {
            return None;
        }
        // All is stored when the first row of RETURNING comes; how much, nobody says before the last one.
        let is_told = !suspended && !running.is_renamed;
        let stored = record::affected(&self.command_tag(header)).unwrap_or(0);
        // Of their bytes nobody has seen any.
        let export = state.ledger.limits_of(&running.statement).0;
        let by_bytes = export.bytes.is_some()
            && !(export.rows.is_some() || Allowed::from(&**export).limits_rows());
        let allowed = running.unlimited || running.grant.is_some();
        if by_bytes && !allowed && stored > 0 && running.stores_elsewhere() {
            return Some(Flow::Deciding {
                limit: LimitKind::Bytes,
                weight: UNCOUNTABLE,
            });
        }
        let (rows, weight) = match is_told {
            true => stored_by(running, stored),
            false if running.stores_rows() => (0, UNCOUNTABLE),
            false => (0, 0),
        };
        if weight == 0 {
            return None;
        }
        match state.ledger.store(rows, weight) {
            Counted::Over(limit) => Some(Flow::Deciding { limit, weight }),
            Counted::Out | Counted::Hidden | Counted::Stopped => None,
        }
    }
}

/// Rows that a statement has stored, of so many that its command tag tells, less those that RETURNING has shown; and for how
/// many all of them count.
fn stored_by(running: &Running, written: u64) -> (u64, u64) {
    let governing = running.governing();
    let plan = governing.plan();
    let packed = plan.map(|plan| &plan.packed);
    let unseen = running.meter.stored(written);
    if running.stores_rows() {
        let tried = governing.effects().iter().find_map(|effect| match effect {
            Effect::Tries(rows) => Some(*rows),
            _ => None,
        });
        let tried = tried.unwrap_or(0);
        let each = packed.map_or(1, |packed| packed.side_by_side.max(packed.joined.rows));
        return match packed {
            // What is in them is not seen here, and no grant says how much it may be.
            Some(packed) if packed.stores_many && written > 0 => (unseen, UNCOUNTABLE),
            _ if running.grant.is_some() => (unseen, unseen),
            _ if tried > written => (unseen, unseen.saturating_add(tried - written)),
            // RETURNING shows something else of them.
            _ if each > 1 => (unseen, written.saturating_mul(each.into())),
            _ => (unseen, unseen),
        };
    }
    if governing.packs_rows() {
        return match packed {
            Some(packed) if packed.stores_many && written > 0 => (unseen, UNCOUNTABLE),
            _ if running.grant.is_some() => (unseen, unseen),
            // A row of a protected relation that others were put into: it will be read as one.
            Some(packed) if packed.joined.rows > 1 => {
                let others = packed.joined.rows - 1;
                (unseen, written.saturating_mul(others.into()))
            }
            _ => (unseen, unseen),
        };
    }
    // The number that MOVE answers is made of rows, as a count is. How many numbers were drawn is to be seen later, whatever
    // came of it.
    let moves = running
        .statement
        .plan()
        .is_some_and(|plan| plan.kind == "MOVE");
    let draws = governing.effects().contains(&Effect::DrawsNumbers);
    let once = running.meter.stored(1);
    match governing.protected() && (moves || draws) {
        true => (once, once),
        false => (0, 0),
    }
}
