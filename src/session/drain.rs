//! Waiting for the end: that pgveil is to end, or that a session's time is up.
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Whether sessions are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leaving {
    #[default]
    No,
    /// The process ends, and the sooner the better: who is idle goes.
    Ends,
    /// Another process has taken over, and this one ends with its last session: nobody has to hurry.
    Succeeded,
}

/// Until sessions are to end; how.
pub async fn drained(drain: &mut watch::Receiver<Leaving>) -> Leaving {
    let told = drain.wait_for(|leaving| *leaving != Leaving::No).await;
    match told.map(|leaving| *leaving) {
        Ok(leaving) => leaving,
        // Nobody is left who could ask for an end.
        Err(_) => std::future::pending().await,
    }
}

/// How long a session is to be idle outside a transaction before it is ended, where the process is to end: who has just come, or
/// has just ended a transaction, gets to begin the next one.
pub const QUIET: Duration = Duration::from_secs(1);
/// The last part of the time, one in so many, in which an idle session is ended at once.
const LAST: u32 = 5;

/// The time that sessions get once they are to end.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// For so long at most a session may be idle.
    patience: Duration,
    /// From here on an idle session is ended at once.
    hurry: Instant,
    /// From here on every one is.
    over: Instant,
    /// When this session became idle.
    quiet: Option<Instant>,
}

impl Drain {
    pub fn begin(now: Instant, limit: Duration, leaving: Leaving) -> Self {
        Drain {
            patience: match leaving {
                Leaving::Succeeded => limit,
                Leaving::No | Leaving::Ends => QUIET,
            },
            hurry: now + limit.saturating_sub(limit / LAST),
            over: now + limit,
            quiet: None,
        }
    }

    /// Notes whether the session is idle after something has happened; whether it is to end now.
    pub fn is_due(&mut self, now: Instant, idle: bool) -> bool {
        if now >= self.over {
            return true;
        }
        if !idle {
            self.quiet = None;
            return false;
        }
        let since = *self.quiet.get_or_insert(now);
        now >= self.hurry || now >= since + self.patience
    }

    /// The client or the server has said something.
    pub fn stirred(&mut self) {
        self.quiet = None;
    }

    /// When to look again, though nothing happens.
    pub fn next(&self) -> Instant {
        let idle = self
            .quiet
            .map(|since| (since + self.patience).min(self.hurry));
        idle.unwrap_or(self.over).min(self.over)
    }
}

/// Until a moment, where there is one: a timer costs nothing before that.
pub async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_session_ends_when_it_has_been_quiet_for_a_while() {
        let mut now = Instant::now();
        let mut drain = Drain::begin(now, LIMIT, Leaving::Ends);
        assert!(!drain.is_due(now, true));
        now += QUIET / 2;
        assert!(!drain.is_due(now, true));
        // It begins something, and is done with it.
        drain.stirred();
        assert!(!drain.is_due(now, false));
        assert!(!drain.is_due(now, true));
        now += QUIET * 3 / 4;
        assert!(!drain.is_due(now, true));
        assert_eq!(drain.next(), now + QUIET / 4);
        assert!(drain.is_due(drain.next(), true));
    }

    #[test]
    fn in_the_last_part_idle_ones_go_at_once_and_then_all() {
        let began = Instant::now();
        let mut drain = Drain::begin(began, LIMIT, Leaving::Ends);
        assert_eq!(drain.next(), began + LIMIT);
        let late = began + LIMIT * 4 / 5;
        assert!(!drain.is_due(late, false));
        assert!(drain.is_due(late, true));
        assert!(drain.is_due(began + LIMIT, false));
    }

    #[test]
    fn where_another_process_has_taken_over_idle_ones_stay_until_the_last_part() {
        let began = Instant::now();
        let mut drain = Drain::begin(began, LIMIT, Leaving::Succeeded);
        assert!(!drain.is_due(began, true));
        assert_eq!(drain.next(), began + LIMIT * 4 / 5);
        assert!(!drain.is_due(began + LIMIT / 2, true));
        assert!(drain.is_due(drain.next(), true));
    }
}
