//! When something that failed is tried again.
use std::time::Duration;

/// How fast sinks work.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The shortest wait after a failure.
    pub first: Duration,
    /// The longest.
    pub last: Duration,
    /// Between two looks for new records.
    pub look: Duration,
    /// A cursor is not stored more often while there is more to deliver.
    pub store: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            first: Duration::from_millis(100),
            last: Duration::from_secs(30),
            look: Duration::from_millis(100),
            store: Duration::from_millis(500),
        }
    }
}

/// Failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Retry(u32);

impl Retry {
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// How long to wait: anything from the shortest wait to a bound that doubles with each failure, so that many who
    /// failed together do not come back together.
    pub fn wait(&mut self, pace: &Pace) -> Duration {
        self.0 = self.0.saturating_add(1);
        let bound = pace
            .first
            .saturating_mul(1 << self.0.min(16))
            .min(pace.last);
        pace.first + bound.saturating_sub(pace.first).mul_f64(chance())
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness everybody waits for as long.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u16::from_ne_bytes(bytes)) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_differ() {
        let pace = Pace::default();
        let mut retry = Retry::default();
        let waits: Vec<Duration> = (0..200).map(|_| retry.wait(&pace)).collect();
        assert!(
            waits
                .iter()
                .all(|wait| (pace.first..=pace.last).contains(wait))
        );
        assert!(waits[0] <= pace.first * 2);
        assert!(waits[1] <= pace.first * 4);
        let late = &waits[20..];
        assert!(late.iter().any(|wait| *wait > pace.last / 2));
        assert!(late.iter().any(|wait| *wait < pace.last / 2));
        retry.reset();
        assert!(retry.wait(&pace) <= pace.first * 2);
    }
}
