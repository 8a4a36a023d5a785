//! Records on their way into the chain: numbered, hashed, signed where that is due.
use std::time::SystemTime;

use super::SpoolError;
use crate::audit::chain::{self, Hash};
use crate::audit::checkpoint;
use crate::audit::detect::observed::Observed;
use crate::audit::key::SigningKey;
use crate::audit::read::Position;
use crate::audit::record::Record;
use crate::audit::tail::{Short, View};

/// Room for `{"hash":"...","prev":"...","seq":...,` and what a checkpoint holds.
pub const LINE_OVERHEAD: usize = 600;

/// Bytes of most records.
const BODY_BYTES: usize = 1024;

/// A record as JSON, before it has a place in the chain.
#[derive(Debug)]
pub struct Body {
    pub json: Vec<u8>,
    view: View,
}

impl Body {
    pub fn new(record: &Record, is_followed: bool) -> Result<Self, serde_json::Error> {
        let mut json = Vec::with_capacity(BODY_BYTES);
        record.to_json(&mut json)?;
        let view = match is_followed {
            true => Observed::of_record(record).map_or(View::Nothing, View::Observed),
            false => View::Unknown,
        };
        Ok(Body { json, view })
    }

    /// Of another process's record.
    pub fn passed(json: Vec<u8>) -> Self {
        Body {
            json,
            view: View::Unknown,
        }
    }
}

/// Lines on their way to a segment.
pub struct Lines {
    pub bytes: Vec<u8>,
    /// Where the first of them begins.
    begin: Position,
    /// The same lines as detection looks at them, where anybody follows.
    pub shorts: Option<Vec<Short>>,
    pub seq: u64,
    pub head: Hash,
    /// Of the checkpoint among them.
    pub signed: Option<u64>,
}

impl Lines {
    /// `bytes`: an empty buffer.
    pub fn after((seq, head): (u64, Hash), begin: Position, bytes: Vec<u8>) -> Self {
        Lines {
            bytes,
            begin,
            shorts: None,
            seq,
            head,
            signed: None,
        }
    }

    /// A record of the spool's own, which no detector looks at.
    pub fn push(&mut self, json: &[u8]) {
        self.line(json, View::Nothing);
    }

    /// Takes from the body what detection looks at.
    pub fn push_body(&mut self, body: &mut Body) {
        let view = std::mem::replace(&mut body.view, View::Unknown);
        self.line(&body.json, view);
    }

    fn line(&mut self, json: &[u8], mut view: View) {
        self.seq += 1;
        self.head = chain::seal(&mut self.bytes, self.head, self.seq, json);
        let Some(shorts) = &mut self.shorts else {
            return;
        };
        if let View::Observed(observed) = &mut view {
            observed.seq = self.seq;
        }
        shorts.push(Short {
            seq: self.seq,
            next: Position {
                offset: self.begin.offset + self.bytes.len() as u64,
                ..self.begin
            },
            view,
        });
    }

    pub fn sign(
        &mut self,
        key: &SigningKey,
        chain: &str,
        now: SystemTime,
    ) -> Result<(), SpoolError> {
        let record = checkpoint::checkpoint(key, chain, self.seq, self.head, now);
        self.push(&serde_json::to_vec(&record)?);
        self.signed = Some(self.seq);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::audit::{Event, Rendered};

    /// What was made for a session and a plan is what goes into the spool: a record that was made whole instead would be
    /// equal, and cost several times as much.
    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "put together as it is made whole")]
    fn a_body_is_put_together_from_what_was_made_before() {
        let mut record = Record::new(Event::Statement, SystemTime::UNIX_EPOCH);
        record.session = Some(1);
        record.sequence = Some(1);
        record.rendered = Some(Rendered::new(
            br#","database":"of another session""#.as_slice().into(),
            Vec::new().into(),
        ));
        drop(Body::new(&record, false));
    }
}
