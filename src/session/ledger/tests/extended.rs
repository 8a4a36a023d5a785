//! Batches, names and portals.
use super::{check, check_ledger};
use crate::session::messages::Name;

#[test]
fn a_pipelined_batch_is_attributed_message_by_message() {
    check(
        "
        > P s1 SELECT a
        > B p1 s1
        > D S s1
        > D P p1
        > E p1
        > E p1
        > C P p1
        > C S s1
        > S
        < 1 = progress
        < 2 = progress
        < t = progress
        < T = columns of SELECT a
        < T = columns of SELECT a
        < D = row
        < s = end of SELECT a, 1 rows
        < D = row
        < C = end of SELECT a, 1 rows
        < 3 = progress
        < 3 = progress
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn after_an_error_everything_up_to_the_sync_is_skipped_also_a_query() {
    check(
        "
        > P _ SELECT a
        > B _ _
        > E _
        > Q SELECT skipped
        > S
        > Q SELECT b
        < E = error of SELECT a
        < ZI = ready
        < C = end of SELECT b, 0 rows
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn what_is_sent_after_an_error_without_sync_is_skipped_too() {
    check(
        "
        > P _ REFUSED a
        < E = denial of REFUSED a
        > B _ _
        > E _
        > Q SELECT skipped
        quiescent no
        > S
        < ZI = ready
        quiescent yes
        > Q SELECT b
        < C = end of SELECT b, 0 rows
        < ZI = ready
        ",
    );
}

#[test]
fn a_parse_that_fails_leaves_no_statement_and_keeps_the_named_one_before() {
    check(
        "
        > P s SELECT old
        > S
        < 1 = progress
        < ZI = ready
        > P s SELECT duplicate
        > S
        < E = error of SELECT duplicate
        < ZI = ready
        > B _ s
        > E _
        > S
        < 2 = progress
        < C = end of SELECT old, 0 rows
        < ZI = ready
        ",
    );
    let ledger = check(
        "
        > P _ SELECT old
        > S
        < 1 = progress
        < ZI = ready
        > P _ SELECT broken
        > S
        < E = error of SELECT broken
        < ZI = ready
        ",
    );
    assert!(ledger.statements.prepared(&Name::from("")).is_none());
}

#[test]
fn sql_level_and_protocol_level_names_are_one_space() {
    check(
        "
        > Q PREPARE x SECRET
        < C = end of PREPARE x SECRET, 0 rows
        < ZI = ready
        > B _ x
        > E _
        > S
        < 2 = progress
        < D = row
        < C = end of PREPARE x SECRET, 1 rows
        < ZI = ready
        > P y SELECT y
        > S
        < 1 = progress
        < ZI = ready
        > Q EXECUTE y
        < T = columns of SELECT y
        < C = end of SELECT y, 0 rows
        < ZI = ready
        > Q DEALLOCATE ALL
        < C = end of DEALLOCATE ALL, 0 rows
        < ZI = ready
        > Q EXECUTE y
        < E = error of EXECUTE y
        < ZI = ready
        ",
    );
}

#[test]
fn a_bind_to_a_name_nobody_knows_must_fail() {
    check(
        "
        > B _ nothing
        > S
        < 2 = unexpected message 2 from the server
        ",
    );
}

#[test]
fn portals_end_with_their_transaction() {
    let ledger = check(
        "
        > P _ SELECT a
        > B p _
        > S
        < 1 = progress
        < 2 = progress
        < ZT = ready
        ",
    );
    let portal = Name::from("p");
    assert!(ledger.statements.portal(&portal).is_some());
    let ledger = check_ledger(
        ledger,
        "
        > Q COMMIT
        < C = end of COMMIT, 0 rows
        < ZI = ready
        ",
    );
    assert!(ledger.statements.portal(&portal).is_none());
}

#[test]
fn an_error_of_the_commit_at_sync_is_followed_by_ready() {
    check(
        "
        > P _ INSERT a
        > B _ _
        > E _
        > S
        < 1 = progress
        < 2 = progress
        < C = end of INSERT a, 0 rows
        < E = error of ?
        < ZI = ready
        quiescent yes
        ",
    );
}
