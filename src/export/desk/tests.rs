//! The desk over the embedded store.
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::export::fixture::{Folder, Hands, NOON, approver, asked};
use crate::export::request::Terms;
use crate::export::store::{Document, Sqlite};

/// A desk whose record can be read, and fails when it is told to.
struct Office {
    desk: Arc<Desk>,
    hands: Hands,
    record: Arc<Mutex<Vec<Record>>>,
    broken: Arc<AtomicBool>,
    store: Arc<Sqlite>,
    _folder: Folder,
}

async fn office() -> Office {
    let folder = Folder::new();
    let store = folder.store();
    let record: Arc<Mutex<Vec<Record>>> = Arc::default();
    let broken = Arc::new(AtomicBool::new(false));
    let hands = Hands::at(NOON);
    let write: RecordFn = {
        let (record, broken) = (Arc::clone(&record), Arc::clone(&broken));
        Arc::new(move |line| {
            if broken.load(Ordering::SeqCst) {
                return Err("the disk is full".to_owned());
            }
            record.lock().unwrap().push(line.clone());
            Ok(())
        })
    };
    let shared: Arc<dyn Store> = Arc::clone(&store) as _;
    let desk = Desk::with_clock(shared, write, "v1", hands.clock())
        .await
        .unwrap();
    Office {
        desk: Arc::new(desk),
        hands,
        record,
        broken,
        store,
        _folder: folder,
    }
}

impl Office {
    /// Actions on record, in order.
    fn recorded(&self) -> Vec<&'static str> {
        let record = self.record.lock().unwrap();
        let actions = record
            .iter()
            .filter_map(|line| line.export.as_ref()?.action);
        actions.collect()
    }

    async fn open(&self) -> Request {
        match self.desk.exceeded(&asked(), None).await.unwrap() {
            Met::Waiting(request, _) => *request,
            Met::Grant(_) => panic!("there is a grant"),
        }
    }

    async fn sign(&self, id: &str, person: &str, group: &str) -> Result<Request, DeskError> {
        let approver = approver(person, &[group]);
        let seen = self.desk.get(id).await?.history.len();
        self.desk
            .approve(id, &approver, None, &Terms::default(), None, seen)
            .await
    }

    async fn granted(&self) -> Request {
        let id = self.open().await.id;
        self.sign(&id, "leo", "legal").await.unwrap();
        self.sign(&id, "dora", "dpo").await.unwrap()
    }
}

#[tokio::test]
async fn a_repeated_refused_statement_finds_its_request() {
    let office = office().await;
    let Met::Waiting(first, true) = office.desk.exceeded(&asked(), None).await.unwrap() else {
        panic!("not a new request")
    };
    for reason in [None, Some("audit"), Some(" audit "), None] {
        let Met::Waiting(again, false) = office.desk.exceeded(&asked(), reason).await.unwrap()
        else {
            panic!("another request")
        };
        assert_eq!(again.id, first.id);
    }
    assert_eq!(office.desk.list(&[]).await.unwrap().len(), 1);
    let kept = office.desk.get(&first.id).await.unwrap();
    assert_eq!(kept.reason.as_deref(), Some("audit"));
    assert_eq!(office.recorded(), ["open", "explain"]);
}

#[tokio::test]
async fn what_waits_is_counted_until_it_is_signed() {
    let office = office().await;
    assert_eq!(office.desk.waiting().await.unwrap(), Waiting::default());
    let first = office.open().await;
    office.hands.advance(600);
    let other = Asked {
        person: "bob".to_owned(),
        ..asked()
    };
    office.desk.exceeded(&other, None).await.unwrap();
    office.hands.advance(60);
    let waiting = |count, oldest| Waiting { count, oldest };
    assert_eq!(office.desk.waiting().await.unwrap(), waiting(2, 660));
    for (person, group) in [("lea", "legal"), ("dan", "dpo")] {
        office.sign(&first.id, person, group).await.unwrap();
    }
    assert_eq!(office.desk.waiting().await.unwrap(), waiting(1, 60));
}

