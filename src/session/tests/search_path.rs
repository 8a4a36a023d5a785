//! The search path is known before anything is planned, and never guessed.
use super::bench::{Bench, bind, complete, error, execute, frame, parse, query, ready};

fn planned(bench: &Bench) -> Vec<(String, String)> {
    bench.host.planned.lock().unwrap().clone()
}

fn last_path(bench: &Bench) -> String {
    planned(bench).last().expect("a plan").1.clone()
}

#[tokio::test]
async fn the_first_ready_waits_until_the_search_path_is_known() {
    let mut bench = Bench::start(true, 4096);
    bench.client_sends(&[query("SELECT early")]).await;
    bench.answers_search_path("crm, public", 'I').await;
    bench.client_is_greeted().await;
    bench.server_gets(&query("SELECT early")).await;
    let expected = ("SELECT early".to_owned(), "crm, public".to_owned());
    assert_eq!(planned(&bench), [expected]);
}

#[tokio::test]
async fn after_a_change_the_path_is_read_again_before_the_next_plan() {
    let mut bench = Bench::restricted().await;
    // Both at once: the second must wait for the first one's end.
    bench
        .client_sends(&[query("SET search_path TO x"), query("SELECT a")])
        .await;
    bench.server_gets(&query("SET search_path TO x")).await;
    bench.server_sends(&[complete("SET"), ready('I')]).await;
    bench.client_gets(&complete("SET")).await;
    bench.client_gets(&ready('I')).await;
    bench.answers_search_path("x", 'I').await;
    bench.server_gets(&query("SELECT a")).await;
    assert_eq!(last_path(&bench), "x");
    // Known now: nothing is asked.
    bench.client_sends(&[query("SELECT b")]).await;
    bench.server_gets(&query("SELECT b")).await;
}

#[tokio::test]
async fn other_settings_cost_no_round_trip() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[query("SET statement_timeout TO x"), query("SELECT a")])
        .await;
    bench
        .server_gets(&query("SET statement_timeout TO x"))
        .await;
    bench.server_gets(&query("SELECT a")).await;
}

/// From PostgreSQL 18 on it is reported.
#[tokio::test]
async fn a_path_that_a_reload_changes_is_read_again() {
    let mut bench = Bench::restricted().await;
    let reported = frame('S', "search_path\0x\0");
    bench.server_sends(std::slice::from_ref(&reported)).await;
    bench.client_gets(&reported).await;
    bench.client_sends(&[query("SELECT a")]).await;
    bench.answers_search_path("x", 'I').await;
    bench.server_gets(&query("SELECT a")).await;
    assert_eq!(last_path(&bench), "x");
}

#[tokio::test]
async fn the_end_of_a_transaction_brings_the_old_path_back() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[query("BEGIN;SET local search_path TO x")])
        .await;
    bench
        .server_gets(&query("BEGIN;SET local search_path TO x"))
        .await;
    bench
        .server_sends(&[complete("BEGIN"), complete("SET"), ready('T')])
        .await;
    bench
        .client_sends(&[query("COMMIT"), query("SELECT a")])
        .await;
    // COMMIT resolves no names, but it is planned like every text, and under the path in force.
    bench.answers_search_path("x", 'T').await;
    bench.server_gets(&query("COMMIT")).await;
    bench.server_sends(&[complete("COMMIT"), ready('I')]).await;
    bench.answers_search_path("public", 'I').await;
    bench.server_gets(&query("SELECT a")).await;
    assert_eq!(last_path(&bench), "public");
}

