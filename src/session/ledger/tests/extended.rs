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
    assert!(ledger.names.prepared(&Name::from("")).is_none());
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
    assert!(ledger.names.portal(&portal).is_some());
    let ledger = check_ledger(
        ledger,
        "
        > Q COMMIT
        < C = end of COMMIT, 0 rows
        < ZI = ready
        ",
    );
    assert!(ledger.names.portal(&portal).is_none());
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

/// The server holds the rows of EXECUTE and FETCH in the portal (`PORTAL_UTIL_SELECT`, tcop/pquery.c).
#[test]
fn a_suspended_portal_goes_on_with_what_it_has_run_whatever_the_name_stands_for_by_now() {
    for (gives, uses, takes, again) in [
        (
            "PREPARE x SECRET",
            "EXECUTE x",
            "DEALLOCATE x",
            "PREPARE x harmless",
        ),
        (
            "DECLARE c SECRET",
            "FETCH c",
            "CLOSE c",
            "DECLARE c harmless",
        ),
    ] {
        check(&format!(
            "
            > Q BEGIN
            > Q {gives}
            < C = end of BEGIN, 0 rows
            < ZT = ready
            < C = end of {gives}, 0 rows
            < ZT = ready
            > P _ {uses}
            > B p _
            > E p
            > S
            < 1 = progress
            < 2 = progress
            < D = row
            < s = end of {gives}, 1 rows
            < ZT = ready
            > Q {takes}
            > Q {again}
            < C = end of {takes}, 0 rows
            < ZT = ready
            < C = end of {again}, 0 rows
            < ZT = ready
            > D P p
            > E p
            > S
            < T = columns of {gives}
            < D = row
            < D = row
            < D = too many
            "
        ));
    }
}

/// A trigger may have opened another one under its name.
#[test]
fn cursors_end_with_their_transaction_or_the_part_of_it_that_is_taken_back() {
    let open = "> Q BEGIN\n< C = end of BEGIN, 0 rows\n< ZT = ready\n";
    let run = |texts: &[&str]| -> String {
        let sent = texts
            .iter()
            .map(|text| format!("> Q {text}\n< C = end of {text}, 0 rows\n< ZT = ready\n"));
        sent.collect()
    };
    let failing = "> Q SELECT a\n< E = error of SELECT a\n< ZE = ready\n";
    let outside = "> Q ROLLBACK\n< C = end of ROLLBACK, 0 rows\n< ZI = ready\n";
    let implicit = |held: &str| format!("> Q {held};SELECT b\n< C = end of {held}, 0 rows\n");
    let (plain, held) = ("DECLARE c", "DECLARE c WITH HOLD");
    for (script, is_there) in [
        (run(&[plain]), true),
        // COMMIT AND CHAIN: the server is in a transaction again.
        (run(&[plain, "COMMIT"]), false),
        (run(&[held, "COMMIT"]), true),
        (run(&[held, "COMMIT", "ROLLBACK"]), true),
        (run(&[held, "ROLLBACK"]), false),
        (run(&[held]) + outside, false),
        (
            run(&[held]) + failing + "> Q COMMIT\n< C = end of COMMIT, 0 rows\n< ZI = ready\n",
            false,
        ),
        (run(&["SAVEPOINT a", plain, "ROLLBACK TO a"]), false),
        (run(&[plain, "SAVEPOINT a", "ROLLBACK TO a"]), true),
        (
            run(&["SAVEPOINT a", plain, "SAVEPOINT b", "ROLLBACK TO b"]),
            true,
        ),
        (
            run(&["SAVEPOINT a", plain, "SAVEPOINT a", "ROLLBACK TO a"]),
            true,
        ),
        (
            run(&["SAVEPOINT a", plain, "SAVEPOINT b", "ROLLBACK TO a"]),
            false,
        ),
        (
            run(&[
                "SAVEPOINT a",
                plain,
                "RELEASE a",
                "SAVEPOINT b",
                "ROLLBACK TO b",
            ]),
            true,
        ),
        (
            run(&[
                "SAVEPOINT a",
                "SAVEPOINT b",
                plain,
                "RELEASE b",
                "ROLLBACK TO a",
            ]),
            false,
        ),
        (run(&["SAVEPOINT a", plain, "ROLLBACK TO never"]), false),
        (
            run(&["SAVEPOINT a"]) + failing + &run(&["ROLLBACK TO a", held, "COMMIT"]),
            true,
        ),
        (
            implicit(held) + "< C = end of SELECT b, 0 rows\n< ZI = ready\n",
            true,
        ),
        (
            implicit(held) + "< E = error of SELECT b\n< ZI = ready\n",
            false,
        ),
    ] {
        let ledger = check(&format!("{open}{script}"));
        let portal = ledger.names.portal(&Name::from("c"));
        assert_eq!(portal.is_some(), is_there, "{script}");
    }
}

