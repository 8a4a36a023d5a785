//! Queries, what is out of turn, and messages of pgveil's own.
use super::{check, check_ledger};
use crate::session::ledger::Ledger;

#[test]
fn each_statement_of_a_query_gets_its_own_end() {
    check(
        "
        > Q SELECT a; INSERT b; SELECT c
        quiescent no
        < T = columns of SELECT a
        < D = row
        < D = row
        < C = end of SELECT a, 2 rows
        < C = end of INSERT b, 0 rows
        < T = columns of SELECT c
        < C = end of SELECT c, 0 rows
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn the_error_of_a_query_belongs_to_the_statement_it_reached() {
    check(
        "
        > Q SELECT a; REFUSED b; SELECT c
        < T = columns of SELECT a
        < C = end of SELECT a, 0 rows
        < E = denial of REFUSED b
        < C = unexpected message C from the server
        < ZI = ready
        > Q SELECT d
        < E = error of SELECT d
        < ZI = ready
        ",
    );
}

#[test]
fn an_empty_query_ends_once() {
    check(
        "
        > Q ;
        < I = end of ?, 0 rows
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn a_statement_the_plan_does_not_know_of_is_not_let_pass() {
    check(
        "
        > Q SELECT a
        < C = end of SELECT a, 0 rows
        < C = unexpected message C from the server
        ",
    );
}

#[test]
fn answers_to_the_sessions_own_query_are_told_apart() {
    check(
        "
        > own
        < 3 = own
        < 1 = own
        < 2 = own
        < D = own
        < C = own
        < 3 = own
        < ZI = own
        > own
        > Q SELECT a
        < E = own
        < ZE = own
        < E = error of SELECT a
        < ZE = ready
        ",
    );
}

#[test]
fn a_function_call_is_answered_and_followed_by_ready() {
    check_ledger(
        Ledger::default(),
        "
        > F
        < V = end of ?, 0 rows
        < ZI = ready
        > F
        < E = error of ?
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn messages_out_of_turn_are_unexpected() {
    for message in [
        "1", "2", "3", "t", "T", "n", "s", "C", "I", "E", "G", "ZI", "V", "D", "d",
    ] {
        let tag = &message[..1];
        check(&format!(
            "< {message} = unexpected message {tag} from the server"
        ));
    }
    check(
        "
        > Q SELECT a
        < ZI = unexpected message Z from the server
        < 1 = unexpected message 1 from the server
        < s = unexpected message s from the server
        > S
        < C = end of SELECT a, 0 rows
        < ZI = ready
        < C = unexpected message C from the server
        < ZI = ready
        ",
    );
}

#[test]
fn a_query_in_parts_is_answered_as_one() {
    check(
        "
        > parts INSERT a
        < 1 = own
        < 2 = own
        < n = own
        < C = end of INSERT a, 0 rows
        quiescent no
        < 3 = own
        < 3 = own
        < ZI = ready
        quiescent yes
        > parts INSERT a
        < 1 = own
        < 2 = own
        < T = columns of INSERT a
        < D = row
        < E = error of INSERT a
        < ZI = ready
        > Q INSERT a
        < 1 = unexpected message 1 from the server
        ",
    );
}

/// What takes back a transaction fails on behalf of pgveil.
#[test]
fn what_is_undone_fails_unseen() {
    check(
        "
        > parts INSERT a
        < 1 = own
        < 2 = own
        < n = own
        < C = end of INSERT a, 0 rows
        > undo
        < E = own
        < E = unexpected message E from the server
        < ZI = ready
        > P _ INSERT a
        > B _ _
        > E _
        < 1 = progress
        < 2 = progress
        < C = end of INSERT a, 0 rows
        > undo
        > P _ SELECT b
        < E = own
        > E _
        quiescent no
        > S
        < ZI = ready
        quiescent yes
        ",
    );
}

#[test]
fn a_query_in_an_open_batch_does_not_end_it_where_a_transaction_is_open() {
    for (status, quiescent) in [("ZI", "yes"), ("ZT", "no"), ("ZE", "yes")] {
        check(&format!(
            "
            > P _ SET a
            > B _ _
            > E _
            < 1 = progress
            < 2 = progress
            < C = end of SET a, 0 rows
            > Q SET b
            < C = end of SET b, 0 rows
            < {status} = ready
            quiescent {quiescent}
            > S
            < ZI = ready
            quiescent yes
            ",
        ));
    }
}

/// As the server has it: `drop_unnamed_stmt` in `exec_simple_query`.
#[test]
fn a_query_drops_the_unnamed_statement() {
    let ledger = check(
        "
        > P _ SELECT a
        > S
        < 1 = progress
        < ZI = ready
        > Q SELECT b
        < E = error of SELECT b
        < ZI = ready
        ",
    );
    let unnamed = crate::session::messages::Name::default();
    assert!(ledger.names.prepared(&unnamed).is_none());
}
