//! What every store must do, whichever it is: each check takes a store that is empty.
use pgveil::export::store::{BUCKET, Document, LEASE, Later, Put, Seconds, Store, Window};

pub const NOW: Seconds = 1_795_332_096;
const HOUR: u64 = 3600;

pub fn request(key: &str, revision: i64, label: &str, claim: Option<&str>) -> Document {
    Document {
        kind: "request",
        key: key.to_owned(),
        revision,
        label: label.to_owned(),
        claim: claim.map(str::to_owned),
        body: format!("{{\"of\":\"{key} {revision}\"}}"),
        expires: None,
    }
}

pub async fn documents_are_replaced_only_by_who_read_the_last_revision(store: &dyn Store) {
    assert_eq!(store.get("request", "a", NOW).await.unwrap(), None);
    let first = request("a", 0, "requested", None);
    assert_eq!(store.put(&first, NOW).await.unwrap(), Put::Stored(1));
    assert_eq!(store.put(&first, NOW).await.unwrap(), Put::Stale);
    let stored = store.get("request", "a", NOW).await.unwrap().unwrap();
    assert_eq!(
        stored,
        Document {
            revision: 1,
            ..first
        }
    );
    let second = request("a", 1, "approved", None);
    assert_eq!(store.put(&second, NOW).await.unwrap(), Put::Stored(2));
    assert_eq!(store.put(&second, NOW).await.unwrap(), Put::Stale);
    assert_eq!(store.get("account", "a", NOW).await.unwrap(), None);
    assert!(!store.delete("request", "a", 1).await.unwrap());
    assert!(store.delete("request", "a", 2).await.unwrap());
    assert_eq!(store.put(&second, NOW).await.unwrap(), Put::Stale);
}

pub async fn a_claim_has_one_holder(store: &dyn Store) {
    let open = |key, claim| request(key, 0, "requested", claim);
    assert_eq!(
        store.put(&open("a", Some("x")), NOW).await.unwrap(),
        Put::Stored(1)
    );
    assert_eq!(
        store.put(&open("b", Some("x")), NOW).await.unwrap(),
        Put::Claimed("a".to_owned())
    );
    assert_eq!(
        store.put(&open("b", None), NOW).await.unwrap(),
        Put::Stored(1)
    );
    assert_eq!(
        store
            .put(&request("a", 1, "used", None), NOW)
            .await
            .unwrap(),
        Put::Stored(2)
    );
    assert_eq!(
        store
            .put(&request("b", 1, "requested", Some("x")), NOW)
            .await
            .unwrap(),
        Put::Stored(2)
    );
}

