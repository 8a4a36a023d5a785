//! Rows that a statement has put into relations, counted by its command tag before that goes on.
use super::{Flow, ToClient};
use crate::session::host::Host;
use crate::session::ledger::Counted;
use crate::session::record;
use crate::session::shared::State;
use crate::wire::frame::{Header, back};

/// More rows than any limit that is one.
const UNCOUNTABLE: u64 = 1 << 40;

impl<H: Host> ToClient<'_, H> {
    /// Rows that a statement has stored count as if they had gone out. `None`: they may stay; otherwise what has to be
    /// decided before the end of the statement goes on.
    pub(super) fn stored(&self, state: &mut State, header: Header) -> Option<Flow> {
        if header.tag != back::COMMAND_COMPLETE || state.own.is_some() {
            return None;
        }
        state.ledger.ending(header.tag)?;
        let running = state.ledger.running()?;
        if !state.ledger.limits_of(&running.statement).0.limits() {
            return None;
        }
        let governing = running.governing();
        let packed = governing.plan().map(|plan| &plan.packed);
        let stores = running.stores_rows();
        // The number that MOVE answers is made of rows, as a count is.
        let moves = governing.protected()
            && running
                .statement
                .plan()
                .is_some_and(|plan| plan.kind == "MOVE");
        if !(stores || moves || governing.packs_rows()) || running.stopped.is_some() {
            return None;
        }
        let stored = record::affected(&self.command_tag(header)).unwrap_or(0);
        let rows = match moves {
            true => 1,
            false => running.meter.stored(stored),
        };
        if rows == 0 {
            return None;
        }
        let weight = match packed {
            _ if moves => 1,
            // What is in them is not seen here, and no grant says how much it may be.
            Some(packed) if packed.stores_many => UNCOUNTABLE,
            _ if running.grant.is_some() => rows,
            // A row of a protected relation that others were put into: it will be read as one.
            Some(packed) if !stores => {
                rows.saturating_mul(packed.joined.saturating_sub(1).max(1).into())
            }
            Some(packed) => rows.saturating_mul(packed.side_by_side.max(packed.joined).into()),
            None => rows,
        };
        match state.ledger.store(rows, weight) {
            Counted::Over(limit) => Some(Flow::Deciding { limit, weight }),
            Counted::Out | Counted::Hidden | Counted::Stopped => None,
        }
    }
}
