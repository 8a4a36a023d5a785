//! What can be said about a spool: when records count as kept, when segments end, when they are signed.
use std::path::PathBuf;
use std::time::Duration;

/// A segment is not written on past this size unless one batch alone is larger.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// A segment is not written on past this age.
pub const SEGMENT_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// Records between two checkpoints.
pub const CHECKPOINT_RECORDS: u64 = 1000;
/// What [`SpoolSettings::checkpoint_records`] may be at most.
pub const MAX_CHECKPOINT_RECORDS: u64 = 10_000;
/// Records are signed after this time at the latest.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// When a record counts as kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// Handed to the operating system: survives the end of the process, however it comes.
    #[default]
    Written,
    /// On the disk: survives the loss of power. Appends that wait at the same time share one fsync.
    Synced,
}

#[derive(Debug, Clone)]
pub struct SpoolSettings {
    pub ack: Ack,
    /// Bytes after which a new segment is begun.
    pub segment_bytes: u64,
    /// Time after which a new segment is begun.
    pub segment_age: Duration,
    /// Records after which a checkpoint is written.
    pub checkpoint_records: u64,
    /// Time after which a checkpoint is written, where there is anything to sign.
    pub checkpoint_interval: Duration,
    /// The signing key's file. [`super::KEY_FILE`] in the spool's directory if absent, made where it does not exist.
    pub key: Option<PathBuf>,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        SpoolSettings {
            ack: Ack::default(),
            segment_bytes: SEGMENT_BYTES,
            segment_age: SEGMENT_AGE,
            checkpoint_records: CHECKPOINT_RECORDS,
            checkpoint_interval: CHECKPOINT_INTERVAL,
            key: None,
        }
    }
}
