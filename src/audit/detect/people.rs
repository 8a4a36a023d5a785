//! Something remembered of each of many people, in bounded memory.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// People of whom something is remembered at most. Those who were seen longest ago are forgotten first.
pub const MAX_PEOPLE: usize = 10_000;

#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct People<T>(BTreeMap<String, Seen<T>>);

#[derive(Debug, Serialize, Deserialize)]
struct Seen<T> {
    /// Seconds since 1970.
    last: u64,
    what: T,
}

impl<T> Default for People<T> {
    fn default() -> Self {
        People(BTreeMap::new())
    }
}

impl<T: Default> People<T> {
    /// What is remembered of somebody.
    pub fn of(&mut self, name: &str, at: u64) -> &mut T {
        if self.0.len() >= MAX_PEOPLE && !self.0.contains_key(name) {
            self.forget();
        }
        let seen = self.0.entry(name.to_owned()).or_insert_with(|| Seen {
            last: at,
            what: T::default(),
        });
        seen.last = seen.last.max(at);
        &mut seen.what
    }

    /// Forgets a tenth, so that it is not done for each newcomer.
    fn forget(&mut self) {
        let mut times: Vec<u64> = self.0.values().map(|seen| seen.last).collect();
        times.sort_unstable();
        let Some(oldest) = times.get(times.len() / 10).copied() else {
            return;
        };
        let mut left = times.len() / 10 + 1;
        self.0.retain(|_, seen| {
            let goes = left > 0 && seen.last <= oldest;
            left -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_seen_longest_ago_are_forgotten_first() {
        let mut people: People<u64> = People::default();
        for number in 0..3 * MAX_PEOPLE as u64 {
            *people.of(&format!("p{number}"), number) = number;
            *people.of("constant", number) += 1;
            assert!(people.0.len() <= MAX_PEOPLE);
        }
        assert_eq!(*people.of("constant", 0), 3 * MAX_PEOPLE as u64);
        assert_eq!(*people.of("p0", 0), 0);
        let last = 3 * MAX_PEOPLE as u64 - 1;
        assert_eq!(*people.of(&format!("p{last}"), 0), last);
    }

    #[test]
    fn at_one_and_the_same_moment_memory_is_bounded_too() {
        let mut people: People<u64> = People::default();
        for number in 0..2 * MAX_PEOPLE {
            people.of(&format!("p{number}"), 5);
            assert!(people.0.len() <= MAX_PEOPLE);
        }
    }
}
