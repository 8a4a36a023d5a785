//! Records on their way into the chain: numbered, hashed, signed where that is due.
use std::time::SystemTime;

use super::SpoolError;
use crate::audit::chain::{self, Hash};
use crate::audit::checkpoint;
use crate::audit::key::SigningKey;

/// Room for `{"hash":"...","prev":"...","seq":...,` and what a checkpoint holds.
pub const LINE_OVERHEAD: usize = 600;

/// Lines on their way to a segment.
pub struct Lines {
    pub bytes: Vec<u8>,
    pub seq: u64,
    pub head: Hash,
    /// Of the checkpoint among them.
    pub signed: Option<u64>,
}

impl Lines {
    pub fn after((seq, head): (u64, Hash), capacity: usize) -> Self {
        Lines {
            bytes: Vec::with_capacity(capacity),
            seq,
            head,
            signed: None,
        }
    }

    pub fn push(&mut self, body: &[u8]) {
        self.seq += 1;
        self.head = chain::seal(&mut self.bytes, self.head, self.seq, body);
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
