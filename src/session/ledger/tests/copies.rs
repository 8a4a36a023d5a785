//! COPY in both directions, and the Syncs that fall into it.
use super::{check, check_ledger, send};

#[test]
fn copy_from_the_client_by_query() {
    check(
        "
        > Q COPY t
        < G = progress
        quiescent no
        > c
        < C = end of COPY t, 0 rows
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn a_sync_that_was_sent_along_with_a_copy_is_ignored_by_it() {
    check(
        "
        > P _ COPY t
        > B _ _
        > E _
        > S
        < 1 = progress
        < 2 = progress
        < G = progress
        > S
        > c
        > S
        < C = end of COPY t, 0 rows
        < ZI = ready
        quiescent yes
        > Q SELECT a
        < C = end of SELECT a, 0 rows
        < ZI = ready
        ",
    );
}

#[test]
fn a_copy_pipelined_whole_is_followed_too() {
    check(
        "
        > P _ COPY t
        > B _ _
        > E _
        > S
        > c
        > S
        > Q SELECT a
        < 1 = progress
        < 2 = progress
        < G = progress
        < C = end of COPY t, 0 rows
        < ZI = ready
        < C = end of SELECT a, 0 rows
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn a_copy_that_fails_on_its_data_skips_to_the_sync_after_it() {
    check(
        "
        > P _ COPY t
        > B _ _
        > E _
        > S
        < 1 = progress
        < 2 = progress
        < G = progress
        < E = error of COPY t
        > c
        > S
        < ZI = ready
        quiescent yes
        > P _ SELECT a
        > B _ _
        > E _
        > S
        < 1 = progress
        < 2 = progress
        < C = end of SELECT a, 0 rows
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn a_copy_cancelled_before_it_read_anything_answers_both_syncs() {
    check(
        "
        > P _ COPY t
        > B _ _
        > E _
        > S
        < 1 = progress
        < 2 = progress
        < G = progress
        < E = error of COPY t
        < ZI = ready
        > c
        > S
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn what_follows_a_sync_of_which_nobody_knows_whether_it_was_ignored_is_not_guessed() {
    check(
        "
        > P _ COPY t
        > B _ _
        > E _
        > S
        < 1 = progress
        < 2 = progress
        < G = progress
        < E = error of COPY t
        quiescent no
        > Q SELECT a
        > S
        < ZI = unexpected message Z from the server
        ",
    );
}

#[test]
fn a_copy_by_query_that_fails_ignores_the_rest_of_its_data() {
    check(
        "
        > Q COPY t
        < G = progress
        < E = error of COPY t
        < ZI = ready
        > c
        > Q SELECT a
        < C = end of SELECT a, 0 rows
        < ZI = ready
        ",
    );
}

#[test]
fn copy_to_the_client_counts_its_rows() {
    check(
        "
        > Q COPY SECRET to stdout (header)
        < H = progress
        < d = row
        < d = row
        < d = row
        < d = row
        < d = too many
        < c = progress
        < C = end of COPY SECRET to stdout (header), 3 rows
        < ZI = ready
        ",
    );
}

#[test]
fn what_says_nothing_new_is_kept_once() {
    let mut ledger = check("> Q COPY t\n< G = progress");
    for _ in 0..100 {
        send(&mut ledger, "S");
    }
    assert_eq!(ledger.queue.len(), 2);
    send(&mut ledger, "c");
    for _ in 0..100 {
        send(&mut ledger, "c");
    }
    assert_eq!(ledger.queue.len(), 3);
    check_ledger(
        ledger,
        "< C = end of COPY t, 0 rows\n< ZI = ready\nquiescent yes",
    );
}
