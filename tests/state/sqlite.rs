//! The embedded store.
use std::path::PathBuf;

use pgveil::export::store::{Sqlite, Store};

use crate::suite::{NOW, request, suite};
use crate::support::Folder;

fn file(folder: &Folder) -> PathBuf {
    folder.path().join("state.db")
}

async fn fresh() -> (Folder, Sqlite) {
    let folder = Folder::new("state");
    let store = Sqlite::open(&file(&folder)).unwrap();
    (folder, store)
}

suite!(fresh);

#[tokio::test]
async fn everything_is_there_after_it_was_closed() {
    let folder = Folder::new("state");
    let store = Sqlite::open(&file(&folder)).unwrap();
    store
        .put(&request("a", 0, "requested", None), NOW)
        .await
        .unwrap();
    drop(store);
    // Its thread closes the file when it sees that nobody asks any more.
    let again = loop {
        match Sqlite::open(&file(&folder)) {
            Ok(store) => break store,
            Err(error) => assert!(error.0.contains("another process"), "{error}"),
        }
    };
    assert_eq!(
        again
            .get("request", "a", NOW)
            .await
            .unwrap()
            .unwrap()
            .revision,
        1
    );
}

#[tokio::test]
async fn a_file_in_use_is_not_shared() {
    let (folder, _store) = fresh().await;
    let error = Sqlite::open(&file(&folder)).unwrap_err();
    assert!(
        error.0.contains("another process uses this file"),
        "{error}"
    );
}

/// It holds the key of digests, password hashes and second factors.
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (folder, store) = fresh().await;
    let document = request("a", 0, "requested", None);
    store.put(&document, NOW).await.unwrap();
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let modes: Vec<u32> = entries
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode() & 0o777)
        .collect();
    assert!(modes.len() > 1, "the log of changes besides");
    assert!(modes.iter().all(|mode| *mode == 0o600), "{modes:?}");
}

/// What was answered would be gone with the process, and budgets would be given back.
#[tokio::test]
async fn a_file_that_is_gone_or_another_keeps_nothing_and_says_so() {
    let (folder, store) = fresh().await;
    let document = |key: &str| request(key, 0, "requested", None);
    store.put(&document("a"), NOW).await.unwrap();
    let (file, aside) = (file(&folder), folder.path().join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    let error = store.put(&document("b"), NOW).await.unwrap_err();
    assert!(error.0.contains("state.db: No such file"), "{error}");
    std::fs::copy(&aside, &file).unwrap();
    let error = store.get("request", "a", NOW).await.unwrap_err();
    assert!(error.0.contains("another file stands"), "{error}");
    std::fs::rename(&aside, &file).unwrap();
    store.put(&document("b"), NOW).await.unwrap();
}

#[test]
fn a_file_of_a_newer_pgveil_is_left_as_it_is() {
    let folder = Folder::new("state");
    drop(Sqlite::open(&file(&folder)).unwrap());
    let connection = rusqlite::Connection::open(file(&folder)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = loop {
        let error = Sqlite::open(&file(&folder)).unwrap_err();
        if !error.0.contains("another process") {
            break error;
        }
    };
    assert!(error.0.contains("newer pgveil"), "{error}");
    assert!(error.0.contains("state.db"), "{error}");
    let connection = rusqlite::Connection::open(file(&folder)).unwrap();
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    assert_eq!(version.unwrap(), 99);
}

#[test]
fn a_file_that_is_none_of_ours_is_told_as_such() {
    let folder = Folder::new("state");
    std::fs::write(
        file(&folder),
        "not a database at all, but long enough to have a header of sorts, or two",
    )
    .unwrap();
    let error = Sqlite::open(&file(&folder)).unwrap_err();
    assert!(error.0.contains("not a database"), "{error}");
}
