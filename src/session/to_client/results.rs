//! Rows, their descriptions, and the ends of statements.
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::BytesMut;

use super::{Flow, ToClient, end, traps};
use crate::audit::sealed::Clear;
use crate::export::weight;
use crate::session::charset::Charset;
use crate::session::denial;
use crate::session::describe;
use crate::session::host::{Host, Unrecorded};
use crate::session::ledger::{Answer, Counted, Running};
use crate::session::messages;
use crate::session::record::{self, Outcome};
use crate::session::settings;
use crate::session::shared::{Said, State};
use crate::session::statements::Statement;
use crate::session::subjects::{self, SubjectColumns};
use crate::sql::packing::Packed;
use crate::sql::plan::Effect;
use crate::wire::error::ERROR_RESPONSE;
use crate::wire::frame::{Fields, HEADER_LEN, HELD_FRAME, Header, back, put_frame};

/// The result of a statement was described, and nothing speaks against it.
pub(super) fn described(statement: Option<&Statement>) {
    if let Some(statement) = statement {
        statement.source.described.store(true, Ordering::Relaxed);
    }
}

/// Ends binary COPY data (copyto.c).
const COPY_TRAILER: &[u8] = &[0xff, 0xff];

/// A whole NoData message.
const NO_DATA: [u8; 5] = [back::NO_DATA, 0, 0, 0, 4];

/// What counting a row needs to know of its statement.
struct RowFacts {
    protected: bool,
    packed: Packed,
    subjects: Option<Arc<SubjectColumns>>,
}

impl RowFacts {
    fn of(running: &Running, sees_people: bool) -> Self {
        let governing = running.governing();
        RowFacts {
            protected: governing.protected(),
            packed: governing
                .plan()
                .map(|plan| plan.packed.clone())
                .unwrap_or_default(),
            // FETCH and EXECUTE are described for themselves.
            subjects: match sees_people {
                true => running
                    .statement
                    .subjects()
                    .or_else(|| governing.subjects()),
                false => None,
            },
        }
    }
}

impl RowFacts {
    /// Nothing in a row but its length says for how many it counts.
    fn weighs_by_length(&self) -> bool {
        self.packed.columns.is_none() && self.subjects.is_none()
    }

    fn by_length(&self, bytes: u64) -> u64 {
        weight::of_bytes(bytes).max(u64::from(self.packed.side_by_side))
    }
}

