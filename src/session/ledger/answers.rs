//! The server's side of the ledger: each answer is attributed and takes off what it answers.

use super::parts::Parts;
use super::{Answer, Batch, Entry, Failure, First, Ledger, Running, Sent, Unexpected};
use crate::session::messages::Target;
use crate::session::statements::Statement;
use crate::wire::frame::back;

impl Ledger {
    /// The statement that a DataRow or CopyData belongs to.
    ///
    /// # Errors
    /// No statement runs.
    pub fn row_of(&mut self, tag: u8) -> Result<&Running, Unexpected> {
        if self.running.is_none() {
            self.settle(tag);
            let expects_rows = matches!(
                self.queue.front(),
                Some(Entry {
                    sent: Sent::Query(_) | Sent::Execute { denied: None, .. },
                    finished: false,
                    ..
                })
            );
            if !expects_rows {
                return Err(Unexpected { tag });
            }
        }
        match self.start_known(tag)? {
            Some(running) => Ok(running),
            None => Err(Unexpected { tag }),
        }
    }

    /// The statement whose end is about to be answered, if it is the client's.
    pub fn ending(&mut self, tag: u8) -> Option<&mut Running> {
        if self.row_of(tag).is_err() {
            return None;
        }
        self.running.as_mut()
    }

    /// [`Ledger::ending`] where an error is the end.
    pub(super) fn ending_by_error(&mut self) -> Option<&mut Running> {
        self.settle(back::ERROR_RESPONSE);
        match self.queue.front()?.in_parts {
            Some(Parts::Undone) => None,
            _ => self.ending(back::ERROR_RESPONSE),
        }
    }

    /// Begins what the first message runs.
    ///
    /// # Errors
    /// A restricted session runs by name what nobody has decided on.
    fn start_known(&mut self, tag: u8) -> Result<Option<&mut Running>, Unexpected> {
        let restricted = self.rules.restricted;
        let running = self.start();
        let is_known = running.as_ref().is_none_or(|running| {
            let inner = running.inner.as_ref();
            inner.is_none_or(|inner| inner.plan().is_some())
        });
        match restricted && !is_known {
            true => Err(Unexpected { tag }),
            false => Ok(running),
        }
    }

    /// The statement that runs, to be told what was decided about it.
    pub fn running_mut(&mut self) -> Option<&mut Running> {
        self.running.as_mut()
    }

    /// pgveil's own Query is being answered.
    pub fn own_is_next(&mut self, tag: u8) -> bool {
        self.settle(tag);
        matches!(
            self.queue.front(),
            Some(Entry {
                sent: Sent::Own,
                ..
            })
        )
    }

