//! The shared store, on a private server.
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgveil::config::{Secret, SslMode, StateServer};
use pgveil::export::store::{Document, Postgres as Shared, Put, Store, Window};

use crate::suite::{NOW, request, suite};
use crate::support::{Authentication, Certificates, Options, Postgres, free_port};

pub fn state_of(server: &Postgres) -> StateServer {
    StateServer {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: "postgres".to_owned(),
        password: None,
        database: "postgres".to_owned(),
        tls: SslMode::Prefer,
        ca: None,
    }
}

async fn fresh() -> (Postgres, Shared) {
    let server = Postgres::start(Options::default());
    let store = Shared::open(&state_of(&server)).await.unwrap();
    (server, store)
}

suite!(fresh);

const HOUR: [Window; 1] = [Window {
    seconds: 3600,
    limit: 1000,
}];

/// 64 takers over two stores of two connections each, in many small portions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_takers_of_two_proxies_get_what_there_is_and_no_more() {
    let (server, one) = fresh().await;
    let other = Shared::open(&state_of(&server)).await.unwrap();
    let stores: [Arc<Shared>; 2] = [Arc::new(one), Arc::new(other)];
    let takers: Vec<_> = (0..64_usize)
        .map(|number| {
            let store = Arc::clone(&stores[number % 2]);
            tokio::spawn(async move {
                let mut got = 0;
                for want in (1..=7).cycle() {
                    let taken = store.take("rows:ann", &HOUR, want, NOW).await.unwrap();
                    if taken.amount == 0 {
                        return got;
                    }
                    got += taken.amount;
                }
                got
            })
        })
        .collect();
    let mut sum = 0;
    for taker in takers {
        sum += taker.await.unwrap();
    }
    assert_eq!(sum, 1000);
    assert_eq!(stores[0].taken("rows:ann", 3600, NOW).await.unwrap(), 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_claim_the_same_at_the_same_time_one_holds_it() {
    let (server, one) = fresh().await;
    let other = Shared::open(&state_of(&server)).await.unwrap();
    let stores: [Arc<Shared>; 2] = [Arc::new(one), Arc::new(other)];
    for round in 0..20 {
        let claim = format!("claim {round}");
        let claimants: Vec<_> = (0..8_usize)
            .map(|number| {
                let store = Arc::clone(&stores[number % 2]);
                let draft = request(&format!("{round}-{number}"), 0, "requested", Some(&claim));
                tokio::spawn(async move { store.put(&draft, NOW).await.unwrap() })
            })
            .collect();
        let (mut stored, mut holders) = (0, Vec::new());
        for claimant in claimants {
            match claimant.await.unwrap() {
                Put::Stored(1) => stored += 1,
                Put::Claimed(holder) => holders.push(holder),
                other => panic!("{other:?}"),
            }
        }
        holders.dedup();
        assert_eq!((stored, holders.len()), (1, 1), "{holders:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_change_the_same_revision_one_does() {
    let (server, one) = fresh().await;
    let other = Shared::open(&state_of(&server)).await.unwrap();
    let stores: [Arc<Shared>; 2] = [Arc::new(one), Arc::new(other)];
    let first = request("a", 0, "requested", Some("x"));
    stores[0].put(&first, NOW).await.unwrap();
    for revision in 1..20 {
        let writers: Vec<_> = (0..8_usize)
            .map(|number| {
                let store = Arc::clone(&stores[number % 2]);
                let next = request("a", revision, "approved", Some("x"));
                tokio::spawn(async move { store.put(&next, NOW).await.unwrap() })
            })
            .collect();
        let mut stored = 0;
        for writer in writers {
            match writer.await.unwrap() {
                Put::Stored(next) => {
                    assert_eq!(next, revision + 1);
                    stored += 1;
                }
                other => assert_eq!(other, Put::Stale),
            }
        }
        assert_eq!(stored, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_that_start_together_make_one_schema() {
    let server = Postgres::start(Options::default());
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let state = state_of(&server);
            tokio::spawn(async move { Shared::open(&state).await.map(drop) })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let versions = "SELECT version FROM pgveil.migrations ORDER BY version";
    let versions = server.sql("postgres", versions);
    assert_eq!(versions, [[Some("1".to_owned())], [Some("2".to_owned())]]);
    server.sql(
        "postgres",
        "INSERT INTO pgveil.migrations (version) VALUES (1000)",
    );
    let newer = Shared::open(&state_of(&server)).await.unwrap_err();
    assert!(newer.0.contains("newer pgveil"), "{newer}");
}

/// Names come from logins: they are data in every statement.
#[tokio::test]
async fn a_name_is_never_part_of_a_statement() {
    let (server, store) = fresh().await;
    for name in [
        "rows:o'brien",
        "rows:\\'; DROP SCHEMA pgveil CASCADE; --",
        "rows:$1 {\"x\"} %s 王伟",
        "rows:') , '{}', '{}', 5, 5); DELETE FROM pgveil.counters; --",
    ] {
        assert_eq!(store.take(name, &HOUR, 5, NOW).await.unwrap().amount, 5);
        assert_eq!(store.taken(name, 3600, NOW).await.unwrap(), 5);
    }
    let names = server.sql("postgres", "SELECT count(*) FROM pgveil.counters");
    assert_eq!(names, [[Some("4".to_owned())]]);
    let long = "x".repeat(100_000);
    let claimed = request("a", 0, "requested", Some(&long));
    assert_eq!(store.put(&claimed, NOW).await.unwrap(), Put::Stored(1));
}

#[tokio::test]
async fn a_server_that_goes_away_is_told_at_once_and_found_again() {
    let mut server = Postgres::start(Options::default());
    let store = Shared::open(&state_of(&server)).await.unwrap();
    store.put(&request("a", 0, "", None), NOW).await.unwrap();
    store.take("rows:ann", &HOUR, 7, NOW).await.unwrap();
    server.crash();
    for _ in 0..20 {
        let started = Instant::now();
        let error = store.get("request", "a", NOW).await.unwrap_err();
        assert!(
            error.to_string().contains("state store is unavailable"),
            "{error}"
        );
        store.take("rows:ann", &HOUR, 1, NOW).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(1), "it hangs");
    }
    server.restart();
    let since = Instant::now();
    let found = loop {
        match store.get("request", "a", NOW).await {
            Ok(found) => break found,
            Err(error) => assert!(since.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(found.map(|document| document.revision), Some(1));
    loop {
        match store.taken("rows:ann", 3600, NOW).await {
            Ok(taken) => break assert_eq!(taken, 7, "what was taken is still taken"),
            Err(error) => assert!(since.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// The server's backends are ended, as by an administrator: the next request is served by new ones.
#[tokio::test]
async fn a_connection_that_was_ended_is_made_anew() {
    let (server, store) = fresh().await;
    for _ in 0..5 {
        server.sql(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgveil state'",
        );
        assert_eq!(store.get("request", "a", NOW).await.unwrap(), None);
        store.take("rows:ann", &HOUR, 1, NOW).await.unwrap();
    }
}

/// A lock that somebody holds on the tables: the wait ends with an error, and all is well after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let (server, store) = fresh().await;
    let port = server.port();
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let holder = tokio::spawn(async move {
        let text = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
        let (client, connection) = tokio_postgres::connect(&text, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
            .batch_execute("BEGIN; LOCK TABLE pgveil.counters")
            .await
            .unwrap();
        locked.send(()).unwrap();
        let _ = released.await;
    });
    is_locked.await.unwrap();
    let started = Instant::now();
    let error = store.take("rows:ann", &HOUR, 1, NOW).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(8), "{error}");
    assert_eq!(
        store.get("request", "a", NOW).await.unwrap(),
        None,
        "documents have a connection of their own"
    );
    drop(release);
    holder.await.unwrap();
    let since = Instant::now();
    while let Err(error) = store.take("rows:ann", &HOUR, 1, NOW).await {
        assert!(since.elapsed() < Duration::from_secs(20), "{error}");
    }
}

#[tokio::test]
async fn a_start_without_the_server_says_where_it_looked() {
    let server = StateServer {
        host: "127.0.0.1".to_owned(),
        port: free_port(),
        user: "pgveil".to_owned(),
        password: Some(Secret::new("hunter2".to_owned())),
        database: "state".to_owned(),
        tls: SslMode::Disable,
        ca: None,
    };
    let error = Shared::open(&server).await.unwrap_err().to_string();
    let place = format!("pgveil@127.0.0.1:{}/state", server.port);
    assert!(
        error.contains(&place) && error.contains("refused"),
        "{error}"
    );
    assert!(!error.contains("hunter2"));
}

#[tokio::test]
async fn it_logs_in_by_password_over_verified_tls() {
    let certificates = Certificates::new();
    let server = Postgres::start(Options {
        authentication: Authentication::Scram,
        tls: Some(&certificates),
        tls_only: true,
        ..Options::default()
    });
    let tls = StateServer {
        tls: SslMode::VerifyFull,
        ca: Some(certificates.ca_file()),
        user: "keeper".to_owned(),
        password: Some(Secret::new("s3cret".to_owned())),
        ..state_of(&server)
    };
    let setup = "CREATE ROLE keeper LOGIN PASSWORD 's3cret'";
    let options = format!(
        "host=127.0.0.1 port={} dbname=postgres user=postgres sslmode=require",
        server.port()
    );
    let made = server.psql(&["-d", &options, "-v", "ON_ERROR_STOP=1", "-c", setup]);
    assert!(made.status.success(), "{made:?}");
    let refused = Shared::open(&tls).await.unwrap_err().to_string();
    assert!(
        refused.contains("permission denied for database"),
        "{refused}"
    );
    let grant = "GRANT CREATE ON DATABASE postgres TO keeper";
    let made = server.psql(&["-d", &options, "-v", "ON_ERROR_STOP=1", "-c", grant]);
    assert!(made.status.success(), "{made:?}");
    let store = Shared::open(&tls).await.unwrap();
    let kept = Document {
        body: "{\"reason\":\"审计 \\u0000\"}".to_owned(),
        ..request("a", 0, "requested", None)
    };
    store.put(&kept, NOW).await.unwrap();
    let found = store.get("request", "a", NOW).await.unwrap().unwrap();
    assert_eq!(found.body, kept.body);
    let others = Certificates::new();
    let unknown = StateServer {
        ca: Some(others.ca_file()),
        ..tls.clone()
    };
    assert!(Shared::open(&unknown).await.is_err(), "another authority");
    let plain = StateServer {
        tls: SslMode::Disable,
        ca: None,
        ..tls
    };
    assert!(Shared::open(&plain).await.is_err(), "the server wants TLS");
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_name_is_refused() {
    let server = Postgres::start(Options::default());
    server.sql(
        "postgres",
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    );
    let latin = StateServer {
        database: "latin".to_owned(),
        ..state_of(&server)
    };
    let error = Shared::open(&latin).await.unwrap_err();
    assert!(error.0.contains("LATIN1"), "{error}");
}
