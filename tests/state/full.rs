//! The disk of the embedded store is full.
use std::sync::Arc;

use pgveil::export::clock::now;
use pgveil::export::request::Terms;
use pgveil::export::store::Sqlite;
use pgveil::export::{Allowed, Desk, DeskError, Met, Refill};

use crate::support::export_request::{approver, asked};
use crate::support::{Disk, Folder, skip};

const NAME: &str = "a_store_whose_disk_is_full_says_so_and_keeps_what_it_has";

const ALLOWED: Allowed = Allowed {
    per_hour: None,
    per_day: Some(100_000),
    subjects_per_day: None,
};

fn is_full(outcome: Result<(), DeskError>) {
    match outcome {
        Err(DeskError::Store(error)) => assert!(error.0.contains("full"), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// The thread of one that was dropped closes the file when it sees that nobody asks any more.
fn open(disk: &Disk) -> Result<Sqlite, String> {
    loop {
        match Sqlite::open(&disk.path().join("state.db")) {
            Err(error) if error.0.contains("another process") => {}
            other => return other.map_err(|error| error.0),
        }
    }
}

async fn desk(store: Sqlite) -> Desk {
    let desk = Desk::new(Arc::new(store), Arc::new(|_| Ok(())), "v1").await;
    desk.expect("a desk")
}

#[tokio::test]
async fn a_store_whose_disk_is_full_says_so_and_keeps_what_it_has() {
    let folder = Folder::new("full");
    let Some(disk) = Disk::mount(&folder, 1024) else {
        skip(NAME, "this user may not mount a file system");
        return;
    };
    let one = desk(open(&disk).expect("opened")).await;
    let Met::Waiting(request, _) = one.exceeded(&asked("ann", "1"), None).await.expect("asked")
    else {
        panic!("a grant that nobody gave");
    };
    let purse = one.budgets.purse("ann");
    let refilled = one.budgets.refill(&purse, 500, ALLOWED).await;
    assert_eq!(refilled.expect("taken"), Refill::Ready);
    let taken = async |desk: &Desk| {
        let taken = desk.store().taken("rows:ann", 24 * 3600, now()).await;
        taken.expect("it can be read")
    };
    let before = taken(&one).await;
    one.tidy().await.expect("there is room");

    disk.fill();
    // Nothing is to be done, and still it is known that nothing could be.
    is_full(one.tidy().await);
    let terms = Terms::default();
    let lea = approver("lea", "legal");
    let signed = one.approve(&request.id, &lea, None, &terms, None, 1);
    is_full(signed.await.map(drop));
    is_full(one.exceeded(&asked("ann", "2"), None).await.map(drop));
    assert!(purse.spend(500, ALLOWED, now()), "what was leased before");
    let refilled = one.budgets.refill(&purse, 5000, ALLOWED).await;
    assert!(refilled.is_err(), "{refilled:?}");
    assert!(
        !purse.spend(2000, ALLOWED, now()),
        "rows that are not on the disk"
    );
    assert_eq!(taken(&one).await, before);
    let read = one.get(&request.id).await.expect("it can be read");
    assert_eq!(read.history.len(), 1);

    // Closed and opened without room, perhaps in vain.
    drop(one);
    let opened = open(&disk);
    eprintln!("opened on a full disk: {:?}", opened.as_ref().err());
    drop(opened);

    disk.make_room();
    let again = desk(open(&disk).expect("opened")).await;
    again.tidy().await.expect("there is room");
    assert_eq!(taken(&again).await, before, "given back or lost");
    assert_eq!(again.list(&[]).await.expect("all").len(), 1);
    let signed = again
        .approve(&request.id, &lea, None, &terms, None, 1)
        .await;
    assert_eq!(signed.expect("signed").history.len(), 2);
}
