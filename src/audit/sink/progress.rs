//! What a sink has done, as others see it.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Written by the sink's worker, read by anybody.
#[derive(Debug, Default)]
pub struct Progress {
    /// Records delivered since the start.
    pub delivered: AtomicU64,
    /// Attempts that failed and are made again.
    pub failures: AtomicU64,
    /// Records that were not there to be delivered: damaged, or removed before their time.
    pub missing: AtomicU64,
    /// Records that the receiver will not have, set aside.
    pub rejected: AtomicU64,
    /// The last record that the sink is done with.
    pub seq: AtomicU64,
    /// The segment of the record after it.
    pub segment: AtomicU64,
    /// When the oldest record of the batch at hand was written: microseconds since 1970, 0 where there is none.
    pub oldest: AtomicU64,
}

/// [`Progress`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    pub delivered: u64,
    pub failures: u64,
    pub missing: u64,
    pub rejected: u64,
    /// Records that are on the disk and not yet delivered.
    pub lag: u64,
    /// Age of the oldest of these.
    pub oldest: Duration,
}

impl Progress {
    pub fn status(&self, name: &str, head: u64, now: SystemTime) -> Status {
        let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let lag = head.saturating_sub(of(&self.seq));
        let oldest = match of(&self.oldest) {
            micros if micros > 0 && lag > 0 => {
                let since = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
                now.duration_since(since).unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        Status {
            name: name.to_owned(),
            delivered: of(&self.delivered),
            failures: of(&self.failures),
            missing: of(&self.missing),
            rejected: of(&self.rejected),
            lag,
            oldest,
        }
    }

    /// `time` as a record has it.
    pub fn waits_since(&self, time: Option<&str>) {
        let micros = time.and_then(micros).unwrap_or(0);
        self.oldest.store(micros, Ordering::Relaxed);
    }
}

/// Microseconds since 1970 of a record's time.
pub fn micros(time: &str) -> Option<u64> {
    let since = humantime::parse_rfc3339(time).ok()?;
    let since = since.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
