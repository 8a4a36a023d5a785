//! Scripts of what is sent (`>`) and answered (`<`), and what each answer is attributed to (after `=`).
use std::time::Instant;

use super::{Answer, Ledger, Rules, Sent};
use crate::export::Count;
use crate::session::fixtures::source;
use crate::session::messages::{Name, Target};
use crate::session::statements::{Statement, copies_header};

const LIMIT: u64 = 3;

fn target(kind: &str, name: &str) -> Target {
    match kind {
        "S" => Target::Statement(Name::from(name)),
        _ => Target::Portal(Name::from(name)),
    }
}

/// `_` stands for the unnamed one.
fn name(word: &str) -> Name {
    Name::from(if word == "_" { "" } else { word })
}

fn send(ledger: &mut Ledger, line: &str) {
    let (tag, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split_whitespace().collect();
    let sent = match (tag, words.as_slice()) {
        ("Q", _) => Sent::Query(source(rest)),
        ("own", _) => Sent::Own,
        ("P", [called, text @ ..]) => Sent::Parse {
            name: name(called),
            source: source(&text.join(" ")),
        },
        ("B", [portal, statement]) => Sent::Bind {
            portal: name(portal),
            statement: name(statement),
            meant: ledger.prepared_as_sent(&name(statement)),
            denied: None,
        },
        ("D", [kind, called]) => Sent::Describe(target(kind, called)),
        ("C", [kind, called]) => Sent::Close(target(kind, called)),
        ("E", [portal]) => Sent::Execute {
            portal: name(portal),
            denied: None,
        },
        ("S", _) => Sent::Sync,
        ("F", _) => Sent::FunctionCall { denied: None },
        ("c", _) => Sent::CopyEnd,
        _ => panic!("cannot send {line}"),
    };
    ledger.push(sent, Instant::now());
}

fn kind(statement: &Statement) -> &str {
    statement.plan().map_or("?", |plan| &plan.normalised)
}

fn receive(ledger: &mut Ledger, message: &str) -> String {
    let tag = message.as_bytes()[0];
    if matches!(message, "D" | "d") && !ledger.own_is_next(tag) {
        return match ledger.row(tag, 10) {
            Ok(Count::Within) => "row".to_owned(),
            Ok(Count::Exceeded) => "too many".to_owned(),
            Err(error) => error.to_string(),
        };
    }
    let status = message.as_bytes().get(1).copied().unwrap_or(b'I');
    match ledger.answer(tag, status) {
        Ok(Answer::Progress) => "progress".to_owned(),
        Ok(Answer::Columns(statement)) => {
            format!("columns of {}", statement.as_ref().map_or("?", kind))
        }
        Ok(Answer::Ended(running)) => format!(
            "end of {}, {} rows",
            kind(running.governing()),
            running.meter.rows()
        ),
        Ok(Answer::Failed(failure)) => format!(
            "{} of {}",
            match failure.refusal {
                Some(_) => "denial",
                None => "error",
            },
            kind(&failure.running.statement)
        ),
        Ok(Answer::Ready) => "ready".to_owned(),
        Ok(Answer::Own | Answer::OwnReady) => "own".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn check_ledger(mut ledger: Ledger, script: &str) -> Ledger {
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if let Some(line) = line.strip_prefix("> ") {
            send(&mut ledger, line);
        } else if let Some(line) = line.strip_prefix("< ") {
            let (message, expected) = line.split_once('=').expect("an expectation");
            let got = receive(&mut ledger, message.trim());
            assert_eq!(got, expected.trim(), "at `{line}` of {script}");
        } else if let Some(expected) = line.strip_prefix("quiescent ") {
            let got = if ledger.is_quiescent() { "yes" } else { "no" };
            assert_eq!(got, expected, "in {script}");
        } else {
            panic!("cannot read {line}");
        }
    }
    ledger
}

fn check(script: &str) -> Ledger {
    let ledger = Ledger::new(Rules {
        restricted: true,
        export_rows: Some(LIMIT),
    });
    check_ledger(ledger, script)
}

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

#[test]
fn rows_of_a_statement_nobody_knows_count_as_protected() {
    check(
        "
        > Q FETCH elsewhere
        < D = row
        < D = row
        < D = row
        < D = too many
        ",
    );
}

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
fn a_header_is_told_from_a_column_of_that_name() {
    for (text, header) in [
        ("COPY t TO STDOUT (FORMAT csv, HEADER)", true),
        ("COPY t TO STDOUT WITH CSV HEADER", true),
        ("COPY t TO STDOUT (HEADER true, FORMAT csv)", true),
        ("COPY t TO STDOUT (HEADER false)", false),
        ("COPY t TO STDOUT (HEADER $1)", false),
        ("COPY (SELECT header FROM t) TO STDOUT", false),
        ("SELECT header", false),
    ] {
        let plan = crate::session::fixtures::statement(text);
        assert_eq!(copies_header(&plan), header, "{text}");
    }
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
