//! Counts by key in bounded memory: what is counted often is kept, the rest is summed up.
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::AddAssign;

/// Keys that a tally holds at most.
pub const MAX_KEYS: usize = 20_000;

/// What is counted for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    pub statements: u64,
    pub rows: u64,
    /// Statements that were given values without a mask.
    pub clear: u64,
    /// Statements that gave no row.
    pub empty: u64,
    pub sessions: u64,
    /// The last of them: seconds since 1970.
    pub last: u64,
}

impl AddAssign for Measure {
    fn add_assign(&mut self, other: Measure) {
        self.statements += other.statements;
        self.rows += other.rows;
        self.clear += other.clear;
        self.empty += other.empty;
        self.sessions += other.sessions;
        self.last = self.last.max(other.last);
    }
}

impl Measure {
    /// What decides which keys are kept.
    fn weight(&self) -> u64 {
        self.statements + self.sessions
    }
}

#[derive(Debug)]
pub struct Tally<K> {
    kept: HashMap<K, Measure>,
    capacity: usize,
    /// Of keys that were dropped while counting.
    dropped: Measure,
    drops: u64,
}

/// Keys and what was counted for them, the most first.
pub struct Ranked<'t, K> {
    pub first: Vec<(&'t K, &'t Measure)>,
    /// Keys beyond these, as far as they were told apart, and their sum.
    pub others: u64,
    pub rest: Measure,
    /// There were more keys than memory for them: numbers of rare ones may be too low.
    pub inexact: bool,
}

impl<K: Hash + Eq + Ord> Default for Tally<K> {
    fn default() -> Self {
        Tally::with_capacity(MAX_KEYS)
    }
}

impl<K: Hash + Eq + Ord> Tally<K> {
    pub fn with_capacity(capacity: usize) -> Self {
        Tally {
            kept: HashMap::new(),
            capacity,
            dropped: Measure::default(),
            drops: 0,
        }
    }

    pub fn add(&mut self, key: K, measure: Measure) {
        *self.kept.entry(key).or_default() += measure;
        if self.kept.len() > self.capacity {
            self.halve();
        }
    }

    /// Drops the half of the keys that has been counted least.
    fn halve(&mut self) {
        let mut weights: Vec<u64> = self.kept.values().map(Measure::weight).collect();
        let middle = weights.len() / 2;
        let (_, median, _) = weights.select_nth_unstable(middle);
        let median = *median;
        let above = self
            .kept
            .values()
            .filter(|measure| measure.weight() > median);
        let mut room = (self.capacity / 2).saturating_sub(above.count());
        let (dropped, drops) = (&mut self.dropped, &mut self.drops);
        self.kept.retain(|_, measure| {
            let ties = measure.weight() == median && room > 0;
            room -= usize::from(ties);
            let keep = ties || measure.weight() > median;
            if !keep {
                *dropped += *measure;
                *drops += 1;
            }
            keep
        });
    }

    /// Different keys, as far as they were told apart.
    pub fn keys(&self) -> u64 {
        self.kept.len() as u64 + self.drops
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&K, &Measure)> {
        self.kept.iter()
    }

    pub fn total(&self) -> Measure {
        let mut total = self.dropped;
        self.kept.values().for_each(|measure| total += *measure);
        total
    }

    /// The `count` with the most, by `by`.
    pub fn ranked(&self, count: usize, by: impl Fn(&Measure) -> u64) -> Ranked<'_, K> {
        let mut all: Vec<(&K, &Measure)> = self.kept.iter().collect();
        all.sort_by(|(key, one), (other_key, other)| {
            by(other).cmp(&by(one)).then_with(|| key.cmp(other_key))
        });
        let mut rest = self.dropped;
        let beyond = all.split_off(count.min(all.len()));
        beyond.iter().for_each(|(_, measure)| rest += **measure);
        Ranked {
            first: all,
            others: beyond.len() as u64 + self.drops,
            rest,
            inexact: self.drops > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Measure = Measure {
        statements: 1,
        rows: 10,
        clear: 0,
        empty: 0,
        sessions: 0,
        last: 5,
    };

    #[test]
    fn the_most_come_first_and_the_rest_is_summed_up() {
        let mut tally = Tally::default();
        for (key, times) in [("a", 1), ("b", 5), ("c", 2), ("d", 2)] {
            (0..times).for_each(|_| tally.add(key, ONE));
        }
        let ranked = tally.ranked(2, |measure| measure.statements);
        let keys: Vec<&str> = ranked.first.iter().map(|(key, _)| **key).collect();
        assert_eq!(keys, ["b", "c"]);
        assert_eq!((ranked.others, ranked.rest.statements), (2, 3));
        assert!(!ranked.inexact);
    }

    #[test]
    fn memory_is_bounded_and_nothing_of_the_sum_is_lost() {
        let mut tally = Tally::with_capacity(100);
        for number in 0..10_000_u64 {
            tally.add(number, ONE);
            assert!(tally.kept.len() <= 100);
            // One that comes late and often stays.
            if number >= 5000 {
                tally.add(1_000_000, ONE);
            }
        }
        assert_eq!(tally.total().statements, 15_000);
        let ranked = tally.ranked(1, |measure| measure.statements);
        assert_eq!(ranked.first[0].0, &1_000_000);
        assert_eq!(ranked.first[0].1.statements, 5000);
        assert_eq!(ranked.rest.statements, 10_000);
        assert!(ranked.inexact && ranked.others >= 9_900);
    }
}
