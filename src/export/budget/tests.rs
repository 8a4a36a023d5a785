//! Budgets over the embedded store.
use super::*;
use crate::export::fixture::{Folder, Hands, NOON};

struct Till {
    budgets: Arc<Budgets>,
    store: Arc<dyn Store>,
    hands: Hands,
    _folder: Folder,
}

fn till() -> Till {
    let folder = Folder::new();
    let store: Arc<dyn Store> = folder.store();
    let hands = Hands::at(NOON);
    let budgets = Budgets::with_clock(Arc::clone(&store), hands.clock());
    Till {
        budgets: Arc::new(budgets),
        store,
        hands,
        _folder: folder,
    }
}

fn per_hour(limit: u64) -> Allowed {
    Allowed {
        per_hour: Some(limit),
        ..Allowed::default()
    }
}

impl Till {
    /// Rows that a person gets one by one, until a limit is told or `wanted` are served.
    async fn serve(&self, person: &str, wanted: u64, allowed: Allowed) -> (u64, Option<LimitKind>) {
        serve(&self.budgets, &self.hands, person, wanted, allowed).await
    }

    /// Shows subjects; those that were shown, and the limit.
    async fn show(&self, budgets: &Budgets, subjects: &[i64], limit: u64) -> (u64, Option<u64>) {
        let purse = budgets.purse("ann");
        let mut shown = 0;
        for subject in subjects {
            while !purse.see(*subject, self.hands.now()) {
                if let Refill::Full(_, limit) = budgets.admit(&purse, limit).await.unwrap() {
                    return (shown, Some(limit));
                }
            }
            shown += 1;
        }
        (shown, None)
    }

    async fn taken(&self, counter: &str) -> u64 {
        let now = self.hands.now();
        self.store.taken(counter, DAY, now).await.unwrap()
    }
}

async fn serve(
    budgets: &Budgets,
    hands: &Hands,
    person: &str,
    wanted: u64,
    allowed: Allowed,
) -> (u64, Option<LimitKind>) {
    let purse = budgets.purse(person);
    let mut served = 0;
    while served < wanted {
        if purse.spend(1, allowed, hands.now()) {
            served += 1;
            continue;
        }
        if let Refill::Full(kind, _) = budgets.refill(&purse, 1, allowed).await.unwrap() {
            return (served, Some(kind));
        }
    }
    (served, None)
}

#[tokio::test]
async fn a_person_gets_what_the_tightest_limit_allows_and_is_told_which() {
    let till = till();
    let allowed = Allowed {
        per_hour: Some(100),
        per_day: Some(150),
        subjects_per_day: None,
    };
    assert_eq!(
        till.serve("ann", 1000, allowed).await,
        (100, Some(LimitKind::PerHour))
    );
    assert_eq!(till.serve("bob", 10, allowed).await, (10, None));
    till.hands.advance(2 * 3600);
    assert_eq!(
        till.serve("ann", 1000, allowed).await,
        (50, Some(LimitKind::PerDay))
    );
}

#[tokio::test]
async fn a_person_is_one_however_the_name_is_spelt() {
    let till = till();
    let names = ["ann", "Ann", "ＡＮＮ", "an\u{200b}n", " ann "];
    let mut served = 0;
    for name in names {
        served += till.serve(name, 30, per_hour(100)).await.0;
    }
    assert_eq!(served, 100);
    for name in names {
        let used = till.budgets.used(name, per_hour(100)).await.unwrap();
        assert_eq!(used[0].used, 100, "{name:?}");
    }
    assert_eq!(till.serve("anna", 30, per_hour(100)).await, (30, None));
}

#[tokio::test]
async fn a_hundred_tasks_race_for_the_last_hundred_rows_and_get_them_all() {
    for limit in [100, 1000, 64_000] {
        let till = till();
        let before = limit - 100;
        assert_eq!(
            till.serve("ann", before, per_hour(limit)).await,
            (before, None)
        );
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (budgets, hands) = (Arc::clone(&till.budgets), till.hands.clone());
                tokio::spawn(
                    async move { serve(&budgets, &hands, "ann", 1, per_hour(limit)).await.0 },
                )
            })
            .collect();
        let mut served = 0;
        for task in tasks {
            served += task.await.unwrap();
        }
        assert_eq!(served, 100, "of {limit}");
        assert_eq!(
            till.serve("ann", 1, per_hour(limit)).await,
            (0, Some(LimitKind::PerHour))
        );
    }
}

