//! The newest lines of a spool, kept for detection by the process that writes them: what it just wrote need not be read
//! back, hashed and parsed again.
//!
//! Kept while somebody follows, and bounded: lines that went by are read from the spool.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::detect::observed::Observed;
use super::read::Position;

/// Lines that are kept at most.
pub const MOST: usize = 32_768;

/// One line of the spool.
#[derive(Debug, Clone, PartialEq)]
pub struct Short {
    pub seq: u64,
    /// Where the next line begins.
    pub next: Position,
    pub view: View,
}

/// What is known of a line without reading it.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every line is one, and nothing is allocated for it"
)]
pub enum View {
    /// It has to be read: nobody followed when it was made, or another process did.
    Unknown,
    /// No detector looks at it.
    Nothing,
    Observed(Observed),
}

/// The newest lines, oldest first.
#[derive(Debug, Default)]
pub struct Tail {
    is_followed: AtomicBool,
    lines: Mutex<VecDeque<Short>>,
}

impl Tail {
    /// Whether lines are kept at all.
    pub fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Acquire)
    }

    /// Adds what was written, in its order.
    pub fn extend(&self, lines: impl IntoIterator<Item = Short>) {
        let mut kept = self.lines();
        kept.extend(lines);
        let surplus = kept.len().saturating_sub(MOST);
        kept.drain(..surplus);
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<Short>> {
        // A panic leaves lines out at most, and a gap is read from the spool.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a [`Tail`] while it lives.
#[derive(Debug)]
pub struct Follower(Arc<Tail>);

impl Follower {
    pub fn new(tail: Arc<Tail>) -> Self {
        tail.is_followed.store(true, Ordering::Release);
        Follower(tail)
    }

    /// The lines since the last call, without those that went by.
    pub fn take(&self) -> VecDeque<Short> {
        std::mem::take(&mut *self.0.lines())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.is_followed.store(false, Ordering::Release);
        *self.0.lines() = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(seq: u64) -> Short {
        Short {
            seq,
            next: Position {
                segment: 1,
                offset: seq * 100,
            },
            view: View::Nothing,
        }
    }

    #[test]
    fn the_newest_lines_are_kept_and_no_more_of_them_than_the_bound() {
        let tail = Arc::new(Tail::default());
        let follower = Follower::new(Arc::clone(&tail));
        for seq in 1..=2 * MOST as u64 {
            tail.extend([short(seq)]);
        }
        let lines = follower.take();
        let (first, last) = (lines.front().cloned(), lines.back().cloned());
        assert_eq!(first, Some(short(MOST as u64 + 1)));
        assert_eq!(last, Some(short(2 * MOST as u64)));
        assert!(follower.take().is_empty());
    }

    #[test]
    fn who_follows_no_more_leaves_nothing() {
        let tail = Arc::new(Tail::default());
        let follower = Follower::new(Arc::clone(&tail));
        assert!(tail.is_followed());
        tail.extend([short(1)]);
        drop(follower);
        assert!(!tail.is_followed());
        assert!(Follower::new(tail).take().is_empty());
    }
}
