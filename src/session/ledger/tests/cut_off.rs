//! What goes on record when a session ends before its statements do.
use super::{check, kind};
use crate::session::ledger::Ledger;

fn left(ledger: &mut Ledger) -> Vec<String> {
    let left = ledger.cut_off();
    assert!(ledger.is_quiescent());
    assert!(ledger.cut_off().is_empty(), "each once");
    left.iter()
        .map(|running| format!("{} {}", kind(&running.statement), running.meter.rows()))
        .collect()
}

#[test]
fn nothing_is_left_where_everything_was_answered() {
    let mut ledger = check(
        "
        > Q SELECT a
        < C = end of SELECT a, 0 rows
        ",
    );
    assert!(left(&mut ledger).is_empty());
}

#[test]
fn the_statement_that_runs_is_left_with_its_rows_and_those_behind_it_without() {
    let mut ledger = check(
        "
        > Q SELECT a; INSERT b; SELECT c
        > Q INSERT d
        < C = end of SELECT a, 0 rows
        < T = columns of INSERT b
        < D = row
        ",
    );
    assert_eq!(
        left(&mut ledger),
        ["INSERT b 1", "SELECT c 0", "INSERT d 0"]
    );
}

#[test]
fn each_execute_of_a_pipeline_is_left_as_what_its_portal_will_stand_for() {
    let mut ledger = check(
        "
        > P one INSERT a
        > B _ one
        > E _
        > P _ INSERT b
        > B _ _
        > D P _
        > E _
        > S
        < 1 = progress
        ",
    );
    assert_eq!(left(&mut ledger), ["INSERT a 0", "INSERT b 0"]);
}

#[test]
fn a_parse_alone_is_left_where_there_is_nothing_else() {
    let mut ledger = check("> P one SELECT a\n> S");
    assert_eq!(left(&mut ledger), ["SELECT a 0"]);
    let mut ledger = check("> P one SELECT a\n> S\n> Q INSERT b");
    assert_eq!(left(&mut ledger), ["INSERT b 0"]);
}