/// A person may have several database users, each with a role; a policy may become tighter.
#[tokio::test]
async fn what_was_leased_under_looser_limits_is_not_spent_under_tighter_ones() {
    let till = till();
    let (loose, tight) = (per_hour(40_000), per_hour(50));
    let full = Some(LimitKind::PerHour);
    assert_eq!(till.serve("zoe", 1, loose).await, (1, None));
    assert_eq!(till.serve("zoe", 1000, tight).await, (49, full));
    assert_eq!(till.serve("zoe", 10, loose).await, (10, None));
    assert_eq!(till.serve("zoe", 1, tight).await, (0, full));
    assert_eq!(till.serve("zoe", 100_000, loose).await, (39_940, full));
    let daily = Allowed {
        per_day: Some(40_005),
        ..Allowed::default()
    };
    assert_eq!(
        till.serve("zoe", 10, daily).await,
        (5, Some(LimitKind::PerDay))
    );
}

#[tokio::test]
async fn rows_that_were_leased_under_tighter_limits_serve_looser_ones() {
    let till = till();
    let purse = till.budgets.purse("zoe");
    let refill = till.budgets.refill(&purse, 50, per_hour(100)).await;
    assert_eq!(refill.unwrap(), Refill::Ready);
    assert!(!purse.spend(1, per_hour(99), NOON));
    assert!(purse.spend(50, per_hour(40_000), NOON));
}