    /// Attributes every other answer. `status` is the body of a ReadyForQuery, 0 for other messages.
    ///
    /// # Errors
    /// Nothing that was sent accounts for the message; the ledger is unchanged.
    pub fn answer(&mut self, tag: u8, status: u8) -> Result<Answer, Unexpected> {
        self.settle(tag);
        if tag == back::READY_FOR_QUERY {
            return self.ready(status);
        }
        let unexpected = Unexpected { tag };
        if tag == back::ERROR_RESPONSE {
            return self.failed().ok_or(unexpected);
        }
        let front = self.queue.front_mut().ok_or(unexpected)?;
        if front.finished {
            return Err(unexpected);
        }
        match (&front.sent, tag) {
            (
                Sent::Own,
                back::PARSE_COMPLETE | back::BIND_COMPLETE | back::DATA_ROW | back::CLOSE_COMPLETE,
            ) => Ok(Answer::Own),
            (Sent::Own, back::COMMAND_COMPLETE) => {
                front.answered = 1;
                Ok(Answer::Own)
            }
            (Sent::Compare(_), _) => self.compared(tag).ok_or(unexpected),
            (Sent::Anew { .. }, _) => self.prepared_anew(tag).ok_or(unexpected),
            (Sent::Parse { .. }, back::PARSE_COMPLETE) => Ok(self.parsed()),
            (Sent::Bind { .. }, back::BIND_COMPLETE) => self.bound().ok_or(unexpected),
            (Sent::Close(_), back::CLOSE_COMPLETE) => Ok(self.closed()),
            (Sent::Describe(Target::Statement(_)), back::PARAMETER_DESCRIPTION)
                if front.answered == 0 =>
            {
                front.answered = 1;
                Ok(Answer::Progress)
            }
            (Sent::Describe(target), back::ROW_DESCRIPTION | back::NO_DATA)
                if front.answered == 1 || matches!(target, Target::Portal(_)) =>
            {
                Ok(self.described())
            }
            (Sent::Check(_), back::ROW_DESCRIPTION | back::NO_DATA) => {
                let statement = self.governing_first();
                self.queue.pop_front();
                Ok(Answer::Checked(statement))
            }
            (
                Sent::Query(_),
                back::PARSE_COMPLETE | back::BIND_COMPLETE | back::NO_DATA | back::CLOSE_COMPLETE,
            ) if front.in_parts.is_some() => Ok(Answer::Own),
            (Sent::Query(_), back::ROW_DESCRIPTION) => Ok(self.columns()),
            (
                Sent::Query(_) | Sent::Execute { .. },
                back::COPY_OUT_RESPONSE | back::COPY_BOTH_RESPONSE | back::COPY_DONE,
            ) => Ok(Answer::Progress),
            (Sent::Query(_) | Sent::Execute { .. }, back::COPY_IN_RESPONSE) => {
                self.copy_in_begins();
                Ok(Answer::Progress)
            }
            (
                Sent::Query(_) | Sent::Execute { .. },
                back::COMMAND_COMPLETE | back::EMPTY_QUERY_RESPONSE,
            )
            | (Sent::Execute { .. }, back::PORTAL_SUSPENDED)
            | (Sent::FunctionCall { .. }, back::FUNCTION_CALL_RESPONSE) => {
                self.ended(tag).ok_or(unexpected)
            }
            _ => Err(unexpected),
        }
    }

    /// Takes off what the server has passed over in silence before it sent `tag`.
    fn settle(&mut self, tag: u8) {
        while let Some(front) = self.queue.front() {
            let passed = match front.sent {
                Sent::CopyEnd => !self.copying,
                Sent::Sync if front.may_be_ignored && tag != back::READY_FOR_QUERY => {
                    tag != back::ERROR_RESPONSE || self.queue.len() > 1
                }
                _ => false,
            };
            if !passed {
                return;
            }
            if matches!(front.sent, Sent::Sync) {
                self.surplus += 1;
            }
            self.queue.pop_front();
        }
    }

    pub(super) fn parsed(&mut self) -> Answer {
        if let Some(Entry {
            sent: Sent::Parse { name, source },
            ..
        }) = self.queue.pop_front()
        {
            self.names.prepare(name, Statement::new(source, 0));
        }
        self.running = None;
        Answer::Progress
    }

    /// In a restricted session the server must have bound what was meant when the Bind was let through: another text is
    /// not, nor one that was decided on under another search path or policy.
    pub(super) fn bound(&mut self) -> Option<Answer> {
        let Some(Entry {
            sent:
                Sent::Bind {
                    portal,
                    statement,
                    meant,
                    denied,
                },
            ..
        }) = self.queue.front()
        else {
            return None;
        };
        let actual = self.names.prepared(statement);
        if self.rules.restricted {
            let agreed = match (meant, actual) {
                (Some(meant), Some(actual)) => {
                    meant.index == actual.index && meant.source.is_alike(&actual.source)
                }
                _ => false,
            };
            if !agreed || denied.is_some() {
                return None;
            }
        }
        let mut bound = actual.or(meant.as_ref()).cloned();
        if let (Some(bound), Some(meant)) = (&mut bound, meant) {
            bound.arguments = meant.arguments;
            bound.values = meant.values.clone();
            bound.grant.clone_from(&meant.grant);
            bound.sprung.clone_from(&meant.sprung);
        }
        let portal = portal.clone();
        match bound {
            Some(statement) => self.names.bind(portal, statement),
            None => self.names.close(&Target::Portal(portal)),
        }
        self.queue.pop_front();
        self.running = None;
        Some(Answer::Progress)
    }

    fn closed(&mut self) -> Answer {
        if let Some(Entry {
            sent: Sent::Close(target),
            ..
        }) = self.queue.pop_front()
        {
            self.names.close(&target);
        }
        Answer::Progress
    }

