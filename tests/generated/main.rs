//! Generated statements: twins must not differ, and what comes through pgveil is what the physically masked copy gives.
//!
//! `PGVEIL_GENERATED=100000 PGVEIL_SEED=1 cargo nextest run --test generated --run-ignored only long --no-capture` is the long run;
//! The same with `sqlsmith` in the place of `long` takes the statements of that program.
#[path = "../support/mod.rs"]
mod support;

mod bench;
mod compare;
mod description;
mod expression;
mod generator;
mod grouping;
mod literal;
mod random;
mod report;
mod rows;
mod schema;
mod shrink;
mod sources;
mod sqlsmith;
mod statement;
mod write;

use std::env;

use bench::{Bench, Oracle, RESTRICTED, UNRESTRICTED};
use report::{Report, run};
use statement::generate;
use support::message;

/// Statements of a normal test run.
const SAMPLE: u64 = 600;
const WORKERS: usize = 2;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn generated_statements_tell_nothing_and_give_what_the_masked_copy_gives() {
    let bench = Bench::start(WORKERS);
    let first = number("PGVEIL_SEED", 1);
    let report = run(&bench, RESTRICTED, WORKERS, first..first + SAMPLE, |seed| {
        Some(generate(seed, bench.major))
    });
    println!("{report}");
    report.check();
}

#[test]
#[ignore = "as long as one wants: PGVEIL_GENERATED statements"]
fn long() {
    let bench = Bench::start(WORKERS);
    let first = number("PGVEIL_SEED", 1);
    let count = number("PGVEIL_GENERATED", 100_000);
    let report = run(&bench, RESTRICTED, WORKERS, first..first + count, |seed| {
        Some(generate(seed, bench.major))
    });
    println!("{report}");
    report.check();
}

/// sqlsmith gives so many statements in one go.
const BATCH: u64 = 500;

#[test]
#[ignore = "as long as one wants: PGVEIL_GENERATED statements of sqlsmith"]
fn sqlsmith() {
    let bench = Bench::start(WORKERS);
    let first = number("PGVEIL_SEED", 1);
    let count = number("PGVEIL_GENERATED", 2_000) as usize;
    let mut statements = Vec::new();
    // As many as are to be executed, whatever the sieve takes out.
    for seed in first.. {
        if statements.len() >= count {
            break;
        }
        let Some(batch) = sqlsmith::statements(&bench, seed, BATCH) else {
            return support::skip("sqlsmith", "the program is not installed");
        };
        assert!(!batch.is_empty(), "sqlsmith gave nothing by seed {seed}");
        statements.extend(batch);
    }
    statements.truncate(count);
    let report = run(
        &bench,
        RESTRICTED,
        WORKERS,
        0..statements.len() as u64,
        |at| {
            statements
                .get(at as usize)
                .map(|statement| sqlsmith::case(statement))
        },
    );
    println!("{report}");
    assert_eq!(report.executed, count, "asked for more than was executed");
    report.check_differences();
}

#[test]
fn with_masking_off_generated_statements_tell_the_twins_apart() {
    let bench = Bench::start(WORKERS);
    let report: Report = run(&bench, UNRESTRICTED, WORKERS, 1..150, |seed| {
        Some(generate(seed, bench.major)).filter(|case| case.written.is_empty())
    });
    println!("{report}");
    let seen = report
        .differences
        .iter()
        .filter(|difference| difference.oracle == Oracle::Twins)
        .count();
    assert!(seen >= 20, "the comparison is blind: {seen} of 150");
}