#[tokio::test]
async fn rows_are_spent_all_or_none() {
    let till = till();
    let purse = till.budgets.purse("ann");
    let refill = till.budgets.refill(&purse, 101, per_hour(100)).await;
    assert_eq!(refill.unwrap(), Refill::Full(LimitKind::PerHour, 100));
    assert!(!purse.spend(101, per_hour(100), NOON));
    assert_eq!(
        till.taken("rows:ann").await,
        0,
        "what can never be had takes nothing from others"
    );
    let refill = till.budgets.refill(&purse, 100, per_hour(100)).await;
    assert_eq!(refill.unwrap(), Refill::Ready);
    assert!(purse.spend(100, per_hour(100), NOON));
    assert!(!purse.spend(1, per_hour(100), NOON));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_not_spent_and_comes_back() {
    let till = till();
    assert_eq!(till.serve("ann", 1, per_hour(64_000)).await, (1, None));
    assert_eq!(till.taken("rows:ann").await, 1024, "leased");
    let purse = till.budgets.purse("ann");
    assert!(purse.spend(1, per_hour(64_000), NOON + LEASE - 1));
    assert!(!purse.spend(1, per_hour(64_000), NOON + LEASE));
    till.hands.advance(LEASE);
    till.budgets.settle(false).await.unwrap();
    assert_eq!(till.taken("rows:ann").await, 2, "spent");
}

#[tokio::test]
async fn leases_of_two_minutes_come_back_to_their_own() {
    let till = till();
    till.hands.advance(30);
    assert_eq!(till.serve("ann", 1, per_hour(640)).await, (1, None));
    // The next minute: what is left of the first lease does not suffice.
    till.hands.advance(40);
    let purse = till.budgets.purse("ann");
    let refill = till.budgets.refill(&purse, 25, per_hour(640)).await;
    assert_eq!(refill.unwrap(), Refill::Ready);
    assert!(purse.spend(25, per_hour(640), till.hands.now()));
    till.hands.advance(2 * LEASE);
    till.budgets.settle(false).await.unwrap();
    assert_eq!(till.taken("rows:ann").await, 26, "spent and no more");
}

#[tokio::test]
async fn all_is_given_back_at_the_end_of_the_process() {
    let till = till();
    assert_eq!(till.serve("ann", 7, per_hour(64_000)).await, (7, None));
    till.budgets.settle(true).await.unwrap();
    assert_eq!(till.taken("rows:ann").await, 7);
}

#[tokio::test]
async fn what_a_killed_process_had_leased_is_not_given_back() {
    let till = till();
    assert_eq!(till.serve("ann", 7, per_hour(64_000)).await, (7, None));
    let next = Budgets::with_clock(Arc::clone(&till.store), till.hands.clock());
    let (served, full) = serve(&next, &till.hands, "ann", u64::MAX, per_hour(64_000)).await;
    assert_eq!((served, full), (64_000 - 1024, Some(LimitKind::PerHour)));
}

#[tokio::test]
async fn a_rolling_hour_never_holds_more_than_its_limit() {
    // Served rows by second, over four hours, with leases that run out, come back and are taken anew.
    let till = till();
    let mut served: Vec<(Seconds, u64)> = Vec::new();
    let mut step: u64 = 1;
    while till.hands.now() < NOON + 4 * 3600 {
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wanted = (step >> 33) % 9;
        let (rows, _) = till.serve("ann", wanted, per_hour(320)).await;
        served.push((till.hands.now(), rows));
        till.hands.advance(((step >> 40) % 37) as Seconds);
    }
    let total: u64 = served.iter().map(|(_, rows)| rows).sum();
    assert!(total > 3 * 320, "too little to see anything: {total}");
    for (end, _) in &served {
        let within = |at: Seconds| at <= *end && at > end - 3600;
        let sum: u64 = served
            .iter()
            .filter(|(at, _)| within(*at))
            .map(|(_, rows)| rows)
            .sum();
        assert!(sum <= 320, "{sum} rows in the hour before {end}");
    }
}

#[tokio::test]
async fn the_same_twenty_customers_all_day_count_twenty() {
    let till = till();
    let customers: Vec<i64> = (0..20).collect();
    for _ in 0..500 {
        assert_eq!(till.show(&till.budgets, &customers, 20).await, (20, None));
        till.hands.advance(60);
    }
    assert_eq!(
        till.show(&till.budgets, &[20], 20).await,
        (0, Some(20)),
        "the twenty-first is one too many"
    );
    assert_eq!(
        till.show(&till.budgets, &customers, 20).await,
        (20, None),
        "the others are still shown"
    );
    till.hands.advance(86_400);
    assert_eq!(till.show(&till.budgets, &[20], 20).await, (1, None));
}

#[tokio::test]
async fn distinct_subjects_are_counted_exactly() {
    let till = till();
    let all: Vec<i64> = (0..3000).map(|n| n * 7919 % 1_000_003).collect();
    assert_eq!(
        till.show(&till.budgets, &all, 1000).await,
        (1000, Some(1000))
    );
}

#[tokio::test]
async fn two_proxies_show_no_more_subjects_together_than_one() {
    let till = till();
    let other = Budgets::with_clock(Arc::clone(&till.store), till.hands.clock());
    let mut shown = std::collections::HashSet::new();
    for n in 0..2000_i64 {
        let budgets = if n % 2 == 0 { &*till.budgets } else { &other };
        if till.show(budgets, &[n], 320).await.0 == 1 {
            shown.insert(n);
        }
    }
    assert_eq!(shown.len(), 320);
}

#[tokio::test]
async fn subjects_survive_a_restart() {
    let till = till();
    let customers: Vec<i64> = (0..20).collect();
    till.show(&till.budgets, &customers, 64).await;
    till.budgets.settle(false).await.unwrap();
    let next = Budgets::with_clock(Arc::clone(&till.store), till.hands.clock());
    assert_eq!(till.show(&next, &customers, 64).await, (20, None));
    assert_eq!(till.taken(&format!("subjects:ann:{}", day(NOON))).await, 20);
}

#[tokio::test]
async fn purses_with_nothing_in_them_are_forgotten_and_nothing_is_given_back_by_that() {
    let till = till();
    let allowed = per_hour(100);
    for number in 0..50 {
        let person = format!("p{number}");
        till.serve(&person, 100, allowed).await;
    }
    assert_eq!(till.serve("bob", 1, allowed).await, (1, None));
    assert_eq!(till.show(&till.budgets, &[1, 2], 64).await, (2, None));
    let held = till.budgets.purse("held");
    till.budgets.settle(false).await.unwrap();
    let mut kept: Vec<String> = till
        .budgets
        .purses
        .iter()
        .map(|entry| entry.key().clone())
        .collect();
    kept.sort();
    assert_eq!(kept, ["ann", "bob", "held"]);
    drop(held);
    assert_eq!(
        till.serve("p7", 1, allowed).await,
        (0, Some(LimitKind::PerHour))
    );
    // A day later nobody has anything.
    till.hands.advance(86_400 + LEASE);
    till.budgets.settle(false).await.unwrap();
    assert!(till.budgets.purses.is_empty());
}