    /// The statement whose relations the first message is about.
    fn governing_first(&self) -> Option<Statement> {
        let First {
            statement, inner, ..
        } = self.first()?;
        Some(inner.map_or(statement, |inner| inner.statement))
    }

    fn described(&mut self) -> Answer {
        let statement = self.governing_first();
        let hidden = statement.as_ref().is_some_and(Statement::hides_rows);
        self.queue.pop_front();
        match hidden {
            true => Answer::HiddenColumns { described: true },
            false => Answer::Columns(statement),
        }
    }

    fn columns(&mut self) -> Answer {
        match self.start() {
            Some(running) if running.hides_rows() => Answer::HiddenColumns { described: false },
            running => Answer::Columns(running.map(|running| running.governing().clone())),
        }
    }

    /// `G`: what was sent up to the client's end of the copy is read by the COPY, which ignores Sync.
    fn copy_in_begins(&mut self) {
        self.start();
        self.copying = true;
        self.absorbing = true;
        let mut end = None;
        for (index, entry) in self.queue.iter_mut().enumerate().skip(1) {
            match entry.sent {
                Sent::Sync => entry.may_be_ignored = true,
                Sent::CopyEnd => {
                    end = Some(index);
                    break;
                }
                _ => {}
            }
        }
        if let Some(index) = end {
            self.queue.remove(index);
            self.absorbing = false;
        }
        // As with those that are sent from now on: one stands for many.
        let (mut follows, before) = (false, self.queue.len());
        self.queue.retain(|entry| {
            let repeats = follows && entry.may_be_ignored;
            follows = entry.may_be_ignored;
            !repeats
        });
        self.surplus += before - self.queue.len();
    }

    fn copy_in_ends(&mut self, well: bool) {
        if !self.copying {
            return;
        }
        self.copying = false;
        self.absorbing = false;
        if well {
            // Every answer before this one has come: so has every ReadyForQuery that was in doubt.
            self.surplus = 0;
            self.queue.retain(|entry| !entry.may_be_ignored);
        }
    }

    fn ended(&mut self, tag: u8) -> Option<Answer> {
        let front = self.queue.front()?;
        if matches!(
            front.sent,
            Sent::Execute {
                denied: Some(_),
                ..
            } | Sent::FunctionCall {
                denied: Some(_),
                ..
            }
        ) {
            return None;
        }
        self.start_known(tag).ok()??;
        let front = self.queue.front()?;
        if self.rules.restricted
            && let Sent::Query(source) = &front.sent
        {
            // A statement that the plan does not know of has run.
            let planned = source.statements().len();
            if tag == back::COMMAND_COMPLETE && front.answered >= planned {
                return None;
            }
        }
        self.copy_in_ends(true);
        let running = self.take_running()?;
        if tag == back::COMMAND_COMPLETE {
            let within = running.portal.as_ref().map(|portal| &portal.name);
            self.names.completed(&running.statement, within);
        }
        let front = self.queue.front_mut()?;
        match front.sent {
            Sent::Query(_) => {
                front.answered += 1;
                front.finished = tag == back::EMPTY_QUERY_RESPONSE;
            }
            Sent::FunctionCall { .. } => front.finished = true,
            _ => {
                self.queue.pop_front();
            }
        }
        Some(Answer::Ended(Box::new(running)))
    }

    /// The statement that has ended; what of it went out counts for its portal.
    fn take_running(&mut self) -> Option<Running> {
        let running = self.running.take()?;
        for portal in running.portals() {
            self.names.portals.advance(portal, running.meter.total());
        }
        Some(running)
    }

