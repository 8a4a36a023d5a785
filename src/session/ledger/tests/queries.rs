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
