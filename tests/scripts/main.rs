//! Scripts that nobody picked: what a session assumes about names, settings and transactions while messages are in flight
//! and may fail, against what becomes of them.
//!
//! `PGVEIL_SCRIPTS=100000 PGVEIL_SEED=1 cargo nextest run --test scripts --run-ignored only long --no-capture` is the long run.
#[path = "../support/mod.rs"]
mod support;

mod bench;
#[allow(dead_code)]
#[path = "../generated/description.rs"]
mod description;
mod generator;
mod oracles;
mod play;
#[path = "../generated/random.rs"]
mod random;
mod report;
mod script;
mod shrink;
mod texts;

use std::env;

use bench::Bench;
use generator::generate;
use report::run;

/// Scripts of a normal test run.
const SAMPLE: u64 = 250;
const WORKERS: usize = 2;

fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn plays(count: u64) {
    let bench = Bench::start(WORKERS);
    let first = number("PGVEIL_SEED", 1);
    let report = run(&bench, WORKERS, first..first + count);
    println!("{report}");
    report.check();
    assert_eq!(bench.complaints(), Vec::<String>::new());
}

#[test]
fn scripts_show_no_secret_and_are_answered_as_directly() {
    plays(SAMPLE);
}

#[test]
#[ignore = "as long as one wants: PGVEIL_SCRIPTS scripts"]
fn long() {
    plays(number("PGVEIL_SCRIPTS", 20_000));
}

#[test]
#[ignore = "to look at one script: PGVEIL_SEED"]
fn one() {
    let bench = Bench::start(1);
    let script = generate(number("PGVEIL_SEED", 1));
    println!("{script}");
    for role in [bench::Role::Restricted, bench::Role::Unrestricted] {
        println!("{role:?}\n{}", bench.line(0).shown(&script, role));
    }
}

/// The poison control: what is looked for is there to be found.
#[test]
fn with_masking_off_scripts_show_secrets() {
    let bench = Bench::start(1);
    let mut line = bench.line(0);
    let showing = (1..=40)
        .filter(|seed| line.shows_secret_unmasked(&generate(*seed)))
        .count();
    assert!(showing >= 30, "the search is blind: {showing} of 40");
}
