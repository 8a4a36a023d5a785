//! A row that a limit stands in the way of: what is decided about it holds for the statement that runs, and for the rest of
//! its portal or cursor.
use super::ToClient;
use crate::export::LimitKind;
use crate::session::exports::{self, Decision};
use crate::session::host::Host;
use crate::session::ledger::Stop;
use crate::session::statements::{Granted, Statement};

impl<H: Host> ToClient<'_, H> {
    /// Decides about the row that comes next, for the statement that runs.
    pub(super) async fn decide(&mut self, limit: LimitKind, weight: u64) {
        let excess = {
            let state = self.shared.lock();
            state.ledger.running().map(|running| {
                let claim = &running.statement.source.claim;
                let reason = state.reason.as_ref().and_then(|said| said.to(claim));
                exports::excess(running, limit, weight, reason)
            })
        };
        let Some(excess) = excess else {
            return;
        };
        let decision = self.host.exceeded(excess).await;
        let mut state = self.shared.lock();
        let Some(running) = state.ledger.running_mut() else {
            return;
        };
        match decision {
            Decision::Again => {}
            Decision::Unenforced(limit) => {
                running.unlimited = true;
                running.would_stop = limit;
            }
            Decision::Granted(record, rows) => {
                state.ledger.grant(Granted { record, rows });
            }
            Decision::Stop(words, request) => {
                let stored = running.stores_rows().then(|| running.governing().clone());
                running.stopped = Some(Box::new(Stop {
                    limit,
                    words: *words,
                    request,
                }));
                // The rest of its rows is thrown away as it comes, where a cancel could hit what is sent behind it.
                if self.cancel.is_none() && state.ledger.is_last_batch() {
                    state.cancelling = true;
                    self.cancel = Some(tokio::spawn(self.host.cancel()));
                }
                if let Some(plan) = stored.as_ref().and_then(Statement::plan) {
                    state.spoil(plan);
                }
            }
        }
    }
}
