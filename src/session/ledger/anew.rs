//! Statements that pgveil prepares anew, and the question before it: whether the client would notice.
use super::{Answer, Ledger, Sent};
use crate::session::describe;
use crate::session::statements::Statement;
use crate::wire::frame::back;

/// Close of pgveil's own name, Describe of what is there, Parse and Describe of what is to be there, Close.
const ANSWERS: [&[u8]; 7] = [
    &[back::CLOSE_COMPLETE],
    &[back::PARAMETER_DESCRIPTION],
    &[back::ROW_DESCRIPTION, back::NO_DATA],
    &[back::PARSE_COMPLETE],
    &[back::PARAMETER_DESCRIPTION],
    &[back::ROW_DESCRIPTION, back::NO_DATA],
    &[back::CLOSE_COMPLETE],
];
/// Answers from this one on describe what is to be there.
const NOW: usize = 3;

/// What the server says of a prepared statement and of what is to go by its name.
#[derive(Debug)]
pub struct Comparison {
    /// What is to go by the name.
    pub statement: Statement,
    then: Vec<u8>,
    now: Vec<u8>,
}

impl Comparison {
    pub const fn of(statement: Statement) -> Self {
        Comparison {
            statement,
            then: Vec::new(),
            now: Vec::new(),
        }
    }
}

impl Ledger {
    /// Takes a description that the server gives of what is compared. Of every other message it does nothing.
    pub fn compare(&mut self, tag: u8, body: &[u8]) {
        let Some(front) = self.queue.front_mut() else {
            return;
        };
        let Sent::Compare(comparison) = &mut front.sent else {
            return;
        };
        let side = match front.answered < NOW {
            true => &mut comparison.then,
            false => &mut comparison.now,
        };
        side.push(tag);
        match (tag, describe::fields(body)) {
            (back::ROW_DESCRIPTION, Ok(fields)) => {
                for field in fields {
                    side.extend_from_slice(field.name);
                    side.push(0);
                    side.extend_from_slice(&field.data_type.to_be_bytes());
                }
            }
            _ => side.extend_from_slice(body),
        }
    }

    /// An answer to what is compared; `None`: it is none.
    pub(super) fn compared(&mut self, tag: u8) -> Option<Answer> {
        let front = self.queue.front_mut()?;
        let Sent::Compare(comparison) = &front.sent else {
            return None;
        };
        if !ANSWERS.get(front.answered)?.contains(&tag) {
            return None;
        }
        front.answered += 1;
        if front.answered == ANSWERS.len() {
            self.alike = comparison.then == comparison.now;
            self.queue.pop_front();
        }
        Some(Answer::Own)
    }

    /// Whether what was compared last is alike to the client.
    pub fn take_alike(&mut self) -> bool {
        std::mem::take(&mut self.alike)
    }

    /// An answer to what is prepared anew; `None`: it is none.
    pub(super) fn prepared_anew(&mut self, tag: u8) -> Option<Answer> {
        let front = self.queue.front_mut()?;
        let Sent::Anew { name, source } = &front.sent else {
            return None;
        };
        let closes = front.answered == 0 && !name.is_unnamed();
        match (tag, closes) {
            (back::CLOSE_COMPLETE, true) => {
                front.answered = 1;
                let name = name.clone();
                self.names.deallocate(&name);
            }
            (back::PARSE_COMPLETE, false) => {
                let statement = Statement::new(source.clone(), 0);
                let name = name.clone();
                self.names.prepare(name, statement);
                self.queue.pop_front();
                self.running = None;
            }
            _ => return None,
        }
        Some(Answer::Own)
    }
}
