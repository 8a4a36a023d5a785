//! What is left without an answer when a session ends before its statements do.
use super::{Batch, Entry, Ledger, Running, Sent};

impl Ledger {
    /// Takes off everything that was sent and not answered in full, and gives its statements in the order in which they
    /// were sent: the one that runs, and those behind it, of which nobody knows whether the server gets to them. A Parse
    /// or Bind without an Execute runs nothing: it is given where there is nothing else that the client waits for.
    pub fn cut_off(&mut self) -> Vec<Running> {
        let mut statements = Vec::new();
        let mut prepares = None;
        while let Some(Entry { sent, finished, .. }) = self.queue.front() {
            match sent {
                Sent::Query(source) if !finished => {
                    let planned = source.statements().len();
                    statements.extend(self.rest_of_query(planned));
                    self.queue.pop_front();
                }
                Sent::Execute { .. } | Sent::FunctionCall { .. } if !finished => {
                    statements.extend(self.take_front());
                    self.queue.pop_front();
                }
                Sent::Parse { .. } => {
                    prepares = self.take_front().or(prepares);
                    self.parsed();
                }
                Sent::Bind { .. } => {
                    prepares = self.take_front().or(prepares);
                    if self.bound().is_none() {
                        self.queue.pop_front();
                    }
                }
                _ => {
                    self.queue.pop_front();
                }
            }
        }
        self.running = None;
        self.batch = Batch::Closed;
        self.skipping = false;
        self.copying = false;
        self.absorbing = false;
        if statements.is_empty() {
            statements.extend(prepares);
        }
        statements
    }

    /// The statements of the Query in front that have not ended.
    fn rest_of_query(&mut self, planned: usize) -> Vec<Running> {
        let mut rest = Vec::new();
        loop {
            let answered = self.queue.front().map_or(0, |front| front.answered);
            // One without a plan may be several, and is taken for one.
            if self.running.is_none() && answered >= planned.max(1) {
                return rest;
            }
            let Some(statement) = self.take_front() else {
                return rest;
            };
            rest.push(statement);
            if let Some(front) = self.queue.front_mut() {
                front.answered += 1;
            }
        }
    }

    fn take_front(&mut self) -> Option<Running> {
        self.start();
        self.running.take()
    }
}