impl<H: Host> ToClient<'_, H> {
    pub(super) fn row(&mut self, state: &mut State, header: Header) -> Flow {
        if state.ledger.own_is_next(header.tag) {
            return self.own_row(state, header);
        }
        if header.tag == back::COPY_DATA && self.copies_binary && header.body() == 2 {
            match self.burst.body(header) {
                Some(COPY_TRAILER) => return self.pass(state, header),
                Some(_) => {}
                None => return Flow::Wait,
            }
        }
        if let Err(error) = state.ledger.row_of(header.tag) {
            return self.unexpected(state, header, error);
        }
        let (facts, traps) = match state.ledger.running() {
            Some(running) => {
                let (export, _) = state.ledger.limits_of(&running.statement);
                let sees_people = !state.role_of(&running.statement).subjects.is_empty();
                (
                    export.limits().then(|| RowFacts::of(running, sees_people)),
                    traps::set_for(running),
                )
            }
            None => (None, Vec::new()),
        };
        if !traps.is_empty() && !self.look_for(state, header, &traps) {
            return Flow::Wait;
        }
        let facts = facts.filter(|facts| facts.protected);
        let weighed = match &facts {
            Some(facts) => {
                // The server tells of another encoding behind the rows that it sent in it.
                let charset = (!state.unsettled).then(|| state.encodings.charset());
                self.weigh(header, facts, charset)
            }
            None => Some((1, Vec::new())),
        };
        let Some((weight, subjects)) = weighed else {
            return Flow::Wait;
        };
        let bytes = header.total() as u64;
        match state.ledger.count(bytes, weight, &subjects) {
            Counted::Out => {
                let passed = self.pass(state, header);
                // A row that may spring a trap is looked at for itself.
                if traps.is_empty() && facts.as_ref().is_none_or(RowFacts::weighs_by_length) {
                    self.rows_alike(state, header.tag, facts.as_ref());
                }
                passed
            }
            Counted::Hidden | Counted::Stopped => {
                self.burst.discard(header);
                Flow::Next
            }
            Counted::Over(limit) => Flow::Deciding { limit, weight },
        }
    }

    /// Further rows of the same result that have been read whole and go out: what holds for one of them holds for all. A
    /// row that does not go out is left to the walk.
    fn rows_alike(&mut self, state: &mut State, tag: u8, facts: Option<&RowFacts>) {
        while !state.muted
            && self.burst.at_boundary()
            && let Ok(Some(header)) = self.burst.header()
            && header.tag == tag
            && self.burst.body(header).is_some()
        {
            // It may be the end of binary COPY data.
            if tag == back::COPY_DATA && self.copies_binary && header.body() == 2 {
                return;
            }
            let bytes = header.total() as u64;
            let weight = facts.map_or(1, |facts| facts.by_length(bytes));
            match state.ledger.count(bytes, weight, &[]) {
                Counted::Out => self.burst.forward(header),
                Counted::Hidden | Counted::Stopped | Counted::Over(_) => return,
            }
        }
    }

    /// For how many rows a row counts, and the rows of protected relations that it shows. `None`: more of it must be read.
    /// `charset`: of the texts; `None`: it cannot be told.
    fn weigh(
        &self,
        header: Header,
        facts: &RowFacts,
        charset: Option<Charset>,
    ) -> Option<(u64, Vec<i64>)> {
        let bytes = header.total() as u64;
        if facts.weighs_by_length() {
            return Some((facts.by_length(bytes), Vec::new()));
        }
        let by_bytes = weight::of_bytes(bytes);
        let gathers = facts.packed.columns.is_some();
        if header.length > HELD_FRAME {
            let unseen = if gathers {
                weight::of_unseen(bytes, &facts.packed)
            } else {
                by_bytes
            };
            return Some((unseen, Vec::new()));
        }
        let body = self.burst.body(header)?;
        let mut weight = by_bytes.max(u64::from(facts.packed.side_by_side));
        if gathers {
            let packed = &facts.packed;
            let columns = packed.columns.iter();
            let mut separators = columns.flat_map(|columns| columns.separators());
            let found = charset.is_some_and(|charset| separators.all(|text| charset.keeps(text)));
            let read: weight::Reading<'_> = &|text| match charset {
                _ if !found => None,
                _ if text.is_ascii() => weight::as_it_is(text),
                Some(Charset::Utf8) => std::str::from_utf8(text).ok().map(|_| text.into()),
                Some(charset) => charset.decode(text).ok().map(bytes_of),
                None => None,
            };
            weight = weight.max(match header.tag {
                back::COPY_DATA if !self.copies_binary => weight::of_line(body, packed, read),
                _ => match subjects::values(body) {
                    Ok(values) => weight::of_values(&values, packed, read),
                    // The header of binary COPY stands before its first row.
                    Err(_) => weight::of_unseen(bytes, packed),
                },
            });
        }
        let shown = facts
            .subjects
            .as_ref()
            .filter(|_| header.tag == back::DATA_ROW);
        let shown = shown.and_then(|columns| columns.shown(body).ok());
        Some((weight, shown.unwrap_or_default()))
    }

    /// The only column of a row that pgveil asked for.
    fn own_row(&mut self, state: &mut State, header: Header) -> Flow {
        let Some(body) = self.burst.body(header) else {
            return Flow::Wait;
        };
        let mut fields = Fields::new(body);
        let value = fields
            .int16()
            .and_then(|_| fields.int32())
            .and_then(|length| fields.bytes(usize::try_from(length).unwrap_or(usize::MAX)));
        if let (Ok(value), Some(own)) = (value, state.own.as_mut()) {
            own.row(value, state.encodings.charset());
        }
        self.burst.discard(header);
        Flow::Next
    }

    pub(super) fn columns(&mut self, state: &mut State, header: Header) -> Flow {
        if self.burst.body(header).is_none() {
            return Flow::Wait;
        }
        self.compare(state, header);
        let (statement, for_client) = match state.ledger.answer(header.tag, 0) {
            Ok(Answer::Own) => {
                self.burst.discard(header);
                return Flow::Next;
            }
            Ok(Answer::Columns(statement)) => (statement, true),
            Ok(Answer::Checked(statement)) => (statement, false),
            Ok(Answer::HiddenColumns { described }) => {
                if described && !state.muted {
                    self.burst.put(&NO_DATA);
                }
                self.burst.discard(header);
                return Flow::Next;
            }
            Ok(_) => (None, true),
            Err(error) => return self.unexpected(state, header, error),
        };
        if !state.restricted {
            self.note_subjects(state, header, statement.as_ref());
            return self.pass(state, header);
        }
        if let Err(what) = self.check_columns(state, header, statement.as_ref()) {
            return self.violation(state, what);
        }
        if for_client {
            return self.pass(state, header);
        }
        self.burst.discard(header);
        Flow::Next
    }

    /// The second line of defence: no masked column may come back as itself. Then restores what masks and fences
    /// hid of the columns' metadata: people seen are told by it.
    fn check_columns(
        &mut self,
        state: &State,
        header: Header,
        statement: Option<&Statement>,
    ) -> Result<(), String> {
        let malformed = || "a malformed RowDescription".to_owned();
        let body = self.burst.body_mut(header).ok_or_else(malformed)?;
        // Statements on their way when another policy came into force are held to the one they were planned under.
        let source = statement.map(|statement| &statement.source);
        let own = source.and_then(|source| match &source.clear {
            Some(clear) => Some(&*clear.role),
            None => source.role.as_deref(),
        });
        match describe::raw_column(body, own.unwrap_or(&state.role)) {
            Ok(None) => {}
            Ok(Some(raw)) => {
                return Err(format!(
                    "column {} of relation {} is masked for the role and came back as a plain column",
                    raw.column, raw.relation
                ));
            }
            Err(_) => return Err(malformed()),
        }
        if let Some(plan) = statement.and_then(Statement::plan)
            && !plan.origins.is_empty()
        {
            describe::restore(body, &plan.origins, state.encodings.charset())
                .map_err(|_| malformed())?;
        }
        note_subjects(body, state, statement);
        described(statement);
        Ok(())
    }

    /// Of a role that is not enforced: where people are named in the rows is counted, and nothing else looked at.
    fn note_subjects(&self, state: &State, header: Header, statement: Option<&Statement>) {
        if let (false, Some(body)) = (state.role.subjects.is_empty(), self.burst.body(header)) {
            note_subjects(body, state, statement);
        }
    }

    /// A statement has ended well: its record comes first.
    pub(super) fn ended(
        &mut self,
        state: &mut State,
        header: Header,
        running: &mut Running,
    ) -> Flow {
        self.copies_binary = false;
        if running.stopped.is_some() {
            return self.export_stopped(state, header, running);
        }
        let outcome = Outcome {
            affected: record::affected(&self.command_tag(header)),
            ..Outcome::default()
        };
        if let Some(ended) = self.put_on_record(state, running, &outcome) {
            return ended;
        }
        self.follow(state, running, &self.command_tag(header));
        if state.ledger.ends_in_parts() && !state.muted {
            let body = self.burst.body(header).unwrap_or_default();
            let mut tag = BytesMut::with_capacity(HEADER_LEN + body.len());
            put_frame(&mut tag, header.tag, body);
            self.tag = Some(tag);
            self.burst.discard(header);
            return Flow::Next;
        }
        self.pass(state, header)
    }

    /// Empty for what is no CommandComplete.
    pub(super) fn command_tag(&self, header: Header) -> Cow<'_, str> {
        let body = match header.tag {
            back::COMMAND_COMPLETE => self.burst.body(header).unwrap_or_default(),
            _ => &[],
        };
        let text = Fields::new(body).string().unwrap_or_default();
        String::from_utf8_lossy(text)
    }

    /// The server had sent everything before the cancel reached it. It knows of no error, so the client is kept from
    /// what follows in the same Query or batch.
    fn export_stopped(&mut self, state: &mut State, header: Header, running: &Running) -> Flow {
        let Some(stop) = &running.stopped else {
            return Flow::Next;
        };
        let words = &stop.words;
        let outcome = Outcome {
            sqlstate: Some(&words.sqlstate),
            ..Outcome::default()
        };
        if let Some(ended) = self.put_on_record(state, running, &outcome) {
            return ended;
        }
        if !state.muted {
            self.burst.put(&state.encoded(words, ERROR_RESPONSE));
        }
        self.burst.discard(header);
        state.muted = true;
        state.dropping = !state.ledger.awaits_ready();
        Flow::Next
    }

    /// What a statement that has run did to the session.
    fn follow(&self, state: &mut State, running: &Running, tag: &str) {
        let Some(plan) = running.statement.plan() else {
            return;
        };
        for effect in &plan.effects {
            if let Effect::Reason(reason) = effect {
                state.reason = reason.clone().map(|reason| Said {
                    reason,
                    by: Arc::clone(&running.statement.source.claim),
                });
            }
        }
        state.schema_changed |= plan.effects.contains(&Effect::SchemaChanged);
        let own = !state.made.is_empty();
        let inner = running.inner.as_ref().map(Statement::plan);
        state
            .made
            .follow(plan, tag, settings::ran_code(plan, inner));
        state.has_made(plan, &running.statement.source.claim);
        let mut touched = settings::touched(plan);
        if let Some(inner) = &running.inner {
            touched.merge(settings::touched_by(inner.plan()));
        }
        touched.temporary |= own && settings::runs_code(plan);
        state.dirty |= state.rereads(touched);
        state.temporary_dirty |= touched.temporary;
        // COMMIT of a failed transaction is answered by ROLLBACK.
        if tag == "ROLLBACK" || settings::ends_transaction(plan.kind) {
            state.dirty |= state.rereads(state.touched);
            state.temporary_dirty |= state.touched.temporary;
        }
    }

    /// Writes the record of a statement. `Some`: it could not be, and the session ends.
    pub(super) fn put_on_record(
        &mut self,
        state: &mut State,
        running: &Running,
        outcome: &Outcome<'_>,
    ) -> Option<Flow> {
        match put_on_record(&**self.host, state, running, outcome) {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(%error, "the session is ended");
                Some(end(denial::of_audit()))
            }
        }
    }
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// What was under way ends on record with the session: rows of it may have been seen, and what the server had got may have
/// been done.
pub fn end_running<H: Host>(host: &H, state: &mut State, sqlstate: &str) {
    let outcome = Outcome {
        sqlstate: Some(sqlstate),
        ..Outcome::default()
    };
    for running in state.ledger.cut_off() {
        // The session ends in any case.
        if let Err(error) = put_on_record(host, state, &running, &outcome) {
            tracing::error!(%error, "the last statement of a session is not on record");
        }
    }
}

