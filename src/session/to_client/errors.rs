//! Errors and notices: attributed, recorded, turned into denials, scrubbed.
use super::{Flow, ToClient};
use crate::session::burst::READ_BUFFER;
use crate::session::denial;
use crate::session::host::Host;
use crate::session::ledger::{Answer, Failure};
use crate::session::record::Outcome;
use crate::session::scrub::{self, Reach};
use crate::session::shared::State;
use crate::session::statements::Statement;
use crate::sql::plan::StatementPlan;
use crate::wire::error::{ERROR_RESPONSE, ErrorFields, NOTICE_RESPONSE};
use crate::wire::frame::{HELD_FRAME, Header};

/// undefined_table, undefined_column, undefined_function, undefined_object, invalid_schema_name.
const OUTDATED: &[&str] = &["42P01", "42703", "42883", "42704", "3F000"];

impl<H: Host> ToClient<'_, H> {
    pub(super) fn error(&mut self, state: &mut State, header: Header) -> Flow {
        let Some(fields) = self.fields(state, header) else {
            return Flow::Wait;
        };
        if matches!(fields.severity.as_str(), "FATAL" | "PANIC") {
            return self.server_ends(state, header, &fields);
        }
        if let Some(flow) = Self::counts_failure(state, &fields) {
            return flow;
        }
        match state.ledger.answer(header.tag, 0) {
            Ok(Answer::Own) => {
                self.burst.discard(header);
                Flow::Next
            }
            Ok(Answer::Failed(failure)) => self.failed(state, header, &fields, &failure),
            Ok(_) | Err(_) => {
                state.made.failed();
                state.foreseen = None;
                let words = state
                    .restricted
                    .then(|| scrub::error(&fields, None, Reach::Rows));
                self.say(state, header, words)
            }
        }
    }

    /// What was raised by rows of protected relations may tell of them: it counts. `Some`: it must be decided on.
    fn counts_failure(state: &mut State, fields: &ErrorFields) -> Option<Flow> {
        if !state.restricted || state.own.is_some() || !scrub::may_be_of_rows(fields) {
            return None;
        }
        let limit = state.ledger.fails()?;
        Some(Flow::Deciding { limit, weight: 1 })
    }

    /// The backend ends: the statement that was running ends on record with it.
    fn server_ends(&mut self, state: &mut State, header: Header, fields: &ErrorFields) -> Flow {
        state.ending = true;
        // What was sent behind it is not run.
        if let Some(running) = state.ledger.cut_off().into_iter().next() {
            let outcome = Outcome {
                sqlstate: Some(&fields.sqlstate),
                ..Outcome::default()
            };
            if let Some(ended) = self.put_on_record(state, &running, &outcome) {
                return ended;
            }
        }
        let words = state
            .restricted
            .then(|| scrub::error(fields, None, Reach::Rows));
        state.muted = false;
        self.say(state, header, words)
    }

    fn failed(
        &mut self,
        state: &mut State,
        header: Header,
        fields: &ErrorFields,
        failure: &Failure,
    ) -> Flow {
        self.copies_binary = false;
        self.tag = None;
        state.made.failed();
        state.foreseen = None;
        let running = &failure.running;
        let words = self.words(state, fields, failure);
        let outcome = Outcome {
            sqlstate: Some(words.as_ref().map_or(&fields.sqlstate, |w| &w.sqlstate)),
            refusal: failure.refusal.as_ref(),
            ..Outcome::default()
        };
        if let Some(ended) = self.put_on_record(state, running, &outcome) {
            return ended;
        }
        if failure.refusal.is_none() {
            state.ledger.names.failed(&running.statement, fields);
        }
        if running.stores_rows()
            && state.ledger.limits_of(&running.statement).0.limits()
            && let Some(plan) = running.governing().plan()
        {
            state.spoil(plan);
        }
        // The plan was made for a schema that is gone: one that was changed beside pgveil since the catalog was read.
        state.schema_changed |= state.restricted
            && failure.refusal.is_none()
            && OUTDATED.contains(&fields.sqlstate.as_str());
        // Settings made in what the error undoes go back.
        state.dirty |= state.rereads(state.touched);
        state.temporary_dirty |= state.touched.temporary;
        self.say(state, header, words)
    }

    /// What the client is told; `None`: the server's own bytes.
    fn words(&self, state: &State, fields: &ErrorFields, failure: &Failure) -> Option<ErrorFields> {
        let running = &failure.running;
        if let Some(stop) = &running.stopped {
            return Some(stop.words.clone());
        }
        if let Some(refusal) = &failure.refusal
            && !denial::outranks(fields, refusal)
            && !denial::is_own_syntax_error(fields, refusal)
        {
            return Some(denial::of_refusal(refusal));
        }
        if !state.restricted {
            return None;
        }
        if let Some(words) = denial::of_check(fields, running.governing().plan()) {
            return Some(words);
        }
        let positions = denial::positions(&running.statement.source);
        let mut words = scrub::error(fields, positions, reach(state, Some(&running.statement)));
        if let Some(plan) = running.governing().plan() {
            words.detail = words
                .detail
                .or_else(|| scrub::detail_of_own_row(fields, &plan.open_targets))
                .or_else(|| scrub::detail_of_key(fields));
        }
        if running.inner.is_some() {
            // It counts characters of the text that was prepared, not of this one.
            words.position = None;
        }
        Some(words)
    }

    /// An error in the server's place, or the server's own.
    fn say(&mut self, state: &State, header: Header, words: Option<ErrorFields>) -> Flow {
        match words {
            Some(words) if !state.muted => {
                self.burst.put(&state.encoded(&words, ERROR_RESPONSE));
                self.burst.discard(header);
                Flow::Next
            }
            _ => self.pass(state, header),
        }
    }

    pub(super) fn notice(&mut self, state: &mut State, header: Header) -> Flow {
        if !state.restricted {
            return self.pass(state, header);
        }
        let Some(fields) = self.fields(state, header) else {
            return Flow::Wait;
        };
        let own = state.ledger.own_is_next(header.tag);
        let statement = state.ledger.current();
        let positions = statement
            .as_ref()
            .and_then(|statement| denial::positions(&statement.source));
        let mut words = scrub::notice(&fields, positions, reach(state, statement.as_ref()));
        let dropped = statement.as_ref().and_then(Statement::plan);
        if let Some(plan) = dropped.filter(|_| fields.message == NO_TEMPORARY_SCHEMA) {
            words.message = not_there(plan);
        }
        if !own && !state.muted && !may_stand_for_rows(state, statement.as_ref(), &words) {
            self.burst.put(&state.encoded(&words, NOTICE_RESPONSE));
        }
        self.burst.discard(header);
        Flow::Next
    }

    /// The fields of an error or notice; `None` while more of it must be read. Of one that is too long to be held the
    /// head must do: severity and SQLSTATE come first (`send_message_to_frontend`, elog.c).
    fn fields(&self, state: &State, header: Header) -> Option<ErrorFields> {
        if let Some(body) = self.burst.body(header) {
            let body = state.encodings.charset().decode_lossy(body);
            return Some(ErrorFields::parse(body.as_bytes()).unwrap_or_else(|_| unreadable()));
        }
        let seen = self.burst.seen(header);
        let held = header.length <= HELD_FRAME || seen.len() < READ_BUFFER / 2;
        (!held).then(|| head_of(seen))
    }
}

