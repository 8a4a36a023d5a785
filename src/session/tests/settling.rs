//! Records that have to be on the disk before what they are about goes to the client.
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::bench::{Bench, columns, complete, frame, next, query, ready, row};
use crate::session::relay::SessionEnd;

/// As long as nothing comes, nothing will.
const NOTHING: Duration = Duration::from_millis(200);

async fn waiting_for_the_disk() -> Bench {
    let bench = Bench::unrestricted().await;
    bench.host.waits_for_disk.store(true, Ordering::SeqCst);
    bench
}

async fn gets_nothing(bench: &mut Bench) {
    let came = timeout(NOTHING, next(&mut bench.client)).await;
    assert!(came.is_err(), "{came:?} came before its record was kept");
}

#[tokio::test]
async fn the_end_of_a_statement_waits_until_its_record_is_kept() {
    let mut bench = waiting_for_the_disk().await;
    bench.client_sends(&[query("SELECT a")]).await;
    bench.server_gets(&query("SELECT a")).await;
    // Rows are not what the record waits for.
    let rows = [columns("a", 1, 1), row("1")];
    bench.server_sends(&rows).await;
    bench.client_gets(&rows[0]).await;
    bench.client_gets(&rows[1]).await;
    bench
        .server_sends(&[complete("SELECT 1"), ready('I')])
        .await;
    gets_nothing(&mut bench).await;
    assert_eq!(bench.records(), ["login", "statement SELECT"]);
    bench.host.synced.add_permits(1);
    bench.client_gets(&complete("SELECT 1")).await;
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn statements_that_end_together_wait_once() {
    let mut bench = waiting_for_the_disk().await;
    bench.client_sends(&[query("SELECT a;SELECT b")]).await;
    bench.server_gets(&query("SELECT a;SELECT b")).await;
    bench
        .server_sends(&[complete("SELECT 0"), complete("SELECT 1"), ready('I')])
        .await;
    bench.host.synced.add_permits(1);
    bench.client_gets(&complete("SELECT 0")).await;
    bench.client_gets(&complete("SELECT 1")).await;
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn after_a_failed_sync_the_client_gets_only_the_reason() {
    let mut bench = waiting_for_the_disk().await;
    bench.host.synced.close();
    bench.client_sends(&[query("SELECT a")]).await;
    bench.server_gets(&query("SELECT a")).await;
    let answer = [
        columns("a", 1, 1),
        row("1"),
        complete("SELECT 1"),
        ready('I'),
    ];
    bench.server_sends(&[answer.concat()]).await;
    let words = bench.client_gets_error().await;
    assert_eq!((&*words.severity, &*words.sqlstate), ("FATAL", "53100"));
    bench.server_gets(&frame('X', "")).await;
    bench.client_is_closed().await;
    assert_eq!(bench.ends().await, SessionEnd::Stopped);
}

#[tokio::test]
async fn after_a_failed_sync_no_message_is_begun_within_another() {
    let mut bench = waiting_for_the_disk().await;
    bench.host.synced.close();
    bench.client_sends(&[query("SELECT a")]).await;
    bench.server_gets(&query("SELECT a")).await;
    let long = row(&"x".repeat(1000));
    let (begin, rest) = long.split_at(600);
    bench.server_sends(&[begin.to_vec()]).await;
    let mut got = vec![0; begin.len()];
    let read = tokio::io::AsyncReadExt::read_exact(&mut bench.client, &mut got);
    read.await.expect("the row begins");
    let end = [rest.to_vec(), complete("SELECT 1"), ready('I')];
    bench.server_sends(&[end.concat()]).await;
    // Neither the rest of the row nor words.
    bench.client_is_closed().await;
}

#[tokio::test]
async fn a_login_waits_until_its_record_is_kept() {
    let mut bench = Bench::start_waiting_for_disk();
    gets_nothing(&mut bench).await;
    bench.host.synced.add_permits(1);
    bench.answers_search_path("public", 'I').await;
    bench.client_is_greeted().await;
}
