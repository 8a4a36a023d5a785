//! Signed records of the chain: checkpoints, which vouch for everything before them, and tombstones, which say that
//! old segments went away by the rules of retention and not by somebody's hand.
//!
//! What is signed is a short text, so that it can be checked without pgveil:
//! ```text
//! pgveil audit checkpoint 1
//! chain 0f3b...
//! count 4000
//! head 9c1d...
//! time 2026-11-22T07:21:36.000001Z
//! ```
//! each line ended by a newline. `count` and `head` are the sequence number and the hash of the record before the
//! checkpoint, `time` is the checkpoint's own. A tombstone's text has `segment`, `first`, `last` and `head` (of its last
//! record) in their place.
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chain::Hash;
use super::key::{PublicKey, SigningKey};
use super::record::{self, Event, Record};

/// The signed part of a record of the event `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checkpoint {
    /// Id of the chain.
    pub chain: String,
    /// Records before this one, since the chain began.
    pub count: u64,
    /// Hash of the last of them.
    pub head: String,
    /// Id of the key that signed.
    pub key: String,
    /// Ed25519, base64.
    pub signature: String,
}

/// The signed part of a record of the event `retention`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tombstone {
    /// Id of the chain.
    pub chain: String,
    /// Number of the segment that was removed.
    pub segment: u64,
    /// Its first record.
    pub first: u64,
    /// Its last record.
    pub last: u64,
    /// Hash of its last record.
    pub head: String,
    /// Id of the key that signed.
    pub key: String,
    /// Ed25519, base64.
    pub signature: String,
}

/// A record that vouches for the `count` records up to the one with the hash `head`.
pub fn checkpoint(
    key: &SigningKey,
    chain: &str,
    count: u64,
    head: Hash,
    now: SystemTime,
) -> Record {
    let head = head.to_string();
    let time = record::rfc3339(now);
    let signature = key.sign(checkpoint_text(chain, count, &head, &time).as_bytes());
    Record {
        checkpoint: Some(Box::new(Checkpoint {
            chain: chain.to_owned(),
            count,
            head,
            key: key.public().id().to_owned(),
            signature,
        })),
        ..Record::new(Event::Checkpoint, now)
    }
}

/// What a removed segment held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    pub segment: u64,
    pub first: u64,
    pub last: u64,
    pub head: Hash,
}

/// A record that a segment was removed, to be written before it is.
pub fn tombstone(key: &SigningKey, chain: &str, removed: &Removed, now: SystemTime) -> Record {
    let mut tombstone = Tombstone {
        chain: chain.to_owned(),
        segment: removed.segment,
        first: removed.first,
        last: removed.last,
        head: removed.head.to_string(),
        key: key.public().id().to_owned(),
        signature: String::new(),
    };
    tombstone.signature = key.sign(tombstone.text(&record::rfc3339(now)).as_bytes());
    Record {
        tombstone: Some(Box::new(tombstone)),
        ..Record::new(Event::Retention, now)
    }
}

impl Checkpoint {
    /// Whether one of the keys signed this, with `time` as the record gives it.
    pub fn is_signed(&self, time: &str, keys: &[PublicKey]) -> bool {
        let text = checkpoint_text(&self.chain, self.count, &self.head, time);
        is_signed(&text, &self.signature, keys)
    }
}

impl Tombstone {
    /// Whether one of the keys signed this, with `time` as the record gives it.
    pub fn is_signed(&self, time: &str, keys: &[PublicKey]) -> bool {
        is_signed(&self.text(time), &self.signature, keys)
    }

    fn text(&self, time: &str) -> String {
        let Tombstone {
            chain,
            segment,
            first,
            last,
            head,
            ..
        } = self;
        format!(
            "pgveil audit tombstone 1\nchain {chain}\nsegment {segment}\nfirst {first}\nlast {last}\nhead {head}\ntime {time}\n"
        )
    }
}

fn checkpoint_text(chain: &str, count: u64, head: &str, time: &str) -> String {
    format!("pgveil audit checkpoint 1\nchain {chain}\ncount {count}\nhead {head}\ntime {time}\n")
}

fn is_signed(text: &str, signature: &str, keys: &[PublicKey]) -> bool {
    keys.iter()
        .any(|key| key.verify(text.as_bytes(), signature))
}