pub async fn what_has_expired_is_not_there(store: &dyn Store) {
    let mortal = Document {
        expires: Some(NOW + 10),
        ..request("a", 0, "", Some("x"))
    };
    assert_eq!(store.put(&mortal, NOW).await.unwrap(), Put::Stored(1));
    assert!(store.get("request", "a", NOW + 9).await.unwrap().is_some());
    assert!(store.get("request", "a", NOW + 10).await.unwrap().is_none());
    assert!(
        store
            .list("request", &[], "", 10, NOW + 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        store
            .put(&request("b", 0, "", Some("x")), NOW + 10)
            .await
            .unwrap(),
        Put::Stored(1)
    );
    assert_eq!(
        store
            .put(
                &Document {
                    expires: None,
                    ..mortal
                },
                NOW + 10
            )
            .await
            .unwrap(),
        Put::Claimed("b".to_owned())
    );
}

pub async fn lists_are_by_key_label_and_page(store: &dyn Store) {
    for (key, label) in [
        ("c", "used"),
        ("a", "requested"),
        ("d", "granted"),
        ("b", "requested"),
    ] {
        store.put(&request(key, 0, label, None), NOW).await.unwrap();
    }
    let keys = async |labels: &[&str], after: &str, limit| {
        let found = store
            .list("request", labels, after, limit, NOW)
            .await
            .unwrap();
        found
            .into_iter()
            .map(|document| document.key)
            .collect::<String>()
    };
    assert_eq!(keys(&[], "", 10).await, "abcd");
    assert_eq!(keys(&["requested", "granted"], "", 10).await, "abd");
    assert_eq!(keys(&[], "", 2).await, "ab");
    assert_eq!(keys(&[], "b", 2).await, "cd");
}

pub async fn claims_are_found_by_what_they_begin_with(store: &dyn Store) {
    let long = "x".repeat(500);
    for (key, claim) in [
        ("a", Some("[\"ann\",1]")),
        ("b", Some("[\"ann\",2]")),
        ("c", Some("[\"anna\",1]")),
        ("d", Some("[\"ann\u{10ffff}\",1]")),
        ("e", Some(&*format!("[\"{long}\",1]"))),
        ("f", Some(&*format!("[\"{long}\",2]"))),
        ("g", Some("[\"%\",1]")),
        ("h", None),
    ] {
        let stored = store.put(&request(key, 0, "requested", claim), NOW).await;
        assert_eq!(stored.unwrap(), Put::Stored(1));
    }
    let mortal = Document {
        expires: Some(NOW),
        ..request("i", 0, "used", Some("[\"ann\",3]"))
    };
    store.put(&mortal, NOW - 1).await.unwrap();
    let keys = async |prefix: &str, limit| {
        let found = store.claimed("request", prefix, limit, NOW).await.unwrap();
        found
            .into_iter()
            .map(|document| document.key)
            .collect::<String>()
    };
    assert_eq!(keys("[\"ann\",", 10).await, "ab");
    assert_eq!(keys("[\"ann\",2]", 10).await, "b");
    assert_eq!(keys("[\"ann\",2]", 1).await, "b");
    assert_eq!(keys("[\"ann", 1).await, "a");
    assert_eq!(keys(&format!("[\"{long}\",2]"), 1).await, "f");
    assert_eq!(keys(&format!("[\"{long}\","), 10).await, "ef");
    assert_eq!(keys("[\"%", 10).await, "g");
    assert_eq!(keys("[\"b", 10).await, "");
    assert!(
        store
            .claimed("account", "[", 10, NOW)
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn no_window_is_ever_exceeded(store: &dyn Store) {
    let windows = [
        Window {
            seconds: HOUR,
            limit: 100,
        },
        Window {
            seconds: 24 * HOUR,
            limit: 150,
        },
    ];
    let take = async |want, now| {
        store
            .take("rows:ann", &windows, want, now)
            .await
            .unwrap()
            .amount
    };
    assert_eq!(take(60, NOW).await, 60);
    assert_eq!(take(60, NOW + 1).await, 40);
    assert_eq!(take(1, NOW + 2).await, 0);
    assert_eq!(
        store
            .take("rows:bob", &windows, 5, NOW)
            .await
            .unwrap()
            .amount,
        5
    );
    // An hour after the first, less a second, and with the time a lease may be spent in: still full.
    assert_eq!(take(1, NOW + HOUR as Seconds + LEASE).await, 0);
    let later = NOW + HOUR as Seconds + LEASE + 3 * BUCKET;
    assert_eq!(store.taken("rows:ann", HOUR, later).await.unwrap(), 0);
    assert_eq!(take(100, later).await, 50, "the day is full");
}

pub async fn what_was_not_spent_can_be_given_back(store: &dyn Store) {
    let windows = [Window {
        seconds: HOUR,
        limit: 100,
    }];
    let taken = store.take("rows:ann", &windows, 80, NOW).await.unwrap();
    store.give_back("rows:ann", taken.bucket, 30).await.unwrap();
    assert_eq!(store.taken("rows:ann", HOUR, NOW).await.unwrap(), 50);
    store
        .give_back("rows:ann", taken.bucket, 1000)
        .await
        .unwrap();
    assert_eq!(
        store.taken("rows:ann", HOUR, NOW).await.unwrap(),
        0,
        "never below nothing"
    );
    store
        .give_back("rows:nobody", taken.bucket, 10)
        .await
        .unwrap();
    assert_eq!(
        store
            .take("rows:nobody", &windows, 1000, NOW)
            .await
            .unwrap()
            .amount,
        100
    );
}

pub async fn a_member_is_new_once_a_day(store: &dyn Store) {
    assert_eq!(
        store
            .see("subjects:ann", 7, &[1, 2, i64::MIN])
            .await
            .unwrap(),
        3
    );
    assert_eq!(store.see("subjects:ann", 7, &[2, 3, 3]).await.unwrap(), 1);
    assert_eq!(store.see("subjects:ann", 8, &[1]).await.unwrap(), 1);
    let mut seen = store.seen("subjects:ann", 7).await.unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [i64::MIN, 1, 2, 3]);
}

pub async fn sweeping_takes_only_what_nobody_can_see(store: &dyn Store) {
    let day = 86_400;
    let windows = [Window {
        seconds: 24 * HOUR,
        limit: 100,
    }];
    store
        .take("rows:ann", &windows, 10, NOW - 4 * day)
        .await
        .unwrap();
    store
        .take("rows:ann", &windows, 10, NOW - day)
        .await
        .unwrap();
    store
        .see("subjects:ann", (NOW - 4 * day) / day, &[1])
        .await
        .unwrap();
    store.see("subjects:ann", NOW / day, &[1]).await.unwrap();
    store
        .put(
            &Document {
                expires: Some(NOW - 1),
                ..request("old", 0, "", None)
            },
            NOW - day,
        )
        .await
        .unwrap();
    store.put(&request("new", 0, "", None), NOW).await.unwrap();
    assert_eq!(store.sweep(NOW).await.unwrap(), 3);
    assert_eq!(store.taken("rows:ann", 24 * HOUR, NOW).await.unwrap(), 10);
    assert_eq!(store.seen("subjects:ann", NOW / day).await.unwrap(), [1]);
    assert!(store.get("request", "new", NOW).await.unwrap().is_some());
}

/// 64 that take at the same time get no more together than there is.
pub async fn a_race_for_the_last_rows_has_no_two_winners(store: &dyn Store) {
    let windows = [Window {
        seconds: HOUR,
        limit: 100,
    }];
    let takers = (0..64).map(|_| store.take("rows:ann", &windows, 7, NOW));
    let mut sum = 0;
    for taken in futures(takers).await {
        sum += taken.amount;
    }
    assert_eq!(sum, 100);
}

/// Polls all of them together.
async fn futures<T>(all: impl Iterator<Item = Later<'_, T>>) -> Vec<T> {
    let mut pending: Vec<_> = all.map(|one| (one, None)).collect();
    std::future::poll_fn(|context| {
        let mut waiting = false;
        for (one, done) in &mut pending {
            if done.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *done = Some(value),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    pending
        .into_iter()
        .filter_map(|(_, done)| done)
        .map(|value| value.unwrap())
        .collect()
}

/// Names the checks of the suite for a store: `suite!(fresh)`, where `fresh().await` gives an empty one and what keeps
/// it alive.
macro_rules! suite {
    ($fresh:path) => {
        $crate::suite::suite!($fresh:
            documents_are_replaced_only_by_who_read_the_last_revision,
            a_claim_has_one_holder,
            what_has_expired_is_not_there,
            lists_are_by_key_label_and_page,
            claims_are_found_by_what_they_begin_with,
            no_window_is_ever_exceeded,
            what_was_not_spent_can_be_given_back,
            a_member_is_new_once_a_day,
            sweeping_takes_only_what_nobody_can_see,
            a_race_for_the_last_rows_has_no_two_winners,
        );
    };
    ($fresh:path: $($check:ident,)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let (_alive, store) = $fresh().await;
            $crate::suite::$check(&store).await;
        })*
    };
}
pub(crate) use suite;
