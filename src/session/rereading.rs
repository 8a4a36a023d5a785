//! Readings of the catalog that nobody waits for.
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Running,
    /// Asked for while one was under way: that one may have looked too early.
    Wanted,
}

/// One reading at a time, and one more for all that were asked for meanwhile.
#[derive(Debug, Default)]
pub struct Rereading(Mutex<State>);

impl Rereading {
    /// Asks for a reading. `true`: the caller is to do it, and more as long as [`Rereading::again`] says so.
    pub fn ask(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let starts = *state == State::Idle;
        *state = match starts {
            true => State::Running,
            false => State::Wanted,
        };
        starts
    }

    /// A reading is done: whether another one is wanted.
    pub fn again(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = *state == State::Wanted;
        *state = match wanted {
            true => State::Running,
            false => State::Idle,
        };
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_during_a_reading_is_one_more() {
        let rereading = Rereading::default();
        assert!(rereading.ask());
        assert!(!rereading.ask());
        assert!(!rereading.ask());
        assert!(rereading.again());
        assert!(!rereading.again());
        assert!(rereading.ask());
        assert!(!rereading.again());
    }
}
