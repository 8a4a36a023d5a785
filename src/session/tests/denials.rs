//! Refused statements, scrubbed errors, the second line of defence.
use std::sync::atomic::Ordering;

use super::bench::{
    Bench, MASKED, STATEMENT_BYTES, bind, columns, complete, error, execute, frame, parse, query,
    ready, row,
};
use crate::session::relay::SessionEnd;
use crate::wire::error::ErrorFields;

const POISON: &str = "SELECT pgveil_refused";

fn poisoned() -> Vec<u8> {
    error("42703", "column \"pgveil_refused\" does not exist")
}

#[tokio::test]
async fn a_refused_query_is_poisoned_and_its_error_becomes_the_denial() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("REFUSED x")]).await;
    bench.server_gets(&query("SELECT pgveil_refused x")).await;
    bench.server_sends(&[poisoned(), ready('I')]).await;
    let denial = bench.client_gets_error().await;
    assert_eq!(denial.sqlstate, "42501");
    assert_eq!(denial.message, "pgveil: not this");
    assert_eq!(denial.detail.as_deref(), Some("rule"));
    assert_eq!(denial.hint.as_deref(), Some("way out"));
    assert_eq!(bench.records(), ["login", "refusal REFUSED"]);
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn what_stands_before_a_refused_statement_runs() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[query("SELECT a;REFUSED;SELECT b")])
        .await;
    bench
        .server_gets(&query("SELECT a;SELECT pgveil_refused;SELECT b"))
        .await;
    bench
        .server_sends(&[
            columns("a", 1, 1),
            row("1"),
            complete("SELECT 1"),
            poisoned(),
            ready('I'),
        ])
        .await;
    bench.client_gets(&columns("a", 1, 1)).await;
    bench.client_gets(&row("1")).await;
    bench.client_gets(&complete("SELECT 1")).await;
    assert_eq!(bench.client_gets_error().await.sqlstate, "42501");
    bench.client_gets(&ready('I')).await;
    let expected = ["login", "statement SELECT", "refusal REFUSED"];
    assert_eq!(bench.records(), expected);
}

#[tokio::test]
async fn a_refused_parse_denies_and_the_batch_is_skipped() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[
            parse("s", "REFUSED"),
            bind("", "s"),
            execute(""),
            frame('S', ""),
            query("SELECT after"),
        ])
        .await;
    bench.server_gets(&parse("s", POISON)).await;
    bench.server_gets(&bind("", "s")).await;
    bench.server_gets(&execute("")).await;
    bench.server_gets(&frame('S', "")).await;
    bench.server_gets(&query("SELECT after")).await;
    bench
        .server_sends(&[poisoned(), ready('I'), complete("SELECT 0"), ready('I')])
        .await;
    assert_eq!(bench.client_gets_error().await.message, "pgveil: not this");
    bench.client_gets(&ready('I')).await;
    bench.client_gets(&complete("SELECT 0")).await;
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn an_aborted_transaction_says_so_also_for_a_refused_statement() {
    let mut bench = Bench::restricted().await;
    let aborted = error(
        "25P02",
        "current transaction is aborted, commands ignored until end of transaction block",
    );
    bench.client_sends(&[query("REFUSED")]).await;
    bench.server_gets(&query(POISON)).await;
    bench.server_sends(&[aborted.clone(), ready('E')]).await;
    bench.client_gets(&aborted).await;
    bench.client_gets(&ready('E')).await;
}

#[tokio::test]
async fn a_function_call_becomes_a_query_that_fails() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[frame('F', [0; 14])]).await;
    bench.server_gets(&query(POISON)).await;
    bench.server_sends(&[poisoned(), ready('I')]).await;
    assert_eq!(bench.client_gets_error().await.sqlstate, "42501");
    bench.client_gets(&ready('I')).await;
    assert_eq!(bench.records(), ["login", "refusal FUNCTION CALL"]);
}

#[tokio::test]
async fn a_text_beyond_the_limit_is_refused_without_being_held() {
    let mut bench = Bench::restricted().await;
    let long = query(&"x".repeat(STATEMENT_BYTES as usize));
    bench.client_sends(&[long, query("SELECT after")]).await;
    bench.server_gets(&query(POISON)).await;
    bench.server_gets(&query("SELECT after")).await;
    bench.server_sends(&[poisoned(), ready('I')]).await;
    let denial = bench.client_gets_error().await;
    assert_eq!(denial.sqlstate, "42501");
    assert!(denial.message.contains("longer than 10000 bytes"));
    bench.client_gets(&ready('I')).await;
    let long = parse("s", &"x".repeat(STATEMENT_BYTES as usize));
    bench.client_sends(&[long]).await;
    bench.server_gets(&parse("s", POISON)).await;
}