#[test]
fn what_a_failed_prepare_or_deallocate_leaves_is_not_known() {
    let known = "
        > Q PREPARE x a
        < C = end of PREPARE x a, 0 rows
        < ZI = ready
        ";
    for (script, is_known, is_doubtful) in [
        (
            "> Q PREPARE x SECRET\n< E23505 = error of PREPARE x SECRET",
            false,
            true,
        ),
        (
            "> Q PREPARE x SECRET\n< E42P05 = error of PREPARE x SECRET",
            true,
            false,
        ),
        (
            "> Q PREPARE x SECRET\n< E25P02 = error of PREPARE x SECRET",
            true,
            false,
        ),
        (
            "> Q DEALLOCATE x\n< E40001 = error of DEALLOCATE x",
            false,
            true,
        ),
        (
            "> Q DEALLOCATE x\n< E25P02 = error of DEALLOCATE x",
            true,
            false,
        ),
        (
            "> Q DEALLOCATE ALL\n< E23505 = error of DEALLOCATE ALL",
            false,
            true,
        ),
        (
            "> Q DEALLOCATE y\n< E26000 = error of DEALLOCATE y",
            true,
            false,
        ),
        (
            "> Q DEALLOCATE x\n< E40001 = error of DEALLOCATE x\n< ZI = ready
             > Q DEALLOCATE x\n< C = end of DEALLOCATE x, 0 rows",
            false,
            false,
        ),
    ] {
        let ledger = check(&format!("{known}{script}\n< ZI = ready"));
        let name = Name::from("x");
        assert_eq!(ledger.names.prepared(&name).is_some(), is_known, "{script}");
        assert_eq!(ledger.names.is_doubtful(&name), is_doubtful, "{script}");
    }
    // Nor is what a failed CLOSE has closed there.
    let held = "
        > Q DECLARE c WITH HOLD
        < C = end of DECLARE c WITH HOLD, 0 rows
        < ZI = ready
        ";
    for (closes, sqlstate, is_open) in [
        ("CLOSE c", "23505", false),
        ("CLOSE c", "25P02", true),
        ("CLOSE ALL", "57014", false),
        ("CLOSE d", "34000", true),
    ] {
        let script = format!("> Q {closes}\n< E{sqlstate} = error of {closes}\n< ZI = ready");
        let ledger = check(&format!("{held}{script}"));
        let portal = ledger.names.portal(&Name::from("c"));
        assert_eq!(portal.is_some(), is_open, "{script}");
    }
}

#[test]
fn nothing_runs_by_a_name_that_is_not_known() {
    check(
        "
        > Q EXECUTE x
        < D = unexpected message D from the server
        < C = unexpected message C from the server
        ",
    );
    check(
        "
        > P _ FETCH c
        > B _ _
        > E _
        < 1 = progress
        < 2 = progress
        < D = unexpected message D from the server
        ",
    );
}

/// What has been sent and not answered may take a name away.
#[test]
fn a_name_that_is_taken_in_flight_stands_for_nothing() {
    let opened = "
        > Q BEGIN
        > Q DECLARE c SECRET
        > Q PREPARE x SECRET
        < C = end of BEGIN, 0 rows
        < ZT = ready
        < C = end of DECLARE c SECRET, 0 rows
        < ZT = ready
        < C = end of PREPARE x SECRET, 0 rows
        < ZT = ready
        ";
    for (in_flight, stands) in [
        ("> Q CLOSE c", false),
        ("> Q CLOSE ALL", false),
        ("> Q COMMIT", false),
        ("> Q ROLLBACK TO a", false),
        ("> Q CLOSE d", true),
        ("> Q SAVEPOINT a", true),
        ("> Q CLOSE c;DECLARE c a", true),
    ] {
        let ledger = check(&format!("{opened}{in_flight}"));
        let portal = ledger.portal_as_sent(&Name::from("c"));
        assert_eq!(portal.statement.is_some(), stands, "{in_flight}");
        assert!(portal.in_doubt || stands, "{in_flight}");
    }
    for (in_flight, stands) in [
        ("> Q DEALLOCATE x", false),
        ("> Q DEALLOCATE ALL", false),
        ("> Q DEALLOCATE y", true),
        ("> Q COMMIT", true),
    ] {
        let ledger = check(&format!("{opened}{in_flight}"));
        let prepared = ledger.prepared_as_sent(&Name::from("x"));
        assert_eq!(prepared.statement.is_some(), stands, "{in_flight}");
    }
}

/// Of savepoints that are not kept apart nobody knows which of a name is meant.
#[test]
fn behind_many_savepoints_a_cursor_is_gone_with_any_that_is_gone_back_to() {
    let run = |text: &str| format!("> Q {text}\n< C = end of {text}, 0 rows\n< ZT = ready\n");
    let many: String = std::iter::once("SAVEPOINT a")
        .chain(std::iter::repeat_n("SAVEPOINT b", 999))
        .chain(["SAVEPOINT a", "DECLARE c", "RELEASE a", "ROLLBACK TO b"])
        .map(run)
        .collect();
    let ledger = check(&format!("{}{many}", run("BEGIN")));
    assert!(ledger.names.portal(&Name::from("c")).is_none());
}
