//! Honeytoken rows in results: values of rows are compared with those that name such rows.
use std::borrow::Cow;
use std::sync::Arc;

use super::ToClient;
use crate::policy::trap::Trap;
use crate::session::charset::Charset;
use crate::session::host::Host;
use crate::session::ledger::Running;
use crate::session::shared::State;
use crate::session::subjects;
use crate::wire::frame::{HELD_FRAME, Header, back};

/// The traps that rows of a result may still spring.
pub(super) fn set_for(running: &Running) -> Vec<Arc<Trap>> {
    let Some(plan) = running.governing().plan() else {
        return Vec::new();
    };
    let uses = plan.columns.traps.iter().filter(|known| known.shown);
    uses.map(|known| &known.trap)
        .filter(|trap| !running.sprung.contains(&trap.name))
        .cloned()
        .collect()
}

/// The first row of a COPY in binary format comes with what begins the file (copyto.c): a signature, flags, and an
/// extension of the length that stands before it.
fn without_header(body: &[u8]) -> &[u8] {
    let header = body.strip_prefix(b"PGCOPY\n\xff\r\n\0");
    let row = header.and_then(|header| {
        let (length, rest) = header.get(4..)?.split_first_chunk::<4>()?;
        rest.get(usize::try_from(u32::from_be_bytes(*length)).ok()?..)
    });
    row.unwrap_or(body)
}

/// A text in the client's encoding, as a policy writes it. What cannot be read stays as it is.
fn in_utf8(text: &[u8], charset: Charset) -> Cow<'_, [u8]> {
    if charset == Charset::Utf8 || text.is_ascii() {
        return Cow::Borrowed(text);
    }
    match charset.decode(text) {
        Ok(text) => Cow::Owned(text.into_owned().into_bytes()),
        Err(_) => Cow::Borrowed(text),
    }
}

/// Whether a value as it travels, in binary or as a text in the client's encoding, is one of the trap's.
pub fn meets(trap: &Trap, value: &[u8], charset: Charset) -> bool {
    trap.meets(value) || matches!(in_utf8(value, charset), Cow::Owned(text) if trap.meets(&text))
}

impl<H: Host> ToClient<'_, H> {
    /// Notes which traps a row springs; a row that is larger than what is held is not looked at. `false`: more of it must
    /// be read.
    pub(super) fn look_for(&self, state: &mut State, header: Header, traps: &[Arc<Trap>]) -> bool {
        if header.length > HELD_FRAME {
            return true;
        }
        let Some(body) = self.burst.body(header) else {
            return false;
        };
        let is_line = header.tag == back::COPY_DATA && !self.copies_binary;
        let values = match is_line {
            true => Vec::new(),
            false => subjects::values(without_header(body)).unwrap_or_default(),
        };
        let charset = state.encodings.charset();
        let springs = |trap: &Trap| match is_line {
            true => trap.stands_in(&in_utf8(body, charset)),
            false => {
                let mut values = values.iter().flatten();
                values.any(|value| meets(trap, value, charset))
            }
        };
        if let Some(running) = state.ledger.running_mut() {
            for trap in traps.iter().filter(|trap| springs(trap)) {
                running.sprung.push(Arc::clone(&trap.name));
            }
        }
        true
    }
}