#[tokio::test]
async fn a_failed_transaction_is_not_asked() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[query("BEGIN;SET search_path TO x;SET y")])
        .await;
    bench
        .server_gets(&query("BEGIN;SET search_path TO x;SET y"))
        .await;
    bench
        .server_sends(&[
            complete("BEGIN"),
            complete("SET"),
            error("42704", "unrecognized configuration parameter \"y\""),
            ready('E'),
        ])
        .await;
    bench.client_sends(&[query("ROLLBACK")]).await;
    bench.server_gets(&query("ROLLBACK")).await;
    bench
        .server_sends(&[complete("ROLLBACK"), ready('I')])
        .await;
    bench.client_sends(&[query("SELECT a")]).await;
    bench.answers_search_path("public", 'I').await;
    bench.server_gets(&query("SELECT a")).await;
}

#[tokio::test]
async fn what_names_things_after_a_change_in_the_same_text_is_refused() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[query("SET search_path TO x;SELECT a")])
        .await;
    bench.server_gets(&query("SELECT pgveil_refused")).await;
    bench
        .server_sends(&[error("42703", "poison"), ready('I')])
        .await;
    let denial = bench.client_gets_error().await;
    assert_eq!(denial.sqlstate, "42501");
    assert!(denial.hint.is_some_and(|hint| hint.contains("Sync")));
}

#[tokio::test]
async fn a_change_in_an_open_batch_is_not_waited_for() {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[
            parse("", "SET search_path TO x"),
            bind("", ""),
            execute(""),
            parse("", "SELECT a"),
            bind("", ""),
            execute(""),
            frame('S', ""),
        ])
        .await;
    bench.server_gets(&parse("", "SET search_path TO x")).await;
    bench.server_gets(&bind("", "")).await;
    bench.server_gets(&execute("")).await;
    bench.server_gets(&parse("", "SELECT pgveil_refused")).await;
    bench.server_gets(&bind("", "")).await;
    bench.server_gets(&execute("")).await;
    bench.server_gets(&frame('S', "")).await;
    bench
        .server_sends(&[
            frame('1', ""),
            frame('2', ""),
            complete("SET"),
            error("42703", "poison"),
            ready('I'),
        ])
        .await;
    for expected in [frame('1', ""), frame('2', ""), complete("SET")] {
        bench.client_gets(&expected).await;
    }
    assert_eq!(bench.client_gets_error().await.sqlstate, "42501");
    bench.client_gets(&ready('I')).await;
}

/// Prepares under `public`, changes the path to `x`, and binds.
async fn bound_under_another_path(text: &str, sent: &str) -> Bench {
    let mut bench = Bench::restricted().await;
    bench
        .client_sends(&[parse("s", text), frame('S', "")])
        .await;
    bench.server_gets(&parse("s", sent)).await;
    bench.server_gets(&frame('S', "")).await;
    bench
        .client_sends(&[query("SET search_path TO x"), bind("", "s"), frame('S', "")])
        .await;
    bench.server_gets(&query("SET search_path TO x")).await;
    bench
        .server_sends(&[frame('1', ""), ready('I'), complete("SET"), ready('I')])
        .await;
    bench.answers_search_path("x", 'I').await;
    for expected in [frame('1', ""), ready('I'), complete("SET"), ready('I')] {
        bench.client_gets(&expected).await;
    }
    bench
}

/// pgveil asks what the server says of the statement, and of the one that it would be now: each with a column of such a type.
async fn compared(then: u8, now: u8) -> Bench {
    let mut bench = bound_under_another_path("SELECT PATHWISE", "SELECT from public").await;
    let mut asked = String::new();
    for _ in 0..6 {
        let (tag, body) = bench.server_gets_any().await;
        asked.push(tag);
        let body = String::from_utf8(body).unwrap();
        match asked.len() {
            2 => assert_eq!(body, "Ss\0"),
            3 => assert!(body.contains("\0SELECT from x\0"), "{body:?}"),
            6 => {}
            _ => assert!(body.starts_with("Spgveil_refused_"), "{body:?}"),
        }
    }
    assert_eq!(asked, "CDPDCH");
    let described = |data_type: u8| {
        let column = ["\0\u{1}a\0", "\0\0\0\0", "\0\0", "\0\0\0"].concat();
        let rest = ["\0\u{4}", "\0\0\0\0", "\0\0"].concat();
        frame('T', format!("{column}{}{rest}", char::from(data_type)))
    };
    let answers = [
        frame('3', ""),
        frame('t', "\0\0"),
        described(then),
        frame('1', ""),
        frame('t', "\0\0"),
        described(now),
        frame('3', ""),
    ];
    bench.server_sends(&answers).await;
    bench
}