/// Keeps where in its rows a statement names the rows of protected relations.
fn note_subjects(description: &[u8], state: &State, statement: Option<&Statement>) {
    if let Some(statement) = statement
        && let Ok(subjects) = SubjectColumns::of(description, state.role_of(statement))
        && !subjects.is_empty()
    {
        statement.has_subjects(subjects);
    }
}

fn put_on_record<H: Host>(
    host: &H,
    state: &mut State,
    running: &Running,
    outcome: &Outcome<'_>,
) -> Result<(), Unrecorded> {
    let duration = Instant::now().saturating_duration_since(running.since);
    let mut record = state.recorder.statement(running, outcome, duration);
    if state.role_of(&running.statement).full_text
        && let Some(clear) = clear(&running.statement)
    {
        record.sealed = host.seal(&clear).map(Box::new);
    }
    let protected = running
        .governing()
        .plan()
        .is_some_and(|plan| plan.protected);
    host.record(&record, protected)
}

/// A statement with its values.
fn clear(statement: &Statement) -> Option<Clear> {
    let text = statement.source.text.as_deref()?;
    let (from, to) = statement.span().unwrap_or((0, text.len()));
    let values = statement.values.as_deref();
    Some(Clear {
        text: text.get(from..to).unwrap_or(text).to_owned(),
        parameters: values.and_then(messages::read_values),
    })
}
