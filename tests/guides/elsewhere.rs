//! Commands of other programs in the documents: which test runs each, and which are run by hand.
use std::fs;

use crate::commands::typed;
use crate::text::{all, root};

/// First words of what is typed, pgveil's own commands and openssl's apart: those are run by `running.rs`.
const PROGRAMS: [&str; 12] = [
    "apt-get",
    "cargo",
    "createdb",
    "curl",
    "dpkg",
    "helm",
    "kill",
    "kubectl",
    "pgbench",
    "psql",
    "sudo",
    "systemctl",
];

enum Run {
    /// By that file, where those words stand.
    By(&'static str, &'static str),
    /// By hand, for a reason.
    Not(&'static str),
}

use Run::{By, Not};

/// Beginnings of lines.
const LINES: [(&str, Run); 15] = [
    (
        "deploy/demo.sh",
        Not("installs a server on the machine; what it starts is run by `tests/run.sh demo`"),
    ),
    (
        "deploy/release.sh",
        By("tests/deploy/reproducible.sh", "deploy/release.sh --out"),
    ),
    (
        "deploy/deb.sh",
        By("tests/deploy/package.sh", "deploy/deb.sh\" --quick"),
    ),
    (
        "dpkg -i target/dist/pgveil",
        By("tests/deploy/package.sh", "dpkg -i /root/pgveil"),
    ),
    (
        "systemctl kill --kill-whom=main --signal=SIGUSR2 pgveil",
        By(
            "deploy/debian/postinst",
            "systemctl kill --kill-whom=main --signal=SIGUSR2 pgveil",
        ),
    ),
    (
        "apt-get install build-essential",
        By("deploy/packages.sh", "build-essential"),
    ),
    (
        "cargo build --release",
        By("tests/run.sh", "cargo build --locked --release"),
    ),
    (
        "cargo test --locked --test",
        By("tests/run.sh", "cargo test --locked --no-fail-fast"),
    ),
    (
        "tests/run.sh generated regress",
        Not("hours; each suite by its name"),
    ),
    (
        "tests/run.sh suites logins",
        Not("hours; each suite by its name"),
    ),
    ("tests/run.sh", Not("is what runs the tests")),
    (
        "tests/bench/run.sh --quick",
        Not("figures want a machine of their own"),
    ),
    (
        "pgbench -n -M prepared -f one.sql -c 32",
        By("tests/guides/running.rs", "\"pgbench \""),
    ),
    (
        "pgbench -n -M prepared -f one.sql -U",
        By("tests/guides/running.rs", "\"pgbench \""),
    ),
    ("awk", By("tests/guides/running.rs", "\"awk \"")),
];

#[test]
fn every_other_command_is_run_by_a_test_or_named_as_one_that_is_not() {
    let mut used = [0; LINES.len()];
    for document in all() {
        for line in typed(&document) {
            let first = line.split_whitespace().next().unwrap_or_default();
            let is_script = first.ends_with(".sh")
                && (first.starts_with("deploy/") || first.starts_with("tests/"));
            if !is_script && first != "awk" && !PROGRAMS.contains(&first) {
                continue;
            }
            let Some(place) = LINES.iter().position(|(start, _)| line.starts_with(start)) else {
                panic!(
                    "{}: nothing runs `{line}`: run it in a test, or say here why not",
                    document.path
                );
            };
            used[place] += 1;
        }
    }
    for ((start, run), used) in LINES.iter().zip(used) {
        assert!(used > 0, "no document has `{start}`");
        match run {
            By(path, words) => {
                let text = fs::read_to_string(root().join(path))
                    .unwrap_or_else(|error| panic!("{path}: {error}"));
                assert!(text.contains(words), "{path} does not run `{start}`");
            }
            Not(reason) => assert!(reason.len() > 10, "{start}"),
        }
    }
}