#[tokio::test]
async fn a_prepared_statement_that_would_be_another_under_the_new_path_is_prepared_anew() {
    let mut bench = compared(23, 23).await;
    bench.server_gets(&frame('C', "Ss\0")).await;
    bench.server_gets(&parse("s", "SELECT from x")).await;
    bench.server_gets(&bind("", "s")).await;
    bench.server_gets(&frame('S', "")).await;
    // Of all this the client gets what answers its own messages.
    bench
        .server_sends(&[frame('3', ""), frame('1', ""), frame('2', ""), ready('I')])
        .await;
    bench.client_gets(&frame('2', "")).await;
    bench.client_gets(&ready('I')).await;
}

#[tokio::test]
async fn a_prepared_statement_whose_types_would_be_others_is_denied_at_bind() {
    let mut bench = compared(23, 25).await;
    let (tag, body) = bench.server_gets_any().await;
    assert_eq!(tag, 'B');
    let body = String::from_utf8(body).unwrap();
    assert!(body.starts_with("\0pgveil_refused_"), "{body:?}");
    bench.server_gets(&frame('S', "")).await;
    bench
        .server_sends(&[
            error("26000", "prepared statement does not exist"),
            ready('I'),
        ])
        .await;
    let denial = bench.client_gets_error().await;
    assert_eq!(denial.sqlstate, "0A000");
    assert_eq!(denial.routine.as_deref(), Some("RevalidateCachedQuery"));
    assert_eq!(bench.last_record().reason.as_deref(), Some("setting"));
    bench.client_gets(&ready('I')).await;
}

/// The server does not read what comes behind an error: what goes by the name is what it was.
#[tokio::test]
async fn a_statement_that_cannot_be_prepared_anew_stays_what_it_was() {
    let mut bench = bound_under_another_path("SELECT PATHWISE", "SELECT from public").await;
    for _ in 0..6 {
        bench.server_gets_any().await;
    }
    bench
        .server_sends(&[frame('3', ""), error("42P01", "no such relation")])
        .await;
    assert_eq!(bench.client_gets_error().await.sqlstate, "42P01");
    bench.client_sends(&[bind("", "s"), frame('S', "")]).await;
    let (tag, _) = bench.server_gets_any().await;
    assert_eq!(tag, 'B');
}

#[tokio::test]
async fn a_prepared_statement_that_stays_the_same_under_the_new_path_runs() {
    let mut bench = bound_under_another_path("SELECT a", "SELECT a").await;
    bench.server_gets(&bind("", "s")).await;
    bench.server_gets(&frame('S', "")).await;
    bench.server_sends(&[frame('2', ""), ready('I')]).await;
    bench.client_gets(&frame('2', "")).await;
}

#[tokio::test]
async fn a_cancel_that_hits_the_sessions_own_question_is_survived() {
    let mut bench = Bench::restricted().await;
    bench.client_sends(&[query("SET search_path TO x")]).await;
    bench.server_gets(&query("SET search_path TO x")).await;
    bench.server_sends(&[complete("SET"), ready('I')]).await;
    bench.client_sends(&[query("SELECT a")]).await;
    bench.server_is_asked_for_the_search_path().await;
    bench
        .server_sends(&[
            frame('3', ""),
            frame('1', ""),
            error("57014", "canceling statement"),
            ready('I'),
        ])
        .await;
    bench.answers_search_path("x", 'I').await;
    bench.server_gets(&query("SELECT a")).await;
}
