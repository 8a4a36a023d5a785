//! The row after the limit.
use super::bench::{
    Bench, bind, columns, complete, error, execute, frame, parse, query, ready, row,
};

const CANCELLED: &str = "canceling statement due to user request";

/// Lets all other tasks run until they wait.
async fn everybody_else() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A SELECT of which the client has got as many rows as it may, and the server sends one more.
async fn at_the_limit() -> Bench {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT SECRET;SELECT a")]).await;
    bench.server_gets(&query("SELECT SECRET;SELECT a")).await;
    let rows = [columns("a", 0, 0), row("1"), row("2"), row("3")];
    bench.server_sends(&rows).await;
    for expected in &rows[..3] {
        bench.client_gets(expected).await;
    }
    bench.host.cancelled.acquire().await.unwrap().forget();
    bench
}

#[tokio::test]
async fn the_result_ends_in_an_error_once_the_server_has_stopped() {
    let mut bench = at_the_limit().await;
    bench
        .server_sends(&[row("4"), error("57014", CANCELLED), ready('I')])
        .await;
    let stopped = bench.client_gets_error().await;
    assert_eq!(stopped.sqlstate, "42501");
    assert_eq!(
        stopped.message,
        "pgveil: export of more than 2 rows of protected data is not allowed"
    );
    let record = bench.last_record();
    assert_eq!(record.event.label(), "export_stop");
    assert_eq!(record.rows, Some(2));
    // A late cancel could hit the next statement: ReadyForQuery waits for it.
    tokio::select! {
        biased;
        early = super::bench::next(&mut bench.client) => panic!("too early: {early:?}"),
        () = everybody_else() => {}
    }
    bench.host.cancel_done.add_permits(1);
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn a_server_that_had_finished_already_is_not_heard_until_ready() {
    let mut bench = at_the_limit().await;
    bench
        .server_sends(&[
            complete("SELECT 3"),
            columns("b", 0, 0),
            row("x"),
            complete("SELECT 1"),
            ready('I'),
        ])
        .await;
    bench.host.cancel_done.add_permits(1);
    assert_eq!(bench.client_gets_error().await.sqlstate, "42501");
    bench.client_gets(&ready('I')).await;
    assert_eq!(
        bench.records()[1..],
        ["export_stop SELECT", "statement SELECT"]
    );
    bench.client_sends(&[query("SELECT b")]).await;
    bench.server_gets(&query("SELECT b")).await;
    bench
        .server_sends(&[complete("SELECT 0"), ready('I')])
        .await;
    bench.client_gets(&complete("SELECT 0")).await;
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn in_an_open_batch_the_client_is_skipped_up_to_its_sync() {
    let mut bench = Bench::restricted().await;
    let batch = [parse("", "SELECT SECRET"), bind("", ""), execute("")];
    bench.client_sends(&batch).await;
    bench.client_sends(&[frame('H', "")]).await;
    // Nobody asked for a description: pgveil does, and keeps it.
    for expected in [&batch[0], &batch[1], &frame('D', "P\0"), &batch[2]] {
        bench.server_gets(expected).await;
    }
    bench.server_gets(&frame('H', "")).await;
    bench
        .server_sends(&[
            frame('1', ""),
            frame('2', ""),
            columns("id", 0, 0),
            row("1"),
            row("2"),
            row("3"),
            complete("SELECT 3"),
        ])
        .await;
    for expected in [frame('1', ""), frame('2', ""), row("1"), row("2")] {
        bench.client_gets(&expected).await;
    }
    assert_eq!(bench.client_gets_error().await.sqlstate, "42501");
    bench.host.cancel_done.add_permits(1);
    bench
        .client_sends(&[parse("", "INSERT skipped"), execute(""), frame('S', "")])
        .await;
    bench.server_gets(&frame('S', "")).await;
    bench.server_sends(&[ready('I')]).await;
    bench.client_gets(&ready('I')).await;
    bench.client_sends(&[query("SELECT b")]).await;
    bench.server_gets(&query("SELECT b")).await;
}

#[tokio::test]
async fn as_many_rows_as_allowed_pass() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT SECRET")]).await;
    bench.server_gets(&query("SELECT SECRET")).await;
    let answer = [row("1"), row("2"), complete("SELECT 2"), ready('I')];
    bench.server_sends(&answer).await;
    for expected in &answer {
        bench.client_gets(expected).await;
    }
}
