//! Budgets of two proxies over one shared store: never over, and how much may lie unused.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgveil::export::clock::now;
use pgveil::export::store::{Postgres as Shared, Store};
use pgveil::export::{Allowed, Budgets, Refill};

use crate::postgres::state_of;
use crate::support::{Options, Postgres};

const LIMIT: u64 = 1000;
const TASKS: usize = 64;
/// A lease is at most a 32nd of the limit.
const LEASE_OF_A_PROXY: u64 = LIMIT / 32;

const ALLOWED: Allowed = Allowed {
    per_hour: Some(LIMIT),
    per_day: None,
    subjects_per_day: None,
};

/// Serves rows one by one until the limit is told.
async fn serve(budgets: &Budgets, served: &AtomicU64, most: u64) {
    let purse = budgets.purse("ann");
    let mut rows = 0;
    while rows < most {
        if purse.spend(1, ALLOWED, now()) {
            served.fetch_add(1, Ordering::Relaxed);
            rows += 1;
        } else if let Refill::Full(_, limit) = budgets.refill(&purse, 1, ALLOWED).await.unwrap() {
            assert_eq!(limit, LIMIT);
            return;
        }
    }
}

async fn proxies(server: &Postgres) -> [Arc<Budgets>; 2] {
    let store = async || {
        let store = Shared::open(&state_of(server)).await.unwrap();
        Arc::new(Budgets::new(Arc::new(store)))
    };
    [store().await, store().await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_proxies_with_64_clients_of_one_person_never_serve_more_than_the_limit() {
    let server = Postgres::start(Options::default());
    for round in 0..5 {
        server.sql("postgres", "DROP SCHEMA IF EXISTS pgveil CASCADE");
        let proxies = proxies(&server).await;
        let served = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let (budgets, served) = (Arc::clone(&proxies[number % 2]), Arc::clone(&served));
                tokio::spawn(async move { serve(&budgets, &served, u64::MAX).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let total = served.load(Ordering::Relaxed);
        println!("round {round}: {total} rows in {:?}", started.elapsed());
        // Everybody asked until there was none: nothing is left in a lease either.
        assert_eq!(total, LIMIT);
    }
}

/// A proxy that stops asking keeps a lease, which is missing for the other until it is given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_unused_is_at_most_a_lease_of_each_proxy() {
    let server = Postgres::start(Options::default());
    let [one, other] = proxies(&server).await;
    let served = AtomicU64::new(0);
    serve(&one, &served, 1).await;
    serve(&other, &served, u64::MAX).await;
    let total = served.load(Ordering::Relaxed);
    assert!(
        (LIMIT - LEASE_OF_A_PROXY..=LIMIT).contains(&total),
        "{total}"
    );
    one.settle(true).await.unwrap();
    serve(&other, &served, u64::MAX).await;
    assert_eq!(served.load(Ordering::Relaxed), LIMIT);
}

/// The store goes away and comes back while people are served: at no time are more rows served than were taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_comes_and_goes_gives_nobody_more() {
    let server = Postgres::start(Options::default());
    let proxies = proxies(&server).await;
    let served = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..16_usize)
        .map(|number| {
            let (budgets, served) = (Arc::clone(&proxies[number % 2]), Arc::clone(&served));
            tokio::spawn(async move {
                let purse = budgets.purse("ann");
                let since = Instant::now();
                loop {
                    if purse.spend(1, ALLOWED, now()) {
                        served.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    match budgets.refill(&purse, 1, ALLOWED).await {
                        Ok(Refill::Ready) => {}
                        Ok(Refill::Full(..)) => return,
                        Err(error) => {
                            assert!(since.elapsed() < Duration::from_secs(30), "{error}");
                            tokio::task::yield_now().await;
                        }
                    }
                }
            })
        })
        .collect();
    // Each time after somebody was served: the connections are broken in the midst of work.
    let (mut breaks, mut seen) = (0, 0);
    while breaks < 20 && tasks.iter().any(|task| !task.is_finished()) {
        let now_served = served.load(Ordering::Relaxed);
        if now_served > seen {
            let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgveil state'";
            server.sql("postgres", ended);
            seen = now_served;
            breaks += 1;
        }
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let total = served.load(Ordering::Relaxed);
    assert!(total <= LIMIT, "{total}");
    let store = Shared::open(&state_of(&server)).await.unwrap();
    let taken = store.taken("rows:ann", 3600, now()).await.unwrap();
    assert!(total <= taken && taken <= LIMIT, "{total} of {taken}");
    println!("{total} served of {taken} taken, after {breaks} breaks");
}
