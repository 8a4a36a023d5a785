//! The query within a statement around one. The server prints the trees of some of them, and of others only where they
//! run: so the query is asked for by itself.
use pgveil::sql::lex::{self, Token};

/// The query in EXPLAIN, PREPARE, DECLARE, COPY and CREATE TABLE AS.
pub fn within(text: &str) -> Option<&str> {
    let tokens = lex::tokens(text).ok()?;
    let is = |at: usize, word: &str| {
        tokens
            .get(at)
            .is_some_and(|token| token.is_word(text, word))
    };
    let mark = |at: usize, mark: &str| tokens.get(at).is_some_and(|token| token.is(text, mark));
    let behind = |word: &str| (0..tokens.len()).find(|at| is(*at, word)).map(|at| at + 1);
    let from = if is(0, "explain") {
        let options = mark(1, "(")
            && !["select", "with", "values", "table"]
                .iter()
                .any(|word| is(2, word))
            && !mark(2, "(");
        let mut at = if options {
            closing(text, &tokens, 1)? + 1
        } else {
            1
        };
        while is(at, "analyze") || is(at, "verbose") {
            at += 1;
        }
        at
    } else if is(0, "prepare") {
        behind("as")?
    } else if is(0, "declare") {
        behind("for")?
    } else if is(0, "create") {
        behind("as")?
    } else if is(0, "copy") && mark(1, "(") {
        let end = closing(text, &tokens, 1)?;
        return text.get(tokens.get(2)?.span.start..tokens.get(end)?.span.start);
    } else {
        return None;
    };
    if is(from, "execute") || is(from, "declare") || is(from, "create") {
        return None;
    }
    let mut end = tokens.last()?.span.end;
    // WITH [NO] DATA
    if is(0, "create") && is(tokens.len() - 1, "data") {
        let with = (0..tokens.len()).rev().find(|at| is(*at, "with"))?;
        end = tokens.get(with)?.span.start;
    }
    text.get(tokens.get(from)?.span.start..end)
}

fn closing(text: &str, tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        if token.is(text, "(") {
            depth += 1;
        } else if token.is(text, ")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

#[test]
fn the_query_within_is_found() {
    for (text, expected) in [
        ("EXPLAIN (COSTS OFF, VERBOSE) SELECT 1", Some("SELECT 1")),
        ("EXPLAIN ANALYZE (SELECT 1)", Some("(SELECT 1)")),
        ("explain (select 1)", Some("(select 1)")),
        ("PREPARE p(int, text) AS SELECT $1", Some("SELECT $1")),
        (
            "DECLARE c SCROLL CURSOR FOR SELECT 1 FOR UPDATE",
            Some("SELECT 1 FOR UPDATE"),
        ),
        ("COPY (SELECT f(1)) TO STDOUT", Some("SELECT f(1)")),
        (
            "CREATE TEMP TABLE t AS SELECT 1 WITH NO DATA",
            Some("SELECT 1 "),
        ),
        ("SELECT 1 AS a", None),
        ("COPY t TO STDOUT", None),
    ] {
        assert_eq!(within(text), expected, "{text}");
    }
}
