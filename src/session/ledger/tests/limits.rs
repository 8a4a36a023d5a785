//! Rows counted against the limit of their result.
use super::check;

#[test]
fn the_limit_counts_per_result() {
    check(
        "
        > Q SELECT SECRET; SELECT SECRET
        < D = row
        < D = row
        < D = row
        < C = end of SELECT SECRET, 3 rows
        < D = row
        < D = row
        < D = row
        < D = too many
        < D = too many
        < E = error of SELECT SECRET
        < ZI = ready
        > Q SELECT open
        < D = row
        < D = row
        < D = row
        < D = row
        < C = end of SELECT open, 4 rows
        < ZI = ready
        ",
    );
}

#[test]
fn the_limit_counts_a_portal_over_its_executes_and_a_cursor_over_its_fetches() {
    check(
        "
        > P _ SELECT SECRET
        > B p _
        > E p
        > E p
        > S
        < 1 = progress
        < 2 = progress
        < D = row
        < D = row
        < s = end of SELECT SECRET, 2 rows
        < D = row
        < D = too many
        < E = error of SELECT SECRET
        < ZI = ready
        > Q BEGIN; DECLARE c SECRET
        < C = end of BEGIN, 0 rows
        < C = end of DECLARE c SECRET, 0 rows
        < ZT = ready
        > Q FETCH c; FETCH c
        < D = row
        < D = row
        < C = end of DECLARE c SECRET, 2 rows
        < D = row
        < D = too many
        < E = error of FETCH c
        < ZE = ready
        ",
    );
}
