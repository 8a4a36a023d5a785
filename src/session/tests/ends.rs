//! How sessions end, and what each side is told.
use super::bench::{Bench, columns, complete, frame, query, ready};
use crate::session::drain::Leaving;
use crate::session::relay::SessionEnd;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_client_that_says_goodbye_is_taken_at_its_word() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[frame('X', "")]).await;
    bench.server_gets(&frame('X', "")).await;
    bench.server.shutdown().await.unwrap();
    bench.client_is_closed().await;
    let host = bench.host.clone();
    assert_eq!(bench.ends().await, SessionEnd::Client);
    let records = host.records.lock().unwrap();
    let last = records.last().unwrap();
    assert_eq!(last.event.label(), "logout");
    assert_eq!(last.message.as_deref(), Some("client closed"));
}

#[tokio::test]
async fn a_client_that_only_closes_its_sending_side_gets_the_rest() {
    let mut bench = Bench::unrestricted().await;
    bench.client_sends(&[query("SELECT a")]).await;
    bench.client.shutdown().await.unwrap();
    bench.server_gets(&query("SELECT a")).await;
    bench.server_is_closed().await;
    bench
        .server_sends(&[columns("a", 1, 1), complete("SELECT 0"), ready('I')])
        .await;
    bench.server.shutdown().await.unwrap();
    bench.client_gets(&columns("a", 1, 1)).await;
    bench.client_gets(&complete("SELECT 0")).await;
    bench.client_gets(&ready('I')).await;
    bench.client_is_closed().await;
    assert_eq!(bench.ends().await, SessionEnd::Client);
}

#[tokio::test]
async fn a_lost_server_is_told_to_the_client_and_put_on_record() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT a")]).await;
    bench.server_gets(&query("SELECT a")).await;
    bench.server.shutdown().await.unwrap();
    let words = bench.client_gets_error().await;
    assert_eq!((&*words.severity, &*words.sqlstate), ("FATAL", "08006"));
    bench.client_is_closed().await;
    assert_eq!(bench.last_record().sqlstate.as_deref(), Some("08006"));
    assert_eq!(bench.ends().await, SessionEnd::Server);
}

#[tokio::test]
async fn a_server_that_says_why_it_ends_has_the_last_word() {
    let mut bench = Bench::restricted().await;
    let why = crate::wire::error::ErrorFields::fatal(
        "57P01",
        "terminating connection due to administrator command",
    )
    .frame(b'E');
    bench.server_sends(&[why.to_vec()]).await;
    bench.server.shutdown().await.unwrap();
    bench.client_gets(&why).await;
    bench.client_is_closed().await;
}

#[tokio::test]
async fn a_broken_protocol_is_told_after_what_the_server_still_says() {
    for restricted in [false, true] {
        let mut bench = match restricted {
            true => Bench::restricted().await,
            false => Bench::unrestricted().await,
        };
        bench
            .client_sends(&[query("SELECT a"), frame('?', "")])
            .await;
        bench.server_gets(&query("SELECT a")).await;
        bench.server_gets(&frame('X', "")).await;
        bench
            .server_sends(&[complete("SELECT 0"), ready('I')])
            .await;
        bench.server.shutdown().await.unwrap();
        bench.client_gets(&complete("SELECT 0")).await;
        bench.client_gets(&ready('I')).await;
        let words = bench.client_gets_error().await;
        assert_eq!((&*words.severity, &*words.sqlstate), ("FATAL", "08P01"));
        assert_eq!(words.message, "invalid frontend message type 63");
        bench.client_is_closed().await;
        assert_eq!(bench.ends().await, SessionEnd::Protocol);
    }
}

#[tokio::test]
async fn an_idle_session_ends_when_pgveil_ends() {
    for restricted in [false, true] {
        let mut bench = match restricted {
            true => Bench::restricted().await,
            false => Bench::unrestricted().await,
        };
        bench.drain.send(Leaving::Ends).unwrap();
        let words = bench.client_gets_error().await;
        assert_eq!((&*words.severity, &*words.sqlstate), ("FATAL", "57P01"));
        bench.server_gets(&frame('X', "")).await;
        assert_eq!(bench.ends().await, SessionEnd::Stopped);
    }
}

#[tokio::test]
async fn a_running_transaction_finishes_first_when_pgveil_ends() {
    let mut bench = Bench::unrestricted().await;
    bench.client_sends(&[query("BEGIN")]).await;
    bench.server_gets(&query("BEGIN")).await;
    bench.drain.send(Leaving::Ends).unwrap();
    bench.server_sends(&[complete("BEGIN"), ready('T')]).await;
    bench.client_gets(&complete("BEGIN")).await;
    bench.client_gets(&ready('T')).await;
    bench.client_sends(&[query("COMMIT")]).await;
    bench.server_gets(&query("COMMIT")).await;
    bench.server_sends(&[complete("COMMIT"), ready('I')]).await;
    bench.client_gets(&complete("COMMIT")).await;
    bench.client_gets(&ready('I')).await;
    assert_eq!(bench.client_gets_error().await.sqlstate, "57P01");
    bench.server_gets(&frame('X', "")).await;
}