/// A cursor WITH HOLD is computed when its transaction ends, whatever statement that is.
fn reach(state: &State, statement: Option<&Statement>) -> Reach {
    match statement {
        Some(statement) if !state.ledger.names.portals.any_held() => Reach::of(statement),
        _ => Reach::Rows,
    }
}

/// DROP ... IF EXISTS of a name that planning put into the session's temporary schema, which there is none of yet.
const NO_TEMPORARY_SCHEMA: &str = "schema \"pg_temp\" does not exist, skipping";

/// The notice in the words for a name without a schema.
fn not_there(plan: &StatementPlan) -> String {
    let what = [
        "index",
        "sequence",
        "view",
        "materialized view",
        "foreign table",
    ]
    .into_iter()
    .find(|what| {
        plan.normalised
            .to_ascii_lowercase()
            .starts_with(&format!("drop {what}"))
    })
    .unwrap_or("table");
    match plan.writes.as_slice() {
        [only] => {
            let name = only.strip_prefix("pg_temp.").unwrap_or(only);
            format!("{what} \"{name}\" does not exist, skipping")
        }
        _ => format!("{what} does not exist, skipping"),
    }
}

fn unreadable() -> ErrorFields {
    ErrorFields::error("XX000", "the server's error could not be read")
}

fn head_of(seen: &[u8]) -> ErrorFields {
    let mut fields = unreadable();
    let complete = seen.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    let parts = seen.get(..complete).unwrap_or_default();
    for part in parts.split(|byte| *byte == 0) {
        let Some((code, text)) = part.split_first() else {
            break;
        };
        let text = || String::from_utf8_lossy(text).into_owned();
        match code {
            b'V' => fields.severity = text(),
            b'C' => fields.sqlstate = text(),
            _ => {}
        }
    }
    fields
}

/// Whether notices, by their number and kinds, could say what rows hold that nobody counts: those whose words are withheld, of
/// a statement over protected relations, where rows are limited.
fn may_stand_for_rows(state: &State, statement: Option<&Statement>, words: &ErrorFields) -> bool {
    let limited = |statement: &Statement| {
        let runs_another = state.ledger.names.inner(statement).is_some();
        (statement.protected() || runs_another) && state.ledger.limits_of(statement).0.limits()
    };
    words.message == scrub::WITHHELD_NOTICE && statement.is_some_and(limited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_long_error_tells_its_state() {
        let mut body = b"SFEHLER\0VERROR\0C22P02\0Minvalid input".to_vec();
        body.extend(std::iter::repeat_n(b'x', 1000));
        let fields = head_of(&body);
        assert_eq!(fields.severity, "ERROR");
        assert_eq!(fields.sqlstate, "22P02");
        assert!(!fields.message.contains('x'));
    }
}