#[tokio::test]
async fn bytes_that_are_not_the_sessions_encoding_are_refused() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[frame('Q', b"SELECT '\xff'\0")]).await;
    bench.server_gets(&query(POISON)).await;
    bench.server_sends(&[poisoned(), ready('I')]).await;
    assert_eq!(bench.client_gets_error().await.sqlstate, "22021");
    bench.client_gets(&ready('I')).await;
    // The server reports that the client now speaks another encoding.
    bench
        .server_sends(&[frame('S', "client_encoding\0LATIN1\0")])
        .await;
    bench
        .client_gets(&frame('S', "client_encoding\0LATIN1\0"))
        .await;
    let latin = frame('Q', b"SELECT '\xe9'\0");
    bench.client_sends(std::slice::from_ref(&latin)).await;
    bench.server_gets(&latin).await;
    // One that pgveil cannot read.
    bench
        .server_sends(&[complete("SELECT 1"), ready('I')])
        .await;
    bench
        .server_sends(&[frame('S', "client_encoding\0JOHAB\0")])
        .await;
    for expected in [complete("SELECT 1"), ready('I')] {
        bench.client_gets(&expected).await;
    }
    bench
        .client_gets(&frame('S', "client_encoding\0JOHAB\0"))
        .await;
    bench.client_sends(&[latin]).await;
    bench.server_gets(&query(POISON)).await;
    bench.client_sends(&[query("SELECT 'e'")]).await;
    bench.server_gets(&query("SELECT 'e'")).await;
}

#[tokio::test]
async fn errors_and_notices_lose_the_values_they_quote() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT x")]).await;
    bench.server_gets(&query("SELECT x")).await;
    let notice = ErrorFields::notice("00000", "phone is 13812345678").frame(b'N');
    let failed = ErrorFields::error("22P02", "invalid input syntax for type integer: \"secret\"")
        .with_detail("secret")
        .frame(b'E');
    bench
        .server_sends(&[notice.to_vec(), failed.to_vec(), ready('I')])
        .await;
    let (tag, body) = super::bench::next(&mut bench.client).await.unwrap();
    assert_eq!(tag, 'N');
    assert!(!String::from_utf8_lossy(&body).contains("13812345678"));
    let scrubbed = bench.client_gets_error().await;
    assert_eq!(scrubbed.message, "invalid input syntax for type integer");
    assert_eq!(scrubbed.detail, None);
    bench.client_gets(&ready('I')).await;
    assert_eq!(bench.last_record().sqlstate.as_deref(), Some("22P02"));
}

#[tokio::test]
async fn a_masked_column_that_comes_back_plain_ends_the_session_before_its_first_row() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT x")]).await;
    bench.server_gets(&query("SELECT x")).await;
    bench
        .server_sends(&[
            columns("phone", MASKED.0, MASKED.1),
            row("13812345678"),
            complete("SELECT 1"),
            ready('I'),
        ])
        .await;
    let stopped = bench.client_gets_error().await;
    assert_eq!(stopped.severity, "FATAL");
    bench.client_is_closed().await;
    assert_eq!(bench.records()[1], "violation");
    assert_eq!(bench.ends().await, SessionEnd::Stopped);
}

#[tokio::test]
async fn an_answer_that_nothing_was_sent_for_ends_a_restricted_session() {
    let mut bench = Bench::restricted().await;
    bench.server_sends(&[row("13812345678")]).await;
    assert_eq!(bench.client_gets_error().await.severity, "FATAL");
    bench.client_is_closed().await;
    assert_eq!(bench.records()[1], "violation");
}

#[tokio::test]
async fn no_result_ends_without_its_record() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SELECT x")]).await;
    bench.server_gets(&query("SELECT x")).await;
    bench.host.spool_full.store(true, Ordering::SeqCst);
    bench
        .server_sends(&[columns("a", 1, 1), complete("SELECT 0"), ready('I')])
        .await;
    bench.client_gets(&columns("a", 1, 1)).await;
    let stopped = bench.client_gets_error().await;
    assert_eq!((&*stopped.severity, &*stopped.sqlstate), ("FATAL", "53100"));
    bench.client_is_closed().await;
    assert_eq!(bench.ends().await, SessionEnd::Stopped);
}