    fn failed(&mut self) -> Option<Answer> {
        self.names.portals.failed();
        if self.own_is_next(back::ERROR_RESPONSE) {
            self.queue.front_mut()?.finished = true;
            return Some(Answer::Own);
        }
        let front = self.queue.front_mut()?;
        if front.finished {
            return None;
        }
        if front.in_parts == Some(Parts::Undone) {
            front.finished = true;
            return Some(Answer::Own);
        }
        if matches!(front.sent, Sent::Undo) {
            self.skip_to_sync();
            return Some(Answer::Own);
        }
        self.start()?;
        let running = self.take_running()?;
        self.copy_in_ends(false);
        let refusal = self.refusal(&running);
        match self.queue.front_mut() {
            Some(front)
                if matches!(
                    front.sent,
                    Sent::Query(_) | Sent::FunctionCall { .. } | Sent::Sync
                ) =>
            {
                // A Sync may be answered by an error, that of the commit, and then by ReadyForQuery.
                front.finished = true;
            }
            _ => self.skip_to_sync(),
        }
        Some(Answer::Failed(Box::new(Failure { running, refusal })))
    }

    fn refusal(&self, running: &Running) -> Option<crate::sql::plan::Refusal> {
        match &self.queue.front()?.sent {
            Sent::Bind { denied, .. }
            | Sent::Execute { denied, .. }
            | Sent::FunctionCall { denied, .. } => denied.clone(),
            Sent::Query(_) | Sent::Parse { .. } => running.statement.refusal().cloned(),
            _ => None,
        }
    }

    fn skip_to_sync(&mut self) {
        if let Some(Entry {
            sent: Sent::Parse { name, .. } | Sent::Anew { name, .. },
            ..
        }) = self.queue.pop_front()
        {
            self.names.begin_parse(&name);
        }
        while let Some(front) = self.queue.front() {
            if matches!(front.sent, Sent::Sync) {
                // If the Sync was ignored, the server goes on skipping to the next one.
                if !self.queue.iter().any(Entry::ends_batch) {
                    self.batch = self.batch.max(Batch::Open);
                    self.may_skip = true;
                }
                return;
            }
            self.queue.pop_front();
        }
        self.skipping = true;
    }

    fn ready(&mut self, status: u8) -> Result<Answer, Unexpected> {
        let unexpected = Unexpected {
            tag: back::READY_FOR_QUERY,
        };
        let answered = self.queue.front().is_some_and(|front| match front.sent {
            Sent::Sync => true,
            Sent::Query(_) | Sent::Own => front.finished || front.answered > 0,
            Sent::FunctionCall { .. } => front.finished,
            _ => false,
        });
        if answered {
            self.pop_ignored_syncs().ok_or(unexpected)?;
        } else {
            self.surplus = self.surplus.checked_sub(1).ok_or(unexpected)?;
        }
        self.running = None;
        self.may_skip = false;
        self.transaction = Some(status);
        if status == b'I' {
            self.names.portals.committed();
        }
        if !answered {
            return Ok(Answer::Ready);
        }
        let front = self.queue.pop_front();
        let own = matches!(front.as_ref().map(|front| &front.sent), Some(Sent::Own));
        let by_query = matches!(front.map(|front| front.sent), Some(Sent::Query(_)));
        if by_query {
            self.names.drop_unnamed();
        }
        // Behind messages without a Sync a Query may be in an implicit transaction block, which its end does not end but a
        // Sync does (`XACT_FLAGS_PIPELINING`, from PostgreSQL 16.7 and 17.3 on). One that has failed is gone.
        let may_be_implicit = by_query && status == b'T' && self.runs_in_batch();
        if self.queue.is_empty() && !self.skipping && !may_be_implicit {
            self.batch = Batch::Closed;
        }
        Ok(if own { Answer::OwnReady } else { Answer::Ready })
    }

    /// Of Syncs that a COPY may have ignored, followed by one that it cannot have, the latter is the likely one.
    ///
    /// `None`: they are followed by something else, and whether that was skipped cannot be told. To guess would
    /// attribute rows to the wrong statement, so a restricted session ends here.
    fn pop_ignored_syncs(&mut self) -> Option<()> {
        let passed = self
            .queue
            .iter()
            .take_while(|entry| entry.may_be_ignored || matches!(entry.sent, Sent::CopyEnd))
            .count();
        if passed == 0 {
            return Some(());
        }
        match self.queue.get(passed) {
            Some(entry) if matches!(entry.sent, Sent::Sync) => {
                let entries = self.queue.drain(..passed);
                self.surplus += entries.filter(|entry| entry.may_be_ignored).count();
                Some(())
            }
            Some(_) if self.rules.restricted => None,
            _ => Some(()),
        }
    }
}