#[tokio::test]
async fn other_values_people_or_policies_are_other_requests() {
    let office = office().await;
    let mut ids = BTreeSet::from([office.open().await.id]);
    for other in [
        Asked {
            digest: "d2".to_owned(),
            ..asked()
        },
        Asked {
            person: "bob".to_owned(),
            ..asked()
        },
        Asked {
            policy_version: "v2".to_owned(),
            ..asked()
        },
        Asked {
            database: "hr".to_owned(),
            ..asked()
        },
        Asked {
            purpose: Some("billing".to_owned()),
            ..asked()
        },
        Asked {
            masked_outside: 2,
            ..asked()
        },
    ] {
        let Met::Waiting(request, true) = office.desk.exceeded(&other, None).await.unwrap() else {
            panic!("not a new request")
        };
        ids.insert(request.id);
    }
    assert_eq!(ids.len(), 7);
}

#[tokio::test]
async fn sixteen_sessions_that_are_refused_at_once_open_one_request() {
    let office = office().await;
    let sessions: Vec<_> = (0..16)
        .map(|_| {
            let desk = Arc::clone(&office.desk);
            tokio::spawn(async move { desk.exceeded(&asked(), None).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    let mut ids = BTreeSet::new();
    for session in sessions {
        let Met::Waiting(request, opened) = session.await.unwrap() else {
            panic!("a grant from nowhere")
        };
        new += u32::from(opened);
        ids.insert(request.id);
    }
    assert_eq!((new, ids.len()), (1, 1));
}

#[tokio::test]
async fn reasons_that_change_with_every_statement_end_somewhere() {
    let office = office().await;
    let id = office.open().await.id;
    for round in 0..3 * crate::export::request::MAX_EXPLAINED {
        let reason = format!("reason {round}");
        let met = office.desk.exceeded(&asked(), Some(&reason)).await;
        assert!(matches!(met.unwrap(), Met::Waiting(_, false)));
    }
    let steps = office.desk.get(&id).await.unwrap().history.len();
    assert_eq!(steps, 1 + crate::export::request::MAX_EXPLAINED);
}

#[tokio::test]
async fn of_two_that_sign_at_the_same_time_one_reads_again_and_both_count() {
    let office = office().await;
    for _ in 0..8 {
        let id = office.open().await.id;
        let (leo, dora) = tokio::join!(
            office.sign(&id, "leo", "legal"),
            office.sign(&id, "dora", "dpo")
        );
        let (first, (late, group)) = match (leo, dora) {
            (Ok(first), late) => (first, (late, ("dora", "dpo"))),
            (late, Ok(first)) => (first, (late, ("leo", "legal"))),
            neither => panic!("{neither:?}"),
        };
        let granted = match late {
            Err(DeskError::Objection(Objection::Changed { seen: 1, steps: 2 })) => {
                assert_eq!(first.state, State::Approved);
                office.sign(&id, group.0, group.1).await.unwrap()
            }
            // It had read what the other one did.
            other => other.unwrap(),
        };
        let states = BTreeSet::from([first.state, granted.state]);
        assert_eq!(states, BTreeSet::from([State::Approved, State::Granted]));
        let request = office.desk.get(&id).await.unwrap();
        assert_eq!(request.signatures().count(), 2);
        for _ in 0..2 {
            let met = office.desk.exceeded(&asked(), None).await.unwrap();
            assert!(matches!(met, Met::Grant(_)));
        }
    }
}

#[tokio::test]
async fn one_that_signs_twice_at_the_same_time_counts_once() {
    let office = office().await;
    let id = office.open().await.id;
    let (one, two) = tokio::join!(
        office.sign(&id, "leo", "legal"),
        office.sign(&id, "LEO ", "dpo")
    );
    assert_eq!(u8::from(one.is_ok()) + u8::from(two.is_ok()), 1);
    let request = office.desk.get(&id).await.unwrap();
    assert_eq!(
        (request.state, request.signatures().count()),
        (State::Approved, 1)
    );
}

#[tokio::test]
async fn what_changed_since_it_was_read_is_not_decided_on() {
    let office = office().await;
    let id = office.open().await.id;
    let (leo, terms) = (approver("leo", &["legal"]), Terms::default());
    let explained = office.desk.explain(&id, "ann", "something else").await;
    explained.unwrap();
    for seen in [0, 1, 3] {
        let signed = office
            .desk
            .approve(&id, &leo, None, &terms, None, seen)
            .await;
        let objection = signed.unwrap_err().to_string();
        assert!(
            objection.contains("changed since it was read"),
            "{objection}"
        );
    }
    let rejected = office.desk.reject(&id, &leo, None, Some(1)).await;
    assert!(matches!(
        rejected,
        Err(DeskError::Objection(Objection::Changed {
            seen: 1,
            steps: 2
        }))
    ));
    assert_eq!(office.recorded(), ["open", "explain"]);
    office
        .desk
        .approve(&id, &leo, None, &terms, None, 2)
        .await
        .unwrap();
    // What has ended says so, whatever was read.
    office.desk.reject(&id, &leo, None, None).await.unwrap();
    let late = office.desk.approve(&id, &leo, None, &terms, None, 1).await;
    assert!(matches!(
        late,
        Err(DeskError::Objection(Objection::NotPending(State::Rejected)))
    ));
}

/// Nobody's statement waits until thousands of other people's requests are read: one of them that cannot be is not met.
#[tokio::test]
async fn a_request_is_found_without_reading_those_of_others() {
    let office = office().await;
    let damaged = Document {
        kind: REQUEST,
        key: "0bad0bad".to_owned(),
        revision: 0,
        label: State::Requested.label().to_owned(),
        claim: Some(claim(&Asked {
            person: "anna".to_owned(),
            ..asked()
        })),
        body: "{".to_owned(),
        expires: None,
    };
    office
        .store
        .put(&damaged, office.hands.now())
        .await
        .unwrap();
    assert!(office.desk.list(&[State::Requested]).await.is_err());
    let id = office.open().await.id;
    assert_eq!(office.open().await.id, id);
    office.sign(&id, "leo", "legal").await.unwrap();
    office.sign(&id, "dora", "dpo").await.unwrap();
    let (none, phone) = (BTreeSet::new(), BTreeSet::from(["phone".to_owned()]));
    assert_eq!(office.desk.redeem(&asked(), &phone).await.unwrap(), None);
    assert!(office.desk.redeem(&asked(), &none).await.unwrap().is_some());
    let met = office.desk.exceeded(&asked(), None).await.unwrap();
    assert!(matches!(met, Met::Grant(_)));
}

#[tokio::test]
async fn a_grant_is_used_no_more_often_by_many_at_once() {
    let office = office().await;
    office.granted().await;
    let sessions: Vec<_> = (0..16)
        .map(|_| {
            let desk = Arc::clone(&office.desk);
            tokio::spawn(async move { desk.exceeded(&asked(), None).await })
        })
        .collect();
    let mut grants = 0;
    for session in sessions {
        match session.await.unwrap() {
            Ok(Met::Grant(_)) => grants += 1,
            Ok(Met::Waiting(..)) | Err(DeskError::Store(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(grants, asked().uses);
    // A step may be on record twice, under its number.
    let record = office.record.lock().unwrap();
    let steps = record.iter().filter_map(|line| line.export.as_ref());
    let uses: BTreeSet<_> = steps
        .filter(|export| export.action == Some("use"))
        .map(|export| (export.request.clone(), export.step))
        .collect();
    assert_eq!(uses.len(), asked().uses as usize);
}

#[tokio::test]
async fn too_many_open_requests_are_refused_until_one_ends() {
    let office = office().await;
    let other = |number: usize| Asked {
        digest: format!("d{number}"),
        ..asked()
    };
    for number in 0..MAX_OPEN {
        office.desk.exceeded(&other(number), None).await.unwrap();
    }
    let refused = office.desk.exceeded(&other(MAX_OPEN), None).await;
    assert!(
        matches!(refused, Err(DeskError::TooMany { ref person, count }) if person == "ann" && count == MAX_OPEN)
    );
    let again = office.desk.exceeded(&other(0), None).await.unwrap();
    assert!(
        matches!(again, Met::Waiting(_, false)),
        "those that are open are found"
    );
    let bob = Asked {
        person: "bob".to_owned(),
        ..asked()
    };
    assert!(
        office.desk.exceeded(&bob, None).await.is_ok(),
        "others are not affected"
    );
    let first = office.desk.list(&[State::Requested]).await.unwrap();
    let first = first
        .iter()
        .find(|request| request.asked.person == "ann")
        .unwrap();
    office.desk.withdraw(&first.id, "ann").await.unwrap();
    assert!(office.desk.exceeded(&other(MAX_OPEN), None).await.is_ok());
}

#[tokio::test]
async fn what_was_stored_and_not_recorded_is_recorded_by_catching_up() {
    let office = office().await;
    let id = office.open().await.id;
    office.broken.store(true, Ordering::SeqCst);
    let unrecorded = office.sign(&id, "leo", "legal").await;
    assert!(matches!(unrecorded, Err(DeskError::Unrecorded(_))));
    assert_eq!(office.recorded(), ["open"]);
    assert!(matches!(
        office.desk.catch_up().await,
        Err(DeskError::Unrecorded(_))
    ));
    office.broken.store(false, Ordering::SeqCst);
    office.desk.catch_up().await.unwrap();
    assert_eq!(office.recorded(), ["open", "approve"]);
    office.desk.catch_up().await.unwrap();
    assert_eq!(office.recorded(), ["open", "approve"], "once");
}

#[tokio::test]
async fn the_last_step_of_what_has_ended_is_recorded_by_catching_up() {
    let office = office().await;
    let id = office.open().await.id;
    office.broken.store(true, Ordering::SeqCst);
    office.desk.withdraw(&id, "ann").await.unwrap_err();
    office.broken.store(false, Ordering::SeqCst);
    office.desk.catch_up().await.unwrap();
    assert_eq!(office.recorded(), ["open", "withdraw"]);
}

#[tokio::test]
async fn a_use_that_cannot_be_recorded_is_none_that_serves() {
    let office = office().await;
    office.granted().await;
    office.broken.store(true, Ordering::SeqCst);
    let met = office.desk.exceeded(&asked(), None).await;
    assert!(matches!(met, Err(DeskError::Unrecorded(_))));
}

#[tokio::test]
async fn time_and_a_new_policy_end_what_is_open() {
    let office = office().await;
    let id = office.open().await.id;
    office
        .hands
        .advance(i64::try_from(REQUEST_WAITS.as_secs()).unwrap());
    office.desk.catch_up().await.unwrap();
    assert_eq!(office.desk.get(&id).await.unwrap().state, State::Expired);
    let grant = office.granted().await;
    office.hands.advance(asked().holds);
    let late = office.desk.exceeded(&asked(), None).await.unwrap();
    assert!(
        matches!(late, Met::Waiting(_, true)),
        "it has run out: another request"
    );
    assert_eq!(
        office.desk.get(&grant.id).await.unwrap().state,
        State::Expired
    );
    let Met::Waiting(waiting, _) = late else {
        return;
    };
    office.desk.policy_changed("v2");
    let signed = office.sign(&waiting.id, "leo", "legal").await;
    assert!(matches!(
        signed,
        Err(DeskError::Objection(Objection::NotPending(State::Void)))
    ));
    assert_eq!(
        office.recorded(),
        [
            "open", "expire", "open", "approve", "approve", "expire", "open", "void"
        ]
    );
}

#[tokio::test]
async fn every_step_is_told_once_it_was_told() {
    let office = office().await;
    let request = office.open().await;
    let other = Asked {
        digest: "d2".to_owned(),
        ..asked()
    };
    office.desk.exceeded(&other, None).await.unwrap();
    assert_eq!(office.desk.untold(100).await.unwrap().len(), 2);
    office.desk.told(&request.id, 1).await.unwrap();
    assert_eq!(office.desk.untold(100).await.unwrap().len(), 1);
    office.sign(&request.id, "leo", "legal").await.unwrap();
    let untold = office.desk.untold(100).await.unwrap();
    let found = untold.iter().find(|found| found.id == request.id).unwrap();
    assert_eq!((found.notified, found.history.len()), (1, 2));
    office.desk.told(&request.id, 2).await.unwrap();
    office.desk.told(&request.id, 1).await.unwrap();
    let kept = office.desk.get(&request.id).await.unwrap();
    assert_eq!(kept.notified, 2, "telling less takes nothing back");
    assert_eq!(
        office.desk.list(&[State::Approved]).await.unwrap().len(),
        1,
        "told or not"
    );
    assert_eq!(
        office.desk.list(&[State::Requested]).await.unwrap().len(),
        1
    );
    assert_eq!(office.desk.list(&[]).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_waits_for_a_change_sees_it() {
    let office = office().await;
    let mut changes = office.desk.changes();
    assert!(!changes.has_changed().unwrap());
    office.open().await;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    office.open().await;
    assert!(!changes.has_changed().unwrap(), "nothing was changed");
}

#[tokio::test]
async fn desks_over_one_store_have_one_key() {
    let office = office().await;
    let shared: Arc<dyn Store> = Arc::clone(&office.store) as _;
    let other = Desk::new(shared, Arc::new(|_| Ok(())), "v1").await.unwrap();
    assert_eq!(other.key(), office.desk.key());
    assert_eq!(other.digest(b"x"), office.desk.digest(b"x"));
    assert_ne!(other.digest(b"x"), other.digest(b"y"));
    assert_eq!(other.digest(b"x").len(), 32);
}
